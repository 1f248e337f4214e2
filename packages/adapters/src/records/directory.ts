import { readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import { CloisterError, type RecordStore } from "@cloister/core";
import {
  coded,
  ensureDirectory,
  entriesOf,
  isMissing,
  removeLeftovers,
  syncDirectory,
  writeAtomically,
} from "../store/files.ts";

const SUFFIX = ".record";
/** What common file systems allow for one name. */
const FILE_NAME_BYTES_MAX = 255;

/**
 * Opens a directory of small durable records and creates it when it is missing. One process writes it.
 * @throws {CloisterError} `RECORD_STORE_NOT_WRITABLE`, `RECORD_STORE_FULL`, `RECORD_STORE_FAILED`
 */
export async function openDirectoryRecords(path: string, nowMs: number): Promise<RecordStore> {
  await coded("RECORD_STORE", path, async () => {
    await ensureDirectory(path);
    await removeLeftovers(path, nowMs);
  });
  return new DirectoryRecords(path);
}

class DirectoryRecords implements RecordStore {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  read(name: string): Promise<Uint8Array | undefined> {
    return coded("RECORD_STORE", this.#path, async () => {
      try {
        return new Uint8Array(await readFile(this.#pathOf(name)));
      } catch (failure) {
        if (isMissing(failure)) return undefined;
        throw failure;
      }
    });
  }

  write(name: string, record: Uint8Array): Promise<void> {
    return coded("RECORD_STORE", this.#path, () => {
      const path = this.#pathOf(name);
      return writeAtomically(this.#path, async (file) => {
        await file.writeFile(record);
        return path;
      });
    });
  }

  delete(name: string): Promise<void> {
    return coded("RECORD_STORE", this.#path, async () => {
      try {
        await unlink(this.#pathOf(name));
        await syncDirectory(this.#path);
      } catch (failure) {
        if (!isMissing(failure)) throw failure;
      }
    });
  }

  list(prefix: string): Promise<string[]> {
    return coded("RECORD_STORE", this.#path, async () => {
      const names = (await entriesOf(this.#path))
        .filter((entry) => entry.isFile() && entry.name.endsWith(SUFFIX))
        .map((entry) => nameOf(entry.name))
        .filter((name) => name !== undefined);
      return names.filter((name) => name.startsWith(prefix)).toSorted();
    });
  }

  #pathOf(name: string): string {
    const fileName = `${encodeURIComponent(name)}${SUFFIX}`;
    if (name === "" || fileName.length > FILE_NAME_BYTES_MAX) {
      throw new CloisterError("RECORD_NAME_INVALID", `"${name.slice(0, 80)}" cannot name a record.`, {
        hint: "Names have 1 to about 200 characters.",
      });
    }
    return join(this.#path, fileName);
  }
}

/** The record's name, or undefined for a file that is not ours. */
function nameOf(fileName: string): string | undefined {
  try {
    return decodeURIComponent(fileName.slice(0, -SUFFIX.length));
  } catch {
    return undefined;
  }
}
