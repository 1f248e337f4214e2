/** The slots that an output is put together in, and what digests them: this thread, another, or nobody. */
import type { Hash } from "node:crypto";
import { Worker } from "node:worker_threads";
import { webAssembly } from "../sandbox/web-assembly.ts";

/** Larger slots cost fewer calls and no less memory traffic; the size is a multiple of every disk's block. */
export const SLOT_BYTES = 2 << 20;
/** Enough to go on while others are written and digested. */
const SLOTS = 4;

/** Slots of one size that take turns. */
export interface Slots {
  readonly slots: readonly Uint8Array[];
  /** Each begins on a page, as the disk wants it that reads them itself. */
  readonly onPages: boolean;
}

/** Digests slots in the order they are committed in. */
export interface SlotDigest {
  /** Takes the next slot, which holds `lengthBytes`; 0 is the end. */
  commit(lengthBytes: number): void;
  /** Waits until the slot that comes next may be filled. */
  nextFree(): Promise<void>;
  /** The digest of all, once nothing more comes. */
  digest(): Promise<Uint8Array | undefined>;
  /** Ends a thread that is not wanted any more. */
  close(): Promise<void>;
}

/** Slots for an output: on pages if it is worth it, and if so much address space is to be had. */
export function makeSlots(options: { readonly onPages: boolean; readonly shared: boolean }): Slots {
  const paged = options.onPages ? pages(options.shared) : undefined;
  const memory =
    paged ??
    (options.shared ? new SharedArrayBuffer(SLOTS * SLOT_BYTES) : new ArrayBuffer(SLOTS * SLOT_BYTES));
  const slots = Array.from({ length: SLOTS }, (_, i) => new Uint8Array(memory, i * SLOT_BYTES, SLOT_BYTES));
  return { slots, onPages: paged !== undefined };
}

/** A WebAssembly memory is the only buffer in JavaScript that begins on a page. */
function pages(shared: boolean): ArrayBuffer | SharedArrayBuffer | undefined {
  const count = (SLOTS * SLOT_BYTES) / 65_536;
  try {
    return new webAssembly.Memory({ initial: count, maximum: count, shared }).buffer;
  } catch {
    return undefined;
  }
}

/** Digests in this thread, or not at all. */
export function digestHere({ slots }: Slots, hash?: Hash): SlotDigest {
  let filled = 0;
  return {
    commit: (lengthBytes) => {
      const slot = slots[filled++ % slots.length] as Uint8Array;
      hash?.update(lengthBytes === slot.length ? slot : slot.subarray(0, lengthBytes));
    },
    nextFree: () => Promise.resolve(),
    digest: () => Promise.resolve(hash?.digest()),
    close: () => Promise.resolve(),
  };
}

/** What two threads share: a counter of filled slots, one of digested ones, each slot's length, the slots. */
export interface SharedSlots {
  readonly counters: Int32Array;
  readonly lengths: Int32Array;
  readonly slots: readonly Uint8Array[];
}

export const FILLED = 0;
export const DIGESTED = 1;

/** Digests in a thread of its own, while this one fills the next slots. */
export function digestBeside({ slots }: Slots): SlotDigest {
  const counters = new Int32Array(new SharedArrayBuffer(8));
  const lengths = new Int32Array(new SharedArrayBuffer(4 * slots.length));
  const shared: SharedSlots = { counters, lengths, slots };
  const worker = new Worker(new URL("./digest-worker.ts", import.meta.url), { workerData: { shared } });
  const digest = new Promise<Uint8Array>((resolve, reject) => {
    worker.once("message", (message: { digest: Uint8Array }) => resolve(message.digest));
    worker.once("error", reject);
  });
  // Whoever waits for it hears of a failure; nobody else needs to.
  digest.catch(() => undefined);
  let filled = 0;
  return {
    commit: (lengthBytes) => {
      lengths[(filled >>> 0) % slots.length] = lengthBytes;
      filled = (filled + 1) | 0;
      Atomics.store(counters, FILLED, filled);
      Atomics.notify(counters, FILLED);
    },
    nextFree: async () => {
      for (;;) {
        const done = Atomics.load(counters, DIGESTED);
        if (((filled - done) | 0) < slots.length) return;
        const { async, value } = Atomics.waitAsync(counters, DIGESTED, done);
        if (async) await Promise.race([value, digest]);
      }
    },
    digest: () => digest,
    close: async () => void (await worker.terminate()),
  };
}
