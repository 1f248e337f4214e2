import { keccak_256 } from "@noble/hashes/sha3.js";
import { concat, fromHex, parseAddress, sha256, toHex, utf8, type Hex32 } from "@cloister/core";
import { expect, test } from "vitest";
import {
  decodeBlockHeader,
  encodeBlockHeader,
  encodeRlp,
  mappingSlot,
  proveAccount,
  proveSlot,
  slotAfter,
  TrieNodes,
  wordIs,
  type Rlp,
} from "../../src/index.ts";
import { anvil, startAnvil } from "../anvil.ts";
import { buildState } from "../trie-builder.ts";

const address = parseAddress(`0x${"ab".repeat(20)}`);
const slot = mappingSlot(`0x${"11".repeat(32)}` as Hex32, 3);
const state = buildState([
  {
    address,
    storage: { [slot]: sha256(utf8("word")), [slotAfter(slot, 1)]: fromHex(`${"00".repeat(31)}07`) },
  },
  ...Array.from({ length: 40 }, (_, n) => ({
    address: parseAddress(`0x${n.toString(16).padStart(40, "0")}`),
    storage: {},
  })),
]);
const invalid = expect.objectContaining({ code: "TRIE_PROOF_INVALID" });

function headerOf(stateRoot: Uint8Array, changes: Record<number, Rlp> = {}): Uint8Array {
  const fields: Rlp[] = Array.from({ length: 15 }, () => new Uint8Array(32));
  fields[3] = stateRoot;
  fields[8] = new Uint8Array([12]);
  fields[11] = new Uint8Array([0x65, 0, 0, 0]);
  for (const [index, field] of Object.entries(changes)) fields[Number(index)] = field;
  return encodeRlp(fields);
}

test("a header has a hash, a number, a time and a state root", () => {
  const header = headerOf(state.stateRoot);
  expect(decodeBlockHeader(header)).toEqual({
    hash: `0x${toHex(keccak_256(header))}`,
    number: 12,
    timestampMs: 0x65000000 * 1000,
    stateRoot: state.stateRoot,
  });
});

test("account and storage are found under the state root", () => {
  const account = proveAccount(state.stateRoot, address, new TrieNodes(state.accountNodes(address)));
  expect(proveSlot(account.storageRoot, slot, new TrieNodes(state.slotNodes(address, slot)))).toEqual(
    sha256(utf8("word")),
  );
  const next = slotAfter(slot, 1);
  const small = proveSlot(account.storageRoot, next, new TrieNodes(state.slotNodes(address, next)));
  expect(wordIs(small, `0x${"0".repeat(63)}7` as Hex32)).toBe(true);
  const absent = slotAfter(slot, 2);
  expect(proveSlot(account.storageRoot, absent, new TrieNodes(state.slotNodes(address, absent)))).toEqual(
    new Uint8Array(32),
  );
});

test("an account that is not there, and one without its four members, are refused", () => {
  const other = parseAddress(`0x${"cd".repeat(20)}`);
  expect(() => proveAccount(state.stateRoot, other, new TrieNodes(state.accountNodes(other)))).toThrow(
    invalid,
  );
  const path = new Uint8Array([0x20, ...keccak_256(fromHex(other))]);
  for (const account of [[], utf8("x"), [utf8("a"), utf8("b"), utf8("c"), utf8("d")]] as Rlp[]) {
    const leaf = encodeRlp([path, encodeRlp(account)]);
    expect(() => proveAccount(keccak_256(leaf), other, new TrieNodes([leaf]))).toThrow(invalid);
  }
});

test.each<[string, Rlp]>([
  ["a list", [utf8("x")]],
  ["a number of 33 bytes", new Uint8Array(33).fill(1)],
  ["a number with a leading zero", new Uint8Array([0, 1])],
  ["nothing", new Uint8Array(0)],
])("a slot whose value is %s is refused", (_, value) => {
  const leaf = encodeRlp([new Uint8Array([0x20, ...keccak_256(fromHex(slot))]), encodeRlp(value)]);
  expect(() => proveSlot(keccak_256(leaf), slot, new TrieNodes([leaf]))).toThrow(invalid);
});

test.each<[string, Uint8Array]>([
  ["too few members", encodeRlp([new Uint8Array(32)])],
  ["no list", encodeRlp(utf8("header"))],
  ["a state root of another size", headerOf(new Uint8Array(31))],
  ["a state root that is a list", headerOf(state.stateRoot, { 3: [] })],
  ["a number with a leading zero", headerOf(state.stateRoot, { 8: new Uint8Array([0, 1]) })],
  ["a number beyond counting", headerOf(state.stateRoot, { 8: new Uint8Array(8).fill(255) })],
  ["more bytes than any header", headerOf(state.stateRoot, { 12: new Uint8Array(4000) })],
])("a header with %s is refused", (_, header) => {
  expect(() => decodeBlockHeader(header)).toThrow(
    expect.objectContaining({ code: "BLOCK_HEADER_MALFORMED" }),
  );
});

test("a block with a member that is not hexadecimal is refused", () => {
  for (const value of ["parent", 12, {}, "0xgg"]) {
    expect(() => encodeBlockHeader({ parentHash: value, hash: "0x" })).toThrow(
      expect.objectContaining({ code: "BLOCK_HEADER_MALFORMED" }),
    );
  }
});

test("a block whose members do not give its hash is refused", () => {
  expect(() => encodeBlockHeader({ parentHash: "0x00", hash: `0x${"00".repeat(32)}` })).toThrow(
    expect.objectContaining({ code: "BLOCK_HEADER_MALFORMED" }),
  );
});

test.skipIf(anvil === undefined)("headers and proofs of a real EVM chain verify (needs anvil)", async () => {
  const chain = await startAnvil(anvil as string);
  try {
    // Stores 0x2a at slot 0 and 0xff… at slot 1, then returns no code.
    const init = "0x602a600055600019600155600160005360016000f3";
    const [from] = (await chain.call("eth_accounts", [])) as [string];
    const hash = await chain.call("eth_sendTransaction", [{ from, data: init, gas: "0x100000" }]);
    const receipt = (await chain.call("eth_getTransactionReceipt", [hash])) as { contractAddress: string };
    const contract = parseAddress(receipt.contractAddress);
    const block = await chain.latestBlock();
    const slots = ["00", "01", "02"].map((digits) => `0x${digits.padStart(64, "0")}` as Hex32);
    const proven = await chain.stateProof(contract, slots, Number(block["number"]));
    const header = decodeBlockHeader(encodeBlockHeader(block));
    expect(header.hash).toBe(block["hash"]);
    const account = proveAccount(header.stateRoot, contract, new TrieNodes(proven.accountProof.map(fromHex)));
    const words = slots.map((one, i) =>
      proveSlot(account.storageRoot, one, new TrieNodes((proven.storageProof[i]?.proof ?? []).map(fromHex))),
    );
    expect(words.map(toHex)).toEqual([`${"00".repeat(31)}2a`, "ff".repeat(32), "00".repeat(32)]);
  } finally {
    chain.stop();
  }
});

test("the slot of a mapping is the hash of key and position", () => {
  const key = `0x${"22".repeat(32)}` as Hex32;
  const hash = keccak_256(concat(fromHex(key), fromHex("05".padStart(64, "0"))));
  expect(mappingSlot(key, 5)).toBe(`0x${toHex(hash)}`);
  expect(slotAfter(`0x${"ff".repeat(32)}` as Hex32, 1)).toBe(`0x${"00".repeat(32)}`);
});
