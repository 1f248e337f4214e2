import {
  basicConstraintsOf,
  childrenOf,
  derBits,
  derOid,
  derSequence,
  KEY_USAGE,
  mayUseKeyFor,
  OID,
  parseCertificate,
  parseCrl,
  readDer,
  TAG,
  verifyCertificateSignature,
  verifyCrl,
  publicKeyFrom,
  type Certificate,
} from "@cloister/attestation";
import {
  accept,
  acceptUnless,
  codeOf,
  equalBytes,
  fromUtf8,
  refuse,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { CMW_OID, decodeMessages, type CertificateMessages } from "./cmw.ts";
import { authorityReportData, authorityUri, certifyReportData, nodeUri } from "./issue.ts";
import {
  AUTHORITY_STATEMENT_TYPE,
  decodeAuthorityStatement,
  decodeNodeStatement,
  NODE_STATEMENT_TYPE,
} from "./statements.ts";
import type {
  AuthorityCertificate,
  AuthorityStatement,
  MemberEvidence,
  NodeCertificate,
  Realm,
} from "./types.ts";

const CERTIFICATE_BYTES_MAX = 262_144;
/** What our certificates have; one that says more is none of ours. spec/certificates.md §3 */
const EXTENSIONS: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
  CMW_OID,
]);

/** What a relying party holds a node's certificate against. */
export interface NodeCertificateOptions {
  /** Ed25519 key of the authority, 32 bytes, from a source that the relying party trusts. */
  readonly authorityKey: Uint8Array;
  readonly nowMs: number;
  /** The deployment that the certificate must belong to. */
  readonly realm?: Realm | undefined;
  /** The latest revocation list of the authority, DER. */
  readonly revocationList?: Uint8Array | undefined;
}

/**
 * Verifies a node's certificate against the authority that must have issued it: form, signature, time,
 * names, realm, revocation. The evidence inside is handed out with what it must bind; whether it is
 * good enough is for `verify` and `appraise` to say.
 */
export function verifyNodeCertificate(
  der: Uint8Array,
  options: NodeCertificateOptions,
): Verdict<NodeCertificate> {
  const read = readCertificate(der, NODE_STATEMENT_TYPE);
  if (!read.ok) return read;
  const { certificate, messages } = read.value;
  return guarded(() => {
    const evidence = messages.evidence["evidence"];
    if (evidence === undefined || Object.keys(messages.evidence).length !== 1) {
      return refuse("CERTIFICATE_MALFORMED", "A node's certificate holds exactly one piece of evidence.");
    }
    const statement = decodeNodeStatement(messages.statement);
    const { settlement, wrap, challenge } = statement;
    const keys = { identity: certificate.publicKey.raw, settlement, wrap };
    const refusals = [
      ...judgeSignature(certificate, options.authorityKey),
      ...judgeUsage(certificate, false),
      ...judgeTime(certificate, options.nowMs),
      ...judgeName(certificate, nodeUri(statement, settlement), settlement),
      ...judgeRealm(statement, options.realm),
      ...judgeRevocation(certificate, options),
    ];
    return acceptUnless(refusals, () => ({
      keys,
      statement,
      evidence,
      reportData: certifyReportData(challenge, keys),
      ...validity(certificate),
    }));
  });
}

/**
 * Verifies an authority's certificate: form, its own signature, time, names, realm. That the key inside
 * is an authority at all follows from its evidence and from the chain's approval, which are for the caller.
 */
export function verifyAuthorityCertificate(
  der: Uint8Array,
  options: { readonly nowMs: number; readonly realm?: Realm | undefined },
): Verdict<AuthorityCertificate> {
  const read = readCertificate(der, AUTHORITY_STATEMENT_TYPE);
  if (!read.ok) return read;
  const { certificate, messages } = read.value;
  return guarded(() => {
    const key = certificate.publicKey.raw;
    const statement = decodeAuthorityStatement(messages.statement);
    const { evidence, refusals: unpaired } = pairEvidence(key, statement, messages);
    const refusals = [
      ...judgeSignature(certificate, key),
      ...judgeUsage(certificate, true),
      ...judgeTime(certificate, options.nowMs),
      ...judgeName(certificate, authorityUri(statement)),
      ...judgeRealm(statement, options.realm),
      ...unpaired,
    ];
    return acceptUnless(refusals, () => ({ key, statement, evidence, ...validity(certificate) }));
  });
}

/** Matches each member that names endorsements with its evidence, and leaves no evidence over. */
function pairEvidence(key: Uint8Array, statement: AuthorityStatement, messages: CertificateMessages) {
  const evidence: MemberEvidence[] = [];
  const refusals: Refusal[] = [];
  const labels = new Set(Object.keys(messages.evidence));
  for (const member of statement.members) {
    const label = `evidence.${member.index}`;
    const found = messages.evidence[label];
    labels.delete(label);
    if ((found === undefined) !== (member.endorsements === undefined)) {
      refusals.push(malformed(`member ${member.index} has evidence or endorsements, but not both`));
    } else if (found !== undefined) {
      const reportData = authorityReportData(key, statement, member.index);
      evidence.push({ member, evidence: found, reportData });
    }
  }
  if (labels.size > 0) refusals.push(malformed("there is evidence that belongs to no member"));
  return { evidence, refusals };
}

