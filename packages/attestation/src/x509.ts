/** X.509 certificates and CRLs (RFC 5280), as far as attestation needs them, strictly. */
import { verifySignature, type SignatureScheme } from "#signatures";
import { concat, equalBytes, fromBase64, sha256, toBase64, toHex, utf8, type Refusal } from "@cloister/core";
import {
  childrenOf,
  der,
  derBits,
  derBoolean,
  derExplicit,
  derInteger,
  derOctets,
  derOid,
  derSequence,
  derTime,
  derUnsigned,
  DerError,
  expectTag,
  readBitString,
  readDer,
  readOid,
  readSmallInteger,
  readTime,
  readUnsigned,
  TAG,
  type DerElement,
} from "./der.ts";
import { Memo } from "./memo.ts";
import { parsePublicKey, type PublicKey } from "./public-key.ts";
import { assertTime, isWithin } from "./time.ts";

export const OID = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  subjectAltName: "2.5.29.17",
  subjectKeyIdentifier: "2.5.29.14",
  authorityKeyIdentifier: "2.5.29.35",
  crlDistributionPoints: "2.5.29.31",
  certificatePolicies: "2.5.29.32",
  crlNumber: "2.5.29.20",
  ecdsaSha256: "1.2.840.10045.4.3.2",
  ecdsaSha384: "1.2.840.10045.4.3.3",
  ed25519: "1.3.101.112",
} as const;

const RSA_PKCS1 = {
  "1.2.840.113549.1.1.11": "sha256",
  "1.2.840.113549.1.1.12": "sha384",
  "1.2.840.113549.1.1.13": "sha512",
} as const;
const RSA_PSS = "1.2.840.113549.1.1.10";
const HASH_OIDS = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
} as const;

/** Extensions that `verifyChain` understands, and so may be critical. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
  OID.certificatePolicies,
]);

export interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** A certificate that was read, and judged by nobody yet. */
export interface Certificate {
  readonly der: Uint8Array;
  readonly tbs: Uint8Array;
  /** Lower-case hex without leading zeros bytes. */
  readonly serial: string;
  /** DER of the names: equal names have equal bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly subjectCommonName: string | undefined;
  readonly issuerCommonName: string | undefined;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: PublicKey;
  readonly scheme: SignatureScheme;
  readonly signature: Uint8Array;
  readonly extensions: ReadonlyMap<string, Extension>;
}

const CERTIFICATE_BYTES_MAX = 65_536;
const parsed = new Memo<Certificate>(256);

/** Reads a certificate. @throws {DerError} `DER_MALFORMED` */
export function parseCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > CERTIFICATE_BYTES_MAX)
    throw new DerError("a certificate is larger than any certificate");
  const key = toHex(sha256(bytes));
  const known = parsed.get(key);
  if (known !== undefined) return known;
  // A copy, so that a caller's reuse of its buffer cannot change what is remembered.
  const certificate = readCertificate(bytes.slice());
  parsed.set(key, certificate);
  return certificate;
}

function readCertificate(bytes: Uint8Array): Certificate {
  const [tbsElement, algorithm, bits] = childrenOf(readDer(bytes, TAG.sequence));
  const tbs = expectTag(tbsElement, TAG.sequence);
  const fields = childrenOf(tbs);
  const versioned = fields[0]?.tag === 0xa0;
  const [serial, innerAlgorithm, issuer, validity, subject, spki, ...rest] = versioned
    ? fields.slice(1)
    : fields;
  const outer = expectTag(algorithm, TAG.sequence);
  if (!equalBytes(outer.whole, expectTag(innerAlgorithm, TAG.sequence).whole)) {
    throw new DerError("the two signature algorithms of a certificate differ");
  }
  const publicKey = parsePublicKey(expectTag(spki, TAG.sequence).whole);
  const { scheme, signature } = readSignature(outer, readBitString(bits));
  const [notBefore, notAfter] = childrenOf(expectTag(validity, TAG.sequence));
  const extensions = rest.find((field) => field.tag === 0xa3);
  return {
    der: bytes,
    tbs: tbs.whole,
    serial: toHex(readSerial(serial)),
    issuer: expectTag(issuer, TAG.sequence).whole,
    subject: expectTag(subject, TAG.sequence).whole,
    subjectCommonName: readCommonName(expectTag(subject, TAG.sequence)),
    issuerCommonName: readCommonName(expectTag(issuer, TAG.sequence)),
    notBeforeMs: readTime(notBefore),
    notAfterMs: readTime(notAfter),
    publicKey,
    scheme,
    signature,
    extensions: extensions === undefined ? new Map() : readExtensions(extensions),
  };
}

