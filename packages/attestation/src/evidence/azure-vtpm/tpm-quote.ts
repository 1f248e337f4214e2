/** A TPM 2.0 quote: TPMS_ATTEST and its signature (TCG TPM 2.0 Library, Part 2, §10.12, §11.3). */
import { verifySignature, type HashName, type SignatureScheme } from "#signatures";
import { CloisterError, concat, equalBytes, sha256, sha384, sha512 } from "@cloister/core";
import type { PublicKey } from "../../public-key.ts";
import { Reader } from "../../reader.ts";

export interface TpmQuote {
  /** What the verifier asked with. */
  readonly nonce: Uint8Array;
  readonly firmwareVersion: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  /** The registers that were quoted, of one bank. */
  readonly selection: { readonly hash: HashName; readonly indices: readonly number[] };
  readonly pcrDigest: Uint8Array;
}

const CODE = "TPM_QUOTE_MALFORMED";
const GENERATED = 0xff544347;
const ATTEST_QUOTE = 0x8018;
const HASHES: Readonly<Record<number, HashName>> = { 0x0b: "sha256", 0x0c: "sha384", 0x0d: "sha512" };
const HASH_FUNCTIONS = { sha256, sha384, sha512 };
export const HASH_BYTES: Readonly<Record<HashName, number>> = { sha256: 32, sha384: 48, sha512: 64 };
const RSASSA = 0x14;
const RSAPSS = 0x16;

/** Reads a quote. @throws {CloisterError} `TPM_QUOTE_MALFORMED` */
export function parseTpmQuote(bytes: Uint8Array): TpmQuote {
  const reader = new Reader(bytes, CODE);
  if (reader.u32be() !== GENERATED) throw reader.malformed("it was not made by a TPM");
  if (reader.u16be() !== ATTEST_QUOTE) throw reader.malformed("it is no quote");
  reader.take(reader.u16be());
  const nonce = reader.take(reader.u16be());
  reader.take(8);
  const resetCount = reader.u32be();
  const restartCount = reader.u32be();
  reader.u8();
  const firmwareVersion = reader.u64be();
  const selection = readSelection(reader);
  const pcrDigest = reader.take(reader.u16be());
  reader.end();
  return { nonce, firmwareVersion, resetCount, restartCount, selection, pcrDigest };
}

function readSelection(reader: Reader): TpmQuote["selection"] {
  if (reader.u32be() !== 1) throw reader.malformed("it is not about one bank of registers");
  const hash = HASHES[reader.u16be()];
  if (hash === undefined) throw reader.malformed("the bank's hash is not known");
  const bits = reader.take(reader.u8());
  if (bits.length > 4) throw reader.malformed("the bank has too many registers");
  const indices = Array.from({ length: 8 * bits.length }, (_, i) => i).filter(
    (i) => (((bits[i >> 3] as number) >> (i & 7)) & 1) === 1,
  );
  return { hash, indices };
}

/**
 * Tells whether the registers (one after the other, from register 0 on, of the quoted bank) are those
 * that the quote is about. The digest's hash is that of the attestation key's scheme: SHA-256 for vTPMs.
 */
export function matchesPcrs({ selection, pcrDigest }: TpmQuote, pcrs: readonly Uint8Array[]): boolean {
  const values = selection.indices.map((index) => pcrs[index]);
  if (!values.every((value) => value !== undefined)) return false;
  const whole = concat(...values);
  return Object.entries(HASH_FUNCTIONS).some(
    ([name, hash]) => pcrDigest.length === HASH_BYTES[name as HashName] && equalBytes(hash(whole), pcrDigest),
  );
}

/**
 * Tells whether the RSA key signed the quote. The signature is bare, or a TPMT_SIGNATURE.
 * Bare ones are RSASSA over SHA-256, which is what Azure's key makes.
 */
export function verifyTpmQuote(message: Uint8Array, signature: Uint8Array, key: PublicKey): boolean {
  const { scheme, bytes } = readSignature(signature, key.rsa?.modulus.length ?? 0);
  return verifySignature(key, scheme, message, bytes);
}

function readSignature(
  signature: Uint8Array,
  keyBytes: number,
): { scheme: SignatureScheme; bytes: Uint8Array } {
  if (signature.length === keyBytes)
    return { scheme: { kind: "rsa-pkcs1", hash: "sha256" }, bytes: signature };
  const reader = new Reader(signature, CODE);
  const algorithm = reader.u16be();
  const hash = HASHES[reader.u16be()];
  const bytes = reader.take(reader.u16be());
  reader.end();
  if (hash === undefined || (algorithm !== RSASSA && algorithm !== RSAPSS)) {
    throw new CloisterError(CODE, "The quote's signature is of an unknown kind.");
  }
  if (algorithm === RSASSA) return { scheme: { kind: "rsa-pkcs1", hash }, bytes };
  return { scheme: { kind: "rsa-pss", hash, saltBytes: HASH_BYTES[hash] }, bytes };
}
