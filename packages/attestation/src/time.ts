import { assertInvariant } from "@cloister/core";

/** The last moment that ECMAScript's dates know, in milliseconds since 1970. */
const TIME_MS_MAX = 8.64e15;

/**
 * Stops a caller without a clock: every comparison with NaN is false, so a missing time could pass for one at which
 * everything is valid.
 */
export function assertTime(nowMs: number): void {
  assertInvariant(Number.isFinite(nowMs) && Math.abs(nowMs) <= TIME_MS_MAX, "nowMs is a time");
}

/** Tells whether a moment lies within a period, ends included. False for what is no time. */
export function isWithin(nowMs: number, fromMs: number, toMs: number): boolean {
  return nowMs >= fromMs && nowMs <= toMs;
}
