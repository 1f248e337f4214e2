import type { NodeId } from "@cloister/core";
import { predictRttMs } from "./coordinate.ts";
import type { Leadership, LinkReport } from "./state.ts";

/** What the leader knows of one link. */
export interface Link {
  /** Both ends measured it and agree within the tolerance. */
  readonly confirmed: boolean;
  /** The ends contradict one another. */
  readonly disputed: boolean;
  /** The greater of what the ends say; what the coordinates predict while neither says anything. */
  readonly rttMs: number;
}

/** Two ends of one link may differ by this much before one of them is wrong. */
const TOLERANCE_MS = 10;
const TOLERANCE_SHARE = 0.5;

/**
 * Joins the two ends' views of a link. The greater round trip counts, so that a node which reports
 * less than the truth gains nothing: it cannot lower what the other end measured. spec/swarm.md §3.3
 */
export function linkOf(leadership: Leadership, a: NodeId, b: NodeId): Link | undefined {
  const reportA = leadership.reports.get(a);
  const reportB = leadership.reports.get(b);
  const there = reportA?.samples.get(b)?.rttMs;
  const back = reportB?.samples.get(a)?.rttMs;
  if (there !== undefined && back !== undefined) {
    const rttMs = Math.max(there, back);
    const disputed = Math.abs(there - back) > TOLERANCE_MS + TOLERANCE_SHARE * Math.min(there, back);
    return { confirmed: !disputed, disputed, rttMs };
  }
  const single = there ?? back;
  const predicted = predicts(reportA, reportB);
  if (single === undefined && predicted === undefined) return undefined;
  return { confirmed: false, disputed: false, rttMs: Math.max(single ?? 0, predicted ?? 0) };
}

function predicts(a: LinkReport | undefined, b: LinkReport | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : predictRttMs(a.coordinate, b.coordinate);
}
