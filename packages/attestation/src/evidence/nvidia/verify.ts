/** Verification of NVIDIA GPUs and NVSwitches. spec/evidence.md §3 */
import { verifySignature } from "#signatures";
import {
  concat,
  digestOfDocument,
  equalBytes,
  sha256,
  toHex,
  utf8,
  type Digest,
  type Verdict,
} from "@cloister/core";
import type { Claims, Endorsements, Evidence, TrustRoots, VerifyOptions } from "../../types.ts";
import { pinOf, type Certificate } from "../../x509.ts";
import { verifyOcsp, type OcspStatus } from "../../ocsp.ts";
import { Findings } from "../findings.ts";
import { judgePath, readCertificates, type PathJudgement } from "../path.ts";
import { readNvidiaDevice, type NvidiaDevice } from "./device.ts";
import { parseNvidiaRim, verifyNvidiaRim, type NvidiaRim } from "./rim.ts";
import { driverVersionOf, OPAQUE, parseSpdmReport, vbiosVersionOf, type SpdmReport } from "./spdm.ts";

/**
 * Members of `Endorsements.parts` for NVIDIA devices. The device's own certificates come with the evidence,
 * as `evidence.parts.chain` (PEM or DER, leaf first).
 */
export interface NvidiaParts {
  /** NVIDIA's manifests, one under each name that starts with `rim`: of the driver and the VBIOS, in any order. */
  readonly [rim: `rim${string}`]: Uint8Array;
  /** Further certificates for the chains of the device and of the manifests. */
  readonly authorities?: Uint8Array;
  /** Revocation lists. Without them and without answers, revocation is not checked, and the claims say so. */
  readonly crl?: Uint8Array;
  /** OCSP answers, one under each name that starts with `ocsp`, about the certificates of the device's chain. */
  readonly [ocsp: `ocsp${string}`]: Uint8Array;
}

const NVDEC0_DISABLED = 0x55;
/** The golden index that only devices with NVDEC0 measure. */
const NVDEC0_INDEX = 35;

/** Verifies a report: chain, signature, firmware id, challenge, and the manifests' golden values where there are any. */
export function verifyNvidia(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const findings = new Findings();
  const report = findings.attempt("NVIDIA_REPORT_MALFORMED", () => parseSpdmReport(evidence.bytes));
  if (report === undefined) return findings.refused();
  const chain = judgeDeviceChain(findings, report, evidence, endorsements, options.nowMs, roots);
  const rims = judgeRims(findings, endorsements, options.nowMs, roots);
  const challengeVerified = checkChallenge(findings, report, options.challenge);
  if (chain === undefined) return findings.refused();
  const match = matchGolden(report, rims);
  checkMatch(findings, report, chain.device, rims, match);
  return findings.verdict(() =>
    claimsOf(report, chain, match, { challengeVerified, simulated: roots.simulated }),
  );
}

/**
 * The nonce with which a device must be asked, so that its report answers a challenge: the challenge itself
 * when it has 32 bytes, else a digest of it. A CPU and its GPUs are bound to one challenge this way.
 */
export function nvidiaNonce(challenge: Uint8Array): Uint8Array {
  if (challenge.length === 32) return challenge;
  return sha256(concat(utf8("cloister/nvidia-nonce/v1"), challenge));
}

/** The digest by which claims, reference values and the chain name a device's verified firmware. */
export function nvidiaMeasurement(device: {
  readonly arch: string;
  /** Empty for switches. */
  readonly driver: string;
  readonly vbios: string;
}): Digest {
  const { arch, driver, vbios } = device;
  return digestOfDocument({ tee: "nvidia", arch, driver, vbios });
}

interface DeviceChain extends PathJudgement {
  readonly device: NvidiaDevice;
  /** Whether NVIDIA put one of the certificates on hold: not revoked, and not to be relied on without thought. */
  readonly onHold: boolean;
}

