/**
 * What the parent and the runner process say to each other: one message each way, a JSON header behind
 * its length (32 bits, little-endian), then the named blobs in the header's order. This file imports
 * nothing: the runner may read only its own folder.
 */

/** What the parent sends. Blobs: the module, the arguments, the inputs in order. */
export interface RunnerJob {
  readonly moduleBytes: number;
  readonly argsBytes: number;
  readonly inputs: readonly { readonly name: string; readonly sizeBytes: number }[];
  readonly seedHex: string;
  readonly clockMs: number;
  readonly memoryBytes: number;
  readonly outputBytesMax: number;
  readonly outputFilesMax: number;
  readonly logBytesMax: number;
}

export type RunnerEnd =
  | "exited"
  | "malformed"
  | "import-forbidden"
  | "trapped"
  | "memory-exceeded"
  | "output-exceeded";

/** What the runner answers. Blobs: standard output, standard error, the outputs in order. */
export interface RunnerAnswer {
  readonly end: RunnerEnd;
  readonly reason: string;
  readonly exitCode: number;
  readonly memoryBytes: number;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  readonly outputs: readonly { readonly name: string; readonly sizeBytes: number }[];
}

/** Headers are small; a longer one is no message of ours. */
export const headerBytesMax = 1024 * 1024;

/** Puts a header in front of its blobs. */
export function frame(header: RunnerJob | RunnerAnswer, blobs: readonly Uint8Array[]): Uint8Array[] {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length, true);
  return [length, text, ...blobs];
}

/** Splits a message into its header's text and what follows; undefined while the header is incomplete. */
export function unframe(bytes: Uint8Array): { header: string; rest: Uint8Array } | undefined {
  if (bytes.length < 4) return undefined;
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  if (length > headerBytesMax) throw new RangeError("The message's header is too long.");
  if (bytes.length < 4 + length) return undefined;
  const header = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(4, 4 + length));
  return { header, rest: bytes.subarray(4 + length) };
}

/** Cuts blobs of the given sizes from the front. @throws {RangeError} when they do not fill the bytes exactly. */
export function cutBlobs(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  let offset = 0;
  const blobs = sizes.map((size) => {
    offset += size;
    return bytes.subarray(offset - size, offset);
  });
  if (offset !== bytes.length) throw new RangeError("The message's parts do not add up.");
  return blobs;
}
