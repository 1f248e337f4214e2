/**
 * Intel DCAP quotes: SGX quote v3, TDX and SGX quote v4 and v5.
 * Layouts: Intel "SGX ECDSA Quote Library Reference" A.4, "TDX DCAP Quoting Library API" A.3.
 */
import { CloisterError, concat, equalBytes } from "@cloister/core";
import { Reader } from "../../reader.ts";

export const TEE_SGX = 0;
export const TEE_TDX = 0x81;
const MALFORMED = "DCAP_QUOTE_MALFORMED";
const QUOTE_BYTES_MAX = 1 << 18;
const HEADER_BYTES = 48;
const ATTESTATION_KEY_ECDSA_P256 = 2;
const CERTIFICATION_PCK_CHAIN = 5;
const CERTIFICATION_QE_REPORT = 6;

/** An SGX enclave's report (384 bytes): of an application enclave, or of the quoting enclave. */
export interface EnclaveReport {
  readonly raw: Uint8Array;
  readonly cpuSvn: Uint8Array;
  /** Four bytes, little-endian. */
  readonly miscSelect: Uint8Array;
  readonly attributes: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Uint8Array;
}

/** A trust domain's report: 584 bytes (TD 1.0), 648 with the last two members (TD 1.5). */
export interface TdReport {
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: Uint8Array;
  readonly tdAttributes: Uint8Array;
  readonly xfam: Uint8Array;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  readonly reportData: Uint8Array;
  readonly teeTcbSvn2?: Uint8Array;
  readonly mrServiceTd?: Uint8Array;
}

/** A quote that was read, and judged by nobody yet. */
export interface Quote {
  readonly version: 3 | 4 | 5;
  readonly teeType: typeof TEE_SGX | typeof TEE_TDX;
  readonly body:
    | { readonly kind: "sgx"; readonly report: EnclaveReport }
    | { readonly kind: "tdx"; readonly report: TdReport };
  /** What `signature` covers. */
  readonly signed: Uint8Array;
  /** r and s. */
  readonly signature: Uint8Array;
  /** x and y of the attestation key. */
  readonly attestationKey: Uint8Array;
  readonly qeReport: EnclaveReport;
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  readonly certificationType: number;
  readonly certificationData: Uint8Array;
  /** How many bytes follow the quote; attesters pad, and nothing vouches for the padding. */
  readonly trailingBytes: number;
}

/** Reads a quote; bytes that follow it are allowed and ignored. @throws {CloisterError} `DCAP_QUOTE_MALFORMED` */
export function parseQuote(bytes: Uint8Array): Quote {
  if (bytes.length > QUOTE_BYTES_MAX) throw malformed("it is larger than any quote");
  const reader = new Reader(bytes, MALFORMED);
  const version = reader.u16le();
  if (version !== 3 && version !== 4 && version !== 5) throw malformed(`version ${version} is not known`);
  if (reader.u16le() !== ATTESTATION_KEY_ECDSA_P256)
    throw malformed("its attestation key is not ECDSA P-256");
  const teeType = reader.u32le();
  if (teeType !== TEE_SGX && (teeType !== TEE_TDX || version === 3))
    throw malformed(`TEE type ${teeType} is not known in version ${version}`);
  reader.take(4);
  if (!equalBytes(reader.take(16), INTEL_QE_VENDOR_ID)) throw malformed("its quoting enclave is not Intel's");
  reader.take(HEADER_BYTES - reader.at);
  const body = readBody(reader, version, teeType);
  const signed = bytes.subarray(0, reader.at);
  const data = new Reader(reader.take(reader.u32le()), MALFORMED);
  const signature = data.take(64);
  const attestationKey = data.take(64);
  const certification = version === 3 ? readCertification(data) : readNestedCertification(data);
  data.end();
  const trailingBytes = bytes.length - reader.at;
  return { version, teeType, body, signed, signature, attestationKey, trailingBytes, ...certification };
}

function readBody(reader: Reader, version: number, teeType: number): Quote["body"] {
  if (version < 5) {
    if (teeType === TEE_SGX) return { kind: "sgx", report: readEnclaveReport(reader.take(384)) };
    return { kind: "tdx", report: readTdReport(reader.take(584)) };
  }
  const type = reader.u16le();
  const size = reader.u32le();
  const sizes: Readonly<Record<number, number>> = { 1: 384, 2: 584, 3: 648 };
  if (sizes[type] !== size) throw malformed(`body type ${type} of ${size} bytes is not known`);
  if ((type === 1) !== (teeType === TEE_SGX))
    throw malformed("its body is of another TEE than its header says");
  const body = reader.take(size);
  return type === 1
    ? { kind: "sgx", report: readEnclaveReport(body) }
    : { kind: "tdx", report: readTdReport(body) };
}

