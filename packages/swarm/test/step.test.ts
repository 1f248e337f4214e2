import { accept, refuse, type NodeId } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  init,
  MESSAGE_BURST_MAX,
  nextWakeMs,
  step,
  viewOf,
  type Body,
  type SwarmState,
} from "../src/index.ts";
import {
  Cluster,
  configOf,
  FACTS,
  memberList,
  messageOf,
  nodeId,
  orderId,
  ORIGIN,
  readyNode,
  receive,
  signaturesOf,
} from "./cluster.ts";

const PING: Body = {
  kind: "ping",
  nonce: 1,
  incarnation: 1,
  term: 0,
  lease: false,
  coordinate: ORIGIN,
  updates: [],
};

function refusalsOf(state: ReturnType<typeof readyNode>, node: number): Readonly<Record<string, number>> {
  return viewOf(state).refusals[nodeId(node)] ?? {};
}

describe("what peers send", () => {
  it("never makes step throw, whatever it is, and is counted against its sender", () => {
    const state = readyNode(0, 4);
    let sent = 0;
    const anything = fc.oneof(fc.anything(), fc.uint8Array({ maxLength: 64 }), fc.object());
    fc.assert(
      fc.property(anything, (message) => {
        sent++;
        step(state, { kind: "received", nowMs: sent * 10, from: nodeId(1), message });
        expect(Object.values(refusalsOf(state, 1)).reduce((sum, n) => sum + n, 0)).toBe(sent);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ["SWARM_NOT_MEMBER", 9, messageOf(PING)],
    ["SWARM_IDENTITY_TWICE", 0, messageOf(PING)],
    ["SWARM_WRONG_CHAIN", 1, { ...(messageOf(PING) as object), chainId: 1 }],
    ["SWARM_WRONG_CHAIN", 1, { ...(messageOf(PING) as object), swarm: "00000000" }],
    ["SWARM_MESSAGE_TOO_LARGE", 1, new Uint8Array(70_000)],
    ["SWARM_MESSAGE_MALFORMED", 1, null],
    ["SWARM_NOT_LEADER", 1, messageOf({ kind: "measure", term: 0, targets: [nodeId(2)], load: false })],
    ["SWARM_NOT_LEADER", 1, messageOf({ kind: "withdrawal", orderId: orderId(1), term: 0 })],
  ])("%s", (code, from, message) => {
    const state = readyNode(0, 4);
    const { effects } = step(state, { kind: "received", nowMs: 1, from: nodeId(from), message });
    expect(refusalsOf(state, from)).toEqual({ [code]: 1 });
    expect(effects.filter(({ kind }) => kind === "run" || kind === "persist")).toEqual([]);
  });

  it("is dropped before it is read when there is too much of it", () => {
    const state = readyNode(0, 4);
    for (let i = 0; i < MESSAGE_BURST_MAX + 50; i++) receive(state, nodeId(1), PING, 5);
    expect(refusalsOf(state, 1)["SWARM_FLOOD"]).toBe(50);
    expect(receive(state, nodeId(2), PING, 5).some(({ kind }) => kind === "send")).toBe(true);
    expect(receive(state, nodeId(1), PING, 1_005).some(({ kind }) => kind === "send")).toBe(true);
  });

  it("is refused without a channel whose evidence was accepted", () => {
    const state = init(configOf(0));
    const view = { blockNumber: 1, members: memberList(3), term: 0, leader: undefined, groups: [] };
    step(state, { kind: "registry", nowMs: 0, view });
    receive(state, nodeId(1), PING);
    expect(refusalsOf(state, 1)).toEqual({ SWARM_NOT_ATTESTED: 1 });
  });

  it("is refused from a member that was expelled, and its channel is closed", () => {
    const state = readyNode(0, 3);
    const view = {
      blockNumber: 2,
      members: memberList(3).slice(0, 2),
      term: 0,
      leader: undefined,
      groups: [],
    };
    const { effects } = step(state, { kind: "registry", nowMs: 1, view });
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: "disconnect", peer: nodeId(2), code: "SWARM_EXPELLED" }),
    );
    receive(state, nodeId(2), PING);
    expect(refusalsOf(state, 2)).toEqual({ SWARM_NOT_MEMBER: 1 });
  });

  it("counts for nothing when it speaks of incarnations nobody can have", () => {
    const state = readyNode(0, 4);
    const updates = [[nodeId(2), 2, 10 ** 9]] as const;
    receive(state, nodeId(1), { ...PING, updates });
    expect(refusalsOf(state, 1)).toEqual({ SWARM_INCARNATION_AHEAD: 1 });
    expect(viewOf(state).members[2]?.status).not.toBe("dead");
  });
});