function judgeDeviceChain(
  findings: Findings,
  report: SpdmReport,
  { parts: evidenceParts }: Evidence,
  endorsements: Endorsements,
  nowMs: number,
  roots: TrustRoots,
): DeviceChain | undefined {
  const parts = endorsements.parts as NvidiaParts;
  const leaf = evidenceParts?.["chain"];
  if (leaf === undefined) {
    findings.fail(
      "NVIDIA_CHAIN_MISSING",
      "The evidence does not hold the device's certificates.",
      'Add them to the evidence as its part "chain".',
    );
    return undefined;
  }
  const judgement = findings.attempt("NVIDIA_CHAIN_MALFORMED", () =>
    judgePath({
      leaf,
      others: parts.authorities === undefined ? [] : [parts.authorities],
      crls: parts.crl === undefined ? [] : [parts.crl],
      roots: roots.pins.nvidia ?? [],
      nowMs,
      prefix: "NVIDIA",
      what: "the device's chain",
    }),
  );
  if (judgement === undefined) return undefined;
  findings.refusals.push(...judgement.refusals);
  const certificate = judgement.path[0] as Certificate;
  findings.check(
    verifySignature(
      certificate.publicKey,
      { kind: "ecdsa", hash: "sha384" },
      report.signed,
      report.signature,
    ),
    "NVIDIA_SIGNATURE_INVALID",
    "The report was not signed by the device's key.",
  );
  const device = findings.attempt("NVIDIA_CERTIFICATE_MALFORMED", () => readNvidiaDevice(certificate));
  if (device === undefined) return undefined;
  const fwid = report.opaque.get(OPAQUE.fwid);
  findings.check(
    fwid === undefined || toHex(fwid) === device.fwid,
    "NVIDIA_FIRMWARE_MISMATCH",
    "The report is of other firmware than the device's key was derived for.",
  );
  const answers = partsNamed(endorsements.parts, "ocsp");
  const ocsp = judgeOcsp(findings, judgement.path, answers, nowMs);
  const revocationChecked = judgement.revocationChecked || ocsp.complete;
  return { ...judgement, device, revocationChecked, onHold: ocsp.onHold };
}

/**
 * Holds the chain against OCSP answers. The leaf is the device's own making, so that NVIDIA knows nothing of
 * it: an answer is due for every certificate between it and the root.
 */
function judgeOcsp(
  findings: Findings,
  path: readonly Certificate[],
  answers: readonly Uint8Array[],
  nowMs: number,
): { readonly complete: boolean; readonly onHold: boolean } {
  let onHold = false;
  let covered = 0;
  for (const [depth, certificate] of path.slice(1, -1).entries()) {
    const issuer = path[depth + 2] as Certificate;
    const verdicts = answers.map((answer) => verifyOcsp(answer, { certificate, issuer, nowMs }));
    const about = verdicts.filter(
      (verdict) => verdict.ok || verdict.refusals[0].code !== "OCSP_OTHER_CERTIFICATE",
    );
    for (const verdict of about) {
      if (!verdict.ok) findings.refusals.push(...verdict.refusals);
      else if (verdict.value.reason === "certificateHold") onHold = true;
      else
        findings.check(
          verdict.value.status === "good",
          "NVIDIA_CERTIFICATE_REVOKED",
          revokedText(certificate, verdict.value),
        );
    }
    if (about.length > 0) covered++;
  }
  return { complete: covered > 0 && covered === path.length - 2, onHold };
}

function revokedText(certificate: Certificate, { status, reason }: OcspStatus): string {
  const why = reason === undefined ? "" : ` (${reason})`;
  return `In the device's chain, "${certificate.subjectCommonName ?? "a certificate"}" is ${status}${why} to its issuer's responder.`;
}

function judgeRims(
  findings: Findings,
  { parts }: Endorsements,
  nowMs: number,
  roots: TrustRoots,
): NvidiaRim[] {
  const crls = parts["crl"] === undefined ? [] : [parts["crl"]];
  return partsNamed(parts, "rim").flatMap((bytes) => {
    const rim = verifyNvidiaRim(bytes, { nowMs, roots, authorities: parts["authorities"], crls });
    if (rim.ok) return [rim.value];
    findings.refusals.push(...rim.refusals);
    return [];
  });
}

function partsNamed(parts: Endorsements["parts"], prefix: "rim" | "ocsp"): Uint8Array[] {
  return Object.entries(parts).flatMap(([name, bytes]) => (name.startsWith(prefix) ? [bytes] : []));
}

/** How a report compares with manifests. */
export interface GoldenMatch {
  readonly activeGolden: number;
  readonly mismatchedIndices: readonly number[];
  /** Indices that more than one manifest claims. */
  readonly conflictingIndices: readonly number[];
  /** Whether the manifests are about everything that this device's firmware consists of. */
  readonly complete: boolean;
}

/** Golden index n is measured in block n + 1. */
function matchGolden(report: SpdmReport, rims: readonly NvidiaRim[]): GoldenMatch {
  const golden = new Map<number, readonly string[]>();
  const conflicting = new Set<number>();
  for (const rim of rims) {
    for (const [index, values] of rim.golden) {
      if (golden.has(index)) conflicting.add(index);
      golden.set(index, values);
    }
  }
  const withoutNvdec0 = report.opaque.get(OPAQUE.nvdec0Status)?.[0] === NVDEC0_DISABLED;
  const mismatched = [...golden].flatMap(([index, values]) => {
    if (index === NVDEC0_INDEX && withoutNvdec0) return [];
    const measured = report.blocks.get(index + 1);
    return measured !== undefined && values.includes(toHex(measured)) ? [] : [index];
  });
  const versions = new Set(rims.map(({ version }) => version.toUpperCase()));
  return {
    activeGolden: golden.size,
    mismatchedIndices: mismatched.toSorted((a, b) => a - b),
    conflictingIndices: [...conflicting].toSorted((a, b) => a - b),
    complete: vbiosVersionOf(report) !== undefined && firmwareVersions(report).every((v) => versions.has(v)),
  };
}

