/** COSE_Sign1 and COSE_Key (RFC 9052 §4.2, §7) as devices make them, and public keys in their other forms. */
import { verifySignature, type HashName } from "#signatures";
import { CloisterError, concat, encodeCanonical, fromBase64, fromUtf8 } from "@cloister/core";
import { publicKeyFrom, parsePublicKey, type PublicKey } from "../public-key.ts";
import { CborTag, decodeCbor, type CborItem, type CborKey } from "./cbor.ts";

const TAG_MAC0 = 17;
const TAG_SIGN1 = 18;
const TAG_CWT = 61;
const ALG = 1;
const ALGORITHMS: ReadonlyMap<CborItem, HashName> = new Map([
  [-7, "sha256"],
  [-35, "sha384"],
  [-36, "sha512"],
]);

/** A signed or authenticated message, read and judged by nobody yet. */
export interface CoseMessage {
  readonly kind: "sign1" | "mac0";
  readonly protectedHeader: Uint8Array;
  readonly headers: ReadonlyMap<CborKey, CborItem>;
  readonly payload: Uint8Array;
  /** Signature or tag. */
  readonly signature: Uint8Array;
}

/**
 * Reads COSE_Sign1, tagged or bare, or COSE_Mac0, tagged.
 * @throws {CloisterError} `COSE_MALFORMED`, `CBOR_MALFORMED`
 */
export function parseCose(bytes: Uint8Array): CoseMessage {
  const whole = decodeCbor(bytes);
  // A CWT may say that it is one (RFC 8392 §6), around the tag that says how it is protected.
  const item = whole instanceof CborTag && whole.tag === TAG_CWT ? whole.item : whole;
  const tagged = item instanceof CborTag;
  if (tagged && item.tag !== TAG_SIGN1 && item.tag !== TAG_MAC0) throw malformed(`its tag is ${item.tag}`);
  const parts = tagged ? item.item : item;
  if (!Array.isArray(parts) || parts.length !== 4) throw malformed("it is not an array of four");
  const [protectedHeader, unprotected, payload, signature] = parts;
  if (
    !(
      protectedHeader instanceof Uint8Array &&
      payload instanceof Uint8Array &&
      signature instanceof Uint8Array
    ) ||
    !(unprotected instanceof Map)
  ) {
    throw malformed("its members have other types");
  }
  const headers = protectedHeader.length === 0 ? new Map<CborKey, CborItem>() : decodeCbor(protectedHeader);
  if (!(headers instanceof Map)) throw malformed("its protected header is not a map");
  const kind = tagged && item.tag === TAG_MAC0 ? "mac0" : "sign1";
  return { kind, protectedHeader, headers, payload, signature };
}

/** Tells whether the key made the signature of a COSE_Sign1, with an algorithm that its protected header names. */
export function verifyCose(
  { kind, headers, protectedHeader, payload, signature }: CoseMessage,
  key: PublicKey,
): boolean {
  if (kind !== "sign1") return false;
  const signed = encodeCanonical(["Signature1", protectedHeader, new Uint8Array(0), payload]);
  const algorithm = headers.get(ALG);
  if (algorithm === -8) return verifySignature(key, { kind: "ed25519" }, signed, signature);
  const hash = ALGORITHMS.get(algorithm);
  return hash !== undefined && verifySignature(key, { kind: "ecdsa", hash }, signed, signature);
}

const COSE_CURVES: ReadonlyMap<CborItem, "P-256" | "P-384"> = new Map([
  [1, "P-256"],
  [2, "P-384"],
]);

/** Reads a COSE_Key of an elliptic curve. @throws {CloisterError} `COSE_MALFORMED`, `CBOR_MALFORMED` */
export function parseCoseKey(bytes: Uint8Array): PublicKey {
  const key = decodeCbor(bytes);
  if (!(key instanceof Map) || key.get(1) !== 2) throw malformed("the key is not one of an elliptic curve");
  const curve = COSE_CURVES.get(key.get(-1));
  const [x, y] = [key.get(-2), key.get(-3)];
  if (curve === undefined || !(x instanceof Uint8Array && y instanceof Uint8Array)) {
    throw malformed("the key is on another curve, or not in the form of two coordinates");
  }
  return ecKey(curve, x, y);
}

/** Reads an uncompressed point whose length tells the curve. @throws {CloisterError} `COSE_MALFORMED` */
export function parseRawPoint(point: Uint8Array): PublicKey {
  if (point[0] !== 4 || (point.length !== 65 && point.length !== 97)) throw malformed("the key is no point");
  return publicKeyFrom(point.length === 65 ? "P-256" : "P-384", point);
}

/**
 * Reads a public key as JWK (RFC 7517), PEM or DER SubjectPublicKeyInfo, or COSE_Key.
 * @throws {CloisterError} `COSE_MALFORMED`, `CBOR_MALFORMED`; {DerError} `DER_MALFORMED`
 */
export function parseAnyPublicKey(bytes: Uint8Array): PublicKey {
  if (bytes.length > 16 * 1024) throw malformed("the key is larger than any key");
  if (bytes[0] === 0x30) return parsePublicKey(bytes);
  if ((bytes[0] ?? 0) >> 5 === 5) return parseCoseKey(bytes);
  const text = fromUtf8(bytes).trim();
  const pem = /^-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]*)-----END PUBLIC KEY-----$/.exec(text);
  if (pem !== null) return parsePublicKey(fromBase64((pem[1] ?? "").replaceAll(/\s/g, "")));
  return parseJwk(text);
}

function parseJwk(text: string): PublicKey {
  let jwk: Record<string, unknown>;
  try {
    jwk = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    throw malformed("the key is neither JWK nor PEM");
  }
  const { kty, crv, x, y } = jwk;
  if (
    kty !== "EC" ||
    (crv !== "P-256" && crv !== "P-384") ||
    typeof x !== "string" ||
    typeof y !== "string"
  ) {
    throw malformed("the JWK is not a key on P-256 or P-384");
  }
  return ecKey(crv, fromBase64(x), fromBase64(y));
}

function ecKey(curve: "P-256" | "P-384", x: Uint8Array, y: Uint8Array): PublicKey {
  const width = curve === "P-256" ? 32 : 48;
  if (x.length > width || y.length > width) throw malformed("a coordinate is too long");
  const padded = [x, y].map((number) => concat(new Uint8Array(width - number.length), number));
  return publicKeyFrom(curve, concat(new Uint8Array([4]), ...padded));
}

function malformed(why: string): CloisterError {
  return new CloisterError("COSE_MALFORMED", `The COSE structure cannot be read: ${why}.`);
}
