import type { Address } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  allocate,
  closestGroup,
  goalValue,
  planGroups,
  type Goal,
  type GroupingNode,
  type GroupingProblem,
} from "../src/index.ts";
import { meetsTogether } from "../src/grouping/form.ts";
import { nearLists } from "../src/grouping/near.ts";
import { nodeId } from "./cluster.ts";

/** Nodes on a line, a millisecond apart. */
function line(
  count: number,
  goals: readonly Goal[],
  change: (index: number) => Partial<GroupingNode> = () => ({}),
): GroupingProblem {
  const nodes = Array.from({ length: count }, (_, index): GroupingNode => ({
    id: nodeId(index),
    operator: `0x${(index % 3).toString(16).padStart(40, "0")}` as Address,
    region: `region-${index % 2}`,
    tee: "tdx",
    cpus: 4,
    memoryBytes: 2 ** 33,
    gpus: 0,
    ...change(index),
  }));
  return { nodes, goals, current: new Map(), rttMs: (a, b) => Math.abs(a - b) };
}

/** The line, with the last of ten twice as far from everybody. */
function rttToTheLastDoubled(a: number, b: number): number {
  return Math.abs(a - b) * (a === 9 || b === 9 ? 2 : 1);
}

function goal(changes: Partial<Goal> = {}): Goal {
  return { id: "goal", kind: "compute", size: { min: 3, max: 3 }, ...changes };
}

function codesOf(problem: GroupingProblem): string[] {
  return [...planGroups(problem).unmet.values()].flatMap((refusals) => refusals.map(({ code }) => code));
}

describe("one goal", () => {
  it("gets the nodes that are closest together", () => {
    const members = planGroups(line(10, [goal()])).groups.get("goal") ?? [];
    expect(Math.max(...members) - Math.min(...members)).toBe(2);
  });

  it("gets the nodes it prefers where all else is equal, and no worse ones for their sake", () => {
    for (const shared of [true, false])
      for (const size of [1, 2, 3]) {
        const wanted = goal({ size: { min: size, max: size }, affinity: [nodeId(7)], shared });
        expect(planGroups(line(10, [wanted])).groups.get("goal")).toContain(7);
      }
    const apart = { ...line(10, [goal({ affinity: [nodeId(9)] })]), rttMs: rttToTheLastDoubled };
    expect(planGroups(apart).groups.get("goal")).not.toContain(9);
  });

  it("leaves a node that two goals prefer to one of them", () => {
    const goals = ["a", "b"].map((id) => {
      return goal({ id, size: { min: 1, max: 1 }, affinity: [nodeId(4)], shared: false });
    });
    const { groups, unmet } = planGroups(line(6, goals));
    expect([...groups.values()].flat().filter((member) => member === 4)).toHaveLength(1);
    expect(unmet.size).toBe(0);
  });

  it("keeps its members where it can", () => {
    const problem = { ...line(10, [goal()]), current: new Map([["goal", [2, 8]]]) };
    expect(planGroups(problem).groups.get("goal")).toEqual(expect.arrayContaining([2, 8]));
  });

  it("lets members go that its limits no longer allow", () => {
    const problem = { ...line(10, [goal({ latencyMsMax: 3 })]), current: new Map([["goal", [2, 9]]]) };
    expect(planGroups(problem).groups.get("goal")).toHaveLength(3);
  });

  it("gets distinct operators and regions", () => {
    const members = planGroups(line(12, [goal({ operatorsMin: 3, regionsMin: 2 })])).groups.get("goal") ?? [];
    expect(new Set(members.map((index) => index % 3)).size).toBe(3);
    expect(new Set(members.map((index) => index % 2)).size).toBe(2);
  });

  it("gets the GPUs it needs together", () => {
    const problem = line(12, [goal({ groupGpusMin: 1 })], (index) => ({ gpus: index === 11 ? 1 : 0 }));
    expect(planGroups(problem).groups.get("goal")).toContain(11);
  });
});

