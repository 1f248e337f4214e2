import { drawScenario, World, type Scenario } from "@cloister/sim";
import { exactly, type GoalOutcome } from "@cloister/tools/report";
import type { PartResult } from "./swarm-parts.ts";

const HOUR_MS = 3_600_000;
const KILLS = 20;

/**
 * Part (s): an hour of simulated time at 1 % loss must pass without an election; and the same defaults
 * must replace a killed and a frozen leader fast. Virtual time, at round trips of 1 and 100 ms.
 */
export function benchStability(): PartResult {
  const figures: Record<string, number | string> = {};
  const goals: GoalOutcome[] = [];
  for (const rttMs of [1, 100]) {
    const world = worldOf(rttMs, 0.01, 1);
    world.begin();
    world.run(10_000);
    const { term } = world.chain.head.view;
    world.run(HOUR_MS);
    const spurious = world.chain.head.view.term - term;
    figures[`spuriousElectionsPerHour_rtt${rttMs}`] = spurious;
    figures[`wrongDeathsPerHour_rtt${rttMs}`] = world.figures.deaths;
    const elections = term > 0 ? spurious : "never began";
    goals.push(exactly(`elections in a simulated hour at 1 % loss, round trip ${rttMs} ms`, elections, 0));
    for (const how of ["killed", "frozen"] as const) {
      const times = Array.from({ length: KILLS }, (_, run) => failover(rttMs, how, run)).sort(
        (a, b) => a - b,
      );
      figures[`${how}ToCertificateMsP50_rtt${rttMs}`] = Math.round(times[KILLS >> 1] ?? 0);
      figures[`${how}ToCertificateMsWorst_rtt${rttMs}`] = Math.round(times.at(-1) ?? 0);
    }
  }
  return { figures, goals };
}

function worldOf(rttMs: number, loss: number, seed: number): World {
  const scenario: Scenario = {
    ...drawScenario(1),
    seed,
    nodes: 5,
    voters: 5,
    faults: [],
    calm: true,
    incident: "none",
    lost: undefined,
    rttMsMax: rttMs,
    loss,
    duplicate: 0,
    reorder: 0,
    blockMs: 10,
    viewLagMsMax: 5,
    orders: 0,
    probeIntervalMs: 50,
    goals: [],
  };
  return new World(scenario);
}

/** From the end of one leader to the block that names the next. */
function failover(rttMs: number, how: "killed" | "frozen", run: number): number {
  const world = worldOf(rttMs, 0, 100 + run);
  world.begin();
  world.run(5_000 + run * 7);
  const { leader, term } = world.chain.head.view;
  const node = world.nodes.find(({ id }) => id === leader);
  if (node === undefined) return Infinity;
  const lostMs = world.nowMs;
  if (how === "killed") world.crash(node);
  else node.frozen = true;
  const step = 1;
  while (world.chain.head.view.term === term && world.nowMs < lostMs + 20_000) world.run(world.nowMs + step);
  return world.nowMs - lostMs;
}
