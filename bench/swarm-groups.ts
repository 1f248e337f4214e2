import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Address, NodeId } from "@cloister/core";
import {
  closestGroup,
  goalValue,
  nextBelow,
  nextFraction,
  seedRandom,
  type Goal,
  type GroupingNode,
  type GroupingProblem,
} from "@cloister/swarm";
import { planetLab } from "./planetlab.ts";
import { atLeast, atMost, exactly, type GoalOutcome } from "@cloister/tools/report";
import type { PartResult } from "./swarm-parts.ts";
import { solveProgram } from "./swarm-program.ts";

const PROGRAM_SEEDS = [11, 12, 13];
/** Problems that both solve first: a leader plans all the time. What ours takes on the first of them is said apart. */
const WARM_SEEDS = [8, 9, 10];
const LARGE_SEEDS = [21, 22, 23, 24, 25];

/** CPU time of this process: other work on the machine does not count. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** An allocation in a process of its own, as a node would make it: no other work's heap or code is in it. */
interface ChildResult {
  readonly score: number;
  readonly met: number;
  readonly ms: number;
  /** The most memory the process ever had resident, and what it had before the allocation. */
  readonly peakMb: number;
  readonly beforeMb: number;
}

const CHILD = fileURLToPath(new URL("swarm-groups-child.ts", import.meta.url));

function allocateAlone(
  nodes: number,
  count: number,
  kind: "tight" | "loose",
  seeds: readonly number[],
): ChildResult[] {
  const args = [CHILD, nodes, count, kind, ...seeds].map(String);
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as ChildResult[];
}

/** Part (c): groups on the measured network and on networks grown from it. */
export async function benchGroups(): Promise<PartResult> {
  const figures: Record<string, number | string> = {};
  const goals: GoalOutcome[] = [];
  exactGroups(figures, goals);
  for (const seed of WARM_SEEDS) {
    const warm = drawProblem(60, 8, seed);
    await solveProgram(warm.problem, warm.goals, 60);
  }
  for (const [nodes, count, limitSeconds] of [
    [60, 8, 60],
    [100, 20, 120],
  ] as const) {
    await againstProgram(nodes, count, limitSeconds, figures, goals);
  }
  largeNetworks(figures, goals);
  return { figures, goals };
}

/** One goal: the group of least diameter, and a search of its own that no closer one exists. */
function exactGroups(figures: Record<string, number | string>, goals: GoalOutcome[]): void {
  let exact = true;
  for (const nodes of [490, 1_000, 10_000]) {
    const rttMs = planetLab(nodes, 7);
    const startedMs = cpuMs();
    const found = closestGroup(nodes, 5, rttMs);
    figures[`closestMs_${nodes}`] = Math.round(cpuMs() - startedMs);
    const diameter = found === undefined ? Infinity : found.diameterMs;
    const better = existsCloser(nodes, 5, diameter, rttMs);
    figures[`closestDiameterMs_${nodes}`] = Number(diameter.toFixed(3));
    exact &&= found !== undefined && found.exact && !better;
  }
  goals.push(exactly("the closest group is the closest there is", exact ? "yes" : "no", "yes"));
}

/** Complete search in the graph of pairs nearer than `limitMs`: independent of the solver. */
function existsCloser(
  nodes: number,
  size: number,
  limitMs: number,
  rttMs: (a: number, b: number) => number,
): boolean {
  const later: number[][] = Array.from({ length: nodes }, () => []);
  for (let a = 0; a < nodes; a++) {
    for (let b = a + 1; b < nodes; b++) if (rttMs(a, b) < limitMs) later[a]?.push(b);
  }
  const extend = (candidates: readonly number[], left: number): boolean => {
    if (left === 0) return true;
    return candidates.some((node, place) => {
      const next = candidates.slice(place + 1).filter((other) => rttMs(node, other) < limitMs);
      return next.length >= left - 1 && extend(next, left - 1);
    });
  };
  return later.some((candidates) => candidates.length >= size - 1 && extend(candidates, size - 1));
}

export function drawProblem(
  nodes: number,
  count: number,
  seed: number,
  tight = false,
): { problem: GroupingProblem; goals: Goal[] } {
  const random = seedRandom(seed);
  const list = Array.from({ length: nodes }, (_, index): GroupingNode => ({
    id: `0x${index.toString(16).padStart(40, "0")}` as NodeId,
    operator: `0x${nextBelow(random, 7).toString(16).padStart(40, "0")}` as Address,
    region: `region-${nextBelow(random, 5)}`,
    tee: nextFraction(random) < 0.6 ? "tdx" : "sev-snp",
    cpus: 8,
    memoryBytes: 2 ** 34,
    gpus: nextFraction(random) < 0.3 ? 1 : 0,
  }));
  const goals = Array.from({ length: count }, (_, index) => drawGoal(index, nextFraction, random, tight));
  return { problem: { nodes: list, goals, current: new Map(), rttMs: planetLab(nodes, seed) }, goals };
}

function drawGoal(
  index: number,
  draw: typeof nextFraction,
  random: ReturnType<typeof seedRandom>,
  tight: boolean,
): Goal {
  const min = (tight ? 8 : 2) + nextBelow(random, tight ? 8 : 4);
  const limits = tight ? [10, 20, 40, 80] : [40, 80, 120, 160];
  return {
    id: `goal-${index}`,
    kind: "compute",
    size: { min, max: min + 1 + nextBelow(random, tight ? 6 : 3) },
    latencyMsMax: limits[nextBelow(random, 4)] as number,
    weight: 1 + nextBelow(random, 5),
    shared: false,
    ...(draw(random) < 0.3 ? { gpusMin: 1 } : {}),
    ...(draw(random) < 0.4 ? { tees: ["tdx"] } : {}),
    ...(draw(random) < 0.3 ? { operatorsMin: 2 } : {}),
  };
}

