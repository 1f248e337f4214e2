import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { encodeCanonical, sha256, sha384, utf8 } from "@cloister/core";

/** What a simulated machine loads and measures before it starts a CVM. */
export interface Image {
  /** Folders and files of the program; what is in them is measured by path and content. */
  readonly root: string;
  readonly program: readonly string[];
  /** Pins of everything that is installed beside the program. */
  readonly lockFile: string;
  /** What the CVM is for: `node` or `authority`. */
  readonly role: string;
  /** Files that the operator adds to the image. They are measured like the rest. */
  readonly added?: readonly string[];
}

/** Measurement registers of a TD, 48 bytes each. */
export interface LaunchMeasurements {
  readonly mrTd: Uint8Array;
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
}

const MEASURED = /\.(ts|mjs|js|json|wasm)$/;
const SKIPPED = new Set(["node_modules", "dist", "test", "tools"]);

/**
 * Measures an image: the program's files into MRTD, the installed packages' pins into RTMR1, the role into
 * RTMR2, added files into RTMR3. The same files give the same registers on every machine.
 */
export async function measureImage(image: Image): Promise<LaunchMeasurements> {
  const program = (await Promise.all(image.program.map((path) => filesUnder(join(image.root, path))))).flat();
  const lock = await readFile(image.lockFile);
  const added = image.added ?? [];
  return {
    mrTd: sha384(await manifest(image.root, program)),
    rtmrs: [
      new Uint8Array(48),
      extend(lock),
      extend(utf8(image.role)),
      added.length === 0 ? new Uint8Array(48) : extend(await manifest(image.root, added)),
    ],
  };
}

/** One extension of a register that was all zero (Intel TDX Module ABI, TDG.MR.RTMR.EXTEND). */
function extend(event: Uint8Array): Uint8Array {
  return sha384(Buffer.concat([new Uint8Array(48), sha384(event)]));
}

async function manifest(root: string, files: readonly string[]): Promise<Uint8Array> {
  const entries = await Promise.all(
    files.map(
      async (file) => [relative(root, file).split(sep).join("/"), sha256(await readFile(file))] as const,
    ),
  );
  return encodeCanonical(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function filesUnder(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (entries === undefined) return [path];
  const nested = entries.map(async (entry) => {
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : filesUnder(join(path, entry.name));
    return MEASURED.test(entry.name) ? [join(path, entry.name)] : [];
  });
  return (await Promise.all(nested)).flat();
}
