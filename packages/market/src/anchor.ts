import { keccak_256 } from "@noble/hashes/sha3.js";
import {
  concat,
  digestBytes,
  fromHex,
  toHex,
  utf8,
  type Digest,
  type Hex32,
  type OrderId,
} from "@cloister/core";

/** Position of `anchors` in the market's storage. */
const ANCHORS_POSITION = 0;

/** What an order's slot holds after a refund, and after a refund whose node lost stake. */
export const ANCHOR_REFUNDED = 1n;
export const ANCHOR_FORFEITED = 2n;

/**
 * The storage slot of the market that tells an order's state: keccak256(orderId ‖ uint256(0)).
 * `eth_getProof` proves it. spec/market.md §5
 */
export function reportAnchorSlot(orderId: OrderId): Hex32 {
  const position = new Uint8Array(32);
  position[31] = ANCHORS_POSITION;
  return hash(concat(fromHex(orderId), position));
}

/** What that slot holds once a report ended the order: keccak256(orderId ‖ reportDigest). */
export function reportAnchor(orderId: OrderId, reportDigest: Digest): Hex32 {
  return hash(concat(fromHex(orderId), digestBytes(reportDigest)));
}

/** The hash by which contracts name a goal. */
export function goalHash(goalId: string): Hex32 {
  return hash(utf8(goalId));
}

function hash(bytes: Uint8Array): Hex32 {
  return `0x${toHex(keccak_256(bytes))}` as Hex32;
}
