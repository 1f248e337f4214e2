/** Files as commands use them: read within bounds, written whole or not at all. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, rmSync } from "node:fs";
import { access, chmod, constants, mkdir, open, realpath, rename, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, basename, join, resolve, sep } from "node:path";
import { CloisterError, digestFrom, fromUtf8, type Digest } from "@cloister/core";
import { cleaningUp, interruptible } from "./interrupts.ts";

const DOCUMENT_BYTES_MAX = 64 * 1024 * 1024;

export interface Source {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Undefined for what has no size beforehand, such as a pipe. */
  readonly sizeBytes: number | undefined;
}

/** Opens a file, or standard input for `-`, for reading in pieces. */
export async function readStream(file: string): Promise<Source> {
  if (file === "-") return { chunks: process.stdin, sizeBytes: undefined };
  const about = await stat(file);
  if (about.isDirectory()) throw isFolder(file);
  return { chunks: createReadStream(file), sizeBytes: about.isFile() ? about.size : undefined };
}

const SEALED_START = "age-encryption.org/v1\n";

/** Tells whether a file begins as sealed ones do, when they are not armored. */
export async function isSealed(file: string): Promise<boolean> {
  const { chunks } = await readStream(file);
  for await (const chunk of chunks) return Buffer.from(chunk).toString("latin1").startsWith(SEALED_START);
  return false;
}

/** The digest of a file of any size, or of standard input for `-`. */
export async function digestOfFile(file: string): Promise<Digest> {
  const hash = createHash("sha256");
  for await (const chunk of (await readStream(file)).chunks) hash.update(chunk);
  return digestFrom(new Uint8Array(hash.digest()));
}

/** Reads a whole document: a proof, a key, a policy. @throws {CloisterError} `FILE_TOO_LARGE` */
export async function readDocument(file: string, bytesMax = DOCUMENT_BYTES_MAX): Promise<Uint8Array> {
  if (file === "-") return readWithin(process.stdin, bytesMax, file);
  const about = await stat(file);
  if (about.isDirectory()) throw isFolder(file);
  if (about.size > bytesMax) throw tooLarge(file, bytesMax);
  // A device or a pipe has no size beforehand, and a file may grow while it is read.
  return readWithin(createReadStream(file), bytesMax, file);
}

/** Reads a whole document that must be text. @throws {CloisterError} `FILE_TOO_LARGE`, `FILE_NOT_TEXT` */
export async function readText(file: string, bytesMax = DOCUMENT_BYTES_MAX): Promise<string> {
  return textOf(await readDocument(file, bytesMax), file);
}

/** The text of a file's bytes. @throws {CloisterError} `FILE_NOT_TEXT` */
export function textOf(bytes: Uint8Array, file: string): string {
  try {
    return fromUtf8(bytes);
  } catch (cause) {
    throw new CloisterError("FILE_NOT_TEXT", `${file} is not a text file.`, {
      hint: "Check that it is the right file, and that it is encoded in UTF-8.",
      cause,
    });
  }
}

async function readWithin(
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
  file: string,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > bytesMax) throw tooLarge(file, bytesMax);
    parts.push(chunk);
  }
  return new Uint8Array(Buffer.concat(parts));
}

export interface WriteOptions {
  /** Replace a file that is there. */
  readonly force?: boolean;
  /** Readable by its owner alone. */
  readonly secret?: boolean;
}

/**
 * Writes a file in full or leaves nothing: under a temporary name beside it, then renamed once it is on disk.
 * `-` writes to standard output instead.
 * @throws {CloisterError} `FILE_EXISTS`
 */
export async function writeWhole(
  file: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: WriteOptions = {},
): Promise<void> {
  if (file === "-") return writeToStdout(chunks);
  await refuseToReplace(file, options);
  if (await isDevice(file)) return writeThrough(file, chunks);
  const folder = dirname(file);
  await mkdir(folder, { recursive: true });
  const partial = join(folder, `.${basename(file)}.${randomBytes(6).toString("hex")}.partial`);
  try {
    await cleaningUp(
      () => rmSync(partial, { force: true }),
      async () => {
        await writeThrough(partial, chunks, options.secret === true ? 0o600 : 0o644);
        if (options.secret === true) await chmod(partial, 0o600);
        await rename(partial, file);
      },
    );
  } catch (error) {
    await rm(partial, { force: true });
    throw nameTarget(error, file);
  }
  await syncFolder(folder);
}

async function writeThrough(
  file: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  mode = 0o644,
): Promise<void> {
  const handle = await open(file, "w", mode);
  try {
    for await (const chunk of chunks) await handle.writeFile(chunk);
    await handle.sync().catch(ignoreUnsyncable);
  } catch (error) {
    throw nameTarget(error, file);
  } finally {
    await handle.close();
  }
}

