import type { NodeId } from "@cloister/core";
import {
  FILL_SEARCH,
  FILL_UPDATES,
  INCARNATION_AHEAD_MAX,
  SELF_DOUBT_MAX,
  SUSPICION_CONFIRMERS,
  SUSPICION_SHARE_MIN,
  UPDATES_PER_MESSAGE_MAX,
  UPDATE_REPEATS,
} from "./bounds.ts";
import { UPDATE_STATUSES, type MemberUpdate, type WireUpdate } from "./messages.ts";
import {
  count,
  idAt,
  indexOf,
  isConnected,
  isEligible,
  log,
  persist,
  refuseFrom,
  statusOf,
  STATUS,
  type StatusCode,
  type SwarmState,
} from "./state.ts";

/**
 * Liveness after SWIM (Das et al., DSN 2002) with Lifeguard's amendments (Dadgar et al., 2017):
 * suspicion that confirmations shorten, and self-doubt that stretches this node's own patience.
 */

/** Applies claims that rode on a message of `from`. */
export function applyUpdates(state: SwarmState, from: NodeId, updates: readonly WireUpdate[]): void {
  for (const [id, rank, incarnation] of updates) {
    const update: MemberUpdate = { id, status: UPDATE_STATUSES[rank] ?? "alive", incarnation };
    if (update.id === state.config.self) applySelfUpdate(state, update);
    else applyUpdate(state, from, update);
  }
}

/** Somebody spoke of this node: a wrong claim is refuted with a higher incarnation. */
function applySelfUpdate(state: SwarmState, update: MemberUpdate): void {
  if (update.status === "alive" && update.incarnation > state.incarnation) forgotten(state, update);
  if (update.status === "alive" || update.incarnation < state.incarnation) return;
  if (update.status === "left" && state.draining) return;
  state.incarnation = update.incarnation + 1;
  persist(state);
  if (update.status !== "left") raiseSelfDoubt(state, "suspected");
  announceSelf(state);
  count(state, "refutations");
}

/**
 * Somebody heard an incarnation from this node that it does not remember: its record was lost, or two
 * nodes hold one identity. Either way votes may have been forgotten, so it abstains until they are over.
 */
function forgotten(state: SwarmState, update: MemberUpdate): void {
  const { election, nowMs, timing } = state;
  election.abstainUntilMs = Math.max(election.abstainUntilMs, nowMs + timing.confirmMs);
  count(state, "identity.forgotten");
  log(state, "warn", "identity-forgotten", { own: state.incarnation, heard: update.incarnation });
  state.incarnation = update.incarnation + 1;
  persist(state);
  announceSelf(state);
}

/** Puts this node's own liveness into circulation. */
export function announceSelf(state: SwarmState): void {
  const status = state.draining ? "left" : "alive";
  spread(state, { id: state.config.self, status, incarnation: state.incarnation });
}

function applyUpdate(state: SwarmState, from: NodeId, update: MemberUpdate): void {
  const index = indexOf(state, update.id);
  if (index < 0) return;
  const known = state.table.incarnation[index] as number;
  const status = state.table.status[index] as StatusCode;
  if (update.incarnation > known + INCARNATION_AHEAD_MAX) {
    refuseFrom(state, from, "SWARM_INCARNATION_AHEAD");
    return;
  }
  if (update.status === "suspect" && status === STATUS.suspect && update.incarnation >= known) {
    confirmSuspicion(state, from, update.id);
  }
  if (!supersedes(update, status, known)) return;
  setStatus(state, index, STATUS[update.status], update.incarnation);
  if (update.status === "suspect") confirmSuspicion(state, from, update.id);
}

/** Rank of a status in `UPDATE_STATUSES`; unknown has none. */
const STATUS_RANK = [-1, 0, 1, 2, 3];

/** SWIM §4.2: a higher incarnation wins; at the same one the worse status. */
function supersedes(update: MemberUpdate, status: StatusCode, known: number): boolean {
  if (status === STATUS.unknown) return true;
  if (update.incarnation !== known) return update.incarnation > known;
  return UPDATE_STATUSES.indexOf(update.status) > (STATUS_RANK[status] as number);
}

