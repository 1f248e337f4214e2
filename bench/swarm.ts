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
 * `npm run bench:swarm -- [--part a,s,b,h,c,d,e,f] [--rounds N] [--json]`: five real processes beside etcd (a) and
 * serf (b), whether an hour at 1 % loss passes without an election (s), and how they heal (h); groups (c),
 * measuring (d), traffic (e), the simulator (f). Failover and healing are wall time, peers interleaved; everything
 * else is CPU time or exact.
 */
const values = readFlags("npm run bench:swarm -- [--part a,s,b,h,c,d,e,f] [--rounds N] [--json]", {
  json: { type: "boolean", default: false },
  part: { type: "string", default: "a,s,b,h,c,d,e,f" },
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
  a: { name: "failover", run: () => benchFailover(rounds, say) },
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
