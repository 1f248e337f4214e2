import type { NodeId } from "@cloister/core";
import {
  CONNECT_EAGER_EVERY_MS,
  CONNECT_EAGER_MS,
  CONNECT_EVERY_MS,
  GONE_PROBE_EVERY,
  INDIRECT_PROBES,
  MESH_MEMBERS_MAX,
  PROBES_OVERDUE_MAX,
  PROBES_PENDING_MAX,
  RELAYS_PENDING_MAX,
  RINGS,
  RTT_MS_MAX,
  SUCCESSION_EVERY_MS,
  TICK_LATE_MS,
} from "./bounds.ts";
import { moveCoordinate } from "./coordinate.ts";
import { ringNeighbors } from "./directory.ts";
import { excuseLeader, noteLeaderAnswered, noteLeaderAsked } from "./leader-watch.ts";
import {
  applyUpdates,
  heardMember,
  lowerSelfDoubt,
  raiseSelfDoubt,
  suspect,
  takeUpdates,
} from "./membership.ts";
import type { Message } from "./messages.ts";
import { nextBelow, nextFraction, nextWord } from "./random.ts";
import {
  count,
  idAt,
  indexOf,
  isConnected,
  isWatcher,
  refuseFrom,
  send,
  STATUS,
  statusOf,
  type Pending,
  type SwarmState,
} from "./state.ts";

type Ping = Extract<Message, { kind: "ping" }>;
type Ack = Extract<Message, { kind: "ack" }>;

/**
 * Sends one probe per interval, whatever the size of the swarm. Members watch one another on
 * pseudo-random rings; a voter spends three probes out of four on the leader (election.ts).
 */
export function probe(state: SwarmState): void {
  const { nowMs, timing } = state;
  if (nowMs < state.nextProbeMs) return;
  state.nextProbeMs = Math.max(
    state.nextProbeMs + timing.probeIntervalMs,
    nowMs + timing.probeIntervalMs / 2,
  );
  if (state.subjectsDirty) refreshSubjects(state);
  state.subjectCursor++;
  const gone = state.subjectCursor % GONE_PROBE_EVERY === 1 ? someoneGone(state) : undefined;
  const target = gone ?? leaderInTurn(state) ?? nextAsked(state) ?? nextSubject(state);
  if (target !== undefined) probeMember(state, target);
}

/** Probes at once whoever was just suspected. */
export function probeUrgent(state: SwarmState): void {
  for (const id of state.urgent) probeMember(state, id);
  state.urgent.clear();
}

/** A tick that comes late says that this node is starved: it must not blame its peers. Lifeguard §IV-A. */
export function noticeLateness(state: SwarmState): void {
  const lateMs = state.nowMs - state.nextProbeMs;
  if (lateMs > 0) excuseLeader(state, lateMs);
  if (lateMs <= TICK_LATE_MS) return;
  raiseSelfDoubt(state, "late");
  state.election.heardLeaderMs = state.nowMs;
  state.election.leaderRetries = 0;
  state.election.leaderMissed = 0;
  state.nextProbeMs = state.nowMs;
  for (const [nonce, pending] of state.pending) {
    if (pending.dueMs > state.nowMs) continue;
    const dueMs = state.nowMs + state.timing.probeSlackMs;
    state.pending.set(nonce, { ...pending, dueMs });
  }
}

function refreshSubjects(state: SwarmState): void {
  state.subjectsDirty = false;
  if (state.self < 0) {
    state.subjects = [];
    return;
  }
  const { status } = state.table;
  const gone = (member: number): boolean => status[member] === STATUS.dead || status[member] === STATUS.left;
  const subjects = ringNeighbors(state.directory, state.self, 1, gone);
  for (let i = subjects.length - 1; i > 0; i--) {
    const j = nextBelow(state.random, i + 1);
    [subjects[i], subjects[j]] = [subjects[j] as number, subjects[i] as number];
  }
  state.subjects = subjects;
}

/** A voter keeps an eye on the leader, at no extra cost: three slots out of four are the leader's. */
function leaderInTurn(state: SwarmState): NodeId | undefined {
  const { leader } = state.election.regime;
  return state.subjectCursor % 4 !== 1 && leader !== state.config.self && isWatcher(state)
    ? leader
    : undefined;
}