describe("bandwidth probes", () => {
  const piece = (nonce: number, place: number): Body => ({
    kind: "load",
    nonce,
    piece: place,
    payload: new Uint8Array(9),
  });

  it("are answered once whole", () => {
    const state = readyNode(0, 3);
    const kinds = [0, 1, 2, 3].flatMap((place) => receive(state, nodeId(1), piece(7, place), 10));
    const answers = kinds.filter((effect) => effect.kind === "send" && effect.message.kind === "load-ack");
    expect(answers).toHaveLength(1);
  });

  it("are refused when they come too often", () => {
    const state = readyNode(0, 3);
    receive(state, nodeId(1), piece(7, 0), 10);
    receive(state, nodeId(1), piece(8, 0), 20);
    expect(refusalsOf(state, 1)).toEqual({ SWARM_LOAD_TOO_OFTEN: 1 });
    receive(state, nodeId(1), piece(9, 0), 2_000);
    expect(refusalsOf(state, 1)).toEqual({ SWARM_LOAD_TOO_OFTEN: 1 });
  });

  it("do not count when nobody asked for the answer", () => {
    const state = readyNode(0, 3);
    receive(state, nodeId(1), { kind: "load-ack", nonce: 5 }, 10);
    expect(viewOf(state).counters["loads.late"]).toBe(1);
  });
});

describe("the registry", () => {
  const view = { blockNumber: 2, term: 0, leader: undefined, groups: [] };

  it("may give an equal list anew with each block: channels and measurements stay", () => {
    const state = readyNode(0, 3);
    const { table } = state;
    const { effects } = step(state, {
      kind: "registry",
      nowMs: 5,
      view: { ...view, members: memberList(3) },
    });
    expect(state.table).toBe(table);
    expect(effects.filter(({ kind }) => kind === "connect" || kind === "disconnect")).toEqual([]);
  });

  it.each([{ voter: false }, { eligible: false }, { region: "elsewhere" }, { facts: { ...FACTS, gpus: 1 } }])(
    "is taken in when a record changed: %o",
    (change) => {
      const state = readyNode(0, 3);
      const members = memberList(3).map((member, index) => (index === 2 ? { ...member, ...change } : member));
      step(state, { kind: "registry", nowMs: 5, view: { ...view, members } });
      expect(state.directory.members[2]).toMatchObject(change);
      expect(viewOf(state).members.every(({ connected }) => connected)).toBe(true);
    },
  );
});

describe("channels", () => {
  it("are closed when the peer's evidence does not hold", () => {
    const state = readyNode(0, 3);
    const verdict = refuse("TDX_SIGNATURE_INVALID", "The quote's signature does not verify.");
    const { effects } = step(state, { kind: "peer-up", nowMs: 1, id: nodeId(1), verdict });
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: "disconnect", peer: nodeId(1), code: "TDX_SIGNATURE_INVALID" }),
    );
    receive(state, nodeId(1), PING);
    expect(refusalsOf(state, 1)).toEqual({ TDX_SIGNATURE_INVALID: 1, SWARM_NOT_ATTESTED: 1 });
  });

  it("are not kept with strangers", () => {
    const state = readyNode(0, 3);
    const { effects } = step(state, {
      kind: "peer-up",
      nowMs: 1,
      id: nodeId(7),
      verdict: accept({ facts: FACTS }),
    });
    expect(effects).toContainEqual(expect.objectContaining({ kind: "disconnect", code: "SWARM_NOT_MEMBER" }));
  });
});

describe("clocks", () => {
  it("may be hours off: no message carries a time", () => {
    const early = readyNode(0, 3);
    const effects = receive(early, nodeId(1), PING, 5);
    expect(JSON.stringify(effects)).not.toContain('Ms":1');
    step(early, { kind: "tick", nowMs: 12 * 3_600_000 });
    expect(nextWakeMs(early)).toBeGreaterThan(12 * 3_600_000 - 1_000);
  });

  it("that jump back do not take time back", () => {
    const state = readyNode(0, 3);
    step(state, { kind: "tick", nowMs: 10_000 });
    step(state, { kind: "tick", nowMs: 5 });
    expect(nextWakeMs(state)).toBeGreaterThanOrEqual(10_000);
  });
});

