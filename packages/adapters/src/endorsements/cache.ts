import {
  CloisterError,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  type Clock,
  type RecordStore,
} from "@cloister/core";
import { askVendor, type HttpOptions, type VendorAnswer, type VendorRequest } from "./http.ts";

const PREFIX = "endorsement-";
const ITEMS_MAX = 10_000;
const BUNDLE_VERSION = 1;

export interface EndorsementCacheOptions {
  readonly records: RecordStore;
  readonly clock: Clock;
  /** Nothing is asked of the network; what is not here is missing. */
  readonly offline?: boolean;
  readonly http?: HttpOptions;
}

/** What was read out of an answer, and until when the vendor says that it holds. */
export interface Accepted {
  /** Undefined: it holds for good (a certificate of a chip). */
  readonly nextUpdateMs: number | undefined;
}

const REFRESH_MS = 24 * 3_600_000;

/**
 * Vendors' answers on disk. Nothing in here is trusted: `verify` judges signatures and times. An answer is asked
 * for again after a day or when it ran out; when the vendor cannot be reached, an old one is better than none.
 */
export class EndorsementCache {
  readonly #options: EndorsementCacheOptions;
  readonly #running = new Map<string, Promise<VendorAnswer>>();

  constructor(options: EndorsementCacheOptions) {
    this.#options = options;
  }

  /**
   * The answer to a request, from disk while it is fresh. `accept` throws on content that is not what was asked for.
   * @throws {CloisterError} `ENDORSEMENTS_UNAVAILABLE`, `ENDORSEMENTS_NOT_FOUND`, `ENDORSEMENTS_OFFLINE`
   */
  get(request: VendorRequest, accept: (answer: VendorAnswer) => Accepted): Promise<VendorAnswer> {
    const name = nameOf(request);
    const running = this.#running.get(name);
    if (running !== undefined) return running;
    const answer = this.#get(name, request, accept).finally(() => this.#running.delete(name));
    this.#running.set(name, answer);
    return answer;
  }

  async #get(
    name: string,
    request: VendorRequest,
    accept: (answer: VendorAnswer) => Accepted,
  ): Promise<VendorAnswer> {
    const { records, clock, offline } = this.#options;
    const kept = await this.#read(name);
    if (kept !== undefined && clock.nowMs() < kept.freshUntilMs) return kept;
    if (offline === true) {
      if (kept !== undefined) return kept;
      throw new CloisterError("ENDORSEMENTS_OFFLINE", `There is no stored answer to ${request.url}.`, {
        hint: "Import a bundle that was exported where the network was reachable.",
      });
    }
    try {
      const [answer, { nextUpdateMs }] = await askVendor(
        request,
        (got) => [got, accept(got)] as const,
        this.#options.http,
      );
      const refreshMs = clock.nowMs() + REFRESH_MS;
      const freshUntilMs =
        nextUpdateMs === undefined ? Number.MAX_SAFE_INTEGER : Math.min(refreshMs, nextUpdateMs);
      await records.write(name, encodeItem({ url: request.url, ...answer, freshUntilMs }));
      return answer;
    } catch (error) {
      if (kept !== undefined) return kept;
      throw error;
    }
  }

  /** Everything in the cache as one file for places without a network. */
  async export(): Promise<Uint8Array> {
    const { records } = this.#options;
    const items: Record<string, Uint8Array> = {};
    for (const name of await records.list(PREFIX)) {
      const item = await records.read(name);
      if (item !== undefined) items[name] = item;
    }
    return encodeCanonical({ version: BUNDLE_VERSION, items });
  }

  /** How many answers there are in the cache. */
  async count(): Promise<number> {
    return (await this.#options.records.list(PREFIX)).length;
  }

  /** Takes a bundle in; gives the number of answers. @throws {CloisterError} `ENDORSEMENTS_BUNDLE_MALFORMED` */
  async import(bundle: Uint8Array): Promise<number> {
    const items = Object.entries(readBundle(bundle));
    for (const [name, item] of items) await this.#options.records.write(name, item);
    return items.length;
  }

  /** A record that does not read, from a disk fault say, counts as absent. */
  async #read(name: string): Promise<StoredItem | undefined> {
    const record = await this.#options.records.read(name);
    try {
      return record === undefined ? undefined : decodeItem(record);
    } catch {
      return undefined;
    }
  }
}

interface StoredItem extends VendorAnswer {
  readonly url: string;
  readonly freshUntilMs: number;
}

function nameOf({ url, body }: VendorRequest): string {
  return PREFIX + digestOf(encodeCanonical([url, body?.bytes ?? null])).slice("sha256:".length);
}

const KEPT_HEADERS = [
  "tcb-info-issuer-chain",
  "sgx-tcb-info-issuer-chain",
  "sgx-enclave-identity-issuer-chain",
  "sgx-pck-crl-issuer-chain",
];

function encodeItem({ url, bytes, headers, freshUntilMs }: StoredItem): Uint8Array {
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => KEPT_HEADERS.includes(name)));
  return encodeCanonical({ url, bytes, headers: kept, freshUntilMs });
}

function decodeItem(record: Uint8Array): StoredItem {
  const item = decodeCanonical(record) as Partial<Record<keyof StoredItem, unknown>>;
  const { url, bytes, headers, freshUntilMs } = item;
  const named =
    typeof headers === "object" &&
    headers !== null &&
    Object.values(headers).every((text) => typeof text === "string");
  if (
    typeof url !== "string" ||
    !(bytes instanceof Uint8Array) ||
    !named ||
    typeof freshUntilMs !== "number"
  ) {
    throw malformed("an answer has another form");
  }
  return { url, bytes, headers: headers as StoredItem["headers"], freshUntilMs };
}

function readBundle(bundle: Uint8Array): Record<string, Uint8Array> {
  let document: unknown;
  try {
    document = decodeCanonical(bundle);
  } catch (cause) {
    throw malformed("it is not canonical CBOR", cause);
  }
  const { version, items } = (document ?? {}) as { version?: unknown; items?: unknown };
  if (version !== BUNDLE_VERSION || typeof items !== "object" || items === null)
    throw malformed("it is no bundle of this version");
  const entries = Object.entries(items as Record<string, unknown>);
  if (entries.length > ITEMS_MAX) throw malformed("it holds too many answers");
  for (const [name, item] of entries) {
    if (!/^endorsement-[0-9a-f]{64}$/.test(name) || !(item instanceof Uint8Array))
      throw malformed(`"${name.slice(0, 80)}" is no answer`);
    decodeItem(item);
  }
  return items as Record<string, Uint8Array>;
}

function malformed(why: string, cause?: unknown): CloisterError {
  return new CloisterError(
    "ENDORSEMENTS_BUNDLE_MALFORMED",
    `The bundle of endorsements is malformed: ${why}.`,
    { cause, hint: "Give a file that `cloister endorsements export` wrote." },
  );
}
