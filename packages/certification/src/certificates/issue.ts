import {
  bindReportData,
  buildCertificate,
  buildCrl,
  der,
  derOctets,
  derSequence,
  derOid,
  nameOf,
  OID,
  publicKeyFrom,
  usageExtensions,
  type CertificateFields,
  type Evidence,
  type Issuer,
} from "@cloister/attestation";
import {
  assertInvariant,
  digestBytes,
  fromHex,
  sha256,
  utf8,
  type Digest,
  type NodeId,
} from "@cloister/core";
import { CMW_OID, encodeMessages } from "./cmw.ts";
import {
  AUTHORITY_STATEMENT_TYPE,
  authorityKeysDigest,
  encodeAuthorityStatement,
  encodeNodeStatement,
  NODE_STATEMENT_TYPE,
  nodeKeysDigest,
} from "./statements.ts";
import type { AuthorityStatement, NodeKeys, NodeStatement, Realm } from "./types.ts";

const ORGANIZATION = "Cloister";
const CERTIFY_DOMAIN = "cloister/certify/v1";
/** Clocks differ; a certificate is good from a little before it was made. */
export const CERTIFICATE_SKEW_MS = 5 * 60_000;
const SERIAL_BYTES = 16;
const EKU_SERVER = "1.3.6.1.5.5.7.3.1";
const EKU_CLIENT = "1.3.6.1.5.5.7.3.2";

/** What is left to do: sign `toBeSigned` with the authority's key, alone or with others, and finish. */
export interface UnsignedCertificate {
  readonly toBeSigned: Uint8Array;
  /** Puts the Ed25519 signature (64 bytes) in its place and gives the DER. */
  finish(signature: Uint8Array): Uint8Array;
}

/** What every certificate needs besides what it says. */
export interface IssueOptions {
  readonly nowMs: number;
  readonly lifetimeMs: number;
  /** 16 random bytes: serial numbers must not be guessable. */
  readonly serial: Uint8Array;
}

/** The report data by which a node's evidence answers an authority's challenge. spec/certificates.md §2 */
export function certifyReportData(challenge: Uint8Array, keys: NodeKeys): Uint8Array {
  return bindReportData(CERTIFY_DOMAIN, challenge, digestBytes(nodeKeysDigest(keys)));
}

/** The report data by which a member's evidence vouches for the authority's key. spec/certificates.md §5 */
export function authorityReportData(
  key: Uint8Array,
  statement: AuthorityStatement,
  index: number,
): Uint8Array {
  const digest: Digest = authorityKeysDigest(key, statement);
  return bindReportData(CERTIFY_DOMAIN, statement.challenge, digestBytes(digest), new Uint8Array([index]));
}

/** The name in a node certificate's subjectAltName. */
export function nodeUri(realm: Realm, node: NodeId): string {
  return `cloister://${realm.chainId}/${realm.contract}/node/${node}`;
}

/** The name in an authority certificate's subjectAltName. */
export function authorityUri(realm: Realm): string {
  return `cloister://${realm.chainId}/${realm.contract}/authority`;
}

/** Prepares the self-signed certificate of an authority. `evidence` is by member index. */
export function prepareAuthorityCertificate(
  options: IssueOptions & {
    readonly key: Uint8Array;
    readonly statement: AuthorityStatement;
    readonly evidence: Readonly<Record<number, Evidence>>;
  },
): UnsignedCertificate {
  const { key, statement } = options;
  const labelled = Object.entries(options.evidence).map(
    ([index, one]) => [`evidence.${index}`, one] as const,
  );
  const messages = encodeMessages(AUTHORITY_STATEMENT_TYPE, {
    statement: encodeAuthorityStatement(statement),
    evidence: Object.fromEntries(labelled),
  });
  const name = authorityName(key);
  return prepare(options, {
    issuer: name,
    subject: name,
    key,
    authorityKey: key,
    extensions: [
      ...usageExtensions({ authority: true, pathLengthMax: 0 }),
      alternativeName(authorityUri(statement)),
      { oid: CMW_OID, critical: false, value: derOctets(messages) },
    ],
  });
}

/** Prepares the certificate of a node whose request was accepted by `judgeIssuance`. */
export function prepareNodeCertificate(
  options: IssueOptions & {
    readonly authorityKey: Uint8Array;
    readonly identity: Uint8Array;
    readonly statement: NodeStatement;
    readonly evidence: Evidence;
  },
): UnsignedCertificate {
  const { authorityKey, identity, statement } = options;
  const messages = encodeMessages(NODE_STATEMENT_TYPE, {
    statement: encodeNodeStatement(statement),
    evidence: { evidence: options.evidence },
  });
  return prepare(options, {
    issuer: authorityName(authorityKey),
    subject: nameOf(statement.settlement, ORGANIZATION),
    key: identity,
    authorityKey,
    extensions: [
      ...usageExtensions({ authority: false }),
      {
        oid: OID.extendedKeyUsage,
        critical: false,
        value: derSequence(derOid(EKU_SERVER), derOid(EKU_CLIENT)),
      },
      alternativeName(nodeUri(statement, statement.settlement)),
      { oid: CMW_OID, critical: false, value: derOctets(messages) },
    ],
  });
}

