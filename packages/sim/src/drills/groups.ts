import type { Goal } from "@cloister/swarm";
import { broken } from "../checker.ts";
import type { World } from "../world.ts";
import { chainTripMs, demandLife, giveGoals, leaderOf, othersThan, pause, until } from "./steady.ts";

/** Drills of groups that share no members. */

function exclusive(id: string, min: number, max: number): Goal {
  return { id, kind: "compute", size: { min, max }, shared: false, failedGraceMs: 500 };
}

function sizeOf({ chain }: World, goalId: string): number {
  return chain.head.view.groups.find((group) => group.goalId === goalId)?.members.length ?? 0;
}

/** One group holds everybody; a goal that comes later is given what the first has beyond its least. */
export function askTooLate(world: World): void {
  const { length } = world.nodes;
  const first = exclusive("compute", 1, length);
  giveGoals(world, [first]);
  const roomMs = 15_000 + 6 * chainTripMs(world);
  if (!until(world, roomMs, () => sizeOf(world, "compute") === length)) {
    broken("GROUP_GROWS", world.nowMs, `compute has ${sizeOf(world, "compute")} of ${length}`);
  }
  giveGoals(world, [first, exclusive("late", 1, 1)]);
  if (!until(world, roomMs, () => sizeOf(world, "late") === 1)) {
    broken("SURPLUS_IS_GIVEN", world.nowMs, "late has no group");
  }
}

/** Two groups lose a member each at one time, and choose among the same free nodes. */
export function repairSideBySide(world: World): void {
  const goals = ["compute", "second"].map((id) => exclusive(id, 2, 2));
  giveGoals(world, goals);
  const formed = (): boolean => goals.every(({ id }) => sizeOf(world, id) === 2);
  const roomMs = 15_000 + 6 * chainTripMs(world);
  if (!until(world, roomMs, formed)) broken("GROUPS_FORM_APART", world.nowMs, "two groups of two");
  pause(world, 1_000);
  const { groups } = world.chain.head.view;
  const leader = leaderOf(world);
  const lost = goals.map(({ id }) => {
    const members = groups.find(({ goalId }) => goalId === id)?.members ?? [];
    return othersThan(world, leader).find((node) => members.includes(node.id));
  });
  for (const node of lost) if (node !== undefined) world.crash(node);
  const repaired = (): boolean => {
    const now = world.chain.head.view.groups.filter(({ goalId }) => goals.some(({ id }) => id === goalId));
    return now.every(({ members }) => lost.every((node) => node === undefined || !members.includes(node.id)));
  };
  if (!until(world, roomMs, repaired)) broken("GROUPS_REPAIRED_APART", world.nowMs, "a lost member stays");
  for (const node of lost) if (node !== undefined) world.start(node);
  demandLife(world, "LIVES_AFTER_DRILL");
}
