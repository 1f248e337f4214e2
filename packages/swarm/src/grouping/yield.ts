import type { Goal } from "../types.ts";
import { formGroup, meetsTogether } from "./form.ts";
import { holdingsOf, suitable, type GroupingProblem } from "./problem.ts";

/**
 * Says which exclusive groups should give nodes to a goal that starves, and what remains of each: first
 * what others have beyond their least size, whatever they weigh, and all that unmet goals have left; then whole
 * groups of lesser weight, the lightest first, while what is lost weighs less than what is won. Undefined when that
 * is not enough.
 */
export function yieldTo(
  problem: GroupingProblem,
  goal: Goal,
  taken: ReadonlySet<number>,
  isUnmet: (goal: Goal) => boolean,
): ReadonlyMap<string, readonly number[]> | undefined {
  if (goal.shared !== false) return undefined;
  const holders = holdersOf(problem, goal, isUnmet);
  const own = holdingsOf(problem, goal);
  const pool = new Set(suitable(problem, goal).filter((node) => !taken.has(node) || own.includes(node)));
  const useless = holders.filter((holder) => isUnmet(holder.goal));
  for (const holder of useless) for (const node of holder.members) pool.add(node);
  const useful = holders.filter((holder) => !isUnmet(holder.goal));
  for (const holder of useful) for (const node of surplusOf(problem, holder)) pool.add(node);
  const leaner = { ...goal, size: { min: goal.size.min, max: goal.size.min } };
  const weight = goal.weight ?? 1;
  let lost = 0;
  for (let next = 0; ; next++) {
    const fit = suitable(problem, goal).filter((node) => pool.has(node));
    const members = formGroup(problem, leaner, fit, []);
    if (members !== undefined) return remainders(problem, holders, members, taken);
    const holder = useful[next];
    lost += holder?.goal.weight ?? 1;
    if (holder === undefined || lost >= weight) return undefined;
    for (const node of holder.members) pool.add(node);
  }
}

interface Holder {
  readonly goal: Goal;
  readonly members: readonly number[];
}

/** Exclusive goals with a group that is not being formed anew, the lightest first. */
function holdersOf(problem: GroupingProblem, starving: Goal, isUnmet: (goal: Goal) => boolean): Holder[] {
  const holders: Holder[] = [];
  for (const goal of problem.goals) {
    const members = holdingsOf(problem, goal);
    const settled = problem.wanting?.has(goal.id) === false || isUnmet(goal);
    if (goal.shared === false && goal !== starving && settled && members.length > 0) {
      holders.push({ goal, members });
    }
  }
  return holders.sort(
    (a, b) => (a.goal.weight ?? 1) - (b.goal.weight ?? 1) || (a.goal.id < b.goal.id ? 1 : -1),
  );
}

/** Members that a group can do without, all of them at once. */
function surplusOf(problem: GroupingProblem, { goal, members }: Holder): number[] {
  let rest = members;
  const surplus: number[] = [];
  for (const member of members) {
    const without = rest.filter((node) => node !== member);
    if (!meetsTogether(problem, goal, without)) continue;
    rest = without;
    surplus.push(member);
  }
  return surplus;
}

/** What each group that gives something keeps; a group that no longer meets its goal keeps nothing. */
function remainders(
  problem: GroupingProblem,
  holders: readonly Holder[],
  won: readonly number[],
  taken: ReadonlySet<number>,
): ReadonlyMap<string, readonly number[]> {
  const used = new Set([...taken, ...won]);
  const left = new Map<string, readonly number[]>();
  for (const { goal, members } of holders.toReversed()) {
    if (!members.some((node) => won.includes(node))) continue;
    const rest = members.filter((node) => !won.includes(node));
    const free = suitable(problem, goal).filter((node) => !used.has(node) || rest.includes(node));
    const smaller = { ...goal, size: { min: goal.size.min, max: Math.max(goal.size.min, rest.length) } };
    const kept = formGroup(problem, smaller, free, rest) ?? [];
    for (const node of kept) used.add(node);
    left.set(goal.id, kept);
  }
  return left;
}
