/** Readers for option values; commander turns what they throw into a usage error that names the option. */
import { InvalidArgumentError } from "commander";

const UNITS: Readonly<Record<string, number>> = { "": 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A whole number, 0 or more. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError("It must be a whole number.");
}

/** A size such as `64KiB` or `2000`. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|)$/.exec(text);
  const sizeBytes = match === null ? NaN : Number(match[1]) * (UNITS[match[2] ?? ""] ?? NaN);
  if (Number.isSafeInteger(sizeBytes)) return sizeBytes;
  throw new InvalidArgumentError("It must be a number of bytes, or a size such as 64KiB.");
}

/** A date or a time in UTC. */
export function parseTime(text: string): number {
  const timeMs = /^\d{4}-\d\d-\d\d(T[\d:.]+Z)?$/.test(text) ? Date.parse(text) : NaN;
  if (!Number.isNaN(timeMs)) return timeMs;
  throw new InvalidArgumentError("It must be a UTC time such as 2027-01-31 or 2027-01-31T12:00:00Z.");
}
