import { digestOf, parseAddress, utf8 } from "@cloister/core";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { describe, expect, test } from "vitest";
import {
  consentDigest,
  consentSigningDigest,
  formatSignedConsent,
  isSignedConsent,
  judgeSignedConsent,
  parseSignedConsent,
  type ConsentPolicy,
  type SignedConsent,
} from "../../src/index.ts";

const secret = keccak_256(utf8("owner"));
const point = secp256k1.getPublicKey(secret, false).subarray(1);
const owner = parseAddress(`0x${Buffer.from(keccak_256(point).subarray(12)).toString("hex")}`);
const market = { chainId: 31_337, contract: parseAddress(`0x${"0c".repeat(20)}`) };
const policy: ConsentPolicy = {
  version: 1,
  engines: [digestOf(utf8("engine"))],
  purposes: ["train"],
  runsMax: 3,
  expiresAtMs: 2_000_000,
  outputBytesMax: 1000,
  egress: "none",
};

function sign(changes: Partial<SignedConsent["grant"]> = {}, of = policy): SignedConsent {
  const sealedDigest = digestOf(utf8("object"));
  const grant = {
    kind: "grant" as const,
    market,
    consentDigest: consentDigest(of),
    sealedDigest,
    ...changes,
  };
  const recovered = secp256k1.sign(consentSigningDigest(grant), secret, {
    prehash: false,
    format: "recovered",
  });
  const signature = new Uint8Array([...recovered.subarray(1), 27 + (recovered[0] as number)]);
  return { policy: of, grant, owner, signature };
}

const codes = (signed: SignedConsent, isContract = false): string[] => {
  const verdict = judgeSignedConsent(signed, isContract);
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
};

test("a signed consent is written, read, and holds", () => {
  const signed = sign();
  const text = formatSignedConsent(signed);
  expect(isSignedConsent(text)).toBe(true);
  expect(parseSignedConsent(text)).toEqual(signed);
  expect(codes(parseSignedConsent(text))).toEqual([]);
});

test("what was changed after the signature does not hold", () => {
  const signed = sign();
  const wider = { ...policy, runsMax: 4 };
  const read = parseSignedConsent(formatSignedConsent({ ...signed, policy: wider }));
  expect(codes(read)).toEqual(["CONSENT_SIGNER_NOT_OWNER"]);
  const other = { ...signed.grant, sealedDigest: digestOf(utf8("another object")) };
  expect(codes({ ...signed, grant: other })).toEqual(["CONSENT_SIGNER_NOT_OWNER"]);
  const elsewhere = { ...signed.grant, market: { ...market, chainId: 1 } };
  expect(codes({ ...signed, grant: elsewhere })).toEqual(["CONSENT_SIGNER_NOT_OWNER"]);
  expect(codes({ ...signed, owner: market.contract })).toEqual(["CONSENT_SIGNER_NOT_OWNER"]);
  expect(codes({ ...signed, signature: signed.signature.subarray(1) })).toEqual([
    "CONSENT_SIGNATURE_INVALID",
  ]);
});

test("a policy for another market than it was signed for does not hold, also from a contract wallet", () => {
  const bound = { ...policy, market: { ...market, chainId: 1 } };
  expect(codes(sign({}, bound))).toEqual(["CONSENT_OTHER_MARKET"]);
  expect(codes(sign({}, bound), true)).toEqual(["CONSENT_OTHER_MARKET"]);
  expect(codes({ ...sign(), signature: new Uint8Array(3) }, true)).toEqual([]);
});

describe("is refused as malformed", () => {
  const document = JSON.parse(formatSignedConsent(sign())) as Record<string, unknown>;
  test.each([
    ["no object", { object: undefined }],
    ["another word for the object", { object: "birds.csv" }],
    ["an owner in upper case", { owner: owner.toUpperCase() }],
    ["a surplus member", { note: "x" }],
    ["a market without a contract", { market: { chainId: 1 } }],
    ["a market with more", { market: { ...market, name: "x" } }],
    ["a chain that is no number", { market: { ...market, chainId: "1" } }],
    ["a policy that is none", { consent: { version: 1 } }],
    ["a signature that is no hex", { signature: "0xzz" }],
    ["a signature without end", { signature: `0x${"00".repeat(8_193)}` }],
  ])("%s", (_, changes) => {
    expect(() => parseSignedConsent(JSON.stringify({ ...document, ...changes }))).toThrow(
      expect.objectContaining({ code: "CONSENT_MALFORMED" }),
    );
  });

  test.each(["", "[]", "null", "{", " ".repeat(200_000)])("the text %#", (text) => {
    expect(isSignedConsent(text)).toBe(false);
    expect(() => parseSignedConsent(text)).toThrow(expect.objectContaining({ code: "CONSENT_MALFORMED" }));
  });
});
