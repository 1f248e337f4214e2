import { readFileSync } from "node:fs";
import { digestOf, fromHex, parseAddress, toHex, utf8 } from "@cloister/core";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { describe, expect, test } from "vitest";
import { consentSigningDigest, verifyConsentSignature, type ConsentStatement } from "../../src/index.ts";

const vector = JSON.parse(
  readFileSync(new URL("../../../../spec/vectors/consent-signatures.json", import.meta.url), "utf8"),
) as {
  owner: string;
  market: { chainId: number; contract: string };
  consentText: string;
  sealedText: string;
  effectiveAtMs: number;
  grant: { signingDigest: string; signature: string };
  revocation: { signingDigest: string; signature: string };
};

const owner = parseAddress(vector.owner);
const market = { chainId: vector.market.chainId, contract: parseAddress(vector.market.contract) };
const consentDigest = digestOf(utf8(vector.consentText));
const grant: ConsentStatement = {
  kind: "grant",
  market,
  consentDigest,
  sealedDigest: digestOf(utf8(vector.sealedText)),
};
const revocation: ConsentStatement = {
  kind: "revocation",
  market,
  consentDigest,
  effectiveAtMs: vector.effectiveAtMs,
};
const cases = [
  ["grant", grant, vector.grant],
  ["revocation", revocation, vector.revocation],
] as const;

test.each(cases)("a wallet's %s verifies", (_, statement, { signingDigest, signature }) => {
  expect(toHex(consentSigningDigest(statement))).toBe(signingDigest);
  expect(verifyConsentSignature(statement, fromHex(signature), owner)).toEqual({
    ok: true,
    value: statement,
  });
});

describe("is refused", () => {
  const signature = fromHex(vector.grant.signature);
  const codeOf = (statement: ConsentStatement, by: Uint8Array, of = owner) => {
    const verdict = verifyConsentSignature(statement, by, of);
    return verdict.ok ? "accepted" : verdict.refusals[0].code;
  };

  test.each<[string, ConsentStatement]>([
    ["on another chain", { ...grant, market: { ...market, chainId: 1 } }],
    ["on another contract", { ...grant, market: { ...market, contract: owner } }],
    ["for another object", { ...grant, sealedDigest: consentDigest }],
    ["for another consent", { ...grant, consentDigest: grant.sealedDigest }],
    ["as a revocation", { ...revocation }],
    ["with another time of effect", { ...revocation, effectiveAtMs: 1 }],
  ])("a grant replayed %s", (_, statement) => {
    expect(codeOf(statement, signature)).toMatch(/CONSENT_SIGNER_NOT_OWNER|CONSENT_SIGNATURE_INVALID/);
  });

  test("a signature of somebody else", () => {
    expect(codeOf(grant, signature, market.contract)).toBe("CONSENT_SIGNER_NOT_OWNER");
  });

  test("a malformed one, and the second one that anyone can make from the first", () => {
    const s = secp256k1.Point.Fn.neg(BigInt(`0x${toHex(signature.subarray(32, 64))}`));
    const mirrored = fromHex(toHex(signature.subarray(0, 32)) + s.toString(16).padStart(64, "0") + "1b");
    for (const bytes of [
      signature.subarray(1),
      new Uint8Array(65),
      new Uint8Array(0),
      signature.with(64, 0),
      mirrored,
    ])
      expect(codeOf(grant, bytes)).toBe("CONSENT_SIGNATURE_INVALID");
  });
});
