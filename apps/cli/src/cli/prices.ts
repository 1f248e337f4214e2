/** Prices as people say them: fixed, by the hour, as a share. */
import type { Address } from "@cloister/core";
import { NATIVE_TOKEN, perHourWei, type OfferTerms } from "@cloister/market";
import { InvalidArgumentError } from "commander";
import { formatCoins } from "./output.ts";
import { parsePrice } from "./parse.ts";

const HOUR_SECONDS = 3_600n;

/** An amount by the hour, as the contracts count it: by the second, rounded up. */
export function parseHourly(text: string): bigint {
  return (parsePrice(text) + HOUR_SECONDS - 1n) / HOUR_SECONDS;
}

/** A share in percent with at most two decimals, in basis points. */
export function parsePercent(text: string): number {
  const match = /^(\d{1,3})(?:\.(\d{1,2}))?%?$/.exec(text);
  const bps = match === null ? NaN : Number(`${match[1]}${(match[2] ?? "").padEnd(2, "0")}`);
  if (bps <= 10_000) return bps;
  throw new InvalidArgumentError("It must be a percentage from 0 to 100, with at most two decimals.");
}

/** What an offer costs, in a few words: `0.5`, `0.36/h`, `0.1 + 2/h + 20 % of the pool`, `free`. */
export function priceText(
  terms: Pick<OfferTerms, "token" | "fixedWei" | "perSecondWei" | "shareBps">,
): string {
  const { token, fixedWei, perSecondWei, shareBps } = terms;
  const parts = [
    ...(fixedWei === 0n ? [] : [formatCoins(fixedWei)]),
    ...(perSecondWei === 0n ? [] : [`${formatCoins(perHourWei(perSecondWei))}/h`]),
    ...(shareBps === 0 ? [] : [`${shareBps / 100} % of the pool`]),
  ];
  return `${parts.join(" + ") || "free"}${tokenText(token)}`;
}

/** Which coin, where it is not the chain's own. */
export function tokenText(token: Address): string {
  return token === NATIVE_TOKEN ? "" : ` (token ${token.slice(0, 8)}…)`;
}

/** A length of time for people: `45 s`, `10 min`, `1 h 30 min`, `2 d`. */
export function secondsText(seconds: number): string {
  const units = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
    [1, "s"],
  ] as const;
  let left = seconds;
  const parts = units.flatMap(([size, unit]) => {
    const count = Math.floor(left / size);
    left -= count * size;
    return count === 0 ? [] : [`${count} ${unit}`];
  });
  return parts.slice(0, 2).join(" ") || "0 s";
}
