import { encodeCanonical, fromHex } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeDetails,
  detailsDigest,
  encodeDetails,
  optionMeets,
  perHourWei,
  type OfferDetails,
  type SlotOption,
} from "../src/index.ts";

const SMALL: SlotOption = {
  name: "small",
  slots: 4,
  cpus: 2,
  memoryBytes: 8 * 2 ** 30,
  diskBytes: 100 * 2 ** 30,
  gpus: 0,
  gpuMemoryBytes: 0,
  bandwidthBitsPerSecond: 1e9,
  perSecondWei: 2n ** 60n,
};
const LARGE: SlotOption = { ...SMALL, name: "large", gpus: 1, gpuMemoryBytes: 80 * 2 ** 30 };
const DETAILS: OfferDetails = {
  version: 1,
  name: "Räume mit Grafik ☁",
  revision: "2.1.0",
  replaces: `sha256:${"ab".repeat(32)}` as never,
  download: false,
  options: [SMALL, LARGE],
};

describe("an offer's details", () => {
  test("are read as they were written", () => {
    expect(decodeDetails(encodeDetails(DETAILS))).toEqual(DETAILS);
    const least = { version: 1, name: "a", revision: "1" } as const;
    expect(decodeDetails(encodeDetails(least))).toEqual(least);
  });

  test("have one digest, whatever the sequence of their members", () => {
    const turned = Object.fromEntries(Object.entries(DETAILS).toReversed()) as unknown as OfferDetails;
    expect(detailsDigest(turned)).toBe(detailsDigest(DETAILS));
    expect(detailsDigest({ ...DETAILS, revision: "2.1.1" })).not.toBe(detailsDigest(DETAILS));
  });

  test("keep any price of 96 bits", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 96n - 1n }), (perSecondWei) => {
        const details = { ...DETAILS, options: [{ ...SMALL, perSecondWei }] };
        expect(decodeDetails(encodeDetails(details))).toEqual(details);
      }),
    );
  });

  test.each([
    ["version", { version: 2 }],
    ["name", { name: "" }],
    ["name", { name: "two\nlines" }],
    ["name", { name: "turned \u202e round" }],
    ["name", { name: "x".repeat(201) }],
    ["revision", { revision: 3 }],
    ["replaces", { replaces: "sha256:12" }],
    ["download", { download: "no" }],
    ["options", { options: [] }],
    ["options", { options: [SMALL, { ...LARGE, name: "small" }] }],
    ["options[0]", { options: [7] }],
    ["options[1].slots", { options: [SMALL, { ...LARGE, slots: 0 }] }],
    ["options[0].cpus", { options: [{ ...SMALL, cpus: -1 }] }],
    ["options[0].memoryBytes", { options: [{ ...SMALL, memoryBytes: 1.5 }] }],
    ["options[0].perSecondWei", { options: [{ ...SMALL, perSecondWei: 2n ** 96n }] }],
    ["options[0].perSecondWei", { options: [{ ...SMALL, perSecondWei: -1n }] }],
    ["price", { price: 1 }],
  ])("are refused when %s is wrong", (path, change) => {
    const document = { ...DETAILS, ...change } as unknown as OfferDetails;
    const refusal = { code: "OFFER_DETAILS_MALFORMED", details: expect.objectContaining({ path }) as object };
    expect(() => encodeDetails(document)).toThrow(expect.objectContaining(refusal));
    expect(() => decodeDetails(encodeCanonical(document))).toThrow(expect.objectContaining(refusal));
  });

  test("are refused when torn, too long, not canonical or no map", () => {
    const refusal = expect.objectContaining({ code: "OFFER_DETAILS_MALFORMED" });
    const bytes = encodeDetails(DETAILS);
    expect(() => decodeDetails(bytes.subarray(0, -1))).toThrow(refusal);
    expect(() => decodeDetails(new Uint8Array(16 * 1024 + 1))).toThrow(refusal);
    expect(() => decodeDetails(fromHex("1800"))).toThrow(refusal);
    expect(() => decodeDetails(encodeCanonical([1]))).toThrow(refusal);
    expect(() => decodeDetails(encodeCanonical({ version: 1, name: "a" }))).toThrow(refusal);
  });

  test("say which option has what is asked for", () => {
    expect(optionMeets(LARGE, { gpus: 1, memoryBytes: 2 ** 30 })).toBe(true);
    expect(optionMeets(SMALL, { gpus: 1 })).toBe(false);
    expect(optionMeets(SMALL, { slots: 5 })).toBe(false);
    expect(optionMeets(SMALL, {})).toBe(true);
  });

  test("show a price by the hour", () => {
    expect(perHourWei(5n)).toBe(18_000n);
  });
});