/** Changes what this node holds of a member and passes it on. */
export function setStatus(state: SwarmState, index: number, status: StatusCode, incarnation: number): void {
  const { table } = state;
  const id = idAt(state, index);
  const before = table.status[index] as StatusCode;
  table.incarnation[index] = incarnation;
  if (status === STATUS.suspect && before !== STATUS.suspect) {
    state.suspicions.set(id, { sinceMs: state.nowMs, confirmers: new Set() });
    // Everyone who hears of a suspicion asks the suspect itself, which ends a wrong one in a round trip.
    if (isConnected(state, id)) state.urgent.add(id);
    count(state, "suspicions");
  } else if (status !== STATUS.suspect) {
    state.suspicions.delete(id);
  }
  if (before !== status) {
    table.status[index] = status;
    table.sinceMs[index] = state.nowMs;
    if (isGone(before) !== isGone(status)) {
      state.subjectsDirty = true;
      state.committeeDirty = true;
    }
    if (status === STATUS.dead) {
      count(state, "deaths");
      log(state, "warn", "member-dead", { member: id });
    } else if (status === STATUS.alive && before === STATUS.dead) {
      log(state, "info", "member-back", { member: id });
    }
  }
  const first = before === STATUS.unknown && status === STATUS.alive;
  if (status !== STATUS.unknown) spread(state, { id, status: statusName(status), incarnation }, first);
}

function isGone(status: StatusCode): boolean {
  return status === STATUS.dead || status === STATUS.left;
}

function statusName(status: StatusCode): MemberUpdate["status"] {
  if (status === STATUS.left) return "left";
  if (status === STATUS.dead) return "dead";
  return status === STATUS.suspect ? "suspect" : "alive";
}

/**
 * Queues one update; a newer one about the same member replaces it. That somebody was met for the
 * first time is no news to most and told once.
 */
function spread(state: SwarmState, update: MemberUpdate, first = false): void {
  const left = first ? 1 : UPDATE_REPEATS * Math.ceil(Math.log2(state.directory.members.length + 2));
  state.updates.delete(update.id);
  state.updates.set(update.id, { update, left });
}

/** Hears a member itself: on its own channel nobody speaks for it but it. */
export function heardMember(state: SwarmState, index: number, incarnation: number): void {
  const { table } = state;
  const known = table.incarnation[index] as number;
  const status = table.status[index] as StatusCode;
  if (status === STATUS.alive && incarnation === known) return;
  if (incarnation < known) return;
  // Suspected or given up, it must refute: the next message to it says so.
  if (incarnation === known && status !== STATUS.unknown) return;
  setStatus(state, index, STATUS.alive, incarnation);
}

/** Begins to suspect a member that answered neither this node nor its helpers. */
export function suspect(state: SwarmState, id: NodeId): void {
  const index = indexOf(state, id);
  if (index < 0 || state.table.status[index] !== STATUS.alive) return;
  setStatus(state, index, STATUS.suspect, state.table.incarnation[index] as number);
}

function confirmSuspicion(state: SwarmState, from: NodeId, id: NodeId): void {
  const suspicion = state.suspicions.get(id);
  if (suspicion === undefined || suspicion.confirmers.has(from)) return;
  if (suspicion.confirmers.size < SUSPICION_CONFIRMERS) suspicion.confirmers.add(from);
}

/** When a suspicion turns into death: the more members share it, the sooner. Lifeguard §IV-B. */
function suspicionDueMs(state: SwarmState, id: NodeId): number {
  const suspicion = state.suspicions.get(id);
  if (suspicion === undefined) return Infinity;
  // A refutation needs to hear of it and to come back: some round trips, whatever the setting.
  const rttMs = state.table.rttMs[indexOf(state, id)] ?? 0;
  const longest = (state.timing.suspicionMs + 12 * rttMs) * (1 + state.selfDoubt / 2);
  const enough = Math.max(1, Math.min(SUSPICION_CONFIRMERS, state.directory.members.length - 2));
  const confirmed = Math.log(suspicion.confirmers.size + 1) / Math.log(enough + 1);
  const share = 1 - (1 - SUSPICION_SHARE_MIN) * Math.min(1, confirmed);
  return suspicion.sinceMs + longest * share;
}

