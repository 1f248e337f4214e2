/** Where an output is put together before it is written, and what digests it: this thread, another, or nobody. */
import type { Hash } from "node:crypto";
import { Worker } from "node:worker_threads";

/** Buffers of one size that take turns, and a digest of everything that was committed in them. */
export interface OutputBuffers {
  /** The buffer to fill next. Valid until it is committed; with a thread, from then on not to be written. */
  next(): Promise<Uint8Array>;
  /** Says how much of the buffer is output; only a whole or a last one may be committed. */
  commit(lengthBytes: number): void;
  /** The digest of all, once nothing more comes. */
  digest(): Promise<Uint8Array | undefined>;
  /** Ends a thread that is not wanted any more. */
  close(): Promise<void>;
}

/** One buffer, digested in this thread or not at all. */
export function singleBuffer(sizeBytes: number, hash?: Hash): OutputBuffers {
  const buffer = Buffer.allocUnsafeSlow(sizeBytes);
  return {
    next: () => Promise.resolve(buffer),
    commit: (lengthBytes) => void hash?.update(buffer.subarray(0, lengthBytes)),
    digest: () => Promise.resolve(hash?.digest()),
    close: () => Promise.resolve(),
  };
}

/** Slots in the ring between two threads: enough to start while the other thread is still coming up. */
const SLOTS = 16;

/** What the two threads share: a counter of filled slots, one of digested ones, each slot's length, the slots. */
export interface SharedRing {
  readonly counters: SharedArrayBuffer;
  readonly lengths: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
  readonly slotBytes: number;
}

export const FILLED = 0;
export const DIGESTED = 1;

/** A ring of buffers that a second thread digests while the first one fills and writes the next. */
export function ringBuffers(slotBytes: number): OutputBuffers {
  const ring: SharedRing = {
    counters: new SharedArrayBuffer(8),
    lengths: new SharedArrayBuffer(4 * SLOTS),
    slots: new SharedArrayBuffer(SLOTS * slotBytes),
    slotBytes,
  };
  const counters = new Int32Array(ring.counters);
  const lengths = new Int32Array(ring.lengths);
  const worker = new Worker(new URL("./digest-worker.ts", import.meta.url), { workerData: { ring } });
  const digest = new Promise<Uint8Array>((resolve, reject) => {
    worker.once("message", (message: { digest: Uint8Array }) => resolve(message.digest));
    worker.once("error", reject);
  });
  // Whoever waits for it hears of a failure; nobody else needs to.
  digest.catch(() => undefined);
  let filled = 0;
  const commit = (lengthBytes: number): void => {
    lengths[(filled >>> 0) % SLOTS] = lengthBytes;
    filled = (filled + 1) | 0;
    Atomics.store(counters, FILLED, filled);
    Atomics.notify(counters, FILLED);
  };
  const next = async (): Promise<Uint8Array> => {
    for (;;) {
      const done = Atomics.load(counters, DIGESTED);
      if (((filled - done) | 0) < SLOTS) break;
      const { async, value } = Atomics.waitAsync(counters, DIGESTED, done);
      if (async) await Promise.race([value, digest]);
    }
    return new Uint8Array(ring.slots, ((filled >>> 0) % SLOTS) * slotBytes, slotBytes);
  };
  return {
    next,
    commit,
    digest: async () => {
      await next();
      // An empty slot is the end: output never comes in pieces of nothing.
      commit(0);
      return digest;
    },
    close: async () => void (await worker.terminate()),
  };
}
