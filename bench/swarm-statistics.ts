import { readFileSync } from "node:fs";

/** The middle value, the mean of the middle two of an even number; what is not a number is left out. */
export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

export function worst(values: readonly number[]): number {
  return Math.max(...values);
}

/** The machine's load beside the figures: wall time is only as good as it was quiet. */
export function loadAverage(): string {
  return readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" ");
}
