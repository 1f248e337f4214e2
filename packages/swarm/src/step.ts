import { assertInvariant, type NodeId } from "@cloister/core";
import {
  CONNECT_AGAIN_MS,
  DUTY_EVERY_MS,
  INCARNATION_MAX,
  MEMBERS_MAX,
  MESSAGES_PER_SECOND_MAX,
  MESSAGE_BURST_MAX,
  ORDERS_MAX,
  TIMING_DEFAULT,
  TIMING_RANGE,
} from "./bounds.ts";
import { decodeMessage, parseMessage, SwarmMessageError } from "./codec.ts";
import { originCoordinate } from "./coordinate.ts";
import { directoryOf } from "./directory.ts";
import {
  createElection,
  followChain,
  heardLeader,
  mayAct,
  nextElectionMs,
  onDoubt,
  onVote,
  rankSuccession,
  runElection,
  tellVote,
} from "./election.ts";
import { forgiveLeader } from "./leader-watch.ts";
import { exploreLinks, pursueGoals } from "./groups.ts";
import { onLoad, onLoadAck, probeLoad } from "./measurement/load.ts";
import { announceSelf, EVIDENCE_EXPIRED, expireSuspicions, nextSuspicionMs } from "./membership.ts";
import type { Message } from "./messages.ts";
import { adoptReports, nextPlacementMs, placeOrders } from "./placement.ts";
import {
  connectPeers,
  expireProbes,
  nextPendingMs,
  noticeLateness,
  onAck,
  onAckFor,
  onPing,
  onPingFor,
  probe,
  probeMember,
  probeUrgent,
} from "./probing.ts";
import { seedRandom } from "./random.ts";
import { everyoneReported, onReport, reportToLeader } from "./reporting.ts";
import {
  count,
  createTable,
  indexOf,
  log,
  persist,
  refuseFrom,
  swarmTag,
  type MemberTable,
  type SwarmState,
} from "./state.ts";
import type {
  Effect,
  HardwareFacts,
  Input,
  MemberRecord,
  OpenOrder,
  RegistryView,
  SwarmConfig,
  Timing,
} from "./types.ts";
import { dropClosedOrders, noteWork, onAssignment, onWithdrawal, takeEarly } from "./work.ts";

const EMPTY_VIEW: RegistryView = { blockNumber: 0, members: [], term: 0, leader: undefined, groups: [] };

/**
 * Starts a node from its configuration and, after a crash, from its durable record. Its first step
 * persists a higher incarnation, so that peers can tell this life from the last.
 */
export function init(config: SwarmConfig): SwarmState {
  const { record, nowMs } = config;
  const state: SwarmState = {
    config,
    timing: timingOf(config.timing ?? {}),
    random: seedRandom(config.seed),
    startedMs: nowMs,
    nowMs,
    effects: [],
    view: EMPTY_VIEW,
    viewSeen: false,
    directory: directoryOf(EMPTY_VIEW.members),
    committee: [],
    drawn: [],
    committeeDirty: false,
    self: -1,
    table: createTable(0),
    incarnation: Math.min((record?.incarnation ?? 0) + 1, INCARNATION_MAX - 1),
    started: false,
    coordinate: originCoordinate(),
    coordinates: new Map(),
    facts: new Map(),
    attestedUntilMs: new Map(),
    evidenceDueMs: Infinity,
    unattested: new Map(),
    suspicions: new Map(),
    updates: new Map(),
    fillCursor: 0,
    pending: new Map(),
    overdue: new Map(),
    subjects: [],
    subjectsDirty: true,
    subjectCursor: 0,
    subjectTurn: 0,
    nextProbeMs: nowMs,
    nextConnectMs: nowMs,
    selfDoubt: 0,
    asked: [],
    loadAsked: [],
    load: undefined,
    nextLoadMs: nowMs,
    loads: new Map(),
    urgent: new Set(),
    buckets: new Map(),
    election: createElection(record, nowMs),
    goals: [],
    orders: new Map(),
    ordersSeen: false,
    work: new Map(),
    early: new Map(),
    accepted: new Map(
      record?.assignments.map((held) => {
        return [held.assignment.orderId, { ...held, sinceMs: nowMs, seenOpen: false }];
      }),
    ),
    closed: new Map(),
    leadership: undefined,
    nextReportMs: nowMs,
    reportSequence: 0,
    reportedSamples: new Map(),
    reportedTo: undefined,
    draining: false,
    counters: new Map(),
    refusals: new Map(),
  };
  state.reportSequence = state.incarnation * 2 ** 12;
  return state;
}

