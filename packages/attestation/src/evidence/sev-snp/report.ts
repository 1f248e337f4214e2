import { CloisterError, toHex } from "@cloister/core";
import { Reader } from "../../reader.ts";
import type { SnpProduct, SnpTcb } from "../../types.ts";

/** An SNP attestation report, read and judged by nobody yet. AMD 56860 Table 23 ("ATTESTATION_REPORT"). */
export interface SnpReport {
  readonly version: number;
  readonly guestSvn: number;
  readonly policy: bigint;
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  /** 0 to 3 for reports that the guest asked for; all ones for reports that the host asked for. */
  readonly vmpl: number;
  readonly signatureAlgorithm: number;
  readonly currentTcb: Uint8Array;
  readonly platformInfo: bigint;
  readonly flags: number;
  readonly reportData: Uint8Array;
  readonly measurement: Uint8Array;
  readonly hostData: Uint8Array;
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array;
  readonly reportId: Uint8Array;
  readonly reportIdMigrationAgent: Uint8Array;
  readonly reportedTcb: Uint8Array;
  /** Family, model, stepping; zeros before version 3. */
  readonly cpuid: readonly [number, number, number];
  readonly chipId: Uint8Array;
  readonly committedTcb: Uint8Array;
  readonly launchTcb: Uint8Array;
  /** Zero before version 5. */
  readonly launchMitigations: bigint;
  readonly currentMitigations: bigint;
  /** What the signature covers. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
  /** What follows the report: firmware and tools append the certificate table here. */
  readonly trailing: Uint8Array;
}

export const SNP_REPORT_BYTES = 0x4a0;
const SIGNED_BYTES = 0x2a0;
const TRAILING_BYTES_MAX = 64 * 1024;
const VERSION_MAX = 5;

/**
 * Reads a report of version 1 to 5.
 * @throws {CloisterError} `SNP_REPORT_MALFORMED`, `SNP_REPORT_VERSION_UNKNOWN`
 */
export function parseSnpReport(bytes: Uint8Array): SnpReport {
  const reader = new Reader(bytes.subarray(0, SNP_REPORT_BYTES), "SNP_REPORT_MALFORMED");
  if (bytes.length < SNP_REPORT_BYTES || bytes.length > SNP_REPORT_BYTES + TRAILING_BYTES_MAX) {
    throw reader.malformed(`the report has ${bytes.length} bytes instead of ${SNP_REPORT_BYTES}`);
  }
  const version = reader.u32le();
  if (version < 1 || version > VERSION_MAX) {
    throw new CloisterError("SNP_REPORT_VERSION_UNKNOWN", `The report has the unknown version ${version}.`);
  }
  const guestSvn = reader.u32le();
  const policy = reader.u64le();
  const familyId = reader.take(16);
  const imageId = reader.take(16);
  const vmpl = reader.u32le();
  const signatureAlgorithm = reader.u32le();
  const currentTcb = reader.take(8);
  const platformInfo = reader.u64le();
  const flags = reader.u32le();
  reader.take(4);
  const reportData = reader.take(64);
  const measurement = reader.take(48);
  const hostData = reader.take(32);
  const idKeyDigest = reader.take(48);
  const authorKeyDigest = reader.take(48);
  const reportId = reader.take(32);
  const reportIdMigrationAgent = reader.take(32);
  const reportedTcb = reader.take(8);
  const [family = 0, model = 0, stepping = 0] = reader.take(24);
  const chipId = reader.take(64);
  const committedTcb = reader.take(8);
  reader.take(8);
  const launchTcb = reader.take(8);
  const launchMitigations = reader.u64le();
  const currentMitigations = reader.u64le();
  return {
    version,
    guestSvn,
    policy,
    familyId,
    imageId,
    vmpl,
    signatureAlgorithm,
    currentTcb,
    platformInfo,
    flags,
    reportData,
    measurement,
    hostData,
    idKeyDigest,
    authorKeyDigest,
    reportId,
    reportIdMigrationAgent,
    reportedTcb,
    cpuid: version >= 3 ? [family, model, stepping] : [0, 0, 0],
    chipId,
    committedTcb,
    launchTcb,
    launchMitigations: version >= 5 ? launchMitigations : 0n,
    currentMitigations: version >= 5 ? currentMitigations : 0n,
    signed: bytes.subarray(0, SIGNED_BYTES),
    signature: bytes.subarray(SIGNED_BYTES, SNP_REPORT_BYTES),
    trailing: bytes.subarray(SNP_REPORT_BYTES),
  };
}

const NUMBER_FIELD_BYTES = 72;
const NUMBER_BYTES = 48;

/**
 * The signature as r and s, big-endian, 48 bytes each. AMD stores both little-endian in 72 bytes.
 * Undefined when bytes that must be zero are not: the same statement shall have one form only.
 */
