import {
  decodeCanonical,
  digestOf,
  ed25519PublicKey,
  ed25519Signer,
  encodeCanonical,
  sha256,
  utf8,
} from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  bundleReferenceValues,
  encodeReferenceValues,
  signReferenceValues,
  verifyReferenceValues,
  type BuilderPolicy,
  type ReferenceDocument,
} from "../../src/index.ts";

const NOW_MS = Date.UTC(2026, 5, 1);
const document: ReferenceDocument = {
  product: "cloister-node",
  issuedAtMs: NOW_MS - 1000,
  validUntilMs: NOW_MS + 1000,
  sourceDigest: digestOf(utf8("source")),
  entries: [{ tee: "tdx", measurement: digestOf(utf8("node on TDX")), name: "cloister-node 1.0.0" }],
};
const seeds = ["a", "b", "c"].map((name) => sha256(utf8(`builder ${name}`)));
const builders = seeds.map(ed25519PublicKey);
const policy: BuilderPolicy = { builders, threshold: 2 };
const bytes = encodeReferenceValues(document);

function signatureOf(builder: number, over = bytes, kid = builders[builder] as Uint8Array): Uint8Array {
  return signReferenceValues(over, kid, ed25519Signer(seeds[builder] as Uint8Array));
}

function judge(
  signatures: readonly Uint8Array[],
  options: Partial<BuilderPolicy> & { nowMs?: number; over?: Uint8Array } = {},
) {
  const { nowMs = NOW_MS, over = bytes } = options;
  return verifyReferenceValues(bundleReferenceValues(over, signatures), { ...policy, ...options }, nowMs);
}

function codes(verdict: ReturnType<typeof judge>): string[] {
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

describe("reference values", () => {
  test("of enough builders are taken", () => {
    const verdict = judge([signatureOf(0), signatureOf(2)]);
    expect(verdict).toMatchObject({ ok: true, value: { ...document, signedBy: [builders[0], builders[2]] } });
    const { measurement, name } = document.entries[0] as ReferenceDocument["entries"][number];
    expect(verdict.ok && verdict.value.values).toEqual([{ measurement, name }]);
  });

  test("of one builder who signed twice are those of one builder", () => {
    expect(codes(judge([signatureOf(0), signatureOf(0)]))).toEqual(["REFERENCE_VALUES_TOO_FEW_BUILDERS"]);
  });

  test("a stranger's signature neither counts nor harms", () => {
    const seed = sha256(utf8("stranger"));
    const stranger = signReferenceValues(bytes, ed25519PublicKey(seed), ed25519Signer(seed));
    expect(codes(judge([signatureOf(0), stranger]))).toEqual(["REFERENCE_VALUES_TOO_FEW_BUILDERS"]);
    expect(codes(judge([signatureOf(0), stranger, signatureOf(1)]))).toEqual([]);
  });

  test("a wrong signature under a builder's key is named", () => {
    const other = encodeReferenceValues({ ...document, product: "other" });
    expect(codes(judge([signatureOf(0), signatureOf(1), signatureOf(2, other)]))).toEqual([
      "REFERENCE_VALUES_SIGNATURE_INVALID",
    ]);
    const stolenName = signatureOf(2, bytes, builders[1]);
    expect(codes(judge([signatureOf(0), stolenName]))).toContain("REFERENCE_VALUES_SIGNATURE_INVALID");
  });

  test("are refused before and after their time", () => {
    const both = [signatureOf(0), signatureOf(1)];
    expect(codes(judge(both, { nowMs: NOW_MS + 5000 }))).toEqual(["REFERENCE_VALUES_EXPIRED"]);
    expect(codes(judge(both, { nowMs: NOW_MS - 5000 }))).toEqual(["REFERENCE_VALUES_EXPIRED"]);
  });

  test.each([0, 4])("a threshold of %i among three is no policy", (threshold) => {
    expect(codes(judge([signatureOf(0)], { threshold }))).toEqual(["REFERENCE_VALUES_POLICY_WRONG"]);
  });

  const plain = decodeCanonical(bytes) as Record<string, unknown>;
  const [entry] = document.entries;
  const twisted: [string, unknown][] = [
    ["no document at all", 1],
    ["another version", { ...plain, version: 2 }],
    ["a member that nobody knows", { ...plain, comment: "x" }],
    ["no entries", { ...plain, entries: [] }],
    ["a debug build", { ...plain, entries: [{ ...entry, debug: true }] }],
    ["a TEE that nobody knows", { ...plain, entries: [{ ...entry, tee: "abacus" }] }],
    ["a measurement that is no digest", { ...plain, entries: [{ ...entry, measurement: "sha256:00" }] }],
    ["times that are no times", { ...plain, issuedAtMs: -1 }],
    ["a source without digest", { ...plain, sourceDigest: "main" }],
  ];
  test.each(twisted)("with %s are malformed, however well signed", (_, twist) => {
    const over = encodeCanonical(twist);
    expect(codes(judge([signatureOf(0, over), signatureOf(1, over)], { over }))).toEqual([
      "REFERENCE_VALUES_MALFORMED",
    ]);
  });

  test("that are no bundle are malformed", () => {
    for (const bundle of [
      new Uint8Array(),
      utf8("{}"),
      encodeCanonical({ document: bytes }),
      encodeCanonical({ document: bytes, signatures: [1] }),
    ]) {
      expect(codes(verifyReferenceValues(bundle, policy, NOW_MS))).toEqual(["REFERENCE_VALUES_MALFORMED"]);
    }
  });

  test("are not written malformed", () => {
    expect(() => encodeReferenceValues({ ...document, entries: [] })).toThrow(
      expect.objectContaining({ code: "REFERENCE_VALUES_MALFORMED" }),
    );
  });
});
