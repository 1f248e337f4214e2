import { CloisterError, concat, fromUtf8, utf8 } from "@cloister/core";
import { isEngineFileName, type EngineFile } from "./sandbox.ts";

const BLOCK_BYTES = 512;
const FILES_MAX = 1024;

/**
 * Packs files into one archive, byte for byte the same for the same files: sorted by name, owned by
 * root, dated 1970 (POSIX.1-2017 pax, "ustar Interchange Format"). Any tar unpacks it.
 */
export function packTar(files: readonly EngineFile[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { name, bytes } of files.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    parts.push(header(name, bytes.length), bytes, new Uint8Array(-bytes.length & (BLOCK_BYTES - 1)));
  }
  return concat(...parts, new Uint8Array(2 * BLOCK_BYTES));
}

/**
 * Reads an archive that `packTar` made, and no other.
 * @throws {CloisterError} `RESULT_MALFORMED`
 */
export function unpackTar(archive: Uint8Array): EngineFile[] {
  const files: EngineFile[] = [];
  let at = 0;
  while (at + BLOCK_BYTES <= archive.length && archive[at] !== 0 && files.length < FILES_MAX) {
    const { name, sizeBytes } = readHeader(archive.subarray(at, at + BLOCK_BYTES));
    at += BLOCK_BYTES;
    if (at + sizeBytes > archive.length) throw malformed(`"${name}" is cut off`);
    files.push({ name, bytes: archive.slice(at, at + sizeBytes) });
    at += sizeBytes + (-sizeBytes & (BLOCK_BYTES - 1));
  }
  if (archive.length !== at + 2 * BLOCK_BYTES || archive.subarray(at).some((byte) => byte !== 0)) {
    throw malformed("it does not end as it should");
  }
  return files;
}

function header(name: string, sizeBytes: number): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  const put = (offset: number, text: string): void => block.set(utf8(text), offset);
  put(0, name);
  put(100, "0000644\0");
  put(108, "0000000\0");
  put(116, "0000000\0");
  put(124, `${sizeBytes.toString(8).padStart(11, "0")}\0`);
  put(136, "00000000000\0");
  put(148, "        ");
  put(156, "0");
  put(257, "ustar\x0000");
  put(148, `${checksum(block).toString(8).padStart(6, "0")}\0 `);
  return block;
}

function readHeader(block: Uint8Array): { name: string; sizeBytes: number } {
  const name = textUntilZero(block.subarray(0, 100));
  const sizeText = textUntilZero(block.subarray(124, 136));
  if (!isEngineFileName(name)) throw malformed("a name in it cannot be a file's");
  if (!/^[0-7]{11}$/.test(sizeText)) throw malformed(`"${name}" has no size`);
  const sizeBytes = Number.parseInt(sizeText, 8);
  const expected = header(name, sizeBytes);
  if (expected.some((byte, i) => byte !== block[i]))
    throw malformed(`"${name}" has another header than ours`);
  return { name, sizeBytes };
}

function textUntilZero(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  try {
    return fromUtf8(bytes.subarray(0, end === -1 ? bytes.length : end));
  } catch {
    throw malformed("a name in it is not text");
  }
}

function checksum(block: Uint8Array): number {
  return block.reduce((sum, byte) => sum + byte, 0);
}

function malformed(why: string): CloisterError {
  return new CloisterError("RESULT_MALFORMED", `The result is not an archive of ours: ${why}.`);
}
