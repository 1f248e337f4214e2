import { describe, expect, it } from "vitest";
import { viewOf, type Goal, type SwarmState } from "../src/index.ts";
import { Cluster, nodeId, orderId } from "./cluster.ts";

const GOAL: Goal = { id: "compute", kind: "compute", size: { min: 2, max: 3 }, failedGraceMs: 400 };
const ORDER = { orderId: orderId(0), goalId: "compute", deadlineMs: 10 ** 9 };

function formed(count = 4): Cluster {
  const cluster = new Cluster(count, [GOAL]);
  cluster.run(2_000);
  expect(cluster.view.groups).toHaveLength(1);
  return cluster;
}

function runsOf(cluster: Cluster): { node: number; term: number }[] {
  return cluster.log.flatMap(({ node, effect }) =>
    effect.kind === "run" ? [{ node, term: effect.assignment.term }] : [],
  );
}

describe("a group", () => {
  it("forms within two seconds and has the size its goal asks for", () => {
    const cluster = formed();
    expect(cluster.view.groups[0]?.members).toHaveLength(3);
    expect(cluster.view.groups[0]?.epoch).toBe(1);
  });

  it("replaces a dead member after its grace, and keeps the others", () => {
    const cluster = formed();
    const before = cluster.view.groups[0]?.members ?? [];
    const victim = before.find((id) => id !== cluster.view.leader) as string;
    cluster.stop(cluster.indexOf(victim as never));
    cluster.run(3_000);
    const after = cluster.view.groups[0]?.members ?? [];
    expect(cluster.view.groups[0]?.epoch).toBe(2);
    expect(after).not.toContain(victim);
    expect(before.filter((id) => id !== victim).every((id) => after.includes(id))).toBe(true);
  });

  it("stays as it is when a member is back within its grace", () => {
    const cluster = new Cluster(4, [{ ...GOAL, failedGraceMs: 10_000 }]);
    cluster.run(2_000);
    const victim = cluster.view.groups[0]?.members.find((id) => id !== cluster.view.leader);
    const index = cluster.indexOf(victim as never);
    cluster.stop(index);
    cluster.run(3_000);
    cluster.start(index);
    cluster.run(10_000);
    expect(cluster.view.groups[0]?.epoch).toBe(1);
  });

  it("replaces a member that became too far, after its grace, and not for jitter at the limit", () => {
    const limit = { latencyMsMax: 40, degradedGraceMs: 2_000 };
    const cluster = new Cluster(5, [{ ...GOAL, ...limit, size: { min: 3, max: 3 } }]);
    cluster.run(3_000);
    const before = cluster.view.groups[0]?.members ?? [];
    const far = before.find((id) => id !== cluster.view.leader) as string;
    cluster.slowMs.set(cluster.indexOf(far as never), 21);
    cluster.run(12_000);
    expect(cluster.view.groups[0]?.epoch).toBe(1);
    cluster.slowMs.set(cluster.indexOf(far as never), 60);
    const farMs = cluster.nowMs;
    cluster.run(15_000);
    const after = cluster.view.groups[0];
    expect(after?.epoch).toBe(2);
    expect(after?.members).not.toContain(far);
    const proposed = cluster.log.findLast(({ effect }) => effect.kind === "publish-group")?.atMs ?? 0;
    expect(proposed - farMs).toBeGreaterThan(2_000);
  });

  it("is proposed only once its bandwidth was measured from both ends", () => {
    const cluster = new Cluster(3, [{ ...GOAL, bandwidthMbpsMin: 10 }]);
    cluster.run(1_000);
    expect(cluster.view.groups).toEqual([]);
    cluster.run(6_000);
    expect(cluster.view.groups[0]?.members).toHaveLength(3);
    const trains = cluster.effects("send").filter(({ message }) => message.kind === "load");
    expect(trains.length).toBeGreaterThanOrEqual(4 * 6);
  });

  it("is not formed over links that are too thin", () => {
    const cluster = new Cluster(3, [{ ...GOAL, bandwidthMbpsMin: 100_001 }]);
    cluster.run(8_000);
    expect(cluster.view.groups).toEqual([]);
    const leader = cluster.states[cluster.indexOf(cluster.view.leader as never)] as SwarmState;
    expect(viewOf(leader).unmet["compute"]).toContain("no 2 of them fit together");
  });

  it("lets a draining member go at once", () => {
    const cluster = formed();
    const leaving = cluster.view.groups[0]?.members.find((id) => id !== cluster.view.leader) as string;
    cluster.feed(cluster.indexOf(leaving as never), { kind: "drain", nowMs: cluster.nowMs });
    cluster.run(1_500);
    expect(cluster.view.groups[0]?.members).not.toContain(leaving);
  });

  it("is not formed when the goal cannot be met, and the leader says why", () => {
    const cluster = new Cluster(3, [{ ...GOAL, size: { min: 4, max: 4 } }]);
    cluster.run(3_000);
    expect(cluster.view.groups).toEqual([]);
    const leader = cluster.states[cluster.indexOf(cluster.view.leader as never)] as SwarmState;
    expect(viewOf(leader).unmet["compute"]).toContain("3 of 3 nodes fit, 4 are needed");
  });
});

describe("an order", () => {
  it("runs once, on a member of the group", () => {
    const cluster = formed();
    cluster.setOrders([ORDER]);
    cluster.run(2_000);
    const runs = runsOf(cluster);
    expect(runs).toHaveLength(1);
    expect(cluster.view.groups[0]?.members).toContain(nodeId(runs[0]?.node as number));
  });

  it("moves when its node dies, after the grace", () => {
    const cluster = formed();
    cluster.setOrders([ORDER]);
    cluster.run(1_000);
    const first = runsOf(cluster)[0]?.node as number;
    const diedMs = cluster.nowMs;
    cluster.stop(first);
    cluster.run(4_000);
    const moved = cluster.log.find(({ node, effect }) => effect.kind === "run" && node !== first);
    expect(moved).toBeDefined();
    expect((moved?.atMs ?? 0) - diedMs).toBeGreaterThanOrEqual(400);
  });

  it("stays where it is when the leader changes, under the new term", () => {
    const cluster = formed(5);
    const leader = cluster.indexOf(cluster.view.leader as never);
    cluster.setOrders([ORDER]);
    cluster.run(1_000);
    const first = runsOf(cluster)[0] as { node: number; term: number };
    if (first.node === leader) return;
    cluster.stop(leader);
    cluster.run(3_000);
    const runs = runsOf(cluster);
    expect(runs.every(({ node }) => node === first.node)).toBe(true);
    expect(runs.at(-1)?.term).toBe(2);
  });

  it("moves when its node says that it failed, and not back", () => {
    const cluster = formed();
    cluster.setOrders([ORDER]);
    cluster.run(1_000);
    const first = runsOf(cluster)[0]?.node as number;
    const work = [{ orderId: ORDER.orderId, state: "failed" as const }];
    cluster.feed(first, { kind: "work", nowMs: cluster.nowMs, work });
    cluster.run(2_000);
    const others = runsOf(cluster).filter(({ node }) => node !== first);
    expect(others).toHaveLength(1);
  });

  it("is not placed after its deadline", () => {
    const cluster = formed();
    cluster.setOrders([{ ...ORDER, deadlineMs: 1 }]);
    cluster.run(1_000);
    expect(runsOf(cluster)).toEqual([]);
  });

  it("is not placed on hardware that its owners do not allow", () => {
    const cluster = formed();
    cluster.setOrders([{ ...ORDER, tees: ["sev-snp"] }]);
    cluster.run(1_000);
    expect(runsOf(cluster)).toEqual([]);
  });
});
