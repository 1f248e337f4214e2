import {
  cosignaturesOf,
  judgeWitnessed,
  mergeCosignatures,
  parseCheckpoint,
  type LogWitnesses,
  type Receipt,
  type TransparencyLog,
} from "@cloister/certification";
import { CloisterError, decodeCanonical, encodeCanonical, type RecordStore } from "@cloister/core";
import { MessageFields } from "./message.ts";

const RECORD = "published";

/** What one witness answered. Nothing of it is believed before it was checked. */
export interface WitnessAnswer {
  /** The checkpoint with its signature. */
  readonly note: Uint8Array;
  /** Its signature over size and root for the chain. */
  readonly anchor: Uint8Array;
}

/** A state of the log that enough witnesses co-signed. */
export interface PublishedCheckpoint {
  readonly note: Uint8Array;
  readonly size: number;
  readonly root: Uint8Array;
  /** For the chain, each of one witness. */
  readonly anchors: readonly Uint8Array[];
}

export interface LogPublisherPorts {
  readonly log: TransparencyLog;
  readonly records: RecordStore;
  /** The witnesses that the authority's certificate names; undefined while there is no certificate. */
  witnesses(): LogWitnesses | undefined;
  /** Asks all witnesses to co-sign a checkpoint, and gives the answers of those who did. */
  gather(note: Uint8Array, size: number): Promise<readonly WitnessAnswer[]>;
}

/**
 * Shows the log to the world only as its witnesses saw it: a checkpoint is published, anchored and proven against
 * once as many of them co-signed it as the authority asks for. spec/transparency-log.md §4
 */
export class LogPublisher {
  readonly #ports: LogPublisherPorts;
  #published: PublishedCheckpoint | undefined;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(ports: LogPublisherPorts, published: PublishedCheckpoint | undefined) {
    this.#ports = ports;
    this.#published = published;
  }

  /** Takes up what was published before. @throws {CloisterError} `LOG_RECORDS_BROKEN` when the log has gone back behind it */
  static async open(ports: LogPublisherPorts): Promise<LogPublisher> {
    const record = await ports.records.read(RECORD);
    const published = record === undefined ? undefined : readPublished(record);
    if (published !== undefined && published.size > ports.log.size) {
      throw new CloisterError(
        "LOG_RECORDS_BROKEN",
        `The log's records have ${ports.log.size} entries, and its witnesses co-signed ${published.size}.`,
        {
          hint: "Restore the log's folder from a copy; a log that starts anew under the same name is a fork.",
        },
      );
    }
    return new LogPublisher(ports, published);
  }

  /** What was published last; undefined before the first time. */
  get published(): PublishedCheckpoint | undefined {
    return this.#published;
  }

  /**
   * Publishes the log as it is now, if it is not published yet. It is durable before anybody gets it.
   * @throws {CloisterError} `LOG_WITNESSES_MISSING`; what was published before stays
   */
  publish(): Promise<PublishedCheckpoint> {
    const done = this.#last.then(() => this.#publish());
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Proves an entry against a published checkpoint. @throws {CloisterError} `LOG_WITNESSES_MISSING`, `LOG_INDEX_UNKNOWN` */
  async receipt(index: number): Promise<Receipt> {
    const now = this.#published;
    const { note, size } = now !== undefined && index < now.size ? now : await this.publish();
    return { ...(await this.#ports.log.receipt(index, size)), checkpoint: note };
  }

  async #publish(): Promise<PublishedCheckpoint> {
    const { log, records, gather } = this.#ports;
    const witnesses = this.#ports.witnesses();
    if (this.#published?.size === log.size && isEnough(this.#published.note, witnesses)) {
      return this.#published;
    }
    if (witnesses === undefined) throw missing("Its authority names no witnesses yet.");
    const { checkpoint: bare, size, root } = log;
    const answers = await gather(bare, size);
    const note = mergeCosignatures(
      bare,
      answers.map((answer) => answer.note),
      witnesses.members,
    );
    const found = cosignaturesOf(parseCheckpoint(note), witnesses.members);
    const refusal = judgeWitnessed(found, witnesses.countMin, parseCheckpoint(bare).checkpoint.origin);
    if (refusal !== undefined) throw CloisterError.fromRefusals([refusal]);
    const anchors = answers.map(({ anchor }) => anchor);
    await records.write(RECORD, encodeCanonical({ note, anchors }));
    return (this.#published = { note, size, root, anchors });
  }
}

function isEnough(note: Uint8Array, witnesses: LogWitnesses | undefined): boolean {
  if (witnesses === undefined) return true;
  return cosignaturesOf(parseCheckpoint(note), witnesses.members).length >= witnesses.countMin;
}

function readPublished(record: Uint8Array): PublishedCheckpoint {
  const fields = new MessageFields(decodeCanonical(record));
  const note = fields.bytes("note");
  const { size, root } = parseCheckpoint(note).checkpoint;
  return { note, size, root, anchors: fields.byteList("anchors") };
}

function missing(reason: string): CloisterError {
  return new CloisterError("LOG_WITNESSES_MISSING", `The log cannot be published: ${reason}`, {
    hint: "It passes by itself once the authority is founded and its members run.",
  });
}
