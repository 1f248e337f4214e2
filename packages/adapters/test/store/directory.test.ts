import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, open, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf, type Digest } from "@cloister/core";
import { afterAll, expect, test } from "vitest";
import { openDirectoryStore } from "../../src/store/directory.ts";
import { bytesOf, collect, listed, objectStoreCompliance, piecesOf } from "./compliance.ts";

const root = await mkdtemp(join(tmpdir(), "cloister-store-"));
afterAll(() => rm(root, { recursive: true }));
let made = 0;
const newPath = () => join(root, String(++made));

function fileOf(path: string, digest: Digest): string {
  const hex = digest.slice(7);
  return join(path, "objects", hex.slice(0, 2), hex);
}

objectStoreCompliance(async () => {
  const path = newPath();
  const store = await openDirectoryStore(path, Date.now());
  return {
    store,
    spoil: async (digest) => {
      const file = await open(fileOf(path, digest), "r+");
      await file.write(Uint8Array.of(0, 1, 2, 3), 0, 4, 200_000);
      await file.close();
    },
  };
});

test("a second process sees what the first put", async () => {
  const path = newPath();
  const first = await openDirectoryStore(path, Date.now());
  const { digest } = await first.put(piecesOf(bytesOf(1000), 1000));
  const second = await openDirectoryStore(path, Date.now());
  expect(await listed(second)).toEqual([digest]);
});

test("a cut file is refused", async () => {
  const path = newPath();
  const store = await openDirectoryStore(path, Date.now());
  const { digest } = await store.put(piecesOf(bytesOf(1000), 1000));
  await writeFile(fileOf(path, digest), bytesOf(999));
  await expect(collect(store.get(digest))).rejects.toMatchObject({ code: "OBJECT_CORRUPT" });
});

test("what a dead process left half-written goes, and another's fresh work stays", async () => {
  const path = newPath();
  await mkdir(join(path, "incoming"), { recursive: true });
  const [old, fresh] = ["old.partial", "fresh.partial"].map((name) => join(path, "incoming", name));
  for (const file of [old, fresh]) await writeFile(file as string, "half");
  await utimes(old as string, 1, 1);
  const store = await openDirectoryStore(path, Date.now());
  expect(await readdir(join(path, "incoming"))).toEqual(["fresh.partial"]);
  expect(await listed(store)).toEqual([]);
});

test("a path that is a file is refused with a code", async () => {
  const path = newPath();
  await writeFile(path, "not a directory");
  await expect(openDirectoryStore(path, Date.now())).rejects.toMatchObject({ code: "OBJECT_STORE_FAILED" });
});

test("a full disk is said to be full, and nothing half-written stays", async (context) => {
  const path = newPath();
  await mkdir(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", path], { stdio: "ignore" });
  } catch {
    context.skip("a small disk cannot be mounted here: it takes root");
  }
  try {
    const store = await openDirectoryStore(path, Date.now());
    const small = bytesOf(10_000);
    await store.put(piecesOf(small, 10_000));
    const put = store.put(piecesOf(bytesOf(1_000_000), 100_000));
    await expect(put).rejects.toMatchObject({
      code: "OBJECT_STORE_FULL",
      message: expect.stringContaining("disk is full"),
    });
    expect(await readdir(join(path, "incoming"))).toEqual([]);
    expect(await listed(store)).toEqual([digestOf(small)]);
    await store.put(piecesOf(bytesOf(20_000), 10_000));
  } finally {
    execFileSync("umount", [path]);
  }
});
