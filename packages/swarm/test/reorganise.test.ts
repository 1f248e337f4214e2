import { accept, refuse } from "@cloister/core";
import { describe, expect, it } from "vitest";
import { planGroups, viewOf, type Goal, type GroupingNode, type SwarmState } from "../src/index.ts";
import { Cluster, FACTS, nodeId, orderId } from "./cluster.ts";

const SHARED: Goal = { id: "compute", kind: "compute", size: { min: 2, max: 3 }, failedGraceMs: 400 };

function exclusive(id: string, min: number, max: number, weight: number): Goal {
  return { id, kind: "compute", size: { min, max }, shared: false, weight, failedGraceMs: 400 };
}

function leaderOf(cluster: Cluster): SwarmState {
  return cluster.states[cluster.indexOf(cluster.view.leader as never)] as SwarmState;
}

function membersOf(cluster: Cluster, goalId: string): readonly string[] {
  return cluster.view.groups.find((group) => group.goalId === goalId)?.members ?? [];
}

function orderFor(goalId: string) {
  return { orderId: orderId(0), goalId, deadlineMs: 10 ** 9 };
}

describe("a group with room", () => {
  it("grows when a member comes, keeps those it has, and only once", () => {
    const cluster = new Cluster(3, [SHARED]);
    cluster.stop(2);
    cluster.run(6_000);
    const before = membersOf(cluster, "compute");
    expect(before).toHaveLength(2);
    cluster.start(2);
    cluster.run(6_000);
    expect(membersOf(cluster, "compute")).toEqual([nodeId(0), nodeId(1), nodeId(2)]);
    const { epoch } = cluster.view.groups[0] as { epoch: number };
    cluster.run(10_000);
    expect(cluster.view.groups[0]?.epoch).toBe(epoch);
  });

  it("does not grow by a node that has only just come back", () => {
    const cluster = new Cluster(3, [{ ...SHARED, failedGraceMs: 20_000 }]);
    cluster.stop(2);
    cluster.run(6_000);
    cluster.start(2);
    cluster.run(10_000);
    expect(membersOf(cluster, "compute")).toHaveLength(2);
  });

  it("does not grow by nodes that an exclusive goal holds", () => {
    const cluster = new Cluster(4, [exclusive("a", 2, 2, 1), exclusive("b", 2, 4, 1)]);
    cluster.run(12_000);
    expect(membersOf(cluster, "a")).toHaveLength(2);
    expect(membersOf(cluster, "b")).toHaveLength(2);
  });
});

