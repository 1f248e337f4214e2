import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "@cloister/core";
import { CHUNK_BYTES, collect, generateIdentity, open, seal, unwrapFileKey } from "@cloister/custody";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { openFile, sealFile } from "../../src/store/sealed-files.ts";

const entropy = (length: number) => new Uint8Array(randomBytes(length));
const identity = generateIdentity(entropy);
const unwrap = (header: Parameters<typeof unwrapFileKey>[0]) => unwrapFileKey(header, [identity]);
const root = await mkdtemp(join(tmpdir(), "cloister-files-"));
afterAll(() => rm(root, { recursive: true }));
let folder = "";
const path = (name: string) => join(folder, name);
beforeEach(async () => void (folder = await mkdtemp(join(root, "x"))));

const BLOCK = 4 * CHUNK_BYTES;
const SIZES = [
  0,
  1,
  CHUNK_BYTES,
  BLOCK - 1,
  BLOCK,
  BLOCK + 1,
  2 * BLOCK,
  2 * BLOCK + 3 * CHUNK_BYTES,
  9_000_000,
];

test.each(SIZES)("%i bytes: files and streams agree in both directions", async (size) => {
  const plaintext = entropy(size);
  await writeFile(path("plain"), plaintext);
  const made = await sealFile(path("plain"), path("sealed"), [identity.recipient], entropy);
  const flow = await open([new Uint8Array(await readFile(path("sealed")))], [identity]);
  expect(digestOf(await collect(flow))).toBe(digestOf(plaintext));
  expect(made).toEqual(flow.digests());
  const sealing = seal([plaintext], [identity.recipient], entropy);
  await writeFile(path("streamed"), await collect(sealing));
  for (const threads of [1, 2] as const) {
    const opened = await openFile(path("streamed"), path("opened"), unwrap, { threads });
    expect(opened).toEqual(sealing.digests());
    expect(digestOf(new Uint8Array(await readFile(path("opened"))))).toBe(digestOf(plaintext));
  }
});

test("progress grows up to the whole", async () => {
  await writeFile(path("plain"), entropy(20 << 20));
  const seen: [number, number][] = [];
  await sealFile(path("plain"), path("sealed"), [identity.recipient], entropy, {
    onProgress: (done, total) => seen.push([done, total]),
  });
  expect(seen.length).toBeGreaterThan(2);
  expect(seen.at(-1)).toEqual([20 << 20, 20 << 20]);
  expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).toSorted((a, b) => a - b));
});

test.each([1, 2] as const)("a file that changes while %i threads read it is refused", async (threads) => {
  await writeFile(path("plain"), entropy(20 << 20));
  const sealing = sealFile(path("plain"), path("sealed"), [identity.recipient], entropy, {
    threads,
    onProgress: () => appendFileSync(path("plain"), "x"),
  });
  await expect(sealing).rejects.toMatchObject({ code: "OBJECT_CHANGED" });
  expect(await readdir(folder)).toEqual(["plain"]);
});

test.each([1, 2] as const)("%i threads digest the sides that are asked for", async (threads) => {
  await writeFile(path("plain"), entropy(9_000_000));
  const all = await sealFile(path("plain"), path("sealed"), [identity.recipient], entropy, { threads });
  const { contentDigest: _, ...sealed } = all;
  const { sealedDigest: __, ...none } = sealed;
  for (const [digests, expected] of Object.entries({ both: all, sealed, none })) {
    const options = { digests: digests as "sealed", threads };
    expect(await openFile(path("sealed"), path("opened"), unwrap, options)).toEqual(expected);
    const again = await sealFile(path("plain"), path("again"), [identity.recipient], entropy, options);
    expect(Object.keys(again).toSorted()).toEqual(Object.keys(expected).toSorted());
    if (again.sealedDigest === undefined) continue;
    expect(again.sealedDigest).toBe(digestOf(new Uint8Array(await readFile(path("again")))));
  }
});