function timingOf(wanted: Partial<Timing>): Timing {
  const entries = Object.entries(TIMING_DEFAULT).map(([name, usual]) => {
    const [least, most] = TIMING_RANGE[name as keyof Timing];
    const value = wanted[name as keyof Timing] ?? usual;
    return [name, Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : usual];
  });
  return Object.fromEntries(entries);
}

/**
 * Takes one input in and says what must be done. The state given is changed and handed back: keep
 * only what is returned. Nothing that a peer sends makes it throw; what is refused is counted
 * against its sender. Effects are to be carried out in order (see `Effect`). spec/swarm.md §2
 */
export function step(state: SwarmState, input: Input): { state: SwarmState; effects: readonly Effect[] } {
  assertInvariant(Number.isFinite(input.nowMs), "the clock gives a finite time");
  state.effects = [];
  state.nowMs = Math.max(state.nowMs, input.nowMs);
  if (!state.started) begin(state);
  noticeLateness(state);
  apply(state, input);
  advance(state);
  const { effects } = state;
  state.effects = [];
  return { state, effects };
}

/** The first thing in a life: a new incarnation, durable before anyone hears it, and work resumed. */
function begin(state: SwarmState): void {
  state.started = true;
  persist(state);
  announceSelf(state);
  state.nextProbeMs = state.nowMs;
  for (const { assignment, signature } of state.accepted.values()) {
    state.effects.push({ kind: "run", assignment, signature });
  }
}

function apply(state: SwarmState, input: Input): void {
  switch (input.kind) {
    case "tick":
      return;
    case "received":
      return receive(state, input.from, input.message);
    case "peer-up":
      return peerUp(state, input);
    case "peer-down":
      return peerDown(state, input.id);
    case "registry":
      if (input.orders !== undefined) takeOrders(state, input.orders);
      return takeView(state, input.view);
    case "goals":
      state.goals = input.goals;
      wakeLeader(state);
      return;
    case "orders":
      return takeOrders(state, input.orders);
    case "work": {
      const before = state.work;
      state.work = new Map(input.work.map((status) => [status.orderId, status]));
      return noteWork(state, before);
    }
    case "drain":
      state.draining = true;
      announceSelf(state);
      state.nextReportMs = state.nowMs;
      log(state, "info", "draining", {});
      return;
  }
}

function takeOrders(state: SwarmState, orders: readonly OpenOrder[]): void {
  state.orders = new Map(orders.slice(0, ORDERS_MAX).map((order) => [order.orderId, order]));
  state.ordersSeen = true;
  dropClosedOrders(state);
  wakeLeader(state);
}

function wakeLeader(state: SwarmState): void {
  if (state.leadership === undefined) return;
  state.leadership.dutyDueMs = state.nowMs;
  state.leadership.planDueMs = Math.min(state.leadership.planDueMs, state.nowMs);
}

