import type { OrderId } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { awaitsChain, step, viewOf, type Assignment, type Goal, type SwarmState } from "../src/index.ts";
import { Cluster, messageOf, nodeId, orderId, ORIGIN, readyNode, receive, signaturesOf } from "./cluster.ts";

const GOAL: Goal = { id: "compute", kind: "compute", size: { min: 2, max: 2 }, failedGraceMs: 60_000 };
const LATER_MS = 10_000_000;

function grown(count: number, goals: readonly Goal[] = []): Cluster {
  const cluster = new Cluster(count, goals);
  cluster.run(3_000);
  return cluster;
}

function counter(cluster: Cluster, node: number, name: string): number {
  return viewOf(cluster.states[node] as SwarmState).counters[name] ?? 0;
}

describe("links that become slow all at once", () => {
  test("cost no member and no term once patience has followed", () => {
    const cluster = grown(5);
    for (let node = 0; node < 5; node++) cluster.slowMs.set(node, 60);
    cluster.run(5_000);
    const { term } = cluster.view;
    const before = [0, 1, 2, 3, 4].map((node) => counter(cluster, node, "suspicions"));
    cluster.run(20_000);
    expect(cluster.view.term).toBe(term);
    expect([0, 1, 2, 3, 4].map((node) => counter(cluster, node, "suspicions"))).toEqual(before);
    expect(counter(cluster, 0, "deaths")).toBe(0);
    const { members } = viewOf(cluster.states[0] as SwarmState);
    for (const { id, rttMs } of members) if (id !== nodeId(0)) expect(rttMs).toBeGreaterThan(200);
  });
});

describe("a leader that falls silent", () => {
  test("is not replaced for a pause of a twentieth of a second", () => {
    const cluster = grown(5);
    const { term } = cluster.view;
    for (let pause = 0; pause < 20; pause++) {
      cluster.cut.add(cluster.indexOf(cluster.view.leader as never));
      cluster.run(50);
      cluster.cut.clear();
      cluster.run(500 + 7 * pause);
    }
    expect(cluster.view.term).toBe(term);
  });

  test("is replaced, and whoever follows it gets reports before it is confirmed", () => {
    const cluster = grown(5);
    cluster.chainUp = false;
    const lost = cluster.indexOf(cluster.view.leader as never);
    cluster.cut.add(lost);
    cluster.run(400);
    const waiting = cluster.states.filter(
      (state, node) => node !== lost && awaitsChain(state as SwarmState) > 0,
    );
    expect(waiting).toHaveLength(4);
    const [won] = cluster.effects("publish-term").slice(-1);
    const winner = cluster.states[cluster.indexOf(won?.certificate.leader as never)] as SwarmState;
    expect(winner.leadership?.reported.size).toBe(4);
  });
});

describe("an order opened after the new leader's term", () => {
  function placedOn(openedBlock: "before" | "after"): number {
    const cluster = grown(5, [GOAL]);
    const members = cluster.view.groups[0]?.members ?? [];
    // The leader is lost together with a member of the group that may have held the order.
    for (const id of new Set([cluster.view.leader as never, members[0] as never])) {
      cluster.stop(cluster.indexOf(id));
    }
    const early = cluster.view.blockNumber;
    cluster.run(2_000);
    const block = openedBlock === "before" ? early : cluster.view.blockNumber + 1;
    cluster.setView({});
    cluster.setOrders([{ orderId: orderId(1), goalId: "compute", deadlineMs: LATER_MS, openedBlock: block }]);
    cluster.run(2_000);
    return cluster.effects("assign").length;
  }

  test("is placed although a lost member has its grace", () => {
    expect(placedOn("after")).toBe(1);
  });

  test("waits for that grace when an earlier leader may have placed it", () => {
    expect(placedOn("before")).toBe(0);
  });
});

