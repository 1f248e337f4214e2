import {
  derBoolean,
  nameOf,
  simulationRoots,
  verify,
  vendorRoots,
  type TrustRoots,
} from "../../src/index.ts";
import { toBase64, utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  FORGED_NOW_MS,
  forgedIntelRoots,
  forgedKeys,
  forgeIntel,
  GENUINE_COMPONENTS,
  purposeExtension,
  type IntelForgery,
  type Level,
} from "../forger/intel.ts";

const DAY_MS = 86_400_000;

function judge(
  forgery: IntelForgery,
  options: { nowMs?: number; roots?: TrustRoots; challenge?: Uint8Array } = {},
) {
  const { evidence, endorsements } = forgeIntel(forgery);
  const { nowMs = FORGED_NOW_MS, roots = forgedIntelRoots, challenge } = options;
  return verify(evidence, endorsements, { nowMs, roots, challenge });
}

/** The same with each list in PEM, `copies` times. */
function judgeWithPemLists(forgery: IntelForgery, copies = 1) {
  const { evidence, endorsements } = forgeIntel(forgery);
  const pem = (der: Uint8Array | undefined): Uint8Array =>
    utf8(
      `-----BEGIN X509 CRL-----\n${toBase64(der ?? new Uint8Array(0))}\n-----END X509 CRL-----\n`.repeat(
        copies,
      ) || "\n",
    );
  const { parts } = endorsements;
  const lists = { pckCrl: pem(parts["pckCrl"]), rootCaCrl: pem(parts["rootCaCrl"]) };
  const roots = forgedIntelRoots;
  return verify(
    evidence,
    { ...endorsements, parts: { ...parts, ...lists } },
    { nowMs: FORGED_NOW_MS, roots },
  );
}

function codes(verdict: ReturnType<typeof judge>): string[] {
  return verdict.ok ? [] : [...new Set(verdict.refusals.map(({ code }) => code))];
}

function claims(verdict: ReturnType<typeof judge>) {
  if (!verdict.ok) throw new Error(JSON.stringify(verdict.refusals));
  return verdict.value;
}

