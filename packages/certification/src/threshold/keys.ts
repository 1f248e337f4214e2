import { encodeCanonical, type Digest, digestOfDocument } from "@cloister/core";
import { Shape } from "../shape.ts";
import { evaluateCommitment, Fn, Point, readPoint, readScalar, type GroupPoint } from "./field.ts";

/** What everybody may know of a key that exists as shares: the polynomial's commitment says it all. */
export interface GroupKey {
  /** How many shares make a signature. */
  readonly threshold: number;
  /** How many shares there are; they are numbered from 1 on. */
  readonly size: number;
  /** Commitments to the polynomial's coefficients, 32 bytes each; the first is the Ed25519 public key. */
  readonly commitment: readonly Uint8Array[];
}

/** One member's share. It never leaves the CVM unsealed. */
export interface KeyShare {
  readonly index: number;
  /** The scalar, 32 bytes little-endian. */
  readonly secret: Uint8Array;
  readonly group: GroupKey;
}

const MEMBERS_MAX = 31;
const SHARE_BYTES_MAX = 4096;
const shape = new Shape("KEY_SHARE_MALFORMED", "key share");

/** The Ed25519 public key of the group, 32 bytes. */
export function publicKeyOf(group: GroupKey): Uint8Array {
  return group.commitment[0] as Uint8Array;
}

/** The public counterpart of one member's share. */
export function verifyingShare(group: GroupKey, index: number): GroupPoint {
  return evaluateCommitment(group.commitment.map(readPoint), index);
}

/** The public counterparts of all shares, by index from 1 on. */
export function verifyingShares(group: GroupKey): GroupPoint[] {
  const points = group.commitment.map(readPoint);
  return Array.from({ length: group.size }, (_, i) => evaluateCommitment(points, i + 1));
}

/** One digest that names a group's key and all its shares. */
export function groupKeyDigest(group: GroupKey): Digest {
  return digestOfDocument({ ...group });
}

/** Encodes a share for sealed storage. */
export function encodeKeyShare(share: KeyShare): Uint8Array {
  return encodeCanonical({ version: 1, index: share.index, secret: share.secret, group: share.group });
}

/** Decodes a share and holds it against its group. @throws {CloisterError} `KEY_SHARE_MALFORMED` */
export function decodeKeyShare(bytes: Uint8Array): KeyShare {
  const document = shape.record(shape.decode(bytes, SHARE_BYTES_MAX), "", [
    "version",
    "index",
    "secret",
    "group",
  ]);
  shape.exactly(document.version, "version", 1);
  const group = readGroupKey(document.group, "group", shape);
  const index = shape.count(document.index, "index", group.size);
  const secret = shape.fixed(document.secret, "secret", 32);
  shape.check(
    index > 0 && fits(group, index, secret),
    "secret",
    "it is not the share of this group at this index",
  );
  return { index, secret, group };
}

/** Reads what everybody may know of a key. */
export function readGroupKey(value: unknown, path: string, s: Shape): GroupKey {
  const document = s.record(value, path, ["threshold", "size", "commitment"]);
  const size = s.count(document.size, `${path}.size`, MEMBERS_MAX);
  const threshold = s.count(document.threshold, `${path}.threshold`, size);
  const commitment = s.list(document.commitment, `${path}.commitment`, MEMBERS_MAX, (item, where) =>
    s.fixed(item, where, 32),
  );
  s.check(threshold > 0 && commitment.length === threshold, `${path}.commitment`, "it has another degree");
  return { threshold, size, commitment };
}

function fits(group: GroupKey, index: number, secret: Uint8Array): boolean {
  try {
    const scalar = readScalar(secret);
    return scalar !== 0n && Point.BASE.multiply(scalar).equals(verifyingShare(group, index));
  } catch {
    return false;
  }
}

/** A scalar as shares hold it. */
export function scalarBytes(scalar: bigint): Uint8Array {
  return Fn.toBytes(scalar);
}
