import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { applyMutant } from "../tools/mutate.ts";
import { MUTANTS } from "../tools/mutants.ts";

test("there are at least 40 mutants, and each breaks one place of the sources", () => {
  expect(MUTANTS.length).toBeGreaterThanOrEqual(40);
  for (const mutant of MUTANTS) {
    const source = readFileSync(new URL(`../src/${mutant.file}`, import.meta.url), "utf8");
    expect(applyMutant(source, mutant)).not.toBe(source);
  }
});