async function againstProgram(
  nodes: number,
  count: number,
  limitSeconds: number,
  figures: Record<string, number | string>,
  goals: GoalOutcome[],
): Promise<void> {
  let oursMs = 0;
  let ours = 0;
  let theirs = 0;
  let theirsMs = 0;
  let proven = 0;
  const ratios: number[] = [];
  const all = allocateAlone(nodes, count, "loose", [...WARM_SEEDS, ...PROGRAM_SEEDS]);
  const results = all.slice(WARM_SEEDS.length);
  figures[`coldMs_${nodes}`] = Math.round(all[0]?.ms ?? 0);
  for (const [place, { score, ms }] of results.entries()) {
    const { problem, goals: wanted } = drawProblem(nodes, count, PROGRAM_SEEDS[place] as number);
    const program = await solveProgram(problem, wanted, limitSeconds);
    if (typeof program === "string") {
      figures[`program_${nodes}`] = program;
      return;
    }
    oursMs += ms;
    ours += score;
    theirs += program.score;
    theirsMs += program.ms;
    proven += program.optimal ? 1 : 0;
    ratios.push(score / program.score);
  }
  figures[`score_${nodes}`] = Number(ours.toFixed(2));
  figures[`programScore_${nodes}`] = Number(theirs.toFixed(2));
  figures[`programProvenOptimal_${nodes}`] = `${proven} of ${PROGRAM_SEEDS.length}`;
  figures[`scoreRatioEach_${nodes}`] = ratios.map((ratio) => ratio.toFixed(4)).join(" ");
  figures[`scoreRatio_${nodes}`] = Number((ours / theirs).toFixed(4));
  figures[`ms_${nodes}`] = Math.round(oursMs);
  figures[`programMs_${nodes}`] = Math.round(theirsMs);
  figures[`timeRatio_${nodes}`] = Number((oursMs / theirsMs).toFixed(4));
  goals.push(atLeast(`${count} goals on ${nodes} nodes: score, ours : integer program`, ours / theirs, 0.99));
  goals.push(
    atMost(`${count} goals on ${nodes} nodes: CPU time, ours : integer program`, oursMs / theirsMs, 0.02),
  );
}

/** 10,000 nodes, 1,000 goals that together want more than there is. */
function largeNetworks(figures: Record<string, number | string>, goals: GoalOutcome[]): void {
  const results = LARGE_SEEDS.map((seed) => {
    const { problem, goals: wanted } = drawProblem(10_000, 1_000, seed, true);
    const [alone] = allocateAlone(10_000, 1_000, "tight", [seed]);
    return { ...(alone as ChildResult), first: firstFit(problem, wanted) };
  });
  const each = (of: (result: (typeof results)[number]) => number, digits: number): string => {
    return results.map((result) => of(result).toFixed(digits)).join(" ");
  };
  figures["ms_10000"] = each(({ ms }) => ms, 0);
  figures["peakMb_10000"] = each(({ peakMb }) => peakMb, 0);
  figures["mbBeforeAllocating_10000"] = each(({ beforeMb }) => beforeMb, 0);
  figures["met_10000"] = each(({ met }) => met, 0);
  figures["score_10000"] = each(({ score }) => score, 1);
  figures["firstFitScore_10000"] = each(({ first }) => first, 1);
  figures["overFirstFit_10000"] = each(({ score, first }) => score / first, 4);
  const slowestMs = Math.max(...results.map(({ ms }) => ms));
  const peakMb = Math.max(...results.map(({ peakMb: mb }) => mb));
  const least = Math.min(...results.map(({ score, first }) => score / first));
  const many = "1,000 goals on 10,000 nodes";
  goals.push(atMost(`${many}: CPU seconds, the slowest of ${results.length}`, slowestMs / 1_000, 2));
  goals.push(atMost(`${many}: MB resident at the most, in a process of its own`, peakMb, 300));
  goals.push(atLeast(`${many}: score, ours : first fit, the least of ${results.length}`, least, 1.25));
}

/** The obvious way: goals in the order given, each takes the first free nodes that fit together. */
function firstFit(problem: GroupingProblem, goals: readonly Goal[]): number {
  const taken = new Uint8Array(problem.nodes.length);
  let score = 0;
  for (const goal of goals) {
    const members = firstGroup(problem, goal, taken);
    if (members.length < goal.size.min) continue;
    for (const node of members) taken[node] = 1;
    score += goalValue(goal, members.length);
  }
  return score;
}

function firstGroup(problem: GroupingProblem, goal: Goal, taken: Uint8Array): number[] {
  const usable = problem.nodes.flatMap((node, index) => {
    const fits = goal.tees === undefined || goal.tees.includes(node.tee ?? "");
    return taken[index] === 0 && fits && node.gpus >= (goal.gpusMin ?? 0) ? [index] : [];
  });
  for (const anchor of usable.slice(0, 200)) {
    const members = [anchor];
    for (const node of usable) {
      if (members.length >= goal.size.max) break;
      const near = members.every(
        (m) => m !== node && problem.rttMs(m, node) <= (goal.latencyMsMax ?? Infinity),
      );
      if (near) members.push(node);
    }
    const operators = new Set(members.map((member) => problem.nodes[member]?.operator)).size;
    if (members.length >= goal.size.min && operators >= (goal.operatorsMin ?? 0)) return members;
  }
  return [];
}
