/**
 * One CVM of a fleet: the program that `cloister node run` runs, in a process whose clock and whose way to
 * each peer the fleet decides. Leaves when the fleet's end of its standard input closes.
 */
import { readFileSync } from "node:fs";
import { leaveWithParent, runCvm } from "../../apps/cli/src/network/cvm-process.ts";

/** What a fleet bends for one host. */
export interface HostPlan {
  readonly configFile: string;
  /** How far this host's clock is from the true one. */
  readonly clockOffsetMs: number;
  /** Where to dial instead, by endpoint. */
  readonly routes: Readonly<Record<string, string>>;
}

const plan = JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as HostPlan;
leaveWithParent();
await runCvm(plan.configFile, {
  clock: { nowMs: () => Date.now() + plan.clockOffsetMs },
  route: (endpoint) => plan.routes[endpoint] ?? endpoint,
});
