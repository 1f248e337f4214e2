import type { OrderId } from "@cloister/core";
import { broken, InvariantError } from "./checker.ts";
import { runDrill } from "./drills/drill.ts";
import { heal, injectFaults, openOrders, revokeMember } from "./faults.ts";
import { whatIsMissing } from "./liveness.ts";
import { drawScenario, orderIdOf, type Scenario } from "./scenario.ts";
import { guarded, World, type Core, type RunFigures, type SimNode } from "./world.ts";

/** What one run came to. */
export interface RunResult {
  readonly seed: number;
  readonly broken: { readonly code: string; readonly atMs: number; readonly what: string } | undefined;
  /** Virtual time from healing until everything worked again. */
  readonly recoveredMs: number | undefined;
  readonly virtualMs: number;
  readonly checks: number;
  readonly traceHash: number;
  readonly figures: RunFigures;
}

/** Runs one seed: harm, then healing, then the question whether the swarm lives. */
export function runSeed(seed: number, core?: Core): RunResult {
  return runScenario(drawScenario(seed), core);
}

export function runScenario(scenario: Scenario, core?: Core, watch?: (world: World) => void): RunResult {
  const world = new World(scenario);
  if (core !== undefined) world.core = core;
  watch?.(world);
  let failure: InvariantError | undefined;
  let recoveredMs: number | undefined;
  try {
    guarded(world, () => {
      recoveredMs = scenario.calm ? runCalm(world) : runHarmed(world);
    });
  } catch (thrown) {
    if (!(thrown instanceof InvariantError)) throw thrown;
    failure = thrown;
  }
  for (const { state } of world.nodes) {
    for (const [name, times] of state?.counters ?? []) {
      if (name.startsWith("refused.")) world.figures.refused += times;
    }
  }
  return {
    seed: scenario.seed,
    broken:
      failure === undefined ? undefined : { code: failure.code, atMs: failure.atMs, what: failure.message },
    recoveredMs,
    virtualMs: world.nowMs,
    checks: world.checker.checks,
    traceHash: world.traceHash,
    figures: world.figures,
  };
}

function runHarmed(world: World): number {
  const { scenario } = world;
  world.begin();
  injectFaults(world);
  openOrders(world);
  world.run(scenario.faultMs);
  checkTables(world);
  heal(world);
  const healedMs = world.nowMs;
  world.run(healedMs + scenario.healMs, () => whatIsMissing(world) === undefined);
  const missing = whatIsMissing(world);
  if (missing !== undefined) broken("LIVES_AFTER_HEALING", world.nowMs, missing);
  checkTables(world);
  const recoveredMs = world.nowMs - healedMs;
  if (scenario.lost !== undefined) loseForGood(world, scenario.lost);
  else runDrill(world);
  return recoveredMs;
}

/** One node dies for good with work on it: the others take its work and its places over. */
function loseForGood(world: World, index: number): void {
  world.workMs = 3_000;
  openMore(world, 4);
  world.run(world.nowMs + 800 + 3 * world.scenario.blockMs);
  world.crash(world.nodes[index] as SimNode);
  world.lost = index;
  world.run(world.nowMs + world.scenario.healMs, () => whatIsMissing(world) === undefined);
  const missing = whatIsMissing(world);
  if (missing !== undefined) broken("LIVES_WITHOUT_ONE", world.nowMs, missing);
}

function openMore(world: World, count: number): OrderId[] {
  const opened = Array.from({ length: count }, (_, place) => orderIdOf(world.scenario.orders + place));
  for (const orderId of opened) {
    const order = { orderId, goalId: "compute", deadlineMs: Number.MAX_SAFE_INTEGER };
    world.chain.submit({ kind: "open", order });
  }
  return opened;
}

