import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex, type Address, type Hex32, type Refusal } from "@cloister/core";
import { emptyMarket } from "@cloister/market";
import type { Goal } from "@cloister/swarm";
import {
  declaredGoals,
  decodeGoal,
  encodeGoal,
  goalsOf,
  parseGoal,
  parseGoals,
  RETIRED_GOAL,
} from "../src/goals.ts";

const GOAL: Goal = {
  id: "near.gpus-1",
  kind: "inference",
  size: { min: 2, max: 4 },
  latencyMsMax: 12.5,
  bandwidthMbpsMin: 100,
  tees: ["tdx", "sev-snp"],
  cpusMin: 2,
  memoryBytesMin: 2 ** 33,
  gpusMin: 1,
  groupGpusMin: 4,
  operatorsMin: 2,
  regionsMin: 2,
  regions: ["eu-west", "eu-north"],
  affinity: [`0x${"ab".repeat(20)}` as Address],
  weight: 0.5,
  failedGraceMs: 0,
  degradedGraceMs: 86_400_000,
  shared: false,
};

describe("a goal", () => {
  test("with every member there is reads as itself, and comes back from its document", () => {
    expect(parseGoal(GOAL)).toEqual(GOAL);
    expect(decodeGoal(encodeGoal(GOAL))).toEqual(GOAL);
  });

  test("of the examples is one", () => {
    const folder = fileURLToPath(new URL("../../../examples/goals/", import.meta.url));
    for (const name of readdirSync(folder).filter((file) => file.endsWith(".json"))) {
      expect(parseGoals(JSON.parse(readFileSync(`${folder}${name}`, "utf8"))).length).toBeGreaterThan(0);
    }
  });

  test.each([
    [{ id: undefined }, "The goal.id must be 1 to 64"],
    [{ id: "Near" }, "The goal.id must be"],
    [{ id: "a/b" }, "The goal.id must be"],
    [{ id: "x".repeat(65) }, "The goal.id must be"],
    [{ kind: "cluster" }, "The goal.kind must be one of overlay, storage"],
    [{ size: undefined }, 'The goal.size must be { "min", "max" }'],
    [{ size: 3 }, "The goal.size must be"],
    [{ size: { min: 0, max: 3 } }, "The goal.size must be"],
    [{ size: { min: 1, max: 65 } }, "The goal.size must be"],
    [{ size: { min: 1, max: 3, often: 2 } }, "The goal.size must be"],
    [{ size: { min: 4, max: 3 } }, "The goal.size must have a min that is not above its max."],
    [{ latencyMsMax: 0 }, "The goal.latencyMsMax must be a number above 0"],
    [{ latencyMsMax: "100" }, "The goal.latencyMsMax must be a number"],
    [{ latencyMsMax: NaN }, "The goal.latencyMsMax must be a number"],
    [{ tees: [] }, "The goal.tees must be a list of 1 to 64"],
    [{ tees: ["tdx", "tdx"] }, "The goal.tees must not name anything twice"],
    [{ tees: [1] }, "The goal.tees must be a list whose every entry must be the name of a kind of TEE"],
    [{ affinity: ["0xABC"] }, "The goal.affinity must be a list whose every entry must be a node's address"],
    [{ gpusMin: 1.5 }, "The goal.gpusMin must be a whole number"],
    [{ weight: -1 }, "The goal.weight must be a number above 0"],
    [{ shared: "yes" }, "The goal.shared must be true or false"],
    [{ failedGraceMs: 86_400_001 }, "The goal.failedGraceMs must be a whole number from 0"],
    [{ latencyMax: 5 }, 'The goal has a member "latencyMax", which goals do not have.'],
    [{ operatorsMin: 5 }, "The goal wants more operators than members."],
    [{ regions: undefined, regionsMin: 5 }, "The goal wants more regions than members."],
    [{ regionsMin: 3 }, "The goal wants more distinct regions than it allows."],
  ])("with %j is refused in words", (change, words) => {
    const bad = Object.fromEntries(
      Object.entries({ ...GOAL, ...change }).filter(([, value]) => value !== undefined),
    );
    const error = thrownBy(() => parseGoal(bad));
    expect(error).toMatchObject({ code: "GOAL_MALFORMED" });
    expect(error.message).toContain(words);
  });

  test("with several things wrong is told all of them", () => {
    const error = thrownBy(() => parseGoals([GOAL, { id: "", kind: "x" }, GOAL]));
    const reasons = (error.details["refusals"] as Refusal[]).map(({ reason }) => reason);
    expect(reasons).toHaveLength(4);
    expect(reasons[0]).toMatch(/^Goals\[1\]\.id must/);
    expect(reasons.at(-1)).toBe('Two goals are called "near.gpus-1".');
  });

  test.each([[[]], [null], ["x"], [[null]], [new Uint8Array(3)]])("is not %j", (document) => {
    expect(thrownBy(() => parseGoals(document))).toMatchObject({ code: "GOAL_MALFORMED" });
  });

  test("is refused with a code, whatever the document is", () => {
    fc.assert(
      fc.property(fc.anything({ maxDepth: 3 }), (document) => {
        expect(thrownBy(() => parseGoals(document))).toMatchObject({ code: "GOAL_MALFORMED" });
      }),
      { numRuns: 200 },
    );
  });
});

describe("goals on the chain", () => {
  const owner = `0x${"aa".repeat(20)}` as Address;
  const other: Goal = { ...GOAL, id: "other" };
  function stateWith(...declared: readonly (readonly [string, Uint8Array])[]) {
    const state = emptyMarket();
    for (const [index, [goalId, document]] of declared.entries()) {
      state.goals.set(`0x${String(index).padStart(64, "0")}` as Hex32, {
        ...{ goalId, owner, document: toHex(document) },
      });
    }
    return state;
  }

  test("are active, retired by an empty document, or unreadable", () => {
    const state = stateWith(
      [GOAL.id, encodeGoal(GOAL)],
      ["gone", RETIRED_GOAL],
      ["torn", new Uint8Array([0xff])],
    );
    expect(declaredGoals(state).map(({ goalId, state: one }) => [goalId, one])).toEqual([
      [GOAL.id, "active"],
      ["gone", "retired"],
      ["torn", "unreadable"],
    ]);
    expect(goalsOf(state)).toEqual([GOAL]);
  });

  test("that speak of another goal's name bind nobody: nobody can overwrite a goal that is not theirs", () => {
    expect(goalsOf(stateWith(["mine", encodeGoal(other)], ["other", encodeGoal(other)]))).toEqual([other]);
    expect(goalsOf(stateWith(["mine", encodeGoal(other)]))).toEqual([]);
  });
});

function thrownBy(work: () => unknown): Error & { details: Record<string, unknown> } {
  try {
    work();
  } catch (error) {
    return error as Error & { details: Record<string, unknown> };
  }
  throw new Error("nothing was thrown");
}
