import { digestOf, utf8 } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  appraise,
  earOf,
  type AppraisalPolicy,
  type Claims,
  type SnpTcb,
  type TcbStatus,
} from "../src/index.ts";

const measurement = digestOf(utf8("approved"));
const claims: Claims = {
  tee: "tdx",
  simulated: false,
  rootFingerprint: "00".repeat(32),
  challengeVerified: true,
  revocationChecked: true,
  debug: false,
  measurement,
  measurements: {},
  reportData: new Uint8Array(64),
  tcb: { status: "UpToDate", advisoryIds: [] },
  hardwareId: "ab",
  fields: {},
};
const policy: AppraisalPolicy = { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "refuse" };
const values = [{ measurement, name: "node" }];

const codes = (twist: Partial<Claims>, by: Partial<AppraisalPolicy> = {}, reference = values): string[] =>
  appraise({ ...claims, ...twist }, reference, { ...policy, ...by }).refusals.map(({ code }) => code);

describe("appraisal fails closed", () => {
  test("and affirms what satisfies everything", () => {
    const result = appraise(claims, values, policy);
    expect(result).toMatchObject({ status: "affirming", refusals: [] });
    expect(Object.values(result.trustVector)).toEqual([2, 2, 2, 2, 2]);
  });

  const cases: [string, Partial<Claims>, Partial<AppraisalPolicy>, string][] = [
    ["no challenge", { challengeVerified: false }, {}, "CHALLENGE_NOT_VERIFIED"],
    ["another TEE", { tee: "sgx" }, {}, "TEE_NOT_ACCEPTED"],
    ["no TEE accepted", {}, { tees: [] }, "TEE_NOT_ACCEPTED"],
    ["simulated evidence", { simulated: true }, {}, "TEE_SIMULATED"],
    ["hardware in a simulation", {}, { simulated: "require" }, "TEE_NOT_SIMULATED"],
    ["debug", { debug: true }, {}, "TEE_DEBUG"],
    [
      "a status that is not listed",
      { tcb: { status: "OutOfDate", advisoryIds: ["INTEL-SA-1"] } },
      {},
      "TCB_STATUS_NOT_ACCEPTED",
    ],
    ["no status listed", {}, { tcbStatuses: [] }, "TCB_STATUS_NOT_ACCEPTED"],
    ["another measurement", { measurement: digestOf(utf8("other")) }, {}, "MEASUREMENT_NOT_APPROVED"],
    ["no revocation lists", { revocationChecked: false }, {}, "REVOCATION_NOT_CHECKED"],
  ];
  test.each(cases)("on %s", (_, twist, by, code) => {
    expect(codes(twist, by)).toEqual([code]);
  });

  const least = { bl: 4, snp: 24, ucode: 219 };
  const tcbOf = (reported: Partial<SnpTcb>, committed: Partial<SnpTcb> = {}): Claims["tcb"] => {
    const versions = { bl: 4, tee: 0, snp: 24, ucode: 219 };
    const snp = {
      product: "milan" as const,
      reported: { ...versions, ...reported },
      committed: { ...versions, ...committed },
    };
    return { status: "UpToDate", advisoryIds: [], snp };
  };
  const minimums: [string, Claims["tcb"], AppraisalPolicy["snpTcbMin"], string | undefined][] = [
    ["versions at the minimum", tcbOf({}), { milan: least }, undefined],
    ["versions above it", tcbOf({ bl: 5 }, { bl: 5 }), { milan: least }, undefined],
    ["a reported version below it", tcbOf({ snp: 23 }), { milan: least }, "reported snp 23, at least 24"],
    [
      "a committed version below it",
      tcbOf({}, { ucode: 218 }),
      { milan: least },
      "committed ucode 218, at least 219",
    ],
    [
      "a version that the product does not have",
      tcbOf({}),
      { milan: { fmc: 1 } },
      "reported fmc missing, at least 1; committed fmc missing, at least 1",
    ],
    ["a minimum that is no number", tcbOf({}), { milan: { bl: Number.NaN } }, "reported bl 4, at least NaN"],
    ["a product that is not named", tcbOf({}), { genoa: least }, "it names none for milan"],
    [
      "claims that do not tell",
      { status: "UpToDate", advisoryIds: [] },
      { milan: least },
      "the claims do not tell its versions",
    ],
  ];
  test.each(minimums)("on a minimum of SNP's firmware: %s", (_, tcb, snpTcbMin, why) => {
    const by: AppraisalPolicy = {
      ...policy,
      tees: ["sev-snp"],
      ...(snpTcbMin === undefined ? {} : { snpTcbMin }),
    };
    const { refusals } = appraise({ ...claims, tee: "sev-snp", tcb }, values, by);
    expect(refusals.map(({ code }) => code)).toEqual(why === undefined ? [] : ["TCB_BELOW_MINIMUM"]);
    expect(refusals[0]?.reason ?? "").toContain(why ?? "");
  });

  test("but a minimum of SNP's firmware does not concern TDX", () => {
    expect(codes({}, { snpTcbMin: { milan: least } })).toEqual([]);
  });

  test("on an empty list of reference values", () => {
    expect(codes({}, {}, [])).toEqual(["MEASUREMENT_NOT_APPROVED"]);
  });

  test("and lists every failed check", () => {
    const twist = { challengeVerified: false, debug: true, simulated: true, revocationChecked: false };
    expect(codes(twist)).toEqual([
      "CHALLENGE_NOT_VERIFIED",
      "TEE_SIMULATED",
      "TEE_DEBUG",
      "REVOCATION_NOT_CHECKED",
    ]);
  });

  test("no policy whatever accepts debug, or evidence without a challenge", () => {
    const statuses: TcbStatus[] = ["UpToDate", "OutOfDate", "SWHardeningNeeded"];
    fc.assert(
      fc.property(
        fc.subarray(statuses),
        fc.constantFrom("refuse" as const, "require" as const),
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        (tcbStatuses, simulated, withoutRevocation, isSimulated, debug) => {
          const any = { tees: [claims.tee], tcbStatuses, simulated, withoutRevocation };
          const twist = { simulated: isSimulated, debug, challengeVerified: debug };
          expect(appraise({ ...claims, ...twist }, values, any).status).toBe("contraindicated");
        },
      ),
    );
  });
});