/** Nothing is done to this world, so nothing may happen in it after it has formed. */
function runCalm(world: World): number {
  const { scenario } = world;
  world.begin();
  openOrders(world);
  world.run(scenario.healMs, () => whatIsMissing(world) === undefined && world.nowMs > scenario.faultMs);
  const missing = whatIsMissing(world);
  if (missing !== undefined) broken("LIVES_WHEN_CALM", world.nowMs, missing);
  const formedMs = world.nowMs;
  if (scenario.incident === "leader-loss") return loseLeader(world, formedMs, (node) => world.crash(node));
  if (scenario.incident === "leader-revoked") {
    return loseLeader(world, formedMs, (node) => revokeMember(world, node));
  }
  if (scenario.incident === "brief-absence") {
    leaveBriefly(world);
    return formedMs;
  }
  const { term } = world.chain.head.view;
  const { epochs, deaths } = world.figures;
  world.run(formedMs + 10_000);
  if (world.chain.head.view.term !== term) broken("CALM_KEEPS_LEADER", world.nowMs, "a second election");
  if (scenario.incident === "none" && world.figures.deaths !== deaths)
    broken("CALM_KEEPS_MEMBERS", world.nowMs, "a member was given up");
  if (world.figures.epochs !== epochs) broken("CALM_KEEPS_GROUPS", world.nowMs, "a group was changed");
  if (world.figures.moved !== 0) broken("CALM_KEEPS_WORK", world.nowMs, "an order was moved");
  if (scenario.incident === "none") runDrill(world);
  return formedMs;
}

/** A member that does not lead is away for less than its grace: groups and work stay as they are. */
function leaveBriefly(world: World): void {
  world.workMs = 9_000;
  const opened = openMore(world, 2);
  world.run(world.nowMs + 600 + 4 * world.scenario.blockMs + 2 * world.scenario.viewLagMsMax);
  const { leader } = world.chain.head.view;
  const { epochs } = world.figures;
  const runners = opened.flatMap((orderId) => [...(world.runners.get(orderId) ?? [])]);
  const busy = runners.map((index) => world.nodes[index] as SimNode).find(({ id }) => id !== leader);
  if (busy === undefined) return;
  world.crash(busy);
  world.run(world.nowMs + 2_500);
  world.start(busy);
  world.run(world.nowMs + 5_000);
  if (world.figures.epochs !== epochs) broken("GRACE_KEEPS_GROUPS", world.nowMs, "a group was changed");
  for (const orderId of opened) {
    const ran = world.runners.get(orderId)?.size ?? 0;
    if (ran > 1) broken("GRACE_KEEPS_WORK", world.nowMs, `${orderId} ran on ${ran} nodes`);
  }
}

/** The leader goes while orders are at work elsewhere: they go on where they are, and nowhere else. */
function loseLeader(world: World, formedMs: number, lose: (node: SimNode) => void): number {
  world.workMs = 15_000;
  const opened = openMore(world, 3);
  world.run(world.nowMs + 600 + 4 * world.scenario.blockMs + 2 * world.scenario.viewLagMsMax);
  const { leader, term } = world.chain.head.view;
  const lost = world.nodes.find(({ id }) => id === leader) as SimNode;
  const before = opened.map((orderId) => new Set(world.runners.get(orderId)));
  lose(lost);
  const replaced = (): boolean => world.chain.head.view.term > term;
  const { blockMs, rttMsMax, viewLagMsMax } = world.scenario;
  const patienceMs = 3_000 + 5 * blockMs + 12 * rttMsMax + 2 * viewLagMsMax;
  world.run(world.nowMs + patienceMs, replaced);
  if (!replaced()) broken("LEADER_REPLACED_SOON", world.nowMs, `not after ${patienceMs.toFixed(0)} ms`);
  world.run(world.nowMs + 6_000);
  for (const [place, orderId] of opened.entries()) {
    const first = before[place] ?? new Set();
    const ran = world.runners.get(orderId)?.size ?? 0;
    if (first.size !== 1 || first.has(lost.index) || ran < 2) continue;
    broken("WORK_SURVIVES_LEADER", world.nowMs, `${orderId} ran on ${ran} nodes`);
  }
  return formedMs;
}

/** No table of a node may outgrow its bound, whatever was sent to it. */
function checkTables(world: World): void {
  const { nodes } = world.scenario;
  for (const node of world.nodes) {
    const { state } = node;
    if (state === undefined) continue;
    world.checker.sizes(node.id, world.nowMs, {
      pending: [state.pending.size, 512],
      updates: [state.updates.size, nodes],
      votes: [state.election.votes.size, 8],
      doubts: [state.election.doubts.size, nodes],
      buckets: [state.buckets.size, nodes],
      refusals: [state.refusals.size, 1_024],
      asked: [state.asked.length, 64],
    });
  }
}
