import { keccak_256 } from "@noble/hashes/sha3.js";
import { CloisterError, equalBytes, toHex } from "@cloister/core";
import { decodeRlp, encodeRlp, type Rlp } from "./rlp.ts";

/** The root of the trie that holds nothing: Keccak-256 of the RLP of an empty string. */
const EMPTY_ROOT = keccak_256(new Uint8Array([0x80]));
/** A path has 64 nibbles; each step down uses at least one, but for the root. */
const STEPS_MAX = 65;
const NODES_MAX = 512;

/**
 * The nodes of one or more proofs, found by their hash. Proofs that share a root share nodes, and each
 * is held once. `allUsed` tells whether a reader has looked at every one, so that a file that carries
 * proofs holds nothing that no root commits to.
 */
export class TrieNodes {
  readonly #nodes = new Map<string, Uint8Array>();
  readonly #unused = new Set<string>();

  /** @throws {CloisterError} `TRIE_PROOF_INVALID` when there are too many nodes or one comes twice */
  constructor(nodes: readonly Uint8Array[]) {
    if (nodes.length > NODES_MAX) throw invalid(`it has more than ${NODES_MAX} nodes`);
    for (const node of nodes) this.#nodes.set(toHex(keccak_256(node)), node);
    if (this.#nodes.size !== nodes.length) throw invalid("it holds one node twice");
    for (const hash of this.#nodes.keys()) this.#unused.add(hash);
  }

  get allUsed(): boolean {
    return this.#unused.size === 0;
  }

  /** @throws {CloisterError} `TRIE_PROOF_INVALID`, `RLP_MALFORMED` */
  resolve(hash: Uint8Array): Rlp {
    const node = this.#nodes.get(toHex(hash));
    if (node === undefined) throw invalid("a node on the path is missing or was changed");
    this.#unused.delete(toHex(hash));
    return decodeRlp(node);
  }
}

/** The distinct nodes of several proofs, sorted by hash: the order in which files hold them. */
export function mergeNodes(proofs: readonly (readonly Uint8Array[])[]): Uint8Array[] {
  const byHash = new Map(proofs.flat().map((node) => [toHex(keccak_256(node)), node]));
  return [...byHash].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, node]) => node);
}

/**
 * Looks a key up in a Merkle-Patricia trie by the nodes on its path. Yellow Paper, appendix D
 *
 * @param key the hashed key, 32 bytes
 * @returns the value, or undefined when the trie provably does not hold the key
 * @throws {CloisterError} `TRIE_PROOF_INVALID`, `RLP_MALFORMED`
 */
export function lookUpProven(root: Uint8Array, key: Uint8Array, nodes: TrieNodes): Uint8Array | undefined {
  if (equalBytes(root, EMPTY_ROOT)) return undefined;
  let node: Rlp | undefined = nodes.resolve(root);
  let nibbles = nibblesOf(key);
  for (let steps = 0; steps < STEPS_MAX && node !== undefined; steps++) {
    const step: Step = stepDown(node, nibbles);
    if (step.value !== undefined) return step.value;
    nibbles = step.rest;
    node = step.child === undefined ? undefined : follow(step.child, nodes);
  }
  return undefined;
}

interface Step {
  readonly child?: Rlp;
  readonly value?: Uint8Array;
  readonly rest: number[];
}

/** A child is a hash, an inlined node shorter than 32 bytes, or nothing. */
function follow(child: Rlp, nodes: TrieNodes): Rlp | undefined {
  if (!(child instanceof Uint8Array)) {
    if (encodeRlp(child).length >= 32) throw invalid("a node is inlined that is too long for it");
    return child;
  }
  if (child.length === 0) return undefined;
  if (child.length !== 32) throw invalid("a child is not named by a hash");
  return nodes.resolve(child);
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
  if (!isLeaf && path.length === 0) throw invalid("an extension has no path");
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
