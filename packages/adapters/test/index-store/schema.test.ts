import { expect, test } from "vitest";
import { digestOfDocument } from "@cloister/core";
import { MARKET_TABLES } from "@cloister/market";
import { BLOCKS_TABLE, SCHEMA_VERSION, UNDO_TABLE } from "../../src/index-store/schema.ts";

/** Tables as each version had them. What changes them counts up the version and adds a line here. */
const TABLES: Readonly<Record<number, string>> = {
  2: "sha256:3848d07a393b5b6be0cb063c10a38794a412d3f0b43d3f7cb0931ab3218bd397",
  3: "sha256:88d227107914eae33eff48932278687926d145f722c90ee03d042de68fcc5ef5",
};

test("a version of the tables never means two things", () => {
  const shapes = [BLOCKS_TABLE, UNDO_TABLE, ...MARKET_TABLES].map(({ name, columns, indexes }) => ({
    name,
    columns: Object.entries(columns).map(([column, type]) => `${column} ${type}`),
    indexes: [...indexes],
  }));
  expect(digestOfDocument(shapes)).toBe(TABLES[SCHEMA_VERSION]);
});
