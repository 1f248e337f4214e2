import { utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  appraiseComposite,
  bindReportData,
  devicesBinding,
  nvidiaMeasurement,
  nvidiaNonce,
  snpMeasurement,
  verifyComposite,
  type AppraisalPolicy,
  type CompositePolicy,
  type Endorsements,
  type Evidence,
  type TrustRoots,
} from "../src/index.ts";
import { forgeAmd, forgedAmdRoots } from "./forger/amd.ts";
import { FORGED_NOW_MS } from "./forger/intel.ts";
import { forgedNvidiaKeys, forgedNvidiaRoots, forgeNvidia, type NvidiaForgery } from "./forger/nvidia.ts";

const CHALLENGE = new Uint8Array(32).fill(0xc4);
const roots: TrustRoots = { simulated: false, pins: { ...forgedAmdRoots.pins, ...forgedNvidiaRoots.pins } };
const reportData = (binding: Uint8Array): Uint8Array => bindReportData("test/composite", CHALLENGE, binding);

type Gpu = ReturnType<typeof forgeNvidia>;
const gpu = (forgery: NvidiaForgery = {}): Gpu => forgeNvidia({ nonce: nvidiaNonce(CHALLENGE), ...forgery });
const second = (): Gpu => gpu({ serial: "48B02DF44660DA07", device: forgedNvidiaKeys.other });

/** A machine whose CVM bound the evidence of `bound`; what it shows may differ. */
function judge(shown: readonly Gpu[], bound: readonly Gpu[] = shown, devices?: readonly Endorsements[]) {
  const binding = devicesBinding(bound.map(({ evidence }) => evidence));
  const cpu = forgeAmd({ report: { reportData: reportData(binding) } });
  return verifyComposite(
    { cpu: cpu.evidence, devices: shown.map(({ evidence }) => evidence) },
    { cpu: cpu.endorsements, devices: devices ?? shown.map(({ endorsements }) => endorsements) },
    { nowMs: FORGED_NOW_MS, roots, challenge: CHALLENGE, reportData },
  );
}

function codes(verdict: ReturnType<typeof judge>): string[] {
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

const policyOf = (tee: "sev-snp" | "nvidia"): AppraisalPolicy => ({
  tees: [tee],
  tcbStatuses: ["UpToDate"],
  simulated: "refuse",
  withoutRevocation: true,
});
const POLICY: CompositePolicy = {
  cpu: {
    policy: policyOf("sev-snp"),
    referenceValues: [{ measurement: snpMeasurement(new Uint8Array(48).fill(0xaa)) }],
  },
  devices: {
    policy: policyOf("nvidia"),
    referenceValues: [
      { measurement: nvidiaMeasurement({ arch: "HOPPER", driver: "545.00", vbios: "96.00.5E.00.01" }) },
    ],
  },
};

describe("a CVM and its GPUs", () => {
  test("are one machine under one challenge", () => {
    const verdict = judge([gpu(), second()]);
    expect(codes(verdict)).toEqual([]);
    if (!verdict.ok) return;
    expect(verdict.value.devices.map(({ challengeVerified }) => challengeVerified)).toEqual([true, true]);
    expect(appraiseComposite(verdict.value, { ...POLICY, devicesMin: 2 })).toMatchObject({
      status: "affirming",
      refusals: [],
    });
  });

  test("may be a CVM alone, unless the policy wants devices", () => {
    const verdict = judge([]);
    expect(codes(verdict)).toEqual([]);
    if (!verdict.ok) return;
    expect(appraiseComposite(verdict.value, POLICY).status).toBe("affirming");
    const wanting = appraiseComposite(verdict.value, { ...POLICY, devicesMin: 1 });
    expect(wanting).toMatchObject({
      status: "contraindicated",
      refusals: [{ code: "COMPOSITE_DEVICES_TOO_FEW" }],
    });
  });

  test("are refused when the GPU is another machine's", () => {
    expect(codes(judge([second()], [gpu()]))).toEqual(["COMPOSITE_UNBOUND"]);
    expect(codes(judge([gpu()], []))).toEqual(["COMPOSITE_UNBOUND"]);
    expect(codes(judge([], [gpu()]))).toEqual(["COMPOSITE_UNBOUND"]);
    expect(codes(judge([gpu(), second()], [second(), gpu()]))).toEqual(["COMPOSITE_UNBOUND"]);
  });

  test("are refused when the GPU's answer is an old one", () => {
    expect(codes(judge([gpu({ nonce: new Uint8Array(32) })]))).toEqual(["CHALLENGE_MISMATCH"]);
  });

  test("are refused when one GPU stands for two", () => {
    expect(codes(judge([gpu(), gpu()]))).toEqual(["COMPOSITE_DEVICE_TWICE"]);
  });

  test("list what is wrong with each piece", () => {
    const verdict = judge([gpu({ reportSignedBy: forgedNvidiaKeys.stranger }), second()], [gpu()]);
    expect(codes(verdict)).toEqual(["COMPOSITE_UNBOUND", "NVIDIA_SIGNATURE_INVALID"]);
    expect(verdict.ok ? "" : verdict.refusals[1]?.reason).toMatch(/^Device 0: /);
  });

  test("are refused when the pieces and their endorsements differ in number, or a device is none", () => {
    expect(codes(judge([gpu()], [gpu()], []))).toEqual(["COMPOSITE_MALFORMED"]);
    const odd: Evidence = { tee: "arm-psa", bytes: utf8("x") };
    const endorsements: Endorsements = { tee: "arm-psa", parts: {} };
    expect(codes(judge([{ evidence: odd, endorsements }]))).toContain("COMPOSITE_DEVICE_UNKNOWN");
  });

  test("are refused by policy when a GPU's firmware is not approved", () => {
    const verdict = judge([gpu({ withoutRims: true })]);
    if (!verdict.ok) throw new Error(JSON.stringify(verdict.refusals));
    const result = appraiseComposite(verdict.value, POLICY);
    expect(result.refusals.map(({ code }) => code)).toEqual(["MEASUREMENT_NOT_APPROVED"]);
    expect(result.refusals[0]?.reason).toMatch(/^Device 0: /);
    expect(result.cpu.status).toBe("affirming");
  });
});
