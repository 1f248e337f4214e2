/** Verification of AMD SEV-SNP reports. spec/evidence.md §2 */
import { verifySignature } from "#signatures";
import { equalBytes, toHex, type Verdict } from "@cloister/core";
import { snpMeasurement } from "../../measure/snp.ts";
import type {
  Claims,
  Endorsements,
  Evidence,
  SnpProduct,
  SnpTcb,
  TrustRoots,
  VerifyOptions,
} from "../../types.ts";
import { pinOf, type Certificate } from "../../x509.ts";
import { Findings } from "../findings.ts";
import { judgePath, readCertificates, type PathJudgement } from "../path.ts";
import { readSnpCertificateTable } from "./certificate-table.ts";
import { readSnpLeaf, snpAuthority, type SnpLeaf } from "./certificate.ts";
import {
  describeSnpReport,
  parseSnpReport,
  readSnpPolicy,
  readSnpTcb,
  snpProductOfCpu,
  snpSignature,
  snpSigningKey,
  type SnpReport,
} from "./report.ts";

/** Members of `Endorsements.parts` for SEV-SNP. Every one is DER or PEM. */
export interface SnpParts {
  /** The key that signed the report. Absent: taken from the certificate table of the evidence. */
  readonly vcek?: Uint8Array;
  readonly vlek?: Uint8Array;
  /** ASK or ASVK, and ARK: one or many, in any order. */
  readonly authorities?: Uint8Array;
  /** AMD's revocation lists. Absent: revocation is not checked, and the claims say so. */
  readonly crl?: Uint8Array;
}

/** Levels 0 to 3 are the guest's; a report that the host asked for has all ones here, and data of the host's. */
const VMPL_MAX = 3;
const SIGNATURE_ECDSA_P384_SHA384 = 1;

/**
 * Verifies a report: version, signature, chain of the VCEK or VLEK, TCB and chip against the certificate,
 * guest policy, challenge. `evidence.parts.auxblob` may hold the host's certificate table.
 */
export function verifySevSnp(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const findings = new Findings();
  const report = findings.attempt("SNP_REPORT_MALFORMED", () => parseSnpReport(evidence.bytes));
  if (report === undefined) return findings.refused();
  const parts = endorsements.parts as SnpParts;
  const chain = judgeSnpChain(findings, report, parts, evidence.parts?.["auxblob"], options.nowMs, roots);
  checkReport(findings, report);
  const challengeVerified = checkChallenge(findings, report, options.challenge);
  if (chain === undefined) return findings.refused();
  return findings.verdict(() => claimsOf(report, chain, { challengeVerified, simulated: roots.simulated }));
}

/** The judged chain of a report's key, and the product whose root it ends in. */
export interface SnpChain extends PathJudgement {
  readonly leaf: SnpLeaf;
  readonly product: SnpProduct | undefined;
}

function judgeSnpChain(
  findings: Findings,
  report: SnpReport,
  parts: SnpParts,
  auxblob: Uint8Array | undefined,
  nowMs: number,
  roots: TrustRoots,
): SnpChain | undefined {
  const table = readSnpCertificateTable(auxblob ?? report.trailing);
  const signer = snpSigningKey(report);
  const leafBytes = signer === "VLEK" ? (parts.vlek ?? table.vlek) : (parts.vcek ?? table.vcek);
  if (leafBytes === undefined) {
    findings.fail(
      "SNP_CERTIFICATE_MISSING",
      `The report names the key "${signer}"; its certificate is not here.`,
      `Add it to the endorsements as "${signer === "VLEK" ? "vlek" : "vcek"}", and AMD's ASK (or ASVK) and ARK as "authorities".`,
    );
    return undefined;
  }
  const what = `the ${signer}'s chain`;
  const others = [parts.authorities, table.ask, table.ark].filter((bag) => bag !== undefined);
  const judgement = findings.attempt("SNP_CHAIN_MALFORMED", () =>
    judgePath({
      leaf: leafBytes,
      others,
      crls: parts.crl === undefined ? [] : [parts.crl],
      roots: roots.pins.amd ?? [],
      nowMs,
      prefix: "SNP",
      what,
    }),
  );
  if (judgement === undefined) return undefined;
  findings.refusals.push(...judgement.refusals);
  const certificate = judgement.path[0] as Certificate;
  const leaf = findings.attempt("SNP_CERTIFICATE_MALFORMED", () => readSnpLeaf(certificate));
  if (leaf === undefined) return undefined;
  const product = snpProductOf(judgement, others, report);
  checkRoles(findings, report, judgement, leaf);
  checkSignature(findings, report, certificate);
  checkAgainstLeaf(findings, report, leaf, product);
  return { ...judgement, leaf, product };
}

