import { predictRttMs } from "../coordinate.ts";
import { nearLists } from "../grouping/near.ts";
import type { Coordinate } from "../messages.ts";

/**
 * What a leader knows of a large network without a matrix: coordinates of all nodes, and of each node
 * the nearest others that were measured. Says which links are worth a probe next, and what a link is
 * likely to be. Coordinates filter, near lists choose, direct probes confirm.
 */
export class LinkBook {
  readonly #coordinates: readonly Coordinate[];
  /** Measured round trips by `low * nodes + high`. */
  readonly #measured = new Map<number, number>();
  readonly #near: number[][];

  constructor(coordinates: readonly Coordinate[]) {
    this.#coordinates = coordinates;
    this.#near = coordinates.map(() => []);
  }

  get pairs(): number {
    return this.#measured.size;
  }

  #key(a: number, b: number): number {
    return a < b ? a * this.#coordinates.length + b : b * this.#coordinates.length + a;
  }

  isMeasured(a: number, b: number): boolean {
    return this.#measured.has(this.#key(a, b));
  }

  /** The measured round trip, else what the coordinates predict. */
  rttMs(a: number, b: number): number {
    const measured = this.#measured.get(this.#key(a, b));
    if (measured !== undefined) return measured;
    return predictRttMs(this.#coordinates[a] as Coordinate, this.#coordinates[b] as Coordinate);
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

  /** Unmeasured links that the coordinates hold to be the shortest: `perNode` for each node. */
  nearestByCoordinates(perNode: number): [number, number][] {
    const count = this.#coordinates.length;
    const lists = nearLists(count, (a, b) => {
      return predictRttMs(this.#coordinates[a] as Coordinate, this.#coordinates[b] as Coordinate);
    });
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
}

/** Near nodes remembered per node, and looked through for more. */
const NEAR_KEPT = 32;
const NEAR_SEARCHED = 12;