/** Devices and pipes cannot be synced, and need not be. */
function ignoreUnsyncable(error: NodeJS.ErrnoException): void {
  if (error.code !== "EINVAL" && error.code !== "ENOTSUP") throw error;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync().catch(ignoreUnsyncable);
  await handle.close();
}

/**
 * Refuses early what `writeWhole` would refuse late: before an hour of work, say.
 * @throws {CloisterError} `FILE_EXISTS`, `FILE_IS_FOLDER`, and, once told to the user, `FILE_FORBIDDEN`
 */
export async function requireFree(file: string, options: WriteOptions): Promise<void> {
  if (file === "-") return;
  await refuseToReplace(file, options);
  if (await isDevice(file)) return;
  await access(await existing(dirname(resolve(file))), constants.W_OK).catch((error: unknown) => {
    throw nameTarget(error, file);
  });
}

/** A folder, or the nearest one above it that is there already. */
async function existing(folder: string): Promise<string> {
  const there = await stat(folder).then(
    () => true,
    () => false,
  );
  return there || dirname(folder) === folder ? folder : existing(dirname(folder));
}

/**
 * Refuses an output that would replace what is read, or lie in the folder that is read.
 * @throws {CloisterError} `OUTPUT_IN_INPUT`
 */
export async function refuseOverlap(input: string, output: string): Promise<void> {
  if (input === "-" || output === "-") return;
  const from = await realpath(input).catch(() => undefined);
  const folder = await realpath(dirname(output)).catch(() => undefined);
  const to = await realpath(output).catch(() => folder && join(folder, basename(output)));
  if (from === undefined || to === undefined || (to !== from && !to.startsWith(from + sep))) return;
  throw new CloisterError("OUTPUT_IN_INPUT", `${output} is what is read here, or lies in it.`, {
    hint: "Name another place with --output.",
  });
}

/** Above this, a second thread is worth its start. */
const TWO_THREADS_BYTES = 32 * 1024 * 1024;

/** What sealing or opening a whole file tells on the way, and how many threads it takes. */
interface WholeFile {
  readonly onProgress: (doneBytes: number) => void;
  readonly threads: 1 | 2;
}

/**
 * Works from file to file, past the streams, where both ends are ordinary files; undefined where they are not: pipes,
 * devices, folders. What the system refuses is said of the file by its name.
 * @throws {CloisterError} `FILE_EXISTS`
 */
export async function fromFileToFile<T>(
  input: string,
  output: string,
  options: WriteOptions,
  progress: { advance(amount: number): void },
  work: (whole: WholeFile) => Promise<T>,
): Promise<T | undefined> {
  const about = input === "-" ? undefined : await stat(input);
  if (about?.isFile() !== true || output === "-" || (await isDevice(output))) return undefined;
  await refuseToReplace(output, options);
  await mkdir(dirname(output), { recursive: true });
  let before = 0;
  const onProgress = (doneBytes: number): void => {
    progress.advance(doneBytes - before);
    before = doneBytes;
  };
  const threads = about.size >= TWO_THREADS_BYTES && availableParallelism() > 1 ? 2 : 1;
  try {
    return await interruptible((check) => {
      const progressed = (doneBytes: number): void => {
        check();
        onProgress(doneBytes);
      };
      return work({ onProgress: progressed, threads });
    });
  } catch (error) {
    const cause = error instanceof CloisterError ? error.cause : undefined;
    const isSystem = cause instanceof Error && "syscall" in cause;
    if (!isSystem) throw error;
    throw "path" in cause && cause.path === input ? cause : nameTarget(cause, output);
  }
}

async function refuseToReplace(file: string, options: WriteOptions): Promise<void> {
  const about = await stat(file).catch(() => undefined);
  if (about?.isDirectory() === true) throw isFolder(file);
  if (about?.isFile() !== true || options.force === true) return;
  throw new CloisterError("FILE_EXISTS", `${file} exists already.`, {
    hint: "Choose another name, or replace it with --force.",
  });
}

async function isDevice(file: string): Promise<boolean> {
  const about = await stat(file).catch(() => undefined);
  return about !== undefined && !about.isFile();
}

/** Write errors of the operating system carry no path; the person knows the file by the name they gave. */
function nameTarget(error: unknown, file: string): unknown {
  if (error instanceof Error && "syscall" in error) Object.assign(error, { path: file });
  return error;
}

async function writeToStdout(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
  for await (const chunk of chunks) {
    if (!process.stdout.write(chunk)) await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
}

/** What to say of a folder where a file is wanted. */
export function isFolder(file: string): CloisterError {
  return new CloisterError("FILE_IS_FOLDER", `${file} is a folder, not a file.`, { hint: "Name a file." });
}

function tooLarge(file: string, bytesMax: number): CloisterError {
  return new CloisterError(
    "FILE_TOO_LARGE",
    `${file} is larger than ${bytesMax} bytes, which no such document is.`,
    {
      hint: "Check that it is the right file.",
    },
  );
}
