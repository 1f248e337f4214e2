/** Follows a log for somebody: what it says about them, and whether it still tells one story. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openDirectoryRecords } from "@cloister/adapters/records";
import { formatNoteKey, LogMonitor, type SeenEntry } from "@cloister/certification";
import {
  CloisterError,
  fromUtf8,
  utf8,
  type Address,
  type NodeId,
  type RecordStore,
  type Refusal,
} from "@cloister/core";
import { judgeAnchor, judgeContinuation, readHead, type LogAccess, type LogHead } from "./log-access.ts";
import { isAbout, viewEntry, type EntryView } from "./log-entry.ts";

const KEY_RECORD = "log-key";

/** An entry about what is watched. */
export interface Finding {
  readonly index: number;
  readonly view: EntryView;
  /** Why its subject should look at it at once. */
  readonly alarm?: string;
}

/** What one look at the log gave. */
export interface WatchStep {
  readonly size: number;
  /** Entries that were read for the first time. */
  readonly read: number;
  readonly findings: readonly Finding[];
  /** Set when the log was caught; what proves it lies in `evidence`, files of the state folder. */
  readonly refusal?: Refusal;
  readonly evidence?: readonly string[];
}

/** One follower of one log, with its memory in a folder. */
export class LogWatch {
  readonly #access: LogAccess;
  readonly #folder: string;
  readonly #monitor: LogMonitor;
  readonly #subjects: readonly string[];
  readonly #account: Address | undefined;
  #watching: readonly string[] = [];

  private constructor(
    access: LogAccess,
    folder: string,
    records: RecordStore,
    watched: { readonly subjects: readonly string[]; readonly account: Address | undefined },
  ) {
    this.#access = access;
    this.#folder = folder;
    this.#monitor = new LogMonitor(records, access.key);
    this.#subjects = watched.subjects;
    this.#account = watched.account;
  }

  /**
   * Takes up where the folder left off.
   * @throws {CloisterError} `MONITOR_OTHER_LOG`, `RECORD_STORE_NOT_WRITABLE`
   */
  static async open(
    access: LogAccess,
    folder: string,
    watched: { readonly subjects: readonly string[]; readonly account: Address | undefined },
    nowMs: number,
  ): Promise<LogWatch> {
    const records = await openDirectoryRecords(folder, nowMs);
    const key = formatNoteKey(access.key);
    const known = await records.read(KEY_RECORD);
    if (known !== undefined && fromUtf8(known) !== key) {
      throw new CloisterError("MONITOR_OTHER_LOG", `${folder} follows another log: ${fromUtf8(known)}.`, {
        hint: "If the network was made anew, follow it with another --state; if not, somebody else answers as its log.",
      });
    }
    if (known === undefined) await records.write(KEY_RECORD, utf8(key));
    return new LogWatch(access, folder, records, watched);
  }

  /**
   * Reads what is new. A log that forked or went back is a refusal in the answer, with the checkpoints that prove it on disk.
   * @throws {CloisterError} `LOG_UNREACHABLE`, `LOG_CHECKPOINT_UNSIGNED`, `LOG_TILE_MISSING`, `CHAIN_UNREACHABLE`
   */
  async step(nowMs: number): Promise<WatchStep> {
    // The chain first: an honest log can only be ahead of what was read there.
    const anchor = (await this.#access.client?.chain.refresh())?.state.logRoot;
    const head = await readHead(this.#access);
    const kept = await this.#monitor.lastCheckpoint();
    const before = kept && (await judgeContinuation(this.#access, head, kept));
    if (before?.refusal !== undefined) return this.#caught(head, before.refusal, { kept }, nowMs);
    const unanchored = await judgeAnchor(head, anchor);
    if (unanchored !== undefined) {
      const onChain = utf8(`${JSON.stringify({ ...anchor, contract: this.#contract })}\n`);
      return this.#caught(head, unanchored, { kept, anchor: onChain }, nowMs);
    }
    const { size } = head.checkpoint;
    // A late copy of the checkpoint is no news, as long as the log can prove what it signed since.
    if (before !== undefined && before.oldSize > size) return { size, read: 0, findings: [] };
    this.#watching = this.#watched();
    return this.#read(head, kept, nowMs);
  }

  async #read(head: LogHead, kept: Uint8Array | undefined, nowMs: number): Promise<WatchStep> {
    const findings: Finding[] = [];
    let read = 0;
    for (;;) {
      const verdict = await this.#monitor.follow(head.note, head.reader);
      if (!verdict.ok) return this.#caught(head, verdict.refusals[0], { kept }, nowMs);
      read += verdict.value.length;
      findings.push(...verdict.value.flatMap((seen) => this.#findingIn(seen)));
      const last = verdict.value.at(-1);
      if (last === undefined || last.index === head.checkpoint.size - 1) break;
    }
    return { size: head.checkpoint.size, read, findings };
  }

  #findingIn({ index, entry }: SeenEntry): Finding[] {
    const view = viewEntry(entry, this.#access.authority?.key);
    if (!this.#watching.some((subject) => isAbout(view, subject))) return [];
    const alarm = view.problem ?? this.#foreignKeys(view);
    return [alarm === undefined ? { index, view } : { index, view, alarm }];
  }

  /** What is watched now: an account's offers, and orders of it or on them, may have become more. */
  #watched(): readonly string[] {
    const account = this.#account;
    const state = this.#access.client?.chain.view()?.state;
    if (account === undefined) return this.#subjects;
    const offers = [...(state?.offers ?? [])].flatMap(([id, { offer }]) =>
      offer?.owner === account ? [id] : [],
    );
    const own = new Set(offers);
    const orders = [...(state?.orders.values() ?? [])].filter(
      (order) => order.client === account || order.offers.some((id) => own.has(id)),
    );
    return [...this.#subjects, account, ...offers, ...orders.map(({ id }) => id)];
  }

  /** A certificate in a registered node's name over keys that the chain does not list for it. */
  #foreignKeys({ certifies }: EntryView): string | undefined {
    if (certifies === undefined) return undefined;
    const record = this.#access.client?.chain.view()?.state.nodes.get(certifies.node as NodeId);
    if (record === undefined || record.certificate.keysDigest === certifies.keysDigest) return undefined;
    return `It certifies other keys for ${certifies.node} than the chain lists.`;
  }

  get #contract(): Address | undefined {
    return this.#access.client?.network.market;
  }

  /** Keeps what proves it, and says where. */
  #caught(
    head: LogHead,
    refusal: Refusal,
    others: Readonly<Record<string, Uint8Array | undefined>>,
    nowMs: number,
  ): WatchStep {
    const stamp = new Date(nowMs).toISOString().replaceAll(":", "-");
    const folder = join(this.#folder, "evidence");
    mkdirSync(folder, { recursive: true });
    const evidence: string[] = [];
    for (const [name, bytes] of Object.entries({ seen: head.note, ...others })) {
      if (bytes === undefined) continue;
      const file = join(folder, `${stamp}-${name}${name === "anchor" ? ".json" : ".checkpoint"}`);
      writeFileSync(file, bytes, { flush: true });
      evidence.push(file);
    }
    return { size: head.checkpoint.size, read: 0, findings: [], refusal, evidence };
  }
}
