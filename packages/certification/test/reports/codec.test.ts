import {
  concat,
  decodeCanonical,
  digestOf,
  ed25519PublicKey,
  ed25519Signer,
  encodeCanonical,
  sha256,
  signSign1,
  utf8,
} from "@cloister/core";
import { expect, test } from "vitest";
import {
  decodeIntegrityReport,
  decodeOrderReport,
  encodeIntegrityReport,
  encodeOrderReport,
  integrityDigest,
  openOrderReport,
  ORDER_REPORT_TYPE,
  signOrderReport,
  verifyOrderReport,
  type OrderReport,
} from "../../src/index.ts";
import { input, sampleIntegrity, sampleReport } from "../sample.ts";

const seed = sha256(utf8("identity"));
const identity = ed25519PublicKey(seed);
const signer = { identity, sign: ed25519Signer(seed) };
const malformed = expect.objectContaining({ code: "ORDER_REPORT_MALFORMED" });

test("reports survive encoding", () => {
  expect(decodeOrderReport(encodeOrderReport(sampleReport()))).toEqual(sampleReport());
  expect(decodeIntegrityReport(encodeIntegrityReport(sampleIntegrity()))).toEqual(sampleIntegrity());
});

test("the digest of the integrity report changes with every member", () => {
  const changes = [
    ...[{ chainId: 1 }, { term: 4 }, { epoch: 3 }, { egress: "api.example:443" }, { preparedAtMs: 1 }],
    ...[{ args: digestOf(utf8("x")) }, { salt: sampleIntegrity().orderId }, { inputs: [input("engine")] }],
    { limits: { memoryBytes: 1, runMs: 1, outputBytes: 1 } },
  ];
  const digests = [{}, ...changes].map((change) => integrityDigest(sampleIntegrity(change)));
  expect(new Set(digests).size).toBe(changes.length + 1);
});

test("a signed report names its signer and verifies with that key alone", () => {
  const signed = signOrderReport(sampleReport(), signer);
  expect(signed.kid).toEqual(sha256(identity));
  expect(signed.digest).toBe(digestOf(signed.bytes));
  expect(verifyOrderReport(signed, identity)).toBe(true);
  expect(verifyOrderReport(signed, ed25519PublicKey(sha256(utf8("other"))))).toBe(false);
  expect(openOrderReport(signed.bytes)).toEqual(signed);
});

test("a statement of another kind does not pass for a report", () => {
  const statement = {
    contentType: "application/vnd.cloister.key-release+cbor",
    kid: sha256(identity),
    payload: encodeOrderReport(sampleReport()),
    sign: signer.sign,
  };
  expect(() => openOrderReport(signSign1(statement))).toThrow(malformed);
  expect(() =>
    openOrderReport(signSign1({ ...statement, contentType: ORDER_REPORT_TYPE, kid: identity.subarray(1) })),
  ).toThrow(malformed);
});

test("a signature under another key's name does not verify", () => {
  const bytes = signSign1({
    contentType: ORDER_REPORT_TYPE,
    kid: sha256(utf8("someone else")),
    payload: encodeOrderReport(sampleReport()),
    sign: signer.sign,
  });
  expect(verifyOrderReport(openOrderReport(bytes), identity)).toBe(false);
});

test("a signed report with any changed byte is refused", () => {
  const { bytes } = signOrderReport(sampleReport(), signer);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] as number) ^ 0x04;
    expect(verifies(changed)).toBe(false);
  }
});

function verifies(bytes: Uint8Array): boolean {
  try {
    return verifyOrderReport(openOrderReport(bytes), identity);
  } catch (error) {
    expect(error).toMatchObject({ code: expect.stringMatching(/^(COSE|ORDER_REPORT|CBOR)_/) });
    return false;
  }
}

