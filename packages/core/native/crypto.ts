/** The same names as `src/crypto-noble.ts`, on node:crypto. Signing keeps the portable, deterministic code. */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  verify,
  type KeyObject,
} from "node:crypto";
import type { EcCurve } from "../src/crypto-noble.ts";

export {
  ecdsaPublicKey,
  ecdsaSign,
  ed25519PublicKey,
  ed25519Sign,
  type EcCurve,
} from "../src/crypto-noble.ts";

const KEYS_CACHED_MAX = 256;
const keys = new Map<string, KeyObject>();

export function sha256(bytes: Uint8Array): Uint8Array {
  return plain(createHash("sha256").update(bytes).digest());
}

export function sha384(bytes: Uint8Array): Uint8Array {
  return plain(createHash("sha384").update(bytes).digest());
}

export function sha512(bytes: Uint8Array): Uint8Array {
  return plain(createHash("sha512").update(bytes).digest());
}

export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return plain(createHmac("sha256", key).update(bytes).digest());
}

export function hkdfSha256(
  secret: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, salt, info, length));
}

export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  try {
    const key = cached(`ed:${base64url(publicKey)}`, () => ({
      kty: "OKP",
      crv: "Ed25519",
      x: base64url(publicKey),
    }));
    return verify(null, message, key, signature);
  } catch {
    return false;
  }
}

export function ecdsaVerify(
  curve: EcCurve,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const width = curve === "P-256" ? 32 : 48;
  if (publicKey.length !== 2 * width + 1 || publicKey[0] !== 4 || signature.length !== 2 * width)
    return false;
  try {
    const key = cached(`${curve}:${base64url(publicKey)}`, () => ({
      kty: "EC",
      crv: curve,
      x: base64url(publicKey.subarray(1, 1 + width)),
      y: base64url(publicKey.subarray(1 + width)),
    }));
    return verify(
      curve === "P-256" ? "sha256" : "sha384",
      message,
      { key, dsaEncoding: "ieee-p1363" },
      signature,
    );
  } catch {
    return false;
  }
}

/** What precedes the 32 bytes of a key in DER. RFC 8410 §4 and §7 */
const X25519_SECRET = Buffer.from("302e020100300506032b656e04220420", "hex");
const X25519_PUBLIC = Buffer.from("302a300506032b656e032100", "hex");

export function x25519PublicKey(secret: Uint8Array): Uint8Array {
  const spki = createPublicKey(x25519Secret(secret)).export({ format: "der", type: "spki" });
  return new Uint8Array(spki.subarray(X25519_PUBLIC.length));
}

export function x25519Shared(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
  requireLength(publicKey);
  const der = Buffer.concat([X25519_PUBLIC, publicKey]);
  const shared = diffieHellman({
    privateKey: x25519Secret(secret),
    publicKey: createPublicKey({ key: der, format: "der", type: "spki" }),
  });
  return plain(shared);
}

function x25519Secret(secret: Uint8Array): KeyObject {
  requireLength(secret);
  const der = Buffer.concat([X25519_SECRET, secret]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  return key;
}

function requireLength(key: Uint8Array): void {
  if (key.length !== 32) throw new RangeError(`An X25519 key has 32 bytes, not ${key.length}.`);
}

/** Importing a key costs as much as a verification, so the most recent ones are kept. */
function cached(name: string, jwk: () => Record<string, string>): KeyObject {
  let key = keys.get(name);
  if (key !== undefined) return key;
  key = createPublicKey({ key: jwk(), format: "jwk" });
  if (keys.size >= KEYS_CACHED_MAX) keys.delete(keys.keys().next().value as string);
  keys.set(name, key);
  return key;
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url");
}

/** Callers get a `Uint8Array`, not a `Buffer`: the two differ in `slice` and in equality of prototypes. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
