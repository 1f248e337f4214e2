import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "@cloister/core";
import { afterAll, beforeEach, expect, test } from "vitest";
import { downloadObject, uploadObject } from "../../src/store/transfers.ts";
import { bytesOf, collect, listed, piecesOf } from "./compliance.ts";
import { MemoryStore } from "./memory.ts";

const root = await mkdtemp(join(tmpdir(), "cloister-transfers-"));
afterAll(() => rm(root, { recursive: true }));
let folder = "";
const path = (name: string) => join(folder, name);
beforeEach(async () => void (folder = await mkdtemp(join(root, "x"))));

const OBJECT = bytesOf(300_000);
const DIGEST = digestOf(OBJECT);

/** A store whose connection breaks after so many bytes of each read. */
class BreakingStore extends MemoryStore {
  breakAfterBytes = Number.POSITIVE_INFINITY;
  readonly reads: number[] = [];

  override async *get(...parameters: Parameters<MemoryStore["get"]>): AsyncGenerator<Uint8Array> {
    let given = 0;
    this.reads.push(parameters[1]?.offset ?? 0);
    for await (const piece of super.get(...parameters)) {
      if (given + piece.length > this.breakAfterBytes) throw new Error("the connection broke");
      given += piece.length;
      yield piece;
    }
  }
}

test("a download that broke off goes on where it was", async () => {
  const store = new BreakingStore();
  await store.put(piecesOf(OBJECT, 9999));
  store.breakAfterBytes = 150_000;
  await expect(downloadObject(store, DIGEST, path("object"))).rejects.toThrow("broke");
  expect(await readdir(folder)).toEqual(["object.partial"]);
  store.breakAfterBytes = Number.POSITIVE_INFINITY;
  const seen: number[] = [];
  const got = await downloadObject(store, DIGEST, path("object"), (done) => seen.push(done));
  expect(got).toEqual({ sizeBytes: OBJECT.length, resumedBytes: 131_072 });
  expect(store.reads).toEqual([0, 131_072]);
  expect([seen[0], seen.at(-1)]).toEqual([131_072, OBJECT.length]);
  expect(digestOf(new Uint8Array(await readFile(path("object"))))).toBe(DIGEST);
  expect(await readdir(folder)).toEqual(["object"]);
});

test.each([
  ["of another object", bytesOf(1000).fill(1)],
  ["longer than the object", new Uint8Array(400_000)],
  ["torn by a power cut", OBJECT.slice(0, 200_000).fill(0, 150_000)],
])("a partial file %s is not believed, and the store is not blamed for it", async (_, left) => {
  const store = new MemoryStore();
  await store.put(piecesOf(OBJECT, 9999));
  await writeFile(path("object.partial"), left);
  const got = await downloadObject(store, DIGEST, path("object"));
  expect(got).toEqual({ sizeBytes: OBJECT.length, resumedBytes: 0 });
  expect(digestOf(new Uint8Array(await readFile(path("object"))))).toBe(DIGEST);
  expect(await readdir(folder)).toEqual(["object"]);
});

test.each([0, 131_072])(
  "a store that lies is named when %i bytes were there, and nothing stays",
  async (left) => {
    const store = new MemoryStore();
    await store.put(piecesOf(OBJECT, 9999));
    store.objects.set(DIGEST, new Uint8Array(OBJECT.length));
    if (left > 0) await writeFile(path("object.partial"), OBJECT.subarray(0, left));
    await expect(downloadObject(store, DIGEST, path("object"))).rejects.toMatchObject({
      code: "OBJECT_CORRUPT",
      details: { store: store.name },
    });
    expect(await readdir(folder)).toEqual([]);
  },
);

test("an object that is not there is named, and no file is made", async () => {
  await expect(downloadObject(new MemoryStore(), DIGEST, path("object"))).rejects.toMatchObject({
    code: "OBJECT_NOT_FOUND",
  });
  expect(await readdir(folder)).toEqual([]);
});

test("an upload sends nothing that is there already", async () => {
  const store = new MemoryStore();
  await writeFile(path("object"), OBJECT);
  const seen: number[] = [];
  expect(await uploadObject(store, path("object"), (done) => seen.push(done))).toEqual({
    digest: DIGEST,
    sizeBytes: OBJECT.length,
  });
  expect(seen.at(-1)).toBe(OBJECT.length);
  store.put = () => Promise.reject(new Error("nothing should be sent"));
  expect(await uploadObject(store, path("object"))).toEqual({ digest: DIGEST, sizeBytes: OBJECT.length });
});

test("an upload mends a copy that is there and wrong", async () => {
  const store = new MemoryStore();
  await writeFile(path("object"), OBJECT);
  await uploadObject(store, path("object"));
  store.objects.set(DIGEST, new Uint8Array(OBJECT.length));
  await uploadObject(store, path("object"));
  expect(digestOf(await collect(store.get(DIGEST)))).toBe(DIGEST);
});

test("a file that changes while it is uploaded leaves nothing in the store", async () => {
  const store = new MemoryStore();
  await writeFile(path("object"), OBJECT);
  const find = store.stat.bind(store);
  store.stat = async (digest) => {
    const { size } = await stat(path("object"));
    await writeFile(path("object"), new Uint8Array(size));
    return find(digest);
  };
  await expect(uploadObject(store, path("object"))).rejects.toMatchObject({ code: "OBJECT_CHANGED" });
  expect(await listed(store)).toEqual([]);
});

test("a missing file is named", async () => {
  await expect(uploadObject(new MemoryStore(), path("none"))).rejects.toMatchObject({
    code: "FILE_NOT_FOUND",
  });
});
