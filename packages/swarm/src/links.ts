import type { NodeId } from "@cloister/core";
import {
  DETOUR_MS,
  DETOUR_SHARE,
  LINKS_JUDGED_MIN,
  LINK_TOLERANCE_DEVIATIONS,
  LINK_TOLERANCE_MS,
  LINK_TOLERANCE_SHARE,
} from "./bounds.ts";
import { predictRttMs } from "./coordinate.ts";
import type { Leadership, LinkReport } from "./state.ts";
import type { LinkSample } from "./types.ts";

/** What the leader knows of one link. */
export interface Link {
  /** Both ends measured it and agree within the tolerance. */
  readonly confirmed: boolean;
  /** The ends contradict one another. */
  readonly disputed: boolean;
  /** The greater of what the ends say; what the coordinates predict while neither says anything. */
  readonly rttMs: number;
  /** The lesser of what the ends measured; undefined until both did. */
  readonly bandwidthMbps: number | undefined;
}

/**
 * Joins the two ends' views of a link. The greater round trip counts, so that a node which reports
 * less than the truth gains nothing: it cannot lower what the other end measured. spec/swarm.md §3.3
 */
export function linkOf(leadership: Leadership, a: NodeId, b: NodeId): Link | undefined {
  const reportA = leadership.reports.get(a);
  const reportB = leadership.reports.get(b);
  const there = reportA?.samples.get(b);
  const back = reportB?.samples.get(a);
  if (there !== undefined && back !== undefined) {
    const rttMs = Math.max(there.rttMs, back.rttMs);
    const disputed = rttMs - Math.min(there.rttMs, back.rttMs) > toleranceOf(there, back);
    return { confirmed: !disputed, disputed, rttMs, bandwidthMbps: leastBandwidth(reportA, reportB, a, b) };
  }
  const single = (there ?? back)?.rttMs;
  const predicted = predicts(reportA, reportB);
  if (single === undefined && predicted === undefined) return undefined;
  const rttMs = Math.max(single ?? 0, predicted ?? 0);
  return { confirmed: false, disputed: false, rttMs, bandwidthMbps: undefined };
}

/** What two ends may differ by. On a link that jitters it is more, by what the calmer end saw: no end can widen it alone. */
function toleranceOf(there: LinkSample, back: LinkSample): number {
  const share = LINK_TOLERANCE_SHARE * Math.min(there.rttMs, back.rttMs);
  const jitterMs = LINK_TOLERANCE_DEVIATIONS * Math.min(there.deviationMs, back.deviationMs);
  return LINK_TOLERANCE_MS + share + jitterMs;
}

function leastBandwidth(
  reportA: LinkReport | undefined,
  reportB: LinkReport | undefined,
  a: NodeId,
  b: NodeId,
): number | undefined {
  const there = reportA?.samples.get(b)?.bandwidthMbps;
  const back = reportB?.samples.get(a)?.bandwidthMbps;
  return there === undefined || back === undefined ? undefined : Math.min(there, back);
}

function predicts(a: LinkReport | undefined, b: LinkReport | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : predictRttMs(a.coordinate, b.coordinate);
}

/**
 * Members whose reports contradict most of the others: more than half of their links are disputed by
 * the other end, or are far longer than the way around. An honest member shares only one such link
 * with each liar, so that it stays below the half while liars are few. spec/swarm.md §3.3
 */
export function distrusted(leadership: Leadership): Set<NodeId> {
  const found = new Set<NodeId>();
  for (const [id, report] of leadership.reports) {
    let judged = 0;
    let against = 0;
    for (const peer of report.samples.keys()) {
      const link = linkOf(leadership, id, peer);
      if (link === undefined || !(link.confirmed || link.disputed)) continue;
      judged++;
      if (link.disputed || isDetour(leadership, id, peer, link.rttMs)) against++;
    }
    if (judged >= LINKS_JUDGED_MIN && against * 2 > judged) found.add(id);
  }
  return found;
}

/** Tells whether a link is far longer than the way around by several third members. */
function isDetour(leadership: Leadership, a: NodeId, b: NodeId, rttMs: number): boolean {
  if (rttMs < DETOUR_MS) return false;
  let shorter = 0;
  for (const [middle, first] of leadership.reports.get(a)?.samples ?? []) {
    const second = leadership.reports.get(middle)?.samples.get(b);
    if (middle === b || second === undefined) continue;
    if (rttMs > DETOUR_SHARE * (first.rttMs + second.rttMs) + DETOUR_MS) shorter++;
  }
  return shorter >= LINKS_JUDGED_MIN;
}
