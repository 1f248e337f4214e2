/** One entry of an attestation vectors folder: evidence, the time to judge it at, and what must come out. */
export interface VectorEntry {
  readonly id: string;
  readonly tee: string;
  readonly kind: string;
  readonly files: Readonly<Record<string, string | readonly string[]>>;
  /** Absent where no time matters. */
  readonly evaluationTime: string | null;
  readonly trustAnchor?: string;
  readonly expected: Readonly<Record<string, unknown>> & { readonly verdict: VectorVerdict };
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly mutations?: readonly VectorMutation[];
  readonly [member: string]: unknown;
}

export type VectorVerdict = "valid" | "valid-with-status" | "policy-reject" | "reject";

export interface VectorMutation {
  readonly offset: number;
  readonly value?: number;
  readonly xor?: number;
  readonly expect: VectorVerdict;
}

/** Reads a file of the folder. Judges do no I/O of their own, so that they run in a browser too. */
export type LoadFile = (path: string) => Uint8Array;

/** What our code says about an entry. */
export interface VectorAnswer {
  readonly verdict: VectorVerdict;
  readonly tcbStatus?: string | undefined;
  readonly advisoryIds?: readonly string[] | undefined;
  /** What was read out, by the names that vectors use. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Further expectations that are not verdict, status or advisories (`checks`, `replayedRtmr` …), by their name. */
  readonly further?: Readonly<Record<string, unknown>>;
  /** Codes of the refusals, for people. */
  readonly codes: readonly string[];
}

/** Judges one entry. `main` stands for the main file when a mutation changed it. */
export type Judge = (entry: VectorEntry, load: LoadFile, main?: Uint8Array) => VectorAnswer;

/** What entries call their evidence; mutations change the first of these that an entry has. */
const MAIN_FILES = ["log", "quote", "report", "token", "evidence", "document", "rim"];

/** The path of the evidence itself. @throws when the entry has none. */
export function mainPathOf(entry: VectorEntry): string {
  const name = MAIN_FILES.find((candidate) => entry.files[candidate] !== undefined);
  return pathOf(entry, name ?? "evidence");
}

/** The path of one of an entry's files. @throws when the entry lacks it. */
export function pathOf(entry: VectorEntry, name: string): string {
  const path = entry.files[name];
  if (typeof path !== "string") throw new Error(`vector ${entry.id} names no file "${name}"`);
  return path;
}

/** The time to judge an entry at; entries without one are judged at the epoch, where no time matters. */
export function timeOf(entry: VectorEntry): number {
  return entry.evaluationTime === null ? 0 : Date.parse(entry.evaluationTime);
}
