import { encodeCanonical, utf8 } from "@cloister/core";
import { expect, test } from "vitest";
import {
  CMW_KINDS,
  decodeAuthorityStatement,
  decodeCmw,
  decodeEndorsements,
  decodeEvidence,
  decodeMessages,
  decodeNodeStatement,
  encodeAuthorityStatement,
  encodeCmw,
  encodeEndorsements,
  encodeEvidence,
  encodeMessages,
  encodeNodeStatement,
  endorsementsDigest,
  evidenceDigest,
} from "../../src/index.ts";
import { authorityStatement, evidence, nodeStatement } from "../world.ts";

const malformed = expect.objectContaining({ code: "CMW_MALFORMED" });
const statementMalformed = expect.objectContaining({ code: "CERTIFICATE_STATEMENT_MALFORMED" });
const TYPE = "application/test";

test("records, evidence, endorsements and collections survive encoding", () => {
  const cmw = { mediaType: TYPE, value: utf8("x"), kinds: CMW_KINDS.endorsements };
  const endorsements = { tee: "tdx" as const, parts: { a: utf8("1"), b: utf8("2") } };
  expect(decodeCmw(encodeCmw(cmw))).toEqual(cmw);
  expect(decodeEvidence(encodeEvidence({ tee: "sgx", bytes: utf8("q") }))).toEqual({
    tee: "sgx",
    bytes: utf8("q"),
  });
  expect(decodeEndorsements(encodeEndorsements(endorsements))).toEqual(endorsements);
  const messages = { statement: utf8("s"), evidence: { "evidence.1": evidence, "evidence.12": evidence } };
  expect(decodeMessages(TYPE, encodeMessages(TYPE, messages))).toEqual(messages);
  expect(decodeNodeStatement(encodeNodeStatement(nodeStatement))).toEqual(nodeStatement);
  expect(decodeAuthorityStatement(encodeAuthorityStatement(authorityStatement))).toEqual(authorityStatement);
});

test("a record is an array of type, value and kind", () => {
  const bytes = encodeCmw({ mediaType: "a/b", value: utf8("x"), kinds: CMW_KINDS.evidence });
  expect(bytes).toEqual(encodeCanonical(["a/b", utf8("x"), 4]));
});

test("digests tell apart what differs in any part", () => {
  const all = [evidence, { ...evidence, bytes: utf8("other") }, { tee: evidence.tee, bytes: evidence.bytes }];
  expect(new Set(all.map(evidenceDigest)).size).toBe(3);
  const endorsements = { tee: "tdx" as const, parts: { a: utf8("1") } };
  expect(endorsementsDigest(endorsements)).not.toBe(
    endorsementsDigest({ ...endorsements, parts: { b: utf8("1") } }),
  );
});

const record = (mediaType: string, kinds: number): unknown => [mediaType, encodeEvidence(evidence), kinds];
const EVIDENCE = "application/vnd.cloister.evidence+cbor";
test.each<[string, unknown]>([
  ["no evidence", { statement: [TYPE, utf8("s"), 8] }],
  ["no statement", { evidence: record(EVIDENCE, 4) }],
  ["a label of neither", { statement: [TYPE, utf8("s"), 8], "evidence.x": record(EVIDENCE, 4) }],
  ["evidence of another type", { statement: [TYPE, utf8("s"), 8], evidence: record("a/b", 4) }],
  ["evidence of another kind", { statement: [TYPE, utf8("s"), 8], evidence: record(EVIDENCE, 8) }],
  ["a statement of another type", { statement: ["a/b", utf8("s"), 8], evidence: record(EVIDENCE, 4) }],
  ["a statement that is no result", { statement: [TYPE, utf8("s"), 4], evidence: record(EVIDENCE, 4) }],
  ["no map", [1, 2]],
  ["a record of four", { statement: [TYPE, utf8("s"), 8, 1], evidence: record(EVIDENCE, 4) }],
])("a collection with %s is refused", (_, collection) => {
  expect(() => decodeMessages(TYPE, encodeCanonical(collection))).toThrow(malformed);
});

test.each<[string, unknown]>([
  ["a foreign member", { tee: "tdx", bytes: utf8("x"), more: 1 }],
  ["a name of a TEE that is none", { tee: "TDX!", bytes: utf8("x") }],
  ["parts that are no bytes", { tee: "tdx", bytes: utf8("x"), parts: { a: 1 } }],
  [
    "too many parts",
    {
      tee: "tdx",
      bytes: utf8("x"),
      parts: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`p${n}`, utf8("x")])),
    },
  ],
])("evidence with %s is refused", (_, document) => {
  expect(() => decodeEvidence(encodeCanonical(document))).toThrow(malformed);
});

test("bytes that are no record are refused", () => {
  expect(() => decodeCmw(utf8("x"))).toThrow(malformed);
  expect(() => decodeCmw(encodeCanonical([TYPE, utf8("x"), 32]))).toThrow(malformed);
});

test.each<[string, unknown]>([
  ["a missing member", { ...nodeStatement, wrap: undefined }],
  ["a wrap key of 31 bytes", { ...nodeStatement, wrap: new Uint8Array(31) }],
  ["a status with spaces", { ...nodeStatement, tcbStatus: "Up To Date" }],
])("a node's statement with %s is refused", (_, statement) => {
  expect(() => decodeNodeStatement(encodeNodeStatement(statement as never))).toThrow(statementMalformed);
});
