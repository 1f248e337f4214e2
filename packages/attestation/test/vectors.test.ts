import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { compareEntry } from "../tools/judges/compare.ts";
import type { VectorEntry } from "../tools/judges/entry.ts";
import { JUDGES } from "../tools/judges/index.ts";

const folder = process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../shared/vectors");
const index = join(folder, "index.json");
const present = existsSync(index);
const entries = present
  ? (JSON.parse(readFileSync(index, "utf8")) as { entries: VectorEntry[] }).entries
  : [];
const load = (path: string): Uint8Array => new Uint8Array(readFileSync(join(folder, path)));

describe("vendors' real evidence", () => {
  test.skipIf(!present)(`lie in ${folder} (CLOISTER_VECTORS names another)`, () => {
    expect(entries.length).toBeGreaterThan(0);
  });

  test.each(entries.filter(({ kind }) => kind in JUDGES).map((entry) => [entry.id, entry] as const))(
    "%s",
    (_, entry) => {
      const { verdict, status, fields, mutations } = compareEntry(entry, JUDGES[entry.kind], load);
      expect([verdict, status, fields, mutations].flatMap(({ differences }) => differences)).toEqual([]);
    },
  );
});
