import { accept, refuse } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeMessage,
  encodeMessage,
  MESSAGE_BURST_MAX,
  parseMessage,
  RELAYS_PENDING_MAX,
  step,
  SwarmMessageError,
  viewOf,
  type Body,
  type Effect,
  type Message,
  type SwarmState,
} from "../src/index.ts";
import {
  Cluster,
  FACTS,
  messageOf,
  nodeId,
  orderId,
  ORIGIN,
  readyNode,
  receive,
  signaturesOf,
} from "./cluster.ts";

const GROUP = { goalId: "compute", epoch: 2, term: 5, members: [nodeId(0), nodeId(1)] };
const VIEW = { term: 5, leader: nodeId(1), groups: [GROUP] };

function refusalsOf(state: SwarmState, node: number): Readonly<Record<string, number>> {
  return viewOf(state).refusals[nodeId(node)] ?? {};
}

function ping(changes: object = {}): Body {
  const base = {
    kind: "ping",
    nonce: 1,
    incarnation: 1,
    term: 5,
    lease: false,
    coordinate: ORIGIN,
    updates: [],
  };
  return { ...base, ...changes } as Body;
}

function vote(voter: number, term: number, candidate = 2): Body {
  const signature = signaturesOf(nodeId(voter)).sign({ kind: "vote", term, candidate: nodeId(candidate) });
  return { kind: "vote", term, candidate: nodeId(candidate), signature };
}

function assignment(changes: object = {}, signer = 1): Body {
  const given = { orderId: orderId(0), node: nodeId(0), term: 5, epoch: 2, goalId: "compute", ...changes };
  const signature = signaturesOf(nodeId(signer)).sign({ kind: "assignment", ...given });
  return { kind: "assignment", assignment: given, signature };
}

function report(sequence: number, term = 5): Body {
  const samples = [{ peer: nodeId(2), rttMs: 3, deviationMs: 1, probes: 4 }];
  const reporter = nodeId(2);
  const signature = signaturesOf(reporter).sign({ kind: "measurement", reporter, sequence, samples });
  return {
    kind: "report",
    sequence,
    term,
    draining: false,
    coordinate: ORIGIN,
    samples,
    work: [],
    signature,
  };
}

/** Valid messages that come at the wrong time, in the wrong order or from the wrong member. */
const MISPLACED: readonly [string, string, number, Body][] = [
  ["a vote of a past term", "SWARM_TERM_STALE", 2, vote(2, 5)],
  ["a vote of a term nobody can be in", "SWARM_TERM_AHEAD", 2, vote(2, 900_000)],
  ["a vote under another's signature", "SWARM_SIGNATURE_INVALID", 2, { ...vote(3, 6), kind: "vote" } as Body],
  [
    "a doubt of a term nobody can be in",
    "SWARM_TERM_AHEAD",
    2,
    { kind: "doubt", term: 900_000, standing: true },
  ],
  ["an assignment of a past term", "SWARM_TERM_STALE", 1, assignment({ term: 4 })],
  ["an assignment of a term to come", "SWARM_TERM_AHEAD", 1, assignment({ term: 6 })],
  ["an assignment of an epoch to come", "SWARM_EPOCH_AHEAD", 1, assignment({ epoch: 3 })],
  ["an assignment for another node", "SWARM_NOT_ADDRESSEE", 1, assignment({ node: nodeId(2) })],
  ["an assignment of a member that does not lead", "SWARM_NOT_LEADER", 2, assignment({}, 2)],
  [
    "an assignment whose order was swapped",
    "SWARM_SIGNATURE_INVALID",
    1,
    { ...assignment(), signature: new Uint8Array(4) } as Body,
  ],
  [
    "a withdrawal of a past term",
    "SWARM_TERM_STALE",
    1,
    { kind: "withdrawal", orderId: orderId(0), term: 4 },
  ],
  ["a report to one that does not lead", "SWARM_NOT_ADDRESSEE", 2, report(1)],
  ["a report of a past term", "SWARM_TERM_STALE", 2, report(1, 4)],
  [
    "an answer to nothing that was asked",
    "SWARM_ANSWER_LATE",
    2,
    { ...ping({ nonce: 77 }), kind: "ack", lease: undefined } as never,
  ],
  [
    "a request to measure by one that does not lead",
    "SWARM_NOT_LEADER",
    2,
    { kind: "measure", term: 5, targets: [nodeId(1)], load: false },
  ],
];

