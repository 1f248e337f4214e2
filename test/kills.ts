/** `npm run test:kills -- [--kills 20] [--seed N]`: by hand; docs/measurements.md keeps what it printed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runKills } from "./kill-network.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    json: { type: "boolean", default: false },
  },
});
const home = mkdtempSync(join(tmpdir(), "cloister-kills-"));
let word = Number(values.seed) >>> 0;
/** Mulberry32: small, and the same everywhere. */
function random(): number {
  word = (word + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(word ^ (word >>> 15), word | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const result = await runKills({ home, kills: Number(values.kills), random, say });
const ended = result.orders.every(({ status }) => status === "succeeded" || status === "refunded");
const conserved = result.heldWei === result.owedWei && result.earnedWei === result.dueWei;
const text = JSON.stringify(
  {
    name: "kills",
    figures: { seed: values.seed, ...result },
    goals: [
      {
        what: "orders settled or refunded",
        goal: result.orders.length,
        figure: result.orders.filter(({ status }) => status === "succeeded" || status === "refunded").length,
        met: ended,
      },
      { what: "balances conserved", goal: true, figure: conserved, met: conserved },
    ],
  },
  (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value),
  values.json ? undefined : 2,
);
process.stdout.write(`${text}\n`);
if (ended && conserved) rmSync(home, { recursive: true, force: true });
process.exit(ended && conserved ? 0 : 1);