describe("an order that a member held and let go of while nobody led", () => {
  const groups = [{ goalId: "compute", epoch: 1, term: 2, members: [nodeId(0), nodeId(1)] }];

  /** Node 1 reports its work, once and again, to node 0, which then leads and knows the order as open. */
  function placed(
    ...work: readonly (readonly { orderId: OrderId; term: number; state: "done" }[])[]
  ): number {
    const state = readyNode(0, 3, { term: 2, leader: nodeId(2), groups });
    step(state, { kind: "goals", nowMs: 1, goals: [GOAL] });
    step(state, { kind: "peer-down", nowMs: 2, id: nodeId(2) });
    step(state, { kind: "tick", nowMs: 50 });
    const vote = { kind: "vote", term: 3, candidate: nodeId(0) } as const;
    receive(state, nodeId(1), { ...vote, signature: signaturesOf(nodeId(1)).sign(vote) });
    for (const [place, held] of work.entries()) {
      const report = { kind: "report", sequence: place + 1, term: 3, draining: false, work: held } as const;
      receive(state, nodeId(1), {
        ...report,
        ...{ coordinate: ORIGIN, samples: [], signature: new Uint8Array(0) },
      });
    }
    const order = { orderId: orderId(1), goalId: "compute", deadlineMs: LATER_MS, openedBlock: 1 };
    step(state, { kind: "orders", nowMs: 60, orders: [order] });
    const view = { blockNumber: 9, members: state.view.members, term: 3, leader: nodeId(0), groups };
    const { effects } = step(state, { kind: "registry", nowMs: 70, view });
    expect(viewOf(state).role).toBe("leader");
    return effects.filter(({ kind }) => kind === "assign").length;
  }

  test("is placed nowhere else: it was closed in a block to come", () => {
    expect(placed([{ orderId: orderId(1), term: 2, state: "done" }], [])).toBe(0);
  });

  test("and one that nobody held is placed", () => {
    expect(placed([], [])).toBe(1);
  });

  test("and one of the block that ends a term is not placed in it", () => {
    const state = readyNode(0, 3, { term: 2, leader: nodeId(2), groups });
    step(state, { kind: "goals", nowMs: 1, goals: [GOAL] });
    step(state, { kind: "peer-down", nowMs: 2, id: nodeId(2) });
    step(state, { kind: "tick", nowMs: 50 });
    const vote = { kind: "vote", term: 3, candidate: nodeId(0) } as const;
    receive(state, nodeId(1), { ...vote, signature: signaturesOf(nodeId(1)).sign(vote) });
    const { members } = state.view;
    const view = { blockNumber: 9, members, term: 3, leader: nodeId(0), groups };
    step(state, { kind: "registry", nowMs: 70, view, orders: [] });
    step(state, { kind: "tick", nowMs: 400 });
    const orders = [{ orderId: orderId(1), goalId: "compute", deadlineMs: LATER_MS, openedBlock: 10 }];
    const next = { ...view, blockNumber: 10, term: 4, leader: nodeId(1) };
    const ended = step(state, { kind: "registry", nowMs: 600, view: next, orders });
    expect(ended.effects.filter(({ kind }) => kind === "assign")).toEqual([]);
    expect(state.orders.has(orderId(1))).toBe(true);
  });
});

describe("an assignment of a term that this node's view does not show yet", () => {
  const LEADER = nodeId(1);
  const groups = [{ goalId: "compute", epoch: 1, term: 3, members: [nodeId(0), nodeId(1)] }];
  const assignment: Assignment = {
    ...{ orderId: orderId(1), node: nodeId(0), term: 3, epoch: 1, goalId: "compute" },
  };
  const signature = signaturesOf(LEADER).sign({ kind: "assignment", ...assignment });

  /** Nodes 1 and 2 voted for node 1, so that it is elected here before the chain says so. */
  function electing(): SwarmState {
    const state = readyNode(0, 3, { term: 2, leader: nodeId(2), groups });
    for (const voter of [1, 2]) {
      const vote = { kind: "vote", term: 3, candidate: LEADER } as const;
      receive(state, nodeId(voter), { ...vote, signature: signaturesOf(nodeId(voter)).sign(vote) }, 10);
    }
    return state;
  }

  function accepts(state: SwarmState, leader: string): number {
    const message = messageOf({ kind: "assignment", assignment, signature });
    step(state, { kind: "received", nowMs: 20, from: LEADER, message });
    const view = { blockNumber: 9, members: state.view.members, term: 3, leader: leader as never, groups };
    return step(state, { kind: "registry", nowMs: 30, view }).effects.filter(({ kind }) => kind === "run")
      .length;
  }

  test("is accepted once the chain shows the term", () => {
    expect(accepts(electing(), LEADER)).toBe(1);
  });

  test("is not accepted when the chain gives the term to somebody else", () => {
    expect(accepts(electing(), nodeId(2))).toBe(0);
  });

  test("is refused for good when its sender was not elected here", () => {
    const state = readyNode(0, 3, { term: 2, leader: nodeId(2), groups });
    expect(accepts(state, LEADER)).toBe(0);
    expect(viewOf(state).counters["refused.SWARM_TERM_AHEAD"]).toBe(1);
  });
});
