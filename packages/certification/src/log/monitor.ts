import { parseCertificate } from "@cloister/attestation";
import {
  accept,
  assertInvariant,
  encodeCanonical,
  equalBytes,
  refuse,
  type RecordStore,
  type Verdict,
} from "@cloister/core";
import { Shape } from "../shape.ts";
import { decodeLogEntry, type LogEntry } from "./entries.ts";
import { emptyRoot, leafHash, nodeHash, subtreesOf, verifyConsistency } from "./merkle.ts";
import { parseCheckpoint, verifyCheckpoint, type NoteKey } from "./note.ts";

/** What a monitor asks of a log; nothing it answers is trusted. */
export interface LogSource {
  entry(index: number): Promise<Uint8Array>;
  /** The proof from an older size to the size of the checkpoint that is being followed. */
  consistency(oldSize: number): Promise<readonly Uint8Array[]>;
}

/** An entry that a monitor read, with its place. */
export interface SeenEntry {
  readonly index: number;
  /** Undefined when the entry is none that this version knows. */
  readonly entry: LogEntry | undefined;
}

const RECORD = "monitor";
const ENTRIES_PER_STEP_MAX = 10_000;
const shape = new Shape("MONITOR_RECORD_BROKEN", "monitor's record");

interface State {
  readonly size: number;
  /** Hashes of the complete subtrees that make up the tree, largest first. */
  readonly peaks: readonly Uint8Array[];
  /** The last checkpoint that was followed, so that a fork can be shown to others. */
  readonly note: Uint8Array;
}

/**
 * Follows a log entry by entry and builds the tree itself, so that it sees every entry and notices when
 * the log shows it another history than before. Keeps one hash per level, however long the log is.
 */
export class LogMonitor {
  readonly #records: RecordStore;
  readonly #log: NoteKey;

  constructor(records: RecordStore, log: NoteKey) {
    this.#records = records;
    this.#log = log;
  }

  /**
   * Reads what is new up to a checkpoint, at most 10,000 entries at a time, and returns it once it is
   * durable that it was read. Refuses, and stays where it was, when the log is not the one it followed
   * before: `LOG_FORKED`. The two checkpoints are then the evidence (`lastCheckpoint` and the new one).
   */
  async follow(note: Uint8Array, source: LogSource): Promise<Verdict<readonly SeenEntry[]>> {
    const signed = parseCheckpoint(note);
    if (!verifyCheckpoint(signed, this.#log)) {
      return refuse("LOG_CHECKPOINT_UNSIGNED", `The checkpoint is not signed by ${this.#log.name}.`);
    }
    const state = await this.#state();
    const { size, root } = signed.checkpoint;
    if (size < state.size) return await this.#judgeOlder(state, signed.checkpoint, source);
    const seen: SeenEntry[] = [];
    const peaks = [...state.peaks];
    const until = Math.min(size, state.size + ENTRIES_PER_STEP_MAX);
    for (let index = state.size; index < until; index++) {
      const bytes = await source.entry(index);
      push(peaks, index, leafHash(bytes));
      seen.push({ index, entry: tryDecode(bytes) });
    }
    const consistent =
      until === size
        ? equalBytes(rootOfPeaks(peaks), root)
        : verifyConsistency({
            oldSize: until,
            oldRoot: rootOfPeaks(peaks),
            size,
            root,
            path: await source.consistency(until),
          });
    if (!consistent) return forked(state.size, size);
    await this.#records.write(RECORD, encodeCanonical({ size: until, peaks, note }));
    return accept(seen);
  }

  /** The last checkpoint that was followed. */
  async lastCheckpoint(): Promise<Uint8Array | undefined> {
    const { note } = await this.#state();
    return note.length === 0 ? undefined : note;
  }

  /** An older checkpoint is no news; but it must be of the same history. */
  async #judgeOlder(
    state: State,
    older: { size: number; root: Uint8Array },
    source: LogSource,
  ): Promise<Verdict<readonly SeenEntry[]>> {
    const path = await source.consistency(older.size);
    const root = rootOfPeaks(state.peaks);
    const same = verifyConsistency({
      oldSize: older.size,
      oldRoot: older.root,
      size: state.size,
      root,
      path,
    });
    return same ? accept([]) : forked(state.size, older.size);
  }

  async #state(): Promise<State> {
    const record = await this.#records.read(RECORD);
    if (record === undefined) return { size: 0, peaks: [], note: new Uint8Array(0) };
    const document = shape.record(shape.decode(record, 65_536), "", ["size", "peaks", "note"]);
    const size = shape.count(document.size, "size");
    const peaks = shape.list(document.peaks, "peaks", 53, (peak, path) => shape.fixed(peak, path, 32));
    shape.check(peaks.length === subtreesOf(0, size).length, "peaks", "they are not those of the size");
    return { size, peaks, note: shape.bytes(document.note, "note", 16_384) };
  }
}

/** Tells whether a log entry is a certificate for this identity key: one's own, or somebody's forgery of it. */
export function isCertificateFor(entry: LogEntry, identity: Uint8Array): boolean {
  if (entry.kind !== "certificate") return false;
  try {
    return equalBytes(parseCertificate(entry.statement).publicKey.raw, identity);
  } catch {
    return false;
  }
}

/** Tells whether a log entry is a certificate that names this node, whatever key is in it. */
export function isCertificateNaming(entry: LogEntry, commonName: string): boolean {
  if (entry.kind !== "certificate") return false;
  try {
    return parseCertificate(entry.statement).subjectCommonName === commonName;
  } catch {
    return false;
  }
}

/** Adds a leaf to the subtrees, joining those that have become equally large. */
function push(peaks: Uint8Array[], index: number, leaf: Uint8Array): void {
  let hash = leaf;
  for (let rest = index; rest % 2 === 1; rest = (rest - 1) / 2) {
    const left = peaks.pop();
    assertInvariant(left !== undefined, "a subtree waits wherever the index has a bit");
    hash = nodeHash(left, hash);
  }
  peaks.push(hash);
}

function rootOfPeaks(peaks: readonly Uint8Array[]): Uint8Array {
  return peaks.length === 0 ? emptyRoot() : peaks.reduceRight((right, left) => nodeHash(left, right));
}

function forked(knownSize: number, size: number): Verdict<never> {
  return refuse(
    "LOG_FORKED",
    `The log's tree of ${size} entries is not of the same history as the tree of ${knownSize} that was followed.`,
    "Keep both checkpoints: together they prove it. Trust nothing that only this log vouches for.",
  );
}

function tryDecode(bytes: Uint8Array): LogEntry | undefined {
  try {
    return decodeLogEntry(bytes);
  } catch {
    return undefined;
  }
}
