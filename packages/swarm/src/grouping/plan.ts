import type { Refusal } from "@cloister/core";
import { explainGoal } from "./explain.ts";
import { formGroup } from "./form.ts";
import { suitable, type GroupingProblem, type Plan } from "./problem.ts";

/** Forms groups for all wanting goals, the weightiest first. */
export function planGroups(problem: GroupingProblem): Plan {
  const groups = new Map<string, readonly number[]>();
  const unmet = new Map<string, readonly Refusal[]>();
  const taken = takenByOthers(problem);
  const order = problem.goals
    .filter((goal) => problem.wanting?.has(goal.id) ?? true)
    .sort((a, b) => (b.weight ?? 1) - (a.weight ?? 1) || (a.id < b.id ? -1 : 1));
  for (const goal of order) {
    const free = suitable(problem, goal).filter((node) => goal.shared !== false || !taken.has(node));
    const members = formGroup(problem, goal, free, problem.current.get(goal.id) ?? []);
    if (members === undefined) {
      unmet.set(goal.id, explainGoal(problem, goal, free));
      continue;
    }
    groups.set(goal.id, members);
    if (goal.shared === false) for (const node of members) taken.add(node);
  }
  return { groups, unmet };
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
