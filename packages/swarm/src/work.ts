import type { NodeId, OrderId } from "@cloister/core";
import { EARLY_ASSIGNMENTS_MAX, ORDERS_MAX, VIEW_LAG_MS_MAX } from "./bounds.ts";
import type { Message } from "./messages.ts";
import type { Assignment } from "./types.ts";
import { count, log, persist, refuseFrom, type SwarmState } from "./state.ts";

/** Takes an assignment in: the chain's leader of the chain's term must have signed it for this node. */
export function onAssignment(
  state: SwarmState,
  from: NodeId,
  message: Extract<Message, { kind: "assignment" }>,
): void {
  const { assignment, signature } = message;
  const code = assignmentFault(state, from, message);
  if (code !== undefined) {
    keepEarly(state, from, message, code);
    return refuseFrom(state, from, code);
  }
  const held = state.accepted.get(assignment.orderId);
  // A term above the chain's was taken back there: the chain's own replaces it.
  if (state.closed.has(assignment.orderId) && !state.orders.has(assignment.orderId)) {
    return count(state, "assignments.closed");
  }
  if (held === undefined && (state.draining || state.accepted.size >= ORDERS_MAX)) {
    return count(state, "assignments.declined");
  }
  const repeated = held?.assignment.term === assignment.term && held.assignment.epoch === assignment.epoch;
  state.nextReportMs = state.nowMs;
  if (repeated) return;
  takeOn(state, assignment, signature);
  count(state, "assignments.accepted");
  state.effects.push({ kind: "run", assignment, signature });
}

function assignmentFault(
  state: SwarmState,
  from: NodeId,
  { assignment, signature }: Extract<Message, { kind: "assignment" }>,
): string | undefined {
  const { view } = state;
  if (assignment.node !== state.config.self) return "SWARM_NOT_ADDRESSEE";
  if (assignment.term < view.term) return "SWARM_TERM_STALE";
  if (assignment.term > view.term) return "SWARM_TERM_AHEAD";
  if (view.leader !== from) return "SWARM_NOT_LEADER";
  const group = view.groups.find(({ goalId }) => goalId === assignment.goalId);
  if (group === undefined || group.epoch < assignment.epoch) return "SWARM_EPOCH_AHEAD";
  if (group.epoch > assignment.epoch && !group.members.includes(state.config.self)) {
    return "SWARM_EPOCH_STALE";
  }
  if (!state.config.signatures.verify({ kind: "assignment", ...assignment }, from, signature)) {
    return "SWARM_SIGNATURE_INVALID";
  }
  return undefined;
}

/** What rests on a block that the elected leader has seen and this node has not is judged again with that block. */
function keepEarly(
  state: SwarmState,
  from: NodeId,
  message: Extract<Message, { kind: "assignment" }>,
  code: string,
): void {
  const { orderId, term } = message.assignment;
  const { regime } = state.election;
  if (code !== "SWARM_TERM_AHEAD" && code !== "SWARM_EPOCH_AHEAD") return;
  if (from !== regime.leader || term !== regime.term) return;
  if (state.early.size >= EARLY_ASSIGNMENTS_MAX && !state.early.has(orderId)) return;
  state.early.set(orderId, { from, message });
  count(state, "assignments.early");
}

/** Judges early assignments again after each new view of the chain; each is kept for one view at a time. */
export function takeEarly(state: SwarmState): void {
  if (state.early.size === 0) return;
  const early = [...state.early.values()];
  state.early.clear();
  for (const { from, message } of early) onAssignment(state, from, message);
}

/** The leader takes an order back. */
export function onWithdrawal(state: SwarmState, from: NodeId, orderId: OrderId, term: number): void {
  if (from !== state.view.leader || term !== state.view.term) {
    return refuseFrom(state, from, term < state.view.term ? "SWARM_TERM_STALE" : "SWARM_NOT_LEADER");
  }
  const held = state.accepted.get(orderId);
  if (held === undefined || held.assignment.term > term) return;
  dropAccepted(state, orderId, "withdrawn");
}

/** Stops and forgets an order that this node held. */
export function dropAccepted(state: SwarmState, orderId: OrderId, reason: string): void {
  state.accepted.delete(orderId);
  persist(state);
  state.effects.push({ kind: "abandon", orderId, reason });
  state.nextReportMs = state.nowMs;
  log(state, "info", "order-dropped", { orderId, reason });
}

/** Holds an order from now on; durable before anybody hears of it. */
export function takeOn(state: SwarmState, assignment: Assignment, signature: Uint8Array): void {
  const seenOpen = state.orders.has(assignment.orderId);
  state.accepted.set(assignment.orderId, { assignment, signature, sinceMs: state.nowMs, seenOpen });
  persist(state);
}

/** Lets go of orders that the chain no longer holds open. */
export function dropClosedOrders(state: SwarmState): void {
  for (const [orderId, held] of state.accepted) {
    if (state.orders.has(orderId)) state.accepted.set(orderId, { ...held, seenOpen: true });
    else if (held.seenOpen || state.nowMs - held.sinceMs > VIEW_LAG_MS_MAX) {
      dropAccepted(state, orderId, "closed");
      state.closed.set(orderId, state.nowMs);
    }
  }
  for (const [orderId, atMs] of state.closed) {
    if (state.nowMs - atMs > VIEW_LAG_MS_MAX) state.closed.delete(orderId);
  }
}

/** The runtime said what its loader does: a change goes to the leader at once. */
export function noteWork(state: SwarmState, before: SwarmState["work"]): void {
  for (const [orderId, status] of state.work) {
    if (before.get(orderId)?.state !== status.state) state.nextReportMs = state.nowMs;
  }
}