type Certification = Pick<
  Quote,
  "qeReport" | "qeReportSignature" | "qeAuthData" | "certificationType" | "certificationData"
>;

/** From version 4 on, the quoting enclave's report travels inside certification data of type 6. */
function readNestedCertification(data: Reader): Certification {
  const type = data.u16le();
  if (type !== CERTIFICATION_QE_REPORT)
    throw malformed(`certification data of type ${type} stands where 6 is due`);
  const nested = new Reader(data.take(data.u32le()), MALFORMED);
  const certification = readCertification(nested);
  nested.end();
  return certification;
}

function readCertification(data: Reader): Certification {
  const qeReport = readEnclaveReport(data.take(384));
  const qeReportSignature = data.take(64);
  const qeAuthData = data.take(data.u16le());
  const certificationType = data.u16le();
  const certificationData = data.take(data.u32le());
  return { qeReport, qeReportSignature, qeAuthData, certificationType, certificationData };
}

/** The PEM of the PCK chain that the quote carries, if it does. */
export function embeddedPckChain(quote: Quote): Uint8Array | undefined {
  return quote.certificationType === CERTIFICATION_PCK_CHAIN ? quote.certificationData : undefined;
}

export function readEnclaveReport(raw: Uint8Array): EnclaveReport {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  return {
    raw,
    cpuSvn: raw.subarray(0, 16),
    miscSelect: raw.subarray(16, 20),
    attributes: raw.subarray(48, 64),
    mrEnclave: raw.subarray(64, 96),
    mrSigner: raw.subarray(128, 160),
    isvProdId: view.getUint16(256, true),
    isvSvn: view.getUint16(258, true),
    reportData: raw.subarray(320, 384),
  };
}

function readTdReport(raw: Uint8Array): TdReport {
  const reader = new Reader(raw, MALFORMED);
  const report = {
    teeTcbSvn: reader.take(16),
    mrSeam: reader.take(48),
    mrSignerSeam: reader.take(48),
    seamAttributes: reader.take(8),
    tdAttributes: reader.take(8),
    xfam: reader.take(8),
    mrTd: reader.take(48),
    mrConfigId: reader.take(48),
    mrOwner: reader.take(48),
    mrOwnerConfig: reader.take(48),
    rtmrs: [reader.take(48), reader.take(48), reader.take(48), reader.take(48)] as const,
    reportData: reader.take(64),
  };
  return raw.length === 648
    ? { ...report, teeTcbSvn2: reader.take(16), mrServiceTd: reader.take(48) }
    : report;
}

/** Writes a quote of version 4 over a TD 1.0 report, signed by whoever holds the attestation key. */
export function encodeTdxQuoteV4(parts: {
  readonly report: Omit<TdReport, "teeTcbSvn2" | "mrServiceTd">;
  readonly sign: (signed: Uint8Array) => Uint8Array;
  readonly attestationKey: Uint8Array;
  readonly qeReport: Uint8Array;
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  readonly pckChainPem: Uint8Array;
}): Uint8Array {
  const { report } = parts;
  const header = concat(
    u16(4),
    u16(ATTESTATION_KEY_ECDSA_P256),
    u32(TEE_TDX),
    new Uint8Array(4),
    INTEL_QE_VENDOR_ID,
  );
  const signed = concat(
    ...[
      header,
      new Uint8Array(20),
      report.teeTcbSvn,
      report.mrSeam,
      report.mrSignerSeam,
      report.seamAttributes,
    ],
    ...[
      report.tdAttributes,
      report.xfam,
      report.mrTd,
      report.mrConfigId,
      report.mrOwner,
      report.mrOwnerConfig,
    ],
    ...[...report.rtmrs, report.reportData],
  );
  const certification = concat(
    ...[parts.qeReport, parts.qeReportSignature, u16(parts.qeAuthData.length), parts.qeAuthData],
    ...[u16(CERTIFICATION_PCK_CHAIN), u32(parts.pckChainPem.length), parts.pckChainPem],
  );
  const data = concat(
    ...[parts.sign(signed), parts.attestationKey],
    ...[u16(CERTIFICATION_QE_REPORT), u32(certification.length), certification],
  );
  return concat(signed, u32(data.length), data);
}

/** Intel's quoting enclave. */
export const INTEL_QE_VENDOR_ID = new Uint8Array([
  0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
]);

function u16(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, value >> 8]);
}

function u32(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]);
}

function malformed(why: string): CloisterError {
  return new CloisterError(MALFORMED, `The bytes are not a DCAP quote: ${why}.`);
}
