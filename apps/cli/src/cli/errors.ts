/** What the program says and returns when something goes wrong. */
import { CloisterError, codeOf, type Refusal } from "@cloister/core";

/** Stable exit codes, documented in `cloister --help`. */
export const EXIT = {
  ok: 0,
  /** Something was refused or failed, and the error says what. */
  refused: 1,
  usage: 2,
  /** The machine or a service on it: a port in use, a chain that is not there, a full disk. */
  environment: 3,
  notFound: 4,
  /** A bug of ours. */
  internal: 5,
} as const;

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  /** Every failed check, when more than one failed. */
  readonly refusals?: readonly Refusal[];
  readonly exitCode: number;
}

const ENVIRONMENT =
  /(_UNREACHABLE|_TIMEOUT|_IN_USE|_UNUSABLE|_UNAVAILABLE|_MISSING|_FULL|_NOT_WRITABLE|_OFFLINE)$|^(FILE_FORBIDDEN|NODE_TOO_OLD)$/;
/** A thing with an id that is not there; `TEE_UNKNOWN` and the like mean that we cannot read it, which is another matter. */
const NOT_FOUND = /_NOT_FOUND$|^(ORDER|OFFER|NODE|ACCOUNT|GOAL|GROUP)_UNKNOWN$/;

/** Describes anything thrown: its code, one sentence, what to do, and the exit code. */
export function failureOf(thrown: unknown): Failure {
  const error = translateSystemError(thrown);
  const code = codeOf(error);
  if (!/^[A-Z][A-Z0-9_]*$/.test(code) || code === "INTERNAL" || /^(ERR_|E[A-Z0-9]+$)/.test(code)) {
    return internalFailure(error);
  }
  const message = error instanceof Error ? error.message : String(error);
  const hint = hintOf(error);
  const refusals = refusalsOf(error);
  return {
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(refusals.length > 1 ? { refusals } : {}),
    exitCode: refusals.length > 0 ? EXIT.refused : exitCodeOf(code),
  };
}

function exitCodeOf(code: string): number {
  if (code.startsWith("USAGE_")) return EXIT.usage;
  if (ENVIRONMENT.test(code)) return EXIT.environment;
  return NOT_FOUND.test(code) ? EXIT.notFound : EXIT.refused;
}

function internalFailure(error: unknown): Failure {
  const debug = process.env["CLOISTER_DEBUG"] !== undefined;
  const text =
    error instanceof Error ? (debug ? (error.stack ?? error.message) : error.message) : String(error);
  return {
    code: "INTERNAL",
    message: text,
    hint: "This is a bug in cloister. Run it again with CLOISTER_DEBUG=1 to see where, and report it.",
    exitCode: EXIT.internal,
  };
}

function hintOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("hint" in error)) return undefined;
  return typeof error.hint === "string" ? error.hint : undefined;
}

function refusalsOf(error: unknown): readonly Refusal[] {
  const listed = error instanceof CloisterError ? error.details["refusals"] : undefined;
  return Array.isArray(listed) ? (listed as Refusal[]) : [];
}

const SYSTEM: Readonly<
  Record<string, readonly [code: string, sentence: (path: string) => string, hint: string]>
> = {
  ENOENT: [
    "FILE_NOT_FOUND",
    (path) => `There is no file ${path}.`,
    "Check the path; it is read from the current folder.",
  ],
  EISDIR: ["FILE_IS_FOLDER", (path) => `${path} is a folder, not a file.`, "Name a file."],
  ENOTDIR: [
    "FILE_NOT_FOUND",
    (path) => `A part of the path ${path} is a file, not a folder.`,
    "Check the path.",
  ],
  EEXIST: [
    "FILE_EXISTS",
    (path) => `${path} is there already, and is not a folder.`,
    "Choose another place.",
  ],
  ENAMETOOLONG: [
    "FILE_NAME_TOO_LONG",
    (path) => `The name ${path.slice(0, 40)}… is longer than this disk takes.`,
    "Choose a shorter name.",
  ],
  EACCES: [
    "FILE_FORBIDDEN",
    (path) => `This user may not use ${path}.`,
    "Change its permissions, or choose another place.",
  ],
  EPERM: [
    "FILE_FORBIDDEN",
    (path) => `This user may not use ${path}.`,
    "Change its permissions, or choose another place.",
  ],
  EROFS: ["FILE_FORBIDDEN", (path) => `${path} is on a read-only disk.`, "Choose another place."],
  ENOSPC: [
    "DISK_FULL",
    (path) => `The disk is full: ${path} was not written.`,
    "Free some space and run the command again; nothing was left half-done.",
  ],
  EDQUOT: [
    "DISK_FULL",
    (path) => `The disk quota is used up: ${path} was not written.`,
    "Free some space and run the command again; nothing was left half-done.",
  ],
  EMFILE: ["FILES_UNAVAILABLE", () => "Too many files are open.", "Raise the limit with `ulimit -n`."],
  EADDRINUSE: [
    "PORT_IN_USE",
    () => "The port is taken by another program.",
    "Stop that program, or choose another port.",
  ],
  ECONNREFUSED: [
    "SERVICE_UNREACHABLE",
    () => "Nothing answers at that address.",
    "Start the local network with `cloister up`, or check the address.",
  ],
};

/** Turns the operating system's errors into sentences; everything else stays as it is. */
export function translateSystemError(thrown: unknown): unknown {
  const entry = SYSTEM[codeOf(thrown, "")];
  if (entry === undefined || !(thrown instanceof Error)) return thrown;
  const path = "path" in thrown && typeof thrown.path === "string" ? thrown.path : "the output";
  const [code, sentence, hint] = entry;
  return new CloisterError(code, sentence(path), { hint, cause: thrown });
}
