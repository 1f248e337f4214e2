import {
  concat,
  digestOf,
  hkdfSha256,
  utf8,
  x25519PublicKey,
  x25519Shared,
  type Digest,
  type Entropy,
} from "@cloister/core";
import { aeadOpen, aeadSeal } from "./small.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { encodeBech32 } from "./bech32.ts";
import { sealedError } from "./errors.ts";
import type { Stanza } from "./header.ts";

const KEY_BYTES = 32;
export const FILE_KEY_BYTES = 16;
const WRAPPED_KEY_BYTES = FILE_KEY_BYTES + 16;
const X25519_LABEL = "age-encryption.org/v1/X25519";
/** Every wrapping key is used once, so its nonce is fixed. */
export const ZERO_NONCE = new Uint8Array(12);

/** Someone a file key can be wrapped to. */
export interface Recipient {
  /** As it is written: `age1…`; for a passphrase only the word `passphrase`. */
  readonly text: string;
  /** A label that all recipients of one object must share, e.g. `postquantum`. C2SP age, "labels". */
  readonly label?: string;
  /** True for a passphrase, which must be the only recipient. */
  readonly alone?: boolean;
  wrap(fileKey: Uint8Array, entropy: Entropy): readonly Stanza[];
}

/** Someone who can open what was sealed to one recipient. */
export interface Identity {
  /**
   * The file key when one of the stanzas is for this identity, else undefined.
   * @throws {CloisterError} `SEALED_STANZA_MALFORMED` on a stanza of its type that breaks the specification.
   */
  unwrap(stanzas: readonly Stanza[]): Uint8Array | undefined;
}

/** An X25519 identity as `age-keygen` makes it. */
export interface X25519Identity extends Identity {
  readonly secret: Uint8Array;
  /** `AGE-SECRET-KEY-1…` */
  readonly text: string;
  readonly recipient: X25519Recipient;
}

/** An X25519 recipient: `age1…`. */
export interface X25519Recipient extends Recipient {
  readonly publicKey: Uint8Array;
}

/** Makes a new identity from 32 random bytes. */
export function generateIdentity(entropy: Entropy): X25519Identity {
  return x25519Identity(entropy(KEY_BYTES));
}

/** The identity of a 32-byte X25519 secret. */
export function x25519Identity(secret: Uint8Array): X25519Identity {
  const recipient = x25519Recipient(x25519PublicKey(secret));
  return {
    secret,
    text: encodeBech32("age-secret-key-", secret).toUpperCase(),
    recipient,
    unwrap: (stanzas) => firstUnwrapped(stanzas, (stanza) => unwrapWithSecret(stanza, secret, recipient)),
  };
}

/** The recipient of a 32-byte X25519 public key: a node's wrapping key, or the key-release group's. */
export function x25519Recipient(publicKey: Uint8Array): X25519Recipient {
  return {
    publicKey,
    text: encodeBech32("age", publicKey),
    wrap: (fileKey, entropy) => [wrapX25519(fileKey, publicKey, entropy(KEY_BYTES)).stanza],
  };
}

/**
 * Wraps a file key to a public key with an ephemeral secret of 32 bytes.
 * @throws {CloisterError} `SEALED_RECIPIENT_MALFORMED` when the public key is a low-order point.
 */
export function wrapX25519(
  fileKey: Uint8Array,
  publicKey: Uint8Array,
  ephemeral: Uint8Array,
): { stanza: Stanza; share: Uint8Array } {
  const share = x25519PublicKey(ephemeral);
  const key = wrappingKey(sharedSecret(ephemeral, publicKey), share, publicKey);
  return {
    share,
    stanza: { args: ["X25519", encodeBase64(share)], body: aeadSeal(key, ZERO_NONCE, fileKey) },
  };
}

/** SHA-256 of a recipient as it is written: what an order names its result's recipient by. */
export function recipientDigest(text: string): Digest {
  return digestOf(utf8(text));
}

/** The ephemeral share (32 bytes, a u-coordinate) of every X25519 stanza, in order. */
export function x25519Shares(stanzas: readonly Stanza[]): { stanza: Stanza; share: Uint8Array }[] {
  return stanzas.filter(isX25519).map((stanza) => ({ stanza, share: shareOf(stanza) }));
}

/**
 * The file key of an X25519 stanza, given the Diffie-Hellman result that someone else computed:
 * the key-release group, together. Undefined when the stanza is for another recipient.
 * @throws {CloisterError} `SEALED_STANZA_MALFORMED`
 */
export function unwrapX25519(
  stanza: Stanza,
  sharedSecretPoint: Uint8Array,
  recipientPublicKey: Uint8Array,
): Uint8Array | undefined {
  const share = shareOf(stanza);
  return aeadOpen(wrappingKey(sharedSecretPoint, share, recipientPublicKey), ZERO_NONCE, stanza.body);
}

/** The first file key among stanzas of which most are for others. */
export function firstUnwrapped(
  stanzas: readonly Stanza[],
  unwrapOne: (stanza: Stanza) => Uint8Array | undefined,
): Uint8Array | undefined {
  for (const stanza of stanzas) {
    const fileKey = unwrapOne(stanza);
    if (fileKey !== undefined) return fileKey;
  }
  return undefined;
}

/** Builds the error of a stanza that its own type's rules forbid. */
export function malformedStanza(type: string, why: string): Error {
  return sealedError("SEALED_STANZA_MALFORMED", `A ${type} stanza of the header is malformed: ${why}.`);
}

function isX25519(stanza: Stanza): boolean {
  return stanza.args[0] === "X25519";
}

function unwrapWithSecret(stanza: Stanza, secret: Uint8Array, own: X25519Recipient): Uint8Array | undefined {
  if (!isX25519(stanza)) return undefined;
  let shared: Uint8Array;
  const share = shareOf(stanza);
  try {
    shared = x25519Shared(secret, share);
  } catch {
    throw malformedStanza("X25519", "the share is a low-order point");
  }
  return aeadOpen(wrappingKey(shared, share, own.publicKey), ZERO_NONCE, stanza.body);
}

function shareOf(stanza: Stanza): Uint8Array {
  const share = stanza.args.length === 2 ? decodeBase64(stanza.args[1] as string) : undefined;
  if (!isX25519(stanza) || share?.length !== KEY_BYTES)
    throw malformedStanza("X25519", "it needs one share of 32 bytes");
  if (stanza.body.length !== WRAPPED_KEY_BYTES) throw malformedStanza("X25519", "its body is not 32 bytes");
  return share;
}

function sharedSecret(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
  try {
    return x25519Shared(secret, publicKey);
  } catch (cause) {
    throw sealedError("SEALED_RECIPIENT_MALFORMED", "The recipient is a low-order point.", { cause });
  }
}

function wrappingKey(shared: Uint8Array, share: Uint8Array, publicKey: Uint8Array): Uint8Array {
  return hkdfSha256(shared, concat(share, publicKey), utf8(X25519_LABEL), KEY_BYTES);
}
