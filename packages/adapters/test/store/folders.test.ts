import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf, utf8 } from "@cloister/core";
import { afterAll, beforeEach, expect, test } from "vitest";
import { packFolder, unpackFolder } from "../../src/store/folders.ts";
import { collect, bytesOf, piecesOf } from "./compliance.ts";

const LIMITS = { entriesMax: 100, bytesMax: 10 << 20 };
const root = await mkdtemp(join(tmpdir(), "cloister-folders-"));
afterAll(() => rm(root, { recursive: true }));
let folder = "";
const path = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(root, "x"));
  await mkdir(path("data/deep"), { recursive: true });
  await writeFile(path("data/deep/table.csv"), bytesOf(500_000));
  await writeFile(path("data/run.sh"), "#!/bin/sh\n", { mode: 0o755 });
});

test("a folder comes back as it was, and packs to the same bytes again", async () => {
  const archive = await collect(packFolder(path("data")));
  await unpackFolder(piecesOf(archive, 7777), path("out"), LIMITS);
  expect(new Uint8Array(await readFile(path("out/deep/table.csv")))).toEqual(bytesOf(500_000));
  expect((await stat(path("out/run.sh"))).mode & 0o111).not.toBe(0);
  expect(digestOf(await collect(packFolder(path("out"))))).toBe(digestOf(archive));
  expect((await readdir(folder)).toSorted()).toEqual(["data", "out"]);
});

test("what was sealed is not unpacked for everybody to read", async () => {
  await unpackFolder([await collect(packFolder(path("data")))], path("out"), LIMITS);
  expect((await stat(path("out"))).mode & 0o077).toBe(0);
});

test("a link in a folder is named and not followed", async () => {
  await symlink("/etc/passwd", path("data/link"));
  await expect(collect(packFolder(path("data")))).rejects.toMatchObject({ code: "TAR_TYPE_NOT_ALLOWED" });
});

test("a folder that is there is not written into", async () => {
  const archive = await collect(packFolder(path("data")));
  await expect(unpackFolder([archive], path("data"), LIMITS)).rejects.toMatchObject({ code: "FILE_EXISTS" });
});

test.each<[string, string, (archive: Uint8Array) => Uint8Array]>([
  ["TAR_MALFORMED", "cut", (archive) => archive.subarray(0, -600)],
  ["TAR_TOO_LARGE", "beyond its limits", (archive) => archive],
  ["TAR_MALFORMED", "something else", () => utf8("not an archive".repeat(100))],
])("%s: an archive that is %s leaves nothing", async (code, _, change) => {
  const archive = change(await collect(packFolder(path("data"))));
  const unpacking = unpackFolder([archive], path("out"), {
    ...LIMITS,
    bytesMax: code === "TAR_TOO_LARGE" ? 1000 : LIMITS.bytesMax,
  });
  await expect(unpacking).rejects.toMatchObject({ code });
  expect(await readdir(folder)).toEqual(["data"]);
});

test("a folder that is not there is named", async () => {
  await expect(collect(packFolder(path("none")))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
});
