import { parseArgs } from "node:util";
import { benchGroups, type GroupFigures } from "./swarm-groups.ts";
import { benchMeasuring } from "./swarm-measure.ts";
import { benchSimulator } from "./swarm-simulator.ts";
import { benchTraffic } from "./swarm-traffic.ts";
import { benchStability } from "./swarm-stability.ts";
import { PLANETLAB_MISSING } from "./planetlab.ts";

/**
 * `npm run bench:swarm -- [--part c,d,e,f,s] [--json]`: groups (c), measuring (d), traffic (e), the
 * simulator (f), and whether an hour at 1 % loss passes without an election (s). Sizes, scores and
 * message counts are exact; times are CPU time, peers run in the same process tree.
 */
const { values } = parseArgs({
  options: { json: { type: "boolean", default: false }, part: { type: "string", default: "c,d,e,f,s" } },
});

const PARTS: Readonly<
  Record<string, { name: string; run: () => GroupFigures | Promise<GroupFigures>; needs?: string }>
> = {
  c: {
    name: "groups",
    run: benchGroups,
    ...(PLANETLAB_MISSING === undefined ? {} : { needs: PLANETLAB_MISSING }),
  },
  d: {
    name: "measuring",
    run: benchMeasuring,
    ...(PLANETLAB_MISSING === undefined ? {} : { needs: PLANETLAB_MISSING }),
  },
  e: { name: "traffic", run: benchTraffic },
  f: { name: "simulator", run: benchSimulator },
  s: { name: "stability", run: benchStability },
};

const figures: Record<string, unknown> = {};
const goals: Record<string, boolean> = {};
for (const key of values.part.split(",")) {
  const part = PARTS[key];
  if (part === undefined) {
    console.error(`bench:swarm: there is no part "${key}"; the parts are ${Object.keys(PARTS).join(", ")}`);
    process.exit(2);
  }
  if (part.needs !== undefined) {
    figures[part.name] = { skipped: part.needs };
    if (!values.json) console.log(`${part.name}: ${part.needs}`);
    continue;
  }
  const result = await part.run();
  figures[part.name] = result.figures;
  for (const [goal, met] of Object.entries(result.goals)) goals[`${part.name}.${goal}`] = met;
  if (!values.json) show(part.name, result);
}
console.log(JSON.stringify({ name: "bench:swarm", figures, goals }));
process.exitCode = Object.values(goals).every(Boolean) ? 0 : 1;

function show(name: string, result: GroupFigures): void {
  console.log(`\n${name}`);
  for (const [figure, value] of Object.entries(result.figures))
    console.log(`  ${figure.padEnd(34)} ${value}`);
  for (const [goal, met] of Object.entries(result.goals))
    console.log(`  ${met ? "met   " : "MISSED"} ${goal}`);
}
