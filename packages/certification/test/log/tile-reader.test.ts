import { concat, utf8 } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  emptyRoot,
  formatNoteKey,
  leafHash,
  LogMonitor,
  parseNoteKey,
  TileReader,
  TransparencyLog,
  verifyConsistency,
  verifyInclusion,
  type FetchResource,
} from "../../src/index.ts";
import { MemoryRecords } from "../memory-records.ts";
import { key, signer } from "../world.ts";

const logKey = { name: "log.example/31337", key: key("log") };
const SIZE = 1_000;
const entryAt = (index: number): Uint8Array => utf8(`entry ${index} `.repeat((index % 7) + 1));
const log = await TransparencyLog.open(new MemoryRecords(), logKey, signer("log"));
const roots = [emptyRoot()];
for (let index = 0; index < SIZE; index++) {
  await log.append([entryAt(index)]);
  roots.push(log.root);
}
const served: FetchResource = (path) => log.resource(path);
const size = fc.integer({ min: 1, max: SIZE });

test("tiles of a grown log give entries and proofs as of any earlier size", async () => {
  await fc.assert(
    fc.asyncProperty(size, fc.nat(), fc.nat(), async (end, a, b) => {
      const reader = new TileReader(served, end);
      const [index, oldSize] = [a % end, b % (end + 1)];
      const root = roots[end] as Uint8Array;
      const entry = await reader.entry(index);
      expect(entry).toEqual(entryAt(index));
      expect(await reader.root()).toEqual(root);
      expect(await reader.root(oldSize)).toEqual(roots[oldSize]);
      const path = await reader.inclusion(index);
      expect(verifyInclusion({ leaf: leafHash(entry), index, size: end, root, path })).toBe(true);
      const oldRoot = roots[oldSize] as Uint8Array;
      const proof = { oldSize, oldRoot, size: end, root, path: await reader.consistency(oldSize) };
      expect(verifyConsistency(proof)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test("a reader asks for each tile once and is what a monitor follows", async () => {
  const asked: string[] = [];
  const reader = new TileReader((path) => {
    asked.push(path);
    return served(path);
  }, SIZE);
  const verdict = await new LogMonitor(new MemoryRecords(), logKey).follow(log.checkpoint, reader);
  expect(verdict.ok && verdict.value.length).toBe(SIZE);
  expect(asked).toEqual([
    "tile/entries/000",
    "tile/entries/001",
    "tile/entries/002",
    "tile/entries/003.p/232",
  ]);
});

test.each([[SIZE], [-1], [0.5], [Number.NaN]])("there is no entry %s", async (index) => {
  const reader = new TileReader(served, SIZE);
  await expect(reader.entry(index)).rejects.toMatchObject({ code: "LOG_INDEX_UNKNOWN" });
  await expect(reader.inclusion(index)).rejects.toMatchObject({ code: "LOG_INDEX_UNKNOWN" });
});

test("sizes that the log never had are refused or not served", async () => {
  await expect(new TileReader(served, SIZE).consistency(SIZE + 1)).rejects.toMatchObject({
    code: "LOG_INDEX_UNKNOWN",
  });
  await expect(new TileReader(served, SIZE + 1).root()).rejects.toMatchObject({ code: "LOG_TILE_MISSING" });
  await expect(new TileReader(served, SIZE + 1).entry(SIZE)).rejects.toMatchObject({
    code: "LOG_TILE_MISSING",
  });
});

test.each([
  ["cut", (bytes: Uint8Array) => bytes.subarray(0, -1)],
  ["padded", (bytes: Uint8Array) => concat(bytes, new Uint8Array(1))],
  ["empty", () => new Uint8Array(0)],
  ["with an entry too few", (bytes: Uint8Array) => bytes.subarray(0, -34)],
])("tiles and bundles that are %s are refused", async (_, change) => {
  const reader = new TileReader(async (path) => change((await served(path)) as Uint8Array), 5);
  await expect(reader.root()).rejects.toMatchObject({ code: "LOG_TILE_MALFORMED" });
  await expect(reader.entry(0)).rejects.toMatchObject({ code: "LOG_TILE_MALFORMED" });
});

test("an answer that failed is asked for again", async () => {
  let failures = 1;
  const reader = new TileReader(async (path) => (failures-- > 0 ? undefined : served(path)), 10);
  await expect(reader.entry(3)).rejects.toMatchObject({ code: "LOG_TILE_MISSING" });
  expect(await reader.entry(3)).toEqual(entryAt(3));
});

test("a log's key is written and read as one text", () => {
  const text = formatNoteKey(logKey);
  expect(text).toMatch(/^log\.example\/31337\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44}$/);
  expect(parseNoteKey(text)).toEqual(logKey);
});

test.each([
  ["", "nothing"],
  [formatNoteKey(logKey).replace("log", "lag"), "another name"],
  [
    formatNoteKey(logKey).replace(/\+(.)/, (_, digit: string) => `+${digit === "0" ? "1" : "0"}`),
    "another id",
  ],
  [formatNoteKey({ ...logKey, key: key("log").subarray(1) }), "a short key"],
  [`${formatNoteKey(logKey)}x`, "a longer text"],
])("the key %s is refused", (text) => {
  expect(() => parseNoteKey(text)).toThrow(expect.objectContaining({ code: "LOG_KEY_MALFORMED" }));
});
