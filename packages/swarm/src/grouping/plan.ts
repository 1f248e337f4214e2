import type { NodeId, Refusal } from "@cloister/core";
import { GROUP_SEARCHED_WHOLE_MAX } from "../bounds.ts";
import type { Goal } from "../types.ts";
import { allocate } from "./allocate.ts";
import { explainGoal } from "./explain.ts";
import { formGroup } from "./form.ts";
import { nearLists, type NearLists } from "./near.ts";
import { holdingsOf, suitable, type GroupingNode, type GroupingProblem, type Plan } from "./problem.ts";
import { yieldTo } from "./yield.ts";

/**
 * Forms groups for all wanting goals. What an exclusive goal has stays its own, also what it can do nothing with: a
 * node goes to another goal only once it was let go. Goals that have members are repaired first, the weightiest
 * before the others; exclusive goals that start from nothing are allocated together. For starving goals that are
 * still unmet, says who should give way.
 */
export function planGroups(problem: GroupingProblem): Plan {
  const plan: OpenPlan = { groups: new Map(), unmet: new Map(), yields: new Map() };
  const taken = heldNodes(problem);
  const wanting = problem.goals.filter((goal) => isWanting(problem, goal)).sort(byWeight);
  const fresh = (goal: Goal): boolean => (problem.current.get(goal.id) ?? []).length === 0;
  const together = wanting.filter((goal) => goal.shared === false && fresh(goal));
  const single = wanting.filter((goal) => !together.includes(goal));
  const near =
    problem.nodes.length > GROUP_SEARCHED_WHOLE_MAX
      ? nearLists(problem.nodes.length, problem.rttMs)
      : undefined;
  // While others start from nothing, what is repaired takes no more than it had.
  for (const goal of single) planOne(problem, goal, taken, near, plan, together.length > 0);
  planTogether(problem, together, taken, near, plan);
  for (const goal of wanting) {
    if (problem.starving?.has(goal.id) !== true || plan.groups.has(goal.id)) continue;
    const yields = yieldTo(problem, goal, taken, ({ id }) => plan.unmet.has(id));
    if (yields !== undefined) plan.yields.set(goal.id, yields);
  }
  return plan;
}

/**
 * Adds members to a group that has room, out of ripe nodes that no exclusive goal holds. Undefined when
 * none fits: the members it has always stay.
 */
export function growGroup(
  problem: GroupingProblem,
  goal: Goal,
  isRipe: (id: NodeId) => boolean,
): readonly number[] | undefined {
  const current = problem.current.get(goal.id) ?? [];
  const taken = heldNodes(problem);
  const free = suitable(problem, goal).filter((node) => {
    if (current.includes(node)) return true;
    if (goal.shared === false && taken.has(node)) return false;
    return isRipe((problem.nodes[node] as GroupingNode).id);
  });
  if (free.every((node) => current.includes(node))) return undefined;
  const grown = formGroup(problem, goal, free, current);
  const larger = grown !== undefined && grown.length > current.length;
  return larger && current.every((node) => grown.includes(node)) ? grown : undefined;
}

/** The weightiest first. */
export function byWeight(a: Goal, b: Goal): number {
  return (b.weight ?? 1) - (a.weight ?? 1) || (a.id < b.id ? -1 : 1);
}

interface OpenPlan {
  readonly groups: Map<string, readonly number[]>;
  readonly unmet: Map<string, readonly Refusal[]>;
  readonly yields: Map<string, ReadonlyMap<string, readonly number[]>>;
}

function isWanting(problem: GroupingProblem, goal: Goal): boolean {
  return problem.wanting?.has(goal.id) ?? true;
}

function planOne(
  problem: GroupingProblem,
  goal: Goal,
  taken: Set<number>,
  near: NearLists | undefined,
  plan: OpenPlan,
  modest: boolean,
): void {
  const kept = problem.current.get(goal.id) ?? [];
  const others = exceptOwn(problem, goal, taken);
  const free = suitable(problem, goal).filter((node) => goal.shared !== false || !others.has(node));
  const enough = Math.max(goal.size.min, Math.min(goal.size.max, kept.length));
  const wanted = modest && goal.shared === false ? { ...goal, size: { ...goal.size, max: enough } } : goal;
  const members =
    near === undefined || kept.length > 0
      ? formGroup(problem, wanted, free, kept)
      : allocate(problem, [wanted], { near, ...(goal.shared === false ? { taken: others } : {}) }).groups[0];
  settle(problem, goal, members, taken, plan);
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
    if (groups[place] !== undefined) settle(problem, goal, groups[place], taken, plan);
  for (const [place, goal] of goals.entries()) {
    if (groups[place] !== undefined) continue;
    const free = suitable(problem, goal).filter((node) => !taken.has(node));
    // The allocation looks at few candidates for each step; what it missed is looked for whole.
    const missed = near === undefined ? formGroup(problem, goal, free, []) : undefined;
    settle(problem, goal, missed, taken, plan);
  }
}

function settle(
  problem: GroupingProblem,
  goal: Goal,
  members: readonly number[] | undefined,
  taken: Set<number>,
  plan: OpenPlan,
): void {
  if (members === undefined) {
    const due = problem.explaining?.has(goal.id) ?? true;
    plan.unmet.set(goal.id, due ? explainGoal(problem, goal, exceptOwn(problem, goal, taken)) : []);
    return;
  }
  plan.groups.set(goal.id, members);
  if (goal.shared === false) for (const node of members) taken.add(node);
}

/** Nodes that exclusive goals have. */
function heldNodes(problem: GroupingProblem): Set<number> {
  const held = new Set<number>();
  for (const goal of problem.goals) {
    if (goal.shared === false) for (const node of holdingsOf(problem, goal)) held.add(node);
  }
  return held;
}

/** What is taken from this goal's point of view. */
function exceptOwn(problem: GroupingProblem, goal: Goal, taken: ReadonlySet<number>): ReadonlySet<number> {
  const own = holdingsOf(problem, goal);
  return own.length === 0 ? taken : new Set([...taken].filter((node) => !own.includes(node)));
}
