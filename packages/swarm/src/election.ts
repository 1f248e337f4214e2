import type { NodeId } from "@cloister/core";
import {
  ATTEMPT_MS,
  COMMITTEE_MAX,
  DOUBT_FRESH_MS,
  DOUBT_REPEAT_MS,
  LATENESS_START_MS,
  LEADER_RETRIES,
  LEADER_RETRY_MS,
  PUBLISH_REPEAT_MS,
  READY_WITHIN_MS,
  SUCCESSION_MAX,
  TERM_AHEAD_MAX,
  VOTE_FRESH_MS,
  VOTE_TERMS_MAX,
} from "./bounds.ts";
import { committeeOf, drawVoters, quorumOf } from "./directory.ts";
import {
  forgiveLeader,
  leaderOverdueMs,
  nextExtraProbeMs,
  nextSilenceMs,
  silenceNotedMs,
  silenceProvenMs,
} from "./leader-watch.ts";
import { isUsable } from "./membership.ts";
import { probeMember } from "./probing.ts";
import { nextFraction } from "./random.ts";
import { reportAhead, takeReportsAhead } from "./reporting.ts";
import {
  count,
  indexOf,
  isConnected,
  isEligible,
  isLeader,
  isSampled,
  isWatcher,
  log,
  persist,
  refuseFrom,
  send,
  startLeadership,
  STATUS,
  statusOf,
  type Election,
  type SwarmState,
  type Vote,
} from "./state.ts";
import type { DurableRecord, TermCertificate } from "./types.ts";

/**
 * Elections. A voter that lost the leader says so (`doubt`, the pre-vote); once a quorum doubts the
 * same term, each voter pushes its vote for the term's ranked successor, and the successor with a
 * quorum of votes publishes the certificate. It leads when the chain says so. spec/swarm.md §4
 */

export function createElection(record: DurableRecord | undefined, nowMs: number): Election {
  return {
    votedTerm: record?.votedTerm ?? 0,
    votedFor: record?.votedFor,
    abstainUntilMs: 0,
    regime: { term: 0, leader: undefined, confirmed: false, sinceMs: nowMs },
    heardLeaderMs: nowMs,
    leaderReady: false,
    leaderProbeDueMs: 0,
    leaderMet: false,
    leaderProbedMs: nowMs,
    leaderAskedMs: Infinity,
    leaderLateMs: LATENESS_START_MS,
    leaderLateAtMs: nowMs,
    leaderMissed: 0,
    leaderRetries: 0,
    deposed: undefined,
    reportsEarly: false,
    reportsAhead: new Map(),
    toldAheadMs: -Infinity,
    doubting: false,
    nextDoubtMs: 0,
    doubts: new Map(),
    succession: [],
    successionTold: new Map(),
    votes: new Map(),
    attemptUntilMs: 0,
    certificate: undefined,
    nextPublishMs: Infinity,
    renewals: new Map(),
    takeoverUntilMs: Infinity,
    ledSinceBlock: Infinity,
  };
}

/** Takes a new view of the chain in: the chain's term decides, forwards and, after a reorganisation, back. */
export function followChain(state: SwarmState): void {
  const { election, view } = state;
  state.drawn = isSampled(state) ? drawVoters(state.directory, view.term) : [];
  refreshCommittee(state);
  for (const term of election.votes.keys()) if (term <= view.term) election.votes.delete(term);
  const { regime } = election;
  if (view.term > regime.term || (view.term === regime.term && view.leader !== regime.leader)) {
    enterRegime(state, view.term, view.leader, true);
  } else if (view.term === regime.term && !regime.confirmed) {
    election.regime = { ...regime, confirmed: true, sinceMs: state.nowMs };
    if (!election.leaderReady) leaderReady(state);
  } else if (view.term < regime.term && regime.confirmed) {
    count(state, "terms.rolled-back");
    election.regime = { ...regime, confirmed: false, sinceMs: state.nowMs };
    if (election.certificate?.term === regime.term) election.nextPublishMs = state.nowMs;
  }
  settleOwnTerm(state);
}

/** Draws the committee anew: a watcher that is gone is followed by the next one drawn. */
function refreshCommittee(state: SwarmState): void {
  state.committeeDirty = false;
  state.committee = committeeOf(state.directory.voters, state.drawn, (id) => {
    const status = statusOf(state, id);
    return id !== state.config.self && (status === STATUS.dead || status === STATUS.left);
  });
}

