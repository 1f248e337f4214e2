import { digestFrom, type Digest, type Entropy } from "@cloister/core";
import { sha256Hasher, type Aead } from "#primitives";
import { sealedError } from "./errors.ts";
import { buildHeader, headerDigest, type Header } from "./header.ts";
import { FILE_KEY_BYTES, type Recipient } from "./recipients.ts";
import {
  blocksOf,
  CHUNK_BYTES,
  payloadAead,
  PAYLOAD_NONCE_BYTES,
  chunkNonce,
  type Chunks,
} from "./stream.ts";

/** What an offer names an object by; `sha256sum` of the plain and of the sealed file agrees. */
export interface ObjectDigests {
  /** SHA-256 of the plaintext. */
  readonly contentDigest: Digest;
  readonly contentBytes: number;
  /** SHA-256 of the age file. */
  readonly sealedDigest: Digest;
  readonly sealedBytes: number;
  /** SHA-256 of the age header with its MAC line. */
  readonly headerDigest: Digest;
}

/** Bytes on their way; the digests are known once the last of them was taken. */
export interface Flow extends AsyncIterable<Uint8Array> {
  /** @throws {CloisterError} `SEALED_NOT_FINISHED` before the end. */
  digests(): ObjectDigests;
}

/** An object being sealed. Iterate it once. */
export interface Sealing extends Flow {
  readonly header: Header;
}

/** Counts and digests bytes of both sides of a flow. */
export interface Meter {
  readonly content: (bytes: Uint8Array) => void;
  readonly sealed: (bytes: Uint8Array) => void;
  readonly finish: () => void;
  readonly digests: () => ObjectDigests;
}

/**
 * Seals plaintext to recipients in the age v1 format, in one pass and with a few chunks of memory.
 * @param entropy Gives the file key, the payload nonce and the ephemeral keys.
 * @throws {CloisterError} `SEALED_RECIPIENTS_MALFORMED` for no recipients, a passphrase that is not alone,
 * or a mixture of post-quantum and other recipients.
 * @example
 * const sealing = seal(chunks, [parseRecipient("age1…")], entropy);
 * await store.put(sealing);
 * sealing.digests().contentDigest;
 */
export function seal(plaintext: Chunks, recipients: readonly Recipient[], entropy: Entropy): Sealing {
  const { header, nonce, aead } = startSealing(recipients, entropy);
  const meter = createMeter(headerDigest(header));
  const chunks = sealPayload(plaintext, header.headerBytes, nonce, aead, meter);
  return { header, digests: meter.digests, [Symbol.asyncIterator]: () => chunks };
}

/** What stands before the payload, and the cipher for its chunks: for callers that move the bytes themselves. */
export interface SealingStart {
  readonly header: Header;
  /** The payload's nonce; it follows the header. */
  readonly nonce: Uint8Array;
  readonly aead: Aead;
}

/**
 * Wraps a new file key to the recipients. The payload is then chunks of `CHUNK_BYTES`, the last one shorter,
 * each sealed under its `chunkNonce`.
 * @throws {CloisterError} as `seal`
 */
export function startSealing(recipients: readonly Recipient[], entropy: Entropy): SealingStart {
  checkRecipients(recipients);
  const fileKey = entropy(FILE_KEY_BYTES);
  const stanzas = recipients.flatMap((recipient) => recipient.wrap(fileKey, entropy));
  const nonce = entropy(PAYLOAD_NONCE_BYTES);
  return { header: buildHeader(stanzas, fileKey), nonce, aead: payloadAead(fileKey, nonce) };
}

async function* sealPayload(
  plaintext: Chunks,
  headerBytes: Uint8Array,
  nonce: Uint8Array,
  aead: Aead,
  meter: Meter,
): AsyncGenerator<Uint8Array> {
  for (const start of [headerBytes, nonce]) {
    meter.sealed(start);
    yield start;
  }
  let index = 0;
  for await (const { block, last } of blocksOf(plaintext, CHUNK_BYTES)) {
    meter.content(block);
    const { body, tag } = aead.seal(chunkNonce(index++, last), block);
    meter.sealed(body);
    meter.sealed(tag);
    yield body;
    yield tag;
  }
  meter.finish();
}

/** Starts the digests of one flow. */
export function createMeter(ofHeader: Digest): Meter {
  const content = sha256Hasher();
  const sealed = sha256Hasher();
  let contentBytes = 0;
  let sealedBytes = 0;
  let digests: ObjectDigests | undefined;
  return {
    content: (bytes) => {
      content.update(bytes);
      contentBytes += bytes.length;
    },
    sealed: (bytes) => {
      sealed.update(bytes);
      sealedBytes += bytes.length;
    },
    finish: () => {
      const [contentDigest, sealedDigest] = [digestFrom(content.digest()), digestFrom(sealed.digest())];
      digests = { contentDigest, contentBytes, sealedDigest, sealedBytes, headerDigest: ofHeader };
    },
    digests: () => {
      if (digests !== undefined) return digests;
      throw sealedError("SEALED_NOT_FINISHED", "The digests are known only once all bytes were read.");
    },
  };
}

function checkRecipients(recipients: readonly Recipient[]): void {
  const [first] = recipients;
  const refuse = (message: string) => sealedError("SEALED_RECIPIENTS_MALFORMED", message);
  if (first === undefined) throw refuse("An object needs at least one recipient.");
  if (recipients.length > 1 && recipients.some((recipient) => recipient.alone === true)) {
    throw refuse("A passphrase must be the only recipient.");
  }
  if (recipients.some((recipient) => recipient.label !== first.label)) {
    throw refuse("Post-quantum recipients cannot share an object with others: the weakest would decide.");
  }
}
