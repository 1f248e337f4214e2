import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { printReport, type GoalOutcome } from "@cloister/tools/report";
import { PLANETLAB_MISSING } from "./planetlab.ts";
import { benchFailover } from "./swarm-failover.ts";
import { benchGroups } from "./swarm-groups.ts";
import { benchHealing } from "./swarm-healing.ts";
import { benchMeasuring } from "./swarm-measure.ts";
import { benchMemberLost } from "./swarm-member-lost.ts";
import type { PartResult } from "./swarm-parts.ts";
import { benchSimulator } from "./swarm-simulator.ts";
import { benchStability } from "./swarm-stability.ts";
import { benchTraffic } from "./swarm-traffic.ts";

/**
 * `npm run bench:swarm -- [--part a,b,h,c,d,e,f,s] [--rounds N] [--json]`: five real processes beside etcd (a)
 * and serf (b), and how they heal (h); groups (c), measuring (d), traffic (e), the simulator (f). Whether an hour at
 * 1 % loss passes without an election stands beside (a), and is (s) by itself. Failover and healing are wall time, peers interleaved; everything
 * else is CPU time or exact.
 */
const values = readFlags("npm run bench:swarm -- [--part a,b,h,c,d,e,f,s] [--rounds N] [--json]", {
  json: { type: "boolean", default: false },
  part: { type: "string", default: "a,b,h,c,d,e,f" },
  rounds: { type: "string", default: "10" },
});
const rounds = wholeNumber("rounds", values.rounds, 1);

interface Part {
  readonly name: string;
  run(): PartResult | Promise<PartResult>;
  /** What it lacks on this machine. */
  readonly lacks?: string | undefined;
}

const PARTS: Readonly<Record<string, Part>> = {
  a: { name: "failover", run: async () => besideStability(await benchFailover(rounds, say)) },
  b: { name: "member lost", run: () => benchMemberLost(rounds, say) },
  h: { name: "healing", run: () => benchHealing(say) },
  c: { name: "groups", run: benchGroups, lacks: PLANETLAB_MISSING },
  d: { name: "measuring", run: benchMeasuring, lacks: PLANETLAB_MISSING },
  e: { name: "traffic", run: benchTraffic },
  f: { name: "simulator", run: benchSimulator },
  s: { name: "stability", run: benchStability },
};

const figures: Record<string, unknown> = {};
const goals: GoalOutcome[] = [];
for (const key of values.part.split(",")) {
  const part = PARTS[key];
  if (part === undefined) {
    console.error(`bench:swarm: there is no part "${key}"; the parts are ${Object.keys(PARTS).join(", ")}`);
    process.exit(2);
  }
  if (part.lacks !== undefined) {
    figures[part.name] = { skipped: part.lacks };
    say(`${part.name}: ${part.lacks}`);
    continue;
  }
  const result = await part.run();
  figures[part.name] = result.figures;
  goals.push(...result.goals.map((goal) => ({ ...goal, what: `${part.name}: ${goal.what}` })));
  show(part.name, result);
}
printReport({ name: "bench:swarm", figures, goals }, values.json);

/** How fast a leader is replaced says nothing without how often one is that was well. */
function besideStability(failover: PartResult): PartResult {
  const stability = benchStability();
  return {
    figures: { ...failover.figures, stability: stability.figures },
    goals: [...failover.goals, ...stability.goals],
  };
}

/** Progress goes beside the report, never into it. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function show(name: string, result: PartResult): void {
  say(`\n${name}`);
  for (const [figure, value] of Object.entries(result.figures)) {
    say(`  ${figure.padEnd(34)} ${typeof value === "string" ? value : JSON.stringify(value)}`);
  }
}