/** More than half of the watchers there should be: a side that lost most of them is none. */
function watchQuorum(state: SwarmState): number {
  return quorumOf(Math.min(COMMITTEE_MAX, state.directory.voters.length));
}

/** This node's certificate reached the chain, or was overtaken there. */
function settleOwnTerm(state: SwarmState): void {
  const { election, view } = state;
  const own = election.certificate;
  if (own === undefined) return;
  if (view.term < own.term) {
    if (stillSuffices(state, own)) return;
    // The voters changed: the contract would refuse it. Without it this node doubts its own term.
    election.certificate = undefined;
    election.nextPublishMs = Infinity;
    count(state, "terms.invalidated");
    return;
  }
  election.nextPublishMs = Infinity;
  if (view.term > own.term) {
    election.certificate = undefined;
    election.takeoverUntilMs = Infinity;
  } else if (election.takeoverUntilMs === Infinity) {
    election.takeoverUntilMs = state.nowMs + state.timing.takeoverMs;
    election.ledSinceBlock = view.blockNumber;
    count(state, "terms.led");
    log(state, "info", "term-confirmed", { term: own.term });
  }
}

/** The leader can take reports from now on: it gets everything. */
function leaderReady(state: SwarmState): void {
  state.election.leaderReady = true;
  state.reportedTo = undefined;
  state.nextReportMs = Math.min(state.nextReportMs, state.nowMs);
}

function stillSuffices(state: SwarmState, certificate: TermCertificate): boolean {
  const { voters, isVoter } = state.directory;
  return certificate.votes.filter(({ voter }) => isVoter(voter)).length >= quorumOf(voters.length);
}

function enterRegime(state: SwarmState, term: number, leader: NodeId | undefined, confirmed: boolean): void {
  const { election, nowMs } = state;
  if (leader !== election.regime.leader) election.deposed = election.regime.leader;
  election.regime = { term, leader, confirmed, sinceMs: nowMs };
  election.heardLeaderMs = nowMs;
  election.leaderMissed = 0;
  election.leaderRetries = 0;
  election.leaderProbeDueMs = nowMs;
  election.leaderMet = leader !== undefined && isConnected(state, leader);
  forgiveLeader(state);
  election.doubting = false;
  election.renewals.clear();
  election.successionTold.clear();
  for (const [voter, doubt] of election.doubts) if (doubt.term < term) election.doubts.delete(voter);
  election.leaderReady = false;
  // Whom the chain names holds its certificate; one just elected may still be counting votes.
  if (confirmed || leader === state.config.self) leaderReady(state);
  state.nextConnectMs = Math.min(state.nextConnectMs, nowMs);
  if (leader === state.config.self) rankSuccession(state);
  else if (leader !== undefined) greet(state, leader);
}

/** A new leader needs its voters' word and the members' reports before it acts: it gets them unasked. */
function greet(state: SwarmState, leader: NodeId): void {
  if (isConnected(state, leader)) state.urgent.add(leader);
  state.election.reportsEarly = true;
  state.nextReportMs = Math.min(state.nextReportMs, state.nowMs);
}

/** Everything about elections that time alone brings about. */
export function runElection(state: SwarmState): void {
  const { election, nowMs } = state;
  if (election.certificate !== undefined && nowMs >= election.nextPublishMs) {
    election.nextPublishMs = nowMs + PUBLISH_REPEAT_MS;
    state.effects.push({ kind: "publish-term", certificate: election.certificate });
  }
  if (state.committeeDirty) refreshCommittee(state);
  returnToChain(state);
  const leads = election.regime.leader === state.config.self;
  if (!state.viewSeen) return;
  if (!(isWatcher(state) || leads)) {
    // Others watch for it now: what it doubted is theirs to judge.
    if (election.doubting) setDoubting(state, false, "relieved");
    return;
  }
  askForVotes(state);
  remindElected(state);
  watchLeader(state);
  const lost = lossOf(state);
  if (lost === undefined) {
    if (election.doubting) setDoubting(state, false, "recovered");
    else prepareVote(state);
    return;
  }
  if (!election.doubting) setDoubting(state, true, lost);
  else if (nowMs >= election.nextDoubtMs) tellDoubt(state);
  if (isWatcher(state)) considerVote(state, lost);
}

/**
 * An elected leader that did not reach the chain in time is given up, and the chain's own leader is
 * followed again: it may well be alive, and voters that never saw the quorum follow it still.
 */
