import fc from "fast-check";
import { expect, test } from "vitest";
import { concat, equalBytes, fromBase64, fromHex, fromUtf8, toBase64, toHex, utf8 } from "../src/index.ts";

const bytes = fc.uint8Array({ maxLength: 300 });

test("hex, base64 and text come back as they went", () => {
  fc.assert(
    fc.property(bytes, fc.string({ unit: "grapheme" }), (sample, text) => {
      expect(fromHex(toHex(sample))).toEqual(sample);
      expect(fromHex(`0x${toHex(sample).toUpperCase()}`)).toEqual(sample);
      expect(fromBase64(toBase64(sample))).toEqual(sample);
      expect(fromUtf8(utf8(text))).toBe(text);
    }),
  );
});

test("hex and base64 agree with Node's", () => {
  fc.assert(
    fc.property(bytes, (sample) => {
      expect(toHex(sample)).toBe(Buffer.from(sample).toString("hex"));
      expect(toBase64(sample)).toBe(Buffer.from(sample).toString("base64"));
      expect(fromBase64(Buffer.from(sample).toString("base64url"))).toEqual(sample);
    }),
  );
});

test("base64 of more than one chunk is whole", () => {
  const sample = Uint8Array.from({ length: 20_000 }, (_, index) => (index * 31) & 255);
  expect(toBase64(sample)).toBe(Buffer.from(sample).toString("base64"));
});

test.each(["0", "0x0", "zz", "12 4", "0x12é4", "-1"])("the text %j is not hex", (text) => {
  expect(() => fromHex(text)).toThrow(expect.objectContaining({ code: "BYTES_HEX_MALFORMED" }));
});

test.each(["!", "A", "AA=A", "é"])("the text %j is not base64", (text) => {
  expect(() => fromBase64(text)).toThrow(expect.objectContaining({ code: "BYTES_BASE64_MALFORMED" }));
});

test.each(["ff", "c0af", "eda080", "f8888080", "e282"])("the bytes %s are not UTF-8", (hex) => {
  expect(() => fromUtf8(fromHex(hex))).toThrow(expect.objectContaining({ code: "BYTES_UTF8_MALFORMED" }));
});

test("a byte order mark is a character like any other", () => {
  expect(fromUtf8(fromHex("efbbbf61"))).toBe("\uFEFFa");
});

test("joining keeps order and copies", () => {
  const part = Uint8Array.of(1, 2);
  const whole = concat(part, new Uint8Array(0), Uint8Array.of(3));
  part[0] = 9;
  expect(whole).toEqual(Uint8Array.of(1, 2, 3));
  expect(concat()).toEqual(new Uint8Array(0));
});

test("bytes are equal exactly when each byte is", () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0);
      expect(equalBytes(a, Uint8Array.from(a))).toBe(true);
    }),
  );
  expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
  expect(equalBytes(Uint8Array.of(1), Uint8Array.of(1, 0))).toBe(false);
});
