import { describe, expect, test } from "vitest";
import { describeEvidence, detectTee, type TeeKind } from "../src/index.ts";
import { forgeIntel } from "./forger/intel.ts";

describe("kinds of evidence are told by how they begin", () => {
  const start = (...bytes: number[]): Uint8Array =>
    Uint8Array.from({ length: 1300 }, (_, i) => bytes[i] ?? 0);
  const snp = start(2);
  snp[52] = 1;
  const cases: [string, Uint8Array, TeeKind | undefined][] = [
    ["a TDX quote", forgeIntel().evidence.bytes, "tdx"],
    ["an SGX quote", forgeIntel({ tee: "sgx" }).evidence.bytes, "sgx"],
    ["an SEV-SNP report", snp, "sev-snp"],
    ["an Azure report", start(0x48, 0x43, 0x4c, 0x41), "azure-vtpm-snp"],
    ["a Nitro document", start(0x84, 0x44, 0xa1, 0x01, 0x38), "aws-nitro"],
    ["a CCA token", start(0xd9, 0x01, 0x8f), "arm-cca"],
    ["a PSA token", start(0xd2, 0x84), "arm-psa"],
    ["a PSA token with a tag", start(0xd1, 0x84), "arm-psa"],
    ["an SPDM exchange", start(0x11, 0xe0), "nvidia"],
    ["an event log", start(1, 0, 0, 0, 3), "tcg-eventlog"],
    ["nothing", new Uint8Array(), undefined],
    ["too little", start(0xd2, 0x84).subarray(0, 63), undefined],
    ["noise", new Uint8Array(1300).fill(0x5a), undefined],
  ];
  test.each(cases)("%s", (_, bytes, tee) => {
    expect(detectTee(bytes)).toBe(tee);
  });
});

describe("describing judges nothing", () => {
  test("but reads out names, versions and platform", () => {
    const { evidence } = forgeIntel({ debug: true, version: 5 });
    expect(describeEvidence(evidence)).toMatchObject({
      version: 5,
      teeType: "TDX",
      fmspc: "00f06f000000",
      mrTd: "11".repeat(48),
      tdAttributes: "0100001000000000",
      pckChain: ["Forged SGX PCK Certificate", "Forged SGX PCK Platform CA", "Forged SGX Root CA"],
    });
  });

  test("and refuses what it cannot read by code", () => {
    const bytes = new Uint8Array(10);
    expect(() => describeEvidence({ tee: "tdx", bytes })).toThrow(
      expect.objectContaining({ code: "DCAP_QUOTE_MALFORMED" }),
    );
    for (const tee of ["abacus", "constructor"] as unknown as TeeKind[]) {
      expect(() => describeEvidence({ tee, bytes })).toThrow(
        expect.objectContaining({ code: "TEE_UNKNOWN" }),
      );
    }
  });
});
