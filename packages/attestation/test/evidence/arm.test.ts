import { concat, type Verdict } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { describeArmCca, describeArmPsa, vendorRoots, verify, type TrustRoots } from "../../src/index.ts";
import { forgeCca, forgedArmKeys, forgedArmRoots, forgePsa, type CcaForgery } from "../forger/arm.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";

const CHALLENGE = new Uint8Array(64).fill(0xdd);
const YEAR_MS = 365 * 86_400_000;

interface Options {
  readonly nowMs?: number;
  readonly roots?: TrustRoots;
  readonly challenge?: Uint8Array;
}

function judge(forged: ReturnType<typeof forgePsa>, options: Options = {}): string[] {
  const { evidence, endorsements } = forged;
  const { nowMs = FORGED_NOW_MS, roots = forgedArmRoots, challenge } = options;
  const verdict = verify(evidence, endorsements, { nowMs, roots, challenge });
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

const claim = (label: number, value: unknown): ReadonlyMap<number, unknown> => new Map([[label, value]]);

describe("PSA tokens", () => {
  test("are accepted under the device's key or its maker's", () => {
    expect(judge(forgePsa(), { challenge: CHALLENGE })).toEqual([]);
    expect(judge(forgePsa({ certified: true }), { challenge: CHALLENGE })).toEqual([]);
  });

  test.each(["http://arm.com/psa/2.0.0", "tag:psacertified.org,2023:psa#tfm"])("of profile %s", (profile) => {
    expect(judge(forgePsa({ claims: claim(265, profile) }))).toEqual([]);
  });

  test("of unsecured devices are claimed as debug", () => {
    const lifecycles = [0x3000, 0x30ff, 0x0000, 0x2000, 0x4000, 0x5000, 0x6000];
    const debug = lifecycles.map((lifecycle) => {
      const { evidence, endorsements } = forgePsa({ claims: claim(2395, lifecycle) });
      const verdict = verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedArmRoots });
      return verdict.ok && verdict.value.debug;
    });
    expect(debug).toEqual([false, false, true, true, true, true, true]);
  });

  test.each([
    ["signed by a stranger", { signedBy: forgedArmKeys.stranger }, "ARM_PSA_SIGNATURE_INVALID"],
    ["with a secret key", { tag: 17 }, "ARM_PSA_SYMMETRIC"],
    ["with another tag", { tag: 16 }, "COSE_MALFORMED"],
    ["without a nonce", { claims: claim(10, undefined) }, "ARM_TOKEN_MALFORMED"],
    ["with a short nonce", { claims: claim(10, new Uint8Array(31)) }, "ARM_TOKEN_MALFORMED"],
    [
      "with an instance id of another kind",
      { claims: claim(256, new Uint8Array(33)) },
      "ARM_TOKEN_MALFORMED",
    ],
    ["with an impossible lifecycle", { claims: claim(2395, 0x3100) }, "ARM_TOKEN_MALFORMED"],
    ["without software", { claims: claim(2399, []) }, "ARM_TOKEN_MALFORMED"],
    ["of an unknown profile", { claims: claim(265, "tag:example") }, "ARM_TOKEN_MALFORMED"],
  ] as const)("%s are refused", (_, forgery, code) => {
    expect(judge(forgePsa(forgery))).toContain(code);
  });

  test("under a key that nobody trusts are refused", () => {
    expect(judge(forgePsa(), { roots: vendorRoots })).toEqual(["ARM_ROOT_UNKNOWN"]);
    expect(judge(forgePsa({ certified: true }), { roots: vendorRoots })).toEqual(["ARM_ROOT_UNKNOWN"]);
    expect(judge(forgePsa({ certified: true }), { nowMs: FORGED_NOW_MS + 2 * YEAR_MS })).toContain(
      "ARM_CHAIN_EXPIRED",
    );
  });

  test("without any key are refused", () => {
    const { evidence } = forgePsa();
    expect(judge({ evidence, endorsements: { tee: "arm-psa", parts: {} } })).toEqual(["ARM_KEY_MISSING"]);
  });

  test("may say that they are CWTs", () => {
    const { evidence, endorsements } = forgePsa();
    const bytes = concat(new Uint8Array([0xd8, 61]), evidence.bytes);
    expect(judge({ evidence: { tee: "arm-psa", bytes }, endorsements })).toEqual([]);
  });

  test("that are replayed are refused", () => {
    expect(judge(forgePsa(), { challenge: new Uint8Array(64) })).toEqual(["CHALLENGE_MISMATCH"]);
  });

  test("are described even when they cannot be verified", () => {
    expect(describeArmPsa(forgePsa({ tag: 17 }).evidence)).toMatchObject({
      envelope: "mac0",
      lifecycle: 0x3000,
    });
  });
});

describe("CCA tokens", () => {
  test("are accepted under the platform's key or its maker's", () => {
    expect(judge(forgeCca(), { challenge: CHALLENGE })).toEqual([]);
    expect(judge(forgeCca({ certified: true }), { challenge: CHALLENGE })).toEqual([]);
  });

  const refused: readonly (readonly [string, CcaForgery, string])[] = [
    [
      "with a platform signed by a stranger",
      { platformSignedBy: forgedArmKeys.stranger },
      "ARM_CCA_PLATFORM_SIGNATURE_INVALID",
    ],
    [
      "with a realm signed by a stranger",
      { realmSignedBy: forgedArmKeys.stranger },
      "ARM_CCA_REALM_SIGNATURE_INVALID",
    ],
    [
      "with a realm of another platform",
      { platform: claim(10, new Uint8Array(32)) },
      "ARM_CCA_REALM_UNBOUND",
    ],
    [
      "with a realm key of another form",
      { realm: claim(44237, new Uint8Array(97).fill(4)) },
      "CBOR_MALFORMED",
    ],
    ["without a challenge", { realm: claim(10, undefined) }, "ARM_TOKEN_MALFORMED"],
    [
      "with three registers",
      {
        realm: claim(
          44239,
          [1, 2, 3].map(() => new Uint8Array(32)),
        ),
      },
      "ARM_TOKEN_MALFORMED",
    ],
    ["with an unknown hash", { realm: claim(44240, "md5") }, "ARM_TOKEN_MALFORMED"],
    ["of an unknown profile", { platform: claim(265, "tag:example") }, "ARM_TOKEN_MALFORMED"],
  ];
  test.each(refused)("%s are refused", (_, forgery, code) => {
    expect(judge(forgeCca(forgery))).toContain(code);
  });

  test("that are replayed are refused", () => {
    expect(judge(forgeCca(), { challenge: new Uint8Array(64) })).toEqual(["CHALLENGE_MISMATCH"]);
  });

  test("of debuggable platforms are claimed as debug", () => {
    const { evidence, endorsements } = forgeCca({ platform: claim(2395, 0x4000) });
    const verdict: Verdict<{ debug: boolean }> = verify(evidence, endorsements, {
      nowMs: FORGED_NOW_MS,
      roots: forgedArmRoots,
    });
    expect(verdict).toMatchObject({ ok: true, value: { debug: true } });
  });

  test("cut off, or with something after them, are refused with a code", () => {
    const { evidence, endorsements } = forgeCca();
    for (const bytes of [evidence.bytes.subarray(0, -1), concat(evidence.bytes, new Uint8Array(1))]) {
      expect(judge({ evidence: { tee: "arm-cca", bytes }, endorsements })).toContain("CBOR_MALFORMED");
      expect(() => describeArmCca({ tee: "arm-cca", bytes })).toThrow(
        expect.objectContaining({ code: "CBOR_MALFORMED" }),
      );
    }
  });
});
