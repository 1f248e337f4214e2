import { toHex } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  buildSnpCertificateTable,
  createSimulatedSnpPlatform,
  describeSevSnp,
  readSnpCertificateTable,
  simulatedSnpEvidence,
  simulationRoots,
  simulationSnpEndorsements,
  snpMeasurement,
  vendorRoots,
  verify,
  type Evidence,
  type VerifyOptions,
} from "../../src/index.ts";
import { forgeAmd, forgedAmdKeys, forgedAmdRoots, forgedAmdSerials, type AmdForgery } from "../forger/amd.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";

const REPORT_DATA = new Uint8Array(64).fill(0xdd);
const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

function judge(forgery: AmdForgery, options: Partial<VerifyOptions> = {}): string[] {
  const { evidence, endorsements } = forgeAmd(forgery);
  const verdict = verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedAmdRoots, ...options });
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

describe("genuine reports", () => {
  test.each(["milan", "genoa", "turin"] as const)("of %s are accepted", (product) => {
    const { evidence, endorsements } = forgeAmd({ product });
    const verdict = verify(evidence, endorsements, {
      nowMs: FORGED_NOW_MS,
      roots: forgedAmdRoots,
      challenge: REPORT_DATA,
    });
    expect(verdict).toMatchObject({
      ok: true,
      value: { challengeVerified: true, revocationChecked: true, debug: false, fields: { product } },
    });
  });

  test("claim the firmware that they report and the one that the host committed", () => {
    const committedTcb = { fmc: 1, bl: 1, tee: 0, snp: 2, ucode: 60 };
    const { evidence, endorsements } = forgeAmd({ product: "turin", report: { committedTcb } });
    const verdict = verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedAmdRoots });
    const snp = verdict.ok ? verdict.value.tcb.snp : undefined;
    expect(snp).toMatchObject({ product: "turin", committed: committedTcb });
    expect(snp?.reported).toHaveProperty("fmc");
    expect(snp?.reported).not.toEqual(committedTcb);
  });

  test.each([1, 2, 3, 4, 5])("of version %i are accepted", (version) => {
    expect(judge({ report: { version } })).toEqual([]);
  });

  test("may be signed with a VLEK, whose chip is not named", () => {
    expect(judge({ report: { signingKey: "VLEK" } })).toEqual([]);
  });

  test("may hide the chip", () => {
    expect(judge({ report: { chipId: new Uint8Array(64) } })).toEqual([]);
  });

  test("say so when no revocation list came along", () => {
    const { evidence, endorsements } = forgeAmd({ withoutCrl: true });
    const verdict = verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedAmdRoots });
    expect(verdict).toMatchObject({
      ok: true,
      value: { revocationChecked: false, challengeVerified: false },
    });
  });

  test("in debug mode are claimed as such", () => {
    const { evidence, endorsements } = forgeAmd({ report: { policy: 0xb0000n } });
    const verdict = verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedAmdRoots });
    expect(verdict).toMatchObject({ ok: true, value: { debug: true } });
  });

  test("of another privilege level have another measurement", () => {
    const launchDigest = new Uint8Array(48).fill(0xaa);
    expect(snpMeasurement(launchDigest, 0)).not.toBe(snpMeasurement(launchDigest, 2));
  });

  test("stay judged by time however often they were accepted before", () => {
    expect(judge({})).toEqual([]);
    expect(judge({})).toEqual([]);
    expect(judge({}, { nowMs: FORGED_NOW_MS + 2 * YEAR_MS })).toContain("SNP_CHAIN_EXPIRED");
    expect(judge({}, { roots: vendorRoots })).toContain("SNP_ROOT_UNKNOWN");
  });

  test("are remembered by content, not by buffer", () => {
    const { evidence, endorsements } = forgeAmd();
    const options = { nowMs: FORGED_NOW_MS, roots: forgedAmdRoots };
    expect(verify(evidence, endorsements, options).ok).toBe(true);
    const vcek = endorsements.parts["vcek"] as Uint8Array;
    vcek[vcek.length - 1] = (vcek.at(-1) as number) ^ 1;
    expect(verify(evidence, endorsements, options).ok).toBe(false);
    expect(judge({})).toEqual([]);
  });
});

