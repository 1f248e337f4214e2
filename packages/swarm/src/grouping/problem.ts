import type { Address, NodeId, Refusal } from "@cloister/core";
import type { Goal } from "../types.ts";

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
  /** Exclusive goals that were unmet beyond their grace: others may have to give way to them. */
  readonly starving?: ReadonlySet<string>;
  /** Goals whose being unmet is to be explained. Absent: all. */
  readonly explaining?: ReadonlySet<string>;
  /** Members that each goal's group has and may keep. */
  readonly current: ReadonlyMap<string, readonly number[]>;
  /** Members that exclusive goals' groups still have, but are not to keep. */
  readonly leaving?: ReadonlyMap<string, readonly number[]>;
  readonly rttMs: (a: number, b: number) => number;
  readonly bandwidthMbps?: (a: number, b: number) => number;
}

export interface Plan {
  /** Members of each goal that is met, ascending. */
  readonly groups: ReadonlyMap<string, readonly number[]>;
  /** Why the others are not, and what would meet them. */
  readonly unmet: ReadonlyMap<string, readonly Refusal[]>;
  /** By starving goal: what the groups that give way to it keep. */
  readonly yields: ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;
}

/** Nodes that are nobody else's until a goal's group lets them go. */
export function holdingsOf({ current, leaving }: GroupingProblem, goal: Goal): readonly number[] {
  return [...(current.get(goal.id) ?? []), ...(leaving?.get(goal.id) ?? [])];
}

/** Nodes that satisfy what a goal asks of each member alone; those it prefers first, so that ties go to them. */
export function suitable(problem: GroupingProblem, goal: Goal): number[] {
  const preferred: number[] = [];
  const others: number[] = [];
  for (const [index, node] of problem.nodes.entries()) {
    if (suits(node, goal)) (isPreferred(node, goal) ? preferred : others).push(index);
  }
  return [...preferred, ...others];
}

/** The regions that nodes say they stand in; of one that does not say nobody knows that it is another one. */
export function regionsOf(nodes: readonly GroupingNode[]): ReadonlySet<string> {
  return new Set(nodes.flatMap(({ region }) => region ?? []));
}

/** Tells whether a node says that it stands in none of these regions. */
export function isElsewhere({ region }: GroupingNode, regions: ReadonlySet<string>): boolean {
  return region !== undefined && !regions.has(region);
}

/** Tells whether a goal would rather have this node, where all else is equal. */
export function isPreferred(node: GroupingNode, goal: Goal): boolean {
  return goal.affinity?.includes(node.id) === true;
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
