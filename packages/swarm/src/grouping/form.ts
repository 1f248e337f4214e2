import { GROUP_STARTS_MAX } from "../bounds.ts";
import type { Goal } from "../types.ts";
import { isElsewhere, isPreferred, regionsOf, type GroupingNode, type GroupingProblem } from "./problem.ts";

/**
 * Forms the group of one goal out of `free` nodes: as large as the goal allows, all pairs within its
 * limits, and then as close together as can be found. Members in `kept` stay whenever a group with
 * them exists. Undefined when no group meets the goal.
 */
export function formGroup(
  problem: GroupingProblem,
  goal: Goal,
  free: readonly number[],
  kept: readonly number[],
): number[] | undefined {
  const usable = new Set(free);
  let stay = kept.filter((node) => usable.has(node)).slice(0, goal.size.max);
  let best: number[] | undefined;
  while (best === undefined && stay.length > 0) {
    best = bestFrom(problem, goal, free, [stay]);
    stay = withoutFarthest(problem, stay);
  }
  const starts = anchors(free).map((node) => [node]);
  best ??= bestFrom(problem, goal, free, starts);
  return best?.toSorted((a, b) => a - b);
}

/** All but the member whose round trips to the others are longest. */
function withoutFarthest(problem: GroupingProblem, members: readonly number[]): number[] {
  const sums = members.map((member) => members.reduce((sum, other) => sum + problem.rttMs(member, other), 0));
  const farthest = sums.indexOf(Math.max(...sums));
  return members.filter((_, place) => place !== farthest);
}

function anchors(free: readonly number[]): number[] {
  if (free.length <= GROUP_STARTS_MAX) return [...free];
  const step = free.length / GROUP_STARTS_MAX;
  return Array.from({ length: GROUP_STARTS_MAX }, (_, i) => free[Math.floor(i * step)] as number);
}

function bestFrom(
  problem: GroupingProblem,
  goal: Goal,
  free: readonly number[],
  starts: readonly (readonly number[])[],
): number[] | undefined {
  let best: number[] | undefined;
  let bestDiameter = Infinity;
  for (const start of starts) {
    const members = grow(problem, goal, free, start);
    if (members === undefined || !meetsTogether(problem, goal, members)) continue;
    const diameter = diameterOf(problem, members);
    const larger = members.length > (best?.length ?? 0);
    if (larger || (members.length === best?.length && diameter < bestDiameter)) {
      best = members;
      bestDiameter = diameter;
    }
  }
  return best;
}

/** Adds, again and again, the candidate whose farthest member is nearest. */
function grow(
  problem: GroupingProblem,
  goal: Goal,
  free: readonly number[],
  start: readonly number[],
): number[] | undefined {
  const members = [...start];
  if (!withinLimits(problem, goal, members)) return undefined;
  const farthest = new Map<number, number>();
  for (const node of free) {
    if (!members.includes(node)) farthest.set(node, reach(problem, goal, members, node));
  }
  while (members.length < goal.size.max) {
    const next = nearest(problem, goal, members, farthest);
    if (next === undefined) break;
    members.push(next);
    farthest.delete(next);
    for (const [node, reached] of farthest) {
      farthest.set(node, Math.max(reached, pairMs(problem, goal, next, node)));
    }
  }
  return members.length >= goal.size.min ? members : undefined;
}

function nearest(
  problem: GroupingProblem,
  goal: Goal,
  members: readonly number[],
  farthest: ReadonlyMap<number, number>,
): number | undefined {
  const slots = goal.size.max - members.length;
  const needs = missingKinds(problem, goal, members, slots, mostGpus(problem, goal, farthest));
  let best: number | undefined;
  let bestMs = Infinity;
  for (const [node, reachedMs] of farthest) {
    if (reachedMs === Infinity || reachedMs > bestMs) continue;
    if (needs.slots >= slots && !needs.helps(problem.nodes[node] as GroupingNode)) continue;
    if (reachedMs < bestMs || isPreferred(problem.nodes[node] as GroupingNode, goal)) {
      best = node;
      bestMs = reachedMs;
    }
  }
  return best;
}