function checkReport(findings: Findings, report: SnpReport): void {
  findings.check(
    report.signatureAlgorithm === SIGNATURE_ECDSA_P384_SHA384,
    "SNP_SIGNATURE_ALGORITHM_UNKNOWN",
    `The report's signature algorithm is ${report.signatureAlgorithm}, not ECDSA P-384.`,
  );
  findings.check(
    report.vmpl <= VMPL_MAX,
    "SNP_REPORT_BY_HOST",
    "The host asked for this report, not the guest: it says nothing of what the guest wants to say.",
  );
  findings.check(
    readSnpPolicy(report.policy) !== undefined,
    "SNP_POLICY_UNKNOWN",
    `The guest policy 0x${report.policy.toString(16)} has bits of which nothing is known here.`,
  );
}

/** Names bind a leaf to its kind of authority: an ASVK must not certify chips, nor an ASK providers. */
function checkRoles(findings: Findings, report: SnpReport, { path }: PathJudgement, leaf: SnpLeaf): void {
  const signer = snpSigningKey(report);
  findings.check(
    leaf.kind === signer,
    "SNP_CERTIFICATE_WRONG_KIND",
    `The report names a ${signer} as its key; the certificate is a ${leaf.kind}.`,
  );
  const intermediate = snpAuthority(path[1]?.subjectCommonName);
  const root = snpAuthority(path[2]?.subjectCommonName);
  const due = leaf.kind === "VCEK" ? "ASK" : "ASVK";
  findings.check(
    path.length === 3 &&
      intermediate?.role === due &&
      root?.role === "ARK" &&
      intermediate.product === root.product,
    "SNP_CHAIN_ROLES_WRONG",
    `The chain is not ${leaf.kind}, ${due} and ARK of one product.`,
  );
}

function checkSignature(findings: Findings, report: SnpReport, certificate: Certificate): void {
  const signature = snpSignature(report);
  const valid =
    signature !== undefined &&
    certificate.publicKey.algorithm === "P-384" &&
    verifySignature(certificate.publicKey, { kind: "ecdsa", hash: "sha384" }, report.signed, signature);
  findings.check(valid, "SNP_SIGNATURE_INVALID", "The report was not signed by the key of its certificate.");
}

function checkAgainstLeaf(
  findings: Findings,
  report: SnpReport,
  leaf: SnpLeaf,
  product: SnpProduct | undefined,
): void {
  const cpu = snpProductOfCpu(report.cpuid);
  if (report.version >= 3) {
    findings.check(
      cpu !== undefined && cpu === product,
      "SNP_PRODUCT_MISMATCH",
      `The report is of a CPU ${report.cpuid.join("/")}, which the chain is not for.`,
    );
  }
  const reported = readSnpTcb(report.reportedTcb, product);
  findings.check(
    sameTcb(reported, leaf.tcb) && hasNoOtherTcbBytes(report.reportedTcb, product),
    "SNP_TCB_MISMATCH",
    `The report's TCB ${tcbText(reported)} is not the certificate's ${tcbText(leaf.tcb)}.`,
    "Fetch the certificate for the reported TCB.",
  );
  if (leaf.hardwareId === undefined) return;
  const chipId = toHex(report.chipId);
  const masked = /^0*$/.test(chipId);
  findings.check(
    masked || chipId === leaf.hardwareId.padEnd(128, "0"),
    "SNP_CHIP_MISMATCH",
    "The report is of another chip than the certificate.",
  );
}