function firmwareVersions(report: SpdmReport): string[] {
  return [driverVersionOf(report), vbiosVersionOf(report)].flatMap((version) =>
    version === undefined ? [] : [version.toUpperCase()],
  );
}

function checkMatch(
  findings: Findings,
  report: SpdmReport,
  device: NvidiaDevice,
  rims: readonly NvidiaRim[],
  match: GoldenMatch,
): void {
  const versions = firmwareVersions(report);
  for (const { version, product } of rims) {
    findings.check(
      versions.includes(version.toUpperCase()),
      "NVIDIA_RIM_OTHER_VERSION",
      `The manifest is about version ${version}; the device runs ${versions.join(" and ")}.`,
    );
    findings.check(
      product.slice(0, 2) === device.chip.slice(0, 2),
      "NVIDIA_RIM_OTHER_PRODUCT",
      `The manifest is about ${product}; the device is a ${device.chip}.`,
    );
  }
  findings.check(
    match.conflictingIndices.length === 0,
    "NVIDIA_RIM_CONFLICT",
    `More than one manifest is about the measurements ${match.conflictingIndices.join(", ")}.`,
  );
  findings.check(
    match.mismatchedIndices.length === 0,
    "NVIDIA_MEASUREMENT_MISMATCH",
    `The measurements ${match.mismatchedIndices.join(", ")} are not what the manifests say.`,
  );
}

function checkChallenge(findings: Findings, report: SpdmReport, challenge: Uint8Array | undefined): boolean {
  if (challenge === undefined) return false;
  return findings.check(
    equalBytes(report.requestNonce, nvidiaNonce(challenge)),
    "CHALLENGE_MISMATCH",
    "The device did not answer the challenge that was given.",
  );
}

/**
 * Says what a report holds, as far as it can be read, without judging it.
 * @throws {CloisterError} `NVIDIA_REPORT_MALFORMED` and what reading certificates and manifests throws
 */
export function describeNvidia(evidence: Evidence, endorsements?: Endorsements): Record<string, unknown> {
  const report = parseSpdmReport(evidence.bytes);
  const chain = evidence.parts?.["chain"];
  const device =
    chain === undefined ? undefined : readNvidiaDevice(readCertificates(chain)[0] as Certificate);
  const rims = partsNamed(endorsements?.parts ?? {}, "rim").map(parseNvidiaRim);
  return describe(report, device, rims.length === 0 ? undefined : matchGolden(report, rims));
}

function describe(
  report: SpdmReport,
  device: NvidiaDevice | undefined,
  match: GoldenMatch | undefined,
): Record<string, unknown> {
  const fwid = report.opaque.get(OPAQUE.fwid);
  return {
    ...(device === undefined ? {} : { arch: device.arch, chip: device.chip, serial: device.serial }),
    nonce: toHex(report.requestNonce),
    driver: driverVersionOf(report),
    vbios: vbiosVersionOf(report),
    measurementBlocks: report.blocks.size,
    fwidOpaque: fwid === undefined ? undefined : toHex(fwid),
    fwidLeaf: device?.fwid,
    ...(match === undefined ? {} : { golden: match }),
  };
}

function claimsOf(
  report: SpdmReport,
  { path, device, revocationChecked, onHold }: DeviceChain,
  match: GoldenMatch,
  rest: Pick<Claims, "challengeVerified" | "simulated">,
): Claims {
  const [arch, driver, vbios] = [device.arch, driverVersionOf(report) ?? "", vbiosVersionOf(report) ?? ""];
  return {
    tee: "nvidia",
    ...rest,
    rootFingerprint: pinOf((path.at(-1) as Certificate).publicKey),
    revocationChecked,
    debug: device.debug,
    // Without manifests for all firmware the versions are only what the device says: name the raw values then.
    measurement: match.complete
      ? nvidiaMeasurement({ arch, driver, vbios })
      : digestOfDocument({ tee: "nvidia", arch, blocks: report.blocks }),
    measurements: Object.fromEntries(
      [...report.blocks].map(([index, value]) => [`block${index}`, toHex(value)]),
    ),
    reportData: report.requestNonce,
    tcb: onHold
      ? { status: "OutOfDate", advisoryIds: ["certificateHold"] }
      : { status: "UpToDate", advisoryIds: [] },
    hardwareId: device.serial.toLowerCase(),
    fields: describe(report, device, match),
  };
}