function returnToChain(state: SwarmState): void {
  const { regime } = state.election;
  if (regime.confirmed || regime.term <= state.view.term) return;
  if (state.nowMs - regime.sinceMs <= confirmWithinMs(state)) return;
  count(state, "terms.unconfirmed");
  // The votes for it are void: whoever cast them follows another by now, and they would only bring it back.
  state.election.votes.delete(regime.term);
  enterRegime(state, state.view.term, state.view.leader, state.view.term > 0);
}

/**
 * How long an election may be without its block. Whoever was elected and does not say so for some round trips
 * lacks a vote that others hold, be it that its voter forgot an earlier one, and will not get it.
 */
function confirmWithinMs(state: SwarmState): number {
  const { confirmMs } = state.timing;
  if (state.election.leaderReady || isSampled(state)) return confirmMs;
  return Math.min(confirmMs, READY_WITHIN_MS + 4 * slowestRttMs(state));
}

/** Most probe slots are the leader's (probing.ts); one that goes unanswered makes the probes dense. */
function watchLeader(state: SwarmState): void {
  const { election, nowMs, timing } = state;
  const { leader } = election.regime;
  if (leader === undefined || leader === state.config.self) return;
  if (nowMs >= nextExtraProbeMs(state) && isConnected(state, leader)) {
    election.leaderProbedMs = nowMs;
    probeMember(state, leader);
  }
  if (election.leaderMissed === 0) election.leaderRetries = 0;
  else if (nowMs >= election.leaderProbeDueMs) {
    election.leaderRetries++;
    const dense = election.leaderRetries <= LEADER_RETRIES;
    election.leaderProbeDueMs = nowMs + (dense ? LEADER_RETRY_MS : 2 * timing.probeIntervalMs);
    probeMember(state, leader);
  }
}

/** Why this voter has no leader; undefined while it has one. */
function lossOf(state: SwarmState): string | undefined {
  const { election, nowMs, timing, config } = state;
  const { regime } = election;
  if (regime.leader === undefined) {
    return nowMs >= state.startedMs + timing.startupMs ? "none-yet" : undefined;
  }
  if (!isEligible(state, regime.leader)) return "leader-evicted";
  if (regime.leader === config.self) {
    if (state.draining) return "draining";
    if (awaitsVotes(state)) return nowMs > regime.sinceMs + timing.leaseMs ? "votes-missing" : undefined;
    if (election.certificate?.term !== regime.term) return "own-term-forgotten";
    return leaseLost(state) ? "lease-lost" : undefined;
  }
  if (statusOf(state, regime.leader) === STATUS.left) return "leader-left";
  // A leader repeats its resignation while it stands; one that was overtaken on the way is void.
  const resigned = election.doubts.get(regime.leader);
  if (resigned?.term === regime.term && nowMs - resigned.atMs <= DOUBT_FRESH_MS) return "leader-resigned";
  return leaderSilent(state, regime.leader) ? "leader-silent" : undefined;
}

/**
 * A voter speaks of a silence as soon as it is more than usual, for its word and its vote take a trip to arrive; the
 * successor, on whose vote the election hangs, waits until the silence is more than a pause.
 */
function leaderSilent(state: SwarmState, leader: NodeId): boolean {
  const { election, nowMs, timing } = state;
  if (!isConnected(state, leader)) {
    return nowMs - election.heardLeaderMs > timing.probeSlackMs + newRegimeGrace(state);
  }
  const overdueMs = leaderOverdueMs(state);
  if (overdueMs <= silenceNotedMs(state)) return false;
  return overdueMs > silenceProvenMs(state) || !(isSampled(state) || isHeir(state));
}

/** Tells whether the next term falls to this node: the one it promised its vote in, if there is one. */
function isHeir(state: SwarmState): boolean {
  const { regime, votedTerm, votedFor } = state.election;
  const heir = votedTerm > regime.term ? votedFor : termCandidate(state, regime.term + 1);
  return heir === state.config.self;
}

/**
 * A leader that a quorum has not followed for some leases makes way: those who cannot hear it are too
 * few to replace it, and those who can are too few to let it act.
 */
function leaseLost(state: SwarmState): boolean {
  const { leaseMs } = state.timing;
  const heldMs = Math.max(leaseUntilMs(state), state.election.regime.sinceMs + leaseMs);
  return state.election.regime.confirmed && state.nowMs > heldMs + 2 * leaseMs;
}

