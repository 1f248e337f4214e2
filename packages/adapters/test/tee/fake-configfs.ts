import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { TsmFiles } from "../../src/tee/index.ts";

/** What the imitated kernel does beyond files that are just files. */
export interface FakeKernel {
  readonly provider: string;
  readonly outblob: (inblob: Uint8Array) => Uint8Array;
  readonly auxblob?: Uint8Array;
  /** Errors of coming reads of `outblob`, first come first served. */
  readonly failures?: NodeJS.ErrnoException[];
  /** Raises the generation while the report is made, as another writer would. */
  races?: number;
}

/**
 * Real folders and files in `folder` that behave like configfs `tsm/report`: making a folder makes its
 * attributes, writing `inblob` makes the blobs and raises the generation, removing takes the attributes along.
 */
export function fakeConfigfs(kernel: FakeKernel): TsmFiles {
  return {
    makeFolder: async (path) => {
      mkdirSync(path);
      writeFileSync(join(path, "provider"), `${kernel.provider}\n`);
      writeFileSync(join(path, "generation"), "0\n");
      writeFileSync(join(path, "inblob"), "");
    },
    removeFolder: async (path) => rmSync(path, { recursive: true }),
    write: async (path, bytes) => {
      if (basename(path) !== "inblob") throw errno("EACCES");
      if (bytes.length === 0 || bytes.length > 64) throw errno("EINVAL");
      writeFileSync(path, bytes);
      bump(dirname(path));
      writeFileSync(join(dirname(path), "outblob"), kernel.outblob(bytes));
      if (kernel.auxblob !== undefined) writeFileSync(join(dirname(path), "auxblob"), kernel.auxblob);
    },
    read: async (path) => {
      if (basename(path) === "outblob") {
        const failure = kernel.failures?.shift();
        if (failure !== undefined) throw failure;
        if ((kernel.races ?? 0) > 0) {
          kernel.races = (kernel.races as number) - 1;
          bump(dirname(path));
        }
      }
      return new Uint8Array(readFileSync(path));
    },
  };
}

export function errno(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

function bump(entry: string): void {
  const path = join(entry, "generation");
  writeFileSync(path, `${Number(readFileSync(path, "utf8")) + 1}\n`);
}
