import type { OrderId } from "@cloister/core";
import type { Goal } from "@cloister/swarm";
import { broken } from "../checker.ts";
import { whatIsMissing } from "../liveness.ts";
import { orderIdOf } from "../scenario.ts";
import type { SimNode, World } from "../world.ts";

/** What drills have in common: a quiet world to begin with, and hands to do one thing to it. */

const QUIET_MS = 2_000;
/** Orders of a drill have numbers that no scenario reaches. */
const FIRST_DRILL_ORDER = 1_000;

/** Takes noise off the network and waits until the swarm is whole, agrees on its leader, and stays so for a while. */
export function settleDown(world: World): void {
  world.loss = 0;
  world.reorder = 0;
  world.duplicate = 0;
  let sinceMs = Infinity;
  const quiet = (): boolean => {
    if (whatIsUnsteady(world) !== undefined) sinceMs = Infinity;
    else if (sinceMs === Infinity) sinceMs = world.nowMs;
    return world.nowMs - sinceMs >= QUIET_MS;
  };
  if (!until(world, world.scenario.healMs, quiet)) {
    broken("SETTLES_DOWN", world.nowMs, whatIsUnsteady(world) ?? "not for long enough");
  }
}

/** What keeps a swarm from being at rest: something missing, or somebody who follows another term than the chain's. */
export function whatIsUnsteady(world: World): string | undefined {
  const missing = whatIsMissing(world);
  if (missing !== undefined) return missing;
  const { term } = world.chain.head.view;
  for (const { state, id } of world.nodes) {
    if (state === undefined) continue;
    if (state.election.regime.term !== term) return `${id} follows term ${state.election.regime.term}`;
  }
  return undefined;
}

/** Runs until something holds, at most for so long. Tells whether it came to hold. */
export function until(world: World, withinMs: number, holds: () => boolean): boolean {
  if (holds()) return true;
  world.run(world.nowMs + withinMs, holds);
  return holds();
}

export function pause(world: World, ms: number): void {
  world.run(world.nowMs + ms);
}

/** Long enough for a transaction to be mined and for every node to see it. */
export function chainTripMs({ scenario }: World): number {
  return 50 + 3 * scenario.blockMs + 2 * scenario.viewLagMsMax;
}

export function leaderOf(world: World): SimNode {
  const { leader } = world.chain.head.view;
  const node = world.nodes.find(({ id }) => id === leader);
  return node ?? broken("SETTLES_DOWN", world.nowMs, "no leader on chain");
}

export function othersThan(world: World, ...nodes: readonly SimNode[]): SimNode[] {
  return world.nodes.filter((node) => !nodes.includes(node));
}

/** Cuts the links between a node and some others both ways, or mends them. */
export function cutOff(world: World, node: SimNode, others: readonly SimNode[], cut: boolean): void {
  const { nodes } = world.scenario;
  for (const { index } of others) {
    world.cuts[node.index * nodes + index] = cut ? 1 : 0;
    world.cuts[index * nodes + node.index] = cut ? 1 : 0;
  }
}

/** Gives every node other goals; who starts later gets them, too. */
export function giveGoals(world: World, goals: readonly Goal[]): void {
  world.goals = goals;
  for (const node of world.nodes) world.feed(node, { kind: "goals", nowMs: world.localMs(node), goals });
}

/** Opens orders that take so long on a loader, about. */
export function openLong(world: World, count: number, workMs: number): OrderId[] {
  world.workMs = workMs;
  const opened = Array.from({ length: count }, (_, place) => orderIdOf(FIRST_DRILL_ORDER + place));
  for (const orderId of opened) {
    const order = { orderId, goalId: "compute", deadlineMs: Number.MAX_SAFE_INTEGER };
    world.chain.submit({ kind: "open", order });
  }
  return opened;
}

/** Demands that the swarm is whole again in the time that a healed one has. */
export function demandLife(world: World, code: string): void {
  if (!until(world, world.scenario.healMs, () => whatIsMissing(world) === undefined)) {
    broken(code, world.nowMs, whatIsMissing(world) as string);
  }
}
