import { readFileSync, writeFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { exactly, printReport } from "@cloister/tools/report";
import { viewOf, type Goal } from "@cloister/swarm";
import {
  chronicleOf,
  noDrills,
  noHarm,
  runSeed,
  tellStory,
  timelineHtml,
  type RunFigures,
  type RunResult,
} from "../src/index.ts";

/**
 * `npm run sim -- --seeds N --from N --json` runs seeds through the production core and reports what broke.
 * `npm run sim -- --nodes N [--goals FILE] [--script FILE] [--seconds S] [--timeline FILE]` runs one story.
 */
const values = readFlags(
  "npm run sim -- [--seeds N] [--from N] [--json], or --nodes N [--seed N] [--goals FILE] [--script FILE] [--seconds S] [--rtt MS] [--loss SHARE] [--timeline FILE]",
  {
    seeds: { type: "string", default: "300" },
    from: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    nodes: { type: "string" },
    seed: { type: "string", default: "1" },
    seconds: { type: "string", default: "30" },
    rtt: { type: "string", default: "80" },
    loss: { type: "string", default: "0.01" },
    goals: { type: "string" },
    script: { type: "string" },
    timeline: { type: "string" },
  },
);

const FIRST_GOAL: readonly Goal[] = [
  { id: "compute", kind: "compute", size: { min: 3, max: 3 }, latencyMsMax: 100 },
];

if (values.nodes !== undefined) {
  tell();
  process.exit(0);
}

const from = wholeNumber("from", values.from);
const seeds = wholeNumber("seeds", values.seeds, 1);

const startedMs = performance.now();
const failures: RunResult[] = [];
const totals: Record<string, number> = {};
const recoveries: number[] = [];
let hash = 0;
for (let seed = from; seed < from + seeds; seed++) {
  const result = runSeed(seed);
  if (result.broken !== undefined) {
    failures.push(result);
    if (!values.json) console.log(`seed ${seed}: ${result.broken.what}`);
  }
  add(totals, result.figures);
  totals["virtualMs"] = (totals["virtualMs"] ?? 0) + result.virtualMs;
  totals["checks"] = (totals["checks"] ?? 0) + result.checks;
  if (result.recoveredMs !== undefined) recoveries.push(result.recoveredMs);
  hash = (Math.imul(hash, 31) + result.traceHash) >>> 0;
  if (!values.json && process.stderr.isTTY) process.stderr.write(`\r${seed - from + 1}/${seeds}`);
}
/** From so many seeds on each kind of harm and each drill must have come up. */
const SEEDS_OF_ALL_KINDS = 300;
const kinds = Object.keys({ ...noHarm(), ...noDrills() });
const unseen = seeds < SEEDS_OF_ALL_KINDS ? [] : kinds.filter((kind) => (totals[kind] ?? 0) === 0);
const stuck = failures.filter(({ broken }) => broken?.code.startsWith("LIVES_"));
recoveries.sort((a, b) => a - b);
const report = {
  name: "sim",
  figures: {
    seeds,
    from,
    ...totals,
    recoveredMsP50: Math.round(recoveries[recoveries.length >> 1] ?? 0),
    recoveredMsWorst: Math.round(recoveries.at(-1) ?? 0),
    traceHash: hash.toString(16).padStart(8, "0"),
    seconds: Number(((performance.now() - startedMs) / 1000).toFixed(1)),
  },
  goals: [
    exactly("seeds that broke an invariant", failures.length - stuck.length, 0),
    exactly("seeds that did not come to life again", stuck.length, 0),
    exactly("kinds of harm and drills that no seed went through", unseen.length, 0),
  ],
  unseen,
  failures: failures.map(({ seed, broken }) => ({ seed, ...broken })),
};
if (!values.json)
  for (const [name, value] of Object.entries(report.figures)) console.log(`${name.padEnd(18)} ${value}`);
printReport(report, values.json);

function add(into: Record<string, number>, figures: RunFigures): void {
  for (const [name, value] of Object.entries(figures)) into[name] = (into[name] ?? 0) + value;
}

/** Runs one story and says how it ended. */
function tell(): void {
  const goals =
    values.goals === undefined ? FIRST_GOAL : (JSON.parse(readFileSync(values.goals, "utf8")) as Goal[]);
  const story = tellStory({
    nodes: Number(values.nodes),
    seed: Number(values.seed),
    seconds: Number(values.seconds),
    rttMsMax: Number(values.rtt),
    loss: Number(values.loss),
    goals,
    script: values.script === undefined ? "" : readFileSync(values.script, "utf8"),
  });
  const { world } = story;
  if (values.timeline !== undefined) writeFileSync(values.timeline, timelineHtml(story, chronicleOf(story)));
  const { view } = world.chain.head;
  const groups = view.groups.map(({ goalId, epoch, members }) => {
    return { goalId, epoch, members: members.map((member) => world.indexOf(member)) };
  });
  const leader = view.leader === undefined ? undefined : world.nodes[world.indexOf(view.leader)];
  const unmet = leader?.state === undefined ? {} : viewOf(leader.state).unmet;
  const figures = { term: view.term, leader: leader?.index, groups, unmet, ...world.figures };
  if (values.json) {
    console.log(JSON.stringify({ name: "sim:story", figures, goals: [] }));
    return;
  }
  console.log(`term ${view.term}, leader node ${leader?.index ?? "none"}`);
  for (const { goalId, epoch, members } of groups)
    console.log(`${goalId}: epoch ${epoch}, nodes ${members.join(" ")}`);
  for (const [goalId, reason] of Object.entries(unmet)) console.log(`${goalId}: not met. ${reason}`);
}
