import { keccak_256 } from "@noble/hashes/sha3.js";
import { CloisterError, equalBytes } from "@cloister/core";
import { decodeRlp, encodeRlp, type Rlp } from "./rlp.ts";

/** The root of the trie that holds nothing: Keccak-256 of the RLP of an empty string. */
const EMPTY_ROOT = keccak_256(new Uint8Array([0x80]));
/** A path of 64 nibbles, plus the nodes that can be inlined on the way. */
const NODES_MAX = 65;

/**
 * Looks a key up in a Merkle-Patricia trie by the nodes on its path. Every node must be used, in
 * order, so that a proof holds nothing that its root does not commit to. Yellow Paper, appendix D
 *
 * @param key the hashed key, 32 bytes
 * @returns the value, or undefined when the trie provably does not hold the key
 * @throws {CloisterError} `TRIE_PROOF_INVALID`, `RLP_MALFORMED`
 */
export function lookUpProven(
  root: Uint8Array,
  key: Uint8Array,
  nodes: readonly Uint8Array[],
): Uint8Array | undefined {
  if (nodes.length > NODES_MAX) throw invalid("it has more nodes than a path can have");
  if (nodes.length === 0 && equalBytes(root, EMPTY_ROOT)) return undefined;
  const walk = new Walk(nodes);
  let node: Rlp | undefined = walk.resolve(root);
  let nibbles = nibblesOf(key);
  let value: Uint8Array | undefined;
  while (node !== undefined) {
    const step: Step = stepDown(node, nibbles);
    nibbles = step.rest;
    value = step.value;
    node = step.child === undefined ? undefined : walk.follow(step.child);
  }
  if (!walk.done) throw invalid("it has nodes that are not on the path");
  return value;
}

interface Step {
  readonly child?: Rlp;
  readonly value?: Uint8Array;
  readonly rest: number[];
}

/** Hands out the proof's nodes in order, each held against the hash that its parent names. */
class Walk {
  readonly #nodes: readonly Uint8Array[];
  #next = 0;

  constructor(nodes: readonly Uint8Array[]) {
    this.#nodes = nodes;
  }

  get done(): boolean {
    return this.#next === this.#nodes.length;
  }

  resolve(hash: Uint8Array): Rlp {
    const node = this.#nodes[this.#next++];
    if (node === undefined) throw invalid("it ends before the value");
    if (!equalBytes(keccak_256(node), hash))
      throw invalid("a node does not have the hash that its parent names");
    return decodeRlp(node);
  }

  /** A child is a hash, an inlined node shorter than 32 bytes, or nothing. */
  follow(child: Rlp): Rlp | undefined {
    if (!(child instanceof Uint8Array)) {
      if (encodeRlp(child).length >= 32) throw invalid("a node is inlined that is too long for it");
      return child;
    }
    if (child.length === 0) return undefined;
    if (child.length !== 32) throw invalid("a child is not named by a hash");
    return this.resolve(child);
  }
}

function stepDown(node: Rlp, nibbles: number[]): Step {
  if (node instanceof Uint8Array) throw invalid("a node is not a list");
  if (node.length === 17) return stepBranch(node, nibbles);
  if (node.length === 2) return stepShort(node as readonly [Rlp, Rlp], nibbles);
  throw invalid("a node has neither 2 nor 17 members");
}

function stepBranch(node: readonly Rlp[], nibbles: readonly number[]): Step {
  const [first, ...rest] = nibbles;
  // Keys are hashes of one length, so no key ends in a branch.
  if (first === undefined) throw invalid("the path ends in a branch");
  return { child: node[first] as Rlp, rest };
}

function stepShort(node: readonly [Rlp, Rlp], nibbles: readonly number[]): Step {
  const [encoded, next] = node;
  if (!(encoded instanceof Uint8Array)) throw invalid("a path is not a byte string");
  const { path, isLeaf } = decodePath(encoded);
  const matches = path.length <= nibbles.length && path.every((nibble, i) => nibble === nibbles[i]);
  if (!matches) return { rest: [] };
  const rest = nibbles.slice(path.length);
  if (!isLeaf) return { child: next, rest };
  if (rest.length > 0 || !(next instanceof Uint8Array)) throw invalid("a leaf is not at the end of the path");
  return { value: next, rest };
}

/** Undoes the hex-prefix encoding. Yellow Paper, appendix C */
function decodePath(encoded: Uint8Array): { path: number[]; isLeaf: boolean } {
  const nibbles = nibblesOf(encoded);
  const [flag, padding] = nibbles;
  if (flag === undefined || flag > 3) throw invalid("a path has a flag that does not exist");
  const odd = flag % 2 === 1;
  if (!odd && padding !== 0) throw invalid("a path is padded with something");
  return { path: nibbles.slice(odd ? 1 : 2), isLeaf: flag >= 2 };
}

function nibblesOf(bytes: Uint8Array): number[] {
  return Array.from(bytes).flatMap((byte) => [byte >> 4, byte & 15]);
}

function invalid(why: string): CloisterError {
  return new CloisterError("TRIE_PROOF_INVALID", `The Merkle-Patricia proof does not hold: ${why}.`);
}
