import { compareEntry } from "../../tools/judges/compare.ts";
import type { VectorEntry } from "../../tools/judges/entry.ts";
import { JUDGES } from "../../tools/judges/index.ts";

/** Judges every entry with files given as base64; gives what differs from what the entries expect, and their codes. */
export function judgeAll(
  entries: readonly VectorEntry[],
  files: Readonly<Record<string, string>>,
): { readonly id: string; readonly differences: readonly string[]; readonly codes: readonly string[] }[] {
  const load = (path: string): Uint8Array => {
    const text = atob(files[path] ?? "");
    return Uint8Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
  };
  return entries.map((entry) => {
    const { id, verdict, status, fields, mutations, codes } = compareEntry(entry, JUDGES[entry.kind], load);
    return { id, codes, differences: [verdict, status, fields, mutations].flatMap((one) => one.differences) };
  });
}
