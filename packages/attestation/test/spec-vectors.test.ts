import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fromHex, toHex } from "@cloister/core";
import { describe, expect, test } from "vitest";
import { bindReportData, dcapMeasurement, simulationRoots, vendorRoots, verify } from "../src/index.ts";

interface Binding {
  readonly domain: string;
  readonly challenge: string;
  readonly bindings: readonly string[];
  readonly reportData: string;
}

interface InvalidCase {
  readonly what: string;
  readonly codes: readonly string[];
  readonly roots?: "vendors";
  readonly challenge?: string;
  readonly nowMs?: number;
  readonly mutation?: { readonly offset: number; readonly xor: number };
}

const read = (name: string): unknown =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../../../spec/vectors/attestation", name), "utf8"));

describe("spec/vectors/attestation/binding.json", () => {
  const { reportData, measurement } = read("binding.json") as {
    reportData: Binding[];
    measurement: { tee: "tdx" | "sgx"; measurements: Record<string, string>; digest: string }[];
  };
  test.each(reportData)(
    "$domain over $challenge",
    ({ domain, challenge, bindings, reportData: expected }) => {
      expect(toHex(bindReportData(domain, fromHex(challenge), ...bindings.map(fromHex)))).toBe(expected);
    },
  );
  test("two bindings are not one that joins them", () => {
    expect(new Set(reportData.map(({ reportData: bound }) => bound)).size).toBe(reportData.length);
  });
  test.each(measurement)("the measurement of $tee", ({ tee, measurements, digest }) => {
    expect(dcapMeasurement(tee, measurements)).toBe(digest);
    const reordered = Object.fromEntries(Object.entries(measurements).toReversed());
    expect(dcapMeasurement(tee, reordered)).toBe(digest);
  });
});

describe("spec/vectors/attestation/simulated-tdx.json", () => {
  const vector = read("simulated-tdx.json") as {
    nowMs: number;
    challenge: string;
    quote: string;
    endorsements: Record<string, string>;
    claims: Record<string, unknown>;
    invalid: InvalidCase[];
  };
  const parts = Object.fromEntries(
    Object.entries(vector.endorsements).map(([name, hex]) => [name, fromHex(hex)]),
  );
  const judge = ({ roots, challenge, nowMs, mutation }: Partial<InvalidCase>) => {
    const bytes = fromHex(vector.quote);
    if (mutation !== undefined) bytes[mutation.offset] = (bytes[mutation.offset] ?? 0) ^ mutation.xor;
    const options = {
      nowMs: nowMs ?? vector.nowMs,
      roots: roots === "vendors" ? vendorRoots : simulationRoots,
      challenge: fromHex(challenge ?? vector.challenge),
    };
    return verify({ tee: "tdx", bytes }, { tee: "tdx", parts }, options);
  };

  test("is accepted with its claims", () => {
    const verdict = judge({});
    expect(verdict.ok ? verdict.value : verdict).toMatchObject({ ...vector.claims, challengeVerified: true });
  });

  test.each(vector.invalid)("is refused with $what", (invalid) => {
    const verdict = judge(invalid);
    const codes = verdict.ok ? [] : [...new Set(verdict.refusals.map(({ code }) => code))].toSorted();
    expect(codes).toEqual(invalid.codes);
  });
});
