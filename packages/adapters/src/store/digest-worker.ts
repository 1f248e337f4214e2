/** Digests in a thread of its own: a file, or what another thread puts into slots. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { DIGESTED, FILLED, type SharedSlots } from "./output-digest.ts";

const READ_BYTES = 1 << 18;
const { path, shared } = workerData as { path?: string; shared?: SharedSlots };
const digest = shared === undefined ? digestFile(path ?? "") : digestSlots(shared);
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

function digestSlots({ counters, lengths, slots }: SharedSlots): Uint8Array {
  const hash = createHash("sha256");
  for (let done = 0; ; done = (done + 1) | 0) {
    Atomics.wait(counters, FILLED, done);
    const at = (done >>> 0) % lengths.length;
    const length = lengths[at] ?? 0;
    if (length === 0) return hash.digest();
    hash.update((slots[at] as Uint8Array).subarray(0, length));
    Atomics.store(counters, DIGESTED, (done + 1) | 0);
    Atomics.notify(counters, DIGESTED);
  }
}
