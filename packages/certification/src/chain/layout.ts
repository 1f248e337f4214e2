import { keccak_256 } from "@noble/hashes/sha3.js";
import {
  concat,
  digestToHex,
  fromHex,
  toHex,
  type Address,
  type Digest,
  type Hex32,
  type OrderId,
} from "@cloister/core";
import { mappingSlot, slotAfter } from "./block.ts";

/** Positions of the state variables that proofs read. spec/proof-file.md §6 */
export interface ChainLayout {
  /** Market: `mapping(bytes32 orderId => bytes32)` of anchors. */
  readonly anchors: number;
  /** Registry: `Approval[]` of measurements. */
  readonly measurements: number;
  /** Registry: `mapping(bytes32 measurement => uint32 index)`. */
  readonly measurementIndexes: number;
  /** Registry: `mapping(address => Approval)` of authorities. */
  readonly authorities: number;
}

/** The layout of the contracts of this version. */
export const CHAIN_LAYOUT: ChainLayout = {
  anchors: 0,
  measurements: 4,
  measurementIndexes: 5,
  authorities: 6,
};

/** The slot of the market that holds the anchor of an order's report. */
export function reportAnchorSlot(orderId: OrderId, layout: ChainLayout = CHAIN_LAYOUT): Hex32 {
  return mappingSlot(orderId, layout.anchors);
}

/** The word that anchors a report: Keccak-256 of order id and digest, so that it serves no other order. */
export function reportAnchorWord(orderId: OrderId, report: Digest): Uint8Array {
  return keccak_256(concat(fromHex(orderId), fromHex(digestToHex(report))));
}

/** The slot of the registry that holds the index of a measurement's approval; 0 is none. */
export function measurementIndexSlot(measurement: Digest, layout: ChainLayout = CHAIN_LAYOUT): Hex32 {
  return mappingSlot(digestToHex(measurement) as Hex32, layout.measurementIndexes);
}

/** The slot of the registry that holds the approval with an index. */
export function measurementApprovalSlot(index: number, layout: ChainLayout = CHAIN_LAYOUT): Hex32 {
  const position = new Uint8Array(32);
  new DataView(position.buffer).setBigUint64(24, BigInt(layout.measurements));
  return slotAfter(`0x${toHex(keccak_256(position))}` as Hex32, index);
}

/** The slot of the registry that holds the approval of an authority's signer. */
export function authoritySlot(signer: Address, layout: ChainLayout = CHAIN_LAYOUT): Hex32 {
  return mappingSlot(`0x${signer.slice(2).padStart(64, "0")}` as Hex32, layout.authorities);
}

/** Tells whether an approval's word is in force at a block's time: effective, and not revoked. */
export function isInForce(word: Uint8Array, timestampMs: number): boolean {
  const view = new DataView(word.buffer, word.byteOffset, 32);
  const effectiveSeconds = Number(view.getBigUint64(24));
  // The time of the revocation, of which any byte may be zero.
  const revoked = view.getBigUint64(16) !== 0n;
  return effectiveSeconds > 0 && effectiveSeconds * 1000 <= timestampMs && !revoked;
}
