import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Fleet, HEALING_GOAL, Mishaps, OrderBook, type FleetNode, type Healing } from "@cloister/test/hosts";
import { atMost, exactly } from "@cloister/tools/report";
import type { PartResult } from "./swarm-parts.ts";
import { loadAverage } from "./swarm-statistics.ts";

const NODES = 5;
const REVOKED = 4;
const HEALED_MS_MAX = 30_000;

/**
 * Part (h): what goes wrong with members, links, hosts and hardware, how long until the swarm is whole again, and
 * that no order was lost which had been opened.
 */
export async function benchHealing(say: (text: string) => void): Promise<PartResult> {
  const home = mkdtempSync(join(tmpdir(), "cloister-bench-healing-"));
  const loadBefore = loadAverage();
  const goals = [{ id: "key-release", kind: "key-release", size: { min: 3, max: 3 } } as const];
  const fleet = await Fleet.start({ home, nodes: NODES, rttMs: 0, goals, otherImage: [REVOKED] });
  try {
    await fleet.settled();
    const revoked = fleet.nodes[REVOKED] as FleetNode;
    await fleet.declare({ ...HEALING_GOAL, affinity: revoked.id === undefined ? [] : [revoked.id] });
    await fleet.settled();
    const orders = await OrderBook.open(fleet);
    const mishaps = new Mishaps(fleet, orders);
    const figures: Record<string, Healing> = {};
    const note = async (name: string, mishap: () => Promise<Healing>): Promise<void> => {
      figures[name] = rounded(await mishap());
      say(`${name}: ${JSON.stringify(figures[name])}`);
      await wait(1_000);
    };
    await note("memberDegraded", () => mishaps.degraded());
    await note("partition", () =>
      mishaps.partitioned((some, others, cut) =>
        fleet.treat(fleet.linksBetween(some, others), { delayMs: 0, cut }),
      ),
    );
    await note("rollingRestart", () => mishaps.rollingRestart());
    await note("massRestart", () => mishaps.massRestart());
    await note("tcbRevoked", () => mishaps.revoked(revoked));
    const ends = await orders.ends();
    return resultOf(figures, [...ends.values()], `${loadBefore}; ${loadAverage()}`);
  } finally {
    await fleet.stop();
    rmSync(home, { recursive: true, force: true });
  }
}

function resultOf(
  figures: Readonly<Record<string, Healing>>,
  ends: readonly string[],
  load: string,
): PartResult {
  const of = (mishap: string, name: string): number => figures[mishap]?.[name] ?? Number.NaN;
  return {
    figures: { load, ...figures, orders: ends.length },
    goals: [
      atMost(
        "member degraded: ms beyond its grace until the group does without it",
        of("memberDegraded", "beyondGraceMs"),
        HEALED_MS_MAX,
      ),
      atMost("partition mended: ms until whole", of("partition", "wholeAfterMs"), HEALED_MS_MAX),
      exactly("effects on the side of the leader that was cut off", of("partition", "minorityEffects"), 0),
      atMost(
        "rolling restart: worst ms until whole",
        of("rollingRestart", "wholeAfterWorstMs"),
        HEALED_MS_MAX,
      ),
      atMost("all killed at once: ms until whole", of("massRestart", "wholeMs"), HEALED_MS_MAX),
      atMost(
        "TCB revoked: ms until the group does without it",
        of("tcbRevoked", "regroupedMs"),
        HEALED_MS_MAX,
      ),
      exactly("orders that a revoked member took on", of("tcbRevoked", "acceptedByRevoked"), 0),
      exactly("orders that did not succeed", ends.filter((status) => status !== "succeeded").length, 0),
    ],
  };
}

function rounded(healing: Healing): Healing {
  return Object.fromEntries(Object.entries(healing).map(([name, value]) => [name, Math.round(value)]));
}