/** A leader just elected may have no channel to this node yet. */
function newRegimeGrace(state: SwarmState): number {
  const { regime, leaderMet } = state.election;
  return !leaderMet && state.nowMs - regime.sinceMs < 2_000 ? 1_000 : 0;
}

/** An answer of the leader ends the doubt. */
export function heardLeader(state: SwarmState, from: NodeId, succession?: readonly NodeId[]): void {
  const { election } = state;
  if (from !== election.regime.leader) return;
  election.heardLeaderMs = state.nowMs;
  election.leaderMissed = 0;
  election.leaderRetries = 0;
  if (succession === undefined) return;
  if (!election.leaderReady) leaderReady(state);
  if (succession.length > 0) election.succession = succession.slice(0, SUCCESSION_MAX);
}

function setDoubting(state: SwarmState, doubting: boolean, why: string): void {
  const { election } = state;
  election.doubting = doubting;
  if (!doubting) withdrawVotes(state, state.config.self);
  else if (isPromised(state)) {
    // What was promised in an earlier doubt is still good for this one, and gets as long as a new vote would.
    election.attemptUntilMs = state.nowMs + attemptMs(state);
    tellWorkAhead(state);
  }
  count(state, doubting ? `doubts.${why}` : "doubts.ended");
  if (doubting) log(state, "info", "leader-doubted", { term: election.regime.term, why });
  tellDoubt(state);
}

/** Tells whether this voter's promise for the next term can still come true. */
function isPromised(state: SwarmState): boolean {
  const { votedTerm, votedFor, regime } = state.election;
  return votedTerm === regime.term + 1 && votedFor !== undefined && isUsable(state, votedFor);
}

/** What is at work here goes with the vote: the candidate need not ask for it once it leads. */
function tellWorkAhead(state: SwarmState): void {
  const { votedTerm, votedFor } = state.election;
  if (votedFor === undefined || isSampled(state)) return;
  state.election.toldAheadMs = state.nowMs;
  reportAhead(state, votedFor, votedTerm);
}

/** Votes of a voter that found the leader again do not add up with later ones of others. */
function withdrawVotes(state: SwarmState, voter: NodeId): void {
  state.election.reportsAhead.delete(voter);
  for (const votes of state.election.votes.values()) {
    const vote = votes.get(voter);
    if (vote !== undefined) vote.atMs = -Infinity;
  }
}

function tellDoubt(state: SwarmState): void {
  const { election, config } = state;
  const { doubting, regime, votedTerm } = election;
  election.nextDoubtMs = state.nowMs + DOUBT_REPEAT_MS;
  for (const voter of state.committee) {
    if (voter === config.self) continue;
    send(state, voter, { kind: "doubt", term: regime.term, standing: doubting });
    if (doubting) tellVote(state, voter);
  }
  // Last, for it may end the election: whoever is to follow must have this vote.
  if (doubting) refreshVote(state, config.self, votedTerm);
}

/** Tells one voter this node's own vote again: it may have been away, or the first one lost. */
export function tellVote(state: SwarmState, to: NodeId): void {
  const { votedTerm, votedFor, votes } = state.election;
  const own = votes.get(votedTerm)?.get(state.config.self);
  if (own === undefined || votedFor === undefined || votedTerm <= state.view.term) return;
  send(state, to, { kind: "vote", term: votedTerm, candidate: votedFor, signature: own.signature });
}

/** Takes another voter's doubt in. */
export function onDoubt(state: SwarmState, from: NodeId, term: number, standing: boolean): void {
  const { election } = state;
  if (!state.directory.isVoter(from) && election.regime.leader !== from) {
    return refuseFrom(state, from, "SWARM_NOT_A_VOTER");
  }
  if (term > state.view.term + TERM_AHEAD_MAX) return refuseFrom(state, from, "SWARM_TERM_AHEAD");
  if (standing) {
    const { leader } = election.regime;
    // Asked at once, the leader can settle it for this node too.
    if (!election.doubts.has(from) && leader !== undefined && isConnected(state, leader))
      state.urgent.add(leader);
    election.doubts.set(from, { term, atMs: state.nowMs });
  } else {
    election.doubts.delete(from);
    withdrawVotes(state, from);
  }
  if (term >= election.regime.term || !standing) return;
  // It missed the election that this node saw end: this node's vote is a part of what it lacks.
  count(state, "doubts.stale");
  tellVote(state, from);
}