describe("results as EAR", () => {
  const options = { nowMs: 1_780_000_000_500, build: "test", policyId: "policy" };
  test("say affirming, warning or contraindicated by the worst tier", () => {
    const ear = (twist: Partial<Claims>, by: Partial<AppraisalPolicy> = {}) =>
      earOf(appraise({ ...claims, ...twist }, values, { ...policy, ...by }), options).submods["tdx"];
    expect(ear({})).toMatchObject({ "ear.status": "affirming", "ear.appraisal-policy-id": "policy" });
    const tolerated = ear({ tcb: { status: "OutOfDate", advisoryIds: [] } }, { tcbStatuses: ["OutOfDate"] });
    expect(tolerated).toMatchObject({
      "ear.status": "warning",
      "ear.trustworthiness-vector": { hardware: 32 },
    });
    expect(ear({ debug: true })).toMatchObject({
      "ear.status": "contraindicated",
      "ear.trustworthiness-vector": { "runtime-opaque": 96, executables: 2 },
    });
    expect(ear({ measurement: digestOf(utf8("other")) })?.["ear.trustworthiness-vector"].executables).toBe(
      96,
    );
  });

  test("carry when and by whom they were made", () => {
    expect(earOf(appraise(claims, values, policy), options)).toMatchObject({
      eat_profile: "tag:github.com,2023:veraison/ear",
      iat: 1_780_000_000,
      "ear.verifier-id": { developer: "cloister", build: "test" },
    });
  });
});
