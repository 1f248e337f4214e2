import {
  childrenOf,
  derBits,
  derOid,
  derSequence,
  expectTag,
  readBitString,
  readDer,
  readOid,
  readUnsigned,
  TAG,
  DerError,
} from "./der.ts";

export type KeyAlgorithm = "P-256" | "P-384" | "ed25519" | "rsa";

/** A public key as certificates hold it (RFC 5280 §4.1.2.7). */
export interface PublicKey {
  readonly algorithm: KeyAlgorithm;
  /** EC: the uncompressed point; Ed25519: 32 bytes; RSA: the DER of RSAPublicKey. */
  readonly raw: Uint8Array;
  /** RSA only: modulus and exponent, big-endian. */
  readonly rsa?: { readonly modulus: Uint8Array; readonly exponent: Uint8Array };
  /** DER of the SubjectPublicKeyInfo. Its SHA-256 is what trust roots are pinned by. */
  readonly spki: Uint8Array;
}

const EC_PUBLIC_KEY = "1.2.840.10045.2.1";
const RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
const ED25519 = "1.3.101.112";
const CURVES = { "1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384" } as const;
const POINT_BYTES = { "P-256": 65, "P-384": 97 };

/** Reads a SubjectPublicKeyInfo. @throws {DerError} `DER_MALFORMED`, also for algorithms that nothing here uses. */
export function parsePublicKey(spki: Uint8Array): PublicKey {
  const [algorithm, bits] = childrenOf(readDer(spki, TAG.sequence));
  const [oid, parameters] = childrenOf(expectTag(algorithm, TAG.sequence));
  const raw = readBitString(bits);
  switch (readOid(oid)) {
    case EC_PUBLIC_KEY: {
      const curve = CURVES[readOid(parameters) as keyof typeof CURVES];
      if (curve === undefined || raw.length !== POINT_BYTES[curve] || raw[0] !== 4) {
        throw new DerError("the key is on a curve, or in a form, that is not supported");
      }
      return { algorithm: curve, raw, spki };
    }
    case ED25519:
      if (raw.length !== 32) throw new DerError("an Ed25519 key does not have 32 bytes");
      return { algorithm: "ed25519", raw, spki };
    case RSA_ENCRYPTION: {
      const [modulus, exponent] = childrenOf(readDer(raw, TAG.sequence)).map(readUnsigned);
      return { algorithm: "rsa", raw, rsa: rsaWithin(modulus, exponent), spki };
    }
    default:
      throw new DerError("the key's algorithm is not supported");
  }
}

const RSA_BYTES_MIN = 256;
const RSA_BYTES_MAX = 1024;
const RSA_EXPONENT_BYTES_MAX = 4;

/** A stranger's key decides what a verification costs (its size, its exponent) and whether it means anything (e = 1). */
function rsaWithin(
  modulus: Uint8Array = new Uint8Array(),
  exponent: Uint8Array = new Uint8Array(),
): NonNullable<PublicKey["rsa"]> {
  const last = exponent.at(-1) ?? 0;
  const usual = exponent.length > 1 || last > 1;
  if (
    modulus.length < RSA_BYTES_MIN ||
    modulus.length > RSA_BYTES_MAX ||
    exponent.length > RSA_EXPONENT_BYTES_MAX ||
    !usual ||
    last % 2 === 0
  ) {
    throw new DerError("an RSA key does not have 2048 to 8192 bits and a small odd exponent");
  }
  return { modulus, exponent };
}

/** AlgorithmIdentifiers as RFC 5480, 8410 and 8017 write them. */
const IDENTIFIERS: Readonly<Record<KeyAlgorithm, Uint8Array>> = {
  "P-256": derSequence(derOid(EC_PUBLIC_KEY), derOid("1.2.840.10045.3.1.7")),
  "P-384": derSequence(derOid(EC_PUBLIC_KEY), derOid("1.3.132.0.34")),
  ed25519: derSequence(derOid(ED25519)),
  rsa: derSequence(derOid(RSA_ENCRYPTION), new Uint8Array([TAG.null, 0])),
};

/** Makes a public key from its raw form (RSA: the DER of RSAPublicKey). @throws {DerError} */
export function publicKeyFrom(algorithm: KeyAlgorithm, raw: Uint8Array): PublicKey {
  return parsePublicKey(derSequence(IDENTIFIERS[algorithm], derBits(raw)));
}
