/**
 * The report of Azure's paravisor (HCL) in a CVM: a hardware report, and the runtime data that its report
 * data is the hash of. The runtime data names the vTPM's attestation key.
 * Source: Azure "confidential VM guest attestation design".
 */
import { CloisterError, fromBase64, fromUtf8, sha256, sha384, sha512 } from "@cloister/core";
import { derSequence, derUnsigned } from "../../der.ts";
import { publicKeyFrom, type PublicKey } from "../../public-key.ts";
import { Reader } from "../../reader.ts";

export interface HclReport {
  readonly kind: "snp" | "tdx";
  /** SNP report of 1184 bytes, or TDREPORT of 1024 with padding. */
  readonly hardwareReport: Uint8Array;
  /** What the hardware's report data must begin with; zeros follow. */
  readonly runtimeDataHash: Uint8Array;
  readonly attestationKey: PublicKey;
  /** Data of the guest's, lower-case hex; may be empty. */
  readonly userData: string;
}

const CODE = "AZURE_HCL_MALFORMED";
const REPORT_BYTES_MAX = 16 * 1024;
const HARDWARE_REPORT_BYTES = 1184;
const KINDS = { 2: "snp", 4: "tdx" } as const;
const HASHES = { 1: sha256, 2: sha384, 3: sha512 } as const;
const ATTESTATION_KEY_ID = "HCLAkPub";

/** Reads a report. @throws {CloisterError} `AZURE_HCL_MALFORMED` */
export function parseHclReport(bytes: Uint8Array): HclReport {
  const reader = new Reader(bytes, CODE);
  if (bytes.length > REPORT_BYTES_MAX) throw reader.malformed("it is larger than any report");
  if (fromAscii(reader.take(4)) !== "HCLA") throw reader.malformed("it lacks the mark HCLA");
  reader.take(28);
  const hardwareReport = reader.take(HARDWARE_REPORT_BYTES);
  reader.take(8);
  const kind = KINDS[reader.u32le() as keyof typeof KINDS];
  const hash = HASHES[reader.u32le() as keyof typeof HASHES];
  if (kind === undefined || hash === undefined) throw reader.malformed("its kind or its hash is not known");
  const runtimeData = reader.take(reader.u32le());
  return { kind, hardwareReport, runtimeDataHash: hash(runtimeData), ...readRuntimeData(runtimeData) };
}

function readRuntimeData(bytes: Uint8Array): Pick<HclReport, "attestationKey" | "userData"> {
  let data: Record<string, unknown>;
  try {
    data = Object(JSON.parse(fromUtf8(bytes))) as Record<string, unknown>;
  } catch {
    throw new CloisterError(CODE, "The report's runtime data are not JSON.");
  }
  const { keys, "user-data": userData } = data;
  const isKey = (key: unknown): boolean => (Object(key) as { kid?: unknown }).kid === ATTESTATION_KEY_ID;
  const own = Array.isArray(keys) ? keys.filter(isKey) : [];
  const [key] = own;
  if (own.length !== 1) throw new CloisterError(CODE, "The runtime data do not name one attestation key.");
  return {
    attestationKey: readRsaJwk(key as Record<string, unknown>),
    userData: typeof userData === "string" ? userData.toLowerCase().slice(0, 256) : "",
  };
}

function readRsaJwk({ kty, n, e }: Record<string, unknown>): PublicKey {
  if (kty !== "RSA" || typeof n !== "string" || typeof e !== "string" || n.length > 1024 || e.length > 16) {
    throw new CloisterError(CODE, "The attestation key is not one of RSA.");
  }
  return publicKeyFrom("rsa", derSequence(derUnsigned(fromBase64(n)), derUnsigned(fromBase64(e))));
}

function fromAscii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