describe("an unmet goal says why, and what would meet it", () => {
  it("GOAL_TOO_FEW_NODES, GOAL_LIMIT_EXCLUDES", () => {
    expect(codesOf(line(10, [goal({ gpusMin: 1 })]))).toEqual(["GOAL_TOO_FEW_NODES", "GOAL_LIMIT_EXCLUDES"]);
    expect(codesOf(line(2, [goal()]))).toEqual(["GOAL_TOO_FEW_NODES"]);
  });

  it("GOAL_TOO_FEW_OPERATORS, GOAL_TOO_FEW_REGIONS, GOAL_TOO_FEW_GPUS", () => {
    const one = (): Partial<GroupingNode> => ({ operator: `0x${"1".repeat(40)}` as Address, region: "here" });
    expect(codesOf(line(10, [goal({ operatorsMin: 2, regionsMin: 2, groupGpusMin: 4 })], one))).toEqual([
      "GOAL_TOO_FEW_OPERATORS",
      "GOAL_TOO_FEW_REGIONS",
      "GOAL_TOO_FEW_GPUS",
    ]);
  });

  it("GOAL_NO_GROUP, with the latency limit that would do", () => {
    const problem = {
      ...line(10, [goal({ latencyMsMax: 50 })]),
      rttMs: (a: number, b: number) => 100 * Math.abs(a - b),
    };
    const [refusal] = planGroups(problem).unmet.get("goal") ?? [];
    expect(refusal?.code).toBe("GOAL_NO_GROUP");
    const limit = Number(/limit of (\d+) ms/.exec(refusal?.hint ?? "")?.[1]);
    expect(limit).toBeGreaterThanOrEqual(200);
    expect(limit).toBeLessThanOrEqual(203);
  });
});

describe("the closest group", () => {
  it("is the one that a complete search finds", () => {
    const network = fc.array(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 9, maxLength: 9 }), {
      minLength: 9,
      maxLength: 9,
    });
    fc.assert(
      fc.property(network, fc.integer({ min: 2, max: 4 }), (matrix, size) => {
        const rttMs = (a: number, b: number): number => matrix[Math.min(a, b)]?.[Math.max(a, b)] as number;
        expect(closestGroup(9, size, rttMs)?.diameterMs).toBe(leastDiameter(9, size, rttMs));
      }),
    );
  });

  it("is none when there are too few nodes, or none within the limit", () => {
    expect(closestGroup(2, 3, () => 1)).toBeUndefined();
    expect(closestGroup(5, 3, () => 10, 9)).toBeUndefined();
    expect(closestGroup(5, 3, () => 10, 10)?.diameterMs).toBe(10);
  });
});

function leastDiameter(count: number, size: number, rttMs: (a: number, b: number) => number): number {
  let least = Infinity;
  const extend = (members: readonly number[], from: number, diameter: number): void => {
    if (members.length === size) least = Math.min(least, diameter);
    for (let node = from; members.length < size && node < count; node++) {
      extend(
        [...members, node],
        node + 1,
        Math.max(diameter, ...members.map((member) => rttMs(member, node))),
      );
    }
  };
  extend([], 0, 0);
  return least;
}

