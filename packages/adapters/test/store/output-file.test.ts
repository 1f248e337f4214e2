import { createHash, randomBytes } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { webAssembly } from "../../src/sandbox/web-assembly.ts";
import {
  digestBeside,
  digestHere,
  makeSlots,
  SLOT_BYTES,
  type Slots,
} from "../../src/store/output-digest.ts";
import { OutputFile } from "../../src/store/output-file.ts";

const root = await mkdtemp(join(tmpdir(), "cloister-output-"));
afterAll(() => rm(root, { recursive: true }));
let files = 0;

const SMALL_BYTES = 4096;

/** Slots of one page, so that little output fills many of them. */
function smallSlots(at = 0): Slots {
  const { buffer } = new webAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const slots = [0, 1, 2].map((i) => new Uint8Array(buffer, at + i * SMALL_BYTES, SMALL_BYTES));
  return { slots, onPages: true };
}

interface Written {
  readonly bytes: Buffer;
  readonly sizeBytes: number;
  readonly digest: Uint8Array | undefined;
}

async function written(pieces: readonly Uint8Array[], slots: Slots, threads: 1 | 2): Promise<Written> {
  const path = join(root, String(files++));
  const file = await open(path, "wx");
  const digest = threads === 2 ? digestBeside(slots) : digestHere(slots, createHash("sha256"));
  const output = await OutputFile.start(file, slots, digest);
  try {
    for (const piece of pieces) await output.put(piece);
    const sizeBytes = await output.end();
    await output.settle();
    return { bytes: await readFile(path), sizeBytes, digest: await digest.digest() };
  } finally {
    await digest.close();
    await file.close();
  }
}

function expectWhole(result: Written, pieces: readonly Uint8Array[]): void {
  const all = Buffer.concat(pieces);
  expect(result.bytes.equals(all)).toBe(true);
  expect(result.sizeBytes).toBe(all.length);
  expect(Buffer.from(result.digest ?? [])).toEqual(createHash("sha256").update(all).digest());
}

const pieces = fc.array(
  fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(SMALL_BYTES, 3 * SMALL_BYTES, 20_000)),
  { maxLength: 12 },
);

test("pieces of any size come out in order, digested", async () => {
  const property = fc.asyncProperty(pieces, async (sizes) => {
    const made = sizes.map((size) => randomBytes(size));
    expectWhole(await written(made, smallSlots(), 1), made);
  });
  await fc.assert(property, { numRuns: 40 });
});

test("what the disk will not read itself goes the ordinary way", async () => {
  const made = [1, SMALL_BYTES, 50_000].map((size) => randomBytes(size));
  expectWhole(await written(made, smallSlots(8), 1), made);
  const ordinary = makeSlots({ onPages: false, shared: false });
  expect(ordinary.onPages).toBe(false);
  expectWhole(await written(made, ordinary, 1), made);
});

test("a second thread digests more than all slots hold, and nothing", async () => {
  const made = Array.from({ length: 9 }, () => randomBytes(SLOT_BYTES - 5));
  expectWhole(await written(made, makeSlots({ onPages: true, shared: true }), 2), made);
  expectWhole(await written([], makeSlots({ onPages: false, shared: true }), 2), []);
});

test("a write that fails is heard of at the end at the latest, and can be settled", async () => {
  const file = await open(join(root, String(files++)), "wx");
  const reader = await open(join(root, String(files - 1)), "r");
  await file.close();
  const slots = smallSlots();
  const output = await OutputFile.start(reader, { ...slots, onPages: false }, digestHere(slots));
  const writing = (async () => {
    for (let i = 0; i < 5; i++) await output.put(randomBytes(SMALL_BYTES));
    await output.end();
  })();
  await expect(writing).rejects.toMatchObject({ code: "EBADF" });
  await output.settle();
  await reader.close();
});

test("a thread that is ended early does not hang or end the process", async () => {
  const slots = makeSlots({ onPages: false, shared: true });
  const digest = digestBeside(slots);
  await digest.nextFree();
  await digest.close();
});

test("a full disk is heard of past the page cache too", async (context) => {
  const disk = join(root, "disk");
  await mkdir(disk);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=5m", "tmpfs", disk], { stdio: "ignore" });
  } catch {
    context.skip("a small disk cannot be mounted here: it takes root");
  }
  const file = await open(join(disk, "full"), "wx");
  try {
    const slots = makeSlots({ onPages: true, shared: false });
    const output = await OutputFile.start(file, slots, digestHere(slots));
    const writing = (async () => {
      for (let i = 0; i < 40; i++) await output.put(randomBytes(1 << 18));
      await output.end();
    })();
    await expect(writing).rejects.toMatchObject({ code: "ENOSPC" });
    await output.settle();
  } finally {
    await file.close();
    execFileSync("umount", [disk]);
  }
});
