/**
 * The files an engine sees, in memory and within a budget: `/args.json` and `/inputs/*` to read,
 * `/outputs/*` to write, no other folder. Only the calls' marshalling is the shim's; every path and
 * every growth is decided here. spec/engine.md §4
 */
import { Fd, wasi, type Inode } from "@bjorn3/browser_wasi_shim";

const OPENS_MAX = 100_000;
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Thrown through the engine when it exceeds its budget; `Budget.exceeded` stays set if it catches that. */
export class OutputExceeded extends Error {}

/** How much an engine may still write. */
export class Budget {
  exceeded = false;
  #bytesLeft: number;
  readonly #filesMax: number;

  constructor(bytesMax: number, filesMax: number) {
    this.#bytesLeft = bytesMax;
    this.#filesMax = filesMax;
  }

  /** Takes bytes, or gives them back when negative. */
  takeBytes(count: number): void {
    if (count > this.#bytesLeft) this.#exceed("The outputs are larger than allowed.");
    this.#bytesLeft -= count;
  }

  admitFile(existing: number): void {
    if (existing >= this.#filesMax) this.#exceed("There are more outputs than allowed.");
  }

  #exceed(reason: string): never {
    this.exceeded = true;
    throw new OutputExceeded(reason);
  }
}

/** One file. Its buffer grows by doubling; what it takes from the budget is its size alone. */
class MemoryFile {
  readonly inode = nextInode++;
  readonly budget: Budget | undefined;
  size: number;
  #buffer: Uint8Array;

  /** A file without a budget is read-only. */
  constructor(bytes: Uint8Array, budget?: Budget) {
    this.#buffer = bytes;
    this.size = bytes.length;
    this.budget = budget;
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.size);
  }

