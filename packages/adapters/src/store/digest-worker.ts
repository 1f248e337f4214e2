/** Digests a file in a thread of its own, while another thread seals or opens the same file. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

const READ_BYTES = 1 << 18;
const { path } = workerData as { path: string };
const hash = createHash("sha256");
const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
const file = openSync(path, "r");
for (;;) {
  const length = readSync(file, buffer);
  if (length === 0) break;
  hash.update(length === READ_BYTES ? buffer : buffer.subarray(0, length));
}
closeSync(file);
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.postMessage({ digest: hash.digest() });