describe("a valid message out of its place", () => {
  it.each(MISPLACED)("%s: %s, counted against its sender, without effect", (_, code, from, body) => {
    const state = readyNode(0, 4, VIEW);
    const effects = receive(state, nodeId(from), body, 10);
    expect(refusalsOf(state, from)).toEqual({ [code]: 1 });
    expect(viewOf(state).counters[`refused.${code}`]).toBe(1);
    const strong = ["run", "persist", "assign", "publish-term", "publish-group"];
    expect(effects.filter(({ kind }) => strong.includes(kind))).toEqual([]);
  });

  it("is refused with the others of its kind when its sender is expelled, although it verifies", () => {
    const state = readyNode(0, 4, VIEW);
    const members = state.view.members.filter(({ id }) => id !== nodeId(1));
    step(state, { kind: "registry", nowMs: 5, view: { ...state.view, members } });
    expect(receive(state, nodeId(1), assignment(), 10).some(({ kind }) => kind === "run")).toBe(false);
    expect(refusalsOf(state, 1)).toEqual({ SWARM_NOT_MEMBER: 1 });
  });

  it("is refused when the group's next epoch left this node out: SWARM_EPOCH_STALE", () => {
    const groups = [{ ...GROUP, members: [nodeId(1), nodeId(2)] }];
    const state = readyNode(0, 4, { ...VIEW, groups });
    expect(receive(state, nodeId(1), assignment({ epoch: 1 }), 10).map(({ kind }) => kind)).not.toContain(
      "run",
    );
    expect(refusalsOf(state, 1)).toEqual({ SWARM_EPOCH_STALE: 1 });
  });

  it("is refused when it asks for more probes than wait at one time: SWARM_RELAYS_BUSY", () => {
    const state = readyNode(0, 4, VIEW);
    const asks = 2 * RELAYS_PENDING_MAX;
    for (let nonce = 0; nonce < asks; nonce++) {
      receive(state, nodeId(3), { kind: "ping-for", nonce, target: nodeId(2) }, 10);
    }
    expect(refusalsOf(state, 3)).toEqual({ SWARM_RELAYS_BUSY: asks - RELAYS_PENDING_MAX });
    expect(state.pending.size).toBeLessThan(RELAYS_PENDING_MAX + 10);
    expect(refusalsOf(state, 2)).toEqual({});
  });

  it("is refused when it is for another chain or another swarm, although it verifies: SWARM_WRONG_CHAIN", () => {
    const state = readyNode(0, 4, VIEW);
    for (const change of [{ chainId: 1 }, { swarm: "cdcdcdcd" }]) {
      const message = { ...(messageOf(assignment()) as object), ...change };
      const { effects } = step(state, { kind: "received", nowMs: 10, from: nodeId(1), message });
      expect(effects.map(({ kind }) => kind)).not.toContain("run");
    }
    expect(refusalsOf(state, 1)).toEqual({ SWARM_WRONG_CHAIN: 2 });
  });

  it("is a replay when its number was used: only the first report counts", () => {
    const cluster = new Cluster(3);
    cluster.run(1_500);
    const leader = cluster.states[cluster.indexOf(cluster.view.leader as never)] as SwarmState;
    const from = cluster.indexOf(leader.config.self) === 2 ? 1 : 2;
    const samples = [{ peer: leader.config.self, rttMs: 3, deviationMs: 1, probes: 4 }];
    const statement = { kind: "measurement", reporter: nodeId(from), sequence: 10 ** 9, samples } as const;
    const body: Body = {
      ...(report(10 ** 9, cluster.view.term) as Extract<Body, { kind: "report" }>),
      samples,
      signature: signaturesOf(nodeId(from)).sign(statement),
    };
    receive(leader, nodeId(from), body);
    receive(leader, nodeId(from), body);
    expect(refusalsOf(leader, from)["SWARM_REPLAYED"]).toBe(1);
  });
});

describe("a flood from one member", () => {
  it("is counted against it alone, and the others are served as before", () => {
    const state = readyNode(0, 4, VIEW);
    for (let i = 0; i < 20 * MESSAGE_BURST_MAX; i++) receive(state, nodeId(3), ping({ nonce: i }), 10);
    expect(refusalsOf(state, 3)["SWARM_FLOOD"]).toBe(19 * MESSAGE_BURST_MAX);
    expect(refusalsOf(state, 1)).toEqual({});
    const served = receive(state, nodeId(1), ping(), 10);
    expect(served.some((effect) => effect.kind === "send" && effect.message.kind === "ack")).toBe(true);
    expect(state.pending.size).toBeLessThan(10);
  });

  it("is told of in a line for the first, the tenth, the hundredth, by name and code", () => {
    const state = readyNode(0, 4, VIEW);
    const told: unknown[] = [];
    const hear = (effects: readonly Effect[]): void => {
      for (const effect of effects) {
        if (effect.kind === "log" && effect.event === "messages-refused") told.push(effect.fields);
      }
    };
    for (let i = 0; i < 700; i++) {
      hear(step(state, { kind: "received", nowMs: 10, from: nodeId(2), message: { kind: "gift" } }).effects);
    }
    const line = (times: number): unknown => ({ member: nodeId(2), code: "SWARM_MESSAGE_MALFORMED", times });
    expect(told).toEqual([1, 10, 100].map(line));
  });

  it("of answers that come late, as everybody's may, is told of only once they are many", () => {
    const state = readyNode(0, 4, VIEW);
    const times = (count: number): number => {
      let lines = 0;
      for (let i = 0; i < count; i++) {
        const ack = { kind: "ack", nonce: 9_999, incarnation: 1, term: 5, coordinate: ORIGIN, updates: [] };
        const effects = receive(state, nodeId(2), ack as unknown as Body, 10);
        lines += effects.filter((one) => one.kind === "log" && one.event === "messages-refused").length;
      }
      return lines;
    };
    expect(times(99)).toBe(0);
    expect(times(1)).toBe(1);
    expect(Object.values(refusalsOf(state, 2))).toEqual([100]);
  });

  it("of votes for ever new terms keeps no more of them than the bound", () => {
    const state = readyNode(0, 4, VIEW);
    for (let term = 6; term < 500; term++) receive(state, nodeId(2), vote(2, term), 10 * term);
    expect(state.election.votes.size).toBeLessThanOrEqual(8);
  });
});

