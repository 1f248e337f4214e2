import { digestOf, encodeCanonical, utf8 } from "@cloister/core";
import { x25519Recipient } from "@cloister/custody";
import fc from "fast-check";
import { expect, test } from "vitest";
import { argumentsDigest, decodeArguments, encodeArguments, type OrderArguments } from "../src/index.ts";

const recipient = x25519Recipient(new Uint8Array(32).fill(9)).text;
const good: OrderArguments = { version: 1, purpose: "train", recipient, outputBytesMax: 1000 };

test("arguments are read back as they were written, and their digest is that of the bytes", () => {
  const full: OrderArguments = {
    ...good,
    inputs: ["a.csv", "b.csv"],
    memoryBytes: 65_536,
    runMs: 1000,
    engine: "{}",
  };
  for (const args of [good, full]) {
    expect(decodeArguments(encodeArguments(args))).toEqual(args);
    expect(argumentsDigest(args)).toBe(digestOf(encodeArguments(args)));
  }
});

const malformed: readonly [string, object][] = [
  ["document", []],
  ["surprise", { ...good, surprise: 1 }],
  ["version", { ...good, version: 2 }],
  ["purpose", { ...good, purpose: "Train it" }],
  ["recipient", { ...good, recipient: "age1nobody" }],
  ["outputBytesMax", { ...good, outputBytesMax: 0 }],
  ["outputBytesMax", { ...good, outputBytesMax: 1.5 }],
  ["inputs", { ...good, inputs: ["a", "a"] }],
  ["inputs", { ...good, inputs: ["../a"] }],
  ["inputs", { ...good, inputs: "a" }],
  ["inputs", { ...good, inputs: Array.from({ length: 32 }, (_, i) => `a${i}`) }],
  ["memoryBytes", { ...good, memoryBytes: -1 }],
  ["runMs", { ...good, runMs: "1" }],
  ["engine", { ...good, engine: 1 }],
];

test.each(malformed)("a wrong %s is refused with ARGUMENTS_MALFORMED", (member, document) => {
  expect(() => decodeArguments(encodeCanonical(document))).toThrow(
    expect.objectContaining({ code: "ARGUMENTS_MALFORMED", message: expect.stringContaining(`"${member}"`) }),
  );
});

test("any bytes are read, or refused with a code", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(() => decodeArguments(bytes)).toThrow(expect.objectContaining({ code: "ARGUMENTS_MALFORMED" }));
    }),
  );
  expect(() => decodeArguments(new Uint8Array(300_000))).toThrow(
    expect.objectContaining({ code: "ARGUMENTS_MALFORMED" }),
  );
  expect(() => decodeArguments(utf8("x"))).toThrow("canonical CBOR");
});
