import {
  LATENESS_HALVES_MS,
  SILENCE_NOTED_MS_MAX,
  SILENCE_NOTED_SHARE,
  SILENCE_PROVEN_MS_MAX,
  SILENCE_PROVEN_MS_MIN,
  SILENCE_PROVEN_SHARE,
} from "./bounds.ts";
import type { SwarmState } from "./state.ts";

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
  election.leaderProbedMs = nowMs;
  if (election.leaderAskedMs === Infinity) election.leaderAskedMs = nowMs;
}

/** When the first successor asks the leader again, between two probes of its own: an election hangs on its word. */
export function nextExtraProbeMs({ election, config, timing }: SwarmState): number {
  const isFirst = election.succession[0] === config.self && election.leaderMissed === 0;
  return isFirst ? election.leaderProbedMs + timing.probeIntervalMs / 2 : Infinity;
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

/** The smoothed round trip to the leader and its deviation; undefined while not measured. */
function wayOf({
  election,
  table,
  directory,
}: SwarmState): { rttMs: number; deviationMs: number } | undefined {
  const { leader } = election.regime;
  const index = leader === undefined ? undefined : directory.indexOf.get(leader);
  if (index === undefined || table.probes[index] === 0) return undefined;
  return { rttMs: table.rttMs[index] as number, deviationMs: table.deviationMs[index] as number };
}

/** Since when the leader owes an answer: a round trip after it was asked. */
function answerDueMs(state: SwarmState): number {
  return state.election.leaderAskedMs + (wayOf(state)?.rttMs ?? UNMEASURED_MS);
}

/** How long the leader has owed an answer. */
export function leaderOverdueMs(state: SwarmState): number {
  return Math.max(0, state.nowMs - answerDueMs(state));
}

/**
 * Silence that a voter speaks of: four deviations of the round trip and a slack (RFC 6298 §2.3), or a good share of
 * the worst of late. Its word alone replaces nobody and is soon taken back; the longer it takes to arrive, the sooner
 * it may leave.
 */
export function silenceNotedMs(state: SwarmState): number {
  const { probeSlackMs } = state.timing;
  const { rttMs, deviationMs } = wayOf(state) ?? { rttMs: 0, deviationMs: 0 };
  const usualMs = Math.max(probeSlackMs / 2, probeSlackMs - rttMs / 2) + 4 * deviationMs;
  return Math.min(SILENCE_NOTED_MS_MAX, Math.max(usualMs, SILENCE_NOTED_SHARE * latenessMs(state)));
}

/**
 * Silence for which a successor that is spoken for takes the lead: beyond any pause of late. One that was late itself
 * or suspected goes along with longer pauses; it does not expect them, for it is not alone in missing the leader.
 */
export function silenceProvenMs(state: SwarmState): number {
  const mostMs = SILENCE_PROVEN_MS_MAX * (1 + state.selfDoubt / 2);
  const provenMs = Math.max(SILENCE_PROVEN_MS_MIN, SILENCE_PROVEN_SHARE * latenessMs(state));
  return Math.max(silenceNotedMs(state), Math.min(mostMs, provenMs));
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