function nextSubject(state: SwarmState): NodeId | undefined {
  const { subjects } = state;
  state.subjectTurn = (state.subjectTurn + 1) % Math.max(1, subjects.length);
  const index = subjects[state.subjectTurn];
  return index === undefined ? undefined : idAt(state, index);
}

/** A member whose link the leader asked about. */
function nextAsked(state: SwarmState): NodeId | undefined {
  return state.subjectCursor % 4 === 1 ? state.asked.shift() : undefined;
}

function someoneGone(state: SwarmState): NodeId | undefined {
  const size = state.directory.members.length;
  const start = nextBelow(state.random, Math.max(1, size));
  for (let hop = 0; hop < Math.min(size, 64); hop++) {
    const index = (start + hop) % size;
    if (state.table.status[index] === STATUS.dead && index !== state.self) return idAt(state, index);
  }
  return undefined;
}

/** Probes one member; without a channel to it the answer is known to be missing. */
export function probeMember(state: SwarmState, target: NodeId, relay?: Pending["relay"]): void {
  if (target === state.config.self || state.pending.size >= PROBES_PENDING_MAX) return;
  if (!isConnected(state, target)) {
    if (relay === undefined && statusOf(state, target) === STATUS.alive) probeIndirectly(state, target);
    return;
  }
  const nonce = nextWord(state.random);
  const dueMs = state.nowMs + patienceMs(state, target);
  const pending = { target, sentMs: state.nowMs, dueMs, stage: "direct" } as const;
  state.pending.set(nonce, relay === undefined ? pending : { ...pending, relay });
  if (target === state.election.regime.leader) noteLeaderAsked(state);
  sendPing(state, target, nonce);
}

function sendPing(state: SwarmState, target: NodeId, nonce: number): void {
  const { election } = state;
  const renews = isWatcher(state) && !election.doubting && election.regime.leader === target;
  send(state, target, {
    kind: "ping",
    nonce,
    incarnation: state.incarnation,
    term: election.regime.term,
    lease: renews,
    coordinate: state.coordinate,
    updates: takeUpdates(state, target),
  });
}

/** How long an answer may take: the usual round trip, four deviations and a slack (RFC 6298 §2.3). */
export function patienceMs(state: SwarmState, target: NodeId): number {
  const index = indexOf(state, target);
  const { table, timing } = state;
  const stretch = 1 + state.selfDoubt / 2;
  if (index < 0 || table.probes[index] === 0) return 500 * stretch;
  const usual = (table.rttMs[index] as number) + 4 * (table.deviationMs[index] as number);
  return Math.min(RTT_MS_MAX, usual + timing.probeSlackMs * stretch);
}

/** Asks others to probe a silent member; they may hear what this node cannot. */
function probeIndirectly(state: SwarmState, target: NodeId): void {
  for (const pending of state.pending.values()) {
    if (pending.target === target && pending.stage === "indirect") return;
  }
  const nonce = nextWord(state.random);
  let asked = 0;
  const size = state.directory.members.length;
  const start = nextBelow(state.random, Math.max(1, size));
  for (let hop = 0; hop < size && asked < INDIRECT_PROBES; hop++) {
    const index = (start + hop) % size;
    const helper = idAt(state, index);
    if (index === state.self || helper === target || state.table.status[index] !== STATUS.alive) continue;
    if (send(state, helper, { kind: "ping-for", nonce, target })) asked++;
  }
  const dueMs = state.nowMs + 3 * patienceMs(state, target);
  state.pending.set(nonce, {
    target,
    sentMs: state.nowMs,
    dueMs: asked > 0 ? dueMs : state.nowMs,
    stage: "indirect",
    helpers: asked,
  });
}

/** Goes on with probes whose answer did not come in time. */
export function expireProbes(state: SwarmState): void {
  for (const [nonce, pending] of state.pending) {
    if (pending.dueMs > state.nowMs) continue;
    state.pending.delete(nonce);
    if (pending.relay !== undefined) {
      const { asker, nonce: theirs } = pending.relay;
      send(state, asker, { kind: "ack-for", nonce: theirs, target: pending.target, heard: false });
    } else if (pending.stage === "direct") {
      count(state, "probes.missed");
      noteOverdue(state, nonce, pending);
      if (pending.target === state.election.regime.leader) state.election.leaderMissed++;
      probeIndirectly(state, pending.target);
    } else {
      suspect(state, pending.target);
    }
  }
}

