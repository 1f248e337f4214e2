import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "@cloister/core";
import { describe, expect, test } from "vitest";
import type { VectorEntry } from "../../tools/judges/entry.ts";
import { minimize, mutate, randomFrom } from "./mutate.ts";
import { collateralTarget, forgedTargets, vectorTargets } from "./targets.ts";
import { escapeOf, type FuzzTarget } from "./target.ts";

const folder = process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../../shared/vectors");
const present = existsSync(join(folder, "index.json"));
const entries = present
  ? (JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as { entries: VectorEntry[] }).entries
  : [];
const load = (path: string): Uint8Array => new Uint8Array(readFileSync(join(folder, path)));
const CASES = 250;

const targets: FuzzTarget[] = [
  ...forgedTargets(),
  ...vectorTargets(entries, load),
  ...collateralTarget(entries, load),
];

describe("any bytes at all are refused with a code", () => {
  test.each(targets.map((target) => [target.name, target] as const))("%s", (_, target) => {
    const random = randomFrom(20_260_615);
    const escapes: string[] = [];
    for (let i = 0; i < CASES; i++) {
      const seed = random(target.seeds.length);
      const bytes = mutate(target.seeds[seed] as Uint8Array, random);
      const escape = escapeOf(target, bytes, seed);
      if (escape !== undefined) {
        const least = minimize(bytes, (candidate) => escapeOf(target, candidate, seed) === escape);
        escapes.push(`seed ${seed}, ${escape}: ${toHex(least)}`);
      }
    }
    expect(escapes).toEqual([]);
  });

  test.skipIf(!present)(`seeds from ${folder} (CLOISTER_VECTORS names another)`, () => {
    expect(targets.length).toBeGreaterThan(forgedTargets().length);
  });
});
