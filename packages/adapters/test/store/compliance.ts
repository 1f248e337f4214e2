import { digestOf, type Digest, type ObjectStore } from "@cloister/core";
import { expect, test } from "vitest";

/** A store under test, and a way to spoil what it holds, as a rotten disk or a lying server would. */
export interface StoreUnderTest {
  readonly store: ObjectStore;
  spoil(digest: Digest): Promise<void>;
}

/** What every object store must do. Run it on each implementation of the port. */
export function objectStoreCompliance(create: () => Promise<StoreUnderTest>): void {
  test("gives back what was put, by the digest that sha256sum prints", async () => {
    const { store } = await create();
    const object = bytesOf(300_000);
    const put = await store.put(piecesOf(object, 70_001));
    expect(put).toEqual({ digest: digestOf(object), sizeBytes: object.length });
    expect(digestOf(await collect(store.get(put.digest)))).toBe(put.digest);
    expect(await store.stat(put.digest)).toEqual({ sizeBytes: object.length });
  });

  test("holds the empty object", async () => {
    const { store } = await create();
    const { digest } = await store.put(piecesOf(new Uint8Array(0), 1));
    expect(await collect(store.get(digest))).toHaveLength(0);
  });

  test("puts the same object twice as one", async () => {
    const { store } = await create();
    const [first, second] = [
      await store.put(piecesOf(bytesOf(10), 3)),
      await store.put(piecesOf(bytesOf(10), 4)),
    ];
    expect(first).toEqual(second);
    expect(await listed(store)).toEqual([first.digest]);
  });

  test("puts the same object at the same time as one", async () => {
    const { store } = await create();
    const object = bytesOf(100_000);
    await Promise.all([1, 2, 3, 4].map((n) => store.put(piecesOf(object, n * 10_000))));
    expect(await listed(store)).toEqual([digestOf(object)]);
    expect(digestOf(await collect(store.get(digestOf(object))))).toBe(digestOf(object));
  });

  test("reads a range, also an empty one and one up to the end", async () => {
    const { store } = await create();
    const object = bytesOf(100_000);
    const { digest } = await store.put(piecesOf(object, 5000));
    for (const [offset, length] of [
      [0, 1],
      [65_530, 20],
      [99_999, 1],
      [100_000, 0],
      [0, 100_000],
    ] as const) {
      const range = await collect(store.get(digest, { offset, length }));
      expect(digestOf(range)).toBe(digestOf(object.subarray(offset, offset + length)));
    }
  });

  test("refuses a range outside the object", async () => {
    const { store } = await create();
    const { digest } = await store.put(piecesOf(bytesOf(10), 10));
    for (const range of [
      { offset: 5, length: 6 },
      { offset: -1, length: 1 },
      { offset: 11, length: 0 },
    ]) {
      await expect(collect(store.get(digest, range))).rejects.toMatchObject({ code: "OBJECT_RANGE_OUTSIDE" });
    }
  });

  test("names what it does not hold", async () => {
    const { store } = await create();
    const digest = digestOf(bytesOf(7));
    expect(await store.stat(digest)).toBeUndefined();
    await expect(collect(store.get(digest))).rejects.toMatchObject({ code: "OBJECT_NOT_FOUND" });
  });

  test("refuses what is not a digest before it touches anything", async () => {
    const { store } = await create();
    const path = "sha256:../../../../etc/passwd" as Digest;
    await expect(collect(store.get(path))).rejects.toMatchObject({ code: "DIGEST_MALFORMED" });
    await expect(async () => store.stat(path)).rejects.toMatchObject({ code: "DIGEST_MALFORMED" });
    await expect(async () => store.delete(path)).rejects.toMatchObject({ code: "DIGEST_MALFORMED" });
  });

  test("keeps nothing of a put that fails", async () => {
    const { store } = await create();
    await expect(store.put(brokenPieces())).rejects.toThrow("the source broke");
    expect(await listed(store)).toEqual([]);
  });

  test("forgets what is deleted, and what was never there", async () => {
    const { store } = await create();
    const { digest } = await store.put(piecesOf(bytesOf(10), 10));
    await store.delete(digest);
    await store.delete(digest);
    expect(await store.stat(digest)).toBeUndefined();
    expect(await listed(store)).toEqual([]);
  });

  test("refuses the end of an object whose bytes were changed, and names the store", async () => {
    const { store, spoil } = await create();
    const { digest } = await store.put(piecesOf(bytesOf(300_000), 100_000));
    await spoil(digest);
    await expect(collect(store.get(digest))).rejects.toMatchObject({
      code: "OBJECT_CORRUPT",
      details: { store: store.name },
    });
  });

  test("is repaired by putting a changed object again", async () => {
    const { store, spoil } = await create();
    const object = bytesOf(300_000);
    const { digest } = await store.put(piecesOf(object, 100_000));
    await spoil(digest);
    await store.put(piecesOf(object, 100_000));
    expect(digestOf(await collect(store.get(digest)))).toBe(digest);
  });

  test("lets a reader stop early", async () => {
    const { store } = await create();
    const { digest } = await store.put(piecesOf(bytesOf(600_000), 100_000));
    for await (const piece of store.get(digest)) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    await store.delete(digest);
  });
}

/** Bytes that differ from place to place, so that swapped pieces are seen. */
export function bytesOf(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0, state = 1; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

export async function* piecesOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return new Uint8Array(Buffer.concat(parts));
}

export async function listed(store: ObjectStore): Promise<Digest[]> {
  const digests: Digest[] = [];
  for await (const digest of store.list()) digests.push(digest);
  return digests.toSorted();
}

async function* brokenPieces(): AsyncGenerator<Uint8Array> {
  yield bytesOf(100_000);
  throw new Error("the source broke");
}
