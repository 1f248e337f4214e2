import { fromHex, toHex, utf8 } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeRlp, encodeRlp, type Rlp } from "../../src/index.ts";

test.each<[string, Rlp, string]>([
  ["the word dog", utf8("dog"), "83646f67"],
  ["a list of words", [utf8("cat"), utf8("dog")], "c88363617483646f67"],
  ["the empty string", new Uint8Array(0), "80"],
  ["the empty list", [], "c0"],
  ["a small byte", new Uint8Array([15]), "0f"],
  ["a byte that is not small", new Uint8Array([0x80]), "8180"],
  ["the set representation of three", [[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"],
  ["a long string", new Uint8Array(56), `b838${"00".repeat(56)}`],
])("%s is encoded as the Yellow Paper says", (_, item, hex) => {
  expect(toHex(encodeRlp(item))).toBe(hex);
  expect(decodeRlp(fromHex(hex))).toEqual(item);
});

test.each([
  ["nothing", ""],
  ["a length without bytes", "83646f"],
  ["bytes behind the item", "8080"],
  ["a small byte behind a length", "810f"],
  ["a long form of a short length", "b800"],
  ["a length with a leading zero", `b90038${"00".repeat(56)}`],
  ["a list whose item is longer than the list", "c28364"],
  ["a length of five bytes", "bc0000000100"],
  ["a length that is cut off", "b9"],
])("%s is refused", (_, hex) => {
  expect(() => decodeRlp(fromHex(hex))).toThrow(expect.objectContaining({ code: "RLP_MALFORMED" }));
});

test("deep nesting is refused", () => {
  let item: Rlp = [];
  for (let depth = 0; depth < 20; depth++) item = [item];
  expect(() => decodeRlp(encodeRlp(item))).toThrow(expect.objectContaining({ code: "RLP_MALFORMED" }));
});

const items = fc.letrec<{ item: Rlp }>((tie) => ({
  item: fc.oneof({ maxDepth: 3 }, fc.uint8Array({ maxLength: 300 }), fc.array(tie("item"), { maxLength: 5 })),
})).item;

test("what was encoded decodes to itself, and no other bytes do", () => {
  fc.assert(
    fc.property(items, (item) => {
      expect(decodeRlp(encodeRlp(item))).toEqual(item);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        expect(toHex(encodeRlp(decodeRlp(bytes)))).toBe(toHex(bytes));
      } catch (error) {
        expect(error).toMatchObject({ code: "RLP_MALFORMED" });
      }
    }),
    { numRuns: 2000 },
  );
});