const signers = new WeakMap<Certificate, PublicKey>();

/** Tells whether `issuerKey` signed the certificate. Remembers the key that did. */
export function verifyCertificateSignature(certificate: Certificate, issuerKey: PublicKey): boolean {
  if (signers.get(certificate) === issuerKey) return true;
  const genuine = verifySignature(issuerKey, certificate.scheme, certificate.tbs, certificate.signature);
  if (genuine) signers.set(certificate, issuerKey);
  return genuine;
}

/** What may be wrong with a chain. `prefix` comes before each code: `TDX_PCK` gives `TDX_PCK_CHAIN_EXPIRED`. */
export interface ChainOptions {
  readonly prefix: string;
  /** How a reader names the chain: "the PCK chain". */
  readonly what: string;
  readonly nowMs: number;
  /** SHA-256 of the SubjectPublicKeyInfo of trusted roots, lower-case hex. */
  readonly roots: ReadonlySet<string>;
  /** OIDs of extendedKeyUsage, one of which the leaf must have if it has the extension. Absent: not judged. */
  readonly purposes?: readonly string[];
}

const CHAIN_LENGTH_MAX = 8;

/**
 * Checks a chain, leaf first, root last: every link by name *and* by signature, every certificate by
 * time, constraints and critical extensions, the root by its pinned key. Gives every failed check.
 */
export function verifyChain(chain: readonly Certificate[], options: ChainOptions): Refusal[] {
  const { prefix, what, roots } = options;
  assertTime(options.nowMs);
  const root = chain.at(-1);
  const refusals: Refusal[] = [];
  const fail = (code: string, reason: string): void =>
    void refusals.push({ code: `${prefix}_${code}`, reason });
  if (root === undefined || chain.length > CHAIN_LENGTH_MAX) {
    fail(
      "CHAIN_MALFORMED",
      `In ${what} there are ${chain.length} certificates; 1 to ${CHAIN_LENGTH_MAX} are allowed.`,
    );
    return refusals;
  }
  if (!roots.has(pinOf(root.publicKey))) {
    fail("ROOT_UNKNOWN", `The root key of ${what} is not one that is trusted here.`);
  }
  chain.forEach((certificate, depth) => {
    const issuer = chain[depth + 1] ?? certificate;
    const name = certificate.subjectCommonName ?? `certificate ${depth}`;
    checkCertificate(certificate, depth, name, options, fail);
    if (!equalBytes(certificate.issuer, issuer.subject)) {
      fail("CHAIN_BROKEN", `In ${what}, "${name}" does not name the next certificate as its issuer.`);
    }
    if (!verifyCertificateSignature(certificate, issuer.publicKey)) {
      fail("CHAIN_SIGNATURE_INVALID", `In ${what}, "${name}" was not signed by its issuer's key.`);
    }
  });
  return refusals;
}

/** Holds one certificate of a chain against the time. Code: the prefix and `_CHAIN_EXPIRED`. */
export function checkValidity(
  certificate: Certificate,
  { prefix, what, nowMs }: Pick<ChainOptions, "prefix" | "what" | "nowMs">,
  name = certificate.subjectCommonName ?? "a certificate",
): Refusal[] {
  if (isWithin(nowMs, certificate.notBeforeMs, certificate.notAfterMs)) return [];
  const reason = `In ${what}, "${name}" is not valid at ${new Date(nowMs).toISOString()}.`;
  return [{ code: `${prefix}_CHAIN_EXPIRED`, reason }];
}

