import { fromUtf8, refuse, accept, type Verdict } from "@cloister/core";
import type { EngineFailureCode } from "./sandbox.ts";

/** What a loader needs to know of an engine before it runs it. */
export interface EngineModule {
  readonly imports: readonly { readonly module: string; readonly name: string }[];
  readonly memoryBytesMin: number;
}

const PAGE_BYTES = 65_536;
const MODULE_BYTES_MAX = 256 * 1024 * 1024;
const ENTRIES_MAX = 100_000;

const SECTION_IMPORT = 2;
const SECTION_MEMORY = 5;
const SECTION_EXPORT = 7;
const KIND_FUNCTION = 0;
const KIND_MEMORY = 2;

const WASI_MODULE = "wasi_snapshot_preview1";

/** The WASI calls an engine may import. Sockets and signals are not among them. spec/engine.md §3 */
export const engineImports: ReadonlySet<string> = new Set([
  "args_get",
  "args_sizes_get",
  "clock_res_get",
  "clock_time_get",
  "environ_get",
  "environ_sizes_get",
  "fd_advise",
  "fd_allocate",
  "fd_close",
  "fd_datasync",
  "fd_fdstat_get",
  "fd_fdstat_set_flags",
  "fd_filestat_get",
  "fd_filestat_set_size",
  "fd_filestat_set_times",
  "fd_pread",
  "fd_prestat_dir_name",
  "fd_prestat_get",
  "fd_pwrite",
  "fd_read",
  "fd_readdir",
  "fd_renumber",
  "fd_seek",
  "fd_sync",
  "fd_tell",
  "fd_write",
  "path_create_directory",
  "path_filestat_get",
  "path_filestat_set_times",
  "path_link",
  "path_open",
  "path_readlink",
  "path_remove_directory",
  "path_rename",
  "path_symlink",
  "path_unlink_file",
  "poll_oneoff",
  "proc_exit",
  "random_get",
  "sched_yield",
]);

/**
 * Judges an engine by its outside alone, without compiling it: that it is a core WebAssembly module,
 * imports nothing but the allowed WASI functions, exports `_start` and one memory of its own, and
 * starts within `memoryBytesMax`. Refusals carry codes of `EngineFailureCode`. spec/engine.md §2, §3
 */
export function inspectEngine(bytes: Uint8Array, memoryBytesMax: number): Verdict<EngineModule> {
  let sections: Sections;
  try {
    sections = readSections(bytes);
  } catch (error) {
    if (!(error instanceof ModuleSyntaxError)) throw error;
    return failed("ENGINE_MALFORMED", `The engine is not a WebAssembly module: ${error.message}.`);
  }
  const foreign = sections.imports.find(
    (entry) => entry.module !== WASI_MODULE || entry.kind !== KIND_FUNCTION || !engineImports.has(entry.name),
  );
  if (foreign !== undefined) {
    const name = `${foreign.module}.${foreign.name}`.slice(0, 120);
    return failed(
      "ENGINE_IMPORT_FORBIDDEN",
      `The engine imports ${name}, which no engine is given.`,
      "An engine may import the functions that spec/engine.md §3 lists.",
    );
  }
  const { memories, exports } = sections;
  const [memory, ...others] = memories;
  if (memory === undefined || others.length > 0 || memory.special) {
    return failed("ENGINE_MALFORMED", "The engine must define exactly one memory, 32-bit and not shared.");
  }
  if (!hasExport(exports, "_start", KIND_FUNCTION) || !hasExport(exports, "memory", KIND_MEMORY)) {
    return failed("ENGINE_MALFORMED", "The engine must export the function _start and its memory.");
  }
  const memoryBytesMin = memory.pagesMin * PAGE_BYTES;
  if (memoryBytesMin > memoryBytesMax) {
    return failed(
      "ENGINE_MEMORY_EXCEEDED",
      `The engine needs ${memoryBytesMin} bytes of memory to start; ${memoryBytesMax} are allowed.`,
    );
  }
  return accept({ imports: sections.imports, memoryBytesMin });
}

function failed(code: EngineFailureCode, reason: string, hint?: string): Verdict<never> {
  return refuse(code, reason, hint);
}

interface Sections {
  imports: { module: string; name: string; kind: number }[];
  memories: { pagesMin: number; special: boolean }[];
  exports: { name: string; kind: number }[];
}

function hasExport(exports: Sections["exports"], name: string, kind: number): boolean {
  return exports.some((entry) => entry.name === name && entry.kind === kind);
}

/** Reads the three sections that matter here (WebAssembly core specification §5.5); others are skipped. */
function readSections(bytes: Uint8Array): Sections {
  if (bytes.length > MODULE_BYTES_MAX) throw new ModuleSyntaxError("it is too large");
  const reader = new Reader(bytes);
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  if (magic.some((byte) => reader.atEnd || reader.byte() !== byte)) {
    throw new ModuleSyntaxError("it does not start as a module of version 1 does");
  }
  const sections: Sections = { imports: [], memories: [], exports: [] };
  while (!reader.atEnd) {
    const id = reader.byte();
    const body = reader.slice(reader.u32());
    if (id === SECTION_IMPORT) sections.imports.push(...body.vector(readImport));
    if (id === SECTION_MEMORY) sections.memories.push(...body.vector(readMemory));
    if (id === SECTION_EXPORT) sections.exports.push(...body.vector(readExport));
  }
  return sections;
}

function readImport(reader: Reader): Sections["imports"][number] {
  const entry = { module: reader.name(), name: reader.name(), kind: reader.byte() };
  // What follows depends on the kind. Only functions are ever allowed, and any other kind is
  // refused by name, so nothing after the first foreign import needs to be read.
  if (entry.kind === KIND_FUNCTION) reader.u32();
  else reader.skipRest();
  return entry;
}

function readMemory(reader: Reader): Sections["memories"][number] {
  const flags = reader.byte();
  const pagesMin = reader.u32();
  if ((flags & 1) !== 0) reader.u32();
  return { pagesMin, special: (flags & ~1) !== 0 };
}

function readExport(reader: Reader): Sections["exports"][number] {
  const entry = { name: reader.name(), kind: reader.byte() };
  reader.u32();
  return entry;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new ModuleSyntaxError("it ends too early");
    return byte;
  }

  /** Unsigned LEB128 of at most 32 bits (§5.2.2). */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value > 0xffffffff) break;
        return value;
      }
    }
    throw new ModuleSyntaxError("a number is too large");
  }

  slice(length: number): Reader {
    if (this.#at + length > this.#bytes.length) throw new ModuleSyntaxError("a section is cut off");
    this.#at += length;
    return new Reader(this.#bytes.subarray(this.#at - length, this.#at));
  }

  name(): string {
    const bytes = this.slice(this.u32()).#bytes;
    try {
      return fromUtf8(bytes);
    } catch {
      throw new ModuleSyntaxError("a name is not text");
    }
  }

  skipRest(): void {
    this.#at = this.#bytes.length;
  }

  /** Reads a counted list; stops early where an element skipped the rest. */
  vector<T>(read: (reader: Reader) => T): T[] {
    const count = this.u32();
    if (count > ENTRIES_MAX) throw new ModuleSyntaxError("a list is too long");
    const list: T[] = [];
    while (list.length < count && !this.atEnd) list.push(read(this));
    return list;
  }
}

class ModuleSyntaxError extends Error {}
