import { expect, test } from "vitest";
import { decodeCanonical, encodeCanonical, fromHex, toHex } from "../src/index.ts";

test("keys are sorted by their encoded bytes and absent members are left out", () => {
  expect(toHex(encodeCanonical({ b: 1, a: undefined, aa: 2 }))).toBe("a261620162616102");
});

test("a map in another order than the canonical one is refused", () => {
  expect(() => decodeCanonical(fromHex("a262616102616201"))).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^CBOR_/) }),
  );
});

test("an integer longer than necessary is refused", () => {
  expect(() => decodeCanonical(fromHex("1801"))).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^CBOR_/) }),
  );
});

test("a Buffer encodes as the byte string it is", () => {
  expect(toHex(encodeCanonical(Buffer.from("abc")))).toBe("43616263");
});
