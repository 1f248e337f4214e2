import type { Coordinate } from "./messages.ts";

/**
 * Network coordinates after Vivaldi (Dabek et al., SIGCOMM 2004) with a height for the access link
 * and an error estimate that weighs how far each sample moves the point.
 */
export const DIMENSIONS = 4;
const ERROR_MAX = 1.5;
const ERROR_STEP = 0.25;
const MOVE_STEP = 0.25;
const HEIGHT_MS_MIN = 0.01;
/** Pulls the cloud towards the origin, so that it does not drift as a whole. */
const GRAVITY_MS = 2_000;

/** A node that knows nothing yet stands at the origin and is entirely unsure. */
export function originCoordinate(): Coordinate {
  return { point: Array<number>(DIMENSIONS).fill(0), heightMs: HEIGHT_MS_MIN, error: ERROR_MAX };
}

/** The round trip that two coordinates predict, in milliseconds. */
export function predictRttMs(a: Coordinate, b: Coordinate): number {
  let square = 0;
  for (let axis = 0; axis < DIMENSIONS; axis++) {
    square += ((a.point[axis] ?? 0) - (b.point[axis] ?? 0)) ** 2;
  }
  return Math.sqrt(square) + a.heightMs + b.heightMs;
}

/**
 * Moves `own` by one measured round trip to `peer`. `fraction` in [0, 1) breaks ties of direction
 * between two nodes at one point.
 */
export function moveCoordinate(
  own: Coordinate,
  peer: Coordinate,
  rttMs: number,
  fraction: number,
): Coordinate {
  const rtt = Math.max(rttMs, 0.01);
  const predicted = predictRttMs(own, peer);
  const weight = own.error / Math.max(own.error + peer.error, 1e-6);
  const sampleError = Math.abs(predicted - rtt) / rtt;
  const blend = ERROR_STEP * weight;
  const error = Math.min(sampleError * blend + own.error * (1 - blend), ERROR_MAX);
  const moved = applyForce({ ...own, error }, peer, MOVE_STEP * weight * (rtt - predicted), fraction);
  // The access link is a part of every round trip. Without this two points that nearly coincide
  // divide by almost nothing and the height runs away.
  return { ...moved, heightMs: Math.min(moved.heightMs, rtt) };
}

function applyForce(own: Coordinate, peer: Coordinate, forceMs: number, fraction: number): Coordinate {
  const direction = own.point.map((value, axis) => value - (peer.point[axis] ?? 0));
  let length = Math.hypot(...direction);
  let heightMs = own.heightMs;
  if (length < 1e-6) {
    direction.fill(0);
    direction[Math.floor(fraction * DIMENSIONS)] = fraction * 2 < 1 ? 1 : -1;
    length = 1;
  } else {
    heightMs = Math.max(HEIGHT_MS_MIN, heightMs + ((own.heightMs + peer.heightMs) * forceMs) / length);
  }
  const moved = own.point.map((value, axis) => value + ((direction[axis] ?? 0) / length) * forceMs);
  const distance = Math.hypot(...moved);
  const pull = Math.min((distance / GRAVITY_MS) ** 2, 0.5);
  return { point: moved.map((value) => value * (1 - pull)), heightMs, error: own.error };
}
