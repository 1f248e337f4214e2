/** `npm run test:kills -- [--kills 20] [--seed N]`: by hand; docs/measurements.md keeps what it printed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { exactly, printReport } from "@cloister/tools/report";
import { runKills } from "./kill-network.ts";

const values = readFlags("npm run test:kills -- [--kills N] [--seed N] [--json]", {
  kills: { type: "string", default: "20" },
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  json: { type: "boolean", default: false },
});
const kills = wholeNumber("kills", values.kills, 1);
const home = mkdtempSync(join(tmpdir(), "cloister-kills-"));
let word = wholeNumber("seed", values.seed) >>> 0;
/** Mulberry32: small, and the same everywhere. */
function random(): number {
  word = (word + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(word ^ (word >>> 15), word | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const result = await runKills({ home, kills, random, say });
const { orders, heldWei, owedWei, earnedWei, dueWei, gaveUp } = result;
const ended = orders.filter(({ status }) => status === "succeeded" || status === "refunded").length;
const goals = [
  exactly("orders that settled or were refunded", ended, orders.length),
  exactly("wei in the market, against what it owes", `${heldWei}`, `${owedWei}`),
  exactly("wei that the owner earned, against what it is due", `${earnedWei}`, `${dueWei}`),
  exactly("times that the supervisor gave up", gaveUp, 0),
];
const { kills: victims, killsOfUnready } = result;
const figures = { seed: values.seed, kills: victims, killsOfUnready, orders };
if (!values.json) say(JSON.stringify(figures, undefined, 2));
printReport({ name: "kills", figures, goals }, values.json);
const met = goals.every((goal) => goal.met);
if (met) rmSync(home, { recursive: true, force: true });
else say(`what is left of the network lies in ${home}`);
process.exit(met ? 0 : 1);
