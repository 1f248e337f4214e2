/**
 * The primitives every package shares, in portable code. `#crypto` resolves to this file in the
 * browser and to `native/crypto.ts` (node:crypto behind the same names) in Node; one test holds the
 * two against each other.
 */
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { p256, p384 } from "@noble/curves/nist.js";
import { hkdf as nobleHkdf } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 as nobleSha256, sha384 as nobleSha384, sha512 as nobleSha512 } from "@noble/hashes/sha2.js";

export type EcCurve = "P-256" | "P-384";

export function sha256(bytes: Uint8Array): Uint8Array {
  return nobleSha256(bytes);
}

export function sha384(bytes: Uint8Array): Uint8Array {
  return nobleSha384(bytes);
}

export function sha512(bytes: Uint8Array): Uint8Array {
  return nobleSha512(bytes);
}

export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return hmac(nobleSha256, key, bytes);
}

/** HKDF-SHA-256 (RFC 5869). */
export function hkdfSha256(
  secret: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return nobleHkdf(nobleSha256, secret, salt, info, length);
}

/** The 32-byte public key of a 32-byte Ed25519 seed. */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  return ed25519.getPublicKey(seed);
}

/** Signs with Ed25519 (RFC 8032); 64 bytes. */
export function ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array {
  return ed25519.sign(message, seed);
}

/** Verifies Ed25519. False on any malformed key or signature. */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}

/** The 32-byte public key of a 32-byte X25519 secret. */
export function x25519PublicKey(secret: Uint8Array): Uint8Array {
  return x25519.getPublicKey(secret);
}

/** X25519 (RFC 7748). @throws on a low-order point. */
export function x25519Shared(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
  return x25519.getSharedSecret(secret, publicKey);
}

/**
 * Verifies ECDSA over the curve's own hash (SHA-256 for P-256, SHA-384 for P-384).
 * `publicKey` is the uncompressed point, 0x04 first; `signature` is r and s, fixed width.
 * False on any malformed input.
 */
export function ecdsaVerify(
  curve: EcCurve,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    return (curve === "P-256" ? p256 : p384).verify(signature, message, publicKey, {
      lowS: false,
      prehash: true,
    });
  } catch {
    return false;
  }
}

/** Signs with ECDSA over the curve's own hash; r and s, fixed width, deterministic (RFC 6979). */
export function ecdsaSign(curve: EcCurve, secret: Uint8Array, message: Uint8Array): Uint8Array {
  return (curve === "P-256" ? p256 : p384).sign(message, secret, { lowS: false, prehash: true });
}

/** The uncompressed public point of a secret scalar. */
export function ecdsaPublicKey(curve: EcCurve, secret: Uint8Array): Uint8Array {
  return (curve === "P-256" ? p256 : p384).getPublicKey(secret, false);
}