function quorumDoubts(state: SwarmState): boolean {
  const { election, nowMs, config } = state;
  let doubters = 1;
  for (const voter of state.committee) {
    const doubt = election.doubts.get(voter);
    if (voter === config.self || doubt === undefined) continue;
    // Voters may differ in which unconfirmed term they know; all that doubt the chain's or a later one count.
    if (doubt.term >= state.view.term && nowMs - doubt.atMs <= DOUBT_FRESH_MS) doubters++;
  }
  return doubters >= watchQuorum(state);
}

/**
 * Votes, when a quorum doubts and this node may still vote in the term that is next. A voter whose leader fell
 * silent promises that term with its doubt already: it saves a trip, and counts only while the doubt stands.
 */
function considerVote(state: SwarmState, lost: string): void {
  const { election, nowMs } = state;
  if (nowMs < election.abstainUntilMs) return;
  const { regime, votedTerm } = election;
  const next = regime.confirmed && votedTerm <= regime.term && !isSampled(state);
  const promises = next && lost === "leader-silent";
  // A doubter that cannot hear all who doubt joins those that vote.
  const term = promises || quorumDoubts(state) ? nextTerm(state) : joinableTerm(state);
  if (term === undefined) return;
  const candidate = termCandidate(state, term);
  if (candidate !== undefined) castVote(state, term, candidate);
}

/**
 * The term to vote in: the highest one that others already vote in, else the first above the regime;
 * a further one only when the last attempt ran out without a quorum.
 */
function nextTerm(state: SwarmState): number | undefined {
  const { election, nowMs } = state;
  const joinable = joinableTerm(state);
  if (joinable !== undefined) return joinable;
  if (election.votedTerm <= election.regime.term) return election.regime.term + 1;
  if (nowMs < election.attemptUntilMs) return undefined;
  return election.votedTerm + 1;
}

/** The highest term that others vote in, if this node may still vote there. */
function joinableTerm(state: SwarmState): number | undefined {
  const { election } = state;
  let highest = 0;
  for (const term of election.votes.keys()) highest = Math.max(highest, term);
  return highest > election.votedTerm && highest > election.regime.term ? highest : undefined;
}

/** Whom the term falls to: whoever others vote for there, else the succession counted on by failed terms. */
function termCandidate(state: SwarmState, term: number): NodeId | undefined {
  const { election } = state;
  for (const vote of election.votes.get(term)?.values() ?? []) {
    if (isUsable(state, vote.candidate)) return vote.candidate;
  }
  // Watchers that took others' places were told of no succession: every second attempt does without it.
  const told = !isSampled(state) || (term - state.view.term) % 2 === 1;
  const line = successionLine(state, told ? election.succession : []);
  return line[(term - election.regime.term - 1) % Math.max(1, line.length)];
}

/** Usable voters, best placed first; whoever is being replaced comes last. */
function successionLine(state: SwarmState, succession: readonly NodeId[]): NodeId[] {
  const { election, committee } = state;
  const ranked = succession.filter((id) => committee.includes(id));
  const rest = committee.filter((id) => !ranked.includes(id));
  const line = [...ranked, ...rest].filter((id) => isUsable(state, id) && id !== election.regime.leader);
  const { leader } = election.regime;
  const again = leader !== undefined && committee.includes(leader) && isUsable(state, leader);
  return again ? [...line, leader] : line;
}

/**
 * How many things rest on a block that this node has not seen: an election, and assignments that came before
 * their term did. Whoever looks at the chain when this grows loses no time.
 */
export function awaitsChain(state: SwarmState): number {
  const { regime } = state.election;
  return (!regime.confirmed && regime.term > state.view.term ? 1 : 0) + state.early.size;
}

/** Promises the term to one candidate. The promise is durable before anyone hears of it. */
function promise(state: SwarmState, term: number, candidate: NodeId): Uint8Array {
  const { election, config, nowMs } = state;
  election.votedTerm = term;
  election.votedFor = candidate;
  election.attemptUntilMs = nowMs + attemptMs(state);
  persist(state);
  count(state, "votes.cast");
  log(state, "info", "vote-cast", { term, candidate });
  return config.signatures.sign({ kind: "vote", term, candidate });
}

/**
 * Whom the leader named first notes a silence that is not proven yet: it makes its vote durable and signs it, and
 * keeps it to itself. Like a vote withdrawn it counts for nothing until a doubt stands.
 */
