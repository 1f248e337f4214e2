import type { NodeId, OrderId } from "@cloister/core";
import { ORDERS_PER_NODE_MAX, PLACEMENTS_PER_ORDER_MAX } from "./bounds.ts";
import { isUnattested, isUsable } from "./membership.ts";
import { isAwaited, type Report } from "./reporting.ts";
import {
  count,
  indexOf,
  isEligible,
  log,
  send,
  STATUS,
  statusOf,
  type Leadership,
  type Placement,
  type SwarmState,
} from "./state.ts";
import { dropAccepted, takeOn } from "./work.ts";
import type { Assignment, GroupRecord, HardwareFacts, OpenOrder } from "./types.ts";

/**
 * Orders on nodes. The chain's open orders are the wish, the members' reports are the state; the leader
 * brings one to the other, again and again, and keeps no list of its own that could be lost.
 */

/** Compares what members said they hold with what was placed. */
export function adoptReports(state: SwarmState, leadership: Leadership): void {
  for (const [from, work] of leadership.work) adoptWork(state, leadership, from, work);
  leadership.work.clear();
}

/** Learns from a member's report what it holds: a leader adopts what was placed before its term. */
function adoptWork(state: SwarmState, leadership: Leadership, from: NodeId, work: Report["work"]): void {
  const held = new Set<OrderId>();
  for (const item of work) {
    held.add(item.orderId);
    const placement = leadership.placements.get(item.orderId);
    if (placement === undefined) adoptPlacement(state, leadership, from, item);
    else if (placement.assignment.node === from) advancePlacement(state, placement, item);
    else if (placement.state !== "sent" || !leadership.draining.has(from))
      withdraw(state, from, item.orderId);
  }
  for (const [orderId, placement] of leadership.placements) {
    // It held the order and does not any more: its disk was lost, or it declined.
    if (placement.assignment.node === from && placement.state !== "sent" && !held.has(orderId)) {
      placement.state = "sent";
      placement.sentMs = 0;
    }
  }
}

function advancePlacement(state: SwarmState, placement: Placement, item: Report["work"][number]): void {
  if (item.term !== placement.assignment.term) return;
  if (placement.state === "sent") count(state, "orders.acknowledged");
  placement.state = item.state;
}

/** An order from an earlier term stays where it is; it only gets this term's signature. */
function adoptPlacement(
  state: SwarmState,
  leadership: Leadership,
  from: NodeId,
  item: Report["work"][number],
): void {
  const order = state.orders.get(item.orderId);
  if (order === undefined) return;
  const group = groupFor(state, order);
  if (group === undefined) return;
  // It may be under way on a member that is no longer in the group; moving it would only lose work.
  const placement = createPlacement(state, order, from, group, 1, true);
  if (item.term === state.view.term) placement.state = item.state;
  if (item.state === "failed") placement.state = "failed";
  leadership.placements.set(item.orderId, placement);
  count(state, "orders.adopted");
}

/** Places what is open and unplaced, repeats what is unacknowledged, moves what has lost its node. */
export function placeOrders(state: SwarmState, leadership: Leadership): void {
  for (const [orderId] of leadership.placements) {
    if (!state.orders.has(orderId)) leadership.placements.delete(orderId);
  }
  const load = loadOf(leadership);
  const unheard = mayBeHeldUnheard(state, leadership);
  for (const order of state.orders.values()) {
    const placement = leadership.placements.get(order.orderId);
    if (placement === undefined) {
      if (!unheard || isNew(state, order)) place(state, leadership, order, load, 1);
    } else if (needsMove(state, leadership, order, placement))
      move(state, leadership, order, placement, load);
    else if (placement.state === "sent") resend(state, refreshed(state, order, placement));
  }
}

/** An unacknowledged assignment follows its group into the next epoch. */
function refreshed(state: SwarmState, order: OpenOrder, placement: Placement): Placement {
  const group = groupFor(state, order);
  if (group === undefined || group.epoch === placement.assignment.epoch) return placement;
  Object.assign(placement, sign(state, order.orderId, placement.assignment.node, group));
  return placement;
}

