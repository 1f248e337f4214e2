/**
 * Seals and opens whole files at the speed of the cipher. What costs more than ciphers is memory: Node's
 * `cipher.update` allocates each output, which the collector frees late; here every output is given back at once
 * after it is written, so the same few blocks stay in the cache. docs/decisions/0303-file-path.md has the measurements.
 */
import { createHash, type Hash } from "node:crypto";
import { readSync, writevSync, type Stats } from "node:fs";
import { open as openHandle, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { CloisterError, digestFrom, type Digest, type Entropy } from "@cloister/core";
import {
  CHUNK_BYTES,
  chunkNonce,
  headerDigest,
  openChunk,
  PAYLOAD_NONCE_BYTES,
  readHeaderOf,
  SEALED_CHUNK_BYTES,
  startOpening,
  startSealing,
  type Aead,
  type Header,
  type ObjectDigests,
  type Recipient,
} from "@cloister/custody";
import { coded, piecesAfter, writeAtomically } from "./files.ts";

const CHUNKS_PER_BLOCK = 4;
/** Other work gets its turn after this much. */
const TURN_BYTES = 8 << 20;

/** How a file is sealed or opened. */
export interface FileOptions {
  /** Called as bytes of the input are done. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** False leaves the digests out, and the result is undefined. */
  readonly digests?: boolean;
  /** A second thread digests the input. */
  readonly threads?: 1 | 2;
}

/** One direction: how large its blocks are, and what becomes of a chunk. */
interface Pass {
  readonly chunkBytes: number;
  /** What is written for one chunk, and what of it may be given back afterwards. */
  chunk(index: number, last: boolean, bytes: Uint8Array): readonly Uint8Array[];
}

/**
 * Seals a file to recipients. The output appears whole or not at all.
 * @throws {CloisterError} as `seal`; `FILE_NOT_FOUND`, `FILE_FULL`, `FILE_NOT_WRITABLE`, `FILE_FAILED`, `OBJECT_CHANGED`
 */
export async function sealFile(
  input: string,
  output: string,
  recipients: readonly Recipient[],
  entropy: Entropy,
  options: FileOptions = {},
): Promise<ObjectDigests | undefined> {
  const { header, nonce, aead } = startSealing(recipients, entropy);
  const pass: Pass = {
    chunkBytes: CHUNK_BYTES,
    chunk: (index, last, bytes) => {
      const { body, tag } = aead.seal(chunkNonce(index, last), bytes);
      return [body, tag];
    },
  };
  const start = [header.headerBytes, nonce];
  const sides = await transform({ input, output, offset: 0, start, pass, options });
  return sides === undefined ? undefined : digestsOf(header, sides.input, sides.output);
}

/**
 * Opens a sealed file with the file key that `unwrap` finds. The output appears only once all of it is proven genuine.
 * @throws {CloisterError} as `open`; `FILE_NOT_FOUND`, `FILE_FULL`, `FILE_NOT_WRITABLE`, `FILE_FAILED`, `OBJECT_CHANGED`
 */
export async function openFile(
  input: string,
  output: string,
  unwrap: (header: Header) => Uint8Array | Promise<Uint8Array>,
  options: FileOptions = {},
): Promise<ObjectDigests | undefined> {
  const { header, nonce } = await coded("FILE", input, () => readStart(input));
  const aead = startOpening(header, await unwrap(header), nonce);
  const pass: Pass = { chunkBytes: SEALED_CHUNK_BYTES, chunk: (...chunk) => [openWhole(aead, ...chunk)] };
  const offset = header.headerBytes.length + nonce.length;
  const sides = await transform({ input, output, offset, start: [], pass, options });
  return sides === undefined ? undefined : digestsOf(header, sides.output, sides.input);
}

interface Side {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

interface Job {
  readonly input: string;
  readonly output: string;
  /** Where the chunks begin in the input. */
  readonly offset: number;
  /** What the output begins with. */
  readonly start: readonly Uint8Array[];
  readonly pass: Pass;
  readonly options: FileOptions;
}

function transform(job: Job): Promise<{ input: Side; output: Side } | undefined> {
  return coded("FILE", job.output, async () => {
    const { digests = true, threads = 1 } = job.options;
    const beside = digests && threads === 2 ? digestBeside(job.input) : undefined;
    // Whoever fails first is reported; the other must not end the process.
    beside?.catch(() => undefined);
    const meters = {
      input: digests && threads === 1 ? createHash("sha256") : undefined,
      output: digests ? createHash("sha256") : undefined,
    };
    const input = await coded("FILE", job.input, () => openHandle(job.input));
    try {
      const sizes = await writeOutput(job, input, meters, beside);
      if (meters.output === undefined) return undefined;
      const inputDigest = meters.input?.digest() ?? (await beside)?.digest ?? new Uint8Array(0);
      return {
        input: { digest: digestFrom(inputDigest), sizeBytes: sizes.input },
        output: { digest: digestFrom(meters.output.digest()), sizeBytes: sizes.output },
      };
    } finally {
      await input.close();
    }
  });
}

interface Meters {
  readonly input: Hash | undefined;
  readonly output: Hash | undefined;
}

async function writeOutput(
  job: Job,
  input: FileHandle,
  meters: Meters,
  beside: Promise<unknown> | undefined,
): Promise<{ input: number; output: number }> {
  const sizes = { input: 0, output: 0 };
  const before = await input.stat();
  await writeAtomically(dirname(job.output), async (output) => {
    if (meters.input !== undefined && job.offset > 0) meters.input.update(readAt(input.fd, 0, job.offset));
    sizes.output += writeOut(output.fd, job.start, meters.output);
    sizes.input = job.offset;
    let turnAt = TURN_BYTES;
    for (const { block, index, last } of blocksIn(input.fd, job.offset, job.pass.chunkBytes)) {
      meters.input?.update(block);
      sizes.input += block.length;
      sizes.output += writeBlock(output.fd, job.pass, block, index, last, meters.output);
      if (sizes.input < turnAt) continue;
      turnAt += TURN_BYTES;
      job.options.onProgress?.(sizes.input, before.size);
      await setImmediate();
    }
    job.options.onProgress?.(sizes.input, before.size);
    await beside;
    checkUnchanged(before, await input.stat(), job.input);
    return job.output;
  });
  return sizes;
}

/**
 * Blocks of whole chunks; only the last is shorter, and empty only when there is nothing at all. Two buffers take
 * turns, since a block is known to be the last only when nothing follows: a block is valid until the next but one.
 */
function* blocksIn(
  fd: number,
  offset: number,
  chunkBytes: number,
): Generator<{ block: Uint8Array; index: number; last: boolean }> {
  const [a, b] = [0, 1].map(() => Buffer.allocUnsafeSlow(CHUNKS_PER_BLOCK * chunkBytes)) as [Buffer, Buffer];
  let held = a;
  let heldBytes = fill(fd, held, offset);
  for (let index = 0, at = offset + heldBytes; ; index += CHUNKS_PER_BLOCK) {
    const next = held === a ? b : a;
    const nextBytes = heldBytes < held.length ? 0 : fill(fd, next, at);
    yield { block: held.subarray(0, heldBytes), index, last: nextBytes === 0 };
    if (nextBytes === 0) return;
    held = next;
    heldBytes = nextBytes;
    at += nextBytes;
  }
}

function writeBlock(
  fd: number,
  pass: Pass,
  block: Uint8Array,
  firstIndex: number,
  isLastBlock: boolean,
  meter: Hash | undefined,
): number {
  const pieces: Uint8Array[] = [];
  let index = firstIndex;
  let at = 0;
  do {
    const chunk = block.subarray(at, at + pass.chunkBytes);
    at += chunk.length;
    pieces.push(...pass.chunk(index++, isLastBlock && at === block.length, chunk));
  } while (at < block.length);
  const written = writeOut(fd, pieces, meter);
  for (const piece of pieces) giveBack(piece);
  return written;
}

/** Frees an output now instead of at some collection to come. Only for arrays that nobody else sees. */
function giveBack(piece: Uint8Array): void {
  const { buffer, length } = piece;
  if (length >= CHUNK_BYTES && buffer.byteLength === length && buffer instanceof ArrayBuffer)
    buffer.transfer(0);
}

function writeOut(fd: number, pieces: readonly Uint8Array[], meter: Hash | undefined): number {
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (meter !== undefined) for (const piece of pieces) meter.update(piece);
  let rest = pieces;
  for (let left = total; left > 0;) {
    const written = writevSync(fd, rest);
    left -= written;
    if (left > 0) rest = piecesAfter(rest, written);
  }
  return total;
}

function openWhole(aead: Aead, index: number, last: boolean, bytes: Uint8Array): Uint8Array {
  const { plaintext, failure } = openChunk(aead, index, last, bytes);
  if (failure !== undefined) throw failure;
  return plaintext;
}

async function readStart(path: string): Promise<{ header: Header; nonce: Uint8Array }> {
  const file = await openHandle(path);
  try {
    const { size } = await file.stat();
    const read = async function* (offset: number, length: number) {
      yield readAt(file.fd, offset, length);
    };
    const header = await readHeaderOf({ sizeBytes: size, read });
    return { header, nonce: readAt(file.fd, header.headerBytes.length, PAYLOAD_NONCE_BYTES) };
  } finally {
    await file.close();
  }
}

function readAt(fd: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  return bytes.subarray(0, fill(fd, bytes, offset));
}

/** Fills a buffer from the file, except at its end. */
function fill(fd: number, buffer: Uint8Array, offset: number): number {
  let length = 0;
  while (length < buffer.length) {
    const read = readSync(fd, buffer, length, buffer.length - length, offset + length);
    if (read === 0) break;
    length += read;
  }
  return length;
}

function digestBeside(path: string): Promise<{ digest: Uint8Array }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./digest-worker.ts", import.meta.url), { workerData: { path } });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

function checkUnchanged(before: Stats, after: Stats, path: string): void {
  if (before.size === after.size && before.mtimeMs === after.mtimeMs) return;
  throw new CloisterError("OBJECT_CHANGED", `${path} changed while it was read.`, {
    hint: "Try again when nothing writes to it.",
  });
}

function digestsOf(header: Header, content: Side, sealed: Side): ObjectDigests {
  return {
    contentDigest: content.digest,
    contentBytes: content.sizeBytes,
    sealedDigest: sealed.digest,
    sealedBytes: sealed.sizeBytes,
    headerDigest: headerDigest(header),
  };
}
