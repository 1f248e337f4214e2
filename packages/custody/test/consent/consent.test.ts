import { digestOf, encodeCanonical, parseAddress, utf8, type Digest } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  consentDigest,
  decodeConsent,
  diffConsent,
  encodeConsent,
  explainConsent,
  formatConsent,
  generateIdentity,
  judgeConsent,
  parseConsent,
  recipientDigest,
  type ConsentPolicy,
  type PlannedUse,
} from "../../src/index.ts";
import { entropy } from "../release/group.ts";

const digestNamed = (name: string): Digest => digestOf(utf8(name));
const recipient = generateIdentity(entropy).recipient.text;
const NODE = parseAddress(`0x${"0a".repeat(20)}`);
const CONTRACT = parseAddress(`0x${"0c".repeat(20)}`);

const policy: ConsentPolicy = {
  version: 1,
  engines: [digestNamed("engine")],
  purposes: ["train"],
  runsMax: 3,
  expiresAtMs: 2_000_000,
  outputBytesMax: 1000,
  recipients: [recipient],
  egress: "none",
  tees: ["tdx"],
  measurements: [digestNamed("image")],
  nodes: [NODE],
  market: { chainId: 31337, contract: CONTRACT },
};

const planned: PlannedUse = {
  engine: digestNamed("engine"),
  purpose: "train",
  runsUsed: 2,
  nowMs: 1_999_999,
  outputBytesMax: 1000,
  recipientDigest: recipientDigest(recipient),
  egress: "none",
  tee: "tdx",
  measurement: digestNamed("image"),
  node: NODE,
  market: { chainId: 31337, contract: CONTRACT },
};

const codes = (use: Partial<PlannedUse>, of: Partial<ConsentPolicy> = {}) =>
  judgeConsent({ ...policy, ...of }, { ...planned, ...use }).map(({ code }) => code);

describe("judgement", () => {
  test("a use within every limit has consent", () => {
    expect(codes({})).toEqual([]);
  });

  test.each<[string, Partial<PlannedUse>]>([
    ["CONSENT_ENGINE_NOT_LISTED", { engine: digestNamed("another") }],
    ["CONSENT_PURPOSE_NOT_LISTED", { purpose: "sell" }],
    ["CONSENT_RUNS_EXHAUSTED", { runsUsed: 3 }],
    ["CONSENT_EXPIRED", { nowMs: 2_000_001 }],
    ["CONSENT_REVOKED", { revokedAtMs: 1_999_999 }],
    ["CONSENT_OUTPUT_TOO_LARGE", { outputBytesMax: 1001 }],
    ["CONSENT_RECIPIENT_NOT_LISTED", { recipientDigest: digestNamed("thief") }],
    ["CONSENT_EGRESS_NOT_ALLOWED", { egress: ["example.org"] }],
    ["CONSENT_TEE_NOT_LISTED", { tee: "sgx" }],
    ["CONSENT_MEASUREMENT_NOT_LISTED", { measurement: digestNamed("debug image") }],
    ["CONSENT_NODE_NOT_LISTED", { node: CONTRACT }],
    ["CONSENT_OTHER_MARKET", { market: { chainId: 1, contract: CONTRACT } }],
    ["CONSENT_OTHER_MARKET", { market: { chainId: 31337, contract: NODE } }],
  ])("%s and nothing else", (code, use) => {
    expect(codes(use)).toEqual([code]);
  });

  test("every failed check is listed", () => {
    expect(codes({ purpose: "sell", runsUsed: 9, nowMs: 9e9, tee: "sgx" })).toEqual([
      "CONSENT_PURPOSE_NOT_LISTED",
      "CONSENT_RUNS_EXHAUSTED",
      "CONSENT_EXPIRED",
      "CONSENT_TEE_NOT_LISTED",
    ]);
  });

  test("a limit that is absent does not bind, and a revocation binds from its moment on", () => {
    const {
      expiresAtMs: _e,
      recipients: _r,
      tees: _t,
      measurements: _m,
      nodes: _n,
      market: _k,
      ...open
    } = policy;
    const foreign = {
      ...planned,
      nowMs: 9e9,
      tee: "sgx",
      node: CONTRACT,
      market: { chainId: 5, contract: NODE },
    };
    expect(
      judgeConsent(open, { ...foreign, measurement: digestNamed("x"), recipientDigest: digestNamed("y") }),
    ).toEqual([]);
    expect(codes({ revokedAtMs: 2_000_000 })).toEqual([]);
  });

  test("named hosts allow themselves only", () => {
    expect(codes({ egress: ["a.org"] }, { egress: ["a.org", "b.org"] })).toEqual([]);
    expect(codes({ egress: ["a.org", "c.org"] }, { egress: ["a.org"] })).toEqual([
      "CONSENT_EGRESS_NOT_ALLOWED",
    ]);
  });

  test("a policy without any run allows none", () => {
    expect(codes({ runsUsed: 0 }, { runsMax: 0 })).toEqual(["CONSENT_RUNS_EXHAUSTED"]);
  });
});

