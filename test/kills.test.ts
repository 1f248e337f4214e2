import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runKills } from "./kill-network.ts";

/** A few of the kills that `npm run test:kills` makes many of: the same order of victims each time. */
const CHOICES = [0.55, 0.2, 0.3, 0.75, 0.6, 0.05, 0.4, 0.95, 0.5, 0.35];

test("processes of a network are killed over its orders; all end, and no coin is lost or made", async () => {
  const home = mkdtempSync(join(tmpdir(), "cloister-kills-"));
  let drawn = 0;
  try {
    const random = (): number => CHOICES[drawn++ % CHOICES.length] as number;
    const result = await runKills({ home, kills: 5, random, say: () => undefined });
    expect(result.orders.map(({ status }) => status)).toEqual(result.orders.map(() => "succeeded"));
    expect(result.gaveUp).toBe(0);
    expect(result.heldWei).toBe(result.owedWei);
    expect(result.earnedWei).toBe(result.dueWei);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}, 240_000);