function loadOf(leadership: Leadership): Map<NodeId, number> {
  const load = new Map<NodeId, number>();
  for (const { assignment, state } of leadership.placements.values()) {
    if (state !== "done" && state !== "failed") {
      load.set(assignment.node, (load.get(assignment.node) ?? 0) + 1);
    }
  }
  return load;
}

function place(
  state: SwarmState,
  leadership: Leadership,
  order: OpenOrder,
  load: Map<NodeId, number>,
  placements: number,
): boolean {
  if (state.nowMs >= order.deadlineMs) return false;
  const group = groupFor(state, order);
  const held = group !== undefined && placements === 1 && !isNew(state, order);
  if (held && hasUnheardInGrace(state, leadership, group)) return false;
  const node = group === undefined ? undefined : nodeFor(state, leadership, order, group, load);
  if (group === undefined || node === undefined) return false;
  const placement = createPlacement(state, order, node, group, placements, false);
  leadership.placements.set(order.orderId, placement);
  load.set(node, (load.get(node) ?? 0) + 1);
  count(state, "orders.placed");
  state.effects.push({ kind: "assign", assignment: placement.assignment, signature: placement.signature });
  resend(state, placement);
  return true;
}

/** Opened under this leader's own term: nobody else can have placed it. */
function isNew(state: SwarmState, order: OpenOrder): boolean {
  return order.openedBlock !== undefined && order.openedBlock >= state.election.ledSinceBlock;
}

/** Until everybody who is about to report has reported, an order that looks unplaced may be at work somewhere. */
function mayBeHeldUnheard(state: SwarmState, leadership: Leadership): boolean {
  const waitedMs = state.nowMs - state.election.takeoverUntilMs;
  if (waitedMs > state.timing.failedGraceMs) return false;
  return state.directory.members.some(({ id }) => isAwaited(state, leadership, id));
}

/** A member of the group that is silent or gone, and still has its grace, may hold an order unheard. */
function hasUnheardInGrace(state: SwarmState, leadership: Leadership, group: GroupRecord): boolean {
  const { deposed, regime } = state.election;
  const graceMs = graceOf(state, group.goalId);
  return group.members.some((id) => {
    if (id === state.config.self || leadership.reported.has(id) || !isEligible(state, id)) return false;
    const status = statusOf(state, id);
    const isSilent = status === STATUS.dead || status === STATUS.suspect;
    if (!isSilent && (id !== deposed || status === STATUS.left)) return false;
    const sinceMs = isSilent ? (state.table.sinceMs[indexOf(state, id)] as number) : regime.sinceMs;
    return state.nowMs < sinceMs + graceMs;
  });
}

/** The group that an order names, else a computing group, else any. */
export function groupFor(state: SwarmState, order: OpenOrder): GroupRecord | undefined {
  const { groups } = state.view;
  if (order.goalId !== undefined) return groups.find(({ goalId }) => goalId === order.goalId);
  const computing = groups.find((group) => {
    return state.goals.some(({ id, kind }) => id === group.goalId && kind === "compute");
  });
  return computing ?? groups[0];
}

function nodeFor(
  state: SwarmState,
  leadership: Leadership,
  order: OpenOrder,
  group: GroupRecord,
  load: ReadonlyMap<NodeId, number>,
): NodeId | undefined {
  const failed = leadership.failedOn.get(order.orderId);
  let best: NodeId | undefined;
  for (const id of group.members) {
    const busy = load.get(id) ?? 0;
    if (busy >= ORDERS_PER_NODE_MAX || leadership.draining.has(id) || failed?.has(id) === true) continue;
    if (!isUsable(state, id) || statusOf(state, id) === STATUS.suspect) continue;
    if (!suits(factsOf(state, id), order)) continue;
    if (best === undefined || busy < (load.get(best) ?? 0)) best = id;
  }
  return best;
}

/** Attested facts of a member: what its channel proved, else what the registry recorded. */
export function factsOf(state: SwarmState, id: NodeId): HardwareFacts | undefined {
  if (id === state.config.self) return state.config.facts;
  return state.facts.get(id) ?? state.directory.members[indexOf(state, id)]?.facts;
}

