/** Readers for option values; commander turns what they throw into a usage error that names the option. */
import { fromHex, isDigest, parseUtc, type Digest } from "@cloister/core";
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

/** Bytes in hexadecimal. */
export function parseHex(text: string): Uint8Array {
  if (/^(?:[0-9a-fA-F]{2})+$/.test(text)) return fromHex(text.toLowerCase());
  throw new InvalidArgumentError("It must be whole bytes in hexadecimal, such as 00ab.");
}

/** An address of a web service, without what follows its path. */
export function parseServiceUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "")
    return url.href.replace(/\/+$/, "");
  throw new InvalidArgumentError("It must be an address such as https://pccs.example:8081.");
}

/** A date or a time in UTC. */
export function parseTime(text: string): number {
  const timeMs = parseUtc(text);
  if (timeMs !== undefined) return timeMs;
  throw new InvalidArgumentError("It must be a UTC time such as 2027-01-31 or 2027-01-31T12:00:00Z.");
}

/** An amount of the native coin, such as `0.25`, in its smallest unit. */
export function parsePrice(text: string): bigint {
  const match = /^(\d{1,12})(?:\.(\d{1,18}))?$/.exec(text);
  if (match !== null) return BigInt(`${match[1]}${(match[2] ?? "").padEnd(18, "0")}`);
  throw new InvalidArgumentError("It must be an amount such as 0.25, with at most 18 decimals.");
}

const DURATIONS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A length of time such as `90s`, `10m`, `2h` or `7d`, in milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  if (match !== null) return Number(match[1]) * (DURATIONS[match[2] ?? ""] ?? NaN);
  throw new InvalidArgumentError("It must be a length of time such as 90s, 10m, 2h or 7d.");
}

const INTERVAL_MS_MIN = 1_000;
/** Timers of Node overflow at 2^31 ms, and then fire without end. */
const INTERVAL_MS_MAX = 20 * 86_400_000;

/** How often to look at something, in milliseconds: not so often that it harms whoever is asked. */
export function parseInterval(text: string): number {
  const intervalMs = parseDuration(text);
  if (intervalMs >= INTERVAL_MS_MIN && intervalMs <= INTERVAL_MS_MAX) return intervalMs;
  throw new InvalidArgumentError("It must be a length of time from 1s to 20d.");
}

/** The name of a region, as goals write it. */
export function parseRegion(text: string): string {
  if (/^[A-Za-z0-9._-]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError("It must be 1 to 64 letters, digits, dots, dashes or underscores.");
}

/** Digests, for an option that may be given several times. */
export function collectDigests(text: string, before: readonly Digest[] | undefined): Digest[] {
  if (isDigest(text)) return [...(before ?? []), text];
  throw new InvalidArgumentError(
    "It must be a digest: sha256: and 64 hex digits, as `cloister digest FILE` prints it.",
  );
}
