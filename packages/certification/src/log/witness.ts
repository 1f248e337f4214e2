import {
  acceptUnless,
  concat,
  decodeCanonical,
  digestBytes,
  encodeCanonical,
  equalBytes,
  type Address,
  type Digest,
  type RecordStore,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import type { LogWitness } from "../certificates/types.ts";
import { Shape } from "../shape.ts";
import { emptyRoot, verifyConsistency } from "./merkle.ts";
import {
  cosignatureTime,
  cosignCheckpoint,
  parseCheckpoint,
  verifyCheckpoint,
  withCosignaturesOf,
  type NoteKey,
  type SignedCheckpoint,
  type Signer,
} from "./note.ts";

/** A state of the log whose root stands on the chain. */
export interface Anchored {
  readonly size: number;
  readonly root: Digest;
}

/** A note has at most 16 signatures, and one is the log's own. */
const COSIGNATURES_MAX = 15;
const shape = new Shape("WITNESS_RECORD_BROKEN", "witness's record");

/**
 * Co-signs checkpoints of one log that extend what it saw before, and nothing else, so that a log that
 * tells two stories cannot have both co-signed by the same witness. C2SP tlog-witness
 */
export class Witness {
  readonly #records: RecordStore;
  readonly #log: NoteKey;
  readonly #self: NoteKey;
  readonly #sign: Signer;
  readonly #anchored: () => Promise<Anchored | undefined>;
  #last: Promise<unknown> = Promise.resolve();

  /** @param anchored what of this log stands on the chain: a host that puts back older records cannot put that back */
  constructor(
    records: RecordStore,
    log: NoteKey,
    self: NoteKey,
    sign: Signer,
    anchored: () => Promise<Anchored | undefined> = () => Promise.resolve(undefined),
  ) {
    this.#anchored = anchored;
    this.#records = records;
    this.#log = log;
    this.#self = self;
    this.#sign = sign;
  }

  /**
   * Co-signs a checkpoint, given the consistency proof from the size that this witness last saw. What it
   * saw is durable before the signature leaves it.
   */
  cosign(note: Uint8Array, path: readonly Uint8Array[], nowMs: number): Promise<Verdict<Uint8Array>> {
    const done = this.#last.then(() => this.#cosign(note, path, nowMs));
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** The size that the next proof must start from. */
  async lastSize(): Promise<number> {
    return (await this.#seen()).size;
  }

  async #cosign(note: Uint8Array, path: readonly Uint8Array[], nowMs: number): Promise<Verdict<Uint8Array>> {
    const seen = await this.#seen();
    const signed = parseCheckpoint(note);
    const { size, root } = signed.checkpoint;
    const refusals: Refusal[] = [];
    if (!verifyCheckpoint(signed, this.#log)) {
      refusals.push({
        code: "LOG_CHECKPOINT_UNSIGNED",
        reason: `The checkpoint is not signed by ${this.#log.name}.`,
      });
    } else if (size < seen.size) {
      const reason = `The checkpoint has ${size} entries; this witness has seen ${seen.size}.`;
      refusals.push({ code: "LOG_CHECKPOINT_STALE", reason });
    } else if (!verifyConsistency({ oldSize: seen.size, oldRoot: seen.root, size, root, path })) {
      const reason = `The tree of ${size} entries does not extend the tree of ${seen.size} that this witness saw.`;
      refusals.push({ code: "LOG_FORKED", reason });
    }
    if (refusals.length === 0) await this.#records.write("witnessed", encodeCanonical({ size, root }));
    return acceptUnless(refusals, () => cosignCheckpoint(note, this.#self, nowMs, this.#sign));
  }

  /** What it signed last, or what the chain has, whichever is more. */
  async #seen(): Promise<{ size: number; root: Uint8Array }> {
    const own = await this.#recorded();
    const anchored = await this.#anchored();
    if (anchored === undefined || anchored.size <= own.size) return own;
    return { size: anchored.size, root: digestBytes(anchored.root) };
  }

  async #recorded(): Promise<{ size: number; root: Uint8Array }> {
    const record = await this.#records.read("witnessed");
    if (record === undefined) return { size: 0, root: emptyRoot() };
    const document = shape.record(decodeCanonical(record), "", ["size", "root"]);
    return { size: shape.count(document.size, "size"), root: shape.fixed(document.root, "root", 32) };
  }
}

/** A witness that is a node of the network, as notes name it. spec/transparency-log.md §5 */
export function witnessKeyOf({ node, key }: LogWitness): NoteKey {
  return { name: `cloister.local/${node}`, key };
}

/** A witness that co-signed a checkpoint, and when. */
export interface Cosignature {
  readonly node: Address;
  readonly atMs: number;
}

/** Which of these witnesses co-signed a checkpoint. */
export function cosignaturesOf(signed: SignedCheckpoint, witnesses: readonly LogWitness[]): Cosignature[] {
  return witnesses.flatMap((witness) => {
    const atMs = cosignatureTime(signed, witnessKeyOf(witness));
    return atMs === undefined ? [] : [{ node: witness.node, atMs }];
  });
}

/**
 * Joins what witnesses answered to the checkpoint that they were asked to co-sign. Whoever answered with something else,
 * or was not asked, is left out: no answer can spoil the others.
 */
export function mergeCosignatures(
  note: Uint8Array,
  answers: readonly Uint8Array[],
  witnesses: readonly LogWitness[],
): Uint8Array {
  const { body } = parseCheckpoint(note);
  const same = answers.filter((answer) => isOf(answer, body));
  const lines = witnesses.flatMap((witness) => {
    const key = witnessKeyOf(witness);
    const given = same.find((answer) => cosignatureTime(parseCheckpoint(answer), key) !== undefined);
    if (given === undefined) return [];
    const bare = withCosignaturesOf(given, []);
    return [withCosignaturesOf(given, [key]).subarray(bare.length)];
  });
  return concat(withCosignaturesOf(note, []), ...lines.slice(0, COSIGNATURES_MAX));
}

function isOf(answer: Uint8Array, body: Uint8Array): boolean {
  try {
    return equalBytes(parseCheckpoint(answer).body, body);
  } catch {
    return false;
  }
}

/** Refuses a checkpoint that fewer of its log's witnesses co-signed than its authority asks for. */
export function judgeWitnessed(
  found: readonly Cosignature[],
  countMin: number,
  origin: string,
): Refusal | undefined {
  if (found.length >= countMin) return undefined;
  return {
    code: "LOG_WITNESSES_MISSING",
    reason: `${found.length} known witnesses co-signed this checkpoint of the log ${origin}; ${countMin} are due.`,
    hint: "Without them the log could show another history to others. Ask for it again once its witnesses run.",
  };
}

/** Refuses a checkpoint that fewer than `countMin` of these witnesses co-signed within `ageMsMax`. */
export function judgeWitnesses(
  note: Uint8Array,
  policy: { readonly witnesses: readonly NoteKey[]; readonly countMin: number; readonly ageMsMax: number },
  nowMs: number,
): Refusal[] {
  const signed = parseCheckpoint(note);
  const fresh = policy.witnesses.filter((witness) => {
    const timeMs = cosignatureTime(signed, witness);
    return timeMs !== undefined && Math.abs(nowMs - timeMs) <= policy.ageMsMax;
  });
  if (fresh.length >= policy.countMin) return [];
  const reason = `${fresh.length} of the witnesses co-signed the checkpoint lately; ${policy.countMin} are due.`;
  return [{ code: "LOG_WITNESSES_MISSING", reason }];
}

/** Two checkpoints of one log, both signed by it, of one size and with two roots: proof that the log forked. */
export function isForkProof(a: Uint8Array, b: Uint8Array, log: NoteKey): boolean {
  const [one, other] = [parseCheckpoint(a), parseCheckpoint(b)];
  const both = verifyCheckpoint(one, log) && verifyCheckpoint(other, log);
  const { size, root } = one.checkpoint;
  return both && size === other.checkpoint.size && !equalBytes(root, other.checkpoint.root);
}
