import { sha256, utf8 } from "@cloister/core";
import { expect, test } from "vitest";
import {
  evaluate,
  evaluateCommitment,
  Fn,
  knows,
  lagrange,
  Point,
  proveKnowledge,
  randomScalar,
  readPoint,
  readScalar,
} from "../../src/threshold/field.ts";
import { entropyFrom } from "./hall.ts";

test("any threshold of shares interpolates to the secret, and the commitment to its public key", () => {
  const entropy = entropyFrom("polynomial");
  const coefficients = [randomScalar(entropy), randomScalar(entropy), randomScalar(entropy)];
  for (const indexes of [
    [1, 2, 3],
    [2, 5, 9],
    [9, 4, 1],
  ]) {
    const parts = indexes.map((index) => Fn.mul(lagrange(indexes, index), evaluate(coefficients, index)));
    expect(parts.reduce((sum, part) => Fn.add(sum, part), 0n)).toBe(coefficients[0]);
  }
  const commitment = coefficients.map((coefficient) => Point.BASE.multiply(coefficient));
  expect(evaluateCommitment(commitment, 7).equals(Point.BASE.multiply(evaluate(coefficients, 7)))).toBe(true);
});

test("a proof of knowledge holds for its point and its context alone", () => {
  const secret = randomScalar(entropyFrom("secret"));
  const [point, context] = [Point.BASE.multiply(secret), [utf8("session"), utf8("dealer")]];
  const proof = proveKnowledge(secret, context, entropyFrom("nonce"));
  expect(knows(point, context, proof)).toBe(true);
  expect(knows(point, [utf8("session"), utf8("another dealer")], proof)).toBe(false);
  expect(knows(point.double(), context, proof)).toBe(false);
  expect(knows(point, context, new Uint8Array(64).fill(255))).toBe(false);
  expect(knows(point, context, new Uint8Array(0))).toBe(false);
});

test.each([
  ["the identity", Point.ZERO.toBytes()],
  ["a point of small order", new Uint8Array(32)],
  ["no point", new Uint8Array(32).fill(255)],
  ["too few bytes", sha256(utf8("x")).subarray(1)],
])("%s is refused as a point", (_, bytes) => {
  expect(() => readPoint(bytes)).toThrow(expect.objectContaining({ code: "THRESHOLD_POINT_INVALID" }));
});

test("a number above the order is refused as a scalar", () => {
  for (const bytes of [new Uint8Array(32).fill(255), new Uint8Array(31)]) {
    expect(() => readScalar(bytes)).toThrow(expect.objectContaining({ code: "THRESHOLD_SCALAR_INVALID" }));
  }
});