function peerUp(state: SwarmState, input: Extract<Input, { kind: "peer-up" }>): void {
  const index = indexOf(state, input.id);
  if (input.id === state.config.self) return refuseFrom(state, input.id, "SWARM_IDENTITY_TWICE");
  if (index < 0) return turnAway(state, input, "SWARM_NOT_MEMBER", "The registry does not admit it.");
  if (!input.verdict.ok) {
    const [first] = input.verdict.refusals;
    return distrust(state, input.id, first.code, first.reason);
  }
  state.table.connected[index] = 1;
  state.unattested.delete(input.id);
  const { validUntilMs } = input.verdict.value;
  if (validUntilMs === undefined) state.attestedUntilMs.delete(input.id);
  else state.attestedUntilMs.set(input.id, validUntilMs);
  state.evidenceDueMs = Math.min(state.evidenceDueMs, validUntilMs ?? Infinity);
  if (input.verdict.value.facts !== undefined) state.facts.set(input.id, input.verdict.value.facts);
  count(state, "peers.up");
  // A new channel is a new life, maybe: its reports count from anew.
  state.leadership?.reports.delete(input.id);
  if (state.election.regime.leader === input.id) {
    state.election.leaderMet = true;
    forgiveLeader(state);
    state.reportedTo = undefined;
    state.nextReportMs = state.nowMs;
  }
  if (state.election.doubting) state.election.nextDoubtMs = state.nowMs;
  if (state.directory.isVoter(input.id)) tellVote(state, input.id);
  probeMember(state, input.id);
}

/** A member's evidence does not hold, or not any more: its channel is closed, and it is fit for no role. */
function distrust(state: SwarmState, id: NodeId, code: string, reason: string): void {
  state.table.connected[indexOf(state, id)] = 0;
  state.attestedUntilMs.delete(id);
  if (state.unattested.get(id)?.code !== code) {
    state.unattested.set(id, { sinceMs: state.nowMs, code });
    log(state, "warn", "member-unattested", { member: id, code });
  }
  state.nextConnectMs = Math.min(state.nextConnectMs, state.nowMs + CONNECT_AGAIN_MS);
  wakeLeader(state);
  turnAway(state, { id }, code, reason);
}

/** Evidence that was not renewed in time does not count any longer. */
function expireEvidence(state: SwarmState): void {
  if (state.nowMs < state.evidenceDueMs) return;
  state.evidenceDueMs = Infinity;
  for (const [id, untilMs] of [...state.attestedUntilMs]) {
    if (state.nowMs < untilMs) state.evidenceDueMs = Math.min(state.evidenceDueMs, untilMs);
    else distrust(state, id, EVIDENCE_EXPIRED, "Its evidence was not renewed in time.");
  }
}

function turnAway(state: SwarmState, input: { id: NodeId }, code: string, reason: string): void {
  refuseFrom(state, input.id, code);
  state.effects.push({ kind: "disconnect", peer: input.id, code, reason });
}

function peerDown(state: SwarmState, id: NodeId): void {
  const index = indexOf(state, id);
  if (index < 0 || state.table.connected[index] === 0) return;
  state.table.connected[index] = 0;
  count(state, "peers.down");
  state.nextConnectMs = Math.min(state.nextConnectMs, state.nowMs + CONNECT_AGAIN_MS);
  for (const [nonce, pending] of state.pending) {
    if (pending.target === id && pending.stage === "direct") {
      state.pending.set(nonce, { ...pending, dueMs: state.nowMs });
    }
  }
  probeMember(state, id);
}

function takeView(state: SwarmState, view: RegistryView): void {
  // A caller may build its list anew for each block; only a change of content is a change.
  const same = sameMembers(view.members, state.view.members);
  if (!same) admit(state, view);
  state.view = same ? { ...view, members: state.view.members } : view;
  state.viewSeen = true;
  followChain(state);
  if (state.leadership?.term !== state.election.certificate?.term) state.leadership = undefined;
  takeEarly(state);
  wakeLeader(state);
}