function prepareVote(state: SwarmState): void {
  const { regime, votedTerm, abstainUntilMs, succession } = state.election;
  const { self } = state.config;
  if (succession[0] !== self) return;
  if (!regime.confirmed || votedTerm > regime.term || state.nowMs < abstainUntilMs || isSampled(state))
    return;
  if (!isWatcher(state) || leaderOverdueMs(state) <= silenceNotedMs(state) || !isHeir(state)) return;
  const term = regime.term + 1;
  recordVote(state, self, term, {
    candidate: self,
    signature: promise(state, term, self),
    atMs: -Infinity,
  });
}

/** Votes, and tells all who count votes. */
function castVote(state: SwarmState, term: number, candidate: NodeId): void {
  const { election, config, nowMs } = state;
  if (term <= election.votedTerm) return;
  const signature = promise(state, term, candidate);
  // A watcher's vote is for all to follow; another's is for the candidate to count.
  for (const voter of isWatcher(state) ? state.directory.voters : [candidate]) {
    if (voter !== config.self) send(state, voter, { kind: "vote", term, candidate, signature });
  }
  tellWorkAhead(state);
  recordVote(state, config.self, term, { candidate, signature, atMs: nowMs });
}

/** How long a round of votes may take before the next term is tried; random, so that ties break. */
function attemptMs(state: SwarmState): number {
  const slowest = slowestRttMs(state);
  return ATTEMPT_MS + 2 * slowest + nextFraction(state.random) * (ATTEMPT_MS + slowest);
}

/** The longest of the round trips to the voters, as far as they are known. */
function slowestRttMs(state: SwarmState): number {
  let slowest = 0;
  for (const voter of state.committee) {
    const index = indexOf(state, voter);
    if (index >= 0 && state.table.probes[index] !== 0) {
      slowest = Math.max(slowest, state.table.rttMs[index] as number);
    }
  }
  return slowest;
}

/** Takes another voter's vote in, if it is one. */
export function onVote(state: SwarmState, from: NodeId, term: number, vote: Omit<Vote, "atMs">): void {
  const { election, config } = state;
  if (!state.directory.isVoter(from)) return refuseFrom(state, from, "SWARM_NOT_A_VOTER");
  if (term <= state.view.term) return refuseFrom(state, from, "SWARM_TERM_STALE");
  if (term > state.view.term + TERM_AHEAD_MAX) return refuseFrom(state, from, "SWARM_TERM_AHEAD");
  const earlier = election.votes.get(term)?.get(from);
  if (earlier !== undefined) {
    if (earlier.candidate !== vote.candidate) refuseFrom(state, from, "SWARM_VOTED_TWICE");
    else if (isSampled(state) && from === vote.candidate) answerCandidate(state, from, term);
    else {
      refreshVote(state, from, term);
      answerVote(state, term, vote.candidate);
    }
    return;
  }
  if (!state.directory.isVoter(vote.candidate)) return refuseFrom(state, from, "SWARM_NOT_A_VOTER");
  if (!config.signatures.verify({ kind: "vote", term, candidate: vote.candidate }, from, vote.signature)) {
    return refuseFrom(state, from, "SWARM_SIGNATURE_INVALID");
  }
  const { candidate, signature } = vote;
  recordVote(state, from, term, { candidate, signature, atMs: state.nowMs });
  answerVote(state, term, candidate);
}

/** Who has not missed the leader yet says what is at work here to whoever is voted for: it will wait for that. */
function answerVote(state: SwarmState, term: number, candidate: NodeId): void {
  const { regime, doubting, toldAheadMs } = state.election;
  if (doubting || isSampled(state) || regime.leader === state.config.self) return;
  if (term !== regime.term + 1 || state.nowMs < toldAheadMs + DOUBT_REPEAT_MS) return;
  state.election.toldAheadMs = state.nowMs;
  reportAhead(state, candidate, term);
}

/** A vote that is told again counts again. */
function refreshVote(state: SwarmState, voter: NodeId, term: number): void {
  const vote = state.election.votes.get(term)?.get(voter);
  if (vote === undefined) return;
  vote.atMs = state.nowMs;
  tally(state, term, vote.candidate);
}

