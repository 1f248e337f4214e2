import { concat } from "@cloister/core";
import type { Aead } from "#primitives";
import { sealedError } from "./errors.ts";
import { authenticateHeader, findHeaderEnd, headerDigest, parseHeader, type Header } from "./header.ts";
import { FILE_KEY_BYTES, type Identity } from "./recipients.ts";
import { createMeter, type Flow, type Meter } from "./seal.ts";
import {
  blocksOf,
  CHUNK_BYTES,
  openChunk,
  payloadAead,
  PAYLOAD_NONCE_BYTES,
  SEALED_CHUNK_BYTES,
  type Chunks,
} from "./stream.ts";

/** Enough for some thirty X25519 recipients. */
const HEADER_GUESS_BYTES = 4096;

const KNOWN_STANZAS: ReadonlySet<string> = new Set(["X25519", "mlkem768x25519", "scrypt"]);

/** A sealed object whose header was read and whose payload was not. */
export interface SealedReader {
  readonly header: Header;
  /** What follows the header. Iterate it once. */
  readonly payload: AsyncIterable<Uint8Array>;
}

/** Bytes that can be read anywhere, e.g. a store's `get` with a range. */
export interface RangeSource {
  readonly sizeBytes: number;
  read(offset: number, length: number): AsyncIterable<Uint8Array>;
}

/** The whole sealed bytes, where the payload begins, and how large the content is. */
export interface Layout {
  readonly payloadOffset: number;
  readonly chunkCount: number;
  readonly contentBytes: number;
}

/**
 * Opens a sealed object with the first identity that fits. Every chunk is authenticated before it is given out;
 * only when the iteration ends without an error is the object whole, so keep nothing of one that threw.
 * @throws {CloisterError} with a `SEALED_…` code, during the iteration.
 */
export async function open(sealed: Chunks, identities: readonly Identity[]): Promise<Flow> {
  const reader = await readSealed(sealed);
  return openWithFileKey(reader, unwrapFileKey(reader.header, identities));
}

/**
 * Reads the header of a sealed object and leaves its payload for later: the key may have to be asked for.
 * @throws {CloisterError} as `parseHeader`
 */
export async function readSealed(sealed: Chunks): Promise<SealedReader> {
  const pieces = iterate(sealed);
  let head: Uint8Array = new Uint8Array(0);
  while (findHeaderEnd(head) === undefined) {
    // Each round doubles what is held, so that a source of single bytes costs no quadratic time.
    const more = await take(pieces, Math.max(HEADER_GUESS_BYTES, head.length));
    if (more.length === 0) break;
    head = concat(head, more);
  }
  const header = parseHeader(head);
  return { header, payload: remaining(head.subarray(header.headerBytes.length), pieces) };
}

/**
 * The file key by the first identity that fits.
 * @throws {CloisterError} `SEALED_NO_IDENTITY_MATCHES`, `SEALED_STANZA_MALFORMED`, `SEALED_HEADER_MAC_WRONG`
 */
export function unwrapFileKey(header: Header, identities: readonly Identity[]): Uint8Array {
  for (const identity of identities) {
    const fileKey = identity.unwrap(header.stanzas);
    if (fileKey === undefined) continue;
    checkFileKey(header, fileKey);
    return fileKey;
  }
  throw noneMatches(header);
}

/** Objects for kinds of keys that are not taken here say so: no identity would do. */
function noneMatches({ stanzas }: Header): Error {
  const types = [...new Set(stanzas.map(({ args }) => args[0] as string))];
  if (types.some((type) => KNOWN_STANZAS.has(type)))
    return sealedError(
      "SEALED_NO_IDENTITY_MATCHES",
      "The object was not sealed to any of these identities.",
      {
        hint: "Open it with the identity of one of its recipients.",
      },
    );
  const named = types.slice(0, 3).join(", ").slice(0, 80);
  return sealedError(
    "SEALED_NO_IDENTITY_MATCHES",
    `The object is sealed only to kinds of keys that are not taken here: ${named}.`,
    { hint: "Open it with stock age, or ask for it sealed to an age1… recipient." },
  );
}

/**
 * Opens the payload with a file key that came from elsewhere, e.g. from the key-release group.
 * @throws {CloisterError} `SEALED_HEADER_MAC_WRONG` at once, payload errors during the iteration.
 */
export function openWithFileKey(reader: SealedReader, fileKey: Uint8Array): Flow {
  checkFileKey(reader.header, fileKey);
  const meter = createMeter(headerDigest(reader.header));
  meter.sealed(reader.header.headerBytes);
  const chunks = openPayload(reader.payload, fileKey, meter);
  return { digests: meter.digests, [Symbol.asyncIterator]: () => chunks };
}

/**
 * The cipher for the chunks of a payload, once the file key has proved itself on the header.
 * @throws {CloisterError} `SEALED_HEADER_MAC_WRONG`
 */
export function startOpening(header: Header, fileKey: Uint8Array, nonce: Uint8Array): Aead {
  checkFileKey(header, fileKey);
  return payloadAead(fileKey, nonce);
}

/** Where things lie in a sealed object of this size. @throws {CloisterError} `SEALED_TRUNCATED` */
export function layoutOf(header: Header, sealedBytes: number): Layout {
  const payloadOffset = header.headerBytes.length + PAYLOAD_NONCE_BYTES;
  const chunksBytes = sealedBytes - payloadOffset;
  const chunkCount = Math.ceil(chunksBytes / SEALED_CHUNK_BYTES);
  const contentBytes = chunksBytes - 16 * chunkCount;
  if (chunkCount < 1 || contentBytes < CHUNK_BYTES * (chunkCount - 1)) {
    throw sealedError("SEALED_TRUNCATED", "The object ends inside a chunk.");
  }
  return { payloadOffset, chunkCount, contentBytes };
}

