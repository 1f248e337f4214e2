import {
  concat,
  decodeCanonical,
  encodeCanonical,
  ed25519Signer,
  sha256,
  utf8,
  type Verdict,
} from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  encodeLogEntry,
  isCertificateFor,
  isCertificateNaming,
  isForkProof,
  judgeWitnesses,
  LogMonitor,
  makeCoseReceipt,
  verifyCoseReceipt,
  parseCheckpoint,
  TransparencyLog,
  Witness,
  type LogSource,
} from "../../src/index.ts";
import { MemoryRecords } from "../memory-records.ts";
import { issueNode, key, node, NOW_MS, signer } from "../world.ts";

const logKey = { name: "log.example/31337", key: key("log") };
const witnessKey = { name: "witness.example/w1", key: key("witness") };
const open = (): Promise<TransparencyLog> => TransparencyLog.open(new MemoryRecords(), logKey, signer("log"));
const entries = (from: number, to: number, word = "entry"): Uint8Array[] =>
  Array.from({ length: to - from }, (_, i) => utf8(`${word} ${from + i}`));
const codes = (verdict: Verdict<unknown>): string[] =>
  verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
const sourceOf = (log: TransparencyLog): LogSource => ({
  entry: (index) => log.entry(index),
  consistency: (oldSize) => log.consistency(oldSize),
});

/** Two logs under one key that agree on the first entries and then tell two stories. */
async function forkedLogs(common: number, size: number): Promise<[TransparencyLog, TransparencyLog]> {
  const [one, other] = [await open(), await open()];
  for (const log of [one, other]) await log.append(entries(0, common));
  await one.append(entries(common, size));
  await other.append(entries(common, size, "another entry"));
  return [one, other];
}

test("a witness co-signs what extends what it saw, also after a restart", async () => {
  const [log, records] = [await open(), new MemoryRecords()];
  for (const size of [1, 5, 5, 300]) {
    await log.append(entries(log.size, size));
    const witness = new Witness(records, logKey, witnessKey, signer("witness"));
    const verdict = await witness.cosign(
      log.checkpoint,
      await log.consistency(await witness.lastSize()),
      NOW_MS,
    );
    expect(codes(verdict)).toEqual([]);
    if (!verdict.ok) continue;
    const policy = { witnesses: [witnessKey], countMin: 1, ageMsMax: 60_000 };
    expect(judgeWitnesses(verdict.value, policy, NOW_MS + 30_000)).toEqual([]);
    expect(judgeWitnesses(verdict.value, policy, NOW_MS + 90_000)[0]?.code).toBe("LOG_WITNESSES_MISSING");
    expect(judgeWitnesses(log.checkpoint, policy, NOW_MS)[0]?.code).toBe("LOG_WITNESSES_MISSING");
  }
});

test("a witness does not co-sign the second of two stories", async () => {
  const [one, other] = await forkedLogs(10, 20);
  const witness = new Witness(new MemoryRecords(), logKey, witnessKey, signer("witness"));
  await witness.cosign(one.checkpoint, [], NOW_MS);
  const again = async (log: TransparencyLog): Promise<string[]> =>
    codes(await witness.cosign(log.checkpoint, await log.consistency(Math.min(20, log.size)), NOW_MS));
  expect(await again(other)).toEqual(["LOG_FORKED"]);
  await other.append(entries(50, 60));
  expect(await again(other)).toEqual(["LOG_FORKED"]);
  expect(await again(one)).toEqual([]);
});

test("a witness does not go back, and does not co-sign what the log did not sign", async () => {
  const [log, witness] = [
    await open(),
    new Witness(new MemoryRecords(), logKey, witnessKey, signer("witness")),
  ];
  await log.append(entries(0, 3));
  const early = log.checkpoint;
  await log.append(entries(3, 9));
  expect(codes(await witness.cosign(log.checkpoint, [], NOW_MS))).toEqual([]);
  expect(codes(await witness.cosign(early, [], NOW_MS))).toEqual(["LOG_CHECKPOINT_STALE"]);
  const stranger = await TransparencyLog.open(new MemoryRecords(), { ...logKey, key: key("x") }, signer("x"));
  expect(codes(await witness.cosign(stranger.checkpoint, [], NOW_MS))).toEqual(["LOG_CHECKPOINT_UNSIGNED"]);
});

test("what a witness saw is durable before it signs", async () => {
  const records = new MemoryRecords();
  records.failAfter = 0;
  const witness = new Witness(records, logKey, witnessKey, signer("witness"));
  await expect(witness.cosign((await open()).checkpoint, [], NOW_MS)).rejects.toThrow("no space left");
  records.failAfter = Number.POSITIVE_INFINITY;
  records.records.set("witnessed", encodeCanonical({ size: 1 }));
  await expect(witness.lastSize()).rejects.toMatchObject({ code: "WITNESS_RECORD_BROKEN" });
});

test("a monitor sees every entry once, across restarts, in steps of any size", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 8 }), async (steps) => {
      const [log, records] = [await open(), new MemoryRecords()];
      const seen: number[] = [];
      for (const step of steps) {
        await log.append(entries(log.size, log.size + step));
        const verdict = await new LogMonitor(records, logKey).follow(log.checkpoint, sourceOf(log));
        if (verdict.ok) seen.push(...verdict.value.map(({ index }) => index));
      }
      expect(seen).toEqual(Array.from({ length: log.size }, (_, i) => i));
    }),
    { numRuns: 30 },
  );
});

