import fc from "fast-check";
import { expect, test } from "vitest";
import { formatBytes, formatDuration, formatEther, parseUtc } from "../src/index.ts";

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [1_572_864, "1.5 MiB"],
  [5 * 1024 ** 4, "5.0 TiB"],
  [2048 * 1024 ** 4, "2048.0 TiB"],
])("%d bytes read %s", (sizeBytes, text) => {
  expect(formatBytes(sizeBytes)).toBe(text);
});

test.each([
  [0, "0 ms"],
  [820.4, "820 ms"],
  [12_340, "12.3 s"],
  [60_000, "1 min 00 s"],
  [245_400, "4 min 05 s"],
])("%d ms read %s", (durationMs, text) => {
  expect(formatDuration(durationMs)).toBe(text);
});

test.each([
  [0n, "0"],
  [1n, "0.000000000000000001"],
  [1_500_000_000_000_000_000n, "1.5"],
  [-250_000_000_000_000_000n, "-0.25"],
  [12_000_000_000_000_000_000n, "12"],
])("%d wei read %s ether", (amountWei, text) => {
  expect(formatEther(amountWei)).toBe(text);
});

test("no wei is lost in writing", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), (amountWei) => {
      const [whole = "", fraction = ""] = formatEther(amountWei).replace("-", "").split(".");
      const read = BigInt(whole + fraction.padEnd(18, "0"));
      expect(amountWei < 0n ? -read : read).toBe(amountWei);
    }),
  );
});

test.each([
  ["2027-01-31", 1_801_353_600_000],
  ["2028-02-29T23:59:59.5Z", 1_835_481_599_500],
])("%s is a moment", (text, timeMs) => {
  expect(parseUtc(text)).toBe(timeMs);
});

test.each([
  "2027-02-29",
  "2027-02-31T10:00:00Z",
  "2027-13-01",
  "2027-01-31T25:00:00Z",
  "2027-01-31T24:00:00Z",
  "2027-01-31T10:00:00",
  "2027-1-31",
  "31.1.2027",
  "tomorrow",
  "",
])("%j is none", (text) => {
  expect(parseUtc(text)).toBeUndefined();
});
