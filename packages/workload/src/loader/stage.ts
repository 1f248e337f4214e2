import {
  assertInvariant,
  decodeCanonical,
  digestBytes,
  digestFrom,
  encodeCanonical,
  type Digest,
  type OrderId,
  type RecordStore,
} from "@cloister/core";

/** How an order ended on this node: what is settled with, shown, and put into proof files. */
export interface OrderEnd {
  readonly orderId: OrderId;
  /** A signed order report, or a signed refusal when nothing ran. */
  readonly kind: "report" | "refusal";
  readonly statement: Uint8Array;
  readonly statementDigest: Digest;
  /** SHA-256 of the sealed result; undefined when there is none. */
  readonly outputDigest: Digest | undefined;
  readonly succeeded: boolean;
  /** 0 for success, else as spec/engine.md §7 lists. */
  readonly exitCode: number;
  /** `done`, or the first code that stopped the order. */
  readonly reason: string;
  readonly secondsUsed: number;
  /** The hardware evidence that a report rests on, and its endorsements, as proof files carry them. */
  readonly evidence: Uint8Array | undefined;
  readonly endorsements: Uint8Array | undefined;
  /** The log's receipt; undefined until the statement is in the log. */
  readonly receipt: Uint8Array | undefined;
}

/**
 * How far an order has come on this node, in terms of what a crash must not undo.
 * `uploading` is written before the sealed result is put, so that a restart can take it back;
 * `ended` is written before the statement is shown to anybody, so that there is never a second one.
 */
export type Stage =
  | { readonly stage: "uploading"; readonly upload: Digest }
  | { readonly stage: "ended"; readonly end: OrderEnd };

const VERSION = 1;

export async function readStage(records: RecordStore, orderId: OrderId): Promise<Stage | undefined> {
  const record = await records.read(recordName(orderId));
  if (record === undefined) return undefined;
  const document = decodeCanonical(record) as unknown as StageDocument;
  assertInvariant(document.version === VERSION, "a stage record has the version this software writes");
  if (document.upload !== undefined) return { stage: "uploading", upload: digestFrom(document.upload) };
  assertInvariant(document.end !== undefined, "a stage record holds an upload or an end");
  const { statementDigest, outputDigest, evidence, endorsements, receipt, ...rest } = document.end;
  return {
    stage: "ended",
    end: {
      ...rest,
      orderId,
      statementDigest: digestFrom(statementDigest),
      outputDigest: outputDigest && digestFrom(outputDigest),
      evidence,
      endorsements,
      receipt,
    },
  };
}

/** Returns once the stage is durable. */
export async function writeStage(records: RecordStore, orderId: OrderId, stage: Stage): Promise<void> {
  const document: StageDocument =
    stage.stage === "uploading"
      ? { version: VERSION, upload: digestBytes(stage.upload) }
      : { version: VERSION, end: endDocument(stage.end) };
  await records.write(recordName(orderId), encodeCanonical(document));
}

function endDocument(end: OrderEnd): NonNullable<StageDocument["end"]> {
  return {
    ...end,
    orderId: undefined,
    statementDigest: digestBytes(end.statementDigest),
    outputDigest: end.outputDigest && digestBytes(end.outputDigest),
  };
}

interface StageDocument {
  readonly version: number;
  readonly upload?: Uint8Array;
  readonly end?: Omit<OrderEnd, "orderId" | "statementDigest" | "outputDigest"> & {
    /** Left out: it is the record's name. */
    readonly orderId?: undefined;
    readonly statementDigest: Uint8Array;
    readonly outputDigest: Uint8Array | undefined;
  };
}

function recordName(orderId: OrderId): string {
  return `order-${orderId.slice(2)}`;
}
