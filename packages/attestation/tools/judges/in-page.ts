import { fromBase64 } from "@cloister/core";
import { judgeAll } from "./all.ts";
import type { Comparison } from "./compare.ts";
import type { VectorEntry } from "./entry.ts";

/** What a page judges: it can open no files, so they come along as base64, by path. */
export interface VectorsForPage {
  readonly entries: readonly VectorEntry[];
  readonly files: Readonly<Record<string, string>>;
}

/** Judges every entry inside a web page. */
export function judgeInPage({ entries, files }: VectorsForPage): Comparison[] {
  return judgeAll(entries, (path) => {
    const text = files[path];
    if (text === undefined) throw new Error(`there is no file ${path}`);
    return fromBase64(text);
  });
}
