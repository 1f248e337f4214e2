import type { MarketState } from "@cloister/market";
import { declaredGoals, type DeclaredGoal } from "./goals.ts";

const ROTATION = /^(.*)\.(\d+)$/;

/** One key-release key as the chain asks for it: a goal of its own, so that each has its own members. */
export interface KeyGoal {
  readonly goalId: string;
  /** 1 for the first key; each rotation adds one. */
  readonly generation: number;
  /** A retired key is to be forgotten. */
  readonly retired: boolean;
}

/**
 * The keys of the network's key-release, oldest first: the first key-release goal that was declared, and the goals
 * `NAME.2`, `NAME.3`, … that the same owner declared after it. Owners seal to the last one that is not retired.
 * spec/key-release.md §7
 */
export function keyGoals(state: MarketState): KeyGoal[] {
  const goals = declaredGoals(state);
  const first = goals.find(({ goal }) => goal?.kind === "key-release");
  if (first === undefined) return [];
  const base = partsOf(first.goalId).base;
  const owner = (goals.find(({ goalId }) => goalId === base) ?? first).owner;
  return goals
    .filter((goal) => goal.owner === owner && partsOf(goal.goalId).base === base && isKey(goal))
    .map(({ goalId, state: stage }) => ({
      goalId,
      generation: partsOf(goalId).generation,
      retired: stage === "retired",
    }))
    .toSorted((a, b) => a.generation - b.generation);
}

/** The name of the key after the last one. */
export function nextKeyGoalId(keys: readonly KeyGoal[]): string | undefined {
  const last = keys.at(-1);
  return last === undefined ? undefined : `${partsOf(last.goalId).base}.${last.generation + 1}`;
}

function isKey({ state, goal }: DeclaredGoal): boolean {
  return state === "retired" || goal?.kind === "key-release";
}

function partsOf(goalId: string): { readonly base: string; readonly generation: number } {
  const [, base, number] = ROTATION.exec(goalId) ?? [];
  const generation = Number(number);
  if (base === undefined || !Number.isSafeInteger(generation) || generation < 2) {
    return { base: goalId, generation: 1 };
  }
  return { base, generation };
}
