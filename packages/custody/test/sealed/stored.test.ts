import { digestOf, type ObjectStore } from "@cloister/core";
import { expect, test } from "vitest";
import {
  CHUNK_BYTES,
  collect,
  generateIdentity,
  openStoredRange,
  parseHeader,
  seal,
  unwrapFileKey,
  type Header,
} from "../../src/index.ts";
import { entropy } from "../release/group.ts";

const identity = generateIdentity(entropy);
const plaintext = entropy(5 * CHUNK_BYTES + 10);
const sealed = await collect(seal([plaintext], [identity.recipient], entropy));
const digest = digestOf(sealed);
const unwrap = (header: Header) => unwrapFileKey(header, [identity]);
const RANGE = { offset: 2 * CHUNK_BYTES, length: 100 };

/** A store that gives ranges of whatever it was given. */
function storeOf(bytes: Uint8Array | undefined): ObjectStore {
  const refuse = () => Promise.reject(new Error("not asked for"));
  return {
    name: "store of one",
    put: refuse,
    delete: refuse,
    list: async function* () {},
    stat: async () => (bytes === undefined ? undefined : { sizeBytes: bytes.length }),
    get: async function* (_, range) {
      const { offset, length } = range ?? { offset: 0, length: bytes?.length ?? 0 };
      yield (bytes ?? new Uint8Array(0)).slice(offset, offset + length);
    },
  };
}

test("a range comes out of a store", async () => {
  const got = await collect(openStoredRange(storeOf(sealed), digest, unwrap, RANGE));
  expect(got).toEqual(plaintext.subarray(RANGE.offset, RANGE.offset + RANGE.length));
});

const start = parseHeader(sealed).headerBytes.length + 16;
const flipped = (at: number) => sealed.with(at, (sealed[at] ?? 0) ^ 1);

test.each<[string, Uint8Array]>([
  ["the chunk that is read", flipped(start + 2 * (CHUNK_BYTES + 16) + 5)],
  ["the last chunk, which proves the size", flipped(sealed.length - 1)],
  ["the nonce", flipped(start - 1)],
  // Another character of base64: one that is none would make the header malformed, which blames nobody.
  ["the header's MAC", sealed.with(start - 20, sealed[start - 20] === 65 ? 66 : 65)],
  ["the end, which is cut off", sealed.subarray(0, -30)],
])("a store that changed %s is named", async (_, bytes) => {
  const reading = collect(openStoredRange(storeOf(bytes), digest, unwrap, RANGE));
  await expect(reading).rejects.toMatchObject({ code: "OBJECT_CORRUPT", details: { store: "store of one" } });
});

test("an object that is not there, and a range that is not in it", async () => {
  const missing = collect(openStoredRange(storeOf(undefined), digest, unwrap, RANGE));
  await expect(missing).rejects.toMatchObject({ code: "OBJECT_NOT_FOUND" });
  const outside = collect(
    openStoredRange(storeOf(sealed), digest, unwrap, { offset: plaintext.length, length: 1 }),
  );
  await expect(outside).rejects.toMatchObject({ code: "SEALED_RANGE_OUTSIDE" });
});

test("who may not open it is told so, and the store is not blamed", async () => {
  const other = generateIdentity(entropy);
  const reading = collect(
    openStoredRange(storeOf(sealed), digest, (header) => unwrapFileKey(header, [other]), RANGE),
  );
  await expect(reading).rejects.toMatchObject({ code: "SEALED_NO_IDENTITY_MATCHES" });
});