describe("when nodes are short", () => {
  it("a goal gets what others have beyond their least size, whatever it weighs", () => {
    const goals = [exclusive("heavy", 1, 3, 9)];
    const cluster = new Cluster(4, goals);
    cluster.run(3_000);
    expect(membersOf(cluster, "heavy")).toHaveLength(3);
    const both = [...goals, exclusive("light", 2, 2, 1)];
    for (let node = 0; node < 4; node++)
      cluster.feed(node, { kind: "goals", nowMs: cluster.nowMs, goals: both });
    cluster.run(4_000);
    expect(membersOf(cluster, "light")).toHaveLength(2);
    expect(membersOf(cluster, "heavy")).toHaveLength(2);
    expect(membersOf(cluster, "light").some((id) => membersOf(cluster, "heavy").includes(id))).toBe(false);
  });

  it("a heavier goal dissolves a lighter one, but only after its grace, and the lighter one says why it is unmet", () => {
    const light = exclusive("light", 3, 3, 1);
    const cluster = new Cluster(4, [light]);
    cluster.run(3_000);
    const goals = [light, { ...exclusive("heavy", 2, 2, 5), failedGraceMs: 3_000 }];
    for (let node = 0; node < 4; node++) cluster.feed(node, { kind: "goals", nowMs: cluster.nowMs, goals });
    cluster.run(2_500);
    expect(membersOf(cluster, "light")).toHaveLength(3);
    expect(membersOf(cluster, "heavy")).toHaveLength(0);
    cluster.run(4_000);
    expect(membersOf(cluster, "heavy")).toHaveLength(2);
    expect(membersOf(cluster, "light")).toHaveLength(0);
    expect(viewOf(leaderOf(cluster)).unmet["light"]).toContain("held by other exclusive goals");
  });

  it("a lighter goal dissolves nothing, and two of equal weight leave one another alone", () => {
    for (const weight of [1, 5]) {
      const cluster = new Cluster(4, [exclusive("first", 3, 3, 5)]);
      cluster.run(3_000);
      const goals = [exclusive("first", 3, 3, 5), exclusive("second", 2, 2, weight)];
      for (let node = 0; node < 4; node++) cluster.feed(node, { kind: "goals", nowMs: cluster.nowMs, goals });
      cluster.run(6_000);
      expect(membersOf(cluster, "first")).toHaveLength(3);
      expect(membersOf(cluster, "second")).toHaveLength(0);
    }
  });

  it("what is left of a group that cannot be met is nobody else's until it is let go, and that is soon", () => {
    const goals = [exclusive("broken", 2, 3, 5), exclusive("small", 1, 2, 1)];
    const problem = {
      nodes: [planNode(0)],
      goals,
      wanting: new Set(["broken", "small"]),
      current: new Map([["broken", [0]]]),
      rttMs: () => 1,
    };
    const early = planGroups(problem);
    expect([...early.groups]).toEqual([]);
    expect([...early.yields]).toEqual([]);
    expect(early.unmet.get("small")?.map(({ code }) => code)).toContain("GOAL_NODES_TAKEN");
    expect(early.unmet.get("broken")?.map(({ code }) => code)).not.toContain("GOAL_NODES_TAKEN");
    const late = planGroups({ ...problem, starving: new Set(["small"]) });
    expect([...late.groups]).toEqual([]);
    expect([...(late.yields.get("small") ?? [])]).toEqual([["broken", []]]);
  });

  it("a member that leaves one group is in no other before it has left", () => {
    const goals = [exclusive("broken", 2, 3, 5), exclusive("small", 1, 2, 1)];
    const leaving = {
      nodes: [planNode(0), planNode(1)],
      goals,
      wanting: new Set(["broken", "small"]),
      starving: new Set(["small"]),
      current: new Map([["small", [1]]]),
      leaving: new Map([["broken", [0]]]),
      rttMs: () => 1,
    };
    expect([...planGroups(leaving).groups]).toEqual([["small", [1]]]);
    const starved = planGroups({ ...leaving, current: new Map(), nodes: [planNode(0)] });
    expect([...starved.groups]).toEqual([]);
    expect([...(starved.yields.get("small") ?? [])]).toEqual([["broken", []]]);
  });

  it("as few groups give way as will do, the lightest first", () => {
    const goals = [
      exclusive("a", 2, 2, 1),
      exclusive("b", 2, 2, 2),
      exclusive("c", 2, 2, 3),
      exclusive("big", 2, 2, 9),
    ];
    const plan = planGroups({
      nodes: Array.from({ length: 6 }, (_, index) => planNode(index)),
      goals,
      wanting: new Set(["big"]),
      starving: new Set(["big"]),
      current: new Map([
        ["a", [0, 1]],
        ["b", [2, 3]],
        ["c", [4, 5]],
      ]),
      rttMs: () => 1,
    });
    expect([...(plan.yields.get("big") ?? [])]).toEqual([["a", []]]);
  });
});

function planNode(index: number): GroupingNode {
  return { id: nodeId(index), operator: nodeId(index), region: undefined, ...FACTS };
}

