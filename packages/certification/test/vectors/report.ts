import {
  decodeCanonical,
  ed25519PublicKey,
  ed25519Signer,
  encodeCanonical,
  sha256,
  signSign1,
  toHex,
  utf8,
} from "@cloister/core";
import {
  encodeIntegrityReport,
  encodeOrderReport,
  ORDER_REPORT_TYPE,
  signOrderReport,
} from "../../src/index.ts";
import { sampleIntegrity, sampleReport } from "../sample.ts";

type Document = Record<string, unknown>;
const seed = sha256(utf8("identity"));
const identity = ed25519PublicKey(seed);

/** Reports that are whole, and reports of which one thing is wrong. */
export function reportVectors() {
  const report = sampleReport();
  const failed = sampleReport({ exit: { code: 3, reason: "ENGINE_TRAPPED" }, outputs: [] });
  const signed = signOrderReport(report, { identity, sign: ed25519Signer(seed) });
  return {
    identity: toHex(identity),
    integrity: [
      {
        name: "one engine, two tables",
        section: "§2",
        bytes: toHex(encodeIntegrityReport(sampleIntegrity())),
        valid: true,
      },
      ...INTEGRITY_CHANGES.map(([name, change]) => {
        const document = decodeCanonical(encodeIntegrityReport(sampleIntegrity())) as Document;
        const bytes = toHex(encodeCanonical(change(document)));
        return { name, section: "§2", bytes, valid: false, code: "INTEGRITY_REPORT_MALFORMED" };
      }),
    ],
    order: [
      { name: "a run with one output", section: "§3", bytes: toHex(encodeOrderReport(report)), valid: true },
      { name: "a run that failed", section: "§3", bytes: toHex(encodeOrderReport(failed)), valid: true },
      ...ORDER_CHANGES.map(([name, section, change]) => {
        const document = decodeCanonical(encodeOrderReport(report)) as Document;
        const bytes = toHex(encodeCanonical(change(document)));
        return { name, section, bytes, valid: false, code: "ORDER_REPORT_MALFORMED" };
      }),
    ],
    signed: [
      {
        name: "signed by the node",
        section: "§4",
        bytes: toHex(signed.bytes),
        digest: signed.digest,
        valid: true,
      },
      ...signedChanges(encodeOrderReport(report)),
    ],
  };
}

const integrityOf = (document: Document, change: Document): Document => ({
  ...document,
  integrity: { ...(document["integrity"] as Document), ...change },
});

const INTEGRITY_CHANGES: [string, (document: Document) => unknown][] = [
  ["another version", (d) => ({ ...d, version: 2 })],
  ["no inputs", (d) => ({ ...d, inputs: [] })],
  ["the engine last", (d) => ({ ...d, inputs: (d["inputs"] as unknown[]).toReversed() })],
  ["an address as text", (d) => ({ ...d, node: "0xdededededededededededededededededededede" })],
  ["a foreign member", (d) => ({ ...d, note: "x" })],
  ["a missing member", ({ salt: _, ...d }) => d],
  ["a recipient that is none", (d) => ({ ...d, recipient: "AGE1" })],
];

const ORDER_CHANGES: [string, string, (document: Document) => unknown][] = [
  ["another version", "§1", (d) => ({ ...d, version: 2 })],
  ["a foreign member", "§1", (d) => ({ ...d, note: "x" })],
  ["a digest of 31 bytes", "§1", (d) => integrityOf(d, { args: new Uint8Array(31) })],
  ["no evidence", "§3", (d) => ({ ...d, evidence: [] })],
  ["success with a reason", "§3", (d) => ({ ...d, exit: { code: 0, reason: "ENGINE_TRAPPED" } })],
  ["outputs of a failed run", "§3", (d) => ({ ...d, exit: { code: 1, reason: "ENGINE_TRAPPED" } })],
  ["an end before the start", "§3", (d) => ({ ...d, endedAtMs: 1 })],
  ["a wipe before the end", "§3", (d) => ({ ...d, wipe: { wiped: [], wipedAtMs: 1 } })],
  [
    "two outputs of one name",
    "§3",
    (d) => ({ ...d, outputs: [...(d["outputs"] as unknown[]), ...(d["outputs"] as unknown[])] }),
  ],
  [
    "more output than the limit",
    "§3",
    (d) => integrityOf(d, { limits: { memoryBytes: 1, runMs: 1, outputBytes: 1 } }),
  ],
];

function signedChanges(payload: Uint8Array) {
  const statement = {
    contentType: ORDER_REPORT_TYPE,
    kid: sha256(identity),
    payload,
    sign: ed25519Signer(seed),
  };
  const refused = (name: string, bytes: Uint8Array, code: string) => ({
    name,
    section: "§4",
    bytes: toHex(bytes),
    valid: false,
    code,
  });
  const whole = signSign1(statement);
  const other = ed25519Signer(sha256(utf8("someone else")));
  return [
    refused(
      "of another content type",
      signSign1({ ...statement, contentType: "application/cbor" }),
      "ORDER_REPORT_MALFORMED",
    ),
    refused(
      "with a short key id",
      signSign1({ ...statement, kid: identity.subarray(1) }),
      "ORDER_REPORT_MALFORMED",
    ),
    refused("followed by a byte", new Uint8Array([...whole, 0]), "CBOR_MALFORMED"),
    {
      ...refused("signed by another key", signSign1({ ...statement, sign: other }), ""),
      code: undefined,
      valid: false,
      opens: true,
    },
    {
      ...refused("under another key's name", signSign1({ ...statement, kid: sha256(utf8("x")) }), ""),
      code: undefined,
      valid: false,
      opens: true,
    },
  ];
}
