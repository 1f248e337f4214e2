import { CloisterError, type Digest, type ObjectStore } from "@cloister/core";
import type { Header } from "./header.ts";
import { openRange } from "./open.ts";

/**
 * Reads a range of a sealed object's content out of a store. SHA-256 allows no partial check, but every chunk is
 * authenticated: a store that gives other bytes is named.
 * @throws {CloisterError} `OBJECT_NOT_FOUND`, `OBJECT_CORRUPT` naming the store, `SEALED_RANGE_OUTSIDE`, and what
 * `unwrap` throws
 */
export async function* openStoredRange(
  store: ObjectStore,
  digest: Digest,
  unwrap: (header: Header) => Uint8Array | Promise<Uint8Array>,
  range: { offset: number; length: number },
): AsyncGenerator<Uint8Array> {
  const found = await store.stat(digest);
  if (found === undefined)
    throw new CloisterError("OBJECT_NOT_FOUND", `The ${store.name} does not hold ${digest}.`);
  const read = (offset: number, length: number) => store.get(digest, { offset, length });
  try {
    yield* openRange({ sizeBytes: found.sizeBytes, read }, unwrap, range);
  } catch (failure) {
    if (!(failure instanceof CloisterError) || !CORRUPTIONS.has(failure.code)) throw failure;
    throw new CloisterError("OBJECT_CORRUPT", `The ${store.name} gave other bytes than ${digest}.`, {
      hint: "Read the object from another store, and remove it from this one.",
      cause: failure,
      details: { store: store.name, expected: digest },
    });
  }
}

const CORRUPTIONS: ReadonlySet<string> = new Set([
  "SEALED_CHUNK_EMPTY",
  "SEALED_CHUNK_FORGED",
  "SEALED_HEADER_MAC_WRONG",
  "SEALED_TRAILING_BYTES",
  "SEALED_TRUNCATED",
]);