describe("a node that drains", () => {
  it("keeps its work until another has it, says when it may go, and nothing is lost", () => {
    const cluster = new Cluster(4, [{ ...SHARED, size: { min: 3, max: 3 } }]);
    cluster.run(2_000);
    cluster.setOrders([orderFor("compute")]);
    cluster.run(1_000);
    const first = cluster.effects("run")[0]?.assignment.node as never;
    // A leader that drains hands over first; here somebody else does.
    const leaving = cluster.indexOf(first);
    cluster.feed(leaving, { kind: "drain", nowMs: cluster.nowMs });
    const place = cluster.log.length;
    expect(viewOf(cluster.states[leaving] as SwarmState)).toMatchObject({ draining: true, drained: false });
    cluster.run(6_000);
    const later = cluster.log.slice(place);
    const taken = later.findIndex(({ node, effect }) => effect.kind === "run" && node !== leaving);
    const dropped = later.findIndex(({ node, effect }) => effect.kind === "abandon" && node === leaving);
    expect(taken).toBeGreaterThanOrEqual(0);
    expect(dropped).toBeGreaterThan(taken);
    expect(viewOf(cluster.states[leaving] as SwarmState)).toMatchObject({ draining: true, drained: true });
    expect(membersOf(cluster, "compute")).not.toContain(first);
  });

  it("goes on with its work when nobody can take it", () => {
    const cluster = new Cluster(3, [{ ...SHARED, size: { min: 1, max: 1 } }]);
    cluster.run(2_000);
    cluster.setOrders([{ ...orderFor("compute"), memoryBytesMin: 2 ** 33 }]);
    cluster.run(1_000);
    const runner = cluster.indexOf(cluster.effects("run")[0]?.assignment.node as never);
    for (let node = 0; node < 3; node++) if (node !== runner) cluster.stop(node);
    cluster.feed(runner, { kind: "drain", nowMs: cluster.nowMs });
    cluster.run(3_000);
    expect(cluster.states[runner]?.accepted.size).toBe(1);
    expect(viewOf(cluster.states[runner] as SwarmState).drained).toBe(false);
  });
});

describe("a member whose evidence is refused on re-attestation", () => {
  it("is evicted at once by the leader, its work moved; accepted again, it may come back", () => {
    const cluster = new Cluster(4, [{ ...SHARED, failedGraceMs: 5_000 }]);
    cluster.run(2_000);
    cluster.setOrders([orderFor("compute")]);
    cluster.run(1_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    const runner = cluster.indexOf(cluster.effects("run")[0]?.assignment.node as never);
    const victim =
      runner === leader
        ? cluster.indexOf(membersOf(cluster, "compute").find((id) => id !== nodeId(leader)) as never)
        : runner;
    const verdict = refuse("TDX_TCB_REVOKED", "The platform's TCB was revoked.");
    cluster.feed(leader, { kind: "peer-up", nowMs: cluster.nowMs, id: nodeId(victim), verdict });
    cluster.run(2_000);
    expect(membersOf(cluster, "compute")).not.toContain(nodeId(victim));
    if (runner === victim) expect(cluster.effects("run").at(-1)?.assignment.node).not.toBe(nodeId(victim));
    const renewed = accept({ facts: FACTS });
    cluster.feed(leader, { kind: "peer-up", nowMs: cluster.nowMs, id: nodeId(victim), verdict: renewed });
    expect(leaderOf(cluster).unattested.size).toBe(0);
  });

  it("keeps its place for the grace of a failed member when its evidence only ran out", () => {
    const cluster = new Cluster(3, [{ ...SHARED, size: { min: 3, max: 3 } }]);
    cluster.run(2_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    const victim = (leader + 1) % 3;
    const verdict = accept({ facts: FACTS, validUntilMs: cluster.nowMs + 100 });
    cluster.feed(leader, { kind: "peer-up", nowMs: cluster.nowMs, id: nodeId(victim), verdict });
    cluster.run(3_000);
    expect(leaderOf(cluster).unattested.get(nodeId(victim))?.code).toBe("SWARM_EVIDENCE_EXPIRED");
    expect(cluster.view.groups[0]).toMatchObject({ epoch: 1 });
    cluster.run(4_000);
    expect(viewOf(leaderOf(cluster)).unmet["compute"]).toContain("2 of 2 nodes fit");
  });
});
