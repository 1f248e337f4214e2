import { expect, test } from "vitest";
import { parseAddress, parseHex32 } from "../src/index.ts";

test("an address and an id are read in any case and kept in lower case", () => {
  expect(parseAddress(`0x${"aB".repeat(20)}`)).toBe(`0x${"ab".repeat(20)}`);
  expect(parseHex32(`0x${"Cd".repeat(32)}`)).toBe(`0x${"cd".repeat(32)}`);
});

test.each([
  "",
  "0x",
  "ab".repeat(20),
  `0x${"ab".repeat(19)}a`,
  `0x${"ab".repeat(21)}`,
  `0x${"zz".repeat(20)}`,
  `0X${"ab".repeat(20)}`,
  ` 0x${"ab".repeat(20)}`,
  `0x${"ab".repeat(20)}\n`,
])("%j is not an address", (text) => {
  expect(() => parseAddress(text)).toThrow(expect.objectContaining({ code: "ADDRESS_MALFORMED" }));
});

test.each(["", `0x${"ab".repeat(31)}`, `0x${"ab".repeat(33)}`, "ab".repeat(32), `0x${"ab".repeat(32)}\n`])(
  "%j is not an id",
  (text) => {
    expect(() => parseHex32(text)).toThrow(expect.objectContaining({ code: "ID_MALFORMED" }));
  },
);
