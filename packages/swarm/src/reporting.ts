import type { NodeId } from "@cloister/core";
import {
  REPORTERS_PER_PERIOD,
  REPORT_CHANGE_MS,
  REPORT_CHANGE_SHARE,
  REPORT_FORGET_PERIODS,
  REPORT_WHOLE_EVERY,
  SAMPLES_PER_REPORT_MAX,
  TERM_AHEAD_MAX,
  VOTE_FRESH_MS,
  WORK_PER_REPORT_MAX,
} from "./bounds.ts";
import type { Message } from "./messages.ts";
import {
  idAt,
  isConnected,
  isEligible,
  isSampled,
  refuseFrom,
  send,
  STATUS,
  statusOf,
  type Leadership,
  type LinkReport,
  type SwarmState,
} from "./state.ts";
import type { LinkSample } from "./types.ts";

export type Report = Extract<Message, { kind: "report" }>;

/** Tells the leader, once per period and at once after a change, how the links are and what is at work. */
export function reportToLeader(state: SwarmState): void {
  const { regime } = state.election;
  if (state.nowMs < state.nextReportMs) return;
  const periods = Math.max(1, state.directory.members.length / REPORTERS_PER_PERIOD);
  state.nextReportMs = state.nowMs + state.timing.reportMs * periods;
  const { leaderReady, reportsEarly } = state.election;
  state.election.reportsEarly = false;
  if (regime.leader === undefined || state.self < 0 || !(leaderReady || reportsEarly)) return;
  const whole = state.reportSequence % REPORT_WHOLE_EVERY === 0;
  if (whole || state.reportedTo !== regime.leader) state.reportedSamples.clear();
  const report = composeReport(state, regime.term, changedSamples(state));
  if (regime.leader === state.config.self) {
    takeReport(state, state.config.self, report);
  } else if (!send(state, regime.leader, report)) {
    state.nextReportMs = state.nowMs + state.timing.probeIntervalMs;
    return;
  }
  state.reportedTo = regime.leader;
  for (const sample of report.samples) state.reportedSamples.set(sample.peer, sample.rttMs);
}

/** Tells a candidate, along with this node's vote, what is at work; the links follow once it is elected. */
export function reportAhead(state: SwarmState, candidate: NodeId, term: number): void {
  if (candidate !== state.config.self) send(state, candidate, composeReport(state, term, []));
}

function composeReport(
  state: SwarmState,
  term: number,
  samples: readonly LinkSample[],
): Omit<Report, "chainId" | "swarm"> {
  const { self: reporter, signatures } = state.config;
  state.reportSequence++;
  const sequence = state.reportSequence;
  const statement = { kind: "measurement", reporter, sequence, samples } as const;
  return {
    kind: "report",
    sequence,
    term,
    draining: state.draining,
    coordinate: state.coordinate,
    samples,
    work: composeWork(state),
    signature: samples.length === 0 ? new Uint8Array(0) : signatures.sign(statement),
  };
}

function changedSamples(state: SwarmState): LinkSample[] {
  const { table } = state;
  const samples: LinkSample[] = [];
  for (let index = 0; index < table.probes.length; index++) {
    if (table.probes[index] === 0 || samples.length >= SAMPLES_PER_REPORT_MAX) continue;
    const rttMs = table.rttMs[index] as number;
    const before = state.reportedSamples.get(idAt(state, index));
    if (
      before !== undefined &&
      Math.abs(before - rttMs) < Math.max(REPORT_CHANGE_MS, REPORT_CHANGE_SHARE * before)
    )
      continue;
    samples.push({
      peer: idAt(state, index),
      rttMs,
      deviationMs: table.deviationMs[index] as number,
      probes: table.probes[index] as number,
      ...(table.bandwidthMbps[index] === 0 ? {} : { bandwidthMbps: table.bandwidthMbps[index] as number }),
    });
  }
  return samples;
}

function composeWork(state: SwarmState): Report["work"] {
  const work: Report["work"][number][] = [];
  for (const [orderId, { assignment }] of state.accepted) {
    if (work.length >= WORK_PER_REPORT_MAX) break;
    work.push({ orderId, term: assignment.term, state: state.work.get(orderId)?.state ?? "accepted" });
  }
  return work;
}

