import { toHex, type Address, type NodeId, type OrderId } from "@cloister/core";
import { ANCHORED, type MarketState } from "./state.ts";
import { encodeReport } from "./statements.ts";
import type { Assignment, Report } from "./types.ts";

export type Hex = `0x${string}`;

/**
 * One transaction and how to know that it is not needed: when `done` holds of the state, its effect is
 * there already, by an earlier send or by somebody else.
 */
export interface Call {
  /** For logs and errors: the contract's function. */
  readonly name: string;
  readonly to: Address;
  readonly data: Hex;
  readonly valueWei: bigint;
  done(state: MarketState): boolean;
}

/** An assignment as the contracts take it: node (160) term (48) epoch (48). */
export function packAssignment(assignment: Omit<Assignment, "orderId">): bigint {
  return (BigInt(assignment.node) << 96n) | (BigInt(assignment.term) << 48n) | BigInt(assignment.epoch);
}

/** A report as the contracts take it. */
export function packReport(report: Report) {
  const { reportDigest, outputDigest, outcome, exitCode, secondsUsed } = encodeReport(report);
  const result = (BigInt(outcome) << 64n) | (BigInt(exitCode) << 32n) | BigInt(secondsUsed);
  return { reportDigest, outputDigest, result };
}

/** The 65 bytes of a signature as the two words of ERC-2098. */
export function compact(signature: Uint8Array): readonly [Hex, Hex] {
  const words = signature.slice(0, 64);
  if (signature[64] === 28) words[32] = (words[32] as number) | 0x80;
  return [bytes(words.subarray(0, 32)), bytes(words.subarray(32))];
}

/** Puts a call together. */
export function call(to: Address, name: string, data: Hex, done: Call["done"], valueWei = 0n): Call {
  return { name, to, data, valueWei, done };
}

/** For calls whose effect nothing tells from another one's. */
export function never(): boolean {
  return false;
}

/** Bytes as hex; none where there is nothing. */
export function bytes(value: Uint8Array | undefined): Hex {
  return value === undefined ? "0x" : `0x${toHex(value)}`;
}

/** Further slots as the contracts take them: node (160) zero (64) seconds (32) each. */
export function packSlots(nodes: readonly NodeId[], seconds: readonly number[] = []): bigint[] {
  return nodes.map((node, i) => (BigInt(node) << 96n) | BigInt(seconds[i] ?? 0));
}

/** Has the order come to one of its ends? */
export function hasEnded(state: MarketState, id: OrderId): boolean {
  const status = state.orders.get(id)?.status;
  return status !== undefined && ANCHORED.has(status);
}