/** Issues an authority's certificate with a key that is in one place. */
export function issueCaCertificate(
  options: Parameters<typeof prepareAuthorityCertificate>[0],
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const unsigned = prepareAuthorityCertificate(options);
  return unsigned.finish(sign(unsigned.toBeSigned));
}

/** Issues a node's certificate with a key that is in one place. */
export function issueNodeCertificate(
  options: Parameters<typeof prepareNodeCertificate>[0],
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const unsigned = prepareNodeCertificate(options);
  return unsigned.finish(sign(unsigned.toBeSigned));
}

/** What a revocation list says. RFC 5280 §5 */
export interface RevocationList {
  /** Grows by one with each list, so that an older one cannot stand in for a newer. */
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** Serial numbers, lower-case hex. */
  readonly revoked: readonly { readonly serial: string; readonly timeMs: number }[];
}

/** Prepares a revocation list of an authority. */
export function prepareRevocationList(authorityKey: Uint8Array, list: RevocationList): UnsignedCertificate {
  const revoked = list.revoked.map(({ serial, timeMs }) => ({ serial: fromHex(serial), timeMs }));
  const fields = { ...list, revoked, issuer: authorityName(authorityKey) };
  return unsigned((issuer) => buildCrl(fields, issuer));
}

/** Issues a revocation list with a key that is in one place. */
export function issueRevocationList(
  authorityKey: Uint8Array,
  list: RevocationList,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const prepared = prepareRevocationList(authorityKey, list);
  return prepared.finish(sign(prepared.toBeSigned));
}

/** The distinguished name of an authority: its key's identifier makes it unlike any other. */
function authorityName(key: Uint8Array): Uint8Array {
  const id = Array.from(keyId(key).subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return nameOf(`Cloister authority ${id}`, ORGANIZATION);
}

function prepare(
  options: IssueOptions,
  certificate: {
    readonly issuer: Uint8Array;
    readonly subject: Uint8Array;
    readonly key: Uint8Array;
    readonly authorityKey: Uint8Array;
    readonly extensions: CertificateFields["extensions"];
  },
): UnsignedCertificate {
  assertInvariant(options.serial.length === SERIAL_BYTES, "a serial number has 16 bytes");
  const { key, authorityKey, issuer, subject } = certificate;
  // A serial number is positive and its first byte is not zero, so that its length is always the same.
  const serial = options.serial.with(0, ((options.serial[0] as number) & 0x3f) | 0x40);
  const authorityKeyId = derSequence(der(0x80, keyId(authorityKey)));
  const fields: CertificateFields = {
    serial,
    issuer,
    subject,
    notBeforeMs: options.nowMs - CERTIFICATE_SKEW_MS,
    notAfterMs: options.nowMs + options.lifetimeMs,
    publicKey: publicKeyFrom("ed25519", key),
    extensions: [
      ...certificate.extensions,
      { oid: OID.subjectKeyIdentifier, critical: false, value: derOctets(keyId(key)) },
      { oid: OID.authorityKeyIdentifier, critical: false, value: authorityKeyId },
    ],
  };
  return unsigned((signer) => buildCertificate(fields, signer));
}

/** Splits building into what is signed and what remains, so that the signature may take rounds among several CVMs. */
function unsigned(build: (issuer: Issuer) => Uint8Array): UnsignedCertificate {
  let toBeSigned: Uint8Array | undefined;
  const scheme = { kind: "ed25519" } as const;
  const sign = (message: Uint8Array): Uint8Array => {
    toBeSigned = message;
    return new Uint8Array(64);
  };
  build({ scheme, sign });
  assertInvariant(toBeSigned !== undefined, "building asks for a signature");
  return { toBeSigned, finish: (signature) => build({ scheme, sign: () => signature }) };
}

function alternativeName(uri: string): CertificateFields["extensions"][number] {
  // GeneralName [6] IMPLICIT IA5String. RFC 5280 §4.2.1.6
  return { oid: OID.subjectAltName, critical: false, value: derSequence(der(0x86, utf8(uri))) };
}

/** The key identifier of RFC 7093 §2: the leftmost 160 bits of the SHA-256 of the key. */
function keyId(key: Uint8Array): Uint8Array {
  return sha256(key).subarray(0, 20);
}