/** The most GPUs that one candidate has, where the goal asks for any. */
function mostGpus(problem: GroupingProblem, goal: Goal, candidates: ReadonlyMap<number, number>): number {
  if (goal.groupGpusMin === undefined) return 0;
  let most = 0;
  for (const node of candidates.keys()) most = Math.max(most, (problem.nodes[node] as GroupingNode).gpus);
  return most;
}

/** What the members still lack together, and how many slots that takes at least. */
function missingKinds(
  problem: GroupingProblem,
  goal: Goal,
  members: readonly number[],
  slots: number,
  gpusMost: number,
): { slots: number; helps: (node: GroupingNode) => boolean } {
  const nodes = members.map((member) => problem.nodes[member] as GroupingNode);
  const operators = new Set(nodes.map((node) => node.operator));
  const regions = regionsOf(nodes);
  const gpus = nodes.reduce((sum, node) => sum + node.gpus, 0);
  const operatorsShort = Math.max(0, (goal.operatorsMin ?? 0) - operators.size);
  const regionsShort = Math.max(0, (goal.regionsMin ?? 0) - regions.size);
  const gpusShort = Math.max(0, (goal.groupGpusMin ?? 0) - gpus);
  const gpusEach = Math.ceil(gpusShort / Math.max(1, slots));
  return {
    slots: Math.max(operatorsShort, regionsShort, Math.ceil(gpusShort / Math.max(1, gpusMost))),
    helps: (node) =>
      (operatorsShort === 0 || !operators.has(node.operator)) &&
      (regionsShort === 0 || isElsewhere(node, regions)) &&
      (gpusShort === 0 || node.gpus >= gpusEach),
  };
}

/** Tells whether members satisfy together what the goal asks of the group. */
export function meetsTogether(problem: GroupingProblem, goal: Goal, members: readonly number[]): boolean {
  if (members.length < goal.size.min || members.length > goal.size.max) return false;
  const nodes = members.map((member) => problem.nodes[member] as GroupingNode);
  const operators = new Set(nodes.map((node) => node.operator)).size;
  const regions = regionsOf(nodes).size;
  const gpus = nodes.reduce((sum, node) => sum + node.gpus, 0);
  return (
    operators >= (goal.operatorsMin ?? 0) &&
    regions >= (goal.regionsMin ?? 0) &&
    gpus >= (goal.groupGpusMin ?? 0) &&
    withinLimits(problem, goal, members)
  );
}

function withinLimits(problem: GroupingProblem, goal: Goal, members: readonly number[]): boolean {
  for (let i = 0; i < members.length; i++) {
    for (let j = i + 1; j < members.length; j++) {
      if (pairMs(problem, goal, members[i] as number, members[j] as number) === Infinity) return false;
    }
  }
  return true;
}

function reach(problem: GroupingProblem, goal: Goal, members: readonly number[], node: number): number {
  let farthest = 0;
  for (const member of members) farthest = Math.max(farthest, pairMs(problem, goal, member, node));
  return farthest;
}

/** The round trip of a pair; infinite when the goal does not allow the pair. */
function pairMs(problem: GroupingProblem, goal: Goal, a: number, b: number): number {
  const rttMs = problem.rttMs(a, b);
  if (rttMs > (goal.latencyMsMax ?? Infinity)) return Infinity;
  if (goal.bandwidthMbpsMin !== undefined && problem.bandwidthMbps !== undefined) {
    if (problem.bandwidthMbps(a, b) < goal.bandwidthMbpsMin) return Infinity;
  }
  return rttMs;
}

/** The greatest round trip between two members. */
export function diameterOf(problem: GroupingProblem, members: readonly number[]): number {
  let diameter = 0;
  for (let i = 0; i < members.length; i++) {
    for (let j = i + 1; j < members.length; j++) {
      diameter = Math.max(diameter, problem.rttMs(members[i] as number, members[j] as number));
    }
  }
  return diameter;
}
