/**
 * Certificate paths for evidence whose certificates come as a bag: finds the path from the leaf to a
 * pinned root, judges it, and remembers what held, so that a warm verification parses and checks nothing twice.
 */
import {
  CloisterError,
  concat,
  equalBytes,
  fromBase64,
  fromUtf8,
  sha256,
  toHex,
  type Refusal,
} from "@cloister/core";
import { readDerPrefix } from "../der.ts";
import { Memo } from "../memo.ts";
import {
  checkValidity,
  OID,
  parseCertificate,
  parseCrl,
  pemBlocks,
  verifyCertificateSignature,
  verifyChain,
  verifyCrl,
  type Certificate,
  type Crl,
} from "../x509.ts";

const CERTIFICATES_MAX = 16;
const BAG_BYTES_MAX = 256 * 1024;
const CRLS_MAX = 16;
const CRL_BYTES_MAX = 4 * 1024 * 1024;
const PATH_LENGTH_MAX = 8;

/**
 * Reads certificates from PEM, or from DER one after the other, in their order.
 * @throws {CloisterError} `CERTIFICATES_MALFORMED`; {DerError} `DER_MALFORMED`
 */
export function readCertificates(bytes: Uint8Array): Certificate[] {
  if (bytes.length > BAG_BYTES_MAX) throw tooMany("certificates");
  const blocks = isPem(bytes) ? pemBlocks(fromUtf8(bytes)) : derBlocks(bytes);
  if (blocks.length === 0 || blocks.length > CERTIFICATES_MAX) throw tooMany("certificates");
  return blocks.map(parseCertificate);
}

/** Reads revocation lists from PEM, or from DER one after the other. @throws as `readCertificates` */
export function readCrls(bytes: Uint8Array): Crl[] {
  if (bytes.length > CRL_BYTES_MAX) throw tooMany("revocation lists");
  const blocks = isPem(bytes) ? crlPemBlocks(fromUtf8(bytes)) : derBlocks(bytes);
  if (blocks.length === 0 || blocks.length > CRLS_MAX) throw tooMany("revocation lists");
  return blocks.map(parseCrl);
}

/** What a path is built from and judged by. */
export interface PathRequest {
  /** The leaf, DER or PEM; what follows it in the same bytes counts as one of `others`. */
  readonly leaf: Uint8Array;
  /** Bags of further certificates, in any order. */
  readonly others: readonly Uint8Array[];
  /** Bags of revocation lists. */
  readonly crls: readonly Uint8Array[];
  /** Pins of trusted root keys. */
  readonly roots: readonly string[];
  readonly nowMs: number;
  /** Prefix of refusal codes: `SNP` gives `SNP_CHAIN_EXPIRED`. */
  readonly prefix: string;
  /** How a reader names the path: "the VCEK's chain". */
  readonly what: string;
}

export interface PathJudgement {
  /** Leaf first. Ends early when no issuer was found. */
  readonly path: readonly Certificate[];
  readonly refusals: readonly Refusal[];
  /** Whether revocation lists cover the path, as far as its certificates say that there are any. */
  readonly revocationChecked: boolean;
}

interface Remembered {
  readonly judgement: PathJudgement;
  readonly fromMs: number;
  readonly toMs: number;
}

const remembered = new Memo<Remembered>(512);

/**
 * Builds and judges the path of a leaf.
 * @throws {CloisterError} `CERTIFICATES_MALFORMED`; {DerError} `DER_MALFORMED`, when something cannot be read.
 */
export function judgePath(request: PathRequest): PathJudgement {
  const key = keyOf(request);
  const known = remembered.get(key);
  if (known !== undefined && request.nowMs >= known.fromMs && request.nowMs <= known.toMs) {
    return known.judgement;
  }
  // Copies, so that a caller's reuse of its buffers cannot change what is remembered.
  const copy = (bytes: Uint8Array): Uint8Array => bytes.slice();
  const [leaf, ...rest] = readCertificates(copy(request.leaf)) as [Certificate, ...Certificate[]];
  const pool = [...rest, ...request.others.map(copy).flatMap(readCertificates)];
  if (pool.length > 2 * CERTIFICATES_MAX) throw tooMany("certificates");
  const crls = request.crls.map(copy).flatMap(readCrls);
  const path = buildPath(leaf, pool);
  const judgement = judge(path, crls, request);
  // Only what held is remembered, for as long as nothing in it begins or ends: refusals are judged anew.
  if (judgement.refusals.length === 0) remember(key, judgement, path, crls);
  return judgement;
}