/** The first suspicion to run out. */
export function nextSuspicionMs(state: SwarmState): number {
  let due = Infinity;
  for (const id of state.suspicions.keys()) due = Math.min(due, suspicionDueMs(state, id));
  return due;
}

/** Buries suspects whose time is over. */
export function expireSuspicions(state: SwarmState): void {
  for (const id of [...state.suspicions.keys()]) {
    if (suspicionDueMs(state, id) > state.nowMs) continue;
    const index = indexOf(state, id);
    setStatus(state, index, STATUS.dead, state.table.incarnation[index] as number);
  }
}

/**
 * Takes the updates that ride on the next message to `to`: what is held against it (Lifeguard's buddy
 * system), then news, then a walk through the table.
 */
export function takeUpdates(state: SwarmState, to: NodeId): WireUpdate[] {
  const taken: WireUpdate[] = [];
  const status = statusOf(state, to);
  if (status === STATUS.suspect || status === STATUS.dead) {
    const incarnation = state.table.incarnation[indexOf(state, to)] as number;
    taken.push([to, STATUS_RANK[status] as number, incarnation]);
  }
  let budget = Math.min(UPDATES_PER_MESSAGE_MAX - taken.length, state.updates.size);
  for (const [id, entry] of state.updates) {
    if (budget-- <= 0) break;
    const { id: about, status: claimed, incarnation } = entry.update;
    taken.push([about, UPDATE_STATUSES.indexOf(claimed), incarnation]);
    // Back to the end of the queue: what was told least often goes first.
    state.updates.delete(id);
    entry.left -= 1;
    if (entry.left > 0) state.updates.set(id, entry);
  }
  fill(state, taken);
  return taken;
}

/** Anti-entropy: a node that missed news learns it in the end, at a constant cost per message. */
function fill(state: SwarmState, taken: WireUpdate[]): void {
  const size = state.directory.members.length;
  for (let i = 0; i < FILL_SEARCH && taken.length < FILL_UPDATES && i < size; i++) {
    state.fillCursor = (state.fillCursor + 1) % size;
    const id = idAt(state, state.fillCursor);
    if (id === state.config.self) {
      taken.push([id, UPDATE_STATUSES.indexOf(state.draining ? "left" : "alive"), state.incarnation]);
      continue;
    }
    const status = state.table.status[state.fillCursor] as StatusCode;
    if (status === STATUS.unknown || taken.some(([about]) => about === id)) continue;
    const incarnation = state.table.incarnation[state.fillCursor] as number;
    taken.push([id, STATUS_RANK[status] as number, incarnation]);
  }
}

/** This node may itself be the slow one: it gives others more time. */
export function raiseSelfDoubt(state: SwarmState, why: string): void {
  state.selfDoubt = Math.min(SELF_DOUBT_MAX, state.selfDoubt + 1);
  count(state, `self-doubt.${why}`);
}

export function lowerSelfDoubt(state: SwarmState): void {
  state.selfDoubt = Math.max(0, state.selfDoubt - 1);
}

/**
 * Tells whether a member is to be evicted for its evidence: at once when that was refused, and after the
 * grace of a failed member when it only ran out.
 */
export function isUnattested(state: SwarmState, id: NodeId): boolean {
  const found = state.unattested.get(id);
  if (found === undefined) return false;
  return found.code !== EVIDENCE_EXPIRED || state.nowMs >= found.sinceMs + state.timing.failedGraceMs;
}

/** Why a channel is closed whose evidence was not renewed in time. */
export const EVIDENCE_EXPIRED = "SWARM_EVIDENCE_EXPIRED";

/** Tells whether a member is fit for a role: admitted, eligible, heard of and not given up. */
export function isUsable(state: SwarmState, id: NodeId): boolean {
  if (!isEligible(state, id) || state.unattested.has(id)) return false;
  if (id === state.config.self) return !state.draining;
  const status = statusOf(state, id);
  return status === STATUS.alive || status === STATUS.suspect;
}
