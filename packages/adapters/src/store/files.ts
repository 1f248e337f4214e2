import { constants, type Dirent } from "node:fs";
import { mkdir, open, readdir, rename, stat, unlink, type FileHandle } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { CloisterError, codeOf, type Digest } from "@cloister/core";

/** A leftover of a process that died is removed once it is this old: until then it may be another's work. */
const LEFTOVER_MS = 24 * 60 * 60 * 1000;

const READ_BYTES = 1 << 18;

/** What a failed file operation is called where it happened: an area prefix such as `OBJECT_STORE`. */
export type Area = "OBJECT_STORE" | "RECORD_STORE" | "FILE";

const SUBJECTS: Readonly<Record<Area, string>> = {
  OBJECT_STORE: "object store at",
  RECORD_STORE: "record store at",
  FILE: "file",
};

/**
 * Runs file operations and gives their failures a code and a remedy.
 * @throws {CloisterError} `<AREA>_FULL`, `<AREA>_NOT_WRITABLE`, `<AREA>_NOT_FOUND`, `<AREA>_NAME_TOO_LONG`, `<AREA>_FAILED`
 */
export async function coded<T>(area: Area, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw cause instanceof CloisterError || !isSystemError(cause) ? cause : fileError(area, path, cause);
  }
}

/** Makes a directory and those above it, and makes their names durable. */
export async function ensureDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first !== undefined) await syncDirectory(join(first, ".."));
}

/**
 * Writes a file that appears under its name whole or not at all: a temporary file is written, made durable
 * and renamed, and the directory is made durable. Whatever fails, nothing half-written is left under the name; a
 * process that is killed leaves the temporary file.
 */
export async function writeAtomically(
  temporaryDirectory: string,
  fill: (file: FileHandle) => Promise<string>,
  { mode = 0o600, name = "" }: { readonly mode?: number | undefined; readonly name?: string } = {},
): Promise<void> {
  const temporary = join(temporaryDirectory, partialName(name));
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  try {
    let path: string;
    try {
      path = await fill(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await ensureDirectory(join(path, ".."));
    await rename(temporary, path);
    await syncDirectory(join(path, ".."));
  } catch (failure) {
    await unlink(temporary).catch(() => undefined);
    throw failure;
  }
}

/** A name for what will be called otherwise once it is whole, by which people still know it. */
export function partialName(name: string): string {
  const known = name === "" ? "" : `.${name.slice(0, 40)}.`;
  return `${known}${randomUUID()}.partial`;
}

/** Removes what processes left behind that died while writing. */
export async function removeLeftovers(temporaryDirectory: string, nowMs: number): Promise<void> {
  for (const name of await readdir(temporaryDirectory)) {
    const path = join(temporaryDirectory, name);
    const found = await stat(path).catch(() => undefined);
    if (name.endsWith(".partial") && found !== undefined && nowMs - found.mtimeMs > LEFTOVER_MS) {
      await unlink(path).catch(() => undefined);
    }
  }
}

/** Entries of a directory; none when it does not exist. */
export async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (failure) {
    if (isMissing(failure)) return [];
    throw failure;
  }
}

/** What remains of pieces after a short write. */
export function piecesAfter(pieces: readonly Uint8Array[], writtenBytes: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let at = 0;
  for (const piece of pieces) {
    if (at + piece.length > writtenBytes) rest.push(piece.subarray(Math.max(0, writtenBytes - at)));
    at += piece.length;
  }
  return rest;
}

/** Reads a part of a file in pieces; less when it ends before. */
export async function* readPieces(
  file: FileHandle,
  offset: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  for (let at = offset; at < offset + length;) {
    const piece = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, offset + length - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) return;
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** Builds the error that names a store whose bytes are not those that were asked for. */
export function objectCorrupt(storeName: string, digest: Digest, got?: Digest): CloisterError {
  return new CloisterError("OBJECT_CORRUPT", `The ${storeName} gave other bytes than ${digest}.`, {
    hint: "Fetch the object from another store, and put it again into this one.",
    details: { store: storeName, expected: digest, ...(got === undefined ? {} : { got }) },
  });
}

/** Tells whether a file operation failed because there is nothing of that name. */
export function isMissing(failure: unknown): boolean {
  return codeOf(failure) === "ENOENT";
}

/** Makes the names in a directory durable: a rename survives a power cut only after this. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function isSystemError(failure: unknown): failure is NodeJS.ErrnoException {
  return failure instanceof Error && "syscall" in failure;
}

function fileError(area: Area, path: string, cause: NodeJS.ErrnoException): CloisterError {
  const what = `${SUBJECTS[area]} ${path}`;
  switch (cause.code) {
    case "ENOSPC":
    case "EDQUOT":
      return new CloisterError(`${area}_FULL`, `The ${what} cannot be written: the disk is full.`, {
        hint: "Free some space, then try again; nothing half-written was left.",
        cause,
      });
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new CloisterError(`${area}_NOT_WRITABLE`, `The ${what} may not be used: ${cause.code}.`, {
        hint: "Check the directory's owner and permissions.",
        cause,
      });
    case "ENOENT":
      return new CloisterError(`${area}_NOT_FOUND`, `The ${what} is not there, or its folder is not.`, {
        hint: "Check the path.",
        cause,
      });
    case "ENAMETOOLONG":
      return new CloisterError(
        `${area}_NAME_TOO_LONG`,
        `The ${what} has a name longer than the disk takes.`,
        {
          hint: "Choose a shorter name.",
          cause,
        },
      );
    default:
      return new CloisterError(`${area}_FAILED`, `The ${what} failed: ${cause.code} in ${cause.syscall}.`, {
        hint: "Check the path and the disk.",
        cause,
      });
  }
}
