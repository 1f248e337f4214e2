/**
 * Directories as one deterministic archive: POSIX ustar, with pax records where a path or a size needs them
 * (POSIX.1-2017, pax). The same files give the same bytes; any tar unpacks them. spec/sealed-objects.md §6
 */
import { CloisterError, concat, fromUtf8, utf8 } from "@cloister/core";
import type { Chunks } from "./stream.ts";

const BLOCK_BYTES = 512;
const NAME_BYTES_MAX = 100;
const SIZE_MAX = 0o77777777777;
const PAX_BYTES_MAX = 64 * 1024;
const PATH_BYTES_MAX = 4096;
/** Names in one path. People's folders stay far below; each level costs whoever unpacks a folder. */
const PATH_PARTS_MAX = 128;
const AS_IT_IS =
  "It is no folder that was packed here: take the archive as it is, and look into it with care.";

/** A file or directory to be packed. Paths are relative, with `/` between their parts. */
export interface TarSource {
  readonly path: string;
  readonly kind: "file" | "directory";
  readonly sizeBytes: number;
  readonly isExecutable: boolean;
  read(): Chunks;
}

/** A file or directory out of an archive. Take its content before the next entry. */
export interface TarEntry {
  readonly path: string;
  readonly kind: "file" | "directory";
  readonly sizeBytes: number;
  readonly isExecutable: boolean;
  readonly content: AsyncIterable<Uint8Array>;
}

/** What an archive may hold at most. */
export interface TarLimits {
  /** Files and folders, those too that a path implies. */
  readonly entriesMax: number;
  /** Of all files together. */
  readonly bytesMax: number;
}

/**
 * Packs files and directories, sorted by path.
 * @throws {CloisterError} `TAR_PATH_INVALID`, `TAR_PATH_TWICE`, `TAR_SIZE_CHANGED` when a file has other than its stated size
 */
export async function* packTar(sources: readonly TarSource[]): AsyncGenerator<Uint8Array> {
  const sorted = sources.toSorted((a, b) => compareBytes(utf8(a.path), utf8(b.path)));
  const seen = new PathGuard("Rename it, then pack the folder again.");
  for (const source of sorted) {
    seen.admit(source.path, source.kind);
    const sizeBytes = source.kind === "file" ? source.sizeBytes : 0;
    yield headersOf(source, sizeBytes);
    if (source.kind === "file") yield* exactly(source, sizeBytes);
    yield new Uint8Array(-sizeBytes & (BLOCK_BYTES - 1));
  }
  yield new Uint8Array(2 * BLOCK_BYTES);
}

/**
 * Unpacks an archive that may be hostile: regular files and directories only, within the limits, and no path
 * that leads anywhere but below the place it is unpacked to.
 * @throws {CloisterError} `TAR_PATH_INVALID`, `TAR_PATH_TWICE`, `TAR_TYPE_NOT_ALLOWED`, `TAR_TOO_LARGE`, `TAR_MALFORMED`
 */
export async function* unpackTar(archive: Chunks, limits: TarLimits): AsyncGenerator<TarEntry> {
  const reader = new BlockReader(archive);
  const seen = new PathGuard(AS_IT_IS);
  let entries = 0;
  let bytes = 0;
  for (;;) {
    const found = await readEntry(reader);
    if (found === undefined) break;
    bytes += found.sizeBytes;
    if (++entries > limits.entriesMax || bytes > limits.bytesMax) throw tooLarge(limits);
    seen.admit(found.path, found.kind);
    if (seen.count > limits.entriesMax) throw tooLarge(limits);
    const content = reader.content(found.sizeBytes);
    yield { ...found, content };
    for await (const left of content) void left;
    await reader.skipPadding(found.sizeBytes);
  }
  await reader.expectEnd();
}

async function* exactly(source: TarSource, sizeBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  const changed = () =>
    tarError(
      "TAR_SIZE_CHANGED",
      `${source.path} changed while it was packed.`,
      "Try again when nothing writes to it.",
    );
  for await (const piece of source.read()) {
    bytes += piece.length;
    if (bytes > sizeBytes) throw changed();
    yield piece;
  }
  if (bytes !== sizeBytes) throw changed();
}

