/**
 * The few WASI preview1 calls this engine makes: whole files in, whole files out, exit.
 * The preopened root is descriptor 3; paths are relative to it. spec/engine.md §3
 */

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_open")
declare function path_open(
  directory: i32,
  lookupFlags: i32,
  path: usize,
  pathLength: i32,
  openFlags: i32,
  rights: u64,
  rightsInheriting: u64,
  descriptorFlags: i32,
  opened: usize,
): i32;

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(descriptor: i32, vectors: usize, vectorCount: i32, read: usize): i32;

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(descriptor: i32, vectors: usize, vectorCount: i32, written: usize): i32;

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_readdir")
declare function fd_readdir(descriptor: i32, buffer: usize, length: i32, cookie: u64, used: usize): i32;

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_close")
declare function fd_close(descriptor: i32): i32;

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(code: i32): void;

const ROOT: i32 = 3;
const STDERR: i32 = 2;
const OPEN_CREATE: i32 = 1;
const OPEN_DIRECTORY: i32 = 2;
const OPEN_TRUNCATE: i32 = 8;
const RIGHT_READ: u64 = 2;
const RIGHT_WRITE: u64 = 64;
const RIGHT_READ_DIRECTORY: u64 = 16384;
const DIRENT_BYTES: i32 = 24;
const CHUNK_BYTES: i32 = 65536;

/** Where calls put their results: an io vector in the first eight bytes, a number after it. */
const scratch = memory.data(16);

/** Ends the run: one sentence on the error stream, exit code 1. */
export function fail(sentence: string): void {
  writeAll(STDERR, Uint8Array.wrap(String.UTF8.encode(sentence + "\n")));
  proc_exit(1);
}

/** Reads a whole file; null when there is none. */
export function readFile(path: string): Uint8Array | null {
  const file = open(path, 0, RIGHT_READ);
  if (file < 0) return null;
  let whole = new Uint8Array(CHUNK_BYTES);
  let length = 0;
  while (true) {
    if (length == whole.length) {
      const larger = new Uint8Array(whole.length * 2);
      larger.set(whole);
      whole = larger;
    }
    store<u32>(scratch, <u32>(whole.dataStart + length));
    store<u32>(scratch + 4, <u32>(whole.length - length));
    if (fd_read(file, scratch, 1, scratch + 8) != 0) fail("The file " + path + " cannot be read.");
    const count = load<i32>(scratch + 8);
    if (count == 0) break;
    length += count;
  }
  fd_close(file);
  return whole.subarray(0, length);
}

/** Writes a whole file, replacing it. */
export function writeFile(path: string, text: string): void {
  const file = open(path, OPEN_CREATE | OPEN_TRUNCATE, RIGHT_WRITE);
  if (file < 0) fail("The file " + path + " cannot be created.");
  if (!writeAll(file, Uint8Array.wrap(String.UTF8.encode(text)))) {
    fail("The file " + path + " cannot be written: the output limit is reached.");
  }
  fd_close(file);
}

/** The names in a directory, sorted. */
export function listDirectory(path: string): string[] {
  const directory = open(path, OPEN_DIRECTORY, RIGHT_READ_DIRECTORY);
  const names: string[] = [];
  if (directory < 0) return names;
  const buffer = new Uint8Array(CHUNK_BYTES);
  let cookie: u64 = 0;
  while (true) {
    if (fd_readdir(directory, buffer.dataStart, CHUNK_BYTES, cookie, scratch + 8) != 0) break;
    const used = load<i32>(scratch + 8);
    let offset: i32 = 0;
    while (offset + DIRENT_BYTES <= used) {
      const entry = buffer.dataStart + offset;
      const length = load<i32>(entry, 16);
      if (offset + DIRENT_BYTES + length > used) break;
      cookie = load<u64>(entry);
      const name = String.UTF8.decodeUnsafe(entry + DIRENT_BYTES, length);
      if (name != "." && name != "..") names.push(name);
      offset += DIRENT_BYTES + length;
    }
    if (used < CHUNK_BYTES) break;
  }
  fd_close(directory);
  names.sort();
  return names;
}

function open(path: string, openFlags: i32, rights: u64): i32 {
  const name = Uint8Array.wrap(String.UTF8.encode(path));
  const code = path_open(ROOT, 0, name.dataStart, name.length, openFlags, rights, rights, 0, scratch + 8);
  return code == 0 ? load<i32>(scratch + 8) : -1;
}

function writeAll(descriptor: i32, bytes: Uint8Array): bool {
  let offset = 0;
  while (offset < bytes.length) {
    store<u32>(scratch, <u32>(bytes.dataStart + offset));
    store<u32>(scratch + 4, <u32>(bytes.length - offset));
    if (fd_write(descriptor, scratch, 1, scratch + 8) != 0) return false;
    const count = load<i32>(scratch + 8);
    if (count == 0) return false;
    offset += count;
  }
  return true;
}

/** What the compiler calls when a check of its own fails, e.g. an index out of bounds. */
export function abortEngine(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = message === null ? "internal error" : message;
  const where = file === null ? "" : " at " + file + ":" + line.toString() + ":" + column.toString();
  fail("The engine stopped: " + what + where + ".");
  unreachable();
}
