import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  digestBytes,
  digestFrom,
  digestOf,
  digestOfDocument,
  digestToHex,
  encodeCanonical,
  isDigest,
  parseDigest,
  utf8,
} from "../src/index.ts";

const EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

test("the digest of nothing is the one sha256sum prints", () => {
  expect(digestOf(new Uint8Array(0))).toBe(EMPTY);
});

test("digests agree with node:crypto", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(digestOf(bytes)).toBe(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
    }),
  );
});

test("a document's digest is its canonical encoding's and does not depend on the order of its members", () => {
  expect(digestOfDocument({ b: 1, a: 2 })).toBe(digestOf(encodeCanonical({ a: 2, b: 1 })));
  expect(digestOfDocument({ a: 1 })).not.toBe(digestOfDocument({ a: 2 }));
});

test("the three forms of a digest convert into one another", () => {
  const digest = digestOf(utf8("cloister"));
  expect(digestFrom(digestBytes(digest))).toBe(digest);
  expect(digestFrom(digestToHex(digest))).toBe(digest);
  expect(parseDigest(digest)).toBe(digest);
});

test.each([
  "",
  "sha256:",
  EMPTY.slice(0, -1),
  `${EMPTY}0`,
  EMPTY.toUpperCase(),
  EMPTY.replace("sha256", "sha512"),
  `${EMPTY}\n`,
  EMPTY.replace("e3", "g3"),
])("%j is not a digest", (text) => {
  expect(isDigest(text)).toBe(false);
  expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: "DIGEST_MALFORMED" }));
});

test("31 or 33 bytes are not a digest", () => {
  for (const length of [31, 33]) {
    expect(() => digestFrom(new Uint8Array(length))).toThrow(
      expect.objectContaining({ code: "DIGEST_MALFORMED" }),
    );
  }
});