function headersOf(source: TarSource, sizeBytes: number): Uint8Array {
  const path = source.kind === "directory" ? `${source.path}/` : source.path;
  const mode = source.kind === "directory" || source.isExecutable ? 0o755 : 0o644;
  const type = source.kind === "directory" ? "5" : "0";
  const records: [string, string][] = [];
  if (utf8(path).length > NAME_BYTES_MAX || !/^[ -~]*$/.test(path)) records.push(["path", path]);
  if (sizeBytes > SIZE_MAX) records.push(["size", String(sizeBytes)]);
  const name = utf8(path).length > NAME_BYTES_MAX ? "long-path" : path.replace(/[^ -~]/g, "_");
  const main = header(name, mode, Math.min(sizeBytes, SIZE_MAX), type);
  if (records.length === 0) return main;
  const pax = concat(...records.map(([key, value]) => paxRecord(key, value)));
  return concat(
    header("pax", 0o644, pax.length, "x"),
    pax,
    new Uint8Array(-pax.length & (BLOCK_BYTES - 1)),
    main,
  );
}

/** `length key=value\n`, where the length counts itself. */
function paxRecord(key: string, value: string): Uint8Array {
  const rest = utf8(` ${key}=${value}\n`).length;
  let length = rest;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  return utf8(`${length} ${key}=${value}\n`);
}