function sameMembers(a: readonly MemberRecord[], b: readonly MemberRecord[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  return a.every((member, place) => {
    const other = b[place] as MemberRecord;
    return (
      member.id === other.id &&
      member.voter === other.voter &&
      member.operator === other.operator &&
      member.region === other.region &&
      member.eligible === other.eligible &&
      sameFacts(member.facts, other.facts)
    );
  });
}

function sameFacts(a: HardwareFacts | undefined, b: HardwareFacts | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return (
    a.tee === b.tee &&
    a.simulated === b.simulated &&
    a.cpus === b.cpus &&
    a.memoryBytes === b.memoryBytes &&
    a.gpus === b.gpus &&
    a.region === b.region
  );
}

/** Takes a changed membership in: what is known of those who stay is kept. */
function admit(state: SwarmState, view: RegistryView): void {
  assertInvariant(view.members.length <= MEMBERS_MAX, "the registry stays within its bound");
  const before = state.directory;
  const after = directoryOf(view.members);
  for (const [id, index] of before.indexOf) {
    if (after.indexOf.has(id)) continue;
    forget(state, id);
    if (state.table.connected[index] === 1) {
      const reason = "The registry no longer admits it.";
      state.effects.push({ kind: "disconnect", peer: id, code: "SWARM_EXPELLED", reason });
    }
  }
  state.table = carryOver(state.table, before.indexOf, after.indexOf);
  state.directory = after;
  state.self = after.indexOf.get(state.config.self) ?? -1;
  state.subjectsDirty = true;
  state.nextConnectMs = Math.min(state.nextConnectMs, state.startedMs);
}

function forget(state: SwarmState, id: NodeId): void {
  state.coordinates.delete(id);
  state.facts.delete(id);
  state.attestedUntilMs.delete(id);
  state.unattested.delete(id);
  state.suspicions.delete(id);
  state.updates.delete(id);
  state.buckets.delete(id);
  state.loads.delete(id);
  state.reportedSamples.delete(id);
  state.election.doubts.delete(id);
  state.election.reportsAhead.delete(id);
  state.election.renewals.delete(id);
  state.election.successionTold.delete(id);
  for (const [nonce, pending] of state.pending) if (pending.target === id) state.pending.delete(nonce);
  state.leadership?.reports.delete(id);
  state.leadership?.reported.delete(id);
}

function carryOver(
  table: MemberTable,
  before: ReadonlyMap<NodeId, number>,
  after: ReadonlyMap<NodeId, number>,
): MemberTable {
  const next = createTable(after.size);
  const columns = Object.keys(next) as (keyof MemberTable)[];
  for (const [id, index] of after) {
    const old = before.get(id);
    if (old === undefined) continue;
    for (const column of columns) next[column][index] = table[column][old] as number;
  }
  return next;
}

/** Checks who sends and what, then hands a message to its part. */
function receive(state: SwarmState, from: NodeId, raw: unknown): void {
  if (from === state.config.self) return refuseFrom(state, from, "SWARM_IDENTITY_TWICE");
  const index = indexOf(state, from);
  if (index < 0) return refuseFrom(state, from, "SWARM_NOT_MEMBER");
  if (state.table.connected[index] === 0) return refuseFrom(state, from, "SWARM_NOT_ATTESTED");
  if (!admitsMessage(state, from)) return refuseFrom(state, from, "SWARM_FLOOD");
  let message: Message;
  try {
    message = raw instanceof Uint8Array ? decodeMessage(raw) : parseMessage(raw);
  } catch (thrown) {
    return refuseFrom(
      state,
      from,
      thrown instanceof SwarmMessageError ? thrown.code : "SWARM_MESSAGE_MALFORMED",
    );
  }
  const { chainId, contract } = state.config;
  if (message.chainId !== chainId || message.swarm !== swarmTag(contract)) {
    return refuseFrom(state, from, "SWARM_WRONG_CHAIN");
  }
  count(state, `received.${message.kind}`);
  dispatch(state, from, message);
}

/** A token bucket per sender: a flood costs its sender, not this node. */
function admitsMessage(state: SwarmState, from: NodeId): boolean {
  let bucket = state.buckets.get(from);
  if (bucket === undefined) {
    bucket = { tokens: MESSAGE_BURST_MAX, atMs: state.nowMs };
    state.buckets.set(from, bucket);
  }
  const gained = ((state.nowMs - bucket.atMs) * MESSAGES_PER_SECOND_MAX) / 1000;
  bucket.tokens = Math.min(MESSAGE_BURST_MAX, bucket.tokens + gained);
  bucket.atMs = state.nowMs;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

function dispatch(state: SwarmState, from: NodeId, message: Message): void {
  switch (message.kind) {
    case "ping":
      return onPing(state, from, message);
    case "ack":
      if (onAck(state, from, message)) heardLeader(state, from, message.succession);
      return;
    case "ping-for":
      return onPingFor(state, from, message.nonce, message.target);
    case "ack-for":
      return onAckFor(state, message.nonce, message.target, message.heard);
    case "doubt":
      return onDoubt(state, from, message.term, message.standing);
    case "vote":
      return onVote(state, from, message.term, message);
    case "assignment":
      return onAssignment(state, from, message);
    case "withdrawal":
      return onWithdrawal(state, from, message.orderId, message.term);
    case "report":
      return onReport(state, from, message);
    case "measure":
      return onMeasure(state, from, message);
    case "load":
      return onLoad(state, from, message);
    case "load-ack":
      return onLoadAck(state, from, message.nonce);
  }
}

function onMeasure(state: SwarmState, from: NodeId, message: Extract<Message, { kind: "measure" }>): void {
  const { term, targets, load } = message;
  if (from !== state.view.leader || term !== state.view.term) {
    return refuseFrom(state, from, "SWARM_NOT_LEADER");
  }
  const known = targets.filter((target) => indexOf(state, target) >= 0);
  state.asked.splice(0, state.asked.length, ...known);
  if (load) state.loadAsked.splice(0, state.loadAsked.length, ...known);
  // What was reported may have been lost on the way: it is due again.
  for (const target of targets) state.reportedSamples.delete(target);
  state.nextConnectMs = state.nowMs;
  state.nextReportMs = Math.min(
    state.nextReportMs,
    state.nowMs + 4 * state.timing.probeIntervalMs * (targets.length + 1),
  );
}

/** Everything that time brings about, after every input. */
function advance(state: SwarmState): void {
  expireEvidence(state);
  expireProbes(state);
  expireSuspicions(state);
  if (state.urgent.size > 0) probeUrgent(state);
  runElection(state);
  probe(state);
  probeLoad(state);
  connectPeers(state);
  reportToLeader(state);
  lead(state);
}

function lead(state: SwarmState): void {
  const { leadership, election } = state;
  if (leadership === undefined || state.nowMs < leadership.dutyDueMs) return;
  const listening = election.takeoverUntilMs !== Infinity && state.nowMs < election.takeoverUntilMs;
  if (listening && everyoneReported(state, leadership)) election.takeoverUntilMs = state.nowMs;
  if (!mayAct(state)) return;
  leadership.dutyDueMs = state.nowMs + DUTY_EVERY_MS;
  rankSuccession(state);
  adoptReports(state, leadership);
  exploreLinks(state, leadership);
  pursueGoals(state, leadership);
  placeOrders(state, leadership);
}

/** When time alone lets the leader act. One that may not, though all is due, waits for somebody's word: a lease, a block. */
function nextDutyMs(state: SwarmState): number {
  const { leadership, election } = state;
  if (leadership === undefined) return Infinity;
  const dueMs = Math.max(leadership.dutyDueMs, election.takeoverUntilMs);
  return dueMs > state.nowMs ? dueMs : Infinity;
}

/**
 * When the node must be given a `tick` at the latest, on its own clock. It may be in the past: then at once.
 */
export function nextWakeMs(state: SwarmState): number {
  const { leadership } = state;
  return Math.min(
    state.nextProbeMs,
    state.nextConnectMs,
    state.nextReportMs,
    state.loadAsked.length > 0 || state.load !== undefined ? state.nextLoadMs : Infinity,
    nextPendingMs(state),
    nextSuspicionMs(state),
    state.evidenceDueMs,
    nextElectionMs(state),
    nextDutyMs(state),
    leadership === undefined ? Infinity : nextPlacementMs(state, leadership),
  );
}