  resize(size: number): void {
    this.budget?.takeBytes(size - this.size);
    if (size > this.#buffer.length) {
      const larger = new Uint8Array(
        Math.max(size, Math.min(2 * this.#buffer.length, size + 16 * 1024 * 1024)),
      );
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.fill(0, Math.min(size, this.size), this.size);
    this.size = size;
  }

  read(offset: number, length: number): Uint8Array {
    return this.bytes.slice(offset, offset + length);
  }

  write(data: Uint8Array, offset: number): void {
    if (offset + data.length > this.size) this.resize(offset + data.length);
    this.#buffer.set(data, offset);
  }

  stat(): wasi.Filestat {
    return new wasi.Filestat(this.inode, wasi.FILETYPE_REGULAR_FILE, BigInt(this.size));
  }
}

let nextInode = 16n;

/** Everything an engine can open. */
export class FileTree {
  readonly #args: MemoryFile | undefined;
  readonly #inputs: Map<string, MemoryFile>;
  readonly #outputs = new Map<string, MemoryFile>();
  readonly budget: Budget;
  #opens = 0;

  constructor(
    args: Uint8Array,
    inputs: readonly { readonly name: string; readonly bytes: Uint8Array }[],
    budget: Budget,
  ) {
    this.#args = args.length === 0 ? undefined : new MemoryFile(args);
    this.#inputs = new Map(inputs.map((input) => [input.name, new MemoryFile(input.bytes)]));
    this.budget = budget;
  }

  /** What the engine wrote, sorted by name. */
  outputs(): { name: string; bytes: Uint8Array }[] {
    const names = [...this.#outputs.keys()].toSorted();
    return names.map((name) => ({ name, bytes: this.#outputs.get(name)?.bytes ?? new Uint8Array() }));
  }

  /** The files of a folder; undefined when the path names none. */
  folder(path: string): ReadonlyMap<string, MemoryFile | undefined> | undefined {
    if (path === "inputs") return this.#inputs;
    if (path === "outputs") return this.#outputs;
    if (path !== "") return undefined;
    const root = new Map<string, MemoryFile | undefined>([
      ["inputs", undefined],
      ["outputs", undefined],
    ]);
    if (this.#args !== undefined) root.set("args.json", this.#args);
    return root;
  }

  file(path: string): MemoryFile | undefined {
    const { folder, name } = split(path);
    return this.folder(folder)?.get(name);
  }

  /** Makes an empty output. Gives the WASI error when the path cannot be one. */
  create(path: string): MemoryFile | number {
    const { folder, name } = split(path);
    if (folder !== "outputs") return wasi.ERRNO_NOTCAPABLE;
    if (!FILE_NAME.test(name)) return wasi.ERRNO_INVAL;
    this.budget.admitFile(this.#outputs.size);
    const file = new MemoryFile(new Uint8Array(), this.budget);
    this.#outputs.set(name, file);
    return file;
  }

  remove(path: string): number {
    const { folder, name } = split(path);
    if (folder !== "outputs") return wasi.ERRNO_NOTCAPABLE;
    const file = this.#outputs.get(name);
    if (file === undefined) return wasi.ERRNO_NOENT;
    file.resize(0);
    this.#outputs.delete(name);
    return wasi.ERRNO_SUCCESS;
  }

  /** Takes an output out without forgetting it: the first half of a rename. */
  detach(path: string): MemoryFile | number {
    const { folder, name } = split(path);
    if (folder !== "outputs") return wasi.ERRNO_NOTCAPABLE;
    const file = this.#outputs.get(name);
    this.#outputs.delete(name);
    return file ?? wasi.ERRNO_NOENT;
  }

  /** Puts a detached output back under a name, in place of what had it: the second half. */
  attach(path: string, file: MemoryFile): number {
    const { folder, name } = split(path);
    if (folder !== "outputs") return wasi.ERRNO_NOTCAPABLE;
    if (!FILE_NAME.test(name)) return wasi.ERRNO_INVAL;
    this.#outputs.get(name)?.resize(0);
    this.#outputs.set(name, file);
    return wasi.ERRNO_SUCCESS;
  }

  admitOpen(): boolean {
    return ++this.#opens <= OPENS_MAX;
  }
}

/** An open folder; the preopened one has the path "". */
export class FolderDescriptor extends Fd {
  readonly #tree: FileTree;
  readonly #path: string;
  readonly #preopened: boolean;

  constructor(tree: FileTree, path: string, preopened = false) {
    super();
    this.#tree = tree;
    this.#path = path;
    this.#preopened = preopened;
  }

  override fd_prestat_get(): { ret: number; prestat: wasi.Prestat | null } {
    if (!this.#preopened) return { ret: wasi.ERRNO_BADF, prestat: null };
    return { ret: wasi.ERRNO_SUCCESS, prestat: wasi.Prestat.dir("/") };
  }

  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat | null } {
    const fdstat = new wasi.Fdstat(wasi.FILETYPE_DIRECTORY, 0);
    // C libraries derive what a descriptor may open from these; what it really may is decided below.
    fdstat.fs_rights_base = 0x1fffffffn;
    fdstat.fs_rights_inherited = 0x1fffffffn;
    return { ret: wasi.ERRNO_SUCCESS, fdstat };
  }

  override fd_filestat_get(): { ret: number; filestat: wasi.Filestat | null } {
    return { ret: wasi.ERRNO_SUCCESS, filestat: folderStat() };
  }

  override fd_readdir_single(cookie: bigint): { ret: number; dirent: wasi.Dirent | null } {
    const entries = [...(this.#tree.folder(this.#path) ?? [])].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const entry = cookie < 0n ? undefined : entries[Number(cookie)];
    if (entry === undefined) return { ret: wasi.ERRNO_SUCCESS, dirent: null };
    const [name, file] = entry;
    const type = file === undefined ? wasi.FILETYPE_DIRECTORY : wasi.FILETYPE_REGULAR_FILE;
    return {
      ret: wasi.ERRNO_SUCCESS,
      dirent: new wasi.Dirent(cookie + 1n, file?.inode ?? 1n, name, type),
    };
  }

  override path_filestat_get(_flags: number, name: string): { ret: number; filestat: wasi.Filestat | null } {
    const path = this.#resolve(name);
    if (path === undefined) return { ret: wasi.ERRNO_NOTCAPABLE, filestat: null };
    if (this.#tree.folder(path) !== undefined) return { ret: wasi.ERRNO_SUCCESS, filestat: folderStat() };
    const file = this.#tree.file(path);
    if (file === undefined) return { ret: wasi.ERRNO_NOENT, filestat: null };
    return { ret: wasi.ERRNO_SUCCESS, filestat: file.stat() };
  }

  override path_open(
    _lookupFlags: number,
    name: string,
    openFlags: number,
    rights: bigint,
    _rightsInheriting: bigint,
    descriptorFlags: number,
  ): { ret: number; fd_obj: Fd | null } {
    const path = this.#resolve(name);
    if (path === undefined) return { ret: wasi.ERRNO_NOTCAPABLE, fd_obj: null };
    if (!this.#tree.admitOpen()) return { ret: wasi.ERRNO_NFILE, fd_obj: null };
    if (this.#tree.folder(path) !== undefined) {
      return { ret: wasi.ERRNO_SUCCESS, fd_obj: new FolderDescriptor(this.#tree, path) };
    }
    if ((openFlags & wasi.OFLAGS_DIRECTORY) !== 0) return { ret: wasi.ERRNO_NOTDIR, fd_obj: null };
    const file = this.#fileToOpen(path, openFlags, rights);
    if (typeof file === "number") return { ret: file, fd_obj: null };
    const append = (descriptorFlags & wasi.FDFLAGS_APPEND) !== 0;
    return { ret: wasi.ERRNO_SUCCESS, fd_obj: new FileDescriptor(file, append) };
  }

  override path_create_directory(_path: string): number {
    return wasi.ERRNO_NOTCAPABLE;
  }

  override path_unlink_file(name: string): number {
    const path = this.#resolve(name);
    return path === undefined ? wasi.ERRNO_NOTCAPABLE : this.#tree.remove(path);
  }

  /** The shim renames by these two, and puts the file back under its old name if the second fails. */
  override path_unlink(name: string): { ret: number; inode_obj: Inode | null } {
    const path = this.#resolve(name);
    const file = path === undefined ? wasi.ERRNO_NOTCAPABLE : this.#tree.detach(path);
    if (typeof file === "number") return { ret: file, inode_obj: null };
    return { ret: wasi.ERRNO_SUCCESS, inode_obj: file as unknown as Inode };
  }

  override path_link(name: string, inode: Inode): number {
    const path = this.#resolve(name);
    if (path === undefined || !((inode as unknown) instanceof MemoryFile)) return wasi.ERRNO_NOTCAPABLE;
    return this.#tree.attach(path, inode as unknown as MemoryFile);
  }

  #fileToOpen(path: string, openFlags: number, rights: bigint): MemoryFile | number {
    const existing = this.#tree.file(path);
    if (existing === undefined) {
      return (openFlags & wasi.OFLAGS_CREAT) === 0 ? wasi.ERRNO_NOENT : this.#tree.create(path);
    }
    if ((openFlags & wasi.OFLAGS_EXCL) !== 0) return wasi.ERRNO_EXIST;
    const truncates = (openFlags & wasi.OFLAGS_TRUNC) !== 0;
    const writes = truncates || (rights & BigInt(wasi.RIGHTS_FD_WRITE)) !== 0n;
    if (writes && existing.budget === undefined) return wasi.ERRNO_NOTCAPABLE;
    if (truncates) existing.resize(0);
    return existing;
  }

  /** The path from the root; undefined when it leads out. */
  #resolve(name: string): string | undefined {
    if (name.startsWith("/") || name.includes("\0")) return undefined;
    const parts = this.#path === "" ? [] : [this.#path];
    for (const part of name.split("/")) {
      if (part === "" || part === ".") continue;
      if (part !== "..") parts.push(part);
      else if (parts.pop() === undefined) return undefined;
    }
    return parts.join("/");
  }
}

/** An open file. */
class FileDescriptor extends Fd {
  readonly #file: MemoryFile;
  readonly #append: boolean;
  #at = 0;

  constructor(file: MemoryFile, append: boolean) {
    super();
    this.#file = file;
    this.#append = append;
  }

  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat | null } {
    const fdstat = new wasi.Fdstat(wasi.FILETYPE_REGULAR_FILE, 0);
    fdstat.fs_rights_base = 0x1fffffffn;
    return { ret: wasi.ERRNO_SUCCESS, fdstat };
  }

  override fd_filestat_get(): { ret: number; filestat: wasi.Filestat | null } {
    return { ret: wasi.ERRNO_SUCCESS, filestat: this.#file.stat() };
  }

  override fd_read(size: number): { ret: number; data: Uint8Array } {
    const data = this.#file.read(this.#at, size);
    this.#at += data.length;
    return { ret: wasi.ERRNO_SUCCESS, data };
  }

  override fd_pread(size: number, offset: bigint): { ret: number; data: Uint8Array } {
    return { ret: wasi.ERRNO_SUCCESS, data: this.#file.read(Number(offset), size) };
  }

  override fd_write(data: Uint8Array): { ret: number; nwritten: number } {
    if (this.#append) this.#at = this.#file.size;
    const written = this.fd_pwrite(data, BigInt(this.#at));
    this.#at += written.nwritten;
    return written;
  }

  override fd_pwrite(data: Uint8Array, offset: bigint): { ret: number; nwritten: number } {
    if (this.#file.budget === undefined) return { ret: wasi.ERRNO_BADF, nwritten: 0 };
    this.#file.write(data, Number(offset));
    return { ret: wasi.ERRNO_SUCCESS, nwritten: data.length };
  }

  override fd_seek(offset: bigint, whence: number): { ret: number; offset: bigint } {
    const from = whence === wasi.WHENCE_SET ? 0 : whence === wasi.WHENCE_CUR ? this.#at : this.#file.size;
    const to = from + Number(offset);
    if (!Number.isSafeInteger(to) || to < 0) return { ret: wasi.ERRNO_INVAL, offset: 0n };
    this.#at = to;
    return { ret: wasi.ERRNO_SUCCESS, offset: BigInt(to) };
  }

  override fd_tell(): { ret: number; offset: bigint } {
    return { ret: wasi.ERRNO_SUCCESS, offset: BigInt(this.#at) };
  }

  override fd_allocate(offset: bigint, length: bigint): number {
    const size = Number(offset) + Number(length);
    return size <= this.#file.size ? wasi.ERRNO_SUCCESS : this.fd_filestat_set_size(BigInt(size));
  }

  override fd_filestat_set_size(size: bigint): number {
    if (this.#file.budget === undefined) return wasi.ERRNO_BADF;
    this.#file.resize(Number(BigInt.asUintN(64, size)));
    return wasi.ERRNO_SUCCESS;
  }
}

/** Standard output or standard error: keeps the first bytes, takes and drops the rest. */
export class LogDescriptor extends Fd {
  readonly #kept: Uint8Array;
  #size = 0;

  constructor(bytesMax: number) {
    super();
    this.#kept = new Uint8Array(bytesMax);
  }

  get bytes(): Uint8Array {
    return this.#kept.subarray(0, this.#size);
  }

  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat | null } {
    const fdstat = new wasi.Fdstat(wasi.FILETYPE_CHARACTER_DEVICE, 0);
    fdstat.fs_rights_base = BigInt(wasi.RIGHTS_FD_WRITE);
    return { ret: wasi.ERRNO_SUCCESS, fdstat };
  }

  override fd_filestat_get(): { ret: number; filestat: wasi.Filestat | null } {
    return { ret: wasi.ERRNO_SUCCESS, filestat: new wasi.Filestat(2n, wasi.FILETYPE_CHARACTER_DEVICE, 0n) };
  }

  override fd_write(data: Uint8Array): { ret: number; nwritten: number } {
    const kept = data.subarray(0, this.#kept.length - this.#size);
    this.#kept.set(kept, this.#size);
    this.#size += kept.length;
    return { ret: wasi.ERRNO_SUCCESS, nwritten: data.length };
  }
}

/** Standard input: always at its end. */
export class EmptyDescriptor extends Fd {
  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat | null } {
    return { ret: wasi.ERRNO_SUCCESS, fdstat: new wasi.Fdstat(wasi.FILETYPE_CHARACTER_DEVICE, 0) };
  }

  override fd_read(_size: number): { ret: number; data: Uint8Array } {
    return { ret: wasi.ERRNO_SUCCESS, data: new Uint8Array() };
  }
}

function folderStat(): wasi.Filestat {
  return new wasi.Filestat(1n, wasi.FILETYPE_DIRECTORY, 0n);
}

function split(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: path.slice(0, Math.max(slash, 0)), name: path.slice(slash + 1) };
}