function header(name: string, mode: number, sizeBytes: number, type: string): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  const put = (offset: number, text: string) => block.set(utf8(text), offset);
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width, "0")}\0`;
  put(0, name);
  put(100, octal(mode, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(sizeBytes, 11));
  put(136, octal(0, 11));
  put(148, "        ");
  put(156, type);
  put(257, "ustar\x0000");
  put(148, `${checksumOf(block).toString(8).padStart(6, "0")}\0 `);
  return block;
}

interface FoundEntry {
  readonly path: string;
  readonly kind: "file" | "directory";
  readonly sizeBytes: number;
  readonly isExecutable: boolean;
}

async function readEntry(reader: BlockReader): Promise<FoundEntry | undefined> {
  let block = await reader.block();
  let pax: ReadonlyMap<string, string> = new Map();
  if (block[156] === "x".charCodeAt(0)) {
    const { sizeBytes } = readHeader(block);
    if (sizeBytes > PAX_BYTES_MAX) throw malformed("a pax header is too large");
    pax = readPax(await reader.whole(sizeBytes));
    block = await reader.block();
    if (isZero(block)) throw malformed("a pax header stands alone");
  }
  if (isZero(block)) return undefined;
  const { path, sizeBytes, type, mode } = readHeader(block);
  if (type !== "0" && type !== "\0" && type !== "5") {
    throw tarError(
      "TAR_TYPE_NOT_ALLOWED",
      `The archive holds something that is neither a file nor a directory ("${path.slice(0, 80)}").`,
      "Links and devices are never unpacked.",
    );
  }
  const kind = type === "5" ? "directory" : "file";
  const size = pax.get("size") === undefined ? sizeBytes : readSize(pax.get("size") as string, 10);
  if (kind === "directory" && size !== 0) throw malformed("a directory has content");
  const named = pax.get("path") ?? path;
  return {
    path: kind === "directory" ? named.replace(/\/$/, "") : named,
    kind,
    sizeBytes: size,
    isExecutable: (mode & 0o100) !== 0,
  };
}

function readHeader(block: Uint8Array): { path: string; sizeBytes: number; type: string; mode: number } {
  const field = (offset: number, length: number) => textOf(block.subarray(offset, offset + length));
  if (field(257, 5) !== "ustar") throw malformed("a header is not ustar");
  // Six digits, NUL, space, as every tar writes it: the checksum does not cover its own field.
  if (block[154] !== 0 || block[155] !== 32) throw malformed("a header's checksum is not written as one");
  const stated = readSize(field(148, 6), 8);
  const blank = Uint8Array.from(block);
  blank.fill(32, 148, 156);
  if (stated !== checksumOf(blank)) throw malformed("a header's checksum is wrong");
  const prefix = field(345, 155);
  const name = field(0, 100);
  const type = String.fromCharCode(block[156] as number);
  return {
    path: prefix === "" ? name : `${prefix}/${name}`,
    sizeBytes: readSize(field(124, 12).trim(), 8),
    type,
    mode: readSize(field(100, 8).trim(), 8),
  };
}

function readPax(bytes: Uint8Array): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(32, at);
    const length = space === -1 ? 0 : readSize(textOf(bytes.subarray(at, space)), 10);
    if (length < space - at + 2 || at + length > bytes.length || bytes[at + length - 1] !== 10)
      throw malformed("a pax record has a wrong length");
    const record = textOf(bytes.subarray(space + 1, at + length - 1));
    const equals = record.indexOf("=");
    if (equals < 1) throw malformed("a pax record has no key");
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

function readSize(text: string, radix: 8 | 10): number {
  const digits = radix === 8 ? /^[0-7]{1,12}$/ : /^(0|[1-9][0-9]{0,15})$/;
  const value = digits.test(text) ? Number.parseInt(text, radix) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw malformed("a number in a header is malformed");
}

/** What lies in a folder, by name. */
type Folder = Map<string, Folder | "file">;

/** Remembers paths and refuses what would be written twice or through something else. */
class PathGuard {
  readonly #root: Folder = new Map();
  readonly #hint: string;
  #count = 0;

  /** `hint` says what to do about a path that is refused. */
  constructor(hint: string) {
    this.#hint = hint;
  }

  /** Files and folders so far; a path that is admitted may imply many folders. */
  get count(): number {
    return this.#count;
  }

  admit(path: string, kind: "file" | "directory"): void {
    const parts = path.split("/");
    // oxlint-disable-next-line no-control-regex -- control characters are what is refused
    const isBad =
      utf8(path).length > PATH_BYTES_MAX || /[\\\u0000-\u001f\u007f]/.test(path) || !path.isWellFormed();
    if (isBad || parts.some((part) => part === "" || part === "." || part === ".."))
      throw this.#refusal("TAR_PATH_INVALID", path, "is not a path below the archive's place");
    if (parts.length > PATH_PARTS_MAX)
      throw this.#refusal("TAR_PATH_INVALID", path, `lies deeper than ${PATH_PARTS_MAX - 1} folders`);
    const name = parts.pop() as string;
    let folder = this.#root;
    for (const [depth, part] of parts.entries()) {
      const above = folder.get(part) ?? this.#add(folder, part, "directory");
      if (above === "file")
        throw this.#refusal("TAR_PATH_TWICE", parts.slice(0, depth + 1).join("/"), "is a file and a folder");
      folder = above;
    }
    const before = folder.get(name);
    if (before === undefined) this.#add(folder, name, kind);
    else if (before === "file" || kind === "file")
      throw this.#refusal("TAR_PATH_TWICE", path, "is in the archive twice");
  }

  #add(folder: Folder, name: string, kind: "file" | "directory"): Folder | "file" {
    const added = kind === "file" ? "file" : new Map();
    folder.set(name, added);
    this.#count++;
    return added;
  }

  #refusal(code: string, path: string, what: string): CloisterError {
    return tarError(code, `"${path.slice(0, 80)}" ${what}.`, this.#hint);
  }
}

/** Reads an archive in blocks and holds at most one piece of it. */
class BlockReader {
  readonly #pieces: AsyncGenerator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(archive: Chunks) {
    this.#pieces = (async function* () {
      yield* archive;
    })();
  }

  block(): Promise<Uint8Array> {
    return this.#take(BLOCK_BYTES);
  }

  /** Small content and the padding behind it. */
  async whole(sizeBytes: number): Promise<Uint8Array> {
    const bytes = await this.#take(sizeBytes);
    await this.skipPadding(sizeBytes);
    return bytes;
  }

  async *content(sizeBytes: number): AsyncGenerator<Uint8Array> {
    for (let left = sizeBytes; left > 0;) {
      if (this.#rest.length === 0) await this.#more();
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async skipPadding(sizeBytes: number): Promise<void> {
    if (!isZero(await this.#take(-sizeBytes & (BLOCK_BYTES - 1)))) throw malformed("padding is not zero");
  }

  /** The second block of zeros, and nothing but zeros behind it: tar pads to 10 KiB. */
  async expectEnd(): Promise<void> {
    if (!isZero(await this.block())) throw malformed("it does not end as it should");
    if (!isZero(this.#rest)) throw malformed("something follows its end");
    for await (const piece of this.#pieces) if (!isZero(piece)) throw malformed("something follows its end");
  }

  async #take(sizeBytes: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let left = sizeBytes; left > 0;) {
      if (this.#rest.length === 0) await this.#more();
      const part = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(part.length);
      left -= part.length;
      parts.push(part);
    }
    return concat(...parts);
  }

  async #more(): Promise<void> {
    const next = await this.#pieces.next();
    if (next.done === true) throw malformed("it is cut off");
    this.#rest = next.value;
  }
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  try {
    return fromUtf8(end === -1 ? bytes : bytes.subarray(0, end));
  } catch {
    throw malformed("a name is not text");
  }
}

function checksumOf(block: Uint8Array): number {
  return block.reduce((sum, byte) => sum + byte, 0);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number);
  }
  return a.length - b.length;
}

function malformed(why: string): CloisterError {
  return tarError("TAR_MALFORMED", `The archive is malformed: ${why}.`, AS_IT_IS);
}

function tooLarge({ entriesMax, bytesMax }: TarLimits): CloisterError {
  return tarError(
    "TAR_TOO_LARGE",
    `The archive holds more than ${entriesMax} entries or ${bytesMax} bytes.`,
    AS_IT_IS,
  );
}

function tarError(code: string, message: string, hint: string): CloisterError {
  return new CloisterError(code, message, { hint });
}
