/**
 * Verification of Azure CVMs: the hardware's report names the paravisor's runtime data, those name the vTPM's
 * key, and that key signed the quote of what booted. spec/evidence.md §6
 */
import { concat, digestOfDocument, equalBytes, sha256, toHex, utf8, type Verdict } from "@cloister/core";
import type { Claims, Endorsements, Evidence, TrustRoots, VerifyOptions } from "../../types.ts";
import { parseQuote, verifyDcap } from "../dcap/index.ts";
import { Findings } from "../findings.ts";
import { parseSnpReport } from "../sev-snp/report.ts";
import { verifySevSnp } from "../sev-snp/verify.ts";
import { parseHclReport, type HclReport } from "./hcl.ts";
import { HASH_BYTES, matchesPcrs, parseTpmQuote, verifyTpmQuote, type TpmQuote } from "./tpm-quote.ts";

/**
 * Members of `Evidence.parts` for Azure; `Evidence.bytes` is the HCL report. Endorsements are those of the
 * hardware inside: `SnpParts` or `DcapParts`.
 */
export interface AzureEvidenceParts {
  /** TPMS_ATTEST. */
  readonly quote: Uint8Array;
  readonly signature: Uint8Array;
  /** Registers 0 to n of the quoted bank, one after the other. */
  readonly pcrs: Uint8Array;
  /** Only for TDX. */
  readonly tdQuote?: Uint8Array;
}

const NONCE_BYTES_MAX = 48;

/** The nonce with which a vTPM must be asked, so that its quote answers a challenge: short ones as they are. */
export function tpmNonce(challenge: Uint8Array): Uint8Array {
  if (challenge.length <= NONCE_BYTES_MAX) return challenge;
  return sha256(concat(utf8("cloister/tpm-nonce/v1"), challenge));
}

/** Verifies evidence of an Azure CVM, on SNP or on TDX. */
export function verifyAzureVtpm(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const findings = new Findings();
  const read = readEvidence(findings, evidence);
  if (read === undefined) return findings.refused();
  const { hcl, quote, parts, pcrs } = read;
  const hardware = verifyHardware(evidence, hcl, parts, endorsements, options, roots);
  if (!hardware.ok) findings.refusals.push(...hardware.refusals);
  const checks = checkAzureVtpm(read);
  findings.check(
    checks.runtimeDataBoundToReport,
    "AZURE_RUNTIME_DATA_UNBOUND",
    "The hardware's report does not name the runtime data, and with them the vTPM's key.",
  );
  findings.check(
    checks.tpmQuoteSignatureUnderHclAk,
    "AZURE_QUOTE_SIGNATURE_INVALID",
    "The vTPM's quote was not signed by the key that the runtime data name.",
  );
  findings.check(checks.pcrDigest, "AZURE_PCRS_MISMATCH", "The registers are not those of the vTPM's quote.");
  const challengeVerified =
    options.challenge !== undefined &&
    findings.check(
      equalBytes(quote.nonce, tpmNonce(options.challenge)),
      "CHALLENGE_MISMATCH",
      "The vTPM's quote does not hold the challenge that was given.",
    );
  if (!hardware.ok) return findings.refused();
  const inner = hardware.value;
  return findings.verdict(() => {
    const quoted = Object.fromEntries(
      quote.selection.indices.map((i) => [`pcr${i}`, toHex(pcrs[i] as Uint8Array)]),
    );
    return {
      ...inner,
      tee: evidence.tee,
      challengeVerified,
      measurement: digestOfDocument({ tee: evidence.tee, hardware: inner.measurement, pcrs: quoted }),
      measurements: { ...inner.measurements, ...quoted },
      reportData: quote.nonce,
      fields: { ...inner.fields, ...describe(read) },
    };
  });
}

interface ReadEvidence {
  readonly hcl: HclReport;
  readonly quote: TpmQuote;
  readonly parts: AzureEvidenceParts;
  readonly pcrs: readonly Uint8Array[];
  /** Report data of the hardware, 64 bytes. */
  readonly hardwareReportData: Uint8Array;
}

function readEvidence(findings: Findings, evidence: Evidence): ReadEvidence | undefined {
  return findings.attempt("AZURE_HCL_MALFORMED", () => parseEvidence(evidence));
}