function checkCertificate(
  certificate: Certificate,
  depth: number,
  name: string,
  options: ChainOptions,
  fail: (code: string, reason: string) => void,
): void {
  const { what, purposes } = options;
  for (const { reason } of checkValidity(certificate, options, name)) fail("CHAIN_EXPIRED", reason);
  for (const [oid, { critical }] of certificate.extensions) {
    if (critical && !UNDERSTOOD.has(oid)) {
      fail("CHAIN_EXTENSION_UNKNOWN", `In ${what}, "${name}" has the unknown critical extension ${oid}.`);
    }
  }
  if (depth === 0) {
    if (!servesPurpose(certificate, purposes)) {
      fail("CHAIN_PURPOSE_WRONG", `In ${what}, "${name}" is for another purpose.`);
    }
    return;
  }
  const { isAuthority, pathLengthMax } = basicConstraintsOf(certificate);
  if (!isAuthority || !mayUseKeyFor(certificate, KEY_USAGE.keyCertSign)) {
    fail("CHAIN_NOT_AUTHORITY", `In ${what}, "${name}" signs a certificate and is not allowed to.`);
  }
  if (pathLengthMax !== undefined && depth - 1 > pathLengthMax) {
    fail("CHAIN_TOO_LONG", `In ${what}, "${name}" allows fewer certificates below itself.`);
  }
}

function servesPurpose(certificate: Certificate, purposes: readonly string[] | undefined): boolean {
  const extension = certificate.extensions.get(OID.extendedKeyUsage);
  if (extension === undefined || purposes === undefined) return true;
  try {
    return childrenOf(readDer(extension.value, TAG.sequence))
      .map(readOid)
      .some((oid) => purposes.includes(oid));
  } catch {
    return false;
  }
}

/** The pin of a key: SHA-256 of its SubjectPublicKeyInfo, lower-case hex. */
export function pinOf(key: PublicKey): string {
  let pin = pins.get(key);
  if (pin === undefined) pins.set(key, (pin = toHex(sha256(key.spki))));
  return pin;
}

const pins = new WeakMap<PublicKey, string>();

export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;