function noteOverdue(state: SwarmState, nonce: number, { target, sentMs }: Pending): void {
  for (const oldest of state.overdue.keys()) {
    if (state.overdue.size < PROBES_OVERDUE_MAX) break;
    state.overdue.delete(oldest);
  }
  state.overdue.set(nonce, { target, sentMs });
}

export function nextPendingMs(state: SwarmState): number {
  let due = Infinity;
  for (const pending of state.pending.values()) if (pending.dueMs < due) due = pending.dueMs;
  return due;
}

/** Answers a probe. The answer names the term this node lives in and, to voters, the succession. */
export function onPing(state: SwarmState, from: NodeId, ping: Ping): void {
  const index = indexOf(state, from);
  heardMember(state, index, ping.incarnation);
  applyUpdates(state, from, ping.updates);
  state.coordinates.set(from, ping.coordinate);
  const { election } = state;
  if (ping.lease && state.directory.isVoter(from)) {
    if (ping.term === election.regime.term) election.renewals.set(from, state.nowMs);
    else if (ping.term > election.regime.term) election.renewals.delete(from);
  }
  const leads = election.regime.leader === state.config.self && election.certificate !== undefined;
  send(state, from, {
    kind: "ack",
    nonce: ping.nonce,
    incarnation: state.incarnation,
    term: election.regime.term,
    coordinate: state.coordinate,
    updates: takeUpdates(state, from),
    ...(leads ? { succession: dueSuccession(state, from) } : {}),
  });
}

/** The line of succession, to a voter that was not told lately; else nothing but that this node leads. */
function dueSuccession(state: SwarmState, to: NodeId): readonly NodeId[] {
  const { successionTold, succession } = state.election;
  const told = successionTold.get(to);
  const known = told?.succession === succession && state.nowMs < told.atMs + SUCCESSION_EVERY_MS;
  if (known || !state.committee.includes(to)) return [];
  successionTold.set(to, { atMs: state.nowMs, succession });
  return succession;
}

/** Takes an answer in. True when it answers a probe of this node's own. */
export function onAck(state: SwarmState, from: NodeId, ack: Ack): boolean {
  const pending = state.pending.get(ack.nonce);
  if (pending === undefined || pending.target !== from) return onLateAck(state, from, ack);
  state.pending.delete(ack.nonce);
  if (from === state.election.regime.leader) noteLeaderAnswered(state, pending.sentMs);
  const index = indexOf(state, from);
  state.coordinates.set(from, ack.coordinate);
  if (measure(state, index, state.nowMs - pending.sentMs)) {
    const rtt = state.table.rttMs[index] as number;
    state.coordinate = moveCoordinate(state.coordinate, ack.coordinate, rtt, nextFraction(state.random));
  }
  heardMember(state, index, ack.incarnation);
  applyUpdates(state, from, ack.updates);
  if (pending.relay !== undefined) {
    const { asker, nonce } = pending.relay;
    send(state, asker, { kind: "ack-for", nonce, target: from, heard: true });
  } else if (state.subjectCursor % 64 === 0) {
    lowerSelfDoubt(state);
  }
  return true;
}

/**
 * An answer to a probe that was given up. It counts like any other: a link that became slower would else look
 * dead for ever, since patience follows only what was measured.
 */
function onLateAck(state: SwarmState, from: NodeId, ack: Ack): boolean {
  const index = indexOf(state, from);
  heardMember(state, index, ack.incarnation);
  const overdue = state.overdue.get(ack.nonce);
  if (overdue?.target !== from) {
    refuseFrom(state, from, "SWARM_ANSWER_LATE");
    return false;
  }
  count(state, "acks.late");
  if (from === state.election.regime.leader) noteLeaderAnswered(state, overdue.sentMs);
  state.overdue.delete(ack.nonce);
  measure(state, index, state.nowMs - overdue.sentMs);
  applyUpdates(state, from, ack.updates);
  return true;
}