function readCertificate(
  der: Uint8Array,
  statementType: string,
): Verdict<{ certificate: Certificate; messages: CertificateMessages }> {
  return guarded(() => {
    if (der.length > CERTIFICATE_BYTES_MAX) return { ok: false, refusals: [malformed("it is too long")] };
    const certificate = parseCertificate(der);
    const signature = derSequence(derOid(OID.ed25519));
    const rebuilt = derSequence(certificate.tbs, signature, derBits(certificate.signature));
    if (!equalBytes(rebuilt, der)) return { ok: false, refusals: [malformed("it is not in its one form")] };
    if (certificate.publicKey.algorithm !== "ed25519") {
      return { ok: false, refusals: [malformed("its key is not Ed25519")] };
    }
    const extension = certificate.extensions.get(CMW_OID);
    if (extension === undefined) return { ok: false, refusals: [malformed("it carries no evidence")] };
    const { content } = readDer(extension.value, TAG.octetString);
    return accept({ certificate, messages: decodeMessages(statementType, content) });
  });
}

function judgeSignature(certificate: Certificate, authorityKey: Uint8Array): Refusal[] {
  if (verifyCertificateSignature(certificate, publicKeyFrom("ed25519", authorityKey))) return [];
  const reason = "The certificate was not signed by the authority's key.";
  return [{ code: "CERTIFICATE_SIGNATURE_INVALID", reason }];
}

/** Authorities sign certificates and lists and nothing else; nodes sign everything but those. */
function judgeUsage(certificate: Certificate, authority: boolean): Refusal[] {
  const { isAuthority } = basicConstraintsOf(certificate);
  const may = (bit: number): boolean =>
    certificate.extensions.has(OID.keyUsage) && mayUseKeyFor(certificate, bit);
  const signs = may(KEY_USAGE.keyCertSign) && may(KEY_USAGE.crlSign);
  const right = authority ? isAuthority && signs : !isAuthority && !signs && may(KEY_USAGE.digitalSignature);
  const foreign = [...certificate.extensions.keys()].some((oid) => !EXTENSIONS.has(oid));
  if (right && !foreign) return [];
  const what = authority ? "an authority's" : "a node's";
  return [
    {
      code: "CERTIFICATE_USAGE_WRONG",
      reason: `The certificate does not have exactly ${what} uses and extensions.`,
    },
  ];
}

function judgeTime(certificate: Certificate, nowMs: number): Refusal[] {
  const { notBeforeMs, notAfterMs } = certificate;
  if (nowMs >= notBeforeMs && nowMs <= notAfterMs) return [];
  const [from, to, now] = [notBeforeMs, notAfterMs, nowMs].map((ms) => new Date(ms).toISOString());
  const reason = `The certificate is good from ${from} to ${to}, but it is ${now}.`;
  return [
    { code: "CERTIFICATE_EXPIRED", reason, hint: "Ask the authority for a new one by attesting again." },
  ];
}

function judgeName(certificate: Certificate, uri: string, commonName?: string): Refusal[] {
  const extension = certificate.extensions.get(OID.subjectAltName);
  const [name, ...more] = extension === undefined ? [] : childrenOf(readDer(extension.value, TAG.sequence));
  const named = name?.tag === 0x86 && more.length === 0 && fromUtf8(name.content) === uri;
  const common = commonName === undefined || certificate.subjectCommonName === commonName;
  if (named && common) return [];
  return [{ code: "CERTIFICATE_NAME_MISMATCH", reason: `The certificate does not name ${uri}.` }];
}

function judgeRealm(statement: Realm, realm: Realm | undefined): Refusal[] {
  if (realm === undefined) return [];
  const same =
    statement.chainId === realm.chainId &&
    statement.contract === realm.contract &&
    statement.registry === realm.registry;
  if (same) return [];
  const reason = `The certificate belongs to contract ${statement.contract} on chain ${statement.chainId}, not to ${realm.contract} on chain ${realm.chainId}.`;
  return [{ code: "CERTIFICATE_REALM_MISMATCH", reason }];
}

function judgeRevocation(certificate: Certificate, options: NodeCertificateOptions): Refusal[] {
  if (options.revocationList === undefined) return [];
  const crl = parseCrl(options.revocationList);
  const issuer = { subject: certificate.issuer, publicKey: publicKeyFrom("ed25519", options.authorityKey) };
  const refusals = verifyCrl(
    crl,
    { ...certificate, ...issuer, extensions: new Map() },
    {
      prefix: "CERTIFICATE",
      what: "The authority's revocation list",
      nowMs: options.nowMs,
    },
  );
  if (crl.revoked.has(certificate.serial)) {
    refusals.push({ code: "CERTIFICATE_REVOKED", reason: "The authority revoked the certificate." });
  }
  return refusals;
}

function validity(certificate: Certificate) {
  const { serial, notBeforeMs, notAfterMs, der } = certificate;
  return { serial, notBeforeMs, notAfterMs, der };
}

/** Turns what parsers throw at hostile bytes into a refusal. */
function guarded<T>(judge: () => Verdict<T>): Verdict<T> {
  try {
    return judge();
  } catch (error) {
    const code = codeOf(error);
    if (code === "INTERNAL") throw error;
    return { ok: false, refusals: [malformed(`${(error as Error).message} (${code})`)] };
  }
}

function malformed(why: string): Refusal {
  return { code: "CERTIFICATE_MALFORMED", reason: `The certificate is not one of this network: ${why}.` };
}
