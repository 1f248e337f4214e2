import { createHash } from "node:crypto";
import { open, stat, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { CloisterError, digestFrom, parseDigest, type Digest, type ObjectStore } from "@cloister/core";
import {
  coded,
  ensureDirectory,
  entriesOf,
  isMissing,
  objectCorrupt,
  piecesAfter,
  readPieces,
  removeLeftovers,
  writeAtomically,
} from "./files.ts";

const WRITE_BYTES = 512 * 1024;
/** Below what every system takes in one `writev`. */
const PIECES_MAX = 512;

/**
 * Opens a directory as an object store and creates it when it is missing. Several processes may share it.
 * Files are named by the digest of their bytes; a whole read checks it, so that a changed file is refused.
 * @throws {CloisterError} `OBJECT_STORE_NOT_WRITABLE`, `OBJECT_STORE_FULL`, `OBJECT_STORE_FAILED`
 */
export async function openDirectoryStore(path: string, nowMs: number): Promise<ObjectStore> {
  const store = new DirectoryStore(path);
  await coded("OBJECT_STORE", path, async () => {
    await ensureDirectory(store.incoming);
    await removeLeftovers(store.incoming, nowMs);
  });
  return store;
}

class DirectoryStore implements ObjectStore {
  readonly name: string;
  readonly incoming: string;
  readonly #path: string;

  constructor(path: string) {
    this.name = `directory ${path}`;
    this.#path = path;
    this.incoming = join(path, "incoming");
  }

  put(object: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; sizeBytes: number }> {
    return coded("OBJECT_STORE", this.#path, async () => {
      const hash = createHash("sha256");
      let sizeBytes = 0;
      let digest: Digest | undefined;
      await writeAtomically(this.incoming, async (file) => {
        for await (const batch of batchesOf(object)) {
          for (const piece of batch) hash.update(piece);
          sizeBytes += await writeAll(file, batch);
        }
        digest = digestFrom(hash.digest());
        return this.#pathOf(digest);
      });
      return { digest: digest as Digest, sizeBytes };
    });
  }

  async *get(digest: Digest, range?: { offset: number; length: number }): AsyncGenerator<Uint8Array> {
    const file = await coded("OBJECT_STORE", this.#path, () => this.#openObject(digest));
    try {
      const { size } = await file.stat();
      const { offset, length } = range ?? { offset: 0, length: size };
      checkRange(digest, size, offset, length);
      yield* range === undefined
        ? checked(readPieces(file, 0, size), digest, this.name)
        : readPieces(file, offset, length);
    } finally {
      await file.close();
    }
  }

  stat(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
    return coded("OBJECT_STORE", this.#path, async () => {
      try {
        return { sizeBytes: (await stat(this.#pathOf(digest))).size };
      } catch (failure) {
        if (isMissing(failure)) return undefined;
        throw failure;
      }
    });
  }

  async *list(): AsyncGenerator<Digest> {
    for (const shard of await entriesOf(join(this.#path, "objects"))) {
      for (const { name } of await entriesOf(join(this.#path, "objects", shard.name))) {
        if (/^[0-9a-f]{64}$/.test(name)) yield parseDigest(`sha256:${name}`);
      }
    }
  }

  async delete(digest: Digest): Promise<void> {
    await coded("OBJECT_STORE", this.#path, async () => {
      try {
        await unlink(this.#pathOf(digest));
      } catch (failure) {
        if (!isMissing(failure)) throw failure;
      }
    });
  }

  async #openObject(digest: Digest): Promise<FileHandle> {
    try {
      return await open(this.#pathOf(digest));
    } catch (cause) {
      if (!isMissing(cause)) throw cause;
      throw new CloisterError("OBJECT_NOT_FOUND", `The ${this.name} does not hold ${digest}.`, { cause });
    }
  }

  #pathOf(digest: Digest): string {
    const hex = parseDigest(digest).slice("sha256:".length);
    return join(this.#path, "objects", hex.slice(0, 2), hex);
  }
}

/** Passes pieces on and refuses the end of an object whose bytes are not those that were asked for. */
export async function* checked(
  pieces: AsyncIterable<Uint8Array>,
  digest: Digest,
  storeName: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
  const got = digestFrom(hash.digest());
  if (got !== digest) throw objectCorrupt(storeName, digest, got);
}

/** @throws {CloisterError} `OBJECT_RANGE_OUTSIDE` */
export function checkRange(digest: Digest, sizeBytes: number, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= sizeBytes) return;
  throw new CloisterError(
    "OBJECT_RANGE_OUTSIDE",
    `${digest} holds ${sizeBytes} bytes; ${length} from ${offset} are not among them.`,
  );
}

/** Gathers pieces into batches worth a system call: sealed objects come as chunks and 16-byte tags. */
async function* batchesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    batch.push(piece);
    bytes += piece.length;
    if (bytes < WRITE_BYTES && batch.length < PIECES_MAX) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

async function writeAll(file: FileHandle, batch: readonly Uint8Array[]): Promise<number> {
  const total = batch.reduce((sum, piece) => sum + piece.length, 0);
  const { bytesWritten } = await file.writev([...batch]);
  // A short write is rare (a disk about to be full): the rest goes piece by piece.
  for (let done = bytesWritten; done < total;) {
    const rest = piecesAfter(batch, done);
    done += (await file.write(rest[0] as Uint8Array)).bytesWritten;
  }
  return total;
}
