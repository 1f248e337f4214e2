import { keccak_256 } from "@noble/hashes/sha3.js";
import { CloisterError, equalBytes, fromHex, toHex, type Address, type Hex32 } from "@cloister/core";
import { decodeRlp, encodeRlp, type Rlp } from "./rlp.ts";
import { lookUpProven, type TrieNodes } from "./trie.ts";

/** Members of a block header in the order in which RLP lists them, as JSON-RPC names them. Newer forks append. */
const HEADER_MEMBERS = [
  ...["parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"],
  ...["difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"],
  ...["baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot"],
  ...["requestsHash", "blockAccessListHash", "slotNumber"],
] as const;

const MEMBERS_MIN = 15;
const HEADER_BYTES_MAX = 2048;
const QUANTITIES = new Set<string>([
  ...["difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed"],
  ...["excessBlobGas", "slotNumber"],
]);

/** What a proof needs of a block. */
export interface BlockHeader {
  readonly hash: Hex32;
  readonly number: number;
  readonly timestampMs: number;
  readonly stateRoot: Uint8Array;
}

/** An account as the state trie holds it. */
export interface ProvenAccount {
  readonly storageRoot: Uint8Array;
  readonly codeHash: Hex32;
}

/**
 * Encodes a block as JSON-RPC answers it (`eth_getBlockByNumber`) into the RLP that its hash covers.
 * @throws {CloisterError} `BLOCK_HEADER_MALFORMED` when the result does not have the hash it claims.
 */
export function encodeBlockHeader(block: Readonly<Record<string, unknown>>): Uint8Array {
  const fields: Uint8Array[] = [];
  for (const name of HEADER_MEMBERS) {
    const value = block[name];
    if (value === undefined || value === null) break;
    if (typeof value !== "string" || !/^0x[0-9a-f]*$/.test(value))
      throw malformed(`its ${name} is not hexadecimal`);
    fields.push(QUANTITIES.has(name) ? quantityBytes(value) : fromHex(value));
  }
  const header = encodeRlp(fields);
  if (block["hash"] !== `0x${toHex(keccak_256(header))}`) {
    throw malformed("its members do not give the hash that the chain names");
  }
  return header;
}

/** Decodes a header and computes its hash. @throws {CloisterError} `BLOCK_HEADER_MALFORMED`, `RLP_MALFORMED` */
export function decodeBlockHeader(header: Uint8Array): BlockHeader {
  if (header.length > HEADER_BYTES_MAX) throw malformed("it is too long");
  const fields = decodeRlp(header);
  if (fields instanceof Uint8Array || fields.length < MEMBERS_MIN) throw malformed("it has too few members");
  const member = (name: (typeof HEADER_MEMBERS)[number]): Uint8Array => {
    const field = fields[HEADER_MEMBERS.indexOf(name)];
    if (!(field instanceof Uint8Array)) throw malformed(`its ${name} is not a byte string`);
    return field;
  };
  const stateRoot = member("stateRoot");
  if (stateRoot.length !== 32) throw malformed("its state root is not 32 bytes");
  return {
    hash: `0x${toHex(keccak_256(header))}` as Hex32,
    number: readQuantity(member("number")),
    timestampMs: readQuantity(member("timestamp")) * 1000,
    stateRoot,
  };
}

/**
 * Finds an account under a state root.
 * @throws {CloisterError} `TRIE_PROOF_INVALID` also when the trie provably does not hold the account.
 */
export function proveAccount(stateRoot: Uint8Array, address: Address, nodes: TrieNodes): ProvenAccount {
  const leaf = lookUpProven(stateRoot, keccak_256(fromHex(address)), nodes);
  if (leaf === undefined)
    throw new CloisterError("TRIE_PROOF_INVALID", `The chain holds no account ${address}.`);
  const account = decodeRlp(leaf);
  const [, , storageRoot, codeHash] = account instanceof Uint8Array ? [] : account;
  const whole = !(account instanceof Uint8Array) && account.length === 4;
  if (!whole || !is32(storageRoot) || !is32(codeHash)) {
    throw new CloisterError(
      "TRIE_PROOF_INVALID",
      "The account in the state trie does not have its four members.",
    );
  }
  return { storageRoot, codeHash: `0x${toHex(codeHash)}` as Hex32 };
}

/** Reads a storage slot under an account's storage root: 32 bytes, zero when the trie does not hold it. */
export function proveSlot(storageRoot: Uint8Array, slot: Hex32, nodes: TrieNodes): Uint8Array {
  const word = new Uint8Array(32);
  const leaf = lookUpProven(storageRoot, keccak_256(fromHex(slot)), nodes);
  if (leaf === undefined) return word;
  const value = decodeRlp(leaf);
  if (!(value instanceof Uint8Array) || value.length > 32 || value.length === 0 || value[0] === 0) {
    throw new CloisterError("TRIE_PROOF_INVALID", "The value in the storage trie is not a 256-bit number.");
  }
  word.set(value, 32 - value.length);
  return word;
}

/** The slot of `mapping(bytes32 => …)` number `position` for a key. Solidity, "Layout of State Variables" */
export function mappingSlot(key: Hex32, position: number): Hex32 {
  const words = new Uint8Array(64);
  words.set(fromHex(key), 0);
  new DataView(words.buffer).setBigUint64(56, BigInt(position));
  return `0x${toHex(keccak_256(words))}` as Hex32;
}

/** The slot `offset` words after another: the members of a struct follow one another. */
export function slotAfter(slot: Hex32, offset: number): Hex32 {
  const sum = (BigInt(slot) + BigInt(offset)) & (2n ** 256n - 1n);
  return `0x${sum.toString(16).padStart(64, "0")}` as Hex32;
}

/** Tells whether a word of storage is the 32 bytes of a digest or id. */
export function wordIs(word: Uint8Array, expected: Hex32): boolean {
  return equalBytes(word, fromHex(expected));
}

function is32(item: Rlp | undefined): item is Uint8Array {
  return item instanceof Uint8Array && item.length === 32;
}

function quantityBytes(value: string): Uint8Array {
  const digits = value.slice(2).replace(/^0+/, "");
  return fromHex(digits.length % 2 === 0 ? digits : `0${digits}`);
}

function readQuantity(bytes: Uint8Array): number {
  let value = 0;
  for (const byte of bytes) value = value * 256 + byte;
  if (bytes[0] === 0 || !Number.isSafeInteger(value))
    throw malformed("a number in it is not in its shortest form");
  return value;
}

function malformed(why: string): CloisterError {
  return new CloisterError("BLOCK_HEADER_MALFORMED", `The block header is malformed: ${why}.`);
}
