import { createHash } from "node:crypto";
import { CloisterError, codeOf, digestFrom, type Digest, type ObjectStore } from "@cloister/core";
import { objectCorrupt } from "./files.ts";
import { putKnown, type KnownObject, type ResumableStore } from "./transfers.ts";

/** Objects up to this size are checked before a byte is given out, so that a lying store goes unnoticed. */
const HELD_BYTES_MAX = 8 << 20;

/** What one store did wrong. */
export interface StoreFault {
  readonly store: string;
  readonly digest: Digest | undefined;
  readonly code: string;
  readonly reason: string;
}

/** What a repair found and did. */
export interface RepairReport {
  readonly objects: number;
  /** Copies that were missing or wrong and were put again. */
  readonly repaired: readonly StoreFault[];
  /** Copies that could not be put again. */
  readonly failed: readonly StoreFault[];
  /** Objects of which no store has a right copy. */
  readonly lost: readonly Digest[];
}

/** An object store over several, of which any one may be lost or lie. */
export interface ReplicatedStore extends ResumableStore {
  /** Reads every copy of every object, and puts again what is missing or wrong. */
  repair(): Promise<RepairReport>;
}

/**
 * Joins stores into one. A put succeeds once `copiesMin` stores hold the object; a read goes to the first store
 * that gives the right bytes. `onFault` hears of every store that failed or lied, by name.
 * @throws {CloisterError} `OBJECT_STORE_TOO_FEW` when there are fewer stores than copies.
 */
export function createReplicatedStore(
  stores: readonly ObjectStore[],
  options: { copiesMin: number; onFault?: (fault: StoreFault) => void },
): ReplicatedStore {
  if (stores.length < options.copiesMin || options.copiesMin < 1) {
    throw new CloisterError(
      "OBJECT_STORE_TOO_FEW",
      `${options.copiesMin} copies need as many stores; there are ${stores.length}.`,
    );
  }
  return new Replicated(stores, options.copiesMin, options.onFault ?? (() => undefined));
}

class Replicated implements ReplicatedStore {
  readonly name: string;
  readonly #stores: readonly ObjectStore[];
  readonly #copiesMin: number;
  readonly #onFault: (fault: StoreFault) => void;
  /** Copies known to be wrong, so that the next read begins elsewhere. */
  readonly #wrong = new Set<string>();

  constructor(stores: readonly ObjectStore[], copiesMin: number, onFault: (fault: StoreFault) => void) {
    this.name = `replicated store (${stores.map((store) => store.name).join(", ")})`;
    this.#stores = stores;
    this.#copiesMin = copiesMin;
    this.#onFault = onFault;
  }

  async put(object: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; sizeBytes: number }> {
    const hash = createHash("sha256");
    let sizeBytes = 0;
    const lanes = this.#stores.map(() => new Lane());
    const puts = this.#stores.map((store, i) => putThrough(store, lanes[i] as Lane));
    try {
      for await (const piece of object) {
        hash.update(piece);
        sizeBytes += piece.length;
        await Promise.all(lanes.map((lane) => lane.give(piece)));
      }
      for (const lane of lanes) lane.end();
    } catch (failure) {
      for (const lane of lanes) lane.end(errorOf(failure));
      await Promise.all(puts);
      throw failure;
    }
    const digest = digestFrom(hash.digest());
    const results = await Promise.all(puts);
    this.#count(digest, results);
    return { digest, sizeBytes };
  }

  /** Each store takes up where it broke off; progress is that of the slowest. */
  async putResumable(object: KnownObject): Promise<void> {
    const done = this.#stores.map(() => 0);
    const put = async (store: ObjectStore, i: number): Promise<{ digest: Digest } | Error> => {
      const onProgress = (doneBytes: number): void => {
        done[i] = doneBytes;
        object.onProgress?.(Math.min(...done));
      };
      try {
        await putKnown(store, { ...object, onProgress });
        return object;
      } catch (failure) {
        return errorOf(failure);
      } finally {
        onProgress(object.sizeBytes);
      }
    };
    this.#count(object.digest, await Promise.all(this.#stores.map(put)));
  }