test("a header larger than a block is written whole", async () => {
  await writeFile(path("plain"), "x");
  const stanza = { type: "filler", args: ["filler"], body: new Uint8Array(300_000) };
  const filler = { text: "filler", wrap: () => [stanza] };
  const made = await sealFile(path("plain"), path("sealed"), [identity.recipient, filler], entropy);
  const bytes = new Uint8Array(await readFile(path("sealed")));
  expect(bytes.length).toBeGreaterThan(300_000);
  expect(made.sealedDigest).toBe(digestOf(bytes));
  expect((await openFile(path("sealed"), path("opened"), unwrap)).contentBytes).toBe(1);
});

describe("leaves nothing behind", () => {
  const left = async () => (await readdir(folder)).toSorted();

  async function sealedFile(): Promise<Uint8Array> {
    await writeFile(path("plain"), entropy(2 * BLOCK + 100));
    await sealFile(path("plain"), path("sealed"), [identity.recipient], entropy);
    return new Uint8Array(await readFile(path("sealed")));
  }

  test.each<[string, string, (bytes: Uint8Array) => Uint8Array]>([
    [
      "SEALED_CHUNK_FORGED",
      "a changed last byte",
      (bytes) => bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1),
    ],
    ["SEALED_CHUNK_FORGED", "a changed first chunk", (bytes) => bytes.with(5000, (bytes[5000] ?? 0) ^ 1)],
    ["SEALED_CHUNK_FORGED", "a cut inside a chunk", (bytes) => bytes.subarray(0, -50)],
    ["SEALED_TRUNCATED", "a cut inside the header", (bytes) => bytes.subarray(0, 60)],
    ["SEALED_NOT_AGE", "another kind of file", () => entropy(1000)],
  ])("%s: %s", async (code, _, change) => {
    await writeFile(path("sealed"), change(await sealedFile()));
    await expect(openFile(path("sealed"), path("opened"), unwrap)).rejects.toMatchObject({ code });
    expect(await left()).toEqual(["plain", "sealed"]);
  });

  test("when a file is cut at a chunk's end", async () => {
    const bytes = await sealedFile();
    const start = bytes.length - (2 * BLOCK + 100 + 9 * 16);
    await writeFile(path("sealed"), bytes.subarray(0, start + 8 * (CHUNK_BYTES + 16)));
    await expect(openFile(path("sealed"), path("opened"), unwrap)).rejects.toMatchObject({
      code: "SEALED_TRUNCATED",
    });
    expect(await left()).toEqual(["plain", "sealed"]);
  });

  test("when the identity is another's", async () => {
    await sealedFile();
    const other = generateIdentity(entropy);
    const opening = openFile(path("sealed"), path("opened"), (header) => unwrapFileKey(header, [other]));
    await expect(opening).rejects.toMatchObject({ code: "SEALED_NO_IDENTITY_MATCHES" });
    expect(await left()).toEqual(["plain", "sealed"]);
  });

  test("when the input is missing or the output has no place", async () => {
    await writeFile(path("plain"), "x");
    const missing = sealFile(path("none"), path("sealed"), [identity.recipient], entropy);
    await expect(missing).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
      message: expect.stringContaining("none"),
    });
    const nowhere = sealFile(path("plain"), path("no/such/sealed"), [identity.recipient], entropy);
    await expect(nowhere).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    expect(await left()).toEqual(["plain"]);
  });
});

test("a full disk in the middle is said to be full, and leaves nothing", async (context) => {
  await writeFile(path("plain"), entropy(3 * BLOCK));
  const disk = path("disk");
  await mkdir(disk);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], { stdio: "ignore" });
  } catch {
    context.skip("a small disk cannot be mounted here: it takes root");
  }
  try {
    const sealing = sealFile(path("plain"), join(disk, "sealed"), [identity.recipient], entropy);
    await expect(sealing).rejects.toMatchObject({
      code: "FILE_FULL",
      message: expect.stringContaining("disk is full"),
    });
    await sealFile(path("plain"), path("sealed"), [identity.recipient], entropy);
    const opening = openFile(path("sealed"), join(disk, "opened"), unwrap);
    await expect(opening).rejects.toMatchObject({ code: "FILE_FULL" });
    expect(await readdir(disk)).toEqual([]);
  } finally {
    execFileSync("umount", [disk]);
  }
});
