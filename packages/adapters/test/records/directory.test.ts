import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RecordStore } from "@cloister/core";
import { afterAll, describe, expect, test } from "vitest";
import { openDirectoryRecords } from "../../src/records/directory.ts";
import { recordStoreCompliance } from "./compliance.ts";

const root = await mkdtemp(join(tmpdir(), "cloister-records-"));
afterAll(() => rm(root, { recursive: true }));
let made = 0;
const newPath = () => join(root, String(++made));

describe("in a directory", () => recordStoreCompliance(() => openDirectoryRecords(newPath(), Date.now())));
describe("in memory", () => recordStoreCompliance(async () => memoryRecords()));

test("another process reads what was written", async () => {
  const path = newPath();
  await (await openDirectoryRecords(path, Date.now())).write("a", Uint8Array.of(1));
  expect(await (await openDirectoryRecords(path, Date.now())).read("a")).toEqual(Uint8Array.of(1));
});

test("files of others are not records", async () => {
  const path = newPath();
  const records = await openDirectoryRecords(path, Date.now());
  for (const name of ["notes.txt", "%zz.record", "half.partial"]) await writeFile(join(path, name), "x");
  expect(await records.list("")).toEqual([]);
});

test("a name that no file can have is refused", async () => {
  const records = await openDirectoryRecords(newPath(), Date.now());
  for (const name of ["", "x".repeat(300)])
    await expect(records.write(name, new Uint8Array(1))).rejects.toMatchObject({
      code: "RECORD_NAME_INVALID",
    });
});

test("on a full disk the old record stays whole", async (context) => {
  const path = newPath();
  await mkdir(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", path], { stdio: "ignore" });
  } catch {
    context.skip("a small disk cannot be mounted here: it takes root");
  }
  try {
    const records = await openDirectoryRecords(path, Date.now());
    await records.write("state", new Uint8Array(1000).fill(1));
    const write = records.write("state", new Uint8Array(200_000));
    await expect(write).rejects.toMatchObject({ code: "RECORD_STORE_FULL" });
    expect(await records.read("state")).toEqual(new Uint8Array(1000).fill(1));
    expect(await readdir(path)).toEqual(["state.record"]);
  } finally {
    execFileSync("umount", [path]);
  }
});

function memoryRecords(): RecordStore {
  const records = new Map<string, Uint8Array>();
  return {
    read: async (name) => records.get(name),
    write: async (name, record) => void records.set(name, Uint8Array.from(record)),
    delete: async (name) => void records.delete(name),
    list: async (prefix) => [...records.keys()].filter((name) => name.startsWith(prefix)).toSorted(),
  };
}
