import { createHash } from "node:crypto";
import { open, rename, stat, unlink, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { CloisterError, codeOf, digestFrom, type Digest, type ObjectStore } from "@cloister/core";
import { coded, isMissing, objectCorrupt, readPieces, syncDirectory } from "./files.ts";

/** A store that takes an upload up again where it broke off. */
export interface ResumableStore extends ObjectStore {
  /** Puts an object whose digest and size are known and whose bytes can be read anywhere; sends only what is missing. */
  putResumable(object: KnownObject): Promise<void>;
}

/** An object that is there as a whole before it is put. */
export interface KnownObject {
  readonly digest: Digest;
  readonly sizeBytes: number;
  read(offset: number, length: number): AsyncIterable<Uint8Array>;
  onProgress?(doneBytes: number): void;
}

/** Called as bytes are moved. */
export type OnProgress = (doneBytes: number, totalBytes: number) => void;

/**
 * Downloads an object to a file. What an attempt that broke off left in `PATH.partial` is gone on with; the file
 * appears under its name only when its digest is right.
 * @throws {CloisterError} `OBJECT_NOT_FOUND`, `OBJECT_CORRUPT` (nothing is left then), `FILE_…`
 */
export async function downloadObject(
  store: ObjectStore,
  digest: Digest,
  path: string,
  onProgress: OnProgress = () => undefined,
): Promise<{ sizeBytes: number; resumedBytes: number }> {
  const found = await store.stat(digest);
  if (found === undefined)
    throw new CloisterError("OBJECT_NOT_FOUND", `The ${store.name} does not hold ${digest}.`);
  const { sizeBytes } = found;
  const partial = `${path}.partial`;
  return coded("FILE", path, async () => {
    const left = Math.min(await sizeOf(partial), sizeBytes);
    // What was left may be torn or another object's: before the store is blamed, all of it comes from there.
    for (const resumedBytes of left === 0 ? [0] : [left, 0]) {
      const got = await fetchTo(partial, store, digest, { from: resumedBytes, to: sizeBytes, onProgress });
      if (got !== digest) continue;
      await rename(partial, path);
      await syncDirectory(dirname(path));
      return { sizeBytes, resumedBytes };
    }
    await unlink(partial);
    throw objectCorrupt(store.name, digest);
  });
}

/**
 * Uploads a file. Nothing is sent when the store holds it already; a store that can resume goes on where an
 * earlier attempt broke off.
 * @throws {CloisterError} `OBJECT_CHANGED` when the file changes meanwhile, and as the store's `put`
 */
export async function uploadObject(
  store: ObjectStore | ResumableStore,
  path: string,
  onProgress: OnProgress = () => undefined,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const file = await coded("FILE", path, () => open(path));
  try {
    const { size: sizeBytes } = await file.stat();
    const read = (offset: number, length: number) => readPieces(file, offset, length);
    const digest = await digestOfPieces(read(0, sizeBytes));
    await putKnown(store, { digest, sizeBytes, read, onProgress: (done) => onProgress(done, sizeBytes) });
    return { digest, sizeBytes };
  } finally {
    await file.close();
  }
}

/**
 * Puts an object that is known beforehand into any store, unless it holds it already; a copy that is wrong is replaced.
 * @throws {CloisterError} `OBJECT_CHANGED`, and as the store's `put`
 */
export async function putKnown(store: ObjectStore | ResumableStore, object: KnownObject): Promise<void> {
  if ("putResumable" in store) return store.putResumable(object);
  const { digest, sizeBytes, onProgress = () => undefined } = object;
  if (await holdsRight(store, digest, sizeBytes)) {
    onProgress(sizeBytes);
    return;
  }
  const put = await store.put(counted(object.read(0, sizeBytes), onProgress));
  if (put.digest === digest) return;
  await store.delete(put.digest);
  throw new CloisterError("OBJECT_CHANGED", "The object changed while it was read.", {
    hint: "Try again when nothing writes to it.",
  });
}

interface Fetch {
  readonly from: number;
  readonly to: number;
  readonly onProgress: OnProgress;
}

/** Makes a file hold an object, of which its first bytes may be there, and says what it holds then. */
async function fetchTo(path: string, store: ObjectStore, digest: Digest, job: Fetch): Promise<Digest> {
  const file = await open(path, job.from === 0 ? "w+" : "r+");
  try {
    await file.truncate(job.from);
    const got = await fill(file, store, digest, job);
    await file.sync();
    return got;
  } catch (failure) {
    // Nobody goes on with what a lying store gave.
    if (codeOf(failure) === "OBJECT_CORRUPT") await unlink(path);
    throw failure;
  } finally {
    await file.close();
  }
}

/** Digests what is there, then fetches the rest behind it. */
async function fill(file: FileHandle, store: ObjectStore, digest: Digest, job: Fetch): Promise<Digest> {
  const hash = createHash("sha256");
  for await (const piece of readPieces(file, 0, job.from)) hash.update(piece);
  const range = job.from === 0 ? undefined : { offset: job.from, length: job.to - job.from };
  let at = job.from;
  job.onProgress(at, job.to);
  for await (const piece of store.get(digest, range)) {
    hash.update(piece);
    for (let done = 0; done < piece.length;)
      done += (await file.write(piece, done, piece.length - done, at + done)).bytesWritten;
    at += piece.length;
    job.onProgress(at, job.to);
  }
  return digestFrom(hash.digest());
}

/** Whether a store gives the right bytes of an object; its word alone would keep a copy that is wrong. */
export async function holdsRight(store: ObjectStore, digest: Digest, sizeBytes: number): Promise<boolean> {
  if ((await store.stat(digest))?.sizeBytes !== sizeBytes) return false;
  try {
    for await (const piece of store.get(digest)) void piece;
    return true;
  } catch (failure) {
    if (codeOf(failure) === "OBJECT_CORRUPT") return false;
    throw failure;
  }
}

async function digestOfPieces(pieces: AsyncIterable<Uint8Array>): Promise<Digest> {
  const hash = createHash("sha256");
  for await (const piece of pieces) hash.update(piece);
  return digestFrom(hash.digest());
}

async function* counted(
  pieces: AsyncIterable<Uint8Array>,
  onProgress: (doneBytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const piece of pieces) {
    yield piece;
    done += piece.length;
    onProgress(done);
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (failure) {
    if (isMissing(failure)) return 0;
    throw failure;
  }
}