describe("a leader", () => {
  /** Ticks that one node asks for in a while of virtual time. */
  function wakesOf(cluster: Cluster, node: number, forMs: number): number {
    let wakes = 0;
    for (let i = 0; i < forMs; i++) {
      if (nextWakeMs(cluster.states[node] as SwarmState) <= cluster.nowMs + 1) wakes++;
      cluster.run(1);
    }
    return wakes;
  }

  it("sleeps between its probes and its duties", () => {
    const cluster = new Cluster(3);
    cluster.run(1_500);
    expect(wakesOf(cluster, cluster.indexOf(cluster.view.leader as NodeId), 2_000)).toBeLessThan(100);
  });

  it("that lost its lease does not spin for it", () => {
    const cluster = new Cluster(3);
    cluster.run(1_500);
    cluster.chainUp = false;
    const leader = cluster.indexOf(cluster.view.leader as NodeId);
    cluster.cut.add(leader);
    cluster.run(1_500);
    expect(wakesOf(cluster, leader, 2_000)).toBeLessThan(200);
  });

  it("that the chain has not confirmed does not spin for a block", () => {
    const cluster = new Cluster(3);
    cluster.chainUp = false;
    cluster.run(4_000);
    const elected = cluster.indexOf(cluster.effects("publish-term")[0]?.certificate.leader as NodeId);
    expect(wakesOf(cluster, elected, 2_000)).toBeLessThan(100);
  });
});

describe("an assignment", () => {
  const group = { goalId: "compute", epoch: 2, term: 3, members: [nodeId(0), nodeId(1)] };
  const view = { term: 3, leader: nodeId(1), groups: [group] };
  const assignment = { orderId: orderId(1), node: nodeId(0), term: 3, epoch: 2, goalId: "compute" };
  const signed = (changes: object, signer = 1): Body => {
    const changed = { ...assignment, ...changes };
    const signature = signaturesOf(nodeId(signer)).sign({ kind: "assignment", ...changed });
    return { kind: "assignment", assignment: changed, signature };
  };

  it("is durable before it runs", () => {
    const state = readyNode(0, 3, view);
    const kinds = receive(state, nodeId(1), signed({})).map(({ kind }) => kind);
    expect(kinds.indexOf("persist")).toBeGreaterThanOrEqual(0);
    expect(kinds.indexOf("run")).toBeGreaterThan(kinds.indexOf("persist"));
  });

  it.each([
    ["SWARM_TERM_STALE", { term: 2 }, 1, 1],
    ["SWARM_TERM_AHEAD", { term: 4 }, 1, 1],
    ["SWARM_NOT_ADDRESSEE", { node: nodeId(2) }, 1, 1],
    ["SWARM_NOT_LEADER", {}, 2, 2],
    ["SWARM_SIGNATURE_INVALID", {}, 1, 2],
    ["SWARM_EPOCH_AHEAD", { epoch: 3 }, 1, 1],
    ["SWARM_EPOCH_AHEAD", { goalId: "other" }, 1, 1],
  ])("%s", (code, changes, from, signer) => {
    const state = readyNode(0, 3, view);
    const effects = receive(state, nodeId(from), signed(changes, signer));
    expect(effects.filter(({ kind }) => kind === "run")).toEqual([]);
    expect(refusalsOf(state, from)).toEqual({ [code]: 1 });
  });

  it("runs once, however often it comes", () => {
    const state = readyNode(0, 3, view);
    const effects = [1, 2, 3].flatMap(() => receive(state, nodeId(1), signed({})));
    expect(effects.filter(({ kind }) => kind === "run")).toHaveLength(1);
  });

  it("survives a crash", () => {
    const state = readyNode(0, 3, view);
    const record = receive(state, nodeId(1), signed({})).find((effect) => effect.kind === "persist")?.record;
    const again = init(configOf(0, 100, record));
    const { effects } = step(again, { kind: "tick", nowMs: 100 });
    expect(effects).toContainEqual(expect.objectContaining({ kind: "run", assignment }));
  });

  it("ends when the chain closes the order", () => {
    const state = readyNode(0, 3, view);
    receive(state, nodeId(1), signed({}));
    const order = { orderId: orderId(1), deadlineMs: 10 ** 9 };
    step(state, { kind: "orders", nowMs: 10, orders: [order] });
    const { effects } = step(state, { kind: "orders", nowMs: 20, orders: [] });
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: "abandon", orderId: orderId(1), reason: "closed" }),
    );
  });
});
