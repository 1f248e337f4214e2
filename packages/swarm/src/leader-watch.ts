import {
  LATENESS_HALVES_MS,
  SILENCE_NOTED_MS_MAX,
  SILENCE_NOTED_SHARE,
  SILENCE_PROVEN_MS_MAX,
  SILENCE_PROVEN_MS_MIN,
  SILENCE_PROVEN_SHARE,
} from "./bounds.ts";
import { indexOf, type SwarmState } from "./state.ts";

/**
 * How long the leader has owed an answer, and how long it may. Silence counts from when an answer was due, so that
 * neither the length of the way nor the rhythm of the probes is taken for it; how much is too much follows from how
 * late answers have been lately. spec/swarm.md §4.2
 */

/** A first round trip to the leader is not measured yet. */
const UNMEASURED_MS = 500;

/** A probe of the leader leaves: the oldest one without an answer is what it owes. */
export function noteLeaderAsked(state: SwarmState): void {
  const { election, nowMs } = state;
  if (election.leaderAskedMs === Infinity) election.leaderAskedMs = nowMs;
}

/** The leader owes nothing any more: it is another one, or its channel is. */
export function forgiveLeader(state: SwarmState): void {
  state.election.leaderAskedMs = Infinity;
}

/** Time in which this node itself was not called is nobody's silence. */
export function excuseLeader(state: SwarmState, lateMs: number): void {
  const { election, nowMs } = state;
  if (election.leaderAskedMs !== Infinity)
    election.leaderAskedMs = Math.min(nowMs, election.leaderAskedMs + lateMs);
}

/** The leader answered the probe sent at `sentMs`: how late it was is remembered, and all before it is settled. */
export function noteLeaderAnswered(state: SwarmState, sentMs: number): void {
  const { election, nowMs } = state;
  election.leaderLateMs = Math.max(latenessMs(state), leaderOverdueMs(state));
  election.leaderLateAtMs = nowMs;
  let askedMs = Infinity;
  for (const pending of state.pending.values()) {
    if (pending.target !== election.regime.leader || pending.stage !== "direct") continue;
    if (pending.sentMs > sentMs) askedMs = Math.min(askedMs, pending.sentMs);
  }
  election.leaderAskedMs = askedMs;
}

/** How late the leader's answers have been lately; what is long past counts ever less. */
function latenessMs({ election, nowMs }: SwarmState): number {
  return election.leaderLateMs * 2 ** ((election.leaderLateAtMs - nowMs) / LATENESS_HALVES_MS);
}

/** Since when the leader owes an answer: a round trip after it was asked. */
function answerDueMs(state: SwarmState): number {
  const { leader } = state.election.regime;
  const index = leader === undefined ? -1 : indexOf(state, leader);
  const measured = index >= 0 && state.table.probes[index] !== 0;
  return state.election.leaderAskedMs + (measured ? (state.table.rttMs[index] as number) : UNMEASURED_MS);
}

/** How long the leader has owed an answer. */
export function leaderOverdueMs(state: SwarmState): number {
  return Math.max(0, state.nowMs - answerDueMs(state));
}

/**
 * Silence that a voter speaks of: four deviations of the round trip and a slack (RFC 6298 §2.3), or a good share of
 * the worst of late. Its word alone replaces nobody, and is soon taken back.
 */
export function silenceNotedMs(state: SwarmState): number {
  const { election, table, timing } = state;
  const index = election.regime.leader === undefined ? -1 : indexOf(state, election.regime.leader);
  const usualMs = timing.probeSlackMs + 4 * (index < 0 ? 0 : (table.deviationMs[index] as number));
  return Math.min(SILENCE_NOTED_MS_MAX, Math.max(usualMs, SILENCE_NOTED_SHARE * latenessMs(state)));
}

/**
 * Silence for which a successor that is spoken for takes the lead: beyond any pause of late. A node that was late
 * itself, or suspected, gives the leader more time.
 */
export function silenceProvenMs(state: SwarmState): number {
  const stretch = 1 + state.selfDoubt / 2;
  const provenMs = Math.max(SILENCE_PROVEN_MS_MIN * stretch, SILENCE_PROVEN_SHARE * latenessMs(state));
  return Math.max(silenceNotedMs(state), Math.min(SILENCE_PROVEN_MS_MAX * stretch, provenMs));
}

/** When silence that has begun becomes worth a look, if nothing is heard until then. */
export function nextSilenceMs(state: SwarmState): number {
  if (state.election.leaderAskedMs === Infinity) return Infinity;
  const dueMs = answerDueMs(state);
  for (const silenceMs of [silenceNotedMs(state), silenceProvenMs(state)]) {
    if (dueMs + silenceMs >= state.nowMs) return dueMs + silenceMs + 0.1;
  }
  return Infinity;
}
