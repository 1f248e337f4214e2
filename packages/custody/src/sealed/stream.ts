import { concat, hkdfSha256, utf8 } from "@cloister/core";
import { createAead, type Aead } from "#primitives";
import { sealedError } from "./errors.ts";

/** Plaintext bytes of a chunk, and what its tag adds. C2SP age, "Payload". */
export const CHUNK_BYTES = 64 * 1024;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + 16;
export const PAYLOAD_NONCE_BYTES = 16;
const COUNTER_MAX = Number.MAX_SAFE_INTEGER;

/** Bytes that arrive in pieces, from memory, a file or a store. */
export type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The payload's cipher, from the file key and the payload's 16-byte nonce. */
export function payloadAead(fileKey: Uint8Array, nonce: Uint8Array): Aead {
  return createAead(hkdfSha256(fileKey, nonce, utf8("payload"), 32));
}

/** The STREAM nonce of a chunk: an 11-byte big-endian counter and a byte that marks the last one. */
export function chunkNonce(index: number, last: boolean): Uint8Array {
  if (index > COUNTER_MAX) throw sealedError("SEALED_RANGE_OUTSIDE", "The object has too many chunks.");
  const nonce = new Uint8Array(12);
  const view = new DataView(nonce.buffer);
  view.setUint32(3, Math.floor(index / 2 ** 32));
  view.setUint32(7, index % 2 ** 32);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/** A chunk that is genuine, and what is wrong with its place, if anything. */
export interface OpenedChunk {
  readonly plaintext: Uint8Array;
  /** `SEALED_TRUNCATED`, `SEALED_TRAILING_BYTES` or `SEALED_CHUNK_EMPTY`: the object is not whole. */
  readonly failure?: Error;
}

/**
 * Decrypts one chunk in its place. A genuine chunk in the wrong role tells a cut object from a changed one.
 * @throws {CloisterError} `SEALED_CHUNK_FORGED` when it was changed or moved, `SEALED_TRUNCATED`
 */
export function openChunk(aead: Aead, index: number, last: boolean, sealed: Uint8Array): OpenedChunk {
  const plaintext = aead.open(chunkNonce(index, last), sealed);
  if (plaintext !== undefined) {
    if (plaintext.length > 0 || index === 0) return { plaintext };
    return { plaintext, failure: sealedError("SEALED_CHUNK_EMPTY", "The payload ends in an empty chunk.") };
  }
  const misplaced = aead.open(chunkNonce(index, !last), sealed);
  if (misplaced === undefined) {
    const what = `Chunk ${index} of the payload is not the one that was sealed: it was changed, moved or cut.`;
    throw sealedError("SEALED_CHUNK_FORGED", what);
  }
  const failure = last
    ? sealedError("SEALED_TRUNCATED", `The payload ends after chunk ${index}, which is not its last.`)
    : sealedError("SEALED_TRAILING_BYTES", `Something follows chunk ${index}, the last of the payload.`);
  // A middle chunk is always full: a short one is not even genuine.
  if (last && sealed.length < SEALED_CHUNK_BYTES) throw failure;
  return { plaintext: misplaced, failure };
}

/**
 * Regroups pieces of any size into blocks of `blockBytes`; the last one is marked and may be shorter,
 * and is empty only when there was nothing at all. Holds at most one block and one piece.
 */
export async function* blocksOf(
  pieces: Chunks,
  blockBytes: number,
): AsyncGenerator<{ block: Uint8Array; last: boolean }> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const piece of pieces) {
    let rest = piece;
    // A full block is held back until more arrives: only then is it known not to be the last.
    while (heldBytes + rest.length > blockBytes) {
      const taken = blockBytes - heldBytes;
      yield { block: joined(held, rest.subarray(0, taken)), last: false };
      rest = rest.subarray(taken);
      held = [];
      heldBytes = 0;
    }
    if (rest.length > 0) {
      held.push(rest);
      heldBytes += rest.length;
    }
  }
  yield { block: joined(held, new Uint8Array(0)), last: true };
}

function joined(held: readonly Uint8Array[], end: Uint8Array): Uint8Array {
  if (held.length === 0) return end;
  if (held.length === 1 && end.length === 0) return held[0] as Uint8Array;
  return concat(...held, end);
}
