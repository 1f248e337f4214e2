/**
 * The Linux kernel's interface to TEEs: configfs `tsm/report` (Documentation/ABI/testing/configfs-tsm-report),
 * the same for TDX, SEV-SNP and Arm CCA. A report is a folder: made, written to, read from and removed.
 */
import { access, mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CloisterError, codeOf, concat, toHex, type Entropy, type Tee } from "@cloister/core";
import { checkReportData } from "./report-data.ts";

export const TSM_REPORT_FOLDER = "/sys/kernel/config/tsm/report";
const DEVICES = ["/dev/tdx_guest", "/dev/sev-guest"] as const;
const ATTEMPTS_MAX = 3;

/** File operations of the interface; tests put an imitation of the kernel's behind them. */
export interface TsmFiles {
  makeFolder(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
  read(path: string): Promise<Uint8Array>;
  write(path: string, bytes: Uint8Array): Promise<void>;
}

const kernelFiles: TsmFiles = {
  makeFolder: (path) => mkdir(path),
  removeFolder: (path) => rmdir(path),
  read: async (path) => new Uint8Array(await readFile(path)),
  write: (path, bytes) => writeFile(path, bytes),
};

const KINDS = { tdx_guest: "tdx", sev_guest: "sev-snp", arm_cca_guest: "cca" } as const;

export interface TsmOptions {
  readonly entropy: Entropy;
  /** Default: where the kernel has it. */
  readonly folder?: string;
  readonly files?: TsmFiles;
}

/** What the hardware said about 64 bytes, and the certificates that the host added. */
export interface TsmReport {
  readonly outblob: Uint8Array;
  /** SEV-SNP: the host's certificate table. Empty where the provider has none. */
  readonly auxblob: Uint8Array;
}

/**
 * Finds the TEE that the kernel offers.
 * @throws {CloisterError} `TEE_NOT_FOUND` (naming what was looked for), `TEE_UNKNOWN`
 */
export async function openTsmTee({
  entropy,
  folder = TSM_REPORT_FOLDER,
  files = kernelFiles,
}: TsmOptions): Promise<TsmTee> {
  const makeEntry = (): string => join(folder, `cloister-${toHex(entropy(8))}`);
  const provider = await withEntry(files, folder, makeEntry(), async (entry) => {
    const bytes = await files.read(join(entry, "provider"));
    return Buffer.from(bytes).toString("latin1").trim();
  });
  if (!Object.hasOwn(KINDS, provider)) {
    throw new CloisterError(
      "TEE_UNKNOWN",
      `The kernel offers the TEE "${provider}", which is not known here.`,
      {
        hint: `Known are ${Object.keys(KINDS).join(", ")}.`,
      },
    );
  }
  return new TsmTee(KINDS[provider as keyof typeof KINDS], files, folder, makeEntry);
}

/** A TEE behind the kernel's interface. */
export class TsmTee implements Tee {
  readonly kind: Tee["kind"];
  readonly simulated = false;
  readonly #files: TsmFiles;
  readonly #folder: string;
  readonly #makeEntry: () => string;

  constructor(kind: Tee["kind"], files: TsmFiles, folder: string, makeEntry: () => string) {
    this.kind = kind;
    this.#files = files;
    this.#folder = folder;
    this.#makeEntry = makeEntry;
  }

  /** SEV-SNP: the host's certificate table follows the report, as `verify` takes it. @throws {CloisterError} `TEE_REPORT_FAILED` */
  async evidence(reportData: Uint8Array): Promise<Uint8Array> {
    const { outblob, auxblob } = await this.report(reportData);
    return this.kind === "sev-snp" ? concat(outblob, auxblob) : outblob;
  }

  /** Has the hardware report on 64 bytes. @throws {CloisterError} `TEE_REPORT_DATA_SIZE`, `TEE_REPORT_FAILED` */
  async report(reportData: Uint8Array): Promise<TsmReport> {
    checkReportData(reportData);
    let last: unknown;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      try {
        return await withEntry(this.#files, this.#folder, this.#makeEntry(), (entry) =>
          this.#ask(entry, reportData),
        );
      } catch (error) {
        last = error;
        if (!["EBUSY", "EINTR", "EAGAIN", "ETIMEDOUT", "TEE_REPORT_RACED"].includes(codeOf(error))) break;
      }
    }
    if (last instanceof CloisterError && last.code === "TEE_NOT_FOUND") throw last;
    throw new CloisterError("TEE_REPORT_FAILED", `The TEE made no report: ${(last as Error).message}`, {
      cause: last,
      hint: "On TDX the host's quote generation service must run; on SEV-SNP the host may have disabled the guest's key.",
    });
  }

  /** The kernel's interface derives no keys: such a CVM makes its keys anew at each start. */
  sealingKey(): Promise<Uint8Array> {
    const message = `The kernel's TSM interface gives ${this.kind} guests no sealing key.`;
    const hint = "Give it no state to keep: it makes its keys anew at each start and has them certified.";
    return Promise.reject(new CloisterError("TEE_SEALING_UNSUPPORTED", message, { hint }));
  }

  async #ask(entry: string, reportData: Uint8Array): Promise<TsmReport> {
    const files = this.#files;
    await files.write(join(entry, "inblob"), reportData);
    const generation = await this.#generation(entry);
    const outblob = await files.read(join(entry, "outblob"));
    const auxblob = await files.read(join(entry, "auxblob")).catch((error: unknown) => {
      // Providers without auxiliary data do not have the file, or answer that there is nothing.
      if (["ENOENT", "ENODATA", "EOPNOTSUPP"].includes(codeOf(error))) return new Uint8Array();
      throw error;
    });
    // Whoever writes to the entry in between raises the generation: then the blob may answer another question.
    if ((await this.#generation(entry)) !== generation) {
      throw new CloisterError("TEE_REPORT_RACED", "another process wrote to the report's entry");
    }
    if (outblob.length === 0) throw new CloisterError("TEE_REPORT_EMPTY", "the report is empty");
    return { outblob, auxblob };
  }

  async #generation(entry: string): Promise<string> {
    return Buffer.from(await this.#files.read(join(entry, "generation")))
      .toString("latin1")
      .trim();
  }
}

async function withEntry<T>(
  files: TsmFiles,
  folder: string,
  entry: string,
  work: (entry: string) => Promise<T>,
): Promise<T> {
  try {
    await files.makeFolder(entry);
  } catch (cause) {
    throw await notFound(folder, cause);
  }
  try {
    return await work(entry);
  } finally {
    await files.removeFolder(entry).catch(() => {});
  }
}

async function notFound(folder: string, cause: unknown): Promise<CloisterError> {
  const present = await Promise.all(
    DEVICES.map(
      async (path) =>
        `${path} ${
          (await access(path).then(
            () => true,
            () => false,
          ))
            ? "exists"
            : "does not exist"
        }`,
    ),
  );
  const why = {
    ENOENT: "it does not exist",
    EACCES: "it may not be written",
    EPERM: "it may not be written",
    ENXIO: "no TEE stands behind it",
  }[codeOf(cause)];
  return new CloisterError(
    "TEE_NOT_FOUND",
    `There is no TEE here: a report was to be made in ${folder}, but ${why ?? (cause as Error).message}; ${present.join(", ")}.`,
    {
      cause,
      hint: "In a confidential VM with Linux 6.7 or later, load tdx_guest, sev_guest or arm_cca_guest, mount configfs, and run as root.",
    },
  );
}