describe("two nodes with one identity", () => {
  it("on a channel of its own name: SWARM_IDENTITY_TWICE", () => {
    const state = readyNode(0, 3);
    step(state, { kind: "peer-up", nowMs: 1, id: nodeId(0), verdict: accept({ facts: FACTS }) });
    receive(state, nodeId(0), ping(), 2);
    expect(refusalsOf(state, 0)).toEqual({ SWARM_IDENTITY_TWICE: 2 });
  });

  it("hear of one another's incarnations, count it, and stop to vote", () => {
    const state = readyNode(0, 3);
    receive(state, nodeId(1), ping({ updates: [[nodeId(0), 0, 50]] }), 10);
    expect(viewOf(state).counters["identity.forgotten"]).toBe(1);
    expect(state.election.abstainUntilMs).toBeGreaterThan(state.nowMs);
    expect(state.incarnation).toBe(51);
  });
});

describe("clocks hours off", () => {
  it("do not keep a swarm from electing, grouping and healing", () => {
    const goal = { id: "compute", kind: "compute", size: { min: 2, max: 2 }, failedGraceMs: 300 } as const;
    const cluster = new Cluster(4, [goal]);
    const HOUR = 3_600_000;
    const sources = cluster.states.map((_, node) => (node - 2) * 7 * HOUR);
    const real = cluster.feed.bind(cluster);
    cluster.feed = (node, input) => {
      const skewed = input.nowMs + (sources[node] as number) + 20 * HOUR;
      real(node, { ...input, nowMs: skewed });
    };
    for (let node = 0; node < 4; node++) cluster.states[node] = undefined;
    for (let node = 0; node < 4; node++) cluster.start(node);
    for (let ms = 0; ms < 3_000; ms += 10) {
      for (let node = 0; node < 4; node++) cluster.feed(node, { kind: "tick", nowMs: ms });
      cluster.run(10);
    }
    expect(cluster.view.term).toBe(1);
    expect(cluster.view.groups[0]?.members).toHaveLength(2);
  });

  it("set while an answer is on its way: no round trip of hours, no coordinate that others refuse", () => {
    const state = readyNode(0, 3);
    const asked = step(state, { kind: "tick", nowMs: 200 }).effects.flatMap((effect) => {
      return effect.kind === "send" && effect.message.kind === "ping" ? [effect] : [];
    });
    expect(asked.length).toBeGreaterThan(0);
    for (const { to, message } of asked) {
      const { nonce } = message as Extract<Message, { kind: "ping" }>;
      const { lease: _, ...ack } = { ...ping(), kind: "ack", nonce } as unknown as Record<string, unknown>;
      receive(state, to, { ...ack, coordinate: { ...ORIGIN, error: 0.1 } } as never, 3_600_000);
    }
    expect(viewOf(state).counters["probes.not-measured"]).toBe(asked.length);
    expect(Math.max(...state.table.rttMs)).toBeLessThan(1_000);
    const [sent] = step(state, { kind: "tick", nowMs: 3_600_100 }).effects.filter(
      ({ kind }) => kind === "send",
    ) as Extract<Effect, { kind: "send" }>[];
    expect(() => decodeMessage(encodeMessage(sent?.message as Message))).not.toThrow();
  });
});