/** Tells whether the key may be used so; a certificate without the extension does not limit it. */
export function mayUseKeyFor(certificate: Certificate, bit: number): boolean {
  const extension = certificate.extensions.get(OID.keyUsage);
  if (extension === undefined) return true;
  try {
    const { content } = readDer(extension.value, TAG.bitString);
    return (((content[1 + (bit >> 3)] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
  } catch {
    return false;
  }
}

/** Reads basicConstraints; a certificate without a readable one is no authority. */
export function basicConstraintsOf(certificate: Certificate): {
  isAuthority: boolean;
  pathLengthMax?: number;
} {
  const extension = certificate.extensions.get(OID.basicConstraints);
  if (extension === undefined) return { isAuthority: false };
  try {
    const [authority, pathLength] = childrenOf(readDer(extension.value, TAG.sequence));
    const isAuthority = authority?.tag === TAG.boolean && authority.content[0] === 0xff;
    return pathLength === undefined
      ? { isAuthority }
      : { isAuthority, pathLengthMax: readSmallInteger(pathLength) };
  } catch {
    return { isAuthority: false };
  }
}

/** A certificate revocation list that was read. */
export interface Crl {
  readonly der: Uint8Array;
  readonly tbs: Uint8Array;
  readonly issuer: Uint8Array;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number | undefined;
  readonly scheme: SignatureScheme;
  readonly signature: Uint8Array;
  /** Serial numbers, lower-case hex, and when each was revoked. */
  readonly revoked: ReadonlyMap<string, number>;
}

const REVOKED_MAX = 200_000;
const CRL_REMEMBERED_BYTES_MAX = 262_144;
const parsedCrls = new Memo<Crl>(64);

/** Reads a CRL. @throws {DerError} `DER_MALFORMED` */
export function parseCrl(bytes: Uint8Array): Crl {
  if (bytes.length > CRL_REMEMBERED_BYTES_MAX) return readCrl(bytes);
  const key = toHex(sha256(bytes));
  const known = parsedCrls.get(key);
  if (known !== undefined) return known;
  const crl = readCrl(bytes.slice());
  parsedCrls.set(key, crl);
  return crl;
}

function readCrl(bytes: Uint8Array): Crl {
  const [tbsElement, algorithm, bits] = childrenOf(readDer(bytes, TAG.sequence));
  const tbs = expectTag(tbsElement, TAG.sequence);
  const fields = childrenOf(tbs);
  if (fields[0]?.tag === TAG.integer) fields.shift();
  const [inner, issuer, thisUpdate, ...rest] = fields;
  const outer = expectTag(algorithm, TAG.sequence);
  if (!equalBytes(outer.whole, expectTag(inner, TAG.sequence).whole)) {
    throw new DerError("the two signature algorithms of a CRL differ");
  }
  const isTime = (tag: number | undefined): boolean => tag === TAG.utcTime || tag === TAG.generalizedTime;
  const nextUpdate = isTime(rest[0]?.tag) ? rest.shift() : undefined;
  const entries = rest[0]?.tag === TAG.sequence ? childrenOf(rest.shift() as DerElement) : [];
  refuseCriticalCrlExtensions(rest[0]);
  if (entries.length > REVOKED_MAX) throw new DerError("a CRL has too many entries");
  return {
    der: bytes,
    tbs: tbs.whole,
    issuer: expectTag(issuer, TAG.sequence).whole,
    thisUpdateMs: readTime(thisUpdate),
    nextUpdateMs: nextUpdate === undefined ? undefined : readTime(nextUpdate),
    ...readSignature(outer, readBitString(bits)),
    revoked: new Map(
      entries.map((entry) => {
        const [serial, time] = childrenOf(expectTag(entry, TAG.sequence));
        return [toHex(readSerial(serial)), readTime(time)];
      }),
    ),
  };
}

/** None is understood here, so a critical one (a delta list, a list of other reasons) makes the list unusable. */
function refuseCriticalCrlExtensions(element: DerElement | undefined): void {
  if (element === undefined) return;
  for (const [oid, { critical }] of readExtensions(expectTag(element, 0xa0))) {
    if (critical) throw new DerError(`a CRL has the unknown critical extension ${oid}`);
  }
}

const crlSigners = new WeakMap<Crl, PublicKey>();

function verifyCrlSignature(crl: Crl, key: PublicKey): boolean {
  if (crlSigners.get(crl) === key) return true;
  const genuine = verifySignature(key, crl.scheme, crl.tbs, crl.signature);
  if (genuine) crlSigners.set(crl, key);
  return genuine;
}

/** Checks a CRL against its issuer and the time. Gives every failed check. */
export function verifyCrl(crl: Crl, issuer: Certificate, options: Omit<ChainOptions, "roots">): Refusal[] {
  const { prefix, what, nowMs } = options;
  assertTime(nowMs);
  const refusals: Refusal[] = [];
  const fail = (code: string, reason: string): void =>
    void refusals.push({ code: `${prefix}_${code}`, reason });
  if (!equalBytes(crl.issuer, issuer.subject) || !mayUseKeyFor(issuer, KEY_USAGE.crlSign)) {
    fail("CRL_ISSUER_WRONG", `${what} was not issued by the authority of the certificates it is about.`);
  }
  if (!verifyCrlSignature(crl, issuer.publicKey)) {
    fail("CRL_SIGNATURE_INVALID", `${what} was not signed by its issuer's key.`);
  }
  if (!isWithin(nowMs, crl.thisUpdateMs, crl.nextUpdateMs ?? Number.POSITIVE_INFINITY)) {
    fail("CRL_EXPIRED", `${what} does not cover ${new Date(nowMs).toISOString()}.`);
  }
  return refusals;
}

/** What `buildCertificate` writes. */
export interface CertificateFields {
  /** Big-endian; at most 20 bytes. */
  readonly serial: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: PublicKey;
  readonly extensions: readonly {
    readonly oid: string;
    readonly critical: boolean;
    readonly value: Uint8Array;
  }[];
}

/** How the issuer signs: `sign` gets the bytes to be signed and gives a raw signature (ECDSA: r and s). */
export interface Issuer {
  readonly scheme: SignatureScheme;
  sign(tbs: Uint8Array): Uint8Array;
}

/** Builds a version 3 certificate. */
export function buildCertificate(fields: CertificateFields, issuer: Issuer): Uint8Array {
  const algorithm = algorithmOf(issuer.scheme);
  const extensions = fields.extensions.map(({ oid, critical, value }) =>
    derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctets(value)),
  );
  const tbs = derSequence(
    derExplicit(0, derInteger(2)),
    derUnsigned(fields.serial),
    algorithm,
    fields.issuer,
    derSequence(derTime(fields.notBeforeMs), derTime(fields.notAfterMs)),
    fields.subject,
    fields.publicKey.spki,
    ...(extensions.length === 0 ? [] : [derExplicit(3, derSequence(...extensions))]),
  );
  return signed(tbs, algorithm, issuer);
}

/** Builds a version 2 CRL. */
export function buildCrl(
  fields: {
    readonly issuer: Uint8Array;
    readonly thisUpdateMs: number;
    readonly nextUpdateMs: number;
    readonly number: number;
    readonly revoked: readonly { readonly serial: Uint8Array; readonly timeMs: number }[];
  },
  issuer: Issuer,
): Uint8Array {
  const algorithm = algorithmOf(issuer.scheme);
  const entries = fields.revoked.map(({ serial, timeMs }) =>
    derSequence(derUnsigned(serial), derTime(timeMs)),
  );
  const crlNumber = derSequence(derOid(OID.crlNumber), derOctets(derInteger(fields.number)));
  const tbs = derSequence(
    derInteger(1),
    algorithm,
    fields.issuer,
    derTime(fields.thisUpdateMs),
    derTime(fields.nextUpdateMs),
    ...(entries.length === 0 ? [] : [derSequence(...entries)]),
    derExplicit(0, derSequence(crlNumber)),
  );
  return signed(tbs, algorithm, issuer);
}

/** Writes a distinguished name of one organization and one common name. */
export function nameOf(commonName: string, organization: string): Uint8Array {
  const part = (oid: string, text: string): Uint8Array =>
    der(TAG.set, derSequence(derOid(oid), der(TAG.utf8String, utf8(text))));
  return derSequence(part(OID.organization, organization), part(OID.commonName, commonName));
}

/** The extensions of an authority (`pathLengthMax` certificates below it) or of an end entity. */
export function usageExtensions(
  role: { readonly authority: true; readonly pathLengthMax: number } | { readonly authority: false },
): CertificateFields["extensions"] {
  const constraints = role.authority
    ? derSequence(derBoolean(true), derInteger(role.pathLengthMax))
    : derSequence();
  const usage = role.authority ? new Uint8Array([1, 0x06]) : new Uint8Array([7, 0x80]);
  return [
    { oid: OID.basicConstraints, critical: true, value: constraints },
    { oid: OID.keyUsage, critical: true, value: der(TAG.bitString, usage) },
  ];
}

/**
 * Puts certificates that form one chain into the order leaf first, root last, following issuers' names.
 * What does not form one chain is left as it is, for `verifyChain` to refuse.
 */
export function leafFirst(certificates: readonly Certificate[]): readonly Certificate[] {
  const issued = (issuer: Certificate, subject: Certificate): boolean =>
    issuer !== subject && equalBytes(issuer.subject, subject.issuer);
  const leaf = certificates.find((one) => !certificates.some((other) => issued(one, other)));
  const chain: Certificate[] = [];
  for (let next = leaf; next !== undefined && !chain.includes(next);) {
    chain.push(next);
    const current = next;
    next = certificates.find((one) => issued(one, current));
  }
  return chain.length === certificates.length ? chain : certificates;
}

/** Reads the certificates of a PEM text, in its order. @throws {DerError} when one is not readable. */
export function parsePemChain(text: string): Certificate[] {
  return pemBlocks(text).map(parseCertificate);
}

/** The DER of each CERTIFICATE block. @throws {DerError} */
export function pemBlocks(text: string): Uint8Array[] {
  const blocks = text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g);
  return [...blocks].map(([, body = ""]) => {
    try {
      return fromBase64(body.replaceAll(/\s/g, ""));
    } catch {
      throw new DerError("a PEM block is not base64");
    }
  });
}

/** Writes certificates as PEM. */
export function toPem(...certificates: readonly Uint8Array[]): string {
  return certificates
    .map((bytes) => {
      const lines = toBase64(bytes).match(/.{1,64}/g) ?? [];
      return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
    })
    .join("");
}

function signed(tbs: Uint8Array, algorithm: Uint8Array, issuer: Issuer): Uint8Array {
  const raw = issuer.sign(tbs);
  return derSequence(tbs, algorithm, derBits(issuer.scheme.kind === "ecdsa" ? ecdsaToDer(raw) : raw));
}

function algorithmOf(scheme: SignatureScheme): Uint8Array {
  if (scheme.kind === "ed25519") return derSequence(derOid(OID.ed25519));
  if (scheme.kind === "ecdsa" && scheme.hash === "sha256") return derSequence(derOid(OID.ecdsaSha256));
  if (scheme.kind === "ecdsa" && scheme.hash === "sha384") return derSequence(derOid(OID.ecdsaSha384));
  throw new DerError("certificates are not issued with this algorithm here");
}

/** Reads an AlgorithmIdentifier and the signature in its encoding. @throws {DerError} */
export function readSignature(
  algorithm: DerElement,
  bits: Uint8Array,
): { scheme: SignatureScheme; signature: Uint8Array } {
  const [oidElement, parameters] = childrenOf(algorithm);
  const oid = readOid(oidElement);
  if (oid === OID.ed25519) return { scheme: { kind: "ed25519" }, signature: bits };
  if (oid === OID.ecdsaSha256)
    return { scheme: { kind: "ecdsa", hash: "sha256" }, signature: ecdsaFromDer(bits) };
  if (oid === OID.ecdsaSha384)
    return { scheme: { kind: "ecdsa", hash: "sha384" }, signature: ecdsaFromDer(bits) };
  const hash = RSA_PKCS1[oid as keyof typeof RSA_PKCS1];
  if (hash !== undefined) return { scheme: { kind: "rsa-pkcs1", hash }, signature: bits };
  if (oid === RSA_PSS) return { scheme: readPss(parameters), signature: bits };
  throw new DerError(`the signature algorithm ${oid} is not supported`);
}

/** RSASSA-PSS-params (RFC 8017 A.2.3) with MGF1 over the same hash. */
function readPss(parameters: DerElement | undefined): SignatureScheme {
  let hash: "sha256" | "sha384" | "sha512" | undefined;
  let saltBytes = 20;
  for (const field of childrenOf(expectTag(parameters, TAG.sequence))) {
    const [inner] = childrenOf(field);
    if (field.tag === 0xa0) {
      hash = HASH_OIDS[readOid(childrenOf(expectTag(inner, TAG.sequence))[0]) as keyof typeof HASH_OIDS];
    }
    if (field.tag === 0xa2) saltBytes = readSmallInteger(inner);
  }
  if (hash === undefined || saltBytes > 64) throw new DerError("the PSS parameters are not supported");
  return { kind: "rsa-pss", hash, saltBytes };
}

/** Turns ECDSA-Sig-Value into r and s of equal width: 32 bytes each, or 48 when either needs them. */
export function ecdsaFromDer(bytes: Uint8Array): Uint8Array {
  const [r, s] = childrenOf(readDer(bytes, TAG.sequence)).map(readUnsigned);
  if (r === undefined || s === undefined) throw new DerError("an ECDSA signature lacks a number");
  const width = Math.max(r.length, s.length) > 32 ? 48 : 32;
  if (r.length > width || s.length > width) throw new DerError("an ECDSA signature is too wide");
  return concat(leftPad(r, width), leftPad(s, width));
}

/** Turns r and s of equal width into ECDSA-Sig-Value. */
export function ecdsaToDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  return derSequence(derUnsigned(raw.subarray(0, half)), derUnsigned(raw.subarray(half)));
}

