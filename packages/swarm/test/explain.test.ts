import type { Address } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planGroups, type Goal, type GroupingNode, type GroupingProblem } from "../src/index.ts";
import { formGroup } from "../src/grouping/form.ts";
import { suitable } from "../src/grouping/problem.ts";
import { suggestGoal, withIdeal } from "../src/grouping/suggest.ts";
import { nodeId } from "./cluster.ts";

const GIB = 2 ** 30;

/** Nodes on a line, ten milliseconds and ten Mbit/s less apart; three operators, two regions, two kinds of TEE. */
function line(count: number, goal: Goal, change: Partial<GroupingProblem> = {}): GroupingProblem {
  const nodes = Array.from({ length: count }, (_, index): GroupingNode => ({
    id: nodeId(index),
    operator: `0x${(index % 3).toString(16).padStart(40, "0")}` as Address,
    region: index % 2 === 0 ? "north" : "south",
    tee: index < count - 2 ? "tdx" : "sev-snp",
    cpus: 2 + index,
    memoryBytes: (4 + index) * GIB,
    gpus: index % 2,
  }));
  const apart = (a: number, b: number): number => Math.abs(a - b);
  return {
    nodes,
    goals: [goal],
    current: new Map(),
    rttMs: (a, b) => 10 * apart(a, b),
    bandwidthMbps: (a, b) => 100 - 10 * apart(a, b),
    ...change,
  };
}

function goal(changes: Partial<Goal>): Goal {
  return { id: "goal", kind: "compute", size: { min: 3, max: 3 }, ...changes };
}

function explained(problem: GroupingProblem): { code: string; hint: string; reason: string }[] {
  const refusals = planGroups(problem).unmet.get("goal") ?? [];
  return refusals.map(({ code, reason, hint }) => ({ code, reason, hint: hint ?? "" }));
}

/** Each kind of limit alone out of reach of six nodes: the code it gets, and what is told to meet it. */
const KINDS: readonly [string, Partial<Goal>, string, RegExp][] = [
  ["size", { size: { min: 8, max: 8 } }, "GOAL_TOO_FEW_NODES", /2 more nodes that fit.*least size of 6/],
  ["TEE kinds", { tees: ["sev-snp"] }, "GOAL_LIMIT_EXCLUDES", /kind "tdx" too/],
  ["regions allowed", { regions: ["east"] }, "GOAL_LIMIT_EXCLUDES", /region "(north|south)" too/],
  ["CPUs", { cpusMin: 6 }, "GOAL_LIMIT_EXCLUDES", /number of CPUs per node of 5 would/],
  [
    "memory",
    { memoryBytesMin: 8 * GIB },
    "GOAL_LIMIT_EXCLUDES",
    /memory per node of 7516192768 bytes \(7\.0 GiB\) would/,
  ],
  ["GPUs of each", { gpusMin: 2 }, "GOAL_LIMIT_EXCLUDES", /GPUs per node of 1 would/],
  ["GPUs together", { groupGpusMin: 9 }, "GOAL_TOO_FEW_GPUS", /GPUs of the group of 3 would/],
  [
    "distinct operators",
    { size: { min: 4, max: 4 }, operatorsMin: 4 },
    "GOAL_TOO_FEW_OPERATORS",
    /With 3 distinct operators/,
  ],
  ["distinct regions", { regionsMin: 3 }, "GOAL_TOO_FEW_REGIONS", /With 2 distinct regions/],
  ["latency", { latencyMsMax: 15 }, "GOAL_NO_GROUP", /latency limit of 2[01] ms/],
  ["bandwidth", { bandwidthMbpsMin: 95 }, "GOAL_NO_GROUP", /bandwidth in Mbit\/s of \d+ would/],
];

