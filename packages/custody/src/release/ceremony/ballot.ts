import { decodeCanonical, encodeCanonical, isDigest, type Digest } from "@cloister/core";
import type { Complaint } from "./deal.ts";

/** What a member saw: each deal by its digest and its dealer's signature, and what is wrong with its own shares. */
export interface Ballot {
  readonly deals: readonly SeenDeal[];
  readonly complaints: readonly Complaint[];
}

/** A deal as a member saw it. Two of one dealer with different digests prove that it equivocated. */
export interface SeenDeal {
  readonly dealer: string;
  readonly digest: Digest;
  readonly signature: Uint8Array;
}

export function writeBallot(ballot: Ballot): Uint8Array {
  const { deals, complaints } = ballot;
  return encodeCanonical({
    deals: deals.map(({ dealer, digest, signature }) => ({ dealer, digest, signature })),
    complaints: complaints.map(({ dealer, point, proof }) => ({ dealer, point, proof })),
  });
}

/** Reads a ballot; undefined when it is malformed. */
export function readBallot(body: Uint8Array): Ballot | undefined {
  let document: unknown;
  try {
    document = decodeCanonical(body);
  } catch {
    return undefined;
  }
  const { deals, complaints } = (document ?? {}) as Record<string, unknown>;
  if (!Array.isArray(deals) || !Array.isArray(complaints)) return undefined;
  if (!deals.every(isSeenDeal) || !complaints.every(isComplaint)) return undefined;
  const isDistinct = (list: readonly { dealer: string }[]) =>
    new Set(list.map(({ dealer }) => dealer)).size === list.length;
  return isDistinct(deals) && isDistinct(complaints) ? { deals, complaints } : undefined;
}

function isSeenDeal(value: unknown): value is SeenDeal {
  const { dealer, digest, signature } = (value ?? {}) as Record<string, unknown>;
  return (
    typeof dealer === "string" &&
    typeof digest === "string" &&
    isDigest(digest) &&
    signature instanceof Uint8Array
  );
}

function isComplaint(value: unknown): value is Complaint {
  const { dealer, point, proof } = (value ?? {}) as Record<string, unknown>;
  return typeof dealer === "string" && point instanceof Uint8Array && proof instanceof Uint8Array;
}
