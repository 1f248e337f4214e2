import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeCanonical } from "@cloister/core";
import {
  decodeMessage,
  decodeRecord,
  encodeMessage,
  encodeRecord,
  MESSAGE_BYTES_MAX,
  parseMessage,
  type Body,
  type Message,
} from "../src/index.ts";
import { messageOf, nodeId, orderId, ORIGIN } from "./cluster.ts";

const ASSIGNMENT = { orderId: orderId(1), node: nodeId(1), term: 3, epoch: 2, goalId: "compute" };
const BODIES: readonly Body[] = [
  {
    kind: "ping",
    nonce: 1,
    incarnation: 2,
    term: 3,
    lease: true,
    coordinate: ORIGIN,
    updates: [[nodeId(4), 1, 1]],
  },
  {
    kind: "ack",
    nonce: 1,
    incarnation: 2,
    term: 3,
    coordinate: ORIGIN,
    updates: [],
    succession: [nodeId(1), nodeId(2)],
  },
  { kind: "ping-for", nonce: 9, target: nodeId(2) },
  { kind: "ack-for", nonce: 9, target: nodeId(2), heard: false },
  { kind: "doubt", term: 4, standing: true },
  { kind: "vote", term: 5, candidate: nodeId(0), signature: Uint8Array.of(1, 2) },
  { kind: "assignment", assignment: ASSIGNMENT, signature: Uint8Array.of(1, 2) },
  { kind: "withdrawal", orderId: orderId(1), term: 3 },
  {
    kind: "report",
    sequence: 1,
    term: 2,
    draining: false,
    coordinate: ORIGIN,
    samples: [{ peer: nodeId(1), rttMs: 1.5, deviationMs: 0.25, probes: 3 }],
    work: [{ orderId: orderId(1), term: 2, state: "running" }],
    signature: Uint8Array.of(1),
  },
  { kind: "measure", term: 1, targets: [nodeId(3)], load: false },
  { kind: "load", nonce: 4, piece: 3, payload: new Uint8Array(8) },
  { kind: "load-ack", nonce: 4 },
];

describe("messages", () => {
  it.each(BODIES.map((body) => [body.kind, body] as const))("%s comes back as it was", (_, body) => {
    const message = messageOf(body) as Message;
    expect(decodeMessage(encodeMessage(message))).toEqual(message);
  });

  it.each(BODIES.map((body) => [body.kind, body] as const))("%s is refused with a member more", (_, body) => {
    expect(() => parseMessage({ ...(messageOf(body) as object), extra: 1 })).toThrow("not defined");
  });

  it.each(BODIES.map((body) => [body.kind, body] as const))("%s is refused with a member less", (_, body) => {
    const message = messageOf(body) as Record<string, unknown>;
    for (const name of Object.keys(message)) {
      if (name === "succession") continue;
      const { [name]: _gone, ...rest } = message;
      expect(() => parseMessage(rest)).toThrow(expect.objectContaining({ code: "SWARM_MESSAGE_MALFORMED" }));
    }
  });

  it("refuses every other value in each member, without any other kind of error", () => {
    const foreign = fc.oneof(
      fc.anything(),
      fc.constantFrom<unknown>(NaN, -1, 2 ** 60, "", "0x", [], {}, null, new Uint8Array(66), -0.5, Infinity),
    );
    const cases = fc.tuple(fc.constantFrom(...BODIES), fc.nat(12), foreign);
    fc.assert(
      fc.property(cases, ([body, place, value]) => {
        const message = messageOf(body) as Record<string, unknown>;
        const names = Object.keys(message);
        const name = names[place % names.length] as string;
        try {
          parseMessage({ ...message, [name]: value });
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "SWARM_MESSAGE_MALFORMED" });
        }
      }),
      { numRuns: 500 },
    );
  });

  it("decodes no random bytes into anything but a message or a refusal", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(() => decodeMessage(bytes)).toThrow(
          expect.objectContaining({ code: "SWARM_MESSAGE_MALFORMED" }),
        );
      }),
    );
  });

  it("refuses a large message before it decodes it", () => {
    const bytes = new Uint8Array(MESSAGE_BYTES_MAX + 1);
    expect(() => decodeMessage(bytes)).toThrow(expect.objectContaining({ code: "SWARM_MESSAGE_TOO_LARGE" }));
  });

  it("refuses names that are inherited, not defined", () => {
    for (const kind of ["constructor", "toString", "__proto__"]) {
      expect(() => parseMessage({ chainId: 1, swarm: "abababab", kind })).toThrow("no kind");
    }
  });

  it("refuses ids that are not lower case, so that one member has one name", () => {
    const body = { kind: "ping-for", nonce: 9, target: nodeId(10).toUpperCase().replace("0X", "0x") };
    expect(() => parseMessage(messageOf(body as Body))).toThrow("not a node's");
  });

  it("bounds every list", () => {
    const update = [nodeId(1), 0, 1] as const;
    const ping = {
      ...(BODIES[0] as Extract<Body, { kind: "ping" }>),
      updates: Array.from({ length: 9 }, () => update),
    };
    expect(() => parseMessage(messageOf(ping))).toThrow("short list");
  });
});

describe("the durable record", () => {
  const record = {
    votedTerm: 7,
    votedFor: nodeId(2),
    incarnation: 3,
    assignments: [{ assignment: ASSIGNMENT, signature: Uint8Array.of(9) }],
  };

  it("comes back as it was", () => {
    expect(decodeRecord(encodeRecord(record))).toEqual(record);
    expect(
      decodeRecord(encodeRecord({ votedTerm: 0, incarnation: 1, assignments: [] })).votedFor,
    ).toBeUndefined();
  });

  it("refuses a torn write at every length", () => {
    const bytes = encodeRecord(record);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeRecord(bytes.subarray(0, length))).toThrow(
        expect.objectContaining({ code: "SWARM_RECORD_MALFORMED" }),
      );
    }
  });

  it("refuses a record of another version", () => {
    const bytes = encodeCanonical({ ...record, version: 2 });
    expect(() => decodeRecord(bytes)).toThrow(expect.objectContaining({ code: "SWARM_RECORD_MALFORMED" }));
  });
});
