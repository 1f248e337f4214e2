import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { NodeId } from "@cloister/core";
import type { Input } from "@cloister/swarm";
import { InputQueue } from "../src/input-queue.ts";

const A = `0x${"aa".repeat(20)}` as NodeId;
const B = `0x${"bb".repeat(20)}` as NodeId;
const message = (from: NodeId, kind: string, nonce = 0): Input => {
  return { kind: "received", nowMs: 0, from, message: { kind, nonce } };
};

function drained(queue: InputQueue): Input[] {
  const inputs: Input[] = [];
  for (let input = queue.shift(); input !== undefined; input = queue.shift()) inputs.push(input);
  return inputs;
}

describe("what waits for the core", () => {
  test("comes out in the order in which it went in", () => {
    const queue = new InputQueue();
    const inputs = [message(A, "ping"), { kind: "drain", nowMs: 0 } as Input, message(B, "vote")];
    for (const input of inputs) queue.push(input);
    expect(drained(queue)).toEqual(inputs);
  });

  test("is one tick at a time", () => {
    const queue = new InputQueue();
    queue.push({ kind: "tick", nowMs: 1 });
    queue.push({ kind: "tick", nowMs: 2 });
    expect(drained(queue)).toHaveLength(1);
    queue.push({ kind: "tick", nowMs: 3 });
    expect(queue.length).toBe(1);
  });

  test("is of what says everything anew the newest, in its place among the others", () => {
    const queue = new InputQueue();
    const goals = (nowMs: number): Input => ({ kind: "goals", nowMs, goals: [] });
    const orders: Input = { kind: "orders", nowMs: 2, orders: [] };
    for (const input of [goals(1), orders, message(A, "vote"), goals(3)]) queue.push(input);
    expect(drained(queue)).toEqual([orders, message(A, "vote"), goals(3)]);
  });

  test("loses the oldest gossip of a peer that floods, and of nobody else", () => {
    const queue = new InputQueue();
    queue.push(message(B, "ping", 1));
    queue.push(message(A, "vote", 2));
    for (let nonce = 0; nonce < 1_000; nonce++) queue.push(message(A, "ping", nonce));
    expect(queue.dropped()).toEqual({ [A]: 936 });
    const nonces = drained(queue).map((input) => (input as { message: { nonce: number } }).message.nonce);
    expect(nonces.slice(0, 3)).toEqual([1, 2, 936]);
    expect(nonces.at(-1)).toBe(999);
  });

  test("keeps votes of a peer whose gossip is dropped, until they are a flood themselves", () => {
    const queue = new InputQueue();
    for (let nonce = 0; nonce < 1_100; nonce++) queue.push(message(A, "vote", nonce));
    queue.push(message(B, "vote"));
    expect(queue.length).toBe(1_025);
    expect(queue.dropped()).toEqual({ [A]: 76 });
  });

  test.each([null, undefined, 1, "ping", [], { kind: 3 }, { kind: "unknown" }])(
    "takes %j for something urgent: the core refuses it by name",
    (odd) => {
      const queue = new InputQueue();
      queue.push({ kind: "received", nowMs: 0, from: A, message: odd });
      expect(drained(queue)).toHaveLength(1);
    },
  );

  test("is bounded and conserved: in = out + dropped, whatever comes", () => {
    const kinds = fc.constantFrom("ping", "ack", "report", "vote", "doubt");
    const one = fc.record({ from: fc.constantFrom(A, B), kind: kinds, take: fc.boolean() });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 400 }), (steps) => {
        const queue = new InputQueue();
        let out = 0;
        for (const { from, kind, take } of steps) {
          queue.push(message(from, kind));
          if (take && queue.shift() !== undefined) out++;
        }
        const dropped = Object.values(queue.dropped()).reduce((sum, count) => sum + count, 0);
        expect(out + dropped + drained(queue).length).toBe(steps.length);
      }),
    );
  });
});
