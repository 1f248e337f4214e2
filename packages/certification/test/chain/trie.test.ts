import { keccak_256 } from "@noble/hashes/sha3.js";
import { sha256, utf8 } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeRlp, lookUpProven, mergeNodes, TrieNodes, type Rlp } from "../../src/index.ts";
import { TrieBuilder } from "../trie-builder.ts";

function look(trie: TrieBuilder, key: Uint8Array, proof = trie.prove(key)): Uint8Array | undefined {
  const nodes = new TrieNodes(proof);
  const value = lookUpProven(trie.root, keccak_256(key), nodes);
  expect(nodes.allUsed).toBe(true);
  return value;
}

const invalid = expect.objectContaining({
  code: expect.stringMatching(/^(TRIE_PROOF_INVALID|RLP_MALFORMED)$/),
});

test("every key of a trie is found, and keys that are not in it are provably not", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 10_000 }), { maxLength: 120 }), fc.nat(), (numbers, other) => {
      const trie = new TrieBuilder(numbers.map((n) => [utf8(`key ${n}`), utf8(`value ${n}`)] as const));
      for (const n of numbers) expect(look(trie, utf8(`key ${n}`))).toEqual(utf8(`value ${n}`));
      if (numbers.length > 0) expect(look(trie, utf8(`no key ${other}`))).toBeUndefined();
    }),
    { numRuns: 50 },
  );
});

test("the trie without entries needs no proof", () => {
  expect(
    lookUpProven(keccak_256(new Uint8Array([0x80])), sha256(utf8("x")), new TrieNodes([])),
  ).toBeUndefined();
});

const many = new TrieBuilder(
  Array.from({ length: 500 }, (_, n) => [utf8(`key ${n}`), utf8(`value ${n}`)] as const),
);
const key = utf8("key 77");
const proof = many.prove(key);

test("a proof with any changed byte is refused", () => {
  expect(proof.length).toBeGreaterThan(2);
  for (const [i, node] of proof.entries()) {
    for (let at = 0; at < node.length; at++) {
      const changed = node.slice();
      changed[at] = (changed[at] as number) ^ 0x11;
      expect(() => look(many, key, proof.with(i, changed))).toThrow(invalid);
    }
  }
});

test("a proof that is cut or holds a node twice is refused", () => {
  const [first, ...rest] = proof as [Uint8Array, ...Uint8Array[]];
  for (const nodes of [[], proof.slice(0, -1), rest, [first, ...proof], [...proof, first]]) {
    expect(() => look(many, key, nodes)).toThrow(invalid);
  }
});

test("a node that is on no path is noticed, and the order of nodes does not matter", () => {
  const nodes = new TrieNodes([utf8("stray"), ...proof.toReversed()]);
  expect(lookUpProven(many.root, keccak_256(key), nodes)).toEqual(utf8("value 77"));
  expect(nodes.allUsed).toBe(false);
});

test("proofs under one root share their nodes", () => {
  const other = many.prove(utf8("key 78"));
  const merged = mergeNodes([proof, other]);
  expect(merged.length).toBeLessThan(proof.length + other.length);
  expect(mergeNodes([other, proof])).toEqual(merged);
  const nodes = new TrieNodes(merged);
  for (const n of [77, 78]) lookUpProven(many.root, keccak_256(utf8(`key ${n}`)), nodes);
  expect(nodes.allUsed).toBe(true);
});

test("a proof does not pass for another key's or another root's", () => {
  expect(() => look(many, utf8("key 78"), proof)).toThrow(invalid);
  expect(() => lookUpProven(sha256(utf8("root")), keccak_256(key), new TrieNodes(proof))).toThrow(invalid);
});

test("an empty proof does not pass for a trie that holds something", () => {
  expect(() => lookUpProven(many.root, keccak_256(key), new TrieNodes([]))).toThrow(invalid);
});

const path = keccak_256(key);
const rooted = (node: Rlp): [Uint8Array, Uint8Array[]] => {
  const bytes = encodeRlp(node);
  return [keccak_256(bytes), [bytes]];
};
const leafPath = new Uint8Array([0x20, ...path]);

test.each<[string, Rlp]>([
  ["a node that is a string", utf8("x")],
  ["a node of three members", [utf8("x"), utf8("y"), utf8("z")]],
  ["a flag that does not exist", [new Uint8Array([0x40, ...path]), utf8("v")]],
  ["a path that is padded with something", [new Uint8Array([0x21, ...path]), utf8("v")]],
  ["a path that is a list", [[], utf8("v")]],
  ["a leaf before the end of the path", [leafPath.subarray(0, 20), utf8("v")]],
  ["a leaf whose value is a list", [leafPath, [utf8("v")]]],
  [
    "a child that is neither a hash nor a node",
    [new Uint8Array([0x00, ...path.subarray(0, 1)]), utf8("short")],
  ],
  [
    "a long node where only a short one may be",
    [new Uint8Array([0x00, ...path.subarray(0, 1)]), [leafPath, utf8("v")]],
  ],
  ["a path without a flag", [new Uint8Array(0), utf8("v")]],
  ["an extension without a path", [new Uint8Array([0x00]), new Uint8Array(32)]],
])("%s is refused", (_, node) => {
  const [root, nodes] = rooted(node);
  expect(() => lookUpProven(root, path, new TrieNodes(nodes))).toThrow(invalid);
});

test("a path that ends in a branch is refused", () => {
  const branch: Rlp = Array.from({ length: 17 }, () => new Uint8Array(0));
  const extension: Rlp = [new Uint8Array([0x00, ...path]), branch];
  const [root, nodes] = rooted(extension);
  expect(() => lookUpProven(root, path, new TrieNodes(nodes))).toThrow(invalid);
});

test("more nodes than any proof needs are refused before they are read", () => {
  expect(() =>
    look(
      many,
      key,
      Array.from({ length: 66 }, () => proof[0] as Uint8Array),
    ),
  ).toThrow(invalid);
});