  async *get(digest: Digest, range?: { offset: number; length: number }): AsyncGenerator<Uint8Array> {
    const failures: StoreFault[] = [];
    const candidates = this.#stores.toSorted((a, b) => this.#rank(a, digest) - this.#rank(b, digest));
    for (const store of candidates) {
      const copy = this.#read(store, digest, range);
      try {
        const first = await copy.next();
        if (first.done !== true) yield first.value;
        yield* copy;
        return;
      } catch (failure) {
        const isUsersFault =
          codeOf(failure) === "OBJECT_RANGE_OUTSIDE" || codeOf(failure) === "DIGEST_MALFORMED";
        if (isUsersFault || failure instanceof GivenOut)
          throw failure instanceof GivenOut ? failure.cause : failure;
        failures.push(this.#fault(store, digest, failure));
      } finally {
        await copy.return(undefined);
      }
    }
    const isUnknown = failures.every((failure) => failure.code === "OBJECT_NOT_FOUND");
    throw new CloisterError(
      isUnknown ? "OBJECT_NOT_FOUND" : "OBJECT_CORRUPT",
      `No store gives ${digest}: ${failures.map(({ store, code }) => `${store} ${code}`).join("; ")}.`,
      { details: { store: this.name, failures } },
    );
  }

  async stat(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
    for (const store of this.#stores) {
      const found = await this.#tolerant(store, digest, () => store.stat(digest));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async *list(): AsyncGenerator<Digest> {
    const seen = new Set<Digest>();
    for (const store of this.#stores) {
      for (const digest of await this.#listed(store)) {
        if (seen.has(digest)) continue;
        seen.add(digest);
        yield digest;
      }
    }
  }

  async delete(digest: Digest): Promise<void> {
    const results = await Promise.allSettled(this.#stores.map(async (store) => store.delete(digest)));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async repair(): Promise<RepairReport> {
    const repaired: StoreFault[] = [];
    const failed: StoreFault[] = [];
    const lost: Digest[] = [];
    let objects = 0;
    for await (const digest of this.list()) {
      objects++;
      const checks = await Promise.all(this.#stores.map((store) => this.#check(store, digest)));
      const good = this.#stores.find((_, i) => checks[i] === undefined);
      if (good === undefined) lost.push(digest);
      for (const [i, store] of this.#stores.entries()) {
        const fault = checks[i];
        if (fault === undefined || good === undefined) continue;
        const again = await this.#putAgain(store, good, digest);
        if (again === undefined) repaired.push(fault);
        else failed.push(again);
      }
    }
    return { objects, repaired, failed, lost };
  }

  /** Counts the stores that hold the object now, and names the others. */
  #count(digest: Digest, results: readonly ({ digest: Digest } | Error)[]): void {
    const faults = results.flatMap((result, i) => {
      const store = this.#stores[i] as ObjectStore;
      if (result instanceof Error) return [this.#fault(store, digest, result)];
      if (result.digest === digest) return [];
      return [this.#fault(store, digest, objectCorrupt(store.name, digest, result.digest))];
    });
    if (results.length - faults.length >= this.#copiesMin) return;
    const [first] = faults;
    throw new CloisterError(
      first?.code ?? "OBJECT_STORE_FAILED",
      `Only ${results.length - faults.length} of ${this.#copiesMin} copies were stored: ${faults.map(({ reason }) => reason).join(" ")}`,
      { hint: "Free or mend the named stores, then put the object again.", details: { failures: faults } },
    );
  }

  /** One store's copy: small ones wholly checked before anything is given out. */
  async *#read(
    store: ObjectStore,
    digest: Digest,
    range: { offset: number; length: number } | undefined,
  ): AsyncGenerator<Uint8Array> {
    const hash = createHash("sha256");
    const held: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const piece of store.get(digest, range)) {
        bytes += piece.length;
        hash.update(piece);
        held.push(piece);
        if (bytes > HELD_BYTES_MAX) yield* held.splice(0);
      }
      const got = digestFrom(hash.digest());
      if (range === undefined && got !== digest) throw objectCorrupt(store.name, digest, got);
      if (range !== undefined && bytes !== range.length) throw objectCorrupt(store.name, digest, got);
    } catch (failure) {
      if (bytes <= HELD_BYTES_MAX) throw failure;
      this.#fault(store, digest, failure);
      throw new GivenOut(failure);
    }
    yield* held;
  }

  async #check(store: ObjectStore, digest: Digest): Promise<StoreFault | undefined> {
    try {
      const hash = createHash("sha256");
      for await (const piece of store.get(digest)) hash.update(piece);
      const got = digestFrom(hash.digest());
      return got === digest ? undefined : this.#fault(store, digest, objectCorrupt(store.name, digest, got));
    } catch (failure) {
      return this.#fault(store, digest, failure);
    }
  }

  async #putAgain(to: ObjectStore, from: ObjectStore, digest: Digest): Promise<StoreFault | undefined> {
    try {
      const put = await to.put(from.get(digest));
      if (put.digest !== digest) throw objectCorrupt(from.name, digest, put.digest);
      this.#wrong.delete(keyOf(to, digest));
      return undefined;
    } catch (failure) {
      return this.#fault(to, digest, failure);
    }
  }

  #fault(store: ObjectStore, digest: Digest | undefined, failure: unknown): StoreFault {
    const reason = failure instanceof Error ? failure.message : String(failure);
    const fault = { store: store.name, digest, code: codeOf(failure, "OBJECT_STORE_FAILED"), reason };
    if (digest !== undefined) this.#wrong.add(keyOf(store, digest));
    this.#onFault(fault);
    return fault;
  }