function parseEvidence(evidence: Evidence): ReadEvidence {
  const parts = (evidence.parts ?? {}) as Partial<AzureEvidenceParts>;
  const hcl = parseHclReport(evidence.bytes);
  const none = new Uint8Array(0);
  const complete = {
    ...parts,
    quote: parts.quote ?? none,
    signature: parts.signature ?? none,
    pcrs: parts.pcrs ?? none,
  };
  const quote = parseTpmQuote(complete.quote);
  return {
    hcl,
    quote,
    parts: complete,
    pcrs: splitPcrs(complete.pcrs, HASH_BYTES[quote.selection.hash]),
    hardwareReportData:
      hcl.kind === "snp"
        ? parseSnpReport(hcl.hardwareReport).reportData
        : parseQuote(parts.tdQuote ?? none).body.report.reportData,
  };
}

function splitPcrs(pcrs: Uint8Array, width: number): Uint8Array[] {
  const count = Math.min(Math.floor(pcrs.length / width), 32);
  return Array.from({ length: count }, (_, i) => pcrs.subarray(i * width, (i + 1) * width));
}

/** The checks that link the hardware's report to the quote; the hardware's own are made apart. */
function checkAzureVtpm({ hcl, quote, parts, pcrs, hardwareReportData }: ReadEvidence): {
  readonly runtimeDataBoundToReport: boolean;
  readonly tpmQuoteSignatureUnderHclAk: boolean;
  readonly pcrDigest: boolean;
} {
  const { runtimeDataHash } = hcl;
  const bound = concat(runtimeDataHash, new Uint8Array(64 - runtimeDataHash.length));
  return {
    runtimeDataBoundToReport: equalBytes(bound, hardwareReportData),
    tpmQuoteSignatureUnderHclAk: verifyTpmQuote(parts.quote, parts.signature, hcl.attestationKey),
    pcrDigest: matchesPcrs(quote, pcrs),
  };
}

function verifyHardware(
  { tee }: Evidence,
  hcl: HclReport,
  parts: AzureEvidenceParts,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const due = tee === "azure-vtpm-snp" ? "snp" : "tdx";
  // The challenge is the quote's: the hardware's report data hold the runtime data instead.
  const inner = { nowMs: options.nowMs, roots };
  if (hcl.kind !== due) {
    const findings = new Findings();
    findings.fail("AZURE_HCL_MALFORMED", `The HCL report is of ${hcl.kind}, not of ${due}.`);
    return findings.refused();
  }
  if (due === "snp") {
    const evidence = { tee: "sev-snp", bytes: hcl.hardwareReport } as const;
    return verifySevSnp(evidence, { tee: "sev-snp", parts: endorsements.parts }, inner, roots);
  }
  const evidence = { tee: "tdx", bytes: parts.tdQuote ?? new Uint8Array(0) } as const;
  return verifyDcap(evidence, { tee: "tdx", parts: endorsements.parts }, inner, roots.pins.intel ?? []);
}

/** Says what evidence holds, without judging it. @throws {CloisterError} `AZURE_HCL_MALFORMED`, `TPM_QUOTE_MALFORMED` and the hardware's own */
export function describeAzureVtpm(evidence: Evidence): Record<string, unknown> {
  return describe(parseEvidence(evidence));
}

function describe(read: ReadEvidence): Record<string, unknown> {
  const { hcl, quote, parts } = read;
  const hardware =
    hcl.kind === "snp" ? describeSnp(hcl) : { mrTd: describeTd(parts.tdQuote ?? new Uint8Array(0)) };
  return {
    ...hardware,
    nonce: toHex(quote.nonce),
    pcrDigest: toHex(quote.pcrDigest),
    pcrs: quote.selection.indices,
    userData: hcl.userData,
    resetCount: quote.resetCount,
    restartCount: quote.restartCount,
    checks: checkAzureVtpm(read),
  };
}

function describeSnp({ hardwareReport }: HclReport): Record<string, unknown> {
  const report = parseSnpReport(hardwareReport);
  return { measurement: toHex(report.measurement), reportVersion: report.version };
}

function describeTd(tdQuote: Uint8Array): string | undefined {
  const { body } = parseQuote(tdQuote);
  return body.kind === "tdx" ? toHex(body.report.mrTd) : undefined;
}
