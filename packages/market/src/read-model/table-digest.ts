import { concat, digestOf, utf8, type Digest } from "@cloister/core";
import type { Row, Table } from "./tables.ts";

/** Rows that are hashed together. Part of what the digest means. */
export const DIGEST_PAGE_ROWS = 4096;

/** A digest over a table, page by page, so that no more than one page need be at hand. */
export class TableDigest {
  readonly #columns: readonly string[];
  #rows = 0;
  #digest: Digest;

  constructor(table: Table) {
    this.#columns = ["id", ...Object.keys(table.columns)];
    this.#digest = digestOf(utf8([table.name, ...this.#columns].join("\n")));
  }

  /** Takes in the next rows: ascending by id, `DIGEST_PAGE_ROWS` of them unless they are the last. */
  add(rows: readonly Row[]): void {
    const lines = rows.map((row) => JSON.stringify(this.#columns.map((column) => row[column])));
    this.#rows += rows.length;
    this.#digest = digestOf(concat(utf8(this.#digest), utf8(lines.join("\n"))));
  }

  /** How many rows there were and the digest over all of them. */
  result(): { readonly rows: number; readonly digest: Digest } {
    return { rows: this.#rows, digest: this.#digest };
  }
}

/** The digest of rows that are all at hand, in any sequence. */
export function digestRows(
  table: Table,
  rows: readonly Row[],
): { readonly rows: number; readonly digest: Digest } {
  const digest = new TableDigest(table);
  const sorted = rows.toSorted((a, b) => (String(a["id"]) < String(b["id"]) ? -1 : 1));
  for (let at = 0; at < sorted.length; at += DIGEST_PAGE_ROWS) {
    digest.add(sorted.slice(at, at + DIGEST_PAGE_ROWS));
  }
  return digest.result();
}
