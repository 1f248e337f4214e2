import { compareEntry, type Comparison } from "./compare.ts";
import type { LoadFile, VectorEntry } from "./entry.ts";
import { JUDGES } from "./index.ts";

/** Judges every entry, none skipped, and holds the answers against what the entries expect. */
export function judgeAll(entries: readonly VectorEntry[], load: LoadFile): Comparison[] {
  return entries.map((entry) => compareEntry(entry, JUDGES[entry.kind], load));
}
