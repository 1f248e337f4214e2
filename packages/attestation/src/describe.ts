import { CloisterError, equalBytes, utf8 } from "@cloister/core";
import { describeDcap } from "./evidence/dcap/index.ts";
import { INTEL_QE_VENDOR_ID, TEE_SGX, TEE_TDX } from "./evidence/dcap/quote.ts";
import { describeArmCca } from "./evidence/arm-cca/verify.ts";
import { describeArmPsa } from "./evidence/arm-psa/verify.ts";
import { describeAwsNitro } from "./evidence/aws-nitro/verify.ts";
import { describeAzureVtpm } from "./evidence/azure-vtpm/verify.ts";
import { describeEventLog } from "./evidence/event-log/verify.ts";
import { describeNvidia } from "./evidence/nvidia/verify.ts";
import { describeSevSnp } from "./evidence/sev-snp/verify.ts";
import type { Endorsements, Evidence, TeeKind } from "./types.ts";

type Describer = (evidence: Evidence, endorsements?: Endorsements) => Record<string, unknown>;

const DESCRIBERS: Readonly<Partial<Record<TeeKind, Describer>>> = {
  sgx: describeDcap,
  tdx: describeDcap,
  "sev-snp": describeSevSnp,
  nvidia: describeNvidia,
  "arm-cca": describeArmCca,
  "arm-psa": describeArmPsa,
  "aws-nitro": describeAwsNitro,
  "azure-vtpm-snp": describeAzureVtpm,
  "azure-vtpm-tdx": describeAzureVtpm,
  "tcg-eventlog": describeEventLog,
};

/**
 * Reads out what evidence says, by the hardware's own names, without judging any of it.
 * @throws {CloisterError} `TEE_UNKNOWN`, or the format's own code (`DCAP_QUOTE_MALFORMED` …)
 */
export function describeEvidence(evidence: Evidence, endorsements?: Endorsements): Record<string, unknown> {
  const describer = Object.hasOwn(DESCRIBERS, evidence.tee) ? DESCRIBERS[evidence.tee] : undefined;
  if (describer === undefined)
    throw new CloisterError("TEE_UNKNOWN", `Evidence of "${evidence.tee}" is not known here.`);
  return describer(evidence, endorsements);
}

/** Every kind of evidence that is known here. */
export const teeKinds: readonly TeeKind[] = Object.keys(DESCRIBERS) as TeeKind[];

const DCAP_PARTS =
  /^(?:tcbInfo|qeIdentity)(?:Signature|IssuerChain)?$|^(?:pckCrl|rootCaCrl|pckCertificateChain|pckCrlIssuerChain)$/;
const SNP_PARTS = /^(?:vcek|vlek|authorities|crl)$/;
const ARM_PARTS = /^(?:key|chain|crl)$/;
const ENDORSEMENT_PARTS: Readonly<Record<TeeKind, RegExp>> = {
  sgx: DCAP_PARTS,
  tdx: DCAP_PARTS,
  "tcg-eventlog": DCAP_PARTS,
  "azure-vtpm-tdx": DCAP_PARTS,
  "sev-snp": SNP_PARTS,
  "azure-vtpm-snp": SNP_PARTS,
  nvidia: /^(?:rim|ocsp)|^(?:authorities|crl)$/,
  "arm-cca": ARM_PARTS,
  "arm-psa": ARM_PARTS,
  "aws-nitro": /^crl$/,
};

/** Whether the verifier of this kind reads endorsements of this name: a misspelt one would be passed over. */
export function isEndorsementPart(tee: TeeKind, name: string): boolean {
  return ENDORSEMENT_PARTS[tee].test(name);
}

/** How each kind of evidence begins. None of this is a check: `verify` makes those. */
const MARKS: readonly (readonly [TeeKind, (bytes: Uint8Array, at: DataView) => boolean])[] = [
  ["sgx", (bytes, at) => isQuote(bytes) && at.getUint32(4, true) === TEE_SGX],
  ["tdx", (bytes, at) => isQuote(bytes) && at.getUint32(4, true) === TEE_TDX],
  // Behind the mark, a hardware report and eight bytes stands which hardware it is of.
  ["azure-vtpm-tdx", (bytes, at) => isHclReport(bytes) && at.getUint32(1224, true) === 4],
  ["azure-vtpm-snp", isHclReport],
  ["aws-nitro", (bytes) => startsWith(bytes, [0x84, 0x44, 0xa1, 0x01, 0x38])],
  ["arm-cca", (bytes) => startsWith(bytes, [0xd9, 0x01, 0x8f]) || startsWith(bytes, [0xd9, 0x03, 0x8b])],
  // COSE_Sign1, and COSE_Mac0 although that cannot be verified.
  ["arm-psa", (bytes) => startsWith(bytes, [0xd2, 0x84]) || startsWith(bytes, [0xd1, 0x84])],
  // SPDM 1.1 GET_MEASUREMENTS (DSP0274 §10.11.1).
  ["nvidia", (bytes) => startsWith(bytes, [0x11, 0xe0])],
  // A TCG event log starts with an EV_NO_ACTION event without a digest.
  [
    "tcg-eventlog",
    (bytes, at) => at.getUint32(4, true) === 3 && bytes.subarray(8, 28).every((byte) => byte === 0),
  ],
  [
    "sev-snp",
    (bytes, at) => bytes.length >= 1184 && at.getUint32(0, true) <= 16 && at.getUint32(52, true) === 1,
  ],
];

/** Guesses the kind of raw evidence from its first bytes; undefined when it looks like none. */
export function detectTee(bytes: Uint8Array): TeeKind | undefined {
  if (bytes.length < 64) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return MARKS.find(([, marks]) => marks(bytes, view))?.[0];
}

function isQuote(bytes: Uint8Array): boolean {
  return equalBytes(bytes.subarray(12, 28), INTEL_QE_VENDOR_ID);
}

function isHclReport(bytes: Uint8Array): boolean {
  return bytes.length >= 1228 && startsWith(bytes, utf8("HCLA"));
}

function startsWith(bytes: Uint8Array, mark: ArrayLike<number>): boolean {
  return Array.from(mark).every((byte, i) => bytes[i] === byte);
}
