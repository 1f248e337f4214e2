import { keccak_256 } from "@noble/hashes/sha3.js";
import { fromHex, type Address, type Hex32 } from "@cloister/core";
import { encodeRlp, type Rlp } from "../src/index.ts";

/** Builds Merkle-Patricia tries from scratch, so that proofs can be made for any state a test wants. */
export class TrieBuilder {
  readonly #root: Rlp;

  constructor(entries: readonly (readonly [key: Uint8Array, value: Uint8Array])[]) {
    const leaves = entries.map(([key, value]) => ({ path: nibbles(keccak_256(key)), value }));
    this.#root = leaves.length === 0 ? new Uint8Array(0) : build(leaves);
  }

  get root(): Uint8Array {
    return keccak_256(encodeRlp(this.#root));
  }

  /** The nodes on a key's path that stand on their own, as `eth_getProof` answers. */
  prove(key: Uint8Array): Uint8Array[] {
    const nodes: Uint8Array[] = [];
    let [node, path]: [Rlp | undefined, number[]] = [this.#root, nibbles(keccak_256(key))];
    while (node !== undefined && node.length > 0) {
      const encoded = encodeRlp(node);
      if (encoded.length >= 32 || nodes.length === 0) nodes.push(encoded);
      [node, path] = child(node as readonly Rlp[], path);
    }
    return nodes;
  }
}

/** One account under a state root of its own, with storage; all that a proof of it needs. */
export function buildState(
  accounts: readonly { address: Address; storage: Readonly<Record<Hex32, Uint8Array>> }[],
) {
  const storages = new Map(
    accounts.map(({ address, storage }) => {
      const words = Object.entries(storage).map(
        ([slot, word]) => [fromHex(slot), encodeRlp(trim(word))] as const,
      );
      return [address, new TrieBuilder(words)];
    }),
  );
  const state = new TrieBuilder(
    accounts.map(({ address }) => {
      const root = storages.get(address)?.root as Uint8Array;
      const account = encodeRlp([new Uint8Array([1]), new Uint8Array(0), root, keccak_256(fromHex(address))]);
      return [fromHex(address), account] as const;
    }),
  );
  return {
    stateRoot: state.root,
    accountNodes: (address: Address): Uint8Array[] => state.prove(fromHex(address)),
    slotNodes: (address: Address, slot: Hex32): Uint8Array[] =>
      storages.get(address)?.prove(fromHex(slot)) ?? [],
  };
}

interface Leaf {
  readonly path: number[];
  readonly value: Uint8Array;
}

/** Children stay embedded in their parents; `reference` decides at encoding time what is named by hash. */
const embedded = new WeakMap<object, Rlp[]>();

function build(leaves: Leaf[]): Rlp {
  const [only, ...others] = leaves as [Leaf, ...Leaf[]];
  if (others.length === 0) return [prefix(only.path, true), only.value];
  let shared = 0;
  while (leaves.every((leaf) => leaf.path[shared] === only.path[shared])) shared++;
  const branch = branchOf(leaves.map((leaf) => ({ ...leaf, path: leaf.path.slice(shared) })));
  if (shared === 0) return branch;
  return withChildren([prefix(only.path.slice(0, shared), false), reference(branch)], [branch]);
}

function branchOf(leaves: Leaf[]): Rlp {
  const children = Array.from({ length: 16 }, (_, nibble): Rlp => {
    const under = leaves.filter((leaf) => leaf.path[0] === nibble);
    if (under.length === 0) return new Uint8Array(0);
    return build(under.map((leaf) => ({ ...leaf, path: leaf.path.slice(1) })));
  });
  return withChildren([...children.map(reference), new Uint8Array(0)], children);
}

function withChildren(node: Rlp[], children: Rlp[]): Rlp {
  embedded.set(node, children);
  return node;
}

function reference(node: Rlp): Rlp {
  const encoded = encodeRlp(node);
  return node instanceof Uint8Array || encoded.length < 32 ? node : keccak_256(encoded);
}

function child(node: readonly Rlp[], path: number[]): [Rlp | undefined, number[]] {
  const children = embedded.get(node);
  if (children === undefined) return [undefined, path];
  if (node.length === 17) return [children[path[0] as number], path.slice(1)];
  const own = nibbles(node[0] as Uint8Array);
  const steps = own.slice((own[0] as number) % 2 === 1 ? 1 : 2);
  const matches = steps.every((nibble, i) => nibble === path[i]);
  return matches ? [children[0], path.slice(steps.length)] : [undefined, path];
}

function prefix(path: readonly number[], leaf: boolean): Uint8Array {
  const odd = path.length % 2 === 1;
  const flag = (leaf ? 2 : 0) + (odd ? 1 : 0);
  const all = odd ? [flag, ...path] : [flag, 0, ...path];
  return Uint8Array.from(
    { length: all.length / 2 },
    (_, i) => (all[2 * i] as number) * 16 + (all[2 * i + 1] as number),
  );
}

function nibbles(bytes: Uint8Array): number[] {
  return Array.from(bytes).flatMap((byte) => [byte >> 4, byte & 15]);
}

function trim(word: Uint8Array): Uint8Array {
  return word.subarray(word.findIndex((byte) => byte !== 0));
}
