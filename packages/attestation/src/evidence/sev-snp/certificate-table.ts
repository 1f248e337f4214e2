import { concat, toHex } from "@cloister/core";
import { guidBytes } from "../../measure/ovmf.ts";

/** GUIDs of the certificates that a host gives its guest. AMD 56421 §4.1.8.1. */
const NAMES: Readonly<Record<string, keyof SnpCertificateTable>> = {
  [toHex(guidBytes("63da758d-e664-4564-adc5-f4b93be8accd"))]: "vcek",
  [toHex(guidBytes("a8074bc2-a25a-483e-aae6-39c045a0b8a1"))]: "vlek",
  [toHex(guidBytes("4ab7b379-bbac-4fe4-a02f-05aef327c782"))]: "ask",
  [toHex(guidBytes("c0b406a4-a803-4952-9743-3fb6014cd0ae"))]: "ark",
};
const ENTRY_BYTES = 24;
const ENTRIES_MAX = 32;

/** Certificates from the host; worth nothing until their chain is judged. */
export interface SnpCertificateTable {
  readonly vcek?: Uint8Array;
  readonly vlek?: Uint8Array;
  /** The ASK, or the ASVK beside a VLEK. */
  readonly ask?: Uint8Array;
  readonly ark?: Uint8Array;
}

/**
 * Reads a certificate table: the kernel's `auxblob`, or what follows an extended report. Entries that do
 * not fit are passed over: the table is a convenience of the host's, and no statement of anyone's.
 */
export function readSnpCertificateTable(bytes: Uint8Array): SnpCertificateTable {
  const table: { -readonly [name in keyof SnpCertificateTable]: Uint8Array } = {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < ENTRIES_MAX && (i + 1) * ENTRY_BYTES <= bytes.length; i++) {
    const at = i * ENTRY_BYTES;
    const guid = bytes.subarray(at, at + 16);
    if (guid.every((byte) => byte === 0)) break;
    const name = NAMES[toHex(guid)];
    const offset = view.getUint32(at + 16, true);
    const length = view.getUint32(at + 20, true);
    if (name === undefined || length === 0 || offset + length > bytes.length) continue;
    table[name] = bytes.subarray(offset, offset + length);
  }
  return table;
}

/** Writes a certificate table as hosts do. */
export function buildSnpCertificateTable(table: SnpCertificateTable): Uint8Array {
  const entries = Object.entries(NAMES).flatMap(([guid, name]) => {
    const certificate = table[name];
    return certificate === undefined ? [] : [{ guid, certificate }];
  });
  const header = new Uint8Array((entries.length + 1) * ENTRY_BYTES);
  const view = new DataView(header.buffer);
  let offset = header.length;
  entries.forEach(({ guid, certificate }, i) => {
    for (let b = 0; b < 16; b++)
      header[i * ENTRY_BYTES + b] = Number.parseInt(guid.slice(2 * b, 2 * b + 2), 16);
    view.setUint32(i * ENTRY_BYTES + 16, offset, true);
    view.setUint32(i * ENTRY_BYTES + 20, certificate.length, true);
    offset += certificate.length;
  });
  return concat(header, ...entries.map(({ certificate }) => certificate));
}
