/**
 * SPDM GET_MEASUREMENTS as NVIDIA's GPUs and switches answer it: the request and the signed response, one
 * after the other. DMTF DSP0274 1.1 §10.11; the opaque data is NVIDIA's own.
 */
import { CloisterError, fromUtf8, toHex } from "@cloister/core";
import { Reader } from "../../reader.ts";

/** A report, read and judged by nobody yet. */
export interface SpdmReport {
  readonly requestNonce: Uint8Array;
  readonly responderNonce: Uint8Array;
  readonly slot: number;
  /** Measured values by block index, which starts at 1. */
  readonly blocks: ReadonlyMap<number, Uint8Array>;
  /** NVIDIA's opaque data by type. */
  readonly opaque: ReadonlyMap<number, Uint8Array>;
  readonly signed: Uint8Array;
  /** r and s. */
  readonly signature: Uint8Array;
}

const REPORT_BYTES_MAX = 64 * 1024;
const SPDM_1_1 = 0x11;
const GET_MEASUREMENTS = 0xe0;
const MEASUREMENTS = 0x60;
const SIGNATURE_REQUESTED = 1;
const ALL_MEASUREMENTS = 0xff;
const NONCE_BYTES = 32;
const SIGNATURE_BYTES = 96;
const DMTF = 1;
const VBIOS_NUMBER_BYTES = 8;
const CODE = "NVIDIA_REPORT_MALFORMED";

/** Types in NVIDIA's opaque data. */
export const OPAQUE = {
  driverVersion: 3,
  vbiosVersion: 6,
  nvdec0Status: 11,
  boardId: 14,
  chipSku: 15,
  project: 17,
  projectSku: 18,
  fwid: 20,
  protectedPcie: 21,
  switchPdis: 22,
  dataVersion: 34,
  chipInfo: 35,
  featureFlag: 36,
} as const;

/**
 * Reads a report.
 * @throws {CloisterError} `NVIDIA_REPORT_MALFORMED`
 */
export function parseSpdmReport(bytes: Uint8Array): SpdmReport {
  const reader = new Reader(bytes, CODE);
  if (bytes.length > REPORT_BYTES_MAX) throw reader.malformed("it is larger than any report");
  const [version, code, wantsSignature, operation] = reader.take(4);
  if (version !== SPDM_1_1 || code !== GET_MEASUREMENTS)
    throw reader.malformed("it is no SPDM 1.1 GET_MEASUREMENTS");
  if (wantsSignature !== SIGNATURE_REQUESTED || operation !== ALL_MEASUREMENTS) {
    throw reader.malformed("the request is not for all measurements with a signature");
  }
  const requestNonce = reader.take(NONCE_BYTES);
  const slot = reader.u8();
  const [responseVersion, responseCode] = reader.take(4);
  if (responseVersion !== SPDM_1_1 || responseCode !== MEASUREMENTS) {
    throw reader.malformed("the response is no SPDM 1.1 MEASUREMENTS");
  }
  const blockCount = reader.u8();
  const record = reader.take(reader.u24le());
  const responderNonce = reader.take(NONCE_BYTES);
  const opaque = reader.take(reader.u16le());
  const signed = bytes.subarray(0, reader.at);
  const signature = reader.take(SIGNATURE_BYTES);
  // Some drivers pad what they hand out; zeros say nothing, and nothing else may follow the signature.
  if (reader.take(reader.left).some((byte) => byte !== 0))
    throw reader.malformed("bytes follow its signature");
  return {
    requestNonce,
    responderNonce,
    slot,
    blocks: readBlocks(record, blockCount),
    opaque: readOpaque(opaque),
    signed,
    signature,
  };
}

function readBlocks(record: Uint8Array, blockCount: number): Map<number, Uint8Array> {
  const reader = new Reader(record, CODE);
  const blocks = new Map<number, Uint8Array>();
  while (reader.left > 0) {
    const index = reader.u8();
    const specification = reader.u8();
    const block = new Reader(reader.take(reader.u16le()), CODE);
    if (specification !== DMTF) throw reader.malformed(`block ${index} is not in DMTF's form`);
    block.u8();
    const value = block.take(block.u16le());
    block.end();
    if (blocks.has(index)) throw reader.malformed(`block ${index} stands twice`);
    blocks.set(index, value);
  }
  if (blocks.size !== blockCount)
    throw reader.malformed(`there are ${blocks.size} blocks instead of ${blockCount}`);
  return blocks;
}

function readOpaque(data: Uint8Array): Map<number, Uint8Array> {
  const reader = new Reader(data, CODE);
  const fields = new Map<number, Uint8Array>();
  while (reader.left > 0) {
    const type = reader.u16le();
    const value = reader.take(reader.u16le());
    if (fields.has(type)) throw reader.malformed(`the opaque data has type ${type} twice`);
    fields.set(type, value);
  }
  return fields;
}

/** The driver's version. Undefined for devices without a driver of their own. */
export function driverVersionOf({ opaque }: SpdmReport): string | undefined {
  const bytes = opaque.get(OPAQUE.driverVersion);
  return bytes === undefined ? undefined : readText(bytes);
}

/**
 * The VBIOS version as NVIDIA writes it, `96.00.A5.00.01`. Switches give it as text, GPUs as a number: its
 * upper half, then the byte below it.
 */
export function vbiosVersionOf({ opaque }: SpdmReport): string | undefined {
  const bytes = opaque.get(OPAQUE.vbiosVersion);
  if (bytes === undefined) return undefined;
  if (bytes.length !== VBIOS_NUMBER_BYTES) return readText(bytes).toUpperCase();
  const digits = toHex(bytes.toReversed()).toUpperCase();
  const half = digits.length / 2;
  const pairs = (digits.slice(half) + digits.slice(half - 2, half)).match(/../g) ?? [];
  return pairs.join(".");
}

function readText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  try {
    return fromUtf8(end < 0 ? bytes : bytes.subarray(0, end)).slice(0, 200);
  } catch {
    throw new CloisterError(CODE, "A version in the report is not text.");
  }
}
