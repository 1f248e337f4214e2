import { CLOSEST_STARTS, CLOSEST_STEPS_MAX } from "../bounds.ts";
/** The group of least diameter, and whether the search was complete. */
export interface ClosestGroup {
  readonly members: readonly number[];
  readonly diameterMs: number;
  /** False when the step budget ran out: the group is then the best one found. */
  readonly exact: boolean;
}

/**
 * Finds the `size` nodes whose greatest pairwise round trip is least: a greedy bound, then branch and
 * bound over the pairs nearer than the bound, which shrinks as better groups are found.
 * Undefined when there are fewer nodes, or none within `limitMs`.
 */
export function closestGroup(
  nodes: number,
  size: number,
  rttMs: (a: number, b: number) => number,
  limitMs = Infinity,
): ClosestGroup | undefined {
  if (nodes < size || size < 1) return undefined;
  if (size === 1) return { members: [0], diameterMs: 0, exact: true };
  const search = new ClosestSearch(nodes, size, rttMs, limitMs);
  search.greedy();
  search.branch();
  return search.result();
}

class ClosestSearch {
  readonly #nodes: number;
  readonly #size: number;
  readonly #rttMs: (a: number, b: number) => number;
  #best: number[] | undefined;
  #boundMs: number;
  #steps = 0;

  constructor(nodes: number, size: number, rttMs: (a: number, b: number) => number, limitMs: number) {
    this.#nodes = nodes;
    this.#size = size;
    this.#rttMs = rttMs;
    // Groups must be strictly nearer than the bound; the limit itself is allowed.
    this.#boundMs = limitMs === Infinity ? Infinity : limitMs + limitMs * 1e-12 + Number.MIN_VALUE;
  }

  greedy(): void {
    const step = Math.max(1, Math.floor(this.#nodes / CLOSEST_STARTS));
    for (let start = 0; start < this.#nodes; start += step) this.#greedyFrom(start);
  }

  #greedyFrom(start: number): void {
    const farthest = new Float64Array(this.#nodes);
    for (let node = 0; node < this.#nodes; node++) {
      farthest[node] = node === start ? Infinity : this.#rttMs(start, node);
    }
    const members = [start];
    let diameter = 0;
    while (members.length < this.#size) {
      let next = 0;
      for (let node = 1; node < this.#nodes; node++) {
        if ((farthest[node] as number) < (farthest[next] as number)) next = node;
      }
      diameter = Math.max(diameter, farthest[next] as number);
      if (diameter >= this.#boundMs) return;
      members.push(next);
      farthest[next] = Infinity;
      for (let node = 0; node < this.#nodes; node++) {
        if (farthest[node] === Infinity) continue;
        const ms = this.#rttMs(next, node);
        if (ms > (farthest[node] as number)) farthest[node] = ms;
      }
    }
    this.#best = members;
    this.#boundMs = diameter;
  }

  /** Every group is found at its member of least index, among later nodes nearer than the bound. */
  branch(): void {
    const neighbors: number[] = [];
    for (let node = 0; node < this.#nodes; node++) {
      neighbors.length = 0;
      for (let other = node + 1; other < this.#nodes; other++) {
        if (this.#rttMs(node, other) < this.#boundMs) neighbors.push(other);
      }
      if (neighbors.length >= this.#size - 1) this.#extend([node], neighbors, 0);
    }
  }

  #extend(members: readonly number[], candidates: readonly number[], diameterMs: number): void {
    if (members.length === this.#size) {
      this.#best = [...members];
      this.#boundMs = diameterMs;
      return;
    }
    const needed = this.#size - members.length;
    for (let place = 0; place <= candidates.length - needed; place++) {
      if (this.#steps++ > CLOSEST_STEPS_MAX) return;
      const node = candidates[place] as number;
      let reachMs = diameterMs;
      for (const member of members) reachMs = Math.max(reachMs, this.#rttMs(member, node));
      if (reachMs >= this.#boundMs) continue;
      const next: number[] = [];
      for (let later = place + 1; later < candidates.length; later++) {
        const other = candidates[later] as number;
        if (this.#rttMs(node, other) < this.#boundMs) next.push(other);
      }
      if (next.length >= needed - 1) this.#extend([...members, node], next, reachMs);
    }
  }

  result(): ClosestGroup | undefined {
    if (this.#best === undefined) return undefined;
    const members = this.#best.toSorted((a, b) => a - b);
    return { members, diameterMs: this.#boundMs, exact: this.#steps <= CLOSEST_STEPS_MAX };
  }
}