const stranger = forgedAmdKeys.stranger;
const refused: readonly (readonly [string, AmdForgery, string])[] = [
  ["a report signed by another key", { reportSignedBy: stranger }, "SNP_SIGNATURE_INVALID"],
  ["a leaf that only carries the right names", { leaf: { signedBy: stranger } }, "SNP_CHAIN_BROKEN"],
  [
    "an intermediate that only carries the right names",
    { intermediate: { signedBy: stranger } },
    "SNP_CHAIN_BROKEN",
  ],
  [
    "a root of a stranger",
    { root: { signedBy: stranger, fields: { publicKey: stranger.publicKey } } },
    "SNP_CHAIN_BROKEN",
  ],
  [
    "a leaf for another key",
    { leaf: { fields: { publicKey: stranger.publicKey } } },
    "SNP_SIGNATURE_INVALID",
  ],
  [
    "an intermediate that is no authority",
    { intermediate: { fields: { extensions: [] } } },
    "SNP_CHAIN_NOT_AUTHORITY",
  ],
  [
    "an unknown critical extension",
    { leaf: { moreExtensions: [{ oid: "1.2.3.4", critical: true, value: new Uint8Array(2) }] } },
    "SNP_CHAIN_EXTENSION_UNKNOWN",
  ],
  ["an expired leaf", { leaf: { fields: { notAfterMs: FORGED_NOW_MS - DAY_MS } } }, "SNP_CHAIN_EXPIRED"],
  [
    "a leaf from the future",
    { leaf: { fields: { notBeforeMs: FORGED_NOW_MS + DAY_MS } } },
    "SNP_CHAIN_EXPIRED",
  ],
  ["a missing intermediate", { withoutIntermediate: true }, "SNP_CHAIN_BROKEN"],
  [
    "a revoked intermediate",
    { crl: { revoked: [forgedAmdSerials.intermediate] } },
    "SNP_CERTIFICATE_REVOKED",
  ],
  ["an expired revocation list", { crl: { nextUpdateMs: FORGED_NOW_MS - DAY_MS } }, "SNP_CRL_EXPIRED"],
  ["a revocation list of a stranger", { crl: { signedBy: stranger } }, "SNP_CRL_SIGNATURE_INVALID"],
  ["an ASVK that certifies a chip", { intermediateRole: "ASVK" }, "SNP_CHAIN_ROLES_WRONG"],
  [
    "an ASK that certifies a provider",
    { intermediateRole: "ASK", report: { signingKey: "VLEK" } },
    "SNP_CHAIN_ROLES_WRONG",
  ],
  [
    "a report that names the other kind of key",
    { alter: (report) => void (report[0x48] = 1 << 2) },
    "SNP_CERTIFICATE_MISSING",
  ],
  [
    "a report that no key signed",
    { alter: (report) => void (report[0x48] = 7 << 2) },
    "SNP_CERTIFICATE_WRONG_KIND",
  ],
  [
    "a downgraded certificate",
    { certificateTcb: { bl: 4, tee: 0, snp: 23, ucode: 219 } },
    "SNP_TCB_MISMATCH",
  ],
  [
    "a report of an older TCB",
    { report: { tcb: { bl: 3, tee: 0, snp: 8, ucode: 115 } } },
    "SNP_TCB_MISMATCH",
  ],
  ["another chip", { certificateChipId: new Uint8Array(64).fill(9) }, "SNP_CHIP_MISMATCH"],
  [
    "a Turin chip id with more than eight bytes",
    { product: "turin", report: { chipId: new Uint8Array(64).fill(0xc1) } },
    "SNP_CHIP_MISMATCH",
  ],
  ["a CPU of another product", { report: { cpuid: [0x1a, 2, 1] } }, "SNP_PRODUCT_MISMATCH"],
  ["a CPU that is not known", { report: { cpuid: [0x50, 2, 1] } }, "SNP_PRODUCT_MISMATCH"],
  ["a report that the host asked for", { report: { vmpl: 0xffffffff } }, "SNP_REPORT_BY_HOST"],
  ["a policy with unknown bits", { report: { policy: 0x30000n | (1n << 40n) } }, "SNP_POLICY_UNKNOWN"],
  ["a policy without its reserved bit", { report: { policy: 0x10000n } }, "SNP_POLICY_UNKNOWN"],
  ["an unknown version", { report: { version: 6 } }, "SNP_REPORT_VERSION_UNKNOWN"],
  [
    "bytes in the signature that must be zero",
    { alter: (report) => void (report[0x2a0 + 50] = 1) },
    "SNP_SIGNATURE_INVALID",
  ],
  [
    "bytes after the signature that must be zero",
    { alter: (report) => void (report[0x49f] = 1) },
    "SNP_SIGNATURE_INVALID",
  ],
  [
    "an unknown signature algorithm",
    { alter: (report) => void (report[0x34] = 2) },
    "SNP_SIGNATURE_ALGORITHM_UNKNOWN",
  ],
  ["an altered measurement", { alter: (report) => void (report[0x90] = 0) }, "SNP_SIGNATURE_INVALID"],
];

