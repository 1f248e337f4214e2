/** OCSP (RFC 6960): asking whether certificates are revoked, and judging the answer. */
import { verifySignature, type SignatureScheme } from "#signatures";
import {
  accept,
  assertInvariant,
  CloisterError,
  equalBytes,
  refuse,
  sha256,
  sha384,
  sha512,
  toHex,
  type Verdict,
} from "@cloister/core";
import {
  childrenOf,
  derOctets,
  derOid,
  derSequence,
  derUnsigned,
  expectTag,
  readBitString,
  readDer,
  readOid,
  readTime,
  TAG,
  type DerElement,
} from "./der.ts";
import { Memo } from "./memo.ts";
import { isWithin } from "./time.ts";
import {
  OID,
  parseCertificate,
  readSignature,
  readSerial,
  verifyCertificateSignature,
  type Certificate,
} from "./x509.ts";

const BASIC = "1.3.6.1.5.5.7.48.1.1";
const OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
const RESPONSE_BYTES_MAX = 64 * 1024;
const ANSWERS_MAX = 32;
const SUCCESSFUL = 0;
/** Answers without an end hold this long: RFC 5019 §4 wants one, and responders of old leave it out. */
const VALIDITY_DEFAULT_MS = 24 * 3_600_000;
const CLOCK_SKEW_MS = 5 * 60_000;

const HASHES: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  "2.16.840.1.101.3.4.2.1": sha256,
  "2.16.840.1.101.3.4.2.2": sha384,
  "2.16.840.1.101.3.4.2.3": sha512,
};
const REQUEST_HASH = "2.16.840.1.101.3.4.2.2";

/** CRLReason (RFC 5280 §5.3.1). */
const REASONS = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "certificateHold",
  "",
  "removeFromCRL",
  "privilegeWithdrawn",
  "aACompromise",
];

