import { concat, ed25519PublicKey, ed25519Signer, sha256, toHex, utf8 } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeLogEntry,
  encodeLogEntry,
  leafHash,
  parseCheckpoint,
  tilePath,
  TransparencyLog,
  verifyCheckpoint,
  verifyConsistency,
  verifyInclusion,
} from "../../src/index.ts";
import { MemoryRecords } from "../memory-records.ts";

const seed = sha256(utf8("log"));
const key = { name: "log.example/31337", key: ed25519PublicKey(seed) };
const sign = ed25519Signer(seed);
const entry = (n: number): Uint8Array => utf8(`entry ${n}`);
const entries = (from: number, to: number): Uint8Array[] =>
  Array.from({ length: to - from }, (_, i) => entry(from + i));

async function expectProven(log: TransparencyLog, index: number): Promise<void> {
  const receipt = await log.receipt(index);
  const signed = parseCheckpoint(receipt.checkpoint);
  expect(verifyCheckpoint(signed, key)).toBe(true);
  const { size, root } = signed.checkpoint;
  const leaf = leafHash(await log.entry(index));
  expect(verifyInclusion({ leaf, index, size, root, path: receipt.path })).toBe(true);
}

test("every entry is provable while the log grows past tiles and past a second level", async () => {
  const log = await TransparencyLog.open(new MemoryRecords(), key, sign);
  const seen: { size: number; root: Uint8Array }[] = [{ size: 0, root: log.root }];
  for (const size of [1, 2, 3, 255, 256, 257, 600, 1024, 1100]) {
    await log.append(entries(log.size, size));
    seen.push({ size, root: log.root });
    for (const index of [0, Math.floor(size / 2), size - 1]) await expectProven(log, index);
  }
  for (const { size: oldSize, root: oldRoot } of seen) {
    const path = await log.consistency(oldSize);
    expect(verifyConsistency({ oldSize, oldRoot, size: log.size, root: log.root, path })).toBe(true);
  }
});

test("the log goes on after a restart as if there had been none", async () => {
  const records = new MemoryRecords();
  const whole = await TransparencyLog.open(new MemoryRecords(), key, sign);
  await whole.append(entries(0, 300));
  for (const size of [1, 100, 256, 300]) {
    const log = await TransparencyLog.open(records, key, sign);
    await log.append(entries(log.size, size));
  }
  const log = await TransparencyLog.open(records, key, sign);
  expect(toHex(log.root)).toBe(toHex(whole.root));
  expect(await log.entry(299)).toEqual(entry(299));
});

test("an entry that is there already keeps its index and adds nothing", async () => {
  const log = await TransparencyLog.open(new MemoryRecords(), key, sign);
  expect(await log.append([entry(1), entry(2), entry(1)])).toEqual([0, 1, 0]);
  expect(await log.append([entry(2)])).toEqual([1]);
  expect(log.size).toBe(2);
  expect(await log.find(leafHash(entry(2)))).toBe(1);
  expect(await log.find(leafHash(entry(3)))).toBeUndefined();
});

test("appends asked for at once are made one after the other", async () => {
  const log = await TransparencyLog.open(new MemoryRecords(), key, sign);
  const indexes = await Promise.all(entries(0, 20).map((one) => log.append([one])));
  expect(indexes.flat()).toEqual(Array.from({ length: 20 }, (_, i) => i));
  await expectProven(log, 7);
});

test("a disk that fills up at any write loses nothing that was acknowledged and breaks nothing", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 1, max: 12 }),
      async (failAfter, count) => {
        const records = new MemoryRecords();
        const log = await TransparencyLog.open(records, key, sign);
        await log.append(entries(0, 250));
        const before = log.root;
        records.failAfter = failAfter;
        const failed = await log.append(entries(250, 250 + count)).then(
          () => false,
          () => true,
        );
        records.failAfter = Number.POSITIVE_INFINITY;
        const again = await TransparencyLog.open(records, key, sign);
        expect(again.size).toBe(failed ? 250 : 250 + count);
        if (failed) expect(again.root).toEqual(before);
        // Other entries take the places that the failed append had begun to fill.
        await again.append([...entries(900, 903), ...entries(250, 250 + count)]);
        const path = await again.consistency(250);
        const sizes = { oldSize: 250, size: again.size };
        expect(verifyConsistency({ ...sizes, oldRoot: before, root: again.root, path })).toBe(true);
        for (let index = 245; index < again.size; index++) await expectProven(again, index);
        expect(again.size).toBe(253 + count);
      },
    ),
    { numRuns: 60 },
  );
});

