import { ed25519Sign, ed25519Verify } from "#crypto";
import { decodeCanonical, encodeCanonical } from "./cbor.ts";
import { CloisterError } from "./errors.ts";

/** COSE algorithm EdDSA (RFC 9053 §2.2). */
const ALG_EDDSA = -8;
const HEADER_ALG = 1;
const HEADER_CONTENT_TYPE = 3;
const HEADER_KID = 4;

/** A signed statement, opened but judged by nobody yet. */
export interface Sign1 {
  /** Domain of the statement, e.g. `application/vnd.cloister.order-report+cbor`. */
  readonly contentType: string;
  readonly kid: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  /** The bytes the signature covers: the Sig_structure of RFC 9052 §4.4. */
  readonly signed: Uint8Array;
}

/**
 * Signs a payload as an untagged COSE_Sign1 with Ed25519. The content type is in the protected header:
 * it separates the domains, so that a signature on one kind of statement is never one on another.
 */
export function signSign1(statement: {
  contentType: string;
  kid: Uint8Array;
  payload: Uint8Array;
  sign: (message: Uint8Array) => Uint8Array;
}): Uint8Array {
  const header = encodeCanonical(
    new Map<number, unknown>([
      [HEADER_ALG, ALG_EDDSA],
      [HEADER_CONTENT_TYPE, statement.contentType],
      [HEADER_KID, statement.kid],
    ]),
  );
  const signature = statement.sign(sigStructure(header, statement.payload));
  return encodeCanonical([header, {}, statement.payload, signature]);
}

/** A signer for `signSign1` from an Ed25519 seed. */
export function ed25519Signer(seed: Uint8Array): (message: Uint8Array) => Uint8Array {
  return (message) => ed25519Sign(seed, message);
}

/**
 * Opens a COSE_Sign1 without judging its signature.
 * @throws {CloisterError} `COSE_MALFORMED`; `CborError` when it is not canonical CBOR.
 */
export function openSign1(bytes: Uint8Array): Sign1 {
  const parts = decodeCanonical(bytes);
  if (!Array.isArray(parts) || parts.length !== 4) throw malformed("it is not an array of four");
  const [header, unprotected, payload, signature] = parts as unknown[];
  if (!(header instanceof Uint8Array && payload instanceof Uint8Array && signature instanceof Uint8Array)) {
    throw malformed("header, payload and signature must be byte strings");
  }
  if (!isEmptyMap(unprotected)) throw malformed("the unprotected header must be empty");
  const fields = decodeCanonical(header);
  if (!(fields instanceof Map) || fields.size !== 3)
    throw malformed("the protected header must hold alg, type and kid");
  const contentType: unknown = fields.get(HEADER_CONTENT_TYPE);
  const kid: unknown = fields.get(HEADER_KID);
  if (fields.get(HEADER_ALG) !== ALG_EDDSA) throw malformed("the algorithm is not EdDSA");
  if (typeof contentType !== "string" || !(kid instanceof Uint8Array))
    throw malformed("type or kid is missing");
  return { contentType, kid, payload, signature, signed: sigStructure(header, payload) };
}

/** Tells whether `publicKey` (Ed25519, 32 bytes) made this statement of this kind. */
export function verifySign1(statement: Sign1, publicKey: Uint8Array, contentType: string): boolean {
  return (
    statement.contentType === contentType && ed25519Verify(publicKey, statement.signed, statement.signature)
  );
}

function sigStructure(header: Uint8Array, payload: Uint8Array): Uint8Array {
  return encodeCanonical(["Signature1", header, new Uint8Array(0), payload]);
}

function isEmptyMap(value: unknown): boolean {
  if (value instanceof Map) return value.size === 0;
  return (
    typeof value === "object" && value !== null && Object.keys(value).length === 0 && !Array.isArray(value)
  );
}

function malformed(why: string): CloisterError {
  return new CloisterError("COSE_MALFORMED", `The signed statement is not a COSE_Sign1 of ours: ${why}.`);
}
