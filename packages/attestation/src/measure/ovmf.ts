import { CloisterError, equalBytes, fromHex } from "@cloister/core";

/** A kind of guest memory that the firmware asks the VMM to prepare (edk2 `OvmfSevMetadata.asm`). */
export const SECTION = { memory: 1, secrets: 2, cpuid: 3, svsmCallingArea: 4, kernelHashes: 0x10 } as const;

export interface OvmfSection {
  readonly gpa: number;
  readonly sizeBytes: number;
  readonly kind: number;
}

/** What the launch digest needs to know of an OVMF image. */
export interface Ovmf {
  readonly image: Uint8Array;
  /** Guest address of the image's first byte. */
  readonly gpa: number;
  readonly sections: readonly OvmfSection[];
  /** Guest address of the kernel hashes table, when the firmware checks one. */
  readonly kernelHashesGpa: number | undefined;
  /** Where the other processors start, when the firmware says so. */
  readonly resetEip: number | undefined;
  /** Where every processor starts, when the image is an SVSM. */
  readonly svsmEip: number | undefined;
}

const PAGE_BYTES = 4096;
const IMAGE_BYTES_MAX = 64 * 1024 * 1024;
const SECTIONS_MAX = 256;
const ENTRY_BYTES = 18;
/** Bytes between the end of the table and the end of the image: the reset vector's. */
const TABLE_TAIL_BYTES = 32;

const FOOTER = guidBytes("96b582de-1fb2-45f7-baea-a366c55a082d");
const KERNEL_HASHES = guidBytes("7255371f-3a3b-4b04-927b-1da6efa8d454");
const RESET_BLOCK = guidBytes("00f771de-1a7e-4fcb-890e-68c77e2fb44e");
const SVSM_INFO = guidBytes("a789a612-0597-4c4b-a49f-cbb1fe9d1ddd");
const SEV_METADATA = guidBytes("dc886566-984a-4798-a75e-5585a7bf67cc");

const FOUR_GIB = 2 ** 32;
/** For all that is wrong with an image. */
export const OVMF_HINT = "Give the whole image that the VMM loads: OVMF.fd, or OVMF_CODE.fd.";

/**
 * Reads the table that OVMF keeps at its end, and the SEV metadata that it points to. `endGpa` is where the
 * image ends in the guest's memory.
 * @throws {CloisterError} `MEASURE_OVMF_MALFORMED`
 */
export function parseOvmf(image: Uint8Array, endGpa: number = FOUR_GIB): Ovmf {
  if (image.length === 0 || image.length % PAGE_BYTES !== 0 || image.length > IMAGE_BYTES_MAX) {
    throw malformed(`its ${image.length} bytes are not whole pages up to 64 MiB`);
  }
  const table = readTable(image);
  const pointer = (guid: Uint8Array): number | undefined => {
    const entry = table.find((item) => equalBytes(item.guid, guid))?.data;
    if (entry === undefined) return undefined;
    if (entry.length < 4) throw malformed("a table entry is too short");
    return viewOf(entry).getUint32(0, true);
  };
  const metadataFromEnd = pointer(SEV_METADATA);
  const hashes = pointer(KERNEL_HASHES);
  const svsm = pointer(SVSM_INFO);
  const gpa = endGpa - image.length;
  if (gpa < 0) throw malformed("it does not fit below the address at which it must end");
  return {
    image,
    gpa,
    sections: metadataFromEnd === undefined ? [] : readSections(image, metadataFromEnd),
    kernelHashesGpa: hashes === 0 ? undefined : hashes,
    resetEip: pointer(RESET_BLOCK),
    svsmEip: svsm === undefined ? undefined : svsm + gpa,
  };
}

/** The table is written backwards: each entry ends with its length and GUID, the footer ends them all. */
function readTable(image: Uint8Array): { guid: Uint8Array; data: Uint8Array }[] {
  const footerAt = image.length - TABLE_TAIL_BYTES - ENTRY_BYTES;
  const footer = image.subarray(footerAt, footerAt + ENTRY_BYTES);
  if (!equalBytes(footer.subarray(2), FOOTER)) return [];
  const tableBytes = viewOf(footer).getUint16(0, true) - ENTRY_BYTES;
  if (tableBytes < 0 || tableBytes > footerAt) throw malformed("the table's length is wrong");
  const entries: { guid: Uint8Array; data: Uint8Array }[] = [];
  let rest = image.subarray(footerAt - tableBytes, footerAt);
  while (rest.length >= ENTRY_BYTES) {
    const header = rest.subarray(rest.length - ENTRY_BYTES);
    const length = viewOf(header).getUint16(0, true);
    if (length < ENTRY_BYTES || length > rest.length) throw malformed("a table entry's length is wrong");
    entries.push({
      guid: header.subarray(2),
      data: rest.subarray(rest.length - length, rest.length - ENTRY_BYTES),
    });
    rest = rest.subarray(0, rest.length - length);
  }
  return entries;
}

function readSections(image: Uint8Array, fromEnd: number): OvmfSection[] {
  const at = image.length - fromEnd;
  if (at < 0 || at + 16 > image.length) throw malformed("the SEV metadata lies outside of the image");
  const header = viewOf(image.subarray(at, at + 16));
  const count = header.getUint32(12, true);
  if (header.getUint32(0, false) !== 0x41534556) throw malformed("the SEV metadata lacks its signature ASEV");
  if (header.getUint32(8, true) !== 1) throw malformed("the SEV metadata's version is not 1");
  if (count > SECTIONS_MAX || at + 16 + 12 * count > image.length) {
    throw malformed("the SEV metadata has too many sections");
  }
  const items = viewOf(image.subarray(at + 16, at + 16 + 12 * count));
  return Array.from({ length: count }, (_, i) => {
    const section = {
      gpa: items.getUint32(12 * i, true),
      sizeBytes: items.getUint32(12 * i + 4, true),
      kind: items.getUint32(12 * i + 8, true),
    };
    if (section.sizeBytes % PAGE_BYTES !== 0 || section.sizeBytes > IMAGE_BYTES_MAX) {
      throw malformed("a section of the SEV metadata is not whole pages up to 64 MiB");
    }
    return section;
  });
}

/** The bytes of a GUID as UEFI stores them: the first three fields little-endian. */
export function guidBytes(guid: string): Uint8Array {
  const bytes = fromHex(guid.replaceAll("-", ""));
  const swap = (from: number, to: number): Uint8Array => bytes.slice(from, to).toReversed();
  bytes.set(swap(0, 4), 0);
  bytes.set(swap(4, 6), 4);
  bytes.set(swap(6, 8), 6);
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function malformed(why: string): CloisterError {
  return new CloisterError("MEASURE_OVMF_MALFORMED", `The firmware image cannot be measured: ${why}.`, {
    hint: OVMF_HINT,
  });
}