function recordVote(state: SwarmState, voter: NodeId, term: number, vote: Vote): void {
  const { election } = state;
  let votes = election.votes.get(term);
  if (votes === undefined) {
    if (election.votes.size >= VOTE_TERMS_MAX) election.votes.delete(Math.min(...election.votes.keys()));
    votes = new Map();
    election.votes.set(term, votes);
  }
  votes.set(voter, vote);
  tally(state, term, vote.candidate);
}

/**
 * A quorum of watchers for one candidate ends the election: all who see it follow, and vote likewise if they
 * have not voted in that term. The candidate publishes it with a quorum of all voters. Its own vote must be among
 * them: others vote for it as soon as they miss the leader, and it may still hear it.
 */
function tally(state: SwarmState, term: number, candidate: NodeId): void {
  const { election, committee, config, directory } = state;
  const votes = election.votes.get(term) ?? new Map<NodeId, Vote>();
  const sinceMs = isSampled(state) ? -Infinity : state.nowMs - VOTE_FRESH_MS;
  const supports = (voter: NodeId): boolean => {
    const vote = votes.get(voter);
    return vote?.candidate === candidate && vote.atMs >= sinceMs;
  };
  if (committee.filter(supports).length < watchQuorum(state)) return;
  if (!isSampled(state) && !supports(candidate)) return;
  if (term > election.regime.term) enterRegime(state, term, candidate, false);
  if (election.regime.term === term) endorse(state, term, candidate);
  if (candidate !== config.self || (election.certificate?.term ?? 0) >= term) return;
  const supporters = directory.voters.filter(supports);
  if (supporters.length < quorumOf(directory.voters.length) || election.regime.term !== term) return;
  election.certificate = certify(term, candidate, supporters, votes);
  // A vote says as much as a probe that renews the lease.
  for (const voter of supporters) election.renewals.set(voter, (votes.get(voter) as Vote).atMs);
  election.takeoverUntilMs = Infinity;
  state.leadership = startLeadership(state, term);
  takeReportsAhead(state, term);
  state.reportedTo = undefined;
  state.nextReportMs = state.nowMs;
  election.nextPublishMs = state.nowMs + PUBLISH_REPEAT_MS;
  count(state, "terms.won");
  log(state, "info", "term-won", { term, votes: supporters.length });
  state.effects.push({ kind: "publish-term", certificate: election.certificate });
}

/** Votes with a quorum that it saw: the candidate may lack one of those votes, and in a large swarm it lacks most. */
function endorse(state: SwarmState, term: number, candidate: NodeId): void {
  const { election, directory, nowMs, config } = state;
  if (!directory.isVoter(config.self) || term <= election.votedTerm || nowMs < election.abstainUntilMs)
    return;
  count(state, "votes.endorsed");
  castVote(state, term, candidate);
}

/** The watchers chose this node; the other voters have not all followed yet. */
function awaitsVotes(state: SwarmState): boolean {
  const { regime, certificate } = state.election;
  const chosen = regime.leader === state.config.self && !regime.confirmed && regime.term > state.view.term;
  return isSampled(state) && chosen && certificate?.term !== regime.term;
}

/** A chosen candidate repeats its vote to the voters whose own it lacks. */
function askForVotes(state: SwarmState): void {
  const { election, nowMs, directory } = state;
  if (!awaitsVotes(state) || election.doubting || nowMs < election.nextDoubtMs) return;
  election.nextDoubtMs = nowMs + DOUBT_REPEAT_MS;
  const votes = election.votes.get(election.regime.term);
  for (const voter of directory.voters) if (votes?.has(voter) !== true) tellVote(state, voter);
}

/** Who follows an election tells the elected its vote until that says it leads: the first one may have been lost. */
function remindElected(state: SwarmState): void {
  const { election, nowMs, config } = state;
  const { leader, confirmed, term } = election.regime;
  if (confirmed || election.leaderReady || leader === undefined || leader === config.self) return;
  if (election.votedTerm !== term || election.doubting || nowMs < election.nextDoubtMs) return;
  election.nextDoubtMs = nowMs + DOUBT_REPEAT_MS;
  tellVote(state, leader);
}

/** Tells a candidate that asks again this node's vote, or asks the watchers for theirs. */
function answerCandidate(state: SwarmState, candidate: NodeId, term: number): void {
  const { election, committee, config } = state;
  if (election.votedTerm >= term) return tellVote(state, candidate);
  const votes = election.votes.get(term);
  for (const watcher of committee) {
    if (watcher === config.self || votes?.has(watcher) === true) continue;
    send(state, watcher, { kind: "doubt", term: term - 1, standing: true });
  }
}