/** The path from the leaf upwards: each next certificate has the issuer's name and made the signature. */
export function buildPath(leaf: Certificate, pool: readonly Certificate[]): Certificate[] {
  const path = [leaf];
  for (let top = leaf; path.length < PATH_LENGTH_MAX && !equalBytes(top.issuer, top.subject);) {
    const below = top;
    const issuer = pool.find(
      (candidate) =>
        equalBytes(candidate.subject, below.issuer) &&
        !path.includes(candidate) &&
        verifyCertificateSignature(below, candidate.publicKey),
    );
    if (issuer === undefined) break;
    path.push(issuer);
    top = issuer;
  }
  return path;
}

function judge(path: readonly Certificate[], crls: readonly Crl[], request: PathRequest): PathJudgement {
  const { prefix, what, nowMs, roots } = request;
  const top = path.at(-1) as Certificate;
  const refusals: Refusal[] = [];
  if (equalBytes(top.issuer, top.subject) && path.length > 1) {
    refusals.push(...verifyChain(path, { prefix, what, nowMs, roots: new Set(roots) }));
  } else {
    const name = top.subjectCommonName ?? "a certificate";
    const issuer = top.issuerCommonName ?? "an unnamed issuer";
    refusals.push({
      code: `${prefix}_CHAIN_BROKEN`,
      reason: `In ${what}, no certificate here is the "${issuer}" that signed "${name}".`,
    });
    refusals.push(...path.flatMap((certificate) => checkValidity(certificate, { prefix, what, nowMs })));
  }
  const covered = judgeRevocation(path, crls, request, refusals);
  return { path, refusals, revocationChecked: isCovered(path, covered) };
}

/**
 * Revocation counts as checked when every certificate that says where its list is was held against it; where
 * none says so, every authority below the root.
 */
function isCovered(path: readonly Certificate[], covered: ReadonlySet<Certificate>): boolean {
  const belowRoot = path.slice(0, -1);
  const saying = belowRoot.filter(({ extensions }) => extensions.has(OID.crlDistributionPoints));
  const due = saying.length > 0 ? saying : belowRoot.slice(1);
  return due.length > 0 && due.every((certificate) => covered.has(certificate));
}

/** Every list must be of an authority of the path; every certificate must not be on its issuer's list. */
function judgeRevocation(
  path: readonly Certificate[],
  crls: readonly Crl[],
  { prefix, what, nowMs }: PathRequest,
  refusals: Refusal[],
): Set<Certificate> {
  const covered = new Set<Certificate>();
  for (const crl of crls) {
    const depth = path.findIndex((candidate, at) => at > 0 && equalBytes(candidate.subject, crl.issuer));
    const issuer = path[depth];
    // A bag may hold the lists of other products; they say nothing here and judge nothing.
    if (issuer === undefined) continue;
    refusals.push(...verifyCrl(crl, issuer, { prefix, what: `The revocation list for ${what}`, nowMs }));
    const below = path[depth - 1] as Certificate;
    covered.add(below);
    if (crl.revoked.has(below.serial)) {
      const name = below.subjectCommonName ?? "a certificate";
      refusals.push({ code: `${prefix}_CERTIFICATE_REVOKED`, reason: `In ${what}, "${name}" is revoked.` });
    }
  }
  return covered;
}

function remember(
  key: string,
  judgement: PathJudgement,
  path: readonly Certificate[],
  crls: readonly Crl[],
): void {
  remembered.set(key, {
    judgement,
    fromMs: Math.max(...path.map((c) => c.notBeforeMs), ...crls.map((crl) => crl.thisUpdateMs)),
    toMs: Math.min(
      ...path.map((c) => c.notAfterMs),
      ...crls.map((crl) => crl.nextUpdateMs ?? Number.POSITIVE_INFINITY),
    ),
  });
}

function keyOf({ leaf, others, crls, roots, prefix }: PathRequest): string {
  const lengths = new Uint32Array([
    leaf.length,
    others.length,
    ...others.map((b) => b.length),
    ...crls.map((b) => b.length),
  ]);
  const layout = new Uint8Array(lengths.buffer);
  return `${prefix}|${roots.join()}|${toHex(sha256(concat(layout, leaf, ...others, ...crls)))}`;
}

function isPem(bytes: Uint8Array): boolean {
  return bytes[0] !== 0x30;
}

function derBlocks(bytes: Uint8Array): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  for (let rest = bytes; rest.length > 0 && blocks.length <= CERTIFICATES_MAX;) {
    const { whole } = readDerPrefix(rest);
    blocks.push(whole);
    rest = rest.subarray(whole.length);
  }
  return blocks;
}

function crlPemBlocks(text: string): Uint8Array[] {
  const blocks = text.matchAll(/-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----/g);
  return [...blocks].map(([, body = ""]) => fromBase64(body.replaceAll(/\s/g, "")));
}

function tooMany(what: string): CloisterError {
  return new CloisterError("CERTIFICATES_MALFORMED", `There are no ${what} to be read, or too many.`);
}
