import type { Refusal } from "@cloister/core";
import type { Goal } from "../types.ts";
import { formGroup } from "./form.ts";
import { suits, type GroupingNode, type GroupingProblem } from "./problem.ts";

/** Says why a goal cannot be met by the free nodes, and which single change would meet it. */
export function explainGoal(problem: GroupingProblem, goal: Goal, free: readonly number[]): Refusal[] {
  const refusals = lackingMembers(problem, goal, free);
  if (free.length >= goal.size.min) refusals.push(...lackingTogether(problem, goal, free));
  if (refusals.length > 0) return refusals;
  return [
    {
      code: "GOAL_NO_GROUP",
      reason: `Goal ${goal.id}: ${free.length} nodes fit, but no ${goal.size.min} of them fit together.`,
      hint: relaxation(problem, goal, free),
    },
  ];
}

const MEMBER_LIMITS = ["tees", "regions", "cpusMin", "memoryBytesMin", "gpusMin"] as const;

function lackingMembers(problem: GroupingProblem, goal: Goal, free: readonly number[]): Refusal[] {
  if (free.length >= goal.size.min) return [];
  const refusals: Refusal[] = [
    {
      code: "GOAL_TOO_FEW_NODES",
      reason: `Goal ${goal.id}: ${free.length} of ${problem.nodes.length} nodes fit, ${goal.size.min} are needed.`,
      hint: `Add ${goal.size.min - free.length} nodes that fit, or lower the least size to ${free.length}.`,
    },
  ];
  for (const limit of MEMBER_LIMITS) {
    if (goal[limit] === undefined) continue;
    const { [limit]: _, ...relaxed } = goal;
    const gained = problem.nodes.filter((node) => suits(node, relaxed)).length - free.length;
    if (gained <= 0) continue;
    refusals.push({
      code: "GOAL_LIMIT_EXCLUDES",
      reason: `Goal ${goal.id}: the limit "${limit}" alone excludes ${gained} nodes.`,
    });
  }
  return refusals;
}

function lackingTogether(problem: GroupingProblem, goal: Goal, free: readonly number[]): Refusal[] {
  const nodes = free.map((index) => problem.nodes[index] as GroupingNode);
  const refusals: Refusal[] = [];
  const operators = new Set(nodes.map((node) => node.operator)).size;
  const regions = new Set(nodes.map((node) => node.region)).size;
  const gpus = nodes
    .map((node) => node.gpus)
    .sort((a, b) => b - a)
    .slice(0, goal.size.max)
    .reduce((sum, count) => sum + count, 0);
  const lacks = (code: string, what: string, have: number, need: number | undefined): void => {
    if (need === undefined || have >= need) return;
    refusals.push({ code, reason: `Goal ${goal.id}: the nodes have ${have} ${what}, ${need} are needed.` });
  };
  lacks("GOAL_TOO_FEW_OPERATORS", "operators", operators, goal.operatorsMin);
  lacks("GOAL_TOO_FEW_REGIONS", "regions", regions, goal.regionsMin);
  lacks("GOAL_TOO_FEW_GPUS", "GPUs", gpus, goal.groupGpusMin);
  return refusals;
}

/** The least latency limit that would meet the goal, when one would; else what else could give. */
function relaxation(problem: GroupingProblem, goal: Goal, free: readonly number[]): string {
  if (goal.latencyMsMax === undefined) return "Lower the size or the limits on the group.";
  const { latencyMsMax, ...open } = goal;
  if (formGroup(problem, open, free, []) === undefined) {
    return "Even without a latency limit no group exists; lower the size or the limits on the group.";
  }
  let low = latencyMsMax;
  let high = latencyMsMax;
  const meets = (limit: number): boolean => {
    return formGroup(problem, { ...goal, latencyMsMax: limit }, free, []) !== undefined;
  };
  do high *= 2;
  while (!meets(high) && high < 1e6);
  while (high - low > Math.max(1, latencyMsMax / 100)) {
    const middle = (low + high) / 2;
    if (meets(middle)) high = middle;
    else low = middle;
  }
  return `A latency limit of ${Math.ceil(high)} ms would meet it.`;
}
