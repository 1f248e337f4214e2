/**
 * Reference values (RFC 9334 §8.3): which measurements are good, said by k of m builders who built the same
 * source independently. There is no way to say "debug" here: a debug TEE is refused whatever it measures.
 * spec/attestation.md §7
 */
import {
  accept,
  acceptUnless,
  CloisterError,
  codeOf,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  isDigest,
  openSign1,
  refuse,
  sha256,
  signSign1,
  toHex,
  verifySign1,
  type Cbor,
  type Digest,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { assertTime, isWithin } from "../time.ts";
import type { ReferenceValue, TeeKind } from "../types.ts";

const SIGNATURE_TYPE = "application/vnd.cloister.reference-values+cbor";
const DOCUMENT_BYTES_MAX = 1 << 20;
const SIGNATURES_MAX = 64;
const ENTRIES_MAX = 4096;

/** What one program measures on one kind of TEE. */
export interface ReferenceEntry {
  readonly tee: TeeKind;
  readonly measurement: Digest;
  /** The program and its version, as people name it: `cloister-node 1.2.0`. */
  readonly name: string;
}

export interface ReferenceDocument {
  readonly product: string;
  readonly issuedAtMs: number;
  readonly validUntilMs: number;
  /** The source that the builders built. */
  readonly sourceDigest: Digest;
  readonly entries: readonly ReferenceEntry[];
}

/** Writes a document in its one canonical form. @throws {CloisterError} `REFERENCE_VALUES_MALFORMED` */
export function encodeReferenceValues(document: ReferenceDocument): Uint8Array {
  const bytes = encodeCanonical({ version: 1, ...document });
  decodeDocument(bytes);
  return bytes;
}

/** One builder's signature over a document. `builder` is its Ed25519 public key. */
export function signReferenceValues(
  document: Uint8Array,
  builder: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  return signSign1({ contentType: SIGNATURE_TYPE, kid: builder, payload: sha256(document), sign });
}

/** Joins a document and its builders' signatures into what is handed around. */
export function bundleReferenceValues(document: Uint8Array, signatures: readonly Uint8Array[]): Uint8Array {
  return encodeCanonical({ document, signatures });
}

/** Whose word counts, and how many of them must agree. */
export interface BuilderPolicy {
  /** Ed25519 public keys. */
  readonly builders: readonly Uint8Array[];
  readonly threshold: number;
}

/** A document that enough builders signed. */
export interface VerifiedReferenceValues extends ReferenceDocument {
  /** In the form that `appraise` takes. */
  readonly values: readonly ReferenceValue[];
  readonly signedBy: readonly Uint8Array[];
}

/**
 * Verifies a bundle: canonical form, time, and signatures of at least `threshold` different builders. Signatures of
 * others do not count and do not harm; a wrong one under a builder's key is a refusal.
 * Codes: `REFERENCE_VALUES_MALFORMED`, `REFERENCE_VALUES_EXPIRED`, `REFERENCE_VALUES_SIGNATURE_INVALID`,
 * `REFERENCE_VALUES_TOO_FEW_BUILDERS`.
 */
export function verifyReferenceValues(
  bundle: Uint8Array,
  { builders, threshold }: BuilderPolicy,
  nowMs: number,
): Verdict<VerifiedReferenceValues> {
  assertTime(nowMs);
  if (threshold < 1 || threshold > builders.length) {
    return refuse(
      "REFERENCE_VALUES_POLICY_WRONG",
      `A threshold of ${threshold} among ${builders.length} builders is no policy.`,
    );
  }
  const read = readBundle(bundle);
  if (!read.ok) return read;
  const { document, documentBytes, signatures } = read.value;
  const refusals: Refusal[] = [];
  const signedBy = signersOf(sha256(documentBytes), signatures, builders, refusals);
  if (signedBy.length < threshold) {
    const reason = `${signedBy.length} of ${builders.length} builders signed the reference values; ${threshold} are needed.`;
    refusals.push({ code: "REFERENCE_VALUES_TOO_FEW_BUILDERS", reason });
  }
  if (!isWithin(nowMs, document.issuedAtMs, document.validUntilMs)) {
    const reason = `The reference values of ${document.product} do not cover ${new Date(nowMs).toISOString()}.`;
    refusals.push({ code: "REFERENCE_VALUES_EXPIRED", reason, hint: "Fetch the current ones." });
  }
  const values = document.entries.map(({ measurement, name }) => ({ measurement, name }));
  return acceptUnless(refusals, () => ({ ...document, values, signedBy }));
}

function signersOf(
  digest: Uint8Array,
  signatures: readonly Uint8Array[],
  builders: readonly Uint8Array[],
  refusals: Refusal[],
): Uint8Array[] {
  const signers = new Map<string, Uint8Array>();
  for (const bytes of signatures) {
    const statement = openSign1(bytes);
    const builder = builders.find((key) => equalBytes(key, statement.kid));
    if (builder === undefined) continue;
    if (verifySign1(statement, builder, SIGNATURE_TYPE) && equalBytes(statement.payload, digest)) {
      signers.set(toHex(builder), builder);
    } else {
      const reason = `The signature under the builder's key ${toHex(builder)} is not one over these reference values.`;
      refusals.push({ code: "REFERENCE_VALUES_SIGNATURE_INVALID", reason });
    }
  }
  return [...signers.values()];
}

interface Bundle {
  readonly document: ReferenceDocument;
  readonly documentBytes: Uint8Array;
  readonly signatures: readonly Uint8Array[];
}

function readBundle(bytes: Uint8Array): Verdict<Bundle> {
  try {
    if (bytes.length > DOCUMENT_BYTES_MAX) throw malformed("they are larger than any");
    const { document: documentBytes, signatures } = membersOf(decodeCanonical(bytes), [
      "document",
      "signatures",
    ]);
    if (
      !(documentBytes instanceof Uint8Array) ||
      !Array.isArray(signatures) ||
      signatures.length > SIGNATURES_MAX
    ) {
      throw malformed("document or signatures are missing");
    }
    for (const signature of signatures as unknown[]) {
      if (!(signature instanceof Uint8Array)) throw malformed("a signature is no byte string");
      openSign1(signature);
    }
    return accept({
      document: decodeDocument(documentBytes),
      documentBytes,
      signatures: signatures as Uint8Array[],
    });
  } catch (error) {
    const code =
      codeOf(error, "") === "REFERENCE_VALUES_MALFORMED"
        ? (error as Error).message
        : `The reference values are malformed: ${(error as Error).message}`;
    return refuse("REFERENCE_VALUES_MALFORMED", code);
  }
}

function decodeDocument(bytes: Uint8Array): ReferenceDocument {
  const names = ["version", "product", "issuedAtMs", "validUntilMs", "sourceDigest", "entries"] as const;
  const document = membersOf(decodeCanonical(bytes), names);
  const { version, product, issuedAtMs, validUntilMs, sourceDigest, entries } = document;
  if (version !== 1) throw malformed("their version is not 1");
  if (!isText(product) || !isTime(issuedAtMs) || !isTime(validUntilMs))
    throw malformed("product or times are missing");
  if (typeof sourceDigest !== "string" || !isDigest(sourceDigest))
    throw malformed("the source has no digest");
  if (!Array.isArray(entries) || entries.length === 0 || entries.length > ENTRIES_MAX)
    throw malformed("there are no entries, or too many");
  return { product, issuedAtMs, validUntilMs, sourceDigest, entries: (entries as Cbor[]).map(decodeEntry) };
}

const TEES: ReadonlySet<string> = new Set<TeeKind>([
  ...(["tdx", "sgx", "sev-snp", "nvidia", "arm-cca", "arm-psa"] as const),
  ...(["azure-vtpm-snp", "azure-vtpm-tdx", "aws-nitro", "tcg-eventlog"] as const),
]);

function decodeEntry(item: Cbor): ReferenceEntry {
  const { tee, measurement, name } = membersOf(item, ["tee", "measurement", "name"]);
  if (typeof tee !== "string" || !TEES.has(tee)) throw malformed("an entry names no known TEE");
  if (typeof measurement !== "string" || !isDigest(measurement))
    throw malformed("an entry has no measurement");
  if (!isText(name)) throw malformed("an entry has no name");
  return { tee: tee as TeeKind, measurement, name };
}

/** The members of an object that has exactly these: a member nobody knows could change what the rest means. */
function membersOf<N extends string>(value: Cbor, names: readonly N[]): Record<N, Cbor> {
  const isObject =
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
  const got = isObject ? Object.keys(value).toSorted().join() : "";
  if (got !== names.toSorted().join())
    throw malformed(`members are ${got || "missing"}, not ${names.join()}`);
  return value as Record<N, Cbor>;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= 200;
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function malformed(why: string): CloisterError {
  return new CloisterError("REFERENCE_VALUES_MALFORMED", `The reference values are malformed: ${why}.`);
}
