import {
  cosignaturesOf,
  encodeLogEntry,
  judgeInclusion,
  leafHash,
  parseCheckpoint,
  TransparencyLog,
  verifyCheckpoint,
  Witness,
  witnessKeyOf,
  type LogWitness,
} from "@cloister/certification";
import {
  codeOf as codeIn,
  concat,
  ed25519PublicKey,
  ed25519Signer,
  fromUtf8,
  parseAddress,
  sha256,
  utf8,
} from "@cloister/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemoryRecords } from "../../certification/test/memory-records.ts";
import { LogPublisher, type WitnessAnswer } from "../src/log-publisher.ts";

const NOW_MS = Date.UTC(2026, 10, 21);
const seedOf = (name: string): Uint8Array => sha256(utf8(name));
const logKey = { name: "log.example/31337", key: ed25519PublicKey(seedOf("log")) };
const entry = (n: number): Uint8Array =>
  encodeLogEntry({ kind: "order-report", statement: utf8(`report ${n}`) });

/** One witness that can be switched off, or be made to answer something else. */
class Watcher {
  readonly known: LogWitness;
  readonly records = new MemoryRecords();
  answers: "well" | "not" | "rubbish" | "another note" | "a forged line" = "well";
  readonly #seed: Uint8Array;

  constructor(n: number) {
    this.#seed = seedOf(`witness ${n}`);
    this.known = { node: parseAddress(`0x${String(n).repeat(40)}`), key: ed25519PublicKey(this.#seed) };
  }

  async answer(log: TransparencyLog, note: Uint8Array): Promise<WitnessAnswer | undefined> {
    const anchor = utf8(`anchor of ${this.known.node}`);
    if (this.answers === "not") return undefined;
    if (this.answers === "rubbish") return { note: utf8("—"), anchor };
    const self = witnessKeyOf(this.known);
    if (this.answers === "a forged line")
      return { note: utf8(`${fromUtf8(note)}— ${self.name} ${"A".repeat(104)}\n`), anchor };
    const witness = new Witness(this.records, logKey, self, ed25519Signer(this.#seed));
    const path = await log.consistency(await witness.lastSize());
    const verdict = await witness.cosign(note, path, NOW_MS);
    if (!verdict.ok) return undefined;
    if (this.answers === "another note")
      return { note: utf8(fromUtf8(verdict.value).replace(/\n\d+\n/, "\n9\n")), anchor };
    return { note: verdict.value, anchor };
  }
}

async function room(countMin = 2, named = true) {
  const [logRecords, records] = [new MemoryRecords(), new MemoryRecords()];
  const watchers = [1, 2, 3].map((n) => new Watcher(n));
  const log = await TransparencyLog.open(logRecords, logKey, ed25519Signer(seedOf("log")));
  const witnesses = { countMin, members: watchers.map(({ known }) => known) };
  let asked = 0;
  const open = (): Promise<LogPublisher> =>
    LogPublisher.open({
      log,
      records,
      witnesses: () => (named ? witnesses : undefined),
      gather: async (note) => {
        asked++;
        const answers = await Promise.all(watchers.map((one) => one.answer(log, note)));
        return answers.filter((answer) => answer !== undefined);
      },
    });
  const seenBy = (note: Uint8Array): number =>
    cosignaturesOf(parseCheckpoint(note), witnesses.members).length;
  return { log, records, watchers, open, seenBy, publisher: await open(), asked: () => asked };
}

async function codeOf(act: Promise<unknown>): Promise<string | undefined> {
  return act.then(
    () => undefined,
    (error: unknown) => codeIn(error),
  );
}

describe("the log is published", () => {
  test("with the signatures of those who answered, once for each state, and proofs are against it", async () => {
    const { log, publisher, seenBy, asked } = await room();
    await log.append([entry(0), entry(1), entry(2)]);
    const receipt = await publisher.receipt(1);
    const signed = parseCheckpoint(receipt.checkpoint);
    expect([seenBy(receipt.checkpoint), verifyCheckpoint(signed, logKey)]).toEqual([3, true]);
    expect(publisher.published?.anchors).toHaveLength(3);
    await log.append([entry(3)]);
    const { checkpoint, path, index } = await publisher.receipt(2);
    expect(checkpoint).toEqual(receipt.checkpoint);
    const { size, root } = signed.checkpoint;
    expect(judgeInclusion({ leaf: leafHash(entry(2)), index, size, root, path })).toEqual([]);
    await Promise.all([publisher.publish(), publisher.publish(), publisher.publish()]);
    expect([publisher.published?.size, asked()]).toEqual([4, 2]);
  });

  test("without whoever does not answer, or answers with something else", async () => {
    for (const answers of ["not", "rubbish", "another note", "a forged line"] as const) {
      const { log, publisher, watchers, seenBy } = await room();
      await log.append([entry(0)]);
      (watchers[1] as Watcher).answers = answers;
      expect(seenBy((await publisher.publish()).note), answers).toBe(2);
    }
  });

  test("as it was, after a restart", async () => {
    const { log, publisher, open, watchers } = await room();
    await log.append([entry(0)]);
    const before = await publisher.publish();
    for (const watcher of watchers) watcher.answers = "not";
    const again = await open();
    expect(again.published).toEqual(before);
    expect(await again.publish()).toEqual(before);
  });

  test("whichever of them are away in turn, and what is published never goes back", async () => {
    const step = fc.record({
      entries: fc.integer({ min: 0, max: 3 }),
      away: fc.subarray([0, 1, 2]),
      restart: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        const { log, watchers, open, seenBy, publisher } = await room();
        let [now, next, size] = [publisher, 0, 0];
        for (const { entries, away, restart } of steps) {
          if (entries > 0) await log.append(Array.from({ length: entries }, () => entry(next++)));
          for (const [i, watcher] of watchers.entries()) watcher.answers = away.includes(i) ? "not" : "well";
          if (restart) now = await open();
          const code = await codeOf(now.publish());
          const upToDate = size === log.size && now.published !== undefined;
          expect(code).toBe(away.length <= 1 || upToDate ? undefined : "LOG_WITNESSES_MISSING");
          expect(now.published?.size ?? 0).toBeGreaterThanOrEqual(size);
          size = now.published?.size ?? size;
          if (now.published !== undefined) expect(seenBy(now.published.note)).toBeGreaterThanOrEqual(2);
        }
      }),
      { numRuns: 25 },
    );
  });
});

describe("the log is not published", () => {
  test("while too few co-sign; what was published before stays", async () => {
    const { log, publisher, watchers } = await room();
    await log.append([entry(0)]);
    const before = await publisher.publish();
    await log.append([entry(1)]);
    for (const watcher of watchers.slice(1)) watcher.answers = "a forged line";
    expect(await codeOf(publisher.publish())).toBe("LOG_WITNESSES_MISSING");
    expect(await codeOf(publisher.receipt(1))).toBe("LOG_WITNESSES_MISSING");
    expect(publisher.published).toEqual(before);
    (watchers[1] as Watcher).answers = "well";
    expect((await publisher.publish()).size).toBe(2);
  });

  test("before an authority names its witnesses, nor where nobody extends what they saw", async () => {
    const unnamed = await room(2, false);
    expect(await codeOf(unnamed.publisher.publish())).toBe("LOG_WITNESSES_MISSING");
    const { log, publisher, watchers } = await room();
    const other = await TransparencyLog.open(new MemoryRecords(), logKey, ed25519Signer(seedOf("log")));
    await other.append([entry(7), entry(8)]);
    for (const watcher of watchers) await watcher.answer(other, other.checkpoint);
    await log.append([entry(0), entry(1)]);
    expect(await codeOf(publisher.publish())).toBe("LOG_WITNESSES_MISSING");
    expect(publisher.published).toBeUndefined();
  });

  test("when the disk is full, nor from records that are damaged or have gone back", async () => {
    const { log, publisher, records, open } = await room();
    await log.append([entry(0)]);
    records.failAfter = 0;
    await expect(publisher.publish()).rejects.toThrow("no space left");
    expect(publisher.published).toBeUndefined();
    records.failAfter = Number.POSITIVE_INFINITY;
    const { note } = await publisher.publish();
    const ahead = await room();
    ahead.records.records.set("published", records.records.get("published") as Uint8Array);
    expect(await codeOf(ahead.open())).toBe("LOG_RECORDS_BROKEN");
    records.records.set("published", concat(note, utf8("x")));
    expect(await codeOf(open())).toBeDefined();
  });
});
