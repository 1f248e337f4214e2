import { describe, expect, test } from "vitest";
import type { OfferId } from "@cloister/core";
import { emptyMarket, offerStanding, versionsOf, type OfferRecord } from "../src/index.ts";
import { OFFER } from "./samples.ts";

const NOW = 1_000;
const terms = { ...OFFER.terms, validUntilSeconds: 0, runsMax: 0 };

describe("the standing of an offer", () => {
  test.each<[string, Partial<OfferRecord>]>([
    ["usable", {}],
    ["unpublished", { offer: undefined }],
    ["ended", { revokedFromSeconds: NOW }],
    ["usable", { revokedFromSeconds: NOW + 1 }],
    ["disabled", { disabled: true }],
    ["usable", { disabled: false }],
    ["not-yet", { validFromSeconds: NOW + 1 }],
    ["usable", { validFromSeconds: NOW }],
    ["expired", { offer: { ...OFFER, terms: { ...terms, validUntilSeconds: NOW - 1 } } }],
    ["usable", { offer: { ...OFFER, terms: { ...terms, validUntilSeconds: NOW } } }],
    ["used-up", { runs: 3, offer: { ...OFFER, terms: { ...terms, runsMax: 3 } } }],
    ["usable", { runs: 2, offer: { ...OFFER, terms: { ...terms, runsMax: 3 } } }],
    ["ended", { revokedFromSeconds: 1, disabled: true }],
  ])("is %s, case %#", (standing, record) => {
    expect(offerStanding({ offer: { ...OFFER, terms }, runs: 0, ...record }, NOW)).toBe(standing);
  });

  test("of an offer that nobody knows is that it is not published", () => {
    expect(offerStanding(undefined, NOW)).toBe("unpublished");
  });
});

describe("the versions of an offer", () => {
  const id = (digit: string): OfferId => `0x${digit.repeat(64)}` as OfferId;
  const state = emptyMarket();
  state.offers.set(id("d"), { runs: 0, replaces: id("b") });
  state.offers.set(id("b"), { runs: 0, replaces: id("a") });
  state.offers.set(id("c"), { runs: 0, replaces: id("a") });
  for (const other of ["a", "e"]) state.offers.set(id(other), { runs: 0 });

  test.each(["a", "b", "c", "d"])("are all of them, the replaced one first, asked for %s", (asked) => {
    expect(versionsOf(state, id(asked))).toEqual([id("a"), id("b"), id("c"), id("d")]);
  });

  test("are one, where it was never changed", () => {
    expect(versionsOf(state, id("e"))).toEqual([id("e")]);
  });
});