describe("genuine evidence is accepted", () => {
  const kinds: IntelForgery[] = [
    { tee: "tdx", version: 4 },
    { tee: "tdx", version: 5 },
    { tee: "tdx", version: 5, teeTcbSvn2: [6, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
    { tee: "sgx", version: 3 },
    { tee: "sgx", version: 4 },
    { tee: "sgx", version: 5 },
  ];
  test.each(kinds)("$tee version $version", (kind) => {
    const accepted = claims(judge(kind));
    expect(accepted).toMatchObject({
      tee: kind.tee,
      debug: false,
      simulated: false,
      revocationChecked: true,
    });
    expect(accepted.tcb).toEqual({ status: "UpToDate", advisoryIds: [] });
    expect(accepted.hardwareId).toBe("ab".repeat(16));
  });

  test("with a chain in another order", () => {
    expect(codes(judge({ chain: (chain) => chain.toReversed() }))).toEqual([]);
  });

  test("with a chain in DER, one certificate after the other", () => {
    expect(codes(judge({ chainInDer: true }))).toEqual([]);
    expect(codes(judge({ chainInDer: true, chain: (chain) => chain.toReversed() }))).toEqual([]);
  });

  test("with revocation lists in PEM, and by them refused all the same", () => {
    expect(codes(judgeWithPemLists({}))).toEqual([]);
    expect(codes(judgeWithPemLists({ revoked: "pck" }))).toEqual(["DCAP_PCK_REVOKED"]);
    expect(codes(judgeWithPemLists({}, 2))).toEqual(["DCAP_COLLATERAL_MALFORMED"]);
    expect(codes(judgeWithPemLists({}, 0))).toEqual(["DCAP_COLLATERAL_MALFORMED"]);
  });

  test("and says that revocation was not checked where there are no lists", () => {
    expect(claims(judge({ withoutCrls: true })).revocationChecked).toBe(false);
  });

  test("and tells whether the challenge was held against the evidence", () => {
    const challenge = new Uint8Array(64).fill(7);
    expect(claims(judge({ reportData: challenge }, { challenge })).challengeVerified).toBe(true);
    expect(claims(judge({ reportData: challenge })).challengeVerified).toBe(false);
  });

  test("different measurements have different digests, report data does not matter", () => {
    const of = (forgery: IntelForgery): string => claims(judge(forgery)).measurement;
    expect(of({ reportData: new Uint8Array(64).fill(1) })).toBe(of({}));
    expect(of({ mrTd: new Uint8Array(48).fill(2) })).not.toBe(of({}));
  });

  test("debug shows in the claims", () => {
    expect(claims(judge({ debug: true })).debug).toBe(true);
    expect(claims(judge({ tee: "sgx", debug: true })).debug).toBe(true);
  });
});

const stranger = forgedKeys.stranger;
const notYet = { notBeforeMs: FORGED_NOW_MS + 1000 };
const past = { notAfterMs: FORGED_NOW_MS - 1000 };

describe("every forgery is refused by name", () => {
  const cases: [string, IntelForgery, string][] = [
    [
      "a leaf that another key signed, with all the right names",
      { leaf: { signedBy: stranger } },
      "DCAP_PCK_CHAIN_SIGNATURE_INVALID",
    ],
    [
      "an authority that another key signed",
      { authority: { signedBy: stranger } },
      "DCAP_PCK_CHAIN_SIGNATURE_INVALID",
    ],
    [
      "a swapped leaf key",
      { leaf: { fields: { publicKey: stranger.publicKey } } },
      "DCAP_QE_SIGNATURE_INVALID",
    ],
    [
      "a swapped authority key",
      { authority: { fields: { publicKey: stranger.publicKey } } },
      "DCAP_PCK_CHAIN_SIGNATURE_INVALID",
    ],
    [
      "a leaf of another issuer's name",
      { leaf: { fields: { issuer: nameOf("Other CA", "Forger") } } },
      "DCAP_PCK_CHAIN_BROKEN",
    ],
    [
      "another root of the same name",
      { root: { fields: { publicKey: stranger.publicKey } } },
      "DCAP_PCK_ROOT_UNKNOWN",
    ],
    ["a chain without its root", { chain: (chain) => chain.slice(0, 2) }, "DCAP_PCK_CHAIN_MALFORMED"],
    [
      "a chain without its authority",
      { chain: ([leaf, , root]) => [leaf, root] as Uint8Array[] },
      "DCAP_PCK_CHAIN_MALFORMED",
    ],
    [
      "a chain in DER that is cut off",
      {
        chainInDer: true,
        chain: ([leaf, authority, root]) => [leaf, authority, root?.subarray(1)] as Uint8Array[],
      },
      "DCAP_PCK_CHAIN_MALFORMED",
    ],
    [
      "a leaf in DER that the authority did not sign",
      { chainInDer: true, leaf: { signedBy: stranger } },
      "DCAP_PCK_CHAIN_SIGNATURE_INVALID",
    ],
    ["an expired leaf", { leaf: { fields: past } }, "DCAP_PCK_CHAIN_EXPIRED"],
    ["a leaf of tomorrow", { leaf: { fields: notYet } }, "DCAP_PCK_CHAIN_EXPIRED"],
    ["an expired authority", { authority: { fields: past } }, "DCAP_PCK_CHAIN_EXPIRED"],
    ["an expired signer of collateral", { signer: { fields: past } }, "DCAP_TCB_SIGNER_CHAIN_EXPIRED"],
    [
      "an authority that is none",
      { authority: { fields: { extensions: [] } } },
      "DCAP_PCK_CHAIN_NOT_AUTHORITY",
    ],
    [
      "a leaf for another purpose",
      { leaf: { moreExtensions: [purposeExtension("1.3.6.1.5.5.7.3.1")] } },
      "DCAP_PCK_CHAIN_PURPOSE_WRONG",
    ],
    [
      "a signer for another purpose",
      { signer: { moreExtensions: [purposeExtension("1.3.6.1.5.5.7.3.1")] } },
      "DCAP_TCB_SIGNER_CHAIN_PURPOSE_WRONG",
    ],
    [
      "an unknown critical extension",
      { leaf: { moreExtensions: [{ oid: "1.2.3.4", critical: true, value: derBoolean(true) }] } },
      "DCAP_PCK_CHAIN_EXTENSION_UNKNOWN",
    ],
    [
      "a leaf without the SGX extension",
      { leaf: { fields: { extensions: [] } } },
      "DCAP_PCK_CHAIN_MALFORMED",
    ],
    ["a revoked leaf", { revoked: "pck" }, "DCAP_PCK_REVOKED"],
    ["a revoked authority", { revoked: "authority" }, "DCAP_PCK_REVOKED"],
    ["a revoked signer of collateral", { revoked: "signer" }, "DCAP_TCB_SIGNER_REVOKED"],
    ["lists that a stranger signed", { crl: { signedBy: stranger } }, "DCAP_PCK_CRL_SIGNATURE_INVALID"],
    ["expired lists", { crl: { nextUpdateMs: FORGED_NOW_MS - 1000 } }, "DCAP_PCK_CRL_EXPIRED"],
    ["lists of tomorrow", { crl: { thisUpdateMs: FORGED_NOW_MS + 1000 } }, "DCAP_ROOT_CRL_EXPIRED"],
    [
      "collateral that a stranger signed",
      { collateralSignedBy: stranger },
      "DCAP_COLLATERAL_SIGNATURE_INVALID",
    ],
    [
      "collateral that the platform itself signed",
      { collateralSignedBy: forgedKeys.pck },
      "DCAP_COLLATERAL_SIGNATURE_INVALID",
    ],
    [
      "expired TCB info",
      { tcbInfo: { nextUpdate: new Date(FORGED_NOW_MS - DAY_MS).toISOString() } },
      "DCAP_COLLATERAL_EXPIRED",
    ],
    [
      "QE identity of tomorrow",
      { qeIdentity: { issueDate: new Date(FORGED_NOW_MS + DAY_MS).toISOString() } },
      "DCAP_COLLATERAL_EXPIRED",
    ],
    ["TCB info of another family", { tcbInfo: { fmspc: "00A06F000000" } }, "DCAP_COLLATERAL_OTHER_PLATFORM"],
    ["TCB info of another PCE", { tcbInfo: { pceId: "0001" } }, "DCAP_COLLATERAL_OTHER_PLATFORM"],
    ["TCB info of SGX", { tcbInfo: { id: "SGX" } }, "DCAP_COLLATERAL_OTHER_TEE"],
    ["QE identity of SGX", { qeIdentity: { id: "QE" } }, "DCAP_COLLATERAL_OTHER_TEE"],
    ["TCB info of an unknown version", { tcbInfo: { version: 4 } }, "DCAP_COLLATERAL_MALFORMED"],
    ["TCB info without levels", { tcbInfo: { tcbLevels: "none" } }, "DCAP_COLLATERAL_MALFORMED"],
    [
      "a quoting enclave with a status of platforms",
      { qeLevels: [{ isvSvn: 4, status: "SWHardeningNeeded" }] },
      "DCAP_COLLATERAL_MALFORMED",
    ],
    ["a status that nobody knows", { levels: [{ status: "Fine" }] }, "DCAP_COLLATERAL_MALFORMED"],
    ["another quoting enclave", { qeMrSigner: new Uint8Array(32) }, "DCAP_QE_MISMATCH"],
    ["a quoting enclave below every level", { qeIsvSvn: 1 }, "DCAP_TCB_NOT_SUPPORTED"],
    ["a QE report that a stranger signed", { qeSignedBy: stranger }, "DCAP_QE_SIGNATURE_INVALID"],
    [
      "an attestation key that the QE did not name",
      { qeAuthDataInReport: new Uint8Array(32) },
      "DCAP_ATTESTATION_KEY_UNBOUND",
    ],
    ["a quote that a stranger signed", { quoteSignedBy: stranger }, "DCAP_QUOTE_SIGNATURE_INVALID"],
    ["a TDX module of another signer", { mrSignerSeam: new Uint8Array(48).fill(1) }, "TDX_MODULE_MISMATCH"],
    [
      "a TDX module with attributes that Intel's mask lets pass",
      { seamAttributes: new Uint8Array(8).fill(1), seamAttributesMask: "00".repeat(8) },
      "TDX_MODULE_MISMATCH",
    ],
    ["a TDX module that Intel does not list", { modules: {} }, "TDX_MODULE_UNKNOWN"],
    [
      "a platform below every level",
      { components: GENUINE_COMPONENTS.map(() => 0) },
      "DCAP_TCB_NOT_SUPPORTED",
    ],
    ["a revoked level", { levels: [{ status: "Revoked" }] }, "DCAP_TCB_REVOKED"],
    ["a revoked quoting enclave", { qeLevels: [{ isvSvn: 4, status: "Revoked" }] }, "DCAP_TCB_REVOKED"],
    ["a revoked TDX module", { modules: { TDX_01: [{ isvSvn: 6, status: "Revoked" }] } }, "DCAP_TCB_REVOKED"],
  ];
  test.each(cases)("%s", (_, forgery, code) => {
    expect(codes(judge(forgery))).toContain(code);
  });

  test("a replayed challenge", () => {
    const challenge = new Uint8Array(64).fill(1);
    expect(codes(judge({ reportData: new Uint8Array(64).fill(2) }, { challenge }))).toEqual([
      "CHALLENGE_MISMATCH",
    ]);
    expect(codes(judge({ reportData: challenge }, { challenge: challenge.subarray(0, 63) }))).toEqual([
      "CHALLENGE_MISMATCH",
    ]);
  });

  test("the whole fake hierarchy, under the vendors' and under the simulation's roots", () => {
    expect(codes(judge({}, { roots: vendorRoots }))).toEqual([
      "DCAP_PCK_ROOT_UNKNOWN",
      "DCAP_TCB_SIGNER_ROOT_UNKNOWN",
    ]);
    expect(codes(judge({}, { roots: simulationRoots }))).toContain("DCAP_PCK_ROOT_UNKNOWN");
  });

  test("several faults are all listed", () => {
    const verdict = judge({ leaf: { fields: past }, revoked: "pck", quoteSignedBy: stranger });
    expect(codes(verdict)).toEqual([
      "DCAP_PCK_CHAIN_EXPIRED",
      "DCAP_PCK_REVOKED",
      "DCAP_QUOTE_SIGNATURE_INVALID",
    ]);
  });

  test("evidence under another TEE's name", () => {
    const { evidence, endorsements } = forgeIntel();
    const options = { nowMs: FORGED_NOW_MS, roots: forgedIntelRoots };
    const asSgx = verify({ ...evidence, tee: "sgx" }, { ...endorsements, tee: "sgx" }, options);
    expect(codes(asSgx)).toContain("DCAP_QUOTE_MALFORMED");
    expect(codes(verify(evidence, { ...endorsements, tee: "sgx" }, options))).toEqual([
      "ENDORSEMENTS_OTHER_TEE",
    ]);
    expect(codes(verify({ ...evidence, tee: "constructor" as "tdx" }, endorsements, options))).toEqual([
      "TEE_UNKNOWN",
    ]);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e18, undefined as unknown as number])(
    "a caller without a clock (%s) is stopped, not answered",
    (nowMs) => {
      const { evidence, endorsements } = forgeIntel();
      expect(() => verify(evidence, endorsements, { nowMs, roots: forgedIntelRoots })).toThrow(
        /invariant broken/,
      );
    },
  );

  test("what was accepted once is judged again by time", () => {
    expect(codes(judge({}))).toEqual([]);
    expect(codes(judge({}, { nowMs: FORGED_NOW_MS + 2 * DAY_MS }))).toEqual(
      expect.arrayContaining(["DCAP_PCK_CRL_EXPIRED", "DCAP_ROOT_CRL_EXPIRED", "DCAP_COLLATERAL_EXPIRED"]),
    );
  });
});

describe("TCB levels converge as Intel's library does it", () => {
  const behind = {
    TDX_01: [
      { isvSvn: 9, status: "UpToDate" },
      { isvSvn: 5, status: "OutOfDate", advisoryIds: ["INTEL-SA-2"] },
    ],
  };
  const now = (svn: number): number[] => [svn, 1, 3, ...Array.from({ length: 13 }, () => 0)];
  const td15 = { version: 5, modules: behind } as const;
  const level = (status: string): Level[] => [{ status, advisoryIds: ["INTEL-SA-1"] }];
  const cases: [string, IntelForgery, string, string[]][] = [
    [
      "a level's own status and advisories",
      { levels: level("ConfigurationNeeded") },
      "ConfigurationNeeded",
      ["INTEL-SA-1"],
    ],
    [
      "an old QE makes it out of date",
      {
        qeIsvSvn: 2,
        qeLevels: [
          { isvSvn: 4, status: "UpToDate" },
          { isvSvn: 2, status: "OutOfDate" },
        ],
      },
      "OutOfDate",
      [],
    ],
    [
      "an old QE on a platform that needs configuration",
      {
        levels: level("ConfigurationAndSWHardeningNeeded"),
        qeLevels: [{ isvSvn: 4, status: "OutOfDate", advisoryIds: ["INTEL-SA-3"] }],
      },
      "OutOfDateConfigurationNeeded",
      ["INTEL-SA-1", "INTEL-SA-3"],
    ],
    ["an old module makes it out of date", { modules: behind }, "OutOfDate", ["INTEL-SA-2"]],
    [
      "an old module, new now: relaunch",
      { ...td15, teeTcbSvn2: now(9) },
      "TDRelaunchAdvised",
      ["INTEL-SA-2"],
    ],
    ["an old module, still old", { ...td15, teeTcbSvn2: now(8) }, "OutOfDate", ["INTEL-SA-2"]],
    [
      "relaunch on a platform that needs configuration",
      { ...td15, teeTcbSvn2: now(9), levels: level("ConfigurationNeeded") },
      "TDRelaunchAdvisedConfigurationNeeded",
      ["INTEL-SA-1", "INTEL-SA-2"],
    ],
    [
      "no relaunch heals an old QE",
      { ...td15, teeTcbSvn2: now(9), qeLevels: [{ isvSvn: 4, status: "OutOfDate" }] },
      "OutOfDate",
      ["INTEL-SA-2"],
    ],
    [
      "no relaunch heals old hardware",
      { ...td15, teeTcbSvn2: now(9), levels: level("OutOfDate") },
      "OutOfDate",
      ["INTEL-SA-1", "INTEL-SA-2"],
    ],
    [
      "the first two components are the module's",
      { levels: [{ status: "UpToDate", tdx: [99, 99, 3, ...Array.from({ length: 13 }, () => 0)] }] },
      "UpToDate",
      [],
    ],
    [
      "without a module version all sixteen count",
      {
        teeTcbSvn: [5, 0, 3, ...Array.from({ length: 13 }, () => 0)],
        levels: [
          { status: "UpToDate", tdx: [6, 0, 3, ...Array.from({ length: 13 }, () => 0)] },
          { status: "OutOfDate", tdx: [5, 0, 3, ...Array.from({ length: 13 }, () => 0)] },
        ],
      },
      "OutOfDate",
      [],
    ],
    [
      "the first level that the platform reaches counts",
      {
        components: GENUINE_COMPONENTS.map((svn) => Math.max(0, svn - 1)),
        levels: [
          { status: "UpToDate" },
          { status: "OutOfDate", components: GENUINE_COMPONENTS.map(() => 0) },
        ],
      },
      "OutOfDate",
      [],
    ],
    [
      "a PCE below the level",
      {
        levels: [
          { status: "UpToDate", pceSvn: 12 },
          { status: "SWHardeningNeeded", pceSvn: 11 },
        ],
      },
      "SWHardeningNeeded",
      [],
    ],
  ];
  test.each(cases)("%s", (_, forgery, status, advisoryIds) => {
    expect(claims(judge(forgery)).tcb).toEqual({ status, advisoryIds });
  });
});
