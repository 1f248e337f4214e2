import { NEAR_BUCKETS_SEARCHED, NEAR_COMPLETE_MAX, NEAR_MAX } from "../bounds.ts";
/** For each node its nearest others, ascending: what grouping looks at in place of all pairs. */
export interface NearLists {
  readonly perNode: number;
  /** `ids[node * perNode + rank]`, -1 beyond the end. */
  readonly ids: Int32Array;
  readonly rttMs: Float32Array;
}

/**
 * Builds near lists from a round-trip function. Large networks are bucketed around pivots chosen far
 * from one another, so that time grows with n·√n and memory with n.
 */
export function nearLists(count: number, rttMs: (a: number, b: number) => number): NearLists {
  const perNode = count <= NEAR_COMPLETE_MAX ? Math.max(1, count - 1) : NEAR_MAX;
  const lists = {
    perNode,
    ids: new Int32Array(count * perNode).fill(-1),
    rttMs: new Float32Array(count * perNode).fill(Infinity),
  };
  if (count <= NEAR_COMPLETE_MAX) {
    const all = Int32Array.from({ length: count }, (_, node) => node);
    for (let node = 0; node < count; node++) fillList(lists, node, [all], rttMs);
    return lists;
  }
  const buckets = bucketsOf(count, rttMs);
  for (let node = 0; node < count; node++) fillList(lists, node, buckets.near(node), rttMs);
  return lists;
}

function fillList(
  lists: NearLists,
  node: number,
  buckets: readonly Int32Array[],
  rttMs: (a: number, b: number) => number,
): void {
  const total = buckets.reduce((sum, bucket) => sum + bucket.length, 0);
  const ids = new Int32Array(total);
  const keys = new Float64Array(total);
  let found = 0;
  for (const bucket of buckets) {
    for (const other of bucket) {
      if (other === node) continue;
      // Order by time, then by index: one number that sorts natively.
      keys[found] = Math.round(rttMs(node, other) * 1024) * 2 ** 20 + found;
      ids[found++] = other;
    }
  }
  const sorted = keys.subarray(0, found).sort();
  const kept = Math.min(found, lists.perNode);
  for (let rank = 0; rank < kept; rank++) {
    const key = sorted[rank] as number;
    const at = node * lists.perNode + rank;
    const other = ids[key % 2 ** 20] as number;
    lists.ids[at] = other;
    lists.rttMs[at] = Math.floor(key / 2 ** 20) / 1024;
  }
}

function bucketsOf(
  count: number,
  rttMs: (a: number, b: number) => number,
): { near: (node: number) => Int32Array[] } {
  const pivots = farPivots(count, Math.ceil(Math.sqrt(count)), rttMs);
  const nearest = new Int32Array(count * NEAR_BUCKETS_SEARCHED).fill(-1);
  const sizes = new Int32Array(pivots.length);
  for (let node = 0; node < count; node++) {
    nearestPivots(node, pivots, nearest, rttMs);
    const first = nearest[node * NEAR_BUCKETS_SEARCHED] as number;
    sizes[first] = (sizes[first] as number) + 1;
  }
  const buckets = Array.from(sizes, (size) => new Int32Array(size));
  const filled = new Int32Array(pivots.length);
  for (let node = 0; node < count; node++) {
    const home = nearest[node * NEAR_BUCKETS_SEARCHED] as number;
    const place = filled[home] as number;
    (buckets[home] as Int32Array)[place] = node;
    filled[home] = place + 1;
  }
  const bucketMax = 4 * Math.ceil(count / pivots.length);
  return {
    near: (node) => {
      const found: Int32Array[] = [];
      for (let i = 0; i < NEAR_BUCKETS_SEARCHED; i++) {
        const bucket = buckets[nearest[node * NEAR_BUCKETS_SEARCHED + i] as number] as Int32Array;
        found.push(bucket.length <= bucketMax ? bucket : windowOf(bucket, node, bucketMax));
      }
      return found;
    },
  };
}

/** A part of an overfull bucket, another one for each node. */
function windowOf(bucket: Int32Array, node: number, size: number): Int32Array {
  const start = Math.imul(node, 0x9e3779b1) >>> 0;
  return Int32Array.from({ length: size }, (_, i) => bucket[(start + i) % bucket.length] as number);
}

/** Pivots spread over the network: each the farthest of a few from those chosen. */
function farPivots(count: number, wanted: number, rttMs: (a: number, b: number) => number): Int32Array {
  const pivots = new Int32Array(wanted);
  let word = 0x2545f491;
  for (let chosen = 0; chosen < wanted; chosen++) {
    let best = -1;
    let bestMs = -1;
    for (let trial = 0; trial < 4; trial++) {
      word = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
      const node = (word >>> 0) % count;
      let nearestMs = Infinity;
      for (let i = 0; i < chosen; i++) nearestMs = Math.min(nearestMs, rttMs(node, pivots[i] as number));
      if (nearestMs > bestMs) {
        best = node;
        bestMs = nearestMs;
      }
    }
    pivots[chosen] = best;
  }
  return pivots;
}

function nearestPivots(
  node: number,
  pivots: Int32Array,
  into: Int32Array,
  rttMs: (a: number, b: number) => number,
): void {
  const base = node * NEAR_BUCKETS_SEARCHED;
  const times = [Infinity, Infinity, Infinity];
  for (let pivot = 0; pivot < pivots.length; pivot++) {
    const ms = pivots[pivot] === node ? 0 : rttMs(node, pivots[pivot] as number);
    let rank = NEAR_BUCKETS_SEARCHED;
    while (rank > 0 && ms < (times[rank - 1] as number)) rank--;
    if (rank === NEAR_BUCKETS_SEARCHED) continue;
    for (let shift = NEAR_BUCKETS_SEARCHED - 1; shift > rank; shift--) {
      times[shift] = times[shift - 1] as number;
      into[base + shift] = into[base + shift - 1] as number;
    }
    times[rank] = ms;
    into[base + rank] = pivot;
  }
}