test("a forked log is detected by a monitor, and the two checkpoints prove it to others", async () => {
  const [one, other] = await forkedLogs(10, 20);
  const monitor = new LogMonitor(new MemoryRecords(), logKey);
  expect(codes(await monitor.follow(one.checkpoint, sourceOf(one)))).toEqual([]);
  expect(codes(await monitor.follow(other.checkpoint, sourceOf(other)))).toEqual(["LOG_FORKED"]);
  expect(isForkProof((await monitor.lastCheckpoint()) as Uint8Array, other.checkpoint, logKey)).toBe(true);
  expect(isForkProof(one.checkpoint, one.checkpoint, logKey)).toBe(false);
  expect(isForkProof(one.checkpoint, other.checkpoint, { ...logKey, key: key("x") })).toBe(false);
  await other.append(entries(70, 90));
  expect(codes(await monitor.follow(other.checkpoint, sourceOf(other)))).toEqual(["LOG_FORKED"]);
});

test("a fork behind what the monitor has read is detected, an honest older checkpoint is no fork", async () => {
  const [one, other] = await forkedLogs(3, 6);
  const early = one.checkpoint;
  await one.append(entries(6, 50));
  const monitor = new LogMonitor(new MemoryRecords(), logKey);
  await monitor.follow(one.checkpoint, sourceOf(one));
  expect(codes(await monitor.follow(early, sourceOf(one)))).toEqual([]);
  expect(codes(await monitor.follow(other.checkpoint, sourceOf(one)))).toEqual(["LOG_FORKED"]);
});

test("a log that shows other entries than it signed is found out, and read again from where it was", async () => {
  const [log, monitor] = [await open(), new LogMonitor(new MemoryRecords(), logKey)];
  await log.append(entries(0, 5));
  const lying = { ...sourceOf(log), entry: (index: number) => Promise.resolve(utf8(`lie ${index}`)) };
  expect(codes(await monitor.follow(log.checkpoint, lying))).toEqual(["LOG_FORKED"]);
  const verdict = await monitor.follow(log.checkpoint, sourceOf(log));
  expect(verdict.ok && verdict.value.length).toBe(5);
  const stranger = await TransparencyLog.open(new MemoryRecords(), { ...logKey, key: key("x") }, signer("x"));
  expect(codes(await monitor.follow(stranger.checkpoint, sourceOf(log)))).toEqual([
    "LOG_CHECKPOINT_UNSIGNED",
  ]);
});

test("a monitor's record that was damaged is named", async () => {
  const records = new MemoryRecords();
  records.records.set("monitor", encodeCanonical({ size: 3, peaks: [], note: utf8("") }));
  const log = await open();
  const follow = new LogMonitor(records, logKey).follow(log.checkpoint, sourceOf(log));
  await expect(follow).rejects.toMatchObject({ code: "MONITOR_RECORD_BROKEN" });
});

test("a monitor finds certificates for one's key and in one's name", async () => {
  const [log, monitor] = [await open(), new LogMonitor(new MemoryRecords(), logKey)];
  const mine = issueNode();
  const forged = issueNode({ identity: key("somebody else") });
  const statements = [mine, forged].map((statement) => encodeLogEntry({ kind: "certificate", statement }));
  await log.append([
    ...statements,
    utf8("of no kind"),
    encodeLogEntry({ kind: "certificate", statement: utf8("x") }),
  ]);
  const verdict = await monitor.follow(log.checkpoint, sourceOf(log));
  const read = verdict.ok ? verdict.value : [];
  const of = (test: (one: NonNullable<(typeof read)[number]["entry"]>) => boolean): number[] =>
    read.filter(({ entry }) => entry !== undefined && test(entry)).map(({ index }) => index);
  expect(of((entry) => isCertificateFor(entry, key("identity")))).toEqual([0]);
  expect(of((entry) => isCertificateNaming(entry, node))).toEqual([0, 1]);
  expect(read[2]?.entry).toBeUndefined();
});

test("a COSE receipt stands on its own for one entry of one log", async () => {
  const log = await open();
  await log.append(entries(0, 21));
  const { index, path } = await log.receipt(13);
  const { size } = parseCheckpoint(log.checkpoint).checkpoint;
  const entry = utf8("entry 13");
  const receipt = makeCoseReceipt(entry, { index, size, path }, { key: logKey.key, sign: signer("log") });
  expect(verifyCoseReceipt(receipt, entry, logKey.key)).toBe(true);
  expect(verifyCoseReceipt(receipt, utf8("entry 14"), logKey.key)).toBe(false);
  expect(verifyCoseReceipt(receipt, entry, key("x"))).toBe(false);
  // The tree's size is not signed (RFC 9942): 20 leads along the same path as 21.
  const sizeAt = Buffer.from(receipt).indexOf(Buffer.from([0x83, size])) + 1;
  for (let at = 0; at < receipt.length; at++) {
    const changed = receipt.with(at, (receipt[at] as number) ^ 1);
    try {
      expect(verifyCoseReceipt(changed, entry, logKey.key), `byte ${at}`).toBe(at === sizeAt);
    } catch (error) {
      expect(error).toMatchObject({ code: "RECEIPT_MALFORMED" });
    }
  }
  const [header, , , signature] = decodeCanonical(receipt) as [Uint8Array, unknown, null, Uint8Array];
  for (const wrong of [
    [header, new Map(), null, signature],
    [header],
    concat(header),
    [new Map(), new Map(), null, signature],
  ]) {
    expect(() => verifyCoseReceipt(encodeCanonical(wrong), entry, logKey.key)).toThrow(
      expect.objectContaining({ code: "RECEIPT_MALFORMED" }),
    );
  }
  const sign = ed25519Signer(sha256(utf8("log")));
  expect(() => makeCoseReceipt(entry, { index: 30, size, path }, { key: logKey.key, sign })).toThrow(
    expect.objectContaining({ code: "RECEIPT_MALFORMED" }),
  );
});