/** Smooths one measured round trip (RFC 6298 §2). False when it is none: this node's clock was set in between. */
function measure(state: SwarmState, index: number, rttMs: number): boolean {
  const { table } = state;
  if (rttMs > RTT_MS_MAX) {
    count(state, "probes.not-measured");
    return false;
  }
  if (table.probes[index] === 0) {
    table.rttMs[index] = rttMs;
    table.deviationMs[index] = rttMs / 2;
    // The first word about a link is news to the leader.
    state.nextReportMs = Math.min(state.nextReportMs, state.nowMs + 2 * state.timing.probeIntervalMs);
  } else {
    const rtt = table.rttMs[index] as number;
    table.deviationMs[index] = 0.75 * (table.deviationMs[index] as number) + 0.25 * Math.abs(rtt - rttMs);
    // Probes can be late, never early: what is far shorter than usual is the truth, and followed soon.
    const gain = rttMs < rtt / 2 ? 0.5 : 0.125;
    table.rttMs[index] = (1 - gain) * rtt + gain * rttMs;
  }
  table.probes[index] = (table.probes[index] as number) + 1;
  return true;
}

/** Probes somebody for a peer that cannot reach it. */
export function onPingFor(state: SwarmState, from: NodeId, nonce: number, target: NodeId): void {
  let relayed = 0;
  for (const pending of state.pending.values()) if (pending.relay !== undefined) relayed++;
  if (relayed >= RELAYS_PENDING_MAX) {
    refuseFrom(state, from, "SWARM_RELAYS_BUSY");
    return;
  }
  probeMember(state, target, { asker: from, nonce });
}

/** A helper's answer: hearing it ends the doubt, when no helper hears it, it is a suspect. */
export function onAckFor(state: SwarmState, nonce: number, target: NodeId, heard: boolean): void {
  const pending = state.pending.get(nonce);
  if (pending === undefined || pending.target !== target || pending.stage !== "indirect") return;
  const helpers = (pending.helpers ?? 0) - 1;
  if (heard || helpers <= 0) state.pending.delete(nonce);
  else state.pending.set(nonce, { ...pending, helpers });
  if (heard) return;
  count(state, "probes.nacked");
  if (helpers <= 0) suspect(state, target);
}

/** Peers worth a channel: everyone in a small swarm, else ring neighbors, the committee and the leader. */
function wantedPeers(state: SwarmState): Set<NodeId> {
  const { directory, self, election } = state;
  const wanted = new Set<NodeId>();
  if (directory.members.length <= MESH_MEMBERS_MAX) {
    for (const member of directory.members) wanted.add(member.id);
  } else if (self >= 0) {
    const { status } = state.table;
    const gone = (member: number): boolean => status[member] === STATUS.left;
    for (const member of state.subjects) wanted.add(idAt(state, member));
    for (const member of ringNeighbors(directory, self, 1, gone)) wanted.add(idAt(state, member));
    if (directory.isVoter(state.config.self)) for (const voter of state.committee) wanted.add(voter);
    if (election.regime.leader !== undefined) wanted.add(election.regime.leader);
    for (const target of state.asked) wanted.add(target);
  }
  wanted.delete(state.config.self);
  return wanted;
}

/**
 * Asks for the channels that are missing. Of two nodes the one with the lower id dials first;
 * the other joins in if the channel is still missing a while later.
 */
export function connectPeers(state: SwarmState): void {
  if (state.nowMs < state.nextConnectMs) return;
  if (state.subjectsDirty) refreshSubjects(state);
  const first = state.nextConnectMs <= state.startedMs;
  // Nodes of one swarm often start together: what is not there yet will be in a moment.
  const soon = state.nowMs - state.startedMs < CONNECT_EAGER_MS;
  const everyMs = soon ? CONNECT_EAGER_EVERY_MS : CONNECT_EVERY_MS;
  state.nextConnectMs = state.nowMs + everyMs + nextBelow(state.random, everyMs / 5);
  const direct = state.directory.members.length > RINGS + 1;
  for (const peer of wantedPeers(state)) {
    if (isConnected(state, peer) || statusOf(state, peer) === STATUS.left) continue;
    if (!direct && first && state.config.self > peer) continue;
    state.effects.push({ kind: "connect", peer });
  }
}
