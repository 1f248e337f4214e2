/**
 * Seals and opens whole files at the speed of the cipher. What costs more than ciphers is memory: Node's
 * `cipher.update` allocates each output, which the collector frees late; here every output is copied into a block
 * that stays in the cache, and given back at once. docs/decisions/0303-file-path.md has the measurements.
 */
import { createHash, type Hash } from "node:crypto";
import { readSync, type Stats } from "node:fs";
import { open as openHandle, type FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
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
} from "@cloister/custody/sealed";
import { coded, writeAtomically } from "./files.ts";
import { digestBeside, digestHere, makeSlots, type SlotDigest, type Slots } from "./output-digest.ts";
import { OutputFile } from "./output-file.ts";

const CHUNKS_PER_BLOCK = 4;
/** Other work gets its turn after this much. */
const TURN_BYTES = 8 << 20;
/** From here on an output goes past the page cache. */
const DIRECT_BYTES = 8 << 20;

/** How a file is sealed or opened. */
export interface FileOptions {
  /** Called as bytes of the input are done. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /**
   * Which sides are digested: `both`, as an offer needs; `sealed`, the file as a store names it; `none`. Each costs
   * more than the cipher does. Default: both.
   */
  readonly digests?: "both" | "sealed" | "none";
  /** A second thread digests one side. */
  readonly threads?: 1 | 2;
  /** Permissions of the output. Default: its owner alone. */
  readonly mode?: number;
}

/** What is known of a file that was sealed or opened; digests that were not asked for are absent. */
export interface FileDigests {
  readonly contentDigest?: Digest;
  readonly contentBytes: number;
  readonly sealedDigest?: Digest;
  readonly sealedBytes: number;
  readonly headerDigest: Digest;
}

/** One direction: how large its blocks are, and what becomes of a chunk. */
interface Pass {
  readonly chunkBytes: number;
  /** What a chunk becomes, in arrays that nobody else sees. */
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
  options?: FileOptions & { readonly digests?: "both" },
): Promise<ObjectDigests>;
export async function sealFile(
  input: string,
  output: string,
  recipients: readonly Recipient[],
  entropy: Entropy,
  options: FileOptions,
): Promise<FileDigests>;
export async function sealFile(
  input: string,
  output: string,
  recipients: readonly Recipient[],
  entropy: Entropy,
  options: FileOptions = {},
): Promise<FileDigests> {
  const { header, nonce, aead } = startSealing(recipients, entropy);
  const pass: Pass = {
    chunkBytes: CHUNK_BYTES,
    chunk: (index, last, bytes) => {
      const { body, tag } = aead.seal(chunkNonce(index, last), bytes);
      return [body, tag];
    },
  };
  const start = [header.headerBytes, nonce];
  const { digests = "both" } = options;
  const digested = { input: digests === "both", output: digests !== "none" };
  const sides = await transform({ input, output, offset: 0, start, pass, options, digested });
  return digestsOf(header, sides.input, sides.output);
}

/**
 * Opens a sealed file with the file key that `unwrap` finds. The output appears only once all of it is proven genuine.
 * @throws {CloisterError} as `open`; `FILE_NOT_FOUND`, `FILE_FULL`, `FILE_NOT_WRITABLE`, `FILE_FAILED`, `OBJECT_CHANGED`
 */
export async function openFile(
  input: string,
  output: string,
  unwrap: Unwrap,
  options?: FileOptions & { readonly digests?: "both" },
): Promise<ObjectDigests>;
export async function openFile(
  input: string,
  output: string,
  unwrap: Unwrap,
  options: FileOptions,
): Promise<FileDigests>;
export async function openFile(
  input: string,
  output: string,
  unwrap: Unwrap,
  options: FileOptions = {},
): Promise<FileDigests> {
  const { header, nonce } = await coded("FILE", input, () => readStart(input));
  const aead = startOpening(header, await unwrap(header), nonce);
  const pass: Pass = { chunkBytes: SEALED_CHUNK_BYTES, chunk: (...chunk) => [openWhole(aead, ...chunk)] };
  const offset = header.headerBytes.length + nonce.length;
  const { digests = "both" } = options;
  const digested = { input: digests !== "none", output: digests === "both" };
  const sides = await transform({ input, output, offset, start: [], pass, options, digested });
  return digestsOf(header, sides.output, sides.input);
}

/** Finds the file key of a header. */
type Unwrap = (header: Header) => Uint8Array | Promise<Uint8Array>;

interface Side {
  readonly digest?: Digest;
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
  /** Which sides are digested. */
  readonly digested: { readonly input: boolean; readonly output: boolean };
}

/** What a job reads with and puts its output together in. */
interface Tools {
  readonly input: FileHandle;
  readonly slots: Slots;
  /** Digests the output. */
  readonly digest: SlotDigest;
  /** Digests the input in this thread. */
  readonly hash: Hash | undefined;
  /** Digests the input in another. */
  readonly beside: Promise<Uint8Array> | undefined;
}

