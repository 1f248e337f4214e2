/** Verification from a SubjectPublicKeyInfo in portable code; `native/signatures.ts` is its twin on node:crypto. */
import { p256, p384 } from "@noble/curves/nist.js";
import { equalBytes, ed25519Verify, sha256, sha384, sha512, concat, toHex } from "@cloister/core";
import type { PublicKey } from "./public-key.ts";

export type HashName = "sha256" | "sha384" | "sha512";

/** How a signature was made. ECDSA signatures are r and s, each as wide as the curve. */
export type SignatureScheme =
  | { readonly kind: "ecdsa"; readonly hash: HashName }
  | { readonly kind: "ed25519" }
  | { readonly kind: "rsa-pkcs1"; readonly hash: HashName }
  | { readonly kind: "rsa-pss"; readonly hash: HashName; readonly saltBytes: number };

const HASHES = { sha256, sha384, sha512 };

/** Compares public byte strings; unlike `equalBytes` it may stop early. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Verifies a signature. False on any mismatch of key, scheme or form; never throws. */
export function verifySignature(
  key: PublicKey,
  scheme: SignatureScheme,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    if (scheme.kind === "ed25519") {
      return key.algorithm === "ed25519" && ed25519Verify(key.raw, message, signature);
    }
    const digest = HASHES[scheme.hash](message);
    if (scheme.kind === "ecdsa") {
      if (key.algorithm !== "P-256" && key.algorithm !== "P-384") return false;
      const curve = key.algorithm === "P-256" ? p256 : p384;
      return curve.verify(signature, digest, key.raw, { prehash: false, lowS: false });
    }
    if (key.algorithm !== "rsa" || key.rsa === undefined) return false;
    const encoded = rsaPublic(key.rsa.modulus, key.rsa.exponent, signature);
    if (encoded === undefined) return false;
    return scheme.kind === "rsa-pkcs1"
      ? equalBytes(encoded, pkcs1Encoding(scheme.hash, digest, encoded.length))
      : pssMatches(encoded, digest, scheme.hash, scheme.saltBytes, bitLength(key.rsa.modulus) - 1);
  } catch {
    return false;
  }
}

/** RSAVP1 (RFC 8017 §5.2.2), left-padded to the modulus' length. */
function rsaPublic(modulus: Uint8Array, exponent: Uint8Array, signature: Uint8Array): Uint8Array | undefined {
  if (signature.length !== modulus.length || modulus.length > 1024 || exponent.length > 8) return undefined;
  const n = BigInt(`0x${toHex(modulus)}`);
  let base = BigInt(`0x${toHex(signature)}`);
  if (base >= n) return undefined;
  let result = 1n;
  for (let e = BigInt(`0x${toHex(exponent)}`); e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * base) % n;
    base = (base * base) % n;
  }
  const hex = result.toString(16).padStart(2 * modulus.length, "0");
  return Uint8Array.from({ length: modulus.length }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}

const DIGEST_INFO = {
  sha256: [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20],
  sha384: [0x30, 0x41, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2, 5, 0, 4, 0x30],
  sha512: [0x30, 0x51, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 0x40],
};

/** EMSA-PKCS1-v1_5 (RFC 8017 §9.2). */
function pkcs1Encoding(hash: HashName, digest: Uint8Array, length: number): Uint8Array {
  const info = concat(new Uint8Array(DIGEST_INFO[hash]), digest);
  return concat(
    new Uint8Array([0, 1]),
    new Uint8Array(length - info.length - 3).fill(0xff),
    new Uint8Array(1),
    info,
  );
}

/** EMSA-PSS-VERIFY (RFC 8017 §9.1.2) with MGF1 over the same hash. */
function pssMatches(
  encoded: Uint8Array,
  digest: Uint8Array,
  hash: HashName,
  saltBytes: number,
  bits: number,
): boolean {
  const em = encoded.subarray(encoded.length - Math.ceil(bits / 8));
  const hashBytes = digest.length;
  if (em.length < hashBytes + saltBytes + 2 || em.at(-1) !== 0xbc) return false;
  const masked = em.subarray(0, em.length - hashBytes - 1);
  const expected = em.subarray(masked.length, -1);
  const db = mgf1(expected, masked.length, hash).map((byte, i) => byte ^ (masked[i] as number));
  const unusedBits = 8 * em.length - bits;
  if (unusedBits > 0 && (masked[0] as number) >> (8 - unusedBits) !== 0) return false;
  db[0] = (db[0] as number) & (0xff >> unusedBits);
  const separator = db.length - saltBytes - 1;
  if (db.subarray(0, separator).some((byte) => byte !== 0) || db[separator] !== 1) return false;
  const salt = db.subarray(separator + 1);
  return equalBytes(HASHES[hash](concat(new Uint8Array(8), digest, salt)), expected);
}

function mgf1(seed: Uint8Array, length: number, hash: HashName): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let counter = 0, made = 0; made < length; counter++) {
    const block = HASHES[hash](concat(seed, new Uint8Array([0, 0, counter >> 8, counter & 0xff])));
    blocks.push(block);
    made += block.length;
  }
  return concat(...blocks).slice(0, length);
}

function bitLength(modulus: Uint8Array): number {
  return 8 * modulus.length - Math.clz32(modulus[0] as number) + 24;
}