export function snpSignature({ signature }: SnpReport): Uint8Array | undefined {
  const numbers = new Uint8Array(2 * NUMBER_BYTES);
  for (let i = 0; i < signature.length; i++) {
    const byte = signature[i] as number;
    const field = Math.floor(i / NUMBER_FIELD_BYTES);
    const at = i % NUMBER_FIELD_BYTES;
    if (field < 2 && at < NUMBER_BYTES) numbers[NUMBER_BYTES * (field + 1) - 1 - at] = byte;
    else if (byte !== 0) return undefined;
  }
  return numbers;
}

/** Reads the eight bytes of a TCB version; their order changed with Turin. AMD 56860 Table 3, 57230 §1.5. */
export function readSnpTcb(bytes: Uint8Array, product: SnpProduct | undefined): SnpTcb {
  const at = (index: number): number => bytes[index] ?? 0;
  return product === "turin"
    ? { fmc: at(0), bl: at(1), tee: at(2), snp: at(3), ucode: at(7) }
    : { bl: at(0), tee: at(1), snp: at(6), ucode: at(7) };
}

/** The product that a CPU of this family and model belongs to, as its certificates name it. */
export function snpProductOfCpu([family, model]: readonly [number, number, number]): SnpProduct | undefined {
  if (family === 0x19 && model <= 0x0f) return "milan";
  // Bergamo and Siena (A0h to AFh) are certified under Genoa.
  if (family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf)))
    return "genoa";
  if (family === 0x1a && model <= 0x1f) return "turin";
  return undefined;
}

/** What the guest's owner allowed at launch. AMD 56860 Table 10 ("guest policy"). */
export interface SnpGuestPolicy {
  readonly abiMinor: number;
  readonly abiMajor: number;
  readonly smt: boolean;
  readonly migrationAgent: boolean;
  readonly debug: boolean;
  readonly singleSocket: boolean;
  readonly cxl: boolean;
  readonly aes256Xts: boolean;
  readonly raplDisabled: boolean;
  readonly ciphertextHiding: boolean;
  readonly pageSwapDisabled: boolean;
}

const POLICY_RESERVED_ONE = 1n << 17n;
const POLICY_KNOWN_BITS = 26n;

/** Reads the guest policy. Undefined when it holds bits of which nothing is known: those may allow anything. */
export function readSnpPolicy(policy: bigint): SnpGuestPolicy | undefined {
  if ((policy & POLICY_RESERVED_ONE) === 0n || policy >> POLICY_KNOWN_BITS !== 0n) return undefined;
  const bit = (index: bigint): boolean => ((policy >> index) & 1n) === 1n;
  return {
    abiMinor: Number(policy & 0xffn),
    abiMajor: Number((policy >> 8n) & 0xffn),
    smt: bit(16n),
    migrationAgent: bit(18n),
    debug: bit(19n),
    singleSocket: bit(20n),
    cxl: bit(21n),
    aes256Xts: bit(22n),
    raplDisabled: bit(23n),
    ciphertextHiding: bit(24n),
    pageSwapDisabled: bit(25n),
  };
}

/** The key that the flags say signed the report. */
export function snpSigningKey({ flags }: SnpReport): "VCEK" | "VLEK" | "none" | "unknown" {
  const names = { 0: "VCEK", 1: "VLEK", 7: "none" } as const;
  return names[((flags >> 2) & 7) as keyof typeof names] ?? "unknown";
}

/** What a reader wants to see of a report; the product decides how TCB bytes are read. */
export function describeSnpReport(
  report: SnpReport,
  product: SnpProduct | undefined,
): Record<string, unknown> {
  return {
    version: report.version,
    ...(product === undefined ? {} : { product }),
    signingKey: snpSigningKey(report),
    policy: `0x${report.policy.toString(16)}`,
    guestPolicy: readSnpPolicy(report.policy),
    vmpl: report.vmpl,
    guestSvn: report.guestSvn,
    familyId: toHex(report.familyId),
    imageId: toHex(report.imageId),
    platformInfo: `0x${report.platformInfo.toString(16)}`,
    measurement: toHex(report.measurement),
    reportData: toHex(report.reportData),
    hostData: toHex(report.hostData),
    idKeyDigest: toHex(report.idKeyDigest),
    authorKeyDigest: toHex(report.authorKeyDigest),
    reportId: toHex(report.reportId),
    reportIdMigrationAgent: toHex(report.reportIdMigrationAgent),
    reportedTcb: readSnpTcb(report.reportedTcb, product),
    currentTcb: readSnpTcb(report.currentTcb, product),
    committedTcb: readSnpTcb(report.committedTcb, product),
    launchTcb: readSnpTcb(report.launchTcb, product),
    launchMitigations: `0x${report.launchMitigations.toString(16)}`,
    currentMitigations: `0x${report.currentMitigations.toString(16)}`,
    chipId: toHex(report.chipId),
    cpuid: report.cpuid,
  };
}
