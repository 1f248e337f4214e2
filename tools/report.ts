/** What every bench and hand-run suite ends with: its goals in words, and with `--json` one object, last on stdout. */

/** One goal beside what was measured; a figure that could not be taken is null and meets nothing. */
export interface GoalOutcome {
  readonly what: string;
  readonly goal: number | string;
  readonly figure: number | string | null;
  readonly met: boolean;
}

/** What a bench prints as its last line under `--json`. */
export interface BenchReport {
  readonly name: string;
  readonly figures: Readonly<Record<string, unknown>>;
  readonly goals: readonly GoalOutcome[];
}

/** A goal that `figure` is no more than `limit`; not a number means that it could not be measured. */
export function atMost(what: string, figure: number, limit: number): GoalOutcome {
  return { what, goal: `<= ${limit}`, figure: shown(figure, Math.ceil), met: figure <= limit };
}

/** A goal that `figure` is no less than `limit`; not a number means that it could not be measured. */
export function atLeast(what: string, figure: number, limit: number): GoalOutcome {
  return { what, goal: `>= ${limit}`, figure: shown(figure, Math.floor), met: figure >= limit };
}

/** A goal that something counted or compared is exactly `goal`. */
export function exactly(what: string, figure: number | string, goal: number | string): GoalOutcome {
  return { what, goal, figure, met: figure === goal };
}

/**
 * Writes the goals in words, to stderr under `--json` so that stdout ends with the object, and sets exit code 1
 * when one was missed.
 */
export function printReport(report: BenchReport, json: boolean): void {
  const words = report.goals.map((outcome) => `${goalInWords(outcome)}\n`).join("");
  (json ? process.stderr : process.stdout).write(words);
  if (json) process.stdout.write(`${JSON.stringify(report)}\n`);
  if (report.goals.some(({ met }) => !met)) process.exitCode = 1;
}

function goalInWords({ what, goal, figure, met }: GoalOutcome): string {
  const verdict = figure === null ? "not measured" : met ? "met" : "MISSED";
  return `${what}: ${figure ?? "-"} (goal ${goal}): ${verdict}`;
}

/** Four decimals, cut towards the goal's far side: nothing is rounded into being met. */
function shown(figure: number, cut: (value: number) => number): number | null {
  return Number.isFinite(figure) ? cut(figure * 10_000) / 10_000 : null;
}
