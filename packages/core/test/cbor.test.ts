import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeCanonical, encodeCanonical, fromHex, toHex } from "../src/index.ts";

test("keys are sorted by their encoded bytes and absent members are left out", () => {
  expect(toHex(encodeCanonical({ b: 1, a: undefined, aa: 2 }))).toBe("a261620162616102");
});

test("a Buffer encodes as the byte string it is", () => {
  expect(toHex(encodeCanonical(Buffer.from("abc")))).toBe("43616263");
});

const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.maxSafeInteger(),
  fc.string({ unit: "grapheme" }),
  fc.uint8Array({ maxLength: 40 }),
);
const { document } = fc.letrec((tie) => ({
  document: fc.oneof(
    { depthSize: "small" },
    leaf,
    fc.array(tie("document"), { maxLength: 4 }),
    fc.dictionary(fc.string({ minLength: 1 }), tie("document"), { maxKeys: 4 }),
  ),
}));

test("a document has one encoding, which decodes to the same document", () => {
  fc.assert(
    fc.property(document, (value) => {
      const bytes = encodeCanonical(value);
      expect(encodeCanonical(decodeCanonical(bytes))).toEqual(bytes);
    }),
  );
});

test("members that need care keep their value", () => {
  const odd = fromHex("a1695f5f70726f746f5f5f01");
  expect(Object.entries(decodeCanonical(odd) as object)).toEqual([["__proto__", 1]]);
  expect(encodeCanonical(decodeCanonical(odd))).toEqual(odd);
  expect(decodeCanonical(encodeCanonical(2n ** 200n))).toBe(2n ** 200n);
});

test.each([
  ["nothing", ""],
  ["keys out of order", "a262616102616201"],
  ["a key twice", "a2616101616102"],
  ["an integer longer than necessary", "1801"],
  ["an indefinite length", "9f01ff"],
  ["bytes behind the end", "0000"],
  ["a string that ends early", "4561"],
  ["an array that claims more than there is", "9b0000ffffffffffff"],
  ["a string that claims 2^64 bytes", "5bffffffffffffffff"],
  ["arrays nested without end", "81".repeat(100_000)],
  ["text that is not UTF-8", "61ff"],
])("%s is malformed", (_, hex) => {
  expect(() => decodeCanonical(fromHex(hex))).toThrow(expect.objectContaining({ code: "CBOR_MALFORMED" }));
});

test.each([
  ["an unassigned simple value", "e7"],
  ["a whole number written as a float", "f97240"],
  ["a date tag", "c1fa400bce39"],
])("%s is not canonical", (_, hex) => {
  expect(() => decodeCanonical(fromHex(hex))).toThrow(
    expect.objectContaining({ code: "CBOR_NOT_CANONICAL" }),
  );
});

test("arbitrary bytes decode to what encodes to them, or are refused with a code", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
      try {
        expect(encodeCanonical(decodeCanonical(bytes))).toEqual(bytes);
      } catch (error) {
        expect(error).toHaveProperty("code", expect.stringMatching(/^CBOR_/));
      }
    }),
    { numRuns: 2000 },
  );
});
