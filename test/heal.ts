/**
 * `npm run test:heal [-- --ground loopback,namespaces] [--only NAME,…] [--json]`: five real nodes through everything
 * that may go wrong, and how long each took to heal. By hand; namespaces need root.
 */
import { loadavg } from "node:os";
import { readFlags } from "@cloister/tools/flags";
import { printReport, type GoalOutcome } from "@cloister/tools/report";
import { runHealing, SCENES, type GroundKind } from "./hosts/healing-suite.ts";
import { Namespaces } from "./hosts/namespaces.ts";

const GROUNDS: readonly string[] = ["loopback", "namespaces"];
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const values = readFlags("npm run test:heal -- [--ground loopback,namespaces] [--only NAME,…] [--json]", {
  ground: { type: "string", default: GROUNDS.join() },
  only: { type: "string", default: Object.keys(SCENES).join() },
  json: { type: "boolean", default: false },
});
const grounds = chosen("--ground", values.ground, GROUNDS);
const scenes = chosen("--only", values.only, Object.keys(SCENES));
const figures: Record<string, unknown> = {};
const goals: GoalOutcome[] = [];
for (const ground of grounds) {
  const lacking = ground === "namespaces" ? Namespaces.lacking() : undefined;
  if (lacking !== undefined) {
    say(`${ground}: skipped, ${lacking}`);
    figures[ground] = { skipped: lacking };
    continue;
  }
  const before = loadavg();
  const healing = await runHealing(ground as GroundKind, scenes, (text) => say(`${ground}: ${text}`));
  figures[ground] = { load: [before, loadavg()].map((loads) => loads[0]?.toFixed(2)), ...healing.figures };
  goals.push(...healing.goals.map((goal) => ({ ...goal, what: `${ground}: ${goal.what}` })));
}
printReport({ name: "test:heal", figures, goals }, values.json);
process.exit();

function chosen(flag: string, text: string, known: readonly string[]): string[] {
  const names = text.split(",");
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names;
  say(`test:heal: ${flag} knows no "${unknown}"; there are ${known.join(", ")}`);
  process.exit(2);
}