  #rank(store: ObjectStore, digest: Digest): number {
    return this.#wrong.has(keyOf(store, digest)) ? 1 : 0;
  }

  async #listed(store: ObjectStore): Promise<Digest[]> {
    const digests: Digest[] = [];
    await this.#tolerant(store, undefined, async () => {
      for await (const digest of store.list()) digests.push(digest);
    });
    return digests;
  }

  async #tolerant<T>(
    store: ObjectStore,
    digest: Digest | undefined,
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await work();
    } catch (failure) {
      if (codeOf(failure) === "DIGEST_MALFORMED") throw failure;
      this.#fault(store, digest, failure);
      return undefined;
    }
  }
}

/** A failure after bytes were given out: another store cannot take them back. */
class GivenOut extends Error {
  constructor(cause: unknown) {
    super("bytes were given out already", { cause });
  }
}

/** A store that is done, or failed, must not hold up the others. */
async function putThrough(store: ObjectStore, lane: Lane): Promise<{ digest: Digest } | Error> {
  try {
    return await store.put(lane);
  } catch (failure) {
    return errorOf(failure);
  } finally {
    lane.close();
  }
}

/** Hands pieces to one store at its own speed; the slowest store sets the pace. */
class Lane implements AsyncIterable<Uint8Array> {
  #piece: Uint8Array | undefined;
  #ended: { failure?: Error } | undefined;
  #isClosed = false;
  #wakeReader = () => {};
  #wakeWriter = () => {};

  /** Resolves when the store took the piece, or will take no more. */
  give(piece: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#piece = piece;
    this.#wakeReader();
    return new Promise((resolve) => (this.#wakeWriter = resolve));
  }

  end(failure?: Error): void {
    this.#ended = failure === undefined ? {} : { failure };
    this.#wakeReader();
  }

  close(): void {
    this.#isClosed = true;
    this.#wakeWriter();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#piece;
      if (piece !== undefined) {
        this.#piece = undefined;
        yield piece;
        this.#wakeWriter();
      } else if (this.#ended !== undefined) {
        if (this.#ended.failure !== undefined) throw this.#ended.failure;
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wakeReader = resolve));
      }
    }
  }
}

function keyOf(store: ObjectStore, digest: Digest): string {
  return `${store.name} ${digest}`;
}

function errorOf(failure: unknown): Error {
  return failure instanceof Error ? failure : new Error(String(failure));
}
