import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { applyMutant, chooseMutants } from "../tools/mutate.ts";
import { MUTANTS } from "../tools/mutants.ts";

test("there are at least 40 mutants, and each breaks one place of the sources", () => {
  expect(MUTANTS.length).toBeGreaterThanOrEqual(40);
  for (const mutant of MUTANTS) {
    const source = readFileSync(new URL(`../src/${mutant.file}`, import.meta.url), "utf8");
    expect(applyMutant(source, mutant)).not.toBe(source);
  }
});

test("a run can go on from any place of the list, and never runs none of them", () => {
  expect(chooseMutants(undefined, "1")).toEqual(MUTANTS);
  expect(chooseMutants(undefined, "41")[0]).toBe(MUTANTS[40]);
  const [last] = MUTANTS.slice(-1);
  expect(chooseMutants(last?.guard, String(MUTANTS.length))).toEqual([last]);
  for (const from of ["0", "-1", "1.5", "x", "", String(MUTANTS.length + 1)]) {
    expect(() => chooseMutants(undefined, from)).toThrow(/--from|None/);
  }
  expect(() => chooseMutants("no guard is called so", "1")).toThrow(/None/);
});
