import {
  EMBEDDING_DIMENSIONS,
  EMBEDDING_PASSES,
  EMBEDDING_STEP,
  EMBEDDING_STEPS_MAX,
  EMBEDDING_STEP_LAST,
} from "../bounds.ts";
import type { Coordinate } from "../messages.ts";
import { nextBelow, nextFraction, type Random } from "../random.ts";

/** Where the leader holds one node to be: a point and, after it, the height of its access link. */
export type Place = Float64Array;

const HEIGHT = EMBEDDING_DIMENSIONS;
const HEIGHT_MS_MIN = 0.01;
/** Links up to this long pull with their whole error; a longer one in proportion to its length. */
const WHOLE_PULL_MS = 30;
const PULL_MIN = 0.15;
/** The access link gives way more slowly than the point: it takes part in every link. */
const HEIGHT_SHARE = 0.2;

/** Starts from a node's own coordinate; the further axes begin with a little chance, or they stay empty. */
export function placeOf(coordinate: Coordinate, random: Random): Place {
  const place = new Float64Array(EMBEDDING_DIMENSIONS + 1);
  for (let axis = 0; axis < EMBEDDING_DIMENSIONS; axis++) {
    place[axis] = coordinate.point[axis] ?? (nextFraction(random) - 0.5) * 4;
  }
  place[HEIGHT] = coordinate.heightMs;
  return place;
}

/** The round trip that two places predict, in milliseconds. */
export function placesMs(a: Place, b: Place): number {
  return distance(a, b) + (a[HEIGHT] as number) + (b[HEIGHT] as number);
}

function distance(a: Place, b: Place): number {
  let square = 0;
  for (let axis = 0; axis < EMBEDDING_DIMENSIONS; axis++) {
    const apart = (a[axis] as number) - (b[axis] as number);
    square += apart * apart;
  }
  return Math.sqrt(square);
}

/** Measured links: `ends[2 * i]` and `ends[2 * i + 1]` are `rttMs[i]` apart. */
export interface MeasuredLinks {
  readonly ends: Int32Array;
  readonly rttMs: Float64Array;
}

/**
 * Moves places until they agree with all measured links as well as they can. One node sees only its own
 * links, so that its coordinate rests in whatever hollow it fell into; who sees the links of all gets far
 * nearer to the truth, above all for short links. Gradient descent in random order with a falling step.
 */
export function fitPlaces(places: readonly Place[], links: MeasuredLinks, random: Random): void {
  const count = links.rttMs.length;
  const passes = Math.min(EMBEDDING_PASSES, Math.ceil(EMBEDDING_STEPS_MAX / Math.max(1, count)));
  const order = Int32Array.from({ length: count }, (_, link) => link);
  for (let pass = 0; pass < passes; pass++) {
    const step = EMBEDDING_STEP + ((EMBEDDING_STEP_LAST - EMBEDDING_STEP) * pass) / passes;
    shuffle(order, random);
    for (const link of order) {
      const a = places[links.ends[2 * link] as number] as Place;
      const b = places[links.ends[2 * link + 1] as number] as Place;
      pull(a, b, links.rttMs[link] as number, step);
    }
  }
}

function shuffle(order: Int32Array, random: Random): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = nextBelow(random, i + 1);
    const held = order[i] as number;
    order[i] = order[j] as number;
    order[j] = held;
  }
}

function pull(a: Place, b: Place, rttMs: number, step: number): void {
  const length = Math.max(distance(a, b), 1e-3);
  const errorMs = rttMs - (length + (a[HEIGHT] as number) + (b[HEIGHT] as number));
  const forceMs = step * errorMs * Math.min(1, WHOLE_PULL_MS / Math.max(rttMs, 1) + PULL_MIN);
  for (let axis = 0; axis < EMBEDDING_DIMENSIONS; axis++) {
    const moved = (forceMs * ((a[axis] as number) - (b[axis] as number))) / length;
    a[axis] = (a[axis] as number) + moved;
    b[axis] = (b[axis] as number) - moved;
  }
  for (const place of [a, b]) {
    const heightMs = (place[HEIGHT] as number) + HEIGHT_SHARE * forceMs;
    place[HEIGHT] = Math.max(HEIGHT_MS_MIN, Math.min(rttMs, heightMs));
  }
}