describe("document", () => {
  test("both forms read back, under one digest", () => {
    expect(decodeConsent(encodeConsent(policy))).toEqual(policy);
    expect(parseConsent(formatConsent(policy))).toEqual(policy);
    expect(consentDigest(parseConsent(formatConsent(policy)))).toBe(consentDigest(policy));
    expect(formatConsent(policy)).toContain('"expiresAt": "1970-01-01T00:33:20.000Z"');
  });

  test("the order in which items were typed does not matter", () => {
    const [a, b] = [digestNamed("a"), digestNamed("b")];
    expect(consentDigest({ ...policy, engines: [a, b] })).toBe(consentDigest({ ...policy, engines: [b, a] }));
  });

  test("any other value of a member is another digest", () => {
    const changes: Partial<ConsentPolicy>[] = [
      { runsMax: 4 },
      { purposes: ["infer"] },
      { egress: ["a.org"] },
      { outputBytesMax: 0 },
      { expiresAtMs: 2_000_001 },
    ];
    const digests = changes.map((change) => consentDigest({ ...policy, ...change }));
    expect(new Set([...digests, consentDigest(policy)]).size).toBe(changes.length + 1);
  });

  test.each<[string, string, unknown]>([
    ["version", "version", 2],
    ["no engines", "engines", []],
    ["an engine twice", "engines", [digestNamed("a"), digestNamed("a")]],
    ["an engine that is no digest", "engines[0]", ["sha256:AB"]],
    ["a purpose with a space", "purposes[0]", ["train it"]],
    ["a negative count", "runsMax", -1],
    ["half a run", "runsMax", 1.5],
    ["an end beyond the calendar", "expiresAtMs", 8.64e15 + 1],
    ["a recipient with a typing error", "recipients[0]", [`${recipient.slice(0, -1)}b`]],
    ["a word for egress", "egress", "all"],
    ["an address in mixed case", "nodes[0]", [`0x${"aB".repeat(20)}`]],
    ["a market without a contract", "contract", { chainId: 1 }],
  ])("is refused and the member named: %s", (_, path, value) => {
    const [member] = path.split("[");
    const name = path === "contract" ? "market" : (member as string);
    const document = { ...policy, [name]: value };
    for (const attempt of [
      () => parseConsent(JSON.stringify(document)),
      () => decodeConsent(encodeCanonical(document)),
    ]) {
      expect(attempt).toThrow(
        expect.objectContaining({ code: "CONSENT_MALFORMED", details: expect.objectContaining({ path }) }),
      );
    }
  });

  test.each([
    ["unknown members", JSON.stringify({ ...policy, engine: 1 })],
    ["a prototype", '{"__proto__": {"version": 1}}'],
    ["a list", "[]"],
    ["null", "null"],
    ["no JSON", "{"],
    ["two ends", JSON.stringify({ ...policy, expiresAt: "2027-01-01T00:00:00Z" })],
    ["an end that is no time", JSON.stringify({ ...policy, expiresAtMs: undefined, expiresAt: "tomorrow" })],
    ["too large a text", " ".repeat(100_000)],
  ])("is refused: %s", (_, text) => {
    expect(() => parseConsent(text)).toThrow(expect.objectContaining({ code: "CONSENT_MALFORMED" }));
  });

  test("no bytes make the decoder throw anything but its code", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => decodeConsent(bytes)).toThrow(expect.objectContaining({ code: "CONSENT_MALFORMED" }));
      }),
    );
  });
});

test("a policy can be told in sentences", () => {
  const text = explainConsent(policy).join("\n");
  for (const part of [
    "train",
    "3 runs",
    "1970-01-01T00:33:20",
    recipient,
    "no network",
    "tdx",
    "chain 31337",
  ])
    expect(text).toContain(part);
});

test("a difference says which way it goes", () => {
  const { nodes: _, ...rest } = policy;
  const changes = diffConsent(policy, {
    ...rest,
    runsMax: 1,
    purposes: ["train", "infer"],
    egress: ["a.org"],
    tees: ["sgx"],
  });
  expect(Object.fromEntries(changes.map(({ member, effect }) => [member, effect]))).toEqual({
    egress: "wider",
    nodes: "wider",
    purposes: "wider",
    runsMax: "narrower",
    tees: "different",
  });
  expect(diffConsent(policy, policy)).toEqual([]);
});
