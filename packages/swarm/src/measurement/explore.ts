import { nearLists } from "../grouping/near.ts";
import type { Random } from "../random.ts";
import { fitPlaces, placesMs, type Place } from "./embedding.ts";

/**
 * What a leader knows of a large network without a matrix: where all nodes are likely to be, and of each
 * the nearest others that were measured. Says which links are worth a probe next, and what a link is
 * likely to be. Coordinates filter, near lists choose, direct probes confirm.
 */
export class LinkBook {
  readonly #places: readonly Place[];
  /** Measured round trips by `low * nodes + high`. */
  readonly #measured = new Map<number, number>();
  readonly #near: number[][];

  constructor(places: readonly Place[]) {
    this.#places = places;
    this.#near = places.map(() => []);
  }

  get pairs(): number {
    return this.#measured.size;
  }

  #key(a: number, b: number): number {
    const count = this.#places.length;
    return a < b ? a * count + b : b * count + a;
  }

  isMeasured(a: number, b: number): boolean {
    return this.#measured.has(this.#key(a, b));
  }

  /** The measured round trip, else what the places predict. */
  rttMs(a: number, b: number): number {
    const measured = this.#measured.get(this.#key(a, b));
    if (measured !== undefined) return measured;
    return this.#predictedMs(a, b);
  }

  #predictedMs(a: number, b: number): number {
    return placesMs(this.#places[a] as Place, this.#places[b] as Place);
  }

  /** Moves the places towards what was measured; the more was, the better they predict the rest. */
  fit(random: Random): void {
    const count = this.#places.length;
    const ends = new Int32Array(2 * this.#measured.size);
    const rttMs = new Float64Array(this.#measured.size);
    let link = 0;
    for (const [key, measuredMs] of this.#measured) {
      ends[2 * link] = Math.floor(key / count);
      ends[2 * link + 1] = key % count;
      rttMs[link++] = measuredMs;
    }
    fitPlaces(this.#places, { ends, rttMs }, random);
  }

  /** Takes one measured link in. */
  note(a: number, b: number, rttMs: number): void {
    const key = this.#key(a, b);
    const known = this.#measured.has(key);
    this.#measured.set(key, rttMs);
    if (known) return;
    this.#insert(a, b, rttMs);
    this.#insert(b, a, rttMs);
  }

  #insert(node: number, other: number, rttMs: number): void {
    const list = this.#near[node] as number[];
    let place = list.length;
    while (place > 0 && this.rttMs(node, list[place - 1] as number) > rttMs) place--;
    if (place >= NEAR_KEPT) return;
    list.splice(place, 0, other);
    if (list.length > NEAR_KEPT) list.pop();
  }

  /** Unmeasured links that the places hold to be the shortest: `perNode` for each node. */
  nearestByPlaces(perNode: number): [number, number][] {
    const count = this.#places.length;
    const lists = nearLists(count, (a, b) => this.#predictedMs(a, b));
    const wanted: [number, number][] = [];
    for (let node = 0; node < count; node++) {
      let found = 0;
      for (let rank = 0; rank < lists.perNode && found < perNode; rank++) {
        const other = lists.ids[node * lists.perNode + rank] as number;
        if (other < 0) break;
        if (this.isMeasured(node, other)) continue;
        wanted.push([node, other]);
        found++;
      }
    }
    return wanted;
  }

  /** Near nodes of near nodes are near: unmeasured ones, the likeliest first (after NN-descent). */
  nearestByNeighbors(perNode: number): [number, number][] {
    const wanted: [number, number][] = [];
    for (const [node, list] of this.#near.entries()) {
      const likely = new Map<number, number>();
      for (const middle of list.slice(0, NEAR_SEARCHED)) {
        for (const other of (this.#near[middle] as number[]).slice(0, NEAR_SEARCHED)) {
          if (other === node || this.isMeasured(node, other)) continue;
          const aroundMs = this.rttMs(node, middle) + this.rttMs(middle, other);
          likely.set(other, Math.min(likely.get(other) ?? Infinity, aroundMs));
        }
      }
      const best = [...likely].sort((a, b) => a[1] - b[1] || a[0] - b[0]).slice(0, perNode);
      for (const [other] of best) wanted.push([node, other]);
    }
    return wanted;
  }

  /**
   * Links to measure for a goal that no group is known for, `most` of them. A group lies within the limit
   * around each of its members: around one node after another, those first that have the most near ones,
   * links between near ones are measured first, then whoever else may be near. Nothing is left to measure
   * around a node when every group that it could be in is known; asked again and again, this finds a group
   * whenever there is one, however far off the places are.
   */
  nearestByGoal(nodes: readonly number[], limitMs: number, most: number): [number, number][] {
    const wanted = new Map<number, [number, number]>();
    const wish = (a: number, b: number): void => {
      if (wanted.size < most && a !== b && !this.isMeasured(a, b)) wanted.set(this.#key(a, b), [a, b]);
    };
    const usable = new Set(nodes);
    const around = nodes.map((node) => ({ node, near: this.#within(node, usable, limitMs) }));
    around.sort((a, b) => b.near.length - a.near.length || a.node - b.node);
    for (const { node, near } of around) {
      if (wanted.size >= most) break;
      for (const [place, a] of near.entries()) for (const b of near.slice(place + 1)) wish(a, b);
      const unknown = nodes.filter((other) => other !== node && !this.isMeasured(node, other));
      const likely = unknown.map((other) => ({ other, ms: this.#predictedMs(node, other) }));
      for (const { other } of likely.sort((a, b) => a.ms - b.ms || a.other - b.other)) wish(node, other);
    }
    return [...wanted.values()];
  }

  #within(node: number, usable: ReadonlySet<number>, limitMs: number): number[] {
    return (this.#near[node] as number[]).filter((other) => {
      return usable.has(other) && this.rttMs(node, other) <= limitMs;
    });
  }
}

/** Near nodes remembered per node, and looked through for more. */
const NEAR_KEPT = 32;
const NEAR_SEARCHED = 12;
