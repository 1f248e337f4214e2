/** Digests in a thread of its own: a file, or what another thread puts into a ring. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { DIGESTED, FILLED, type SharedRing } from "./output-digest.ts";

const READ_BYTES = 1 << 18;
const { path, ring } = workerData as { path?: string; ring?: SharedRing };
const digest = ring === undefined ? digestFile(path ?? "") : digestRing(ring);
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.postMessage({ digest });

function digestFile(name: string): Uint8Array {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const file = openSync(name, "r");
  for (;;) {
    const length = readSync(file, buffer);
    if (length === 0) break;
    hash.update(length === READ_BYTES ? buffer : buffer.subarray(0, length));
  }
  closeSync(file);
  return hash.digest();
}

function digestRing({ counters: shared, lengths: sizes, slots, slotBytes }: SharedRing): Uint8Array {
  const counters = new Int32Array(shared);
  const lengths = new Int32Array(sizes);
  const hash = createHash("sha256");
  for (let done = 0; ; done = (done + 1) | 0) {
    Atomics.wait(counters, FILLED, done);
    const slot = (done >>> 0) % lengths.length;
    const length = lengths[slot] ?? 0;
    if (length === 0) return hash.digest();
    hash.update(new Uint8Array(slots, slot * slotBytes, length));
    Atomics.store(counters, DIGESTED, (done + 1) | 0);
    Atomics.notify(counters, DIGESTED);
  }
}