describe("an unmet goal is explained by", () => {
  it.each(KINDS)("%s", (_, limits, code, hint) => {
    const reasons = explained(line(6, goal(limits)));
    expect(reasons.map((reason) => reason.code)).toContain(code);
    expect(reasons.map((reason) => reason.hint).join(" ")).toMatch(hint);
  });

  it.each(KINDS)("%s, and is met with any one of the changes that are told", (_, limits) => {
    const wanted = goal(limits);
    const problem = line(6, wanted);
    const suggestions = suggestGoal(problem, wanted, new Set());
    expect(suggestions.length).toBeGreaterThan(0);
    for (const { goal: changed, addNodes } of suggestions) {
      const helped = addNodes === undefined ? problem : withIdeal(problem, wanted, addNodes);
      const plan = planGroups({ ...helped, goals: [changed ?? wanted] });
      expect(plan.groups.get("goal")).toBeDefined();
    }
  });

  it("the exclusive goals that hold its nodes: GOAL_NODES_TAKEN", () => {
    const heavy = goal({ id: "heavy", shared: false, size: { min: 5, max: 5 }, weight: 9 });
    const wanted = goal({ shared: false });
    const problem = line(6, wanted, {
      goals: [heavy, wanted],
      wanting: new Set(["goal"]),
      current: new Map([["heavy", [0, 1, 2, 3, 4]]]),
    });
    const reasons = explained(problem);
    expect(reasons.map(({ code }) => code)).toEqual(["GOAL_TOO_FEW_NODES", "GOAL_NODES_TAKEN"]);
    expect(reasons[1]?.hint).toBe("Sharing nodes with other goals would meet it.");
  });

  it("nothing that is not so: weight and affinity never keep a goal from being met", () => {
    const problem = line(6, goal({ weight: 0.001, affinity: [nodeId(40)] }));
    expect(planGroups(problem).groups.get("goal")).toHaveLength(3);
  });
});

const GOALS = fc.record(
  {
    size: fc
      .integer({ min: 1, max: 6 })
      .chain((min) => fc.record({ min: fc.constant(min), max: fc.integer({ min, max: 7 }) })),
    latencyMsMax: fc.integer({ min: 1, max: 60 }),
    bandwidthMbpsMin: fc.integer({ min: 10, max: 120 }),
    tees: fc.subarray(["tdx", "sev-snp", "arm-cca"], { minLength: 1 }),
    regions: fc.subarray(["north", "south", "east"], { minLength: 1 }),
    cpusMin: fc.integer({ min: 1, max: 12 }),
    memoryBytesMin: fc.integer({ min: 1, max: 16 }).map((gib) => gib * GIB),
    gpusMin: fc.integer({ min: 0, max: 2 }),
    groupGpusMin: fc.integer({ min: 0, max: 8 }),
    operatorsMin: fc.integer({ min: 1, max: 4 }),
    regionsMin: fc.integer({ min: 1, max: 3 }),
    shared: fc.boolean(),
  },
  { requiredKeys: ["size"] },
);

describe("whatever the goal", () => {
  it("each change that is told meets it, and a goal that is called unmet has no group", () => {
    let unmet = 0;
    let told = 0;
    fc.assert(
      fc.property(GOALS, fc.integer({ min: 0, max: 8 }), (limits, count) => {
        const wanted = goal(limits);
        const problem = line(count, wanted);
        const plan = planGroups(problem);
        if (plan.groups.has("goal")) return;
        unmet++;
        expect(plan.unmet.get("goal")?.length).toBeGreaterThan(0);
        expect(formGroup(problem, wanted, suitable(problem, wanted), [])).toBeUndefined();
        for (const { goal: changed, addNodes } of suggestGoal(problem, wanted, new Set())) {
          told++;
          const helped = addNodes === undefined ? problem : withIdeal(problem, wanted, addNodes);
          expect(planGroups({ ...helped, goals: [changed ?? wanted] }).groups.has("goal")).toBe(true);
        }
      }),
      { numRuns: 400, seed: 5 },
    );
    expect(unmet).toBeGreaterThan(50);
    expect(told).toBeGreaterThan(unmet / 2);
  });
});
