import { digestOf, fromHex, parseAddress, parseHex32, utf8, type OrderId } from "@cloister/core";
import { expect, test } from "vitest";
import {
  authoritySlot,
  isInForce,
  mappingSlot,
  measurementApprovalSlot,
  measurementIndexSlot,
  reportAnchorSlot,
  reportAnchorWord,
} from "../../src/index.ts";

const order = parseHex32(`0x${"0d".repeat(32)}`) as OrderId;

test("an anchor serves one order and one report", () => {
  const other = parseHex32(`0x${"0e".repeat(32)}`) as OrderId;
  const digests = [digestOf(utf8("a")), digestOf(utf8("b"))] as const;
  const words = [
    reportAnchorWord(order, digests[0]),
    reportAnchorWord(order, digests[1]),
    reportAnchorWord(other, digests[0]),
  ];
  expect(new Set(words.map((word) => word.join())).size).toBe(3);
  expect(reportAnchorSlot(order)).toBe(mappingSlot(order, 0));
});

test("the members of an array follow the hash of its position", () => {
  // keccak256(uint256(4)), the start of the array at position 4.
  expect(measurementApprovalSlot(0)).toBe(
    "0x8a35acfbc15ff81a39ae7d344fd709f28e8600b4aa8c65c6b64bfe7fe36bd19b",
  );
  expect(measurementApprovalSlot(2)).toBe(
    "0x8a35acfbc15ff81a39ae7d344fd709f28e8600b4aa8c65c6b64bfe7fe36bd19d",
  );
});

test("a layout can be another one", () => {
  const layout = { anchors: 9, measurements: 8, measurementIndexes: 7, authorities: 6 };
  const measurement = digestOf(utf8("m"));
  expect(reportAnchorSlot(order, layout)).not.toBe(reportAnchorSlot(order));
  expect(measurementIndexSlot(measurement, layout)).not.toBe(measurementIndexSlot(measurement));
  expect(measurementApprovalSlot(1, layout)).not.toBe(measurementApprovalSlot(1));
  const signer = parseAddress(`0x${"a1".repeat(20)}`);
  expect(authoritySlot(signer, layout)).toBe(
    mappingSlot(parseHex32(`0x${"00".repeat(12)}${"a1".repeat(20)}`), 6),
  );
});

test.each([
  ["an approval of the past", `${"00".repeat(30)}03e8`, true],
  ["an approval of this very second", `${"00".repeat(30)}07d0`, true],
  ["an approval that lies ahead", `${"00".repeat(30)}07d1`, false],
  ["no approval", "00".repeat(32), false],
  ["a revoked approval", `${"00".repeat(23)}01${"00".repeat(6)}03e8`, false],
  [
    "one that was revoked in a second that ends in a zero byte",
    `${"00".repeat(22)}0100${"00".repeat(6)}03e8`,
    false,
  ],
])("%s is in force: %s → %s", (_, hex, expected) => {
  expect(isInForce(fromHex(hex), 2_000_000)).toBe(expected);
});