describe("many goals at once", () => {
  const goals = Array.from({ length: 6 }, (_, index) => {
    return goal({
      id: `goal-${index}`,
      size: { min: 2, max: 4 },
      weight: 1 + index,
      latencyMsMax: 5,
      shared: false,
    });
  });

  it("never share a node, and each keeps its limits", () => {
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 30 }), fc.integer(), (count, seed) => {
        const problem = line(count, goals);
        const { groups, score } = allocate(problem, goals, { seed });
        const all = groups.flatMap((group) => group ?? []);
        expect(new Set(all).size).toBe(all.length);
        let sum = 0;
        for (const [index, group] of groups.entries()) {
          if (group === undefined) continue;
          expect(group.length).toBeGreaterThanOrEqual(2);
          expect(Math.max(...group) - Math.min(...group)).toBeLessThanOrEqual(5);
          sum += goalValue(goals[index] as Goal, group.length);
        }
        expect(score).toBeCloseTo(sum, 6);
      }),
      { numRuns: 40 },
    );
  });

  it("go by weight when there is not enough for all", () => {
    const { groups } = allocate(line(4, goals), goals);
    expect(groups.map((group) => group !== undefined)).toEqual([false, false, false, false, true, true]);
  });

  it("get what they ask of a group together: operators, regions that somebody named, GPUs, bandwidth", () => {
    const node = fc.record({
      operator: fc.nat(3),
      region: fc.option(fc.constantFrom("north", "south", "east"), { nil: undefined }),
      gpus: fc.nat(2),
    });
    const asked = fc.record({
      operatorsMin: fc.integer({ min: 1, max: 3 }),
      regionsMin: fc.integer({ min: 1, max: 2 }),
      groupGpusMin: fc.integer({ min: 0, max: 3 }),
    });
    const drawn = fc.tuple(
      fc.array(node, { minLength: 6, maxLength: 24 }),
      fc.array(asked, { minLength: 4, maxLength: 4 }),
    );
    let met = 0;
    fc.assert(
      fc.property(drawn, ([nodes, wishes]) => {
        const wanted = wishes.map(
          (wish, index) => ({ ...goals[index], ...wish, bandwidthMbpsMin: 10 }) as Goal,
        );
        const problem: GroupingProblem = {
          ...line(nodes.length, wanted, (index) => ({
            ...nodes[index],
            operator: `0x${String(nodes[index]?.operator).padStart(40, "0")}` as Address,
          })),
          bandwidthMbps: (a, b) => ((a + b) % 5 === 0 ? 1 : 100),
        };
        for (const [index, group] of allocate(problem, wanted, { rounds: 30 }).groups.entries()) {
          if (group === undefined) continue;
          met++;
          expect(meetsTogether(problem, wanted[index] as Goal, group)).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
    expect(met).toBeGreaterThan(60);
  });

  it("leave alone what is taken", () => {
    const { groups } = allocate(line(8, goals), goals, { taken: new Set([0, 1, 2]) });
    expect(groups.flatMap((group) => group ?? []).filter((node) => node < 3)).toEqual([]);
  });
});

describe("near lists", () => {
  it("are complete and sorted in a small network", () => {
    const { ids, perNode } = nearLists(10, (a, b) => Math.abs(a - b));
    expect(perNode).toBe(9);
    expect([...ids.subarray(0, 9)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("hold most of the true neighbors in a large one", () => {
    const rttMs = (a: number, b: number): number => Math.abs(a - b);
    const { ids, perNode } = nearLists(2_000, rttMs);
    let hits = 0;
    for (let node = 100; node < 1_900; node++) {
      const list = new Set(ids.subarray(node * perNode, node * perNode + 20));
      for (let hop = 1; hop <= 5; hop++) hits += Number(list.has(node - hop)) + Number(list.has(node + hop));
    }
    expect(hits / (1_800 * 10)).toBeGreaterThan(0.95);
  });
});

describe("regions", () => {
  const nodes = (regions: readonly (string | undefined)[]): GroupingProblem => ({
    nodes: regions.map((region, index) => {
      const id = nodeId(index);
      return { id, operator: id as string as Address, region, tee: "tdx", cpus: 1, memoryBytes: 1, gpus: 0 };
    }),
    goals: [{ id: "apart", kind: "overlay", size: { min: 2, max: 2 }, regionsMin: 2 }],
    current: new Map(),
    rttMs: () => 1,
  });

  it.each([
    [
      ["eu", "us"],
      [0, 1],
    ],
    [["eu", undefined, "eu", "us"], undefined],
  ])("that %j say they stand in make a group", (regions, expected) => {
    const group = planGroups(nodes(regions)).groups.get("apart");
    if (expected !== undefined) expect(group).toEqual(expected);
    expect(group?.map((index) => regions[index]).toSorted()).toEqual(["eu", "us"]);
  });

  it.each([[["eu", undefined]], [[undefined, undefined]], [["eu", "eu"]]])(
    "of %j are too few: one that is not named is not another one",
    (regions) => {
      const { groups, unmet } = planGroups(nodes(regions));
      expect(groups.get("apart")).toBeUndefined();
      expect(unmet.get("apart")?.map(({ code }) => code)).toContain("GOAL_TOO_FEW_REGIONS");
    },
  );
});
