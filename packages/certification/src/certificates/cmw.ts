import type { Endorsements, Evidence } from "@cloister/attestation";
import { digestOf, encodeCanonical, type Digest } from "@cloister/core";
import { Shape } from "../shape.ts";

/** The X.509 extension of a conceptual message wrapper, `id-pe-cmw`. RFC 9999 §6 */
export const CMW_OID = "1.3.6.1.5.5.7.1.35";

/** The kind of conceptual message that a wrapper holds. RFC 9999 §4.1, the bits of `ind` */
export const CMW_KINDS = {
  referenceValues: 1,
  endorsements: 2,
  evidence: 4,
  attestationResults: 8,
  appraisalPolicy: 16,
} as const;

const EVIDENCE_TYPE = "application/vnd.cloister.evidence+cbor";
const EVIDENCE_BYTES_MAX = 49_152;
const COLLECTION_BYTES_MAX = 131_072;
const EVIDENCE_MAX = 32;
const PARTS_MAX = 32;
const TEES = /^[a-z0-9-]{1,40}$/;
const shape = new Shape("CMW_MALFORMED", "conceptual message");

/** A conceptual message of RFC 9334 with its media type. */
export interface Cmw {
  readonly mediaType: string;
  readonly value: Uint8Array;
  readonly kinds: number;
}

/** Encodes a wrapper as the CBOR record of RFC 9999 §4.1: an array of type, value and kinds. */
export function encodeCmw(cmw: Cmw): Uint8Array {
  return encodeCanonical([cmw.mediaType, cmw.value, cmw.kinds]);
}

/** Decodes a CBOR record. @throws {CloisterError} `CMW_MALFORMED` */
export function decodeCmw(bytes: Uint8Array): Cmw {
  return readRecord(shape.decode(bytes, COLLECTION_BYTES_MAX), "record");
}

/** Encodes evidence canonically, its named parts included. */
export function encodeEvidence(evidence: Evidence): Uint8Array {
  return encodeCanonical({ tee: evidence.tee, bytes: evidence.bytes, parts: evidence.parts });
}

/** Decodes evidence for form; what is in it is for `verify` to judge. @throws {CloisterError} `CMW_MALFORMED` */
export function decodeEvidence(bytes: Uint8Array): Evidence {
  const document = shape.record(shape.decode(bytes, EVIDENCE_BYTES_MAX), "", ["tee", "bytes"], ["parts"]);
  const tee = shape.text(document.tee, "tee", 40, TEES) as Evidence["tee"];
  const body = shape.bytes(document.bytes, "bytes", EVIDENCE_BYTES_MAX);
  return document.parts === undefined
    ? { tee, bytes: body }
    : { tee, bytes: body, parts: readParts(document.parts) };
}

/** Encodes endorsements canonically. */
export function encodeEndorsements(endorsements: Endorsements): Uint8Array {
  return encodeCanonical({ tee: endorsements.tee, parts: endorsements.parts });
}

/** Decodes endorsements for form. @throws {CloisterError} `CMW_MALFORMED` */
export function decodeEndorsements(bytes: Uint8Array): Endorsements {
  const document = shape.record(shape.decode(bytes, EVIDENCE_BYTES_MAX), "", ["tee", "parts"]);
  return {
    tee: shape.text(document.tee, "tee", 40, TEES) as Endorsements["tee"],
    parts: readParts(document.parts),
  };
}

function readParts(value: unknown): Record<string, Uint8Array> {
  const names = typeof value === "object" && value !== null ? Object.keys(value) : [];
  shape.check(names.length <= PARTS_MAX, "parts", "there are too many");
  const parts = shape.record(value, "parts", names);
  const read = names.map((name) => [name, shape.bytes(parts[name], `parts.${name}`, EVIDENCE_BYTES_MAX)]);
  return Object.fromEntries(read) as Record<string, Uint8Array>;
}

/** The digest by which reports and certificates name endorsements. */
export function endorsementsDigest(endorsements: Endorsements): Digest {
  return digestOf(encodeEndorsements(endorsements));
}

/** The digest by which reports and certificates name evidence. */
export function evidenceDigest(evidence: Evidence): Digest {
  return digestOf(encodeEvidence(evidence));
}

/** What one certificate carries: the authority's result, and the evidence that it rests on, by label. */
export interface CertificateMessages {
  /** Canonical CBOR of the node's or authority's statement. */
  readonly statement: Uint8Array;
  readonly evidence: Readonly<Record<string, Evidence>>;
}

const STATEMENT_LABEL = "statement";
const LABEL = /^evidence(\.[0-9]{1,2})?$/;

/**
 * Encodes a certificate's messages as a CMW collection (RFC 9999 §4.3): a map of labels to records.
 * The statement is an attestation result: what the authority found true when it appraised the evidence.
 */
export function encodeMessages(statementType: string, messages: CertificateMessages): Uint8Array {
  const records: Record<string, unknown> = {
    [STATEMENT_LABEL]: [statementType, messages.statement, CMW_KINDS.attestationResults],
  };
  for (const [label, evidence] of Object.entries(messages.evidence)) {
    records[label] = [EVIDENCE_TYPE, encodeEvidence(evidence), CMW_KINDS.evidence];
  }
  return encodeCanonical(records);
}

/** Decodes a collection that `encodeMessages` wrote. @throws {CloisterError} `CMW_MALFORMED` */
export function decodeMessages(statementType: string, bytes: Uint8Array): CertificateMessages {
  const document = shape.decode(bytes, COLLECTION_BYTES_MAX);
  shape.check(typeof document === "object" && document !== null, "", "it is not a collection");
  const labels = Object.keys(document as object).filter((label) => label !== STATEMENT_LABEL);
  shape.check(labels.length > 0 && labels.length <= EVIDENCE_MAX, "", "it has no or too much evidence");
  const records = shape.record(document, "", [STATEMENT_LABEL, ...labels]);
  const evidence = labels.map((label) => {
    shape.check(LABEL.test(label), label, "it is not a label of evidence");
    const cmw = readRecord(records[label], label);
    shape.check(cmw.mediaType === EVIDENCE_TYPE, `${label}.type`, `it is not ${EVIDENCE_TYPE}`);
    shape.check(cmw.kinds === CMW_KINDS.evidence, `${label}.kinds`, "it is not evidence alone");
    return [label, decodeEvidence(cmw.value)] as const;
  });
  const statement = readRecord(records[STATEMENT_LABEL], STATEMENT_LABEL);
  shape.check(statement.mediaType === statementType, "statement.type", `it is not ${statementType}`);
  shape.check(statement.kinds === CMW_KINDS.attestationResults, "statement.kinds", "it is not a result");
  return { statement: statement.value, evidence: Object.fromEntries(evidence) };
}

function readRecord(value: unknown, path: string): Cmw {
  const parts = shape.list(value, path, 3, (part) => part);
  return {
    mediaType: shape.text(parts[0], `${path}.type`, 127),
    value: shape.bytes(parts[1], `${path}.value`, EVIDENCE_BYTES_MAX),
    kinds: shape.count(parts[2], `${path}.kinds`, 31),
  };
}