function leftPad(bytes: Uint8Array, width: number): Uint8Array {
  return concat(new Uint8Array(width - bytes.length), bytes);
}

/** Serial numbers in the field are sometimes negative; only their bytes matter. */
export function readSerial(element: DerElement | undefined): Uint8Array {
  const { content } = expectTag(element, TAG.integer);
  if (content.length === 0 || content.length > 32) throw new DerError("a serial number has no sane length");
  return content[0] === 0 && content.length > 1 ? content.subarray(1) : content;
}

function readExtensions(element: DerElement): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const item of childrenOf(readDer(element.content, TAG.sequence))) {
    const [oid, second, third] = childrenOf(expectTag(item, TAG.sequence));
    const name = readOid(oid);
    if (extensions.has(name)) throw new DerError("a certificate has an extension twice");
    const critical = second?.tag === TAG.boolean && second.content[0] !== 0;
    const value = expectTag(second?.tag === TAG.boolean ? third : second, TAG.octetString).content;
    extensions.set(name, { critical, value });
  }
  return extensions;
}

function readCommonName(name: DerElement): string | undefined {
  for (const set of childrenOf(name)) {
    for (const attribute of childrenOf(expectTag(set, TAG.set))) {
      const [oid, value] = childrenOf(expectTag(attribute, TAG.sequence));
      if (readOid(oid) === OID.commonName && value !== undefined) {
        return String.fromCharCode(...value.content.subarray(0, 200));
      }
    }
  }
  return undefined;
}
