import type { Refusal } from "@cloister/core";
import type { Goal } from "../types.ts";
import { allocate } from "./allocate.ts";
import { explainGoal } from "./explain.ts";
import { formGroup } from "./form.ts";
import { nearLists, type NearLists } from "./near.ts";
import { suitable, type GroupingProblem, type Plan } from "./problem.ts";

/** Up to this many nodes every starting point of a group is tried; beyond, near lists are searched. */
const SEARCHED_WHOLE_MAX = 128;

/**
 * Forms groups for all wanting goals. Goals that have members keep them first, the weightiest before
 * the others; exclusive goals that start from nothing are allocated together.
 */
export function planGroups(problem: GroupingProblem): Plan {
  const plan = {
    groups: new Map<string, readonly number[]>(),
    unmet: new Map<string, readonly Refusal[]>(),
  };
  const taken = takenByOthers(problem);
  const wanting = problem.goals
    .filter((goal) => problem.wanting?.has(goal.id) ?? true)
    .sort((a, b) => (b.weight ?? 1) - (a.weight ?? 1) || (a.id < b.id ? -1 : 1));
  const fresh = (goal: Goal): boolean => (problem.current.get(goal.id) ?? []).length === 0;
  const together = wanting.filter((goal) => goal.shared === false && fresh(goal));
  const single = wanting.filter((goal) => !together.includes(goal));
  const near =
    problem.nodes.length > SEARCHED_WHOLE_MAX ? nearLists(problem.nodes.length, problem.rttMs) : undefined;
  for (const goal of single) planOne(problem, goal, taken, near, plan);
  planTogether(problem, together, taken, near, plan);
  return plan;
}

interface OpenPlan {
  readonly groups: Map<string, readonly number[]>;
  readonly unmet: Map<string, readonly Refusal[]>;
}

function planOne(
  problem: GroupingProblem,
  goal: Goal,
  taken: Set<number>,
  near: NearLists | undefined,
  plan: OpenPlan,
): void {
  const free = suitable(problem, goal).filter((node) => goal.shared !== false || !taken.has(node));
  const kept = problem.current.get(goal.id) ?? [];
  const members =
    near === undefined || kept.length > 0
      ? formGroup(problem, goal, free, kept)
      : allocate(problem, [goal], { near, ...(goal.shared === false ? { taken } : {}) }).groups[0];
  settle(problem, goal, members, free, taken, plan);
}

function planTogether(
  problem: GroupingProblem,
  goals: readonly Goal[],
  taken: Set<number>,
  near: NearLists | undefined,
  plan: OpenPlan,
): void {
  if (goals.length === 0) return;
  const { groups } = allocate(problem, goals, { taken, ...(near === undefined ? {} : { near }) });
  for (const [place, goal] of goals.entries())
    if (groups[place] !== undefined) settle(problem, goal, groups[place], [], taken, plan);
  for (const [place, goal] of goals.entries()) {
    if (groups[place] !== undefined) continue;
    const free = suitable(problem, goal).filter((node) => !taken.has(node));
    settle(problem, goal, undefined, free, taken, plan);
  }
}

function settle(
  problem: GroupingProblem,
  goal: Goal,
  members: readonly number[] | undefined,
  free: readonly number[],
  taken: Set<number>,
  plan: OpenPlan,
): void {
  if (members === undefined) {
    plan.unmet.set(goal.id, explainGoal(problem, goal, free));
    return;
  }
  plan.groups.set(goal.id, members);
  if (goal.shared === false) for (const node of members) taken.add(node);
}

/** Nodes held by exclusive goals that are not being formed anew. */
function takenByOthers(problem: GroupingProblem): Set<number> {
  const taken = new Set<number>();
  for (const goal of problem.goals) {
    if (goal.shared !== false || (problem.wanting?.has(goal.id) ?? true)) continue;
    for (const node of problem.current.get(goal.id) ?? []) taken.add(node);
  }
  return taken;
}
