import { formatBytes, type Address, type NodeId } from "@cloister/core";
import { SUGGEST_NODES_MAX, SUGGEST_VALUES_MAX } from "../bounds.ts";
import type { Goal } from "../types.ts";
import { formGroup } from "./form.ts";
import { suitable, type GroupingNode, type GroupingProblem } from "./problem.ts";

/** One change that would meet a goal: to the goal, or nodes to add. It was tried before it is told. */
export interface Suggestion {
  /** The part of the goal that gives way; `nodes` when nodes are to be added. */
  readonly limit: keyof Goal | "nodes";
  readonly hint: string;
  /** The goal as it would be met; absent when nodes are to be added. */
  readonly goal?: Goal;
  readonly addNodes?: number;
}

/** The single changes that would each meet a goal, the gentlest of each kind. */
export function suggestGoal(
  problem: GroupingProblem,
  goal: Goal,
  taken: ReadonlySet<number>,
): readonly Suggestion[] {
  if (problem.nodes.length > SUGGEST_NODES_MAX) return [];
  const attempt = (changed: Goal): readonly number[] | undefined => groupFor(problem, changed, taken);
  const found = [
    smallerSize(goal, attempt),
    longerLatency(goal, attempt),
    ...(["bandwidthMbpsMin", "cpusMin", "memoryBytesMin", "gpusMin", "groupGpusMin"] as const).map((limit) =>
      lowerLimit(problem, goal, limit, attempt),
    ),
    ...(["operatorsMin", "regionsMin"] as const).map((limit) => fewerKinds(goal, limit, attempt)),
    ...(["tees", "regions"] as const).map((limit) => oneMoreKind(problem, goal, limit, attempt)),
    sharedNodes(goal, taken, attempt),
  ].filter((suggestion) => suggestion !== undefined);
  return [...found, ...moreNodes(problem, goal, taken)];
}

type Attempt = (changed: Goal) => readonly number[] | undefined;

function groupFor(
  problem: GroupingProblem,
  goal: Goal,
  taken: ReadonlySet<number>,
): readonly number[] | undefined {
  const free = suitable(problem, goal).filter((node) => goal.shared !== false || !taken.has(node));
  return formGroup(problem, goal, free, []);
}

function smallerSize(goal: Goal, attempt: Attempt): Suggestion | undefined {
  const { min, max } = goal.size;
  const most = attempt({ ...goal, size: { min: 1, max } })?.length ?? 0;
  const changed = { ...goal, size: { min: most, max } };
  if (most < 1 || most >= min || attempt(changed) === undefined) return undefined;
  return { limit: "size", goal: changed, hint: `A least size of ${most} would meet it.` };
}

/** The least latency limit that would do, to a hundredth of the one there is. */
function longerLatency(goal: Goal, attempt: Attempt): Suggestion | undefined {
  const { latencyMsMax, ...open } = goal;
  if (latencyMsMax === undefined || attempt(open) === undefined) return undefined;
  const meets = (limit: number): boolean => attempt({ ...goal, latencyMsMax: limit }) !== undefined;
  let low = latencyMsMax;
  let high = Math.max(1, latencyMsMax);
  do high *= 2;
  while (!meets(high) && high < 1e6);
  while (high - low > Math.max(1, latencyMsMax / 100)) {
    const middle = (low + high) / 2;
    if (meets(middle)) high = middle;
    else low = middle;
  }
  const limit = Math.ceil(high);
  if (!meets(limit)) return undefined;
  const hint = `A latency limit of ${limit} ms would meet it.`;
  return { limit: "latencyMsMax", goal: { ...goal, latencyMsMax: limit }, hint };
}

type Lowerable = "bandwidthMbpsMin" | "cpusMin" | "memoryBytesMin" | "gpusMin" | "groupGpusMin";

const NAMES: Readonly<Record<Lowerable, string>> = {
  bandwidthMbpsMin: "bandwidth in Mbit/s",
  cpusMin: "number of CPUs per node",
  memoryBytesMin: "memory per node",
  gpusMin: "number of GPUs per node",
  groupGpusMin: "number of GPUs of the group",
};

function lowerHint(limit: Lowerable, value: number): string {
  if (value === 0) return `Without a least ${NAMES[limit]} it would be met.`;
  const bytes = limit === "memoryBytesMin" ? ` bytes (${formatBytes(value)})` : "";
  return `A least ${NAMES[limit]} of ${value}${bytes} would meet it.`;
}

function lowerLimit(
  problem: GroupingProblem,
  goal: Goal,
  limit: Lowerable,
  attempt: Attempt,
): Suggestion | undefined {
  const wanted = goal[limit];
  if (wanted === undefined) return undefined;
  const { [limit]: _, ...open } = goal;
  const members = attempt(open);
  if (members === undefined) return undefined;
  for (const value of valuesBelow(problem, goal, limit, wanted, members)) {
    const changed = { ...goal, [limit]: value };
    if (attempt(changed) === undefined) continue;
    return { limit, goal: changed, hint: lowerHint(limit, value) };
  }
  return undefined;
}