describe("forged reports", () => {
  test.each(refused)("%s is refused", (_, forgery, code) => {
    expect(judge(forgery)).toContain(code);
  });

  test("a replayed challenge is refused", () => {
    expect(judge({}, { challenge: new Uint8Array(64) })).toEqual(["CHALLENGE_MISMATCH"]);
  });

  test("every failed check is listed", () => {
    const codes = judge({
      reportSignedBy: stranger,
      report: { vmpl: 9 },
      certificateChipId: new Uint8Array(64),
    });
    expect(codes).toEqual(
      expect.arrayContaining(["SNP_SIGNATURE_INVALID", "SNP_REPORT_BY_HOST", "SNP_CHIP_MISMATCH"]),
    );
  });

  test("a certificate of another format is refused with a code", () => {
    const { evidence, endorsements } = forgeAmd();
    const parts = { ...endorsements.parts, vcek: new Uint8Array([0x30, 1, 0]) };
    const verdict = verify(
      evidence,
      { tee: "sev-snp", parts },
      { nowMs: FORGED_NOW_MS, roots: forgedAmdRoots },
    );
    expect(verdict).toMatchObject({ ok: false, refusals: [{ code: "SNP_CHAIN_MALFORMED" }] });
  });
});

describe("certificate tables", () => {
  test("carry the chain behind the report or beside it", () => {
    const { evidence, endorsements } = forgeAmd();
    const table = buildSnpCertificateTable({ vcek: endorsements.parts["vcek"] as Uint8Array });
    const { authorities } = endorsements.parts as { authorities: Uint8Array };
    const own = { tee: "sev-snp", parts: { authorities } } as const;
    const options = { nowMs: FORGED_NOW_MS, roots: forgedAmdRoots };
    const beside: Evidence = { ...evidence, parts: { auxblob: table } };
    const behind: Evidence = { ...evidence, bytes: new Uint8Array([...evidence.bytes, ...table]) };
    expect(verify(beside, own, options).ok).toBe(true);
    expect(verify(behind, own, options).ok).toBe(true);
    expect(verify(evidence, own, options)).toMatchObject({
      ok: false,
      refusals: [{ code: "SNP_CERTIFICATE_MISSING" }],
    });
  });

  test("that lie about offsets are passed over", () => {
    const table = buildSnpCertificateTable({ vcek: new Uint8Array(10) });
    new DataView(table.buffer).setUint32(16, 0xffffff00, true);
    expect(readSnpCertificateTable(table)).toEqual({});
    expect(readSnpCertificateTable(new Uint8Array(23))).toEqual({});
  });
});

describe("simulated machines", () => {
  const platform = createSimulatedSnpPlatform(new Uint8Array(32).fill(7));
  const guest = { measurement: new Uint8Array(48).fill(1), reportData: REPORT_DATA };
  const endorsements = simulationSnpEndorsements(FORGED_NOW_MS);

  test("are accepted under the simulation's root, and say that they are simulated", () => {
    const evidence = simulatedSnpEvidence(platform, guest);
    const options = { nowMs: FORGED_NOW_MS, roots: simulationRoots, challenge: REPORT_DATA };
    expect(verify(evidence, endorsements, options)).toMatchObject({
      ok: true,
      value: {
        simulated: true,
        hardwareId: toHex(platform.chipId),
        measurement: snpMeasurement(guest.measurement),
      },
    });
  });

  test("are refused under the vendors' roots", () => {
    const evidence = simulatedSnpEvidence(platform, guest);
    expect(verify(evidence, endorsements, { nowMs: FORGED_NOW_MS })).toMatchObject({
      ok: false,
      refusals: [{ code: "SNP_ROOT_UNKNOWN" }],
    });
  });

  test("differ by seed, and their reports by what they hold", () => {
    const other = createSimulatedSnpPlatform(new Uint8Array(32).fill(8));
    expect(toHex(other.chipId)).not.toBe(toHex(platform.chipId));
    const swapped: Evidence = {
      ...simulatedSnpEvidence(platform, guest),
      parts: { auxblob: other.certificateTable },
    };
    const verdict = verify(swapped, endorsements, { nowMs: FORGED_NOW_MS, roots: simulationRoots });
    const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
    expect(codes).toEqual(expect.arrayContaining(["SNP_SIGNATURE_INVALID", "SNP_CHIP_MISMATCH"]));
  });
});

test("a description reads Turin's TCB in its own order", () => {
  const { evidence, endorsements } = forgeAmd({ product: "turin" });
  expect(describeSevSnp(evidence, endorsements)).toMatchObject({
    product: "turin",
    reportedTcb: { fmc: 1, bl: 2, tee: 3, snp: 4, ucode: 71 },
  });
});
