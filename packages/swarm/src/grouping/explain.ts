import type { Refusal } from "@cloister/core";
import type { Goal } from "../types.ts";
import { regionsOf, suits, type GroupingNode, type GroupingProblem } from "./problem.ts";
import { suggestGoal, type Suggestion } from "./suggest.ts";

/**
 * Says why a goal cannot be met by the nodes that are not taken, and which single changes would meet it.
 * Every hint was tried: with that change alone the goal is met.
 */
export function explainGoal(
  problem: GroupingProblem,
  goal: Goal,
  taken: ReadonlySet<number>,
): readonly Refusal[] {
  const fit = [...problem.nodes.keys()].filter((node) => suits(problem.nodes[node] as GroupingNode, goal));
  const free = fit.filter((node) => goal.shared !== false || !taken.has(node));
  const unused = [...suggestGoal(problem, goal, taken)];
  const hintOf = (...limits: readonly Suggestion["limit"][]): { hint?: string } => {
    const place = unused.findIndex(({ limit }) => limits.includes(limit));
    return place < 0 ? {} : { hint: (unused.splice(place, 1)[0] as Suggestion).hint };
  };
  const refusals =
    free.length < goal.size.min
      ? lackingMembers(problem, goal, fit.length, free.length, hintOf)
      : lackingTogether(problem, goal, free, hintOf);
  if (refusals.length === 0) refusals.push(lackingGroup(goal, free.length, hintOf));
  return withRest(refusals, unused);
}

type HintOf = (...limits: readonly Suggestion["limit"][]) => { hint?: string };

/** What else would do goes to the first reason. */
function withRest(refusals: readonly Refusal[], unused: readonly Suggestion[]): readonly Refusal[] {
  const [first, ...others] = refusals;
  if (first === undefined || unused.length === 0) return refusals;
  const hints = [first.hint, ...unused.map(({ hint }) => hint)].filter((hint) => hint !== undefined);
  return [{ ...first, hint: hints.join(" ") }, ...others];
}

const MEMBER_LIMITS = ["tees", "regions", "cpusMin", "memoryBytesMin", "gpusMin"] as const;

function lackingMembers(
  problem: GroupingProblem,
  goal: Goal,
  fit: number,
  free: number,
  hintOf: HintOf,
): Refusal[] {
  const { min } = goal.size;
  const refusals: Refusal[] = [
    {
      code: "GOAL_TOO_FEW_NODES",
      reason: `Goal ${goal.id}: ${free} of ${problem.nodes.length} nodes fit, ${min} are needed.`,
      ...hintOf("nodes"),
    },
  ];
  if (fit > free) {
    refusals.push({
      code: "GOAL_NODES_TAKEN",
      reason: `Goal ${goal.id}: ${fit - free} nodes that fit are held by other exclusive goals.`,
      ...hintOf("shared"),
    });
  }
  for (const limit of MEMBER_LIMITS) {
    if (goal[limit] === undefined) continue;
    const { [limit]: _, ...relaxed } = goal;
    const gained = problem.nodes.filter((node) => suits(node, relaxed)).length - fit;
    if (gained <= 0) continue;
    refusals.push({
      code: "GOAL_LIMIT_EXCLUDES",
      reason: `Goal ${goal.id}: the limit "${limit}" alone excludes ${gained} nodes.`,
      ...hintOf(limit),
    });
  }
  return refusals;
}

function lackingTogether(
  problem: GroupingProblem,
  goal: Goal,
  free: readonly number[],
  hintOf: HintOf,
): Refusal[] {
  const nodes = free.map((index) => problem.nodes[index] as GroupingNode);
  const refusals: Refusal[] = [];
  const operators = new Set(nodes.map((node) => node.operator)).size;
  const regions = regionsOf(nodes).size;
  const gpus = nodes
    .map((node) => node.gpus)
    .sort((a, b) => b - a)
    .slice(0, goal.size.max)
    .reduce((sum, count) => sum + count, 0);
  const lacks = (
    code: string,
    what: string,
    have: number,
    limit: "operatorsMin" | "regionsMin" | "groupGpusMin",
  ): void => {
    const need = goal[limit];
    if (need === undefined || have >= need) return;
    const those = have === 1 ? what.replace(/s$/, "") : what;
    const reason = `Goal ${goal.id}: the nodes have ${have} ${those}, ${need} are needed.`;
    refusals.push({ code, reason, ...hintOf(limit) });
  };
  lacks("GOAL_TOO_FEW_OPERATORS", "operators", operators, "operatorsMin");
  lacks("GOAL_TOO_FEW_REGIONS", "regions", regions, "regionsMin");
  lacks("GOAL_TOO_FEW_GPUS", "GPUs", gpus, "groupGpusMin");
  return refusals;
}

function lackingGroup(goal: Goal, free: number, hintOf: HintOf): Refusal {
  return {
    code: "GOAL_NO_GROUP",
    reason: `Goal ${goal.id}: ${free} nodes fit, but no ${goal.size.min} of them fit together.`,
    ...hintOf("latencyMsMax", "bandwidthMbpsMin", "operatorsMin", "regionsMin", "groupGpusMin"),
  };
}