const output = sampleReport().outputs[0] as OrderReport["outputs"][number];
test.each<[string, Partial<OrderReport>]>([
  ["no engine", { integrity: sampleIntegrity({ inputs: [input("data", 1)] }) }],
  [
    "an engine that is not first",
    { integrity: sampleIntegrity({ inputs: [input("data", 1), input("engine")] }) },
  ],
  ["two engines", { integrity: sampleIntegrity({ inputs: [input("engine"), input("engine", 2)] }) }],
  ["another engine than its input", { integrity: sampleIntegrity({ engine: digestOf(utf8("other")) }) }],
  ["a recipient that is none", { integrity: sampleIntegrity({ recipient: "AGE-SECRET-KEY-1" }) }],
  ["an egress that is no destination", { integrity: sampleIntegrity({ egress: "any where" }) }],
  ["a negative term", { integrity: sampleIntegrity({ term: -1 }) }],
  ["two outputs of one name", { outputs: [output, output] }],
  ["an output with a path", { outputs: [{ ...output, name: "../model" }] }],
  ["more output than the limit", { outputs: [{ ...output, sizeBytes: 2 ** 21 }] }],
  ["outputs of a failed run", { exit: { code: 3, reason: "ENGINE_TRAPPED" } }],
  ["success with a reason", { exit: { code: 0, reason: "ENGINE_TRAPPED" } }],
  ["failure without a reason", { exit: { code: 3, reason: "done" }, outputs: [] }],
  ["a start before the preparation", { startedAtMs: 1 }],
  ["an end before the start", { endedAtMs: 1_790_000_000_100 }],
  ["a wipe before the end", { wipe: { wiped: [], wipedAtMs: 1 } }],
  ["no evidence", { evidence: [] as never }],
  ["another version", { version: 2 as never }],
  [
    "too many outputs",
    { outputs: Array.from({ length: 33 }, (_, n) => ({ ...output, name: `o${n}`, sizeBytes: 1 })) },
  ],
])("a report with %s is not encoded", (_, changes) => {
  expect(() => encodeOrderReport(sampleReport(changes))).toThrow(malformed);
});

test("a failed run is reported without outputs", () => {
  const report = sampleReport({ exit: { code: 3, reason: "ENGINE_TRAPPED" }, outputs: [] });
  expect(decodeOrderReport(encodeOrderReport(report))).toEqual(report);
});

type Document = Record<string, unknown>;
test.each<[string, (document: Document) => unknown]>([
  ["a foreign member", (d) => ({ ...d, note: "x" })],
  ["a missing member", ({ wipe: _, ...d }) => d],
  [
    "a digest of 31 bytes",
    (d) => ({ ...d, integrity: { ...(d["integrity"] as Document), args: new Uint8Array(31) } }),
  ],
  ["an address as text", (d) => ({ ...d, integrity: { ...(d["integrity"] as Document), client: "0x00" } })],
  ["a time that is no integer", (d) => ({ ...d, endedAtMs: 1_790_000_000_900.5 })],
  ["a negative zero", (d) => ({ ...d, integrity: { ...(d["integrity"] as Document), term: -0 } })],
  ["a list in place of a map", (d) => ({ ...d, exit: [0, "done"] })],
  ["a map in place of a list", (d) => ({ ...d, outputs: {} })],
  [
    "a number in place of a flag",
    (d) => ({ ...d, evidence: [{ ...(d["evidence"] as Document[])[0], simulated: 1 }] }),
  ],
  ["no map at all", () => [1, 2]],
])("a document with %s is refused", (_, change) => {
  const document = decodeCanonical(encodeOrderReport(sampleReport())) as Document;
  expect(() => decodeOrderReport(encodeCanonical(change(document)))).toThrow(malformed);
});

test("bytes behind the document, too many bytes and no CBOR are refused", () => {
  const bytes = encodeOrderReport(sampleReport());
  expect(() => decodeOrderReport(concat(bytes, new Uint8Array(1)))).toThrow(malformed);
  expect(() => decodeOrderReport(new Uint8Array(40_000))).toThrow(malformed);
  expect(() => openOrderReport(new Uint8Array(40_000))).toThrow(malformed);
  expect(() => decodeIntegrityReport(utf8("{}"))).toThrow(
    expect.objectContaining({ code: "INTEGRITY_REPORT_MALFORMED" }),
  );
});
