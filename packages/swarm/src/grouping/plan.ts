import type { Address, NodeId, Refusal } from "@cloister/core";
import type { Goal } from "../types.ts";
import { explainGoal } from "./explain.ts";
import { formGroup } from "./form.ts";

/** One node as the planner sees it. */
export interface GroupingNode {
  readonly id: NodeId;
  readonly operator: Address;
  readonly region: string | undefined;
  readonly tee: string | undefined;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly gpus: number;
}

/** Nodes, goals and what is already there. Nodes are named by their index. */
export interface GroupingProblem {
  readonly nodes: readonly GroupingNode[];
  readonly goals: readonly Goal[];
  /** Goals to form anew; the others keep what they have. Absent: all. */
  readonly wanting?: ReadonlySet<string>;
  /** Members that each goal's group has and may keep. */
  readonly current: ReadonlyMap<string, readonly number[]>;
  readonly rttMs: (a: number, b: number) => number;
  readonly bandwidthMbps?: (a: number, b: number) => number;
}

export interface Plan {
  /** Members of each goal that is met, ascending. */
  readonly groups: ReadonlyMap<string, readonly number[]>;
  /** Why the others are not, and what would meet them. */
  readonly unmet: ReadonlyMap<string, readonly Refusal[]>;
}

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

/** Nodes that satisfy what a goal asks of each member alone. */
export function suitable(problem: GroupingProblem, goal: Goal): number[] {
  const found: number[] = [];
  for (const [index, node] of problem.nodes.entries()) if (suits(node, goal)) found.push(index);
  return found;
}

/** Tells whether a node satisfies what a goal asks of each member alone. */
export function suits(node: GroupingNode, goal: Goal): boolean {
  if (goal.tees !== undefined && (node.tee === undefined || !goal.tees.includes(node.tee))) return false;
  if (goal.regions !== undefined && (node.region === undefined || !goal.regions.includes(node.region))) {
    return false;
  }
  return (
    node.cpus >= (goal.cpusMin ?? 0) &&
    node.memoryBytes >= (goal.memoryBytesMin ?? 0) &&
    node.gpus >= (goal.gpusMin ?? 0)
  );
}