/**
 * Reads `length` bytes of the content from `offset` without reading the rest. The last chunk is opened first:
 * it proves the object's size, so that a cut object is refused before anything is given out.
 * @throws {CloisterError} `SEALED_RANGE_OUTSIDE` and as `open`
 */
export async function* openRange(
  source: RangeSource,
  unwrap: (header: Header) => Uint8Array | Promise<Uint8Array>,
  range: { offset: number; length: number },
): AsyncGenerator<Uint8Array> {
  const header = await readHeaderOf(source);
  const fileKey = await unwrap(header);
  checkFileKey(header, fileKey);
  const layout = layoutOf(header, source.sizeBytes);
  const end = range.offset + range.length;
  if (range.offset < 0 || range.length < 0 || end > layout.contentBytes) {
    throw sealedError("SEALED_RANGE_OUTSIDE", `The object holds ${layout.contentBytes} bytes, not ${end}.`);
  }
  const nonce = await collect(source.read(header.headerBytes.length, PAYLOAD_NONCE_BYTES));
  const aead = payloadAead(fileKey, nonce);
  const lastIndex = layout.chunkCount - 1;
  const lastSealed = await collect(readChunks(source, layout, lastIndex, lastIndex));
  const lastChunk = openWhole(aead, lastIndex, true, lastSealed);
  if (range.length === 0) return;
  const first = Math.floor(range.offset / CHUNK_BYTES);
  const final = Math.floor((end - 1) / CHUNK_BYTES);
  let index = first;
  for await (const { block } of blocksOf(
    readChunks(source, layout, first, Math.min(final, lastIndex - 1)),
    SEALED_CHUNK_BYTES,
  )) {
    if (index >= lastIndex) break;
    yield cutTo(openWhole(aead, index, false, block), index, range.offset, end);
    index++;
  }
  if (final === lastIndex) yield cutTo(lastChunk, lastIndex, range.offset, end);
}

/** Reads the header of an object that can be read anywhere. @throws {CloisterError} as `parseHeader` */
export async function readHeaderOf(source: RangeSource): Promise<Header> {
  for (let length = HEADER_GUESS_BYTES; ; length *= 2) {
    const head = await collect(source.read(0, Math.min(length, source.sizeBytes)));
    if (findHeaderEnd(head) !== undefined || length >= source.sizeBytes) return parseHeader(head);
  }
}

/** Reads everything into one array; for small objects. */
export async function collect(chunks: Chunks): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of chunks) parts.push(part);
  return concat(...parts);
}

async function* openPayload(
  payload: AsyncIterable<Uint8Array>,
  fileKey: Uint8Array,
  meter: Meter,
): AsyncGenerator<Uint8Array> {
  const pieces = iterate(payload);
  const start = await take(pieces, PAYLOAD_NONCE_BYTES);
  if (start.length < PAYLOAD_NONCE_BYTES)
    throw sealedError("SEALED_TRUNCATED", "The object ends before its payload.");
  const nonce = start.subarray(0, PAYLOAD_NONCE_BYTES);
  meter.sealed(nonce);
  const aead = payloadAead(fileKey, nonce);
  const chunks = remaining(start.subarray(PAYLOAD_NONCE_BYTES), pieces);
  let index = 0;
  for await (const { block, last } of blocksOf(chunks, SEALED_CHUNK_BYTES)) {
    meter.sealed(block);
    if (block.length === 0) throw sealedError("SEALED_TRUNCATED", "The object ends before its first chunk.");
    const { plaintext, failure } = openChunk(aead, index++, last, block);
    meter.content(plaintext);
    yield plaintext;
    if (failure !== undefined) throw failure;
  }
  meter.finish();
}

function openWhole(aead: Aead, index: number, last: boolean, sealed: Uint8Array): Uint8Array {
  const { plaintext, failure } = openChunk(aead, index, last, sealed);
  if (failure !== undefined) throw failure;
  return plaintext;
}

function readChunks(
  source: RangeSource,
  layout: Layout,
  first: number,
  final: number,
): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  const offset = layout.payloadOffset + first * SEALED_CHUNK_BYTES;
  const end = Math.min(layout.payloadOffset + (final + 1) * SEALED_CHUNK_BYTES, source.sizeBytes);
  return end <= offset ? [] : source.read(offset, end - offset);
}

function cutTo(chunk: Uint8Array, index: number, offset: number, end: number): Uint8Array {
  const start = index * CHUNK_BYTES;
  return chunk.subarray(Math.max(0, offset - start), Math.min(chunk.length, end - start));
}

function checkFileKey(header: Header, fileKey: Uint8Array): void {
  if (fileKey.length !== FILE_KEY_BYTES) {
    throw sealedError("SEALED_STANZA_MALFORMED", "The file key in the header is not 16 bytes.");
  }
  authenticateHeader(header, fileKey);
}

async function* iterate(chunks: Chunks): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** Takes whole pieces until at least `bytes` are there or the pieces end. */
async function take(pieces: AsyncGenerator<Uint8Array>, bytes: number): Promise<Uint8Array> {
  const taken: Uint8Array[] = [];
  for (let sum = 0; sum < bytes;) {
    const next = await pieces.next();
    if (next.done === true) break;
    taken.push(next.value);
    sum += next.value.length;
  }
  return concat(...taken);
}

async function* remaining(first: Uint8Array, pieces: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  yield* pieces;
}