function certify(
  term: number,
  leader: NodeId,
  supporters: readonly NodeId[],
  votes: ReadonlyMap<NodeId, Vote>,
): TermCertificate {
  const listed = [...supporters].sort().map((voter) => {
    return { voter, signature: (votes.get(voter) as Vote).signature };
  });
  return { term, leader, votes: listed };
}

/** Orders the voters by how well placed they are: the median of their round trips to the others. */
export function rankSuccession(state: SwarmState): void {
  const { election, committee, config, table } = state;
  const placed = committee
    .filter((id) => id !== config.self && isUsable(state, id))
    .map((id) => {
      const index = indexOf(state, id);
      const rtt = table.probes[index] === 0 ? Infinity : (table.rttMs[index] as number);
      // Coarse steps, so that jitter does not reorder the line between two answers.
      return { id, step: Math.ceil(Math.log2(1 + rtt)) };
    });
  placed.sort((a, b) => a.step - b.step || (a.id < b.id ? -1 : 1));
  const line = placed.map(({ id }) => id).slice(0, SUCCESSION_MAX);
  // The same list stays the same object: it is told anew only when it changes.
  if (line.join() !== election.succession.join()) election.succession = line;
}

/**
 * When the lease of this leader runs out: a quorum of voters, itself among them, renewed it until then. Those who
 * follow it in a later term, which the chain has not seen, renew nothing of this one.
 */
export function leaseUntilMs(state: SwarmState): number {
  const { election, committee, config, timing } = state;
  if (!isLeader(state) || election.regime.term !== state.view.term) return 0;
  const renewals: number[] = [];
  for (const voter of committee) {
    const at = voter === config.self ? Infinity : election.renewals.get(voter);
    if (at !== undefined) renewals.push(at);
  }
  renewals.sort((a, b) => b - a);
  const weakest = renewals[watchQuorum(state) - 1];
  return weakest === undefined ? 0 : weakest + timing.leaseMs;
}

/** The chain says so, a quorum renewed the lease, and the work in progress is known. */
export function mayAct(state: SwarmState): boolean {
  return (
    isLeader(state) &&
    isEligible(state, state.config.self) &&
    !state.draining &&
    state.nowMs < leaseUntilMs(state) &&
    state.nowMs >= state.election.takeoverUntilMs
  );
}

/** When the election must be looked at again. */
export function nextElectionMs(state: SwarmState): number {
  const { election } = state;
  let due = election.nextPublishMs;
  const { leader, confirmed, sinceMs, term } = election.regime;
  if (!confirmed && term > state.view.term) due = Math.min(due, sinceMs + confirmWithinMs(state) + 1);
  if (awaitsVotes(state) && election.doubting) due = Math.min(due, election.nextDoubtMs);
  else if (awaitsVotes(state))
    due = Math.min(due, election.nextDoubtMs, Math.max(state.nowMs, sinceMs + state.timing.leaseMs + 1));
  if (!isWatcher(state) || !state.viewSeen) return due;
  due = Math.min(due, election.takeoverUntilMs > state.nowMs ? election.takeoverUntilMs : Infinity);
  if (election.doubting) {
    due = Math.min(due, election.nextDoubtMs);
    if (election.attemptUntilMs > state.nowMs) due = Math.min(due, election.attemptUntilMs);
  }
  if (leader === undefined) return Math.min(due, startupDueMs(state));
  if (leader === state.config.self && confirmed && !election.doubting) {
    due = Math.min(
      due,
      Math.max(leaseUntilMs(state), sinceMs + state.timing.leaseMs) + 2 * state.timing.leaseMs + 1,
    );
  }
  if (leader !== state.config.self && election.leaderMissed > 0) {
    due = Math.min(due, election.leaderProbeDueMs);
  }
  if (leader !== state.config.self && isConnected(state, leader))
    due = Math.min(due, nextSilenceMs(state), nextExtraProbeMs(state));
  if (leader !== state.config.self && !isConnected(state, leader) && !election.doubting) {
    due = Math.min(due, Math.max(state.nowMs + 5, election.heardLeaderMs + state.timing.probeSlackMs + 1));
  }
  return due;
}

function startupDueMs(state: SwarmState): number {
  const dueMs = state.startedMs + state.timing.startupMs;
  return dueMs > state.nowMs ? dueMs : Infinity;
}