function sameTcb(a: SnpTcb, b: SnpTcb): boolean {
  return a.fmc === b.fmc && a.bl === b.bl && a.tee === b.tee && a.snp === b.snp && a.ucode === b.ucode;
}

function hasNoOtherTcbBytes(bytes: Uint8Array, product: SnpProduct | undefined): boolean {
  const reserved = product === "turin" ? bytes.subarray(4, 7) : bytes.subarray(2, 6);
  return reserved.every((byte) => byte === 0);
}

function tcbText({ fmc, bl, tee, snp, ucode }: SnpTcb): string {
  return `${fmc === undefined ? "" : `fmc ${fmc} `}bl ${bl} tee ${tee} snp ${snp} ucode ${ucode}`;
}

function checkChallenge(findings: Findings, report: SnpReport, challenge: Uint8Array | undefined): boolean {
  if (challenge === undefined) return false;
  return findings.check(
    equalBytes(report.reportData, challenge),
    "CHALLENGE_MISMATCH",
    "The evidence does not hold the report data that was asked for.",
  );
}

/** The product that the chain is of; where there is no chain, the one the authorities or the CPU point to. */
function snpProductOf(
  { path }: { readonly path: readonly Certificate[] },
  others: readonly Uint8Array[],
  report: SnpReport,
): SnpProduct | undefined {
  const byChain = snpAuthority(path[1]?.subjectCommonName)?.product;
  if (byChain !== undefined) return byChain;
  const byBag = new Set(
    others.flatMap((bag) => readable(bag).map((c) => snpAuthority(c.subjectCommonName)?.product)),
  );
  byBag.delete(undefined);
  const [only] = byBag.size === 1 ? byBag : [];
  return only ?? snpProductOfCpu(report.cpuid) ?? snpAuthority(path[0]?.issuerCommonName)?.product;
}

function readable(bag: Uint8Array): Certificate[] {
  try {
    return readCertificates(bag);
  } catch {
    return [];
  }
}

/**
 * Says what a report holds, as far as it can be read, without judging it.
 * @throws {CloisterError} `SNP_REPORT_MALFORMED`, `SNP_REPORT_VERSION_UNKNOWN`
 */
export function describeSevSnp(evidence: Evidence, endorsements?: Endorsements): Record<string, unknown> {
  const report = parseSnpReport(evidence.bytes);
  const parts = (endorsements?.parts ?? {}) as SnpParts;
  const leaf = parts.vcek ?? parts.vlek;
  const path = leaf === undefined ? [] : readable(leaf).slice(0, 1);
  const product = snpProductOf({ path }, parts.authorities === undefined ? [] : [parts.authorities], report);
  return describeSnpReport(report, product);
}

function claimsOf(
  report: SnpReport,
  { path, leaf, product, revocationChecked }: SnpChain,
  rest: Pick<Claims, "challengeVerified" | "simulated">,
): Claims {
  return {
    tee: "sev-snp",
    ...rest,
    rootFingerprint: pinOf((path.at(-1) as Certificate).publicKey),
    revocationChecked,
    debug: readSnpPolicy(report.policy)?.debug !== false,
    measurement: snpMeasurement(report.measurement, report.vmpl),
    measurements: {
      measurement: toHex(report.measurement),
      hostData: toHex(report.hostData),
      idKeyDigest: toHex(report.idKeyDigest),
      authorKeyDigest: toHex(report.authorKeyDigest),
    },
    reportData: report.reportData,
    // AMD publishes no status of a TCB: the reported version is the certified one, and policy sets a minimum.
    tcb: {
      status: "UpToDate",
      advisoryIds: [],
      ...(product === undefined
        ? {}
        : {
            snp: {
              product,
              reported: readSnpTcb(report.reportedTcb, product),
              committed: readSnpTcb(report.committedTcb, product),
            },
          }),
    },
    hardwareId: leaf.hardwareId ?? (/^0*$/.test(toHex(report.chipId)) ? "" : toHex(report.chipId)),
    fields: {
      ...describeSnpReport(report, product),
      productName: leaf.productName,
      ...(leaf.cspId === undefined ? {} : { cspId: leaf.cspId }),
    },
  };
}