function suits(facts: HardwareFacts | undefined, order: OpenOrder): boolean {
  if (facts === undefined) return order.tees === undefined;
  if (order.tees !== undefined && !order.tees.includes(facts.tee)) return false;
  return facts.memoryBytes >= (order.memoryBytesMin ?? 0) && facts.gpus >= (order.gpusMin ?? 0);
}

function createPlacement(
  state: SwarmState,
  order: OpenOrder,
  node: NodeId,
  group: GroupRecord,
  placements: number,
  adopted: boolean,
): Placement {
  return { ...sign(state, order.orderId, node, group), placements, adopted, sentMs: 0, state: "sent" };
}

function sign(
  state: SwarmState,
  orderId: OrderId,
  node: NodeId,
  group: GroupRecord,
): { assignment: Assignment; signature: Uint8Array } {
  const { goalId, epoch } = group;
  const assignment: Assignment = { orderId, node, term: state.view.term, epoch, goalId };
  const signature = state.config.signatures.sign({ kind: "assignment", ...assignment });
  return { assignment, signature };
}

function resend(state: SwarmState, placement: Placement): void {
  if (state.nowMs < placement.sentMs + state.timing.resendMs && placement.sentMs !== 0) return;
  placement.sentMs = state.nowMs;
  const { assignment, signature } = placement;
  if (assignment.node === state.config.self) runHere(state, placement);
  else send(state, assignment.node, { kind: "assignment", assignment, signature });
}

/** The leader placed an order on itself: same promise, no channel. */
function runHere(state: SwarmState, placement: Placement): void {
  const { assignment, signature } = placement;
  placement.state = "accepted";
  takeOn(state, assignment, signature);
  state.effects.push({ kind: "run", assignment, signature });
}

/** Takes an order back from a node that holds it although it was placed elsewhere. */
function withdraw(state: SwarmState, node: NodeId, orderId: OrderId): void {
  if (node !== state.config.self) send(state, node, { kind: "withdrawal", orderId, term: state.view.term });
  else if (state.accepted.has(orderId)) dropAccepted(state, orderId, "withdrawn");
}

function needsMove(
  state: SwarmState,
  leadership: Leadership,
  order: OpenOrder,
  placement: Placement,
): boolean {
  const { node } = placement.assignment;
  if (state.nowMs >= order.deadlineMs) return false;
  if (placement.state === "failed" || !isEligible(state, node) || isUnattested(state, node)) return true;
  const status = statusOf(state, node);
  if (placement.state === "sent" && !placement.adopted) {
    if (groupFor(state, order)?.members.includes(node) === false) return true;
  }
  const leaves = status === STATUS.left || (placement.state === "sent" && leadership.draining.has(node));
  // What is done is settled by its node; until it has gone for good, that is on its way.
  if (leaves && placement.state !== "done") return true;
  if (node === state.config.self || (status !== STATUS.dead && status !== STATUS.left)) return false;
  const graceMs = graceOf(state, placement.assignment.goalId);
  return state.nowMs >= (state.table.sinceMs[indexOf(state, node)] as number) + graceMs;
}

function graceOf(state: SwarmState, goalId: string): number {
  return state.goals.find(({ id }) => id === goalId)?.failedGraceMs ?? state.timing.failedGraceMs;
}

function move(
  state: SwarmState,
  leadership: Leadership,
  order: OpenOrder,
  placement: Placement,
  load: Map<NodeId, number>,
): void {
  const { node } = placement.assignment;
  if (placement.placements >= PLACEMENTS_PER_ORDER_MAX) return;
  const failed = leadership.failedOn.get(order.orderId) ?? new Set();
  leadership.failedOn.set(order.orderId, failed.add(node));
  if (!place(state, leadership, order, load, placement.placements + 1)) return;
  count(state, "orders.moved");
  log(state, "info", "order-moved", { orderId: order.orderId, from: node });
  // Who drains keeps its work until another has it.
  if (!leadership.draining.has(node)) withdraw(state, node, order.orderId);
}

/** When an unacknowledged or orphaned order must be looked at again. */
export function nextPlacementMs(state: SwarmState, leadership: Leadership): number {
  return leadership.placements.size > 0 || state.orders.size > 0
    ? state.nowMs + state.timing.resendMs / 4
    : Infinity;
}
