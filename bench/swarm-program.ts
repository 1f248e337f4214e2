import type { Goal, GroupingNode, GroupingProblem } from "@cloister/swarm";

/** What the integer program came to, or why it was not run. */
export interface ProgramResult {
  readonly score: number;
  readonly ms: number;
  readonly optimal: boolean;
}

interface Highs {
  solve(program: string, options: Record<string, unknown>): { Status: string; ObjectiveValue: number };
}

/**
 * Solves the same allocation as an integer program with HiGHS: x says that a node serves a goal, y that
 * a goal is met, z that an operator takes part; two nodes too far apart never serve one goal together.
 */
export async function solveProgram(
  problem: GroupingProblem,
  goals: readonly Goal[],
  limitSeconds: number,
): Promise<ProgramResult | string> {
  const specifier: string = "highs";
  let load: () => Promise<Highs>;
  try {
    load = ((await import(specifier)) as { default: () => Promise<Highs> }).default;
  } catch {
    return "the npm package highs is not installed; skipped";
  }
  const program = writeProgram(problem, goals);
  const highs = await load();
  const before = process.cpuUsage();
  const solution = highs.solve(program, { time_limit: limitSeconds, mip_rel_gap: 0 });
  const { user, system } = process.cpuUsage(before);
  const ms = (user + system) / 1000;
  return { score: solution.ObjectiveValue, ms, optimal: solution.Status === "Optimal" };
}

function suits(node: GroupingNode, goal: Goal): boolean {
  return (goal.tees === undefined || goal.tees.includes(node.tee ?? "")) && node.gpus >= (goal.gpusMin ?? 0);
}

/** Writes the program in the LP format. */
function writeProgram(problem: GroupingProblem, goals: readonly Goal[]): string {
  const objective: string[] = [];
  const rows: string[] = [];
  const binaries: string[] = [];
  const served: string[][] = problem.nodes.map(() => []);
  for (const [g, goal] of goals.entries()) {
    const members = problem.nodes.flatMap((node, index) => (suits(node, goal) ? [index] : []));
    const weight = goal.weight ?? 1;
    const perMember = (0.1 * weight) / (goal.size.max - goal.size.min);
    objective.push(`${weight - perMember * goal.size.min} y${g}`);
    binaries.push(`y${g}`);
    for (const node of members) {
      objective.push(`${perMember} x${g}_${node}`);
      binaries.push(`x${g}_${node}`);
      served[node]?.push(`x${g}_${node}`);
    }
    const sum = members.map((node) => `x${g}_${node}`).join(" + ");
    if (sum === "") rows.push(`y${g} <= 0`);
    else rows.push(`${sum} - ${goal.size.min} y${g} >= 0`, `${sum} - ${goal.size.max} y${g} <= 0`);
    rows.push(
      ...conflictRows(problem, goal, g, members),
      ...operatorRows(problem, goal, g, members, binaries),
    );
  }
  for (const variables of served) if (variables.length > 1) rows.push(`${variables.join(" + ")} <= 1`);
  const numbered = rows.map((row, index) => ` c${index}: ${row}`);
  return [
    "Maximize",
    ` obj: ${objective.join(" + ")}`,
    "Subject To",
    ...numbered,
    "Binary",
    ` ${binaries.join("\n ")}`,
    "End",
  ].join("\n");
}

function conflictRows(problem: GroupingProblem, goal: Goal, g: number, members: readonly number[]): string[] {
  const rows: string[] = [];
  for (const [place, a] of members.entries()) {
    for (const b of members.slice(place + 1)) {
      if (problem.rttMs(a, b) <= (goal.latencyMsMax ?? Infinity)) continue;
      rows.push(`x${g}_${a} + x${g}_${b} - y${g} <= 0`);
    }
  }
  return rows;
}

function operatorRows(
  problem: GroupingProblem,
  goal: Goal,
  g: number,
  members: readonly number[],
  binaries: string[],
): string[] {
  if ((goal.operatorsMin ?? 0) < 2) return [];
  const byOperator = new Map<string, number[]>();
  for (const node of members) {
    const operator = problem.nodes[node]?.operator ?? "";
    byOperator.set(operator, [...(byOperator.get(operator) ?? []), node]);
  }
  const rows: string[] = [];
  const names: string[] = [];
  for (const [place, nodes] of [...byOperator.values()].entries()) {
    const name = `z${g}_${place}`;
    names.push(name);
    binaries.push(name);
    rows.push(`${nodes.map((node) => `x${g}_${node}`).join(" + ")} - ${name} >= 0`);
  }
  if (names.length > 0) rows.push(`${names.join(" + ")} - ${goal.operatorsMin} y${g} >= 0`);
  return rows;
}
