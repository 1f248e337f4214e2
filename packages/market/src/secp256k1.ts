import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { toHex, type Address } from "@cloister/core";

const SIGNATURE_BYTES = 65;

/** Signs a 32-byte digest deterministically (RFC 6979): r ‖ s ‖ v with s in the lower half and v 27 or 28. */
export function signDigest(digest: Uint8Array, secret: Uint8Array): Uint8Array {
  const recovered = secp256k1.sign(digest, secret, { prehash: false, lowS: true, format: "recovered" });
  const signature = new Uint8Array(SIGNATURE_BYTES);
  signature.set(recovered.subarray(1), 0);
  signature[64] = 27 + (recovered[0] as number);
  return signature;
}

/** Who signed a digest, by the contract's own rules; undefined when the signature is malformed or malleable. */
export function recoverSigner(digest: Uint8Array, signature: Uint8Array): Address | undefined {
  const v = signature[64];
  if (signature.length !== SIGNATURE_BYTES || (v !== 27 && v !== 28)) return undefined;
  const recovered = new Uint8Array(SIGNATURE_BYTES);
  recovered[0] = v - 27;
  recovered.set(signature.subarray(0, 64), 1);
  try {
    if (secp256k1.Signature.fromBytes(recovered, "recovered").hasHighS()) return undefined;
    return addressOfPoint(secp256k1.recoverPublicKey(recovered, digest, { prehash: false }));
  } catch {
    return undefined;
  }
}

/** The address of a secp256k1 secret. */
export function addressOfSecret(secret: Uint8Array): Address {
  return addressOfPoint(secp256k1.getPublicKey(secret, false));
}

function addressOfPoint(point: Uint8Array): Address {
  const whole = point.length === 65 ? point : secp256k1.Point.fromBytes(point).toBytes(false);
  return `0x${toHex(keccak_256(whole.subarray(1)).subarray(12))}` as Address;
}
