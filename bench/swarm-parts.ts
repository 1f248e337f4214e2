import type { GoalOutcome } from "@cloister/tools/report";

/** What one part of `npm run bench:swarm` found. */
export interface PartResult {
  readonly figures: Readonly<Record<string, unknown>>;
  readonly goals: readonly GoalOutcome[];
}
