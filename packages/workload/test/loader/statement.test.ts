import {
  ed25519PublicKey,
  ed25519Signer,
  encodeCanonical,
  openSign1,
  signSign1,
  sha256,
  type Address,
  type Hex32,
} from "@cloister/core";
import { expect, test } from "vitest";
import {
  openOrderRefusal,
  REFUSAL_TYPE,
  signOrderRefusal,
  verifyOrderRefusal,
  type OrderRefusal,
} from "../../src/index.ts";

const seed = new Uint8Array(32).fill(5);
const identity = ed25519PublicKey(seed);
const signer = { identity, sign: ed25519Signer(seed) };

const refusal: OrderRefusal = {
  version: 1,
  chainId: 31_337,
  contract: `0x${"a".repeat(40)}` as Address,
  orderId: `0x${"b".repeat(64)}` as Hex32,
  node: `0x${"c".repeat(40)}` as Address,
  term: 3,
  epoch: 2,
  refusedAtMs: 1_800_000_000_000,
  refusals: [{ code: "LOADER_OBJECT_MISSING", reason: "The store does not hold the object." }],
};

test("a refusal is read back as it was signed", () => {
  const signed = signOrderRefusal(refusal, signer);
  expect(signed.refusal).toEqual(refusal);
  expect(openOrderRefusal(signed.bytes)).toEqual(signed);
  expect(verifyOrderRefusal(signed, identity)).toBe(true);
});

test("reasons too long or too many are cut, so that a refusal can always be signed", () => {
  const reason = { code: "LONG", reason: "x".repeat(1000) };
  const signed = signOrderRefusal(
    { ...refusal, refusals: [reason, ...Array.from({ length: 99 }, () => reason)] },
    signer,
  );
  expect(signed.refusal.refusals).toHaveLength(64);
  expect(signed.refusal.refusals[0].reason).toHaveLength(300);
});

test("a statement that names another key than the one that signed it does not hold", () => {
  const { payload } = openSign1(signOrderRefusal(refusal, signer).bytes);
  const bytes = signSign1({ contentType: REFUSAL_TYPE, kid: new Uint8Array(32), payload, sign: signer.sign });
  expect(verifyOrderRefusal(openOrderRefusal(bytes), identity)).toBe(false);
});

test("another identity and every changed byte are noticed", () => {
  const signed = signOrderRefusal(refusal, signer);
  expect(verifyOrderRefusal(signed, ed25519PublicKey(new Uint8Array(32)))).toBe(false);
  for (let at = 0; at < signed.bytes.length; at++) {
    const changed = signed.bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
    expect(holds(changed)).toBe(false);
  }
});

function holds(bytes: Uint8Array): boolean {
  try {
    return verifyOrderRefusal(openOrderRefusal(bytes), identity);
  } catch (error) {
    expect((error as { code?: string }).code).toMatch(/^(REFUSAL|COSE|CBOR|BYTES|ADDRESS|ID)_/);
    return false;
  }
}

const wrong: readonly [string, string, unknown][] = [
  ["another kind of statement", "application/vnd.cloister.order-report+cbor", {}],
  ["another version", REFUSAL_TYPE, { version: 2 }],
  ["no ids", REFUSAL_TYPE, { version: 1 }],
  [
    "no reasons",
    REFUSAL_TYPE,
    {
      version: 1,
      contract: new Uint8Array(20),
      orderId: new Uint8Array(32),
      node: new Uint8Array(20),
      refusals: [],
    },
  ],
  [
    "a reason without code",
    REFUSAL_TYPE,
    {
      version: 1,
      contract: new Uint8Array(20),
      orderId: new Uint8Array(32),
      node: new Uint8Array(20),
      refusals: [{ reason: "x" }],
    },
  ],
];

test.each(wrong)("%s is refused with REFUSAL_MALFORMED", (_what, contentType, document) => {
  const bytes = signSign1({
    contentType,
    kid: sha256(identity),
    payload: encodeCanonical(document),
    sign: signer.sign,
  });
  expect(() => openOrderRefusal(bytes)).toThrow(expect.objectContaining({ code: "REFUSAL_MALFORMED" }));
});
