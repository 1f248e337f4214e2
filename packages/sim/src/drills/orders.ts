import type { OrderId } from "@cloister/core";
import { broken } from "../checker.ts";
import type { SimNode, World } from "../world.ts";
import { chainTripMs, demandLife, leaderOf, openLong, othersThan, pause, until } from "./steady.ts";

/** Drills of orders: work that is done and cannot be settled, and work that is handed over. */

/** The node that holds one of these orders and does not lead. */
function holderOf(world: World, orders: readonly OrderId[]): SimNode | undefined {
  return othersThan(world, leaderOf(world)).find(({ loader }) =>
    orders.some((orderId) => loader.has(orderId)),
  );
}

/** A host holds its node's settlements back, and the node dies after the work is done: another does it again. */
export function withholdSettlement(world: World): void {
  const leader = leaderOf(world);
  for (const { index } of othersThan(world, leader)) world.withheld.add(index);
  const opened = openLong(world, 4, 200);
  pause(world, 1_500 + 2 * chainTripMs(world));
  const node = holderOf(world, opened);
  for (const { index } of othersThan(world, ...(node === undefined ? [] : [node])))
    world.withheld.delete(index);
  if (node === undefined) return;
  pause(world, 1_200 + world.scenario.rttMsMax);
  world.crash(node);
  world.lost = node.index;
  demandLife(world, "LIVES_WITHOUT_ONE");
}

/** A node with work leaves in good order: it keeps the work until another has it, and then nothing rests on it. */
export function leaveInOrder(world: World): void {
  const opened = openLong(world, 4, 60_000);
  pause(world, 1_000 + 2 * chainTripMs(world));
  const node = holderOf(world, opened);
  if (node?.state === undefined) return;
  const held = opened.filter((orderId) => node.loader.has(orderId));
  world.feed(node, { kind: "drain", nowMs: world.localMs(node) });
  node.drained = true;
  const alone = (): OrderId | undefined => {
    return held.find((orderId) => !node.loader.has(orderId) && (world.runners.get(orderId)?.size ?? 0) < 2);
  };
  const gone = (): boolean => node.state !== undefined && node.state.accepted.size === 0;
  const left = until(world, 20_000 + 4 * chainTripMs(world), () => alone() !== undefined || gone());
  const dropped = alone();
  if (dropped !== undefined) broken("DRAIN_HANDS_OVER", world.nowMs, `${node.id} gave ${dropped} up`);
  if (!left) broken("DRAIN_ENDS", world.nowMs, `${node.state.accepted.size} orders stay`);
}