describe("evidence", () => {
  const refused = refuse("TDX_TCB_REVOKED", "The platform's TCB was revoked.");

  it("that is refused on re-attestation closes the channel, and nothing more is sent on it", () => {
    const state = readyNode(0, 3);
    const { effects } = step(state, { kind: "peer-up", nowMs: 5, id: nodeId(1), verdict: refused });
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: "disconnect", peer: nodeId(1), code: "TDX_TCB_REVOKED" }),
    );
    receive(state, nodeId(1), ping(), 6);
    expect(refusalsOf(state, 1)).toEqual({ TDX_TCB_REVOKED: 1, SWARM_NOT_ATTESTED: 1 });
    for (let ms = 10; ms < 500; ms += 10) {
      const sent = step(state, { kind: "tick", nowMs: ms }).effects.filter(
        (effect) => effect.kind === "send" && effect.to === nodeId(1),
      );
      expect(sent).toEqual([]);
    }
  });

  it("that is not renewed in time closes the channel; renewed, it stays open", () => {
    const state = readyNode(0, 3);
    const until = (validUntilMs: number, nowMs: number): readonly Effect[] =>
      step(state, { kind: "peer-up", nowMs, id: nodeId(1), verdict: accept({ facts: FACTS, validUntilMs }) })
        .effects;
    until(1_000, 5);
    until(2_000, 900);
    const closes = (nowMs: number): boolean =>
      step(state, { kind: "tick", nowMs }).effects.some(
        (effect) => effect.kind === "disconnect" && effect.code === "SWARM_EVIDENCE_EXPIRED",
      );
    expect(closes(1_500)).toBe(false);
    expect(closes(2_001)).toBe(true);
    expect(viewOf(state).members[1]?.connected).toBe(false);
  });
});

/** Anything that has the outline of a message: known kinds and members, values from everywhere. */
const OUTLINES = fc.dictionary(
  fc.constantFrom(
    ...[
      "chainId",
      "swarm",
      "kind",
      "nonce",
      "incarnation",
      "term",
      "lease",
      "coordinate",
      "updates",
      "target",
    ],
    ...[
      "heard",
      "standing",
      "candidate",
      "signature",
      "assignment",
      "orderId",
      "sequence",
      "draining",
      "samples",
    ],
    ...["work", "targets", "load", "piece", "payload", "succession"],
  ),
  fc.oneof(
    fc.constantFrom(31_337, "abababab", nodeId(1), nodeId(2), orderId(0), true, false, ORIGIN, 0, 5, 6),
    fc.constantFrom(
      "ping",
      "ack",
      "vote",
      "doubt",
      "report",
      "assignment",
      "measure",
      "load",
      "ping-for",
      "ack-for",
    ),
    fc.uint8Array({ maxLength: 80 }),
    fc.double(),
    fc.maxSafeInteger(),
    fc.array(fc.tuple(fc.constantFrom(nodeId(1), nodeId(3)), fc.integer(), fc.maxSafeInteger()), {
      maxLength: 12,
    }),
    fc.array(fc.constantFrom(nodeId(1), nodeId(2)), { maxLength: 20 }),
    fc.anything(),
  ),
);

/** Members replaced in messages that were valid. */
function spoiled(bodies: readonly Body[]): fc.Arbitrary<unknown> {
  return fc.tuple(fc.constantFrom(...bodies), OUTLINES).map(([body, change]) => {
    const { kind: _, ...values } = change;
    return { ...(messageOf(body) as object), ...values };
  });
}

describe("whatever arrives", () => {
  const bodies = [...MISPLACED.map(([, , , body]) => body), ping(), vote(2, 6), report(3)];

  it("decodes to a message that encodes to the same bytes, or is refused with a code", () => {
    const mutated = fc
      .tuple(fc.constantFrom(...bodies), fc.nat(), fc.integer({ min: 0, max: 255 }))
      .map(([body, place, byte]) => {
        const bytes = encodeMessage(messageOf(body) as Message);
        bytes[place % bytes.length] = byte;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 300 })), (bytes) => {
        try {
          expect(encodeMessage(decodeMessage(bytes))).toEqual(bytes);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SwarmMessageError);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it("parses to a message or is refused with a code, and step neither throws nor grows", () => {
    const state = readyNode(0, 4, VIEW);
    let nowMs = 100;
    fc.assert(
      fc.property(fc.oneof(spoiled(bodies), OUTLINES), fc.integer({ min: 0, max: 5 }), (message, from) => {
        try {
          parseMessage(message);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SwarmMessageError);
        }
        nowMs += 5;
        const { effects } = step(state, { kind: "received", nowMs, from: nodeId(from), message });
        expect(effects.length).toBeLessThan(40);
        for (const effect of effects) expect(["run", "assign", "publish-term"]).not.toContain(effect.kind);
      }),
      { numRuns: 3_000 },
    );
    expect(state.election.votes.size).toBeLessThanOrEqual(8);
    expect(state.pending.size).toBeLessThanOrEqual(512);
    expect(state.updates.size).toBeLessThanOrEqual(4);
    expect(state.asked.length).toBeLessThanOrEqual(16);
    expect(state.accepted.size).toBe(0);
  });
});