test("tiles and entry bundles are served as C2SP lays them out", async () => {
  const log = await TransparencyLog.open(new MemoryRecords(), key, sign);
  await log.append(entries(0, 300));
  const leaves = entries(0, 300).map(leafHash);
  expect(await log.resource("checkpoint")).toEqual(log.checkpoint);
  expect(await log.resource("tile/0/000")).toEqual(concat(...leaves.slice(0, 256)));
  expect(await log.resource("tile/0/001.p/44")).toEqual(concat(...leaves.slice(256)));
  expect((await log.resource("tile/1/000.p/1"))?.length).toBe(32);
  const bundle = await log.resource("tile/entries/001.p/2");
  expect(bundle).toEqual(concat(new Uint8Array([0, 9]), entry(256), new Uint8Array([0, 9]), entry(257)));
});

test.each([
  ...["tile/0/001", "tile/0/001.p/45", "tile/0/000.p/256", "tile/0/000.p/0", "tile/1/000", "tile/0/0"],
  ...["tile/0/x000/000", "tile/64/000", "tile/0/000/", "../checkpoint", "tile/entries/002", ""],
])("there is no resource %s", async (path) => {
  const log = await TransparencyLog.open(new MemoryRecords(), key, sign);
  await log.append(entries(0, 300));
  expect(await log.resource(path)).toBeUndefined();
});

test("the number of a tile is written in groups of three digits", () => {
  expect(tilePath(0, 1234067)).toBe("tile/0/x001/x234/067");
  expect(tilePath("entries", 0, 5)).toBe("tile/entries/000.p/5");
});

test("a log is not opened with another key", async () => {
  const records = new MemoryRecords();
  await TransparencyLog.open(records, key, sign);
  const other = { ...key, key: ed25519PublicKey(sha256(utf8("other"))) };
  await expect(TransparencyLog.open(records, other, sign)).rejects.toMatchObject({
    code: "LOG_RECORDS_BROKEN",
  });
});

test.each(["changed", "removed", "cut"])("a log with a tile that was %s is not opened", async (how) => {
  const records = new MemoryRecords();
  await (await TransparencyLog.open(records, key, sign)).append(entries(0, 10));
  const tile = records.records.get("tile-0-0") as Uint8Array;
  if (how === "removed") records.records.delete("tile-0-0");
  if (how === "cut") records.records.set("tile-0-0", tile.subarray(0, 96));
  if (how === "changed") tile[40] = (tile[40] as number) ^ 1;
  await expect(TransparencyLog.open(records, key, sign)).rejects.toMatchObject({
    code: "LOG_RECORDS_BROKEN",
  });
});

test("an entry whose record is gone is named", async () => {
  const records = new MemoryRecords();
  const log = await TransparencyLog.open(records, key, sign);
  await log.append([entry(0)]);
  records.records.delete("entry-0");
  await expect(log.entry(0)).rejects.toMatchObject({ code: "LOG_RECORDS_BROKEN" });
});

test.each([-1, 3, 0.5])("there is no entry and no proof at %s", async (index) => {
  const log = await TransparencyLog.open(new MemoryRecords(), key, sign);
  await log.append(entries(0, 2));
  await expect(log.entry(index)).rejects.toMatchObject({ code: "LOG_INDEX_UNKNOWN" });
  await expect(log.receipt(index)).rejects.toMatchObject({ code: "LOG_INDEX_UNKNOWN" });
  await expect(log.consistency(index)).rejects.toMatchObject({ code: "LOG_INDEX_UNKNOWN" });
});

test("entries that are too large, and too many at once, are refused", async () => {
  const log = await TransparencyLog.open(new MemoryRecords(), key, sign);
  await expect(log.append([new Uint8Array(65_536)])).rejects.toMatchObject({ code: "LOG_ENTRY_TOO_LARGE" });
  const many = Array.from({ length: 4097 }, () => entry(0));
  await expect(log.append(many)).rejects.toMatchObject({ code: "LOG_ENTRY_TOO_LARGE" });
  expect(log.size).toBe(0);
});

test("an entry has a kind and a statement, in one encoding", () => {
  const bytes = encodeLogEntry({ kind: "order-report", statement: utf8("x") });
  expect(decodeLogEntry(bytes)).toEqual({ kind: "order-report", statement: utf8("x") });
  expect(() => decodeLogEntry(concat(bytes, utf8("x")))).toThrow(
    expect.objectContaining({ code: "LOG_ENTRY_MALFORMED" }),
  );
  expect(() => encodeLogEntry({ kind: "rumor" as never, statement: utf8("x") })).toThrow(
    expect.objectContaining({ code: "LOG_ENTRY_MALFORMED" }),
  );
});
