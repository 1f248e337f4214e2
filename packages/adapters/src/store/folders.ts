import { createReadStream } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CloisterError } from "@cloister/core";
import {
  packTar,
  unpackTar,
  type Chunks,
  type TarEntry,
  type TarLimits,
  type TarSource,
} from "@cloister/custody";
import { coded, partialName, syncDirectory } from "./files.ts";

const READ_BYTES = 1 << 18;

/**
 * Packs a folder, byte for byte the same for the same files.
 * @throws {CloisterError} `TAR_TYPE_NOT_ALLOWED` for a link or a device in it, `TAR_SIZE_CHANGED`, `FILE_NOT_FOUND`, `FILE_FAILED`
 */
export async function* packFolder(folder: string): AsyncGenerator<Uint8Array> {
  const sources = await coded("FILE", folder, () => sourcesIn(folder, ""));
  yield* packTar(sources);
}

/**
 * Unpacks an archive into a folder that does not exist yet; it appears only when the whole archive was good,
 * and is its owner's alone.
 * @throws {CloisterError} `FILE_EXISTS`, and as `unpackTar`
 */
export function unpackFolder(archive: Chunks, folder: string, limits: TarLimits): Promise<void> {
  return coded("FILE", folder, async () => {
    if ((await lstat(folder).catch(() => undefined)) !== undefined)
      throw new CloisterError("FILE_EXISTS", `${folder} is there already.`, { hint: "Name a new folder." });
    const partial = join(dirname(folder), partialName(basename(folder)));
    try {
      // What was sealed is nobody else's to read, whatever the permissions in the archive.
      await mkdir(partial, { mode: 0o700 });
      for await (const entry of unpackTar(archive, limits)) await writeEntry(partial, entry);
      await rename(partial, folder);
      await syncDirectory(dirname(folder));
    } catch (failure) {
      await rm(partial, { recursive: true, force: true });
      throw failure;
    }
  });
}

async function sourcesIn(root: string, below: string): Promise<TarSource[]> {
  const sources: TarSource[] = [];
  for (const { name } of await readdir(join(root, below), { withFileTypes: true })) {
    const path = below === "" ? name : `${below}/${name}`;
    const full = join(root, path);
    const found = await lstat(full);
    const isExecutable = (found.mode & 0o100) !== 0;
    if (found.isDirectory()) {
      sources.push({ path, kind: "directory", sizeBytes: 0, isExecutable, read: () => [] });
      sources.push(...(await sourcesIn(root, path)));
    } else if (found.isFile()) {
      const read = () => createReadStream(full, { highWaterMark: READ_BYTES });
      sources.push({ path, kind: "file", sizeBytes: found.size, isExecutable, read });
    } else {
      throw new CloisterError("TAR_TYPE_NOT_ALLOWED", `${full} is neither a file nor a folder.`, {
        hint: "Links and devices are not packed; remove it or put the file itself there.",
      });
    }
  }
  return sources;
}

async function writeEntry(root: string, entry: TarEntry): Promise<void> {
  const path = join(root, entry.path);
  if (entry.kind === "directory") {
    await mkdir(path, { recursive: true });
    return;
  }
  await mkdir(dirname(path), { recursive: true });
  // "wx": a path that exists already is never written through.
  const file = await open(path, "wx", entry.isExecutable ? 0o755 : 0o644);
  try {
    for await (const piece of entry.content) await file.writeFile(piece);
    await file.sync();
  } finally {
    await file.close();
  }
}