/** Takes a member's report in, as leader. */
export function onReport(state: SwarmState, from: NodeId, report: Report): void {
  const { leadership, view } = state;
  if (leadership?.term !== report.term) {
    if (keepAhead(state, from, report)) return;
    return refuseFrom(state, from, report.term < view.term ? "SWARM_TERM_STALE" : "SWARM_NOT_ADDRESSEE");
  }
  if (report.samples.length > 0) {
    const statement = {
      kind: "measurement",
      reporter: from,
      sequence: report.sequence,
      samples: report.samples,
    } as const;
    if (!state.config.signatures.verify(statement, from, report.signature)) {
      return refuseFrom(state, from, "SWARM_SIGNATURE_INVALID");
    }
  }
  takeReport(state, from, report);
}

/** A voter's word on its work may come before the votes that make this node a leader. */
function keepAhead(state: SwarmState, from: NodeId, report: Report): boolean {
  const { directory, election, view } = state;
  const { term, samples } = report;
  const isAhead = term > Math.max(view.term, election.regime.term) && term <= view.term + TERM_AHEAD_MAX;
  if (!isAhead || samples.length > 0 || isSampled(state) || !directory.isVoter(from)) return false;
  election.reportsAhead.set(from, { report, atMs: state.nowMs });
  return true;
}

/** Takes in what voters said ahead of the election that this node just won. */
export function takeReportsAhead(state: SwarmState, term: number): void {
  for (const [from, { report, atMs }] of state.election.reportsAhead) {
    if (report.term === term && state.nowMs - atMs <= VOTE_FRESH_MS) takeReport(state, from, report);
  }
  state.election.reportsAhead.clear();
}

function isForgotten(state: SwarmState, last: LinkReport): boolean {
  const periods = Math.max(1, state.directory.members.length / REPORTERS_PER_PERIOD);
  return state.nowMs > last.atMs + REPORT_FORGET_PERIODS * periods * state.timing.reportMs;
}

function takeReport(state: SwarmState, from: NodeId, report: Omit<Report, "chainId" | "swarm">): void {
  const { leadership } = state;
  if (leadership === undefined) return;
  const last = leadership.reports.get(from);
  if (last !== undefined && report.sequence <= last.sequence && !isForgotten(state, last)) {
    return refuseFrom(state, from, "SWARM_REPLAYED");
  }
  const samples = new Map(last?.samples);
  for (const sample of report.samples) if (sample.peer !== from) samples.set(sample.peer, sample);
  const { sequence, coordinate } = report;
  leadership.reports.set(from, { sequence, coordinate, atMs: state.nowMs, samples });
  if (report.draining) leadership.draining.add(from);
  else leadership.draining.delete(from);
  if (!leadership.reported.has(from)) leadership.planDueMs = Math.min(leadership.planDueMs, state.nowMs);
  leadership.reported.add(from);
  leadership.dutyDueMs = Math.min(leadership.dutyDueMs, state.nowMs);
  leadership.work.set(from, [...report.work, ...goneUnseen(leadership.work.get(from), report.work)]);
}

/**
 * Orders that a member held, and holds no more before this leader came to look: closed in a block that this node has
 * not seen, mostly. They are not free to be placed elsewhere.
 */
function goneUnseen(before: Report["work"] = [], now: Report["work"]): Report["work"] {
  return before
    .filter((item) => !now.some(({ orderId }) => orderId === item.orderId))
    .slice(0, WORK_PER_REPORT_MAX);
}

/** Everybody who could be about to report has: nothing is left to listen for before this leader acts. */
export function everyoneReported(state: SwarmState, leadership: Leadership): boolean {
  return state.directory.members.every(({ id }) => {
    return !isConnected(state, id) || !isAwaited(state, leadership, id);
  });
}

/**
 * A member that has not reported in this term yet and will in a moment. One that is silent or gone will
 * not, and the leader before this one is the likeliest to be gone.
 */
export function isAwaited(state: SwarmState, leadership: Leadership, id: NodeId): boolean {
  if (id === state.config.self || id === state.election.deposed || leadership.reported.has(id)) return false;
  return isEligible(state, id) && statusOf(state, id) === STATUS.alive;
}
