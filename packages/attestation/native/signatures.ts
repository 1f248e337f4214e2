/** The same function as `src/signatures-portable.ts`, on node:crypto, with imported keys kept. */
import { constants, createPublicKey, verify, type KeyObject } from "node:crypto";
import { Memo } from "../src/memo.ts";
import type { PublicKey } from "../src/public-key.ts";
import type { SignatureScheme } from "../src/signatures-portable.ts";

export type { HashName, SignatureScheme } from "../src/signatures-portable.ts";

const KEYS_CACHED_MAX = 512;
const keys = new Memo<KeyObject>(KEYS_CACHED_MAX);

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

export function verifySignature(
  key: PublicKey,
  scheme: SignatureScheme,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    if (!matches(key, scheme)) return false;
    const imported = importKey(key);
    switch (scheme.kind) {
      case "ed25519":
        return verify(null, message, imported, signature);
      case "ecdsa":
        return verify(scheme.hash, message, { key: imported, dsaEncoding: "ieee-p1363" }, signature);
      case "rsa-pkcs1":
        return verify(
          scheme.hash,
          message,
          { key: imported, padding: constants.RSA_PKCS1_PADDING },
          signature,
        );
      case "rsa-pss": {
        const padding = constants.RSA_PKCS1_PSS_PADDING;
        return verify(
          scheme.hash,
          message,
          { key: imported, padding, saltLength: scheme.saltBytes },
          signature,
        );
      }
    }
  } catch {
    return false;
  }
}

function matches(key: PublicKey, scheme: SignatureScheme): boolean {
  if (scheme.kind === "ed25519") return key.algorithm === "ed25519";
  if (scheme.kind === "ecdsa") return key.algorithm === "P-256" || key.algorithm === "P-384";
  return key.algorithm === "rsa";
}

function importKey(key: PublicKey): KeyObject {
  const { spki } = key;
  const name = Buffer.from(spki.buffer, spki.byteOffset, spki.length).toString("base64");
  let imported = keys.get(name);
  if (imported !== undefined) return imported;
  imported = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  keys.set(name, imported);
  return imported;
}
