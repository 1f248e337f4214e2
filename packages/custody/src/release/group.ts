import {
  CloisterError,
  decodeCanonical,
  digestOf,
  digestOfDocument,
  encodeCanonical,
  type Digest,
} from "@cloister/core";
import { x25519Recipient } from "../sealed/recipients.ts";
import { decodePoint, evaluateCommitments, toMontgomery, type Point } from "./curve.ts";
import type { GroupKey, GroupMember, GroupShare } from "./types.ts";

export const MEMBERS_MAX = 256;
const ID_LENGTH_MAX = 128;

/** The group's public X25519 key, to which `GroupKey.recipient` belongs. */
export function groupPublicKey(group: GroupKey): Uint8Array {
  return toMontgomery(decodeCommitment(group, 0));
}

/** The public point of one member's share: what its partial keys are checked against. */
export function publicShare(group: GroupKey, index: number): Point {
  return evaluateCommitments(
    group.commitments.map((_, k) => decodeCommitment(group, k)),
    index,
  );
}

/** Builds the public side of a group from the combined commitments of a ceremony. */
export function createGroupKey(
  epoch: number,
  members: readonly GroupMember[],
  commitments: readonly Point[],
): GroupKey {
  const [secretImage] = commitments as [Point, ...Point[]];
  return {
    groupId: digestOf(secretImage.toBytes()),
    epoch,
    threshold: commitments.length,
    members,
    commitments: commitments.map((commitment) => commitment.toBytes()),
    recipient: x25519Recipient(toMontgomery(secretImage)).text,
  };
}

/** Identifies a group with its epoch, members and commitments. */
export function groupDigest(group: GroupKey): Digest {
  return digestOfDocument(groupDocument(group));
}

/** Encodes the public side of a group as canonical CBOR. */
export function encodeGroupKey(group: GroupKey): Uint8Array {
  return encodeCanonical(groupDocument(group));
}

/**
 * Reads the public side of a group; `groupId` and `recipient` are computed, never believed.
 * @throws {CloisterError} `RELEASE_GROUP_MALFORMED`
 */
export function decodeGroupKey(bytes: Uint8Array): GroupKey {
  const document = readDocument(bytes, "RELEASE_GROUP_MALFORMED", "group key");
  const { epoch, members, commitments } = document;
  if (!isCount(epoch) || !Array.isArray(members) || !Array.isArray(commitments)) throw malformedGroup();
  const list = members.map((member) => readMember(member));
  const points = commitments.map((bytesOfPoint: unknown) =>
    bytesOfPoint instanceof Uint8Array ? decodePoint(bytesOfPoint) : undefined,
  );
  if (Object.keys(document).length !== 3 || !points.every((point) => point !== undefined))
    throw malformedGroup();
  if (points.length < 1 || points.length > list.length || !areDistinctMembers(list)) throw malformedGroup();
  return createGroupKey(epoch, list, points);
}

/** Encodes a member's secret; seal the result before it leaves memory. */
export function encodeGroupShare(share: GroupShare): Uint8Array {
  return encodeCanonical({ ...share });
}

/** @throws {CloisterError} `RELEASE_SHARE_MALFORMED` */
export function decodeGroupShare(bytes: Uint8Array): GroupShare {
  const { groupId, epoch, index, secret } = readDocument(bytes, "RELEASE_SHARE_MALFORMED", "share");
  if (typeof groupId === "string" && isCount(epoch) && isCount(index) && secret instanceof Uint8Array) {
    return { groupId: groupId as Digest, epoch, index, secret };
  }
  throw new CloisterError("RELEASE_SHARE_MALFORMED", "The record is not a share of a key-release group.");
}

/** Tells whether ids, indices and keys are each used once and lie within limits. */
export function areDistinctMembers(members: readonly GroupMember[]): boolean {
  const distinct = (key: (member: GroupMember) => unknown) =>
    new Set(members.map(key)).size === members.length;
  return (
    members.length >= 1 &&
    members.length <= MEMBERS_MAX &&
    distinct((member) => member.id) &&
    distinct((member) => member.index) &&
    distinct((member) => String(member.identityKey)) &&
    distinct((member) => String(member.wrapKey)) &&
    members.every((member) => member.index >= 1 && member.index <= 0xffff)
  );
}

/** A member as canonical documents hold it. */
export function memberDocument(member: GroupMember): Record<string, unknown> {
  const { id, index, identityKey, wrapKey } = member;
  return { id, index, identityKey, wrapKey };
}

function groupDocument(group: GroupKey): Record<string, unknown> {
  return {
    epoch: group.epoch,
    members: group.members.map(memberDocument),
    commitments: group.commitments,
  };
}

/**
 * Reads a member as `memberDocument` writes it.
 * @throws {CloisterError} `RELEASE_GROUP_MALFORMED`
 */
export function readMember(document: unknown): GroupMember {
  if (typeof document !== "object" || document === null) throw malformedGroup();
  const { id, index, identityKey, wrapKey } = document as Record<string, unknown>;
  if (typeof id !== "string" || id.length > ID_LENGTH_MAX || !isCount(index)) throw malformedGroup();
  if (!isKey(identityKey) || !isKey(wrapKey) || Object.keys(document).length !== 4) throw malformedGroup();
  return { id, index, identityKey, wrapKey };
}

/** A group's few commitments are asked for with every partial key; proving that they are in the group is slow. */
const commitmentPoints = new WeakMap<Uint8Array, Point>();

function decodeCommitment(group: GroupKey, k: number): Point {
  const bytes = group.commitments[k] ?? new Uint8Array(0);
  const known = commitmentPoints.get(bytes);
  if (known !== undefined) return known;
  const point = decodePoint(bytes);
  if (point === undefined) throw malformedGroup();
  commitmentPoints.set(bytes, point);
  return point;
}

function readDocument(bytes: Uint8Array, code: string, what: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = decodeCanonical(bytes);
  } catch (cause) {
    throw new CloisterError(code, `The ${what} is not canonical CBOR.`, { cause });
  }
  if (typeof document === "object" && document !== null && !Array.isArray(document))
    return document as Record<string, unknown>;
  throw new CloisterError(code, `The ${what} is not a map.`);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isKey(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32;
}

function malformedGroup(): CloisterError {
  return new CloisterError("RELEASE_GROUP_MALFORMED", "The document is not the key of a key-release group.");
}