/** Values a limit could fall to, the highest first; the last is what the group found without it has. */
function valuesBelow(
  problem: GroupingProblem,
  goal: Goal,
  limit: Lowerable,
  wanted: number,
  members: readonly number[],
): number[] {
  const nodes = members.map((member) => problem.nodes[member] as GroupingNode);
  if (limit === "groupGpusMin") return gpusBelow(problem, goal, wanted);
  if (limit === "bandwidthMbpsMin") return [leastBandwidth(problem, members)];
  const valueOf = { cpusMin: "cpus", memoryBytesMin: "memoryBytes", gpusMin: "gpus" } as const;
  const name = valueOf[limit];
  const found = new Set(problem.nodes.map((node) => node[name]).filter((value) => value < wanted));
  const below = [...found].sort((a, b) => b - a).slice(0, SUGGEST_VALUES_MAX);
  return [...below, Math.min(...nodes.map((node) => node[name]))];
}

function gpusBelow(problem: GroupingProblem, goal: Goal, wanted: number): number[] {
  const most = problem.nodes
    .map(({ gpus }) => gpus)
    .sort((a, b) => b - a)
    .slice(0, goal.size.max)
    .reduce((sum, gpus) => sum + gpus, 0);
  const from = Math.min(most, wanted - 1);
  return Array.from({ length: Math.min(from + 1, SUGGEST_VALUES_MAX) }, (_, down) => from - down);
}

function leastBandwidth(problem: GroupingProblem, members: readonly number[]): number {
  let least = 1e6;
  for (const a of members) {
    for (const b of members) if (a !== b) least = Math.min(least, problem.bandwidthMbps?.(a, b) ?? 1e6);
  }
  return Math.floor(least);
}

function fewerKinds(
  goal: Goal,
  limit: "operatorsMin" | "regionsMin",
  attempt: Attempt,
): Suggestion | undefined {
  const kind = limit === "operatorsMin" ? "operator" : "region";
  for (let value = Math.min(goal[limit] ?? 0, goal.size.max + 1) - 1; value >= 1; value--) {
    const changed = { ...goal, [limit]: value };
    if (attempt(changed) === undefined) continue;
    const distinct = value === 1 ? `one ${kind}` : `${value} distinct ${kind}s`;
    return { limit, goal: changed, hint: `With ${distinct} it would be met.` };
  }
  return undefined;
}

/** One more kind of TEE, or one more region, that nodes have and the goal does not allow. */
function oneMoreKind(
  problem: GroupingProblem,
  goal: Goal,
  limit: "tees" | "regions",
  attempt: Attempt,
): Suggestion | undefined {
  const allowed = goal[limit];
  if (allowed === undefined) return undefined;
  const here = new Set(problem.nodes.map((node) => (limit === "tees" ? node.tee : node.region)));
  for (const kind of [...here].filter((name) => name !== undefined).slice(0, SUGGEST_VALUES_MAX)) {
    const changed = { ...goal, [limit]: [...allowed, kind] };
    if (allowed.includes(kind) || attempt(changed) === undefined) continue;
    const what = limit === "tees" ? "TEEs of kind" : "the region";
    return { limit, goal: changed, hint: `Allowing ${what} "${kind}" too would meet it.` };
  }
  return undefined;
}

function sharedNodes(goal: Goal, taken: ReadonlySet<number>, attempt: Attempt): Suggestion | undefined {
  if (goal.shared !== false || taken.size === 0) return undefined;
  const changed = { ...goal, shared: true };
  if (attempt(changed) === undefined) return undefined;
  return { limit: "shared", goal: changed, hint: "Sharing nodes with other goals would meet it." };
}

/** The fewest nodes that would meet the goal if they were near the others and had all that it asks. */
function moreNodes(problem: GroupingProblem, goal: Goal, taken: ReadonlySet<number>): Suggestion[] {
  for (let count = 1; count <= goal.size.min; count++) {
    if (groupFor(withIdeal(problem, goal, count), goal, taken) === undefined) continue;
    const hint = `${count} more ${count === 1 ? "node that fits" : "nodes that fit"} would meet it.`;
    return [{ limit: "nodes", addNodes: count, hint }];
  }
  return [];
}

/** The problem with nodes added that have all a goal asks of one, and are no way from any other. */
export function withIdeal(problem: GroupingProblem, goal: Goal, count: number): GroupingProblem {
  const before = problem.nodes.length;
  const added = Array.from({ length: count }, (_, index): GroupingNode => ({
    id: `0x${(index + 1).toString(16).padStart(40, "d")}` as NodeId,
    operator: `0x${(index + 1).toString(16).padStart(40, "d")}` as Address,
    region: goal.regions?.[index % goal.regions.length] ?? `new-${index + 1}`,
    tee: goal.tees?.[0] ?? "tdx",
    cpus: goal.cpusMin ?? 0,
    memoryBytes: goal.memoryBytesMin ?? 0,
    gpus: Math.max(goal.gpusMin ?? 0, Math.ceil((goal.groupGpusMin ?? 0) / count)),
  }));
  const { rttMs, bandwidthMbps } = problem;
  const isNew = (a: number, b: number): boolean => a >= before || b >= before;
  return {
    ...problem,
    nodes: [...problem.nodes, ...added],
    rttMs: (a, b) => (isNew(a, b) ? 0 : rttMs(a, b)),
    ...(bandwidthMbps === undefined
      ? {}
      : { bandwidthMbps: (a: number, b: number) => (isNew(a, b) ? Infinity : bandwidthMbps(a, b)) }),
  };
}