/** What a responder says about a certificate. */
export interface OcspStatus {
  readonly status: "good" | "revoked" | "unknown";
  /** Why it was revoked, by RFC 5280's names; `certificateHold` may be taken back. */
  readonly reason?: string;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/** Writes the request for some certificates, each with its issuer; ids are over SHA-384. Unsigned, without a nonce. */
export function buildOcspRequest(
  pairs: readonly { readonly certificate: Certificate; readonly issuer: Certificate }[],
): Uint8Array {
  const hash = HASHES[REQUEST_HASH];
  assertInvariant(hash !== undefined, "the hash of requests is known");
  const requests = pairs.map(({ certificate, issuer }) =>
    derSequence(
      derSequence(
        derSequence(derOid(REQUEST_HASH)),
        derOctets(hash(issuer.subject)),
        derOctets(hash(keyBits(issuer))),
        derUnsigned(serialBytes(certificate)),
      ),
    ),
  );
  return derSequence(derSequence(derSequence(...requests)));
}

/**
 * Judges a response: made by the certificate's issuer or by one whom it named for that, about this
 * certificate, and valid now. What it says is for the caller to judge.
 */
export function verifyOcsp(
  bytes: Uint8Array,
  about: { readonly certificate: Certificate; readonly issuer: Certificate; readonly nowMs: number },
): Verdict<OcspStatus> {
  const { certificate, issuer, nowMs } = about;
  let response: OcspResponse;
  try {
    response = parseOnce(bytes);
  } catch (error) {
    return refuse("OCSP_MALFORMED", error instanceof Error ? error.message : "It cannot be read.");
  }
  const answer = response.answers.find((candidate) => isAbout(candidate, certificate, issuer));
  if (answer === undefined) {
    return refuse("OCSP_OTHER_CERTIFICATE", "The responder's answer is about other certificates.");
  }
  if (!wasMadeFor(response, issuer, nowMs)) {
    return refuse(
      "OCSP_SIGNATURE_INVALID",
      "The answer was not signed by the certificate's issuer, nor for it.",
    );
  }
  const { thisUpdateMs, nextUpdateMs } = answer;
  if (!isWithin(nowMs, thisUpdateMs - CLOCK_SKEW_MS, nextUpdateMs)) {
    return refuse("OCSP_EXPIRED", `The answer does not cover ${new Date(nowMs).toISOString()}.`);
  }
  const { status, reason } = answer;
  return accept({ status, ...(reason === undefined ? {} : { reason }), thisUpdateMs, nextUpdateMs });
}

interface OcspAnswer extends OcspStatus {
  readonly hash: string;
  readonly issuerNameHash: Uint8Array;
  readonly issuerKeyHash: Uint8Array;
  readonly serial: string;
}

interface OcspResponse {
  readonly answers: readonly OcspAnswer[];
  readonly tbs: Uint8Array;
  readonly scheme: SignatureScheme;
  readonly signature: Uint8Array;
  readonly certificates: readonly Certificate[];
}

const responses = new Memo<OcspResponse>(128);

function parseOnce(bytes: Uint8Array): OcspResponse {
  const key = toHex(sha256(bytes));
  const known = responses.get(key);
  if (known !== undefined) return known;
  const response = parseResponse(bytes.slice());
  responses.set(key, response);
  return response;
}

function parseResponse(bytes: Uint8Array): OcspResponse {
  if (bytes.length > RESPONSE_BYTES_MAX) throw malformed("it is larger than any answer");
  const [status, wrapped] = childrenOf(readDer(bytes, TAG.sequence));
  if (expectTag(status, TAG.enumerated).content[0] !== SUCCESSFUL)
    throw malformed("the responder did not answer");
  const [type, content] = childrenOf(expectTag(childrenOf(expectTag(wrapped, 0xa0))[0], TAG.sequence));
  if (readOid(type) !== BASIC) throw malformed("it is not a basic response");
  const basic = readDer(expectTag(content, TAG.octetString).content, TAG.sequence);
  const [tbsElement, algorithm, bits, extra] = childrenOf(basic);
  const tbs = expectTag(tbsElement, TAG.sequence);
  const fields = childrenOf(tbs);
  if (fields[0]?.tag === 0xa0) fields.shift();
  const answers = childrenOf(expectTag(fields[2], TAG.sequence));
  if (answers.length > ANSWERS_MAX) throw malformed("it has too many answers");
  const certificates =
    extra === undefined ? [] : childrenOf(readDer(expectTag(extra, 0xa0).content, TAG.sequence));
  if (certificates.length > ANSWERS_MAX) throw malformed("it has too many certificates");
  return {
    answers: answers.map(readAnswer),
    tbs: tbs.whole,
    ...readSignature(expectTag(algorithm, TAG.sequence), readBitString(bits)),
    certificates: certificates.map(({ whole }) => parseCertificate(whole)),
  };
}

function readAnswer(element: DerElement): OcspAnswer {
  const [id, status, thisUpdate, ...rest] = childrenOf(expectTag(element, TAG.sequence));
  const [algorithm, nameHash, keyHash, serial] = childrenOf(expectTag(id, TAG.sequence));
  const nextUpdate = rest.find(({ tag }) => tag === 0xa0);
  const thisUpdateMs = readTime(thisUpdate);
  return {
    hash: readOid(childrenOf(expectTag(algorithm, TAG.sequence))[0]),
    issuerNameHash: expectTag(nameHash, TAG.octetString).content,
    issuerKeyHash: expectTag(keyHash, TAG.octetString).content,
    serial: toHex(readSerial(serial)),
    ...readStatus(status),
    thisUpdateMs,
    nextUpdateMs:
      nextUpdate === undefined ? thisUpdateMs + VALIDITY_DEFAULT_MS : readTime(childrenOf(nextUpdate)[0]),
  };
}

function readStatus(element: DerElement | undefined): Pick<OcspStatus, "status" | "reason"> {
  switch (element?.tag) {
    case 0x80:
      return { status: "good" };
    case 0x82:
      return { status: "unknown" };
    case 0xa1: {
      const reason = childrenOf(element).find(({ tag }) => tag === 0xa0);
      const code =
        reason === undefined ? 0 : (expectTag(childrenOf(reason)[0], TAG.enumerated).content[0] ?? 0);
      return { status: "revoked", reason: REASONS[code] ?? "unspecified" };
    }
    default:
      throw malformed("an answer has no status");
  }
}

function isAbout(answer: OcspAnswer, certificate: Certificate, issuer: Certificate): boolean {
  const hash = Object.hasOwn(HASHES, answer.hash) ? HASHES[answer.hash] : undefined;
  return (
    hash !== undefined &&
    answer.serial === certificate.serial &&
    equalBytes(answer.issuerNameHash, hash(issuer.subject)) &&
    equalBytes(answer.issuerKeyHash, hash(keyBits(issuer)))
  );
}

/** By the issuer's own key, or by that of a certificate which the issuer itself made for OCSP (RFC 6960 §4.2.2.2). */
function wasMadeFor(response: OcspResponse, issuer: Certificate, nowMs: number): boolean {
  const { tbs, scheme, signature, certificates } = response;
  if (verifySignature(issuer.publicKey, scheme, tbs, signature)) return true;
  return certificates.some(
    (responder) =>
      isForOcsp(responder) &&
      nowMs >= responder.notBeforeMs &&
      nowMs <= responder.notAfterMs &&
      equalBytes(responder.issuer, issuer.subject) &&
      verifyCertificateSignature(responder, issuer.publicKey) &&
      verifySignature(responder.publicKey, scheme, tbs, signature),
  );
}

function isForOcsp({ extensions }: Certificate): boolean {
  const usage = extensions.get(OID.extendedKeyUsage);
  if (usage === undefined) return false;
  try {
    return childrenOf(readDer(usage.value, TAG.sequence)).map(readOid).includes(OCSP_SIGNING);
  } catch {
    return false;
  }
}

/** The key's bit string without tag, length and unused bits: what key hashes are over. */
function keyBits({ publicKey }: Certificate): Uint8Array {
  return publicKey.raw;
}

function serialBytes({ serial }: Certificate): Uint8Array {
  const bytes = serial.match(/../g) ?? ["00"];
  return Uint8Array.from(bytes, (pair) => Number.parseInt(pair, 16));
}

function malformed(why: string): CloisterError {
  return new CloisterError("OCSP_MALFORMED", `The OCSP answer cannot be read: ${why}.`);
}
