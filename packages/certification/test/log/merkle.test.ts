import { concat, equalBytes, fromHex, sha256, toHex, utf8 } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  consistencyPath,
  emptyRoot,
  inclusionPath,
  judgeInclusion,
  leafHash,
  rootFromInclusion,
  rootOf,
  verifyConsistency,
  verifyInclusion,
  type HashReader,
} from "../../src/index.ts";

const SIZE_MAX = 1000;
const entries = Array.from({ length: SIZE_MAX }, (_, i) => utf8(`entry ${i}`));
const leaves = entries.map(leafHash);

/** The definition of RFC 9162 §2.1.1, word for word: the oracle. */
function definedRoot(from: number, to: number): Uint8Array {
  if (to === from) return sha256(new Uint8Array(0));
  if (to - from === 1) return sha256(concat(new Uint8Array([0]), entries[from] as Uint8Array));
  let k = 1;
  while (k * 2 < to - from) k *= 2;
  return sha256(concat(new Uint8Array([1]), definedRoot(from, from + k), definedRoot(from + k, to)));
}

const known = new Map<string, Uint8Array>();
const hashAt: HashReader = (level, index) => {
  const name = `${level}/${index}`;
  const hash = known.get(name) ?? definedRoot(index * 2 ** level, (index + 1) * 2 ** level);
  known.set(name, hash);
  return Promise.resolve(hash);
};

const roots: Uint8Array[] = [];
test("the roots of all sizes from 0 to 1000 are those of the definition", async () => {
  for (let size = 0; size <= SIZE_MAX; size++) roots.push(await rootOf(size, hashAt));
  for (const size of [0, 1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 511, 512, 513, 999, 1000]) {
    expect(toHex(roots[size] as Uint8Array)).toBe(toHex(definedRoot(0, size)));
  }
  expect(new Set(roots.map(toHex)).size).toBe(SIZE_MAX + 1);
});

test("the root of the tree without entries is the one that RFC 9162 gives", () => {
  expect(toHex(emptyRoot())).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
});

test("inclusion holds for every size from 1 to 1000 at the edges and in the middle, and nowhere else", async () => {
  for (let size = 1; size <= SIZE_MAX; size++) {
    const root = roots[size] as Uint8Array;
    for (const index of new Set([0, Math.floor(size / 3), Math.floor(size / 2), size - 1])) {
      const path = await inclusionPath(index, size, hashAt);
      const proof = { leaf: leaves[index] as Uint8Array, index, size, root, path };
      expect(verifyInclusion(proof)).toBe(true);
      expect(verifyInclusion({ ...proof, index: index + 1 })).toBe(false);
      expect(verifyInclusion({ ...proof, root: roots[size - 1] as Uint8Array })).toBe(false);
    }
  }
});

test("inclusion holds for every index of the sizes up to 70", async () => {
  for (let size = 1; size <= 70; size++) {
    for (let index = 0; index < size; index++) {
      const path = await inclusionPath(index, size, hashAt);
      const root = rootFromInclusion(leaves[index] as Uint8Array, index, size, path);
      expect(root !== undefined && equalBytes(root, roots[size] as Uint8Array)).toBe(true);
    }
  }
});

test("consistency holds between every size up to 1000 and several later ones", async () => {
  for (let oldSize = 0; oldSize <= SIZE_MAX; oldSize++) {
    for (const size of new Set([
      oldSize,
      Math.min(SIZE_MAX, oldSize + 1),
      Math.min(SIZE_MAX, oldSize * 2),
      SIZE_MAX,
    ])) {
      const path = await consistencyPath(oldSize, size, hashAt);
      const proof = {
        oldSize,
        oldRoot: roots[oldSize] as Uint8Array,
        size,
        root: roots[size] as Uint8Array,
        path,
      };
      expect(verifyConsistency(proof)).toBe(true);
    }
  }
});

test("a consistency proof of another history is refused", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 300 }), async (a, b) => {
      const [oldSize, size] = [Math.min(a, b), Math.max(a, b) + 1];
      const path = await consistencyPath(oldSize, size, hashAt);
      const proof = {
        oldSize,
        oldRoot: roots[oldSize] as Uint8Array,
        size,
        root: roots[size] as Uint8Array,
        path,
      };
      expect(verifyConsistency({ ...proof, oldRoot: sha256(proof.oldRoot) })).toBe(false);
      expect(verifyConsistency({ ...proof, root: sha256(proof.root) })).toBe(false);
      expect(verifyConsistency({ ...proof, oldSize: size, size: oldSize })).toBe(false);
      expect(verifyConsistency({ ...proof, path: [...path, sha256(proof.root)] })).toBe(false);
      if (path.length > 0) expect(verifyConsistency({ ...proof, path: path.slice(1) })).toBe(false);
    }),
    { numRuns: 100 },
  );
});

test("an inclusion proof with a changed, missing or additional hash is refused", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 400 }), fc.nat(), fc.nat(), async (size, i, j) => {
      const index = i % size;
      const path = await inclusionPath(index, size, hashAt);
      const proof = { leaf: leaves[index] as Uint8Array, index, size, root: roots[size] as Uint8Array, path };
      const changed = path.map((hash, at) => (at === j % path.length ? sha256(hash) : hash));
      expect(verifyInclusion({ ...proof, path: changed })).toBe(false);
      expect(verifyInclusion({ ...proof, path: path.slice(0, -1) })).toBe(false);
      expect(verifyInclusion({ ...proof, path: [...path, proof.root] })).toBe(false);
    }),
    { numRuns: 100 },
  );
});

test("indexes and sizes that are no counts, and hashes of a wrong size, are refused", () => {
  const leaf = leaves[0] as Uint8Array;
  for (const [index, size] of [
    [-1, 1],
    [0, 0],
    [1, 1],
    [0.5, 2],
    [0, Number.NaN],
    [0, 2 ** 60],
  ] as const) {
    expect(verifyInclusion({ leaf, index, size, root: leaf, path: [] })).toBe(false);
    expect(verifyConsistency({ oldSize: index, oldRoot: leaf, size: size - 1, root: leaf, path: [] })).toBe(
      false,
    );
  }
  expect(verifyInclusion({ leaf, index: 0, size: 2, root: leaf, path: [fromHex("00")] })).toBe(false);
});

test("a refusal names the index and the size", () => {
  const leaf = leaves[0] as Uint8Array;
  const [refusal] = judgeInclusion({ leaf, index: 3, size: 9, root: leaf, path: [] });
  expect(refusal).toMatchObject({ code: "LOG_INCLUSION_INVALID", reason: expect.stringMatching(/9.*3/) });
  expect(judgeInclusion({ leaf, index: 0, size: 1, root: leaf, path: [] })).toEqual([]);
});