function transform(job: Job): Promise<{ input: Side; output: Side }> {
  return coded("FILE", job.output, async () => {
    const input = await coded("FILE", job.input, () => openHandle(job.input));
    try {
      const before = await input.stat();
      const tools = toolsFor(job, input, before.size);
      try {
        const sizes = await writeOutput(job, tools, before);
        return {
          input: side(sizes.input, tools.hash?.digest() ?? (await tools.beside)),
          output: side(sizes.output, await tools.digest.digest()),
        };
      } finally {
        await tools.digest.close();
      }
    } finally {
      await input.close();
    }
  });
}

/** A second thread takes the input's digest when there is one to take, else the output's. */
function toolsFor({ input: path, digested, options }: Job, input: FileHandle, sizeBytes: number): Tools {
  const two = options.threads === 2;
  const beside = two && digested.input ? digestFileBeside(path) : undefined;
  // Whoever fails first is reported; the other must not end the process.
  beside?.catch(() => undefined);
  const hash = (wanted: boolean): Hash | undefined => (wanted ? createHash("sha256") : undefined);
  const shared = two && digested.output && beside === undefined;
  const slots = makeSlots({ onPages: sizeBytes >= DIRECT_BYTES, shared });
  const digest = shared ? digestBeside(slots) : digestHere(slots, hash(digested.output));
  return { input, slots, digest, beside, hash: hash(digested.input && !two) };
}

function side(sizeBytes: number, digest: Uint8Array | undefined): Side {
  return digest === undefined ? { sizeBytes } : { sizeBytes, digest: digestFrom(digest) };
}

async function writeOutput(
  job: Job,
  tools: Tools,
  before: Stats,
): Promise<{ input: number; output: number }> {
  const sizes = { input: 0, output: 0 };
  await writeAtomically(
    dirname(job.output),
    async (file) => {
      const output = await OutputFile.start(file, tools.slots, tools.digest);
      try {
        sizes.input = await transformBlocks(job, tools, output, before);
        sizes.output = await output.end();
      } finally {
        await output.settle();
      }
      await tools.beside;
      checkUnchanged(before, await tools.input.stat(), job.input);
      return job.output;
    },
    { mode: job.options.mode, name: basename(job.output) },
  );
  return sizes;
}

/** How much of the input became output. */
async function transformBlocks(
  { offset, start, pass, options }: Job,
  { input, hash }: Tools,
  output: OutputFile,
  { size }: Stats,
): Promise<number> {
  if (offset > 0) hash?.update(readAt(input.fd, 0, offset));
  for (const piece of start) await output.put(piece);
  let doneBytes = offset;
  let turnAt = TURN_BYTES;
  for (const { block, index, last } of blocksIn(input.fd, offset, pass.chunkBytes)) {
    hash?.update(block);
    for (const piece of piecesOf(pass, block, index, last)) {
      const written = output.put(piece);
      if (written !== undefined) await written;
      giveBack(piece);
    }
    doneBytes += block.length;
    if (doneBytes < turnAt) continue;
    turnAt += TURN_BYTES;
    options.onProgress?.(doneBytes, size);
    await setImmediate();
  }
  options.onProgress?.(doneBytes, size);
  return doneBytes;
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

/** What the chunks of one block become, one after another: each is in its slot before the next is made. */
function* piecesOf(
  pass: Pass,
  block: Uint8Array,
  firstIndex: number,
  isLastBlock: boolean,
): Generator<Uint8Array> {
  let index = firstIndex;
  let at = 0;
  do {
    const chunk = block.subarray(at, at + pass.chunkBytes);
    at += chunk.length;
    yield* pass.chunk(index++, isLastBlock && at === block.length, chunk);
  } while (at < block.length);
}

/** Frees an output now instead of at some collection to come. Only for arrays that nobody else sees. */
function giveBack(piece: Uint8Array): void {
  const { buffer, length } = piece;
  if (length >= CHUNK_BYTES && buffer.byteLength === length && buffer instanceof ArrayBuffer)
    buffer.transfer(0);
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

function digestFileBeside(path: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./digest-worker.ts", import.meta.url), { workerData: { path } });
    worker.once("message", (message: { digest: Uint8Array }) => resolve(message.digest));
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
    ...(content.digest === undefined ? {} : { contentDigest: content.digest }),
    contentBytes: content.sizeBytes,
    ...(sealed.digest === undefined ? {} : { sealedDigest: sealed.digest }),
    sealedBytes: sealed.sizeBytes,
    headerDigest: headerDigest(header),
    // Which digests there are follows from the options, as the signatures of the callers say.
  } as ObjectDigests;
}
