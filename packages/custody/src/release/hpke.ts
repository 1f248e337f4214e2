/**
 * HPKE (RFC 9180), base mode, one message: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
 * Wraps partial keys to the loader's attested key.
 */
import { concat, hmacSha256, utf8, x25519PublicKey, x25519Shared, type Entropy } from "@cloister/core";
import { aeadOpen, aeadSeal } from "../sealed/small.ts";

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const KEM_X25519 = 0x0020;
const NONE = new Uint8Array(0);
const kemSuite = concat(utf8("KEM"), u16(KEM_X25519));

/** Seals one message to a public key: the encapsulated key, then the ciphertext. */
export function hpkeSeal(
  publicKey: Uint8Array,
  info: Uint8Array,
  plaintext: Uint8Array,
  entropy: Entropy,
): Uint8Array {
  const ephemeral = entropy(KEY_BYTES);
  const encapsulated = x25519PublicKey(ephemeral);
  const shared = kemSecret(x25519Shared(ephemeral, publicKey), encapsulated, publicKey);
  const { key, nonce } = hpkeSchedule(KEM_X25519, shared, info);
  return concat(encapsulated, aeadSeal(key, nonce, plaintext));
}

/** Opens one message; undefined when it is not for this key and this info. */
export function hpkeOpen(secret: Uint8Array, info: Uint8Array, message: Uint8Array): Uint8Array | undefined {
  const encapsulated = message.subarray(0, KEY_BYTES);
  if (encapsulated.length < KEY_BYTES) return undefined;
  let point: Uint8Array;
  try {
    point = x25519Shared(secret, encapsulated);
  } catch {
    return undefined;
  }
  const { key, nonce } = hpkeSchedule(
    KEM_X25519,
    kemSecret(point, encapsulated, x25519PublicKey(secret)),
    info,
  );
  return aeadOpen(key, nonce, message.subarray(KEY_BYTES));
}

/** The key schedule of RFC 9180 §5.1 for one message in base mode, whatever the KEM was. */
export function hpkeSchedule(
  kemId: number,
  shared: Uint8Array,
  info: Uint8Array,
): { key: Uint8Array; nonce: Uint8Array } {
  const suite = concat(utf8("HPKE"), u16(kemId), u16(0x0001), u16(0x0003));
  const infoHash = labeledExtract(suite, NONE, "info_hash", info);
  const context = concat(Uint8Array.of(0), labeledExtract(suite, NONE, "psk_id_hash", NONE), infoHash);
  const secret = labeledExtract(suite, shared, "secret", NONE);
  return {
    key: labeledExpand(suite, secret, "key", context, KEY_BYTES),
    nonce: labeledExpand(suite, secret, "base_nonce", context, NONCE_BYTES),
  };
}

function kemSecret(point: Uint8Array, encapsulated: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const pseudoRandomKey = labeledExtract(kemSuite, NONE, "eae_prk", point);
  return labeledExpand(
    kemSuite,
    pseudoRandomKey,
    "shared_secret",
    concat(encapsulated, publicKey),
    KEY_BYTES,
  );
}

function labeledExtract(suite: Uint8Array, salt: Uint8Array, label: string, secret: Uint8Array): Uint8Array {
  // HKDF-Extract is HMAC with the salt as its key; an empty salt and one of 32 zero bytes are the same key.
  return hmacSha256(salt, concat(utf8("HPKE-v1"), suite, utf8(label), secret));
}

/** HKDF-Expand for outputs of at most one block, which are all that this suite needs. */
function labeledExpand(
  suite: Uint8Array,
  pseudoRandomKey: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
): Uint8Array {
  const labeled = concat(u16(length), utf8("HPKE-v1"), suite, utf8(label), info);
  return hmacSha256(pseudoRandomKey, concat(labeled, Uint8Array.of(1))).subarray(0, length);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
