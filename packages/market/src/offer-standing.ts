import type { OfferId } from "@cloister/core";
import type { MarketState, OfferRecord } from "./state.ts";

/**
 * Whether orders can be opened on an offer, and if not, why: it does not hold yet, its owner ended it (`ended`) or
 * stopped it for the time being (`disabled`), its own time is over (`expired`), or all of its runs are used.
 */
export type OfferStanding =
  | "usable"
  | "unpublished"
  | "not-yet"
  | "ended"
  | "disabled"
  | "expired"
  | "used-up";

/** Judges as the contract does when an order is opened at that time. */
export function offerStanding(record: OfferRecord | undefined, nowSeconds: number): OfferStanding {
  if (record?.offer === undefined) return "unpublished";
  const { terms } = record.offer;
  const { revokedFromSeconds, validFromSeconds = 0, disabled = false, runs } = record;
  if (revokedFromSeconds !== undefined && revokedFromSeconds <= nowSeconds) return "ended";
  if (terms.validUntilSeconds !== 0 && terms.validUntilSeconds < nowSeconds) return "expired";
  if (terms.runsMax !== 0 && runs >= terms.runsMax) return "used-up";
  if (disabled) return "disabled";
  return validFromSeconds > nowSeconds ? "not-yet" : "usable";
}

/** All versions of an offer, each after the one that it replaces, whichever of them is asked for. */
export function versionsOf(state: MarketState, id: OfferId): readonly OfferId[] {
  const next = new Map<OfferId, OfferId[]>();
  for (const [one, { replaces }] of state.offers) {
    if (replaces !== undefined) next.set(replaces, [...(next.get(replaces) ?? []), one]);
  }
  let first = id;
  // A version is new when it replaces another, so there is no way round in a circle.
  for (let before = state.offers.get(id)?.replaces; before !== undefined;) {
    first = before;
    before = state.offers.get(first)?.replaces;
  }
  const versions = [first];
  for (const version of versions) versions.push(...(next.get(version) ?? []));
  return versions;
}
