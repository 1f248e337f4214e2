import { assertInvariant, concat, equalBytes, sha256, type Refusal } from "@cloister/core";

/**
 * The Merkle tree of RFC 9162 §2.1 as pure functions over hashes. Sizes and indexes are integers
 * below 2^53. Proof makers read hashes through `hashAt`; verifiers take nothing but the proof.
 */

const LEAF_PREFIX = new Uint8Array([0]);
const NODE_PREFIX = new Uint8Array([1]);

/** The hash of the complete subtree of `2^level` leaves whose first leaf is `index * 2^level`. */
export type HashReader = (level: number, index: number) => Promise<Uint8Array>;

/** Hashes one entry into a leaf. RFC 9162 §2.1.1 */
export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(concat(LEAF_PREFIX, entry));
}

/** Hashes two subtrees into their parent. RFC 9162 §2.1.1 */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concat(NODE_PREFIX, left, right));
}

/** The root of the tree without leaves. */
export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array(0));
}

/** One complete subtree: `2^level` leaves from `index * 2^level` on. */
export interface Subtree {
  readonly level: number;
  readonly index: number;
}

/** The complete subtrees, largest first, that leaves `start` to `end` (exclusive) fall into when `start` is aligned. */
export function subtreesOf(start: number, end: number): Subtree[] {
  const subtrees: Subtree[] = [];
  let at = start;
  for (let level = levelBelow(end - start); at < end; level--) {
    const width = 2 ** level;
    if (end - at < width) continue;
    subtrees.push({ level, index: at / width });
    at += width;
  }
  return subtrees;
}

/** The root of the tree of `size` leaves. */
export async function rootOf(size: number, hashAt: HashReader): Promise<Uint8Array> {
  return size === 0 ? emptyRoot() : await rangeHash(0, size, hashAt);
}

/** The path from leaf `index` to the root of the tree of `size` leaves. RFC 9162 §2.1.3.1 */
export async function inclusionPath(index: number, size: number, hashAt: HashReader): Promise<Uint8Array[]> {
  assertInvariant(index >= 0 && index < size, "an inclusion path needs a leaf inside the tree");
  const path: Uint8Array[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + split(end - start);
    const left = index < middle;
    path.push(left ? await rangeHash(middle, end, hashAt) : await rangeHash(start, middle, hashAt));
    [start, end] = left ? [start, middle] : [middle, end];
  }
  return path.toReversed();
}

/** The proof that the tree of `oldSize` leaves is a prefix of the tree of `size` leaves. RFC 9162 §2.1.4.1 */
export async function consistencyPath(
  oldSize: number,
  size: number,
  hashAt: HashReader,
): Promise<Uint8Array[]> {
  assertInvariant(
    oldSize >= 0 && oldSize <= size,
    "a consistency path leads from a smaller tree to a larger",
  );
  if (oldSize === 0 || oldSize === size) return [];
  const path: Uint8Array[] = [];
  let [start, end] = [0, size];
  while (end !== oldSize) {
    const middle = start + split(end - start);
    const left = oldSize <= middle;
    path.push(left ? await rangeHash(middle, end, hashAt) : await rangeHash(start, middle, hashAt));
    [start, end] = left ? [start, middle] : [middle, end];
  }
  // The old tree's own root is known to the reader when the walk ends on the whole old tree.
  if (start !== 0) path.push(await rangeHash(start, end, hashAt));
  return path.toReversed();
}

async function rangeHash(start: number, end: number, hashAt: HashReader): Promise<Uint8Array> {
  const subtrees = subtreesOf(start, end);
  let hash: Uint8Array | undefined;
  for (const { level, index } of subtrees.toReversed()) {
    const next = await hashAt(level, index);
    hash = hash === undefined ? next : nodeHash(next, hash);
  }
  assertInvariant(hash !== undefined, "a range holds at least one leaf");
  return hash;
}

/** The largest power of two that is smaller than `size`; `size` is at least 2. */
function split(size: number): number {
  const width = 2 ** levelBelow(size);
  return width === size ? width / 2 : width;
}

/** The exponent of the largest power of two that is at most `size`. */
function levelBelow(size: number): number {
  let level = 0;
  while (2 ** (level + 1) <= size) level++;
  return level;
}

/** Computes the root that an inclusion path leads to; undefined when its length is wrong. RFC 9162 §2.1.3.2 */
export function rootFromInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Uint8Array | undefined {
  if (!isCount(index) || !isCount(size) || index >= size) return undefined;
  let [fn, sn] = [index, size - 1];
  let hash = leaf;
  for (const sibling of path) {
    if (sn === 0 || sibling.length !== 32) return undefined;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 ? hash : undefined;
}

/** Tells whether a leaf is at `index` of the tree with this size and root. RFC 9162 §2.1.3.2 */
export function verifyInclusion(proof: {
  leaf: Uint8Array;
  index: number;
  size: number;
  root: Uint8Array;
  path: readonly Uint8Array[];
}): boolean {
  const root = rootFromInclusion(proof.leaf, proof.index, proof.size, proof.path);
  return root !== undefined && equalBytes(root, proof.root);
}

/** Tells whether the old tree is a prefix of the new one. RFC 9162 §2.1.4.2 */
export function verifyConsistency(proof: {
  oldSize: number;
  oldRoot: Uint8Array;
  size: number;
  root: Uint8Array;
  path: readonly Uint8Array[];
}): boolean {
  const { oldSize, oldRoot, size, root, path } = proof;
  if (!isCount(oldSize) || !isCount(size) || oldSize > size) return false;
  if (oldSize === size) return path.length === 0 && equalBytes(oldRoot, root);
  if (oldSize === 0) return path.length === 0 && equalBytes(oldRoot, emptyRoot());
  const steps = isPowerOfTwo(oldSize) ? [oldRoot, ...path] : [...path];
  const [first, ...rest] = steps;
  if (first === undefined) return false;
  let [fn, sn] = [oldSize - 1, size - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  let [fr, sr] = [first, first];
  for (const step of rest) {
    if (sn === 0 || step.length !== 32) return false;
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [nodeHash(step, fr), nodeHash(step, sr)];
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = nodeHash(sr, step);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equalBytes(fr, oldRoot) && equalBytes(sr, root);
}

/** Refuses, naming the leaf, what `verifyInclusion` does not confirm. */
export function judgeInclusion(proof: Parameters<typeof verifyInclusion>[0]): Refusal[] {
  if (verifyInclusion(proof)) return [];
  const reason = `The log's tree of ${proof.size} entries does not contain this entry at index ${proof.index}.`;
  return [{ code: "LOG_INCLUSION_INVALID", reason }];
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isPowerOfTwo(value: number): boolean {
  return 2 ** levelBelow(value) === value;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
