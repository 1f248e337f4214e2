import { mkdirSync, writeFileSync } from "node:fs";
import { encodeEndorsements, encodeEvidence } from "@cloister/certification";
import { toHex } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  createSimulatedSnpPlatform,
  simulatedSnpEvidence,
  simulationSnpEndorsements,
  type Claims,
} from "@cloister/attestation";
import { forgeNvidia } from "../../../packages/attestation/test/forger/nvidia.ts";
import { endorsements, quote } from "../../../packages/certification/test/proof/forger.ts";
import { NOW_MS } from "../../../packages/certification/test/world.ts";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

const reportData = new Uint8Array(64).fill(7);
const evidence = quote(reportData);
const AT = ["--at", new Date(NOW_MS).toISOString()];

type Folder = ReturnType<typeof temporaryFolder>;

/** A raw quote, the same in Cloister's form, and its endorsements as a file, as a folder and as JSON. */
function writeInputs(folder: Folder): void {
  writeFileSync(folder.file("quote.bin"), evidence.bytes);
  writeFileSync(folder.file("evidence.cbor"), encodeEvidence(evidence));
  writeFileSync(folder.file("endorsements.cbor"), encodeEndorsements(endorsements));
  mkdirSync(folder.file("parts"));
  const json: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(endorsements.parts)) {
    writeFileSync(folder.file(`parts/${name}.bin`), bytes);
    const snake = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    json[snake] = /(signature|crl)$/.test(snake) ? toHex(bytes) : Buffer.from(bytes).toString("utf8");
  }
  writeFileSync(folder.file("collateral.json"), JSON.stringify(json));
}

function verifyIn(folder: Folder, ...args: string[]): ReturnType<typeof runJson> {
  return runJson(["evidence", "verify", ...args, ...AT], { cwd: folder.path });
}

test.each(["quote.bin", "evidence.cbor"])("%s is read without judging it", async (name) => {
  using folder = temporaryFolder();
  writeInputs(folder);
  const { exitCode, json } = await runJson(["evidence", "inspect", name], { cwd: folder.path });
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({ tee: "tdx", fields: { version: 4, reportData: "07".repeat(64) } });
  const { stdout } = await runCli(["evidence", "inspect", name], { cwd: folder.path });
  expect(stdout).toContain("Nothing here was verified.");
});

test.each(["endorsements.cbor", "parts", "collateral.json"])(
  "endorsements are read from %s",
  async (name) => {
    using folder = temporaryFolder();
    writeInputs(folder);
    const args = ["quote.bin", "--endorsements", name, "--simulated", "--challenge", "07".repeat(64)];
    const { exitCode, json } = await verifyIn(folder, ...args);
    expect(json).toMatchObject({ verified: true, claims: { simulated: true, challengeVerified: true } });
    expect(exitCode).toBe(0);
  },
);

test("simulated evidence says so, and what was not compared is said", async () => {
  using folder = temporaryFolder();
  writeInputs(folder);
  const args = [
    "evidence",
    "verify",
    "evidence.cbor",
    "--endorsements",
    "endorsements.cbor",
    "--simulated",
    ...AT,
  ];
  const { exitCode, stdout, stderr } = await runCli(args, { cwd: folder.path });
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/^SIMULATED: /);
  expect(stdout).toContain("(SIMULATED)");
  expect(stdout).toMatch(/^challenge +not compared: it may be a replay$/m);
});

test("simulated evidence does not verify against the vendors' roots", async () => {
  using folder = temporaryFolder();
  writeInputs(folder);
  const { exitCode, json } = await verifyIn(folder, "quote.bin", "--endorsements", "parts");
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", expect.stringMatching(/^DCAP_/));
});

test("another challenge is refused", async () => {
  using folder = temporaryFolder();
  writeInputs(folder);
  const args = ["quote.bin", "--endorsements", "parts", "--simulated", "--challenge", "08".repeat(64)];
  const { exitCode, json } = await verifyIn(folder, ...args);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "CHALLENGE_MISMATCH");
});

test("evidence with a changed byte is refused", async () => {
  using folder = temporaryFolder();
  writeInputs(folder);
  writeFileSync(
    folder.file("quote.bin"),
    Uint8Array.from(evidence.bytes, (byte, at) => (at === 200 ? byte ^ 1 : byte)),
  );
  const { exitCode, json } = await verifyIn(folder, "quote.bin", "--endorsements", "parts", "--simulated");
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", expect.stringMatching(/^DCAP_/));
});

test("evidence without endorsements is refused", async () => {
  using folder = temporaryFolder();
  writeInputs(folder);
  const { exitCode, json } = await verifyIn(folder, "quote.bin", "--simulated");
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", expect.stringMatching(/^DCAP_/));
});

test.each([
  [["inspect", "missing"], "FILE_NOT_FOUND", 4],
  [["inspect", "text"], "EVIDENCE_KIND_UNRECOGNIZED", 1],
  [["inspect", "text", "--tee", "abacus"], "TEE_UNKNOWN", 1],
  [["inspect", "text", "--tee", "tdx"], "DCAP_QUOTE_MALFORMED", 1],
  [["inspect", "text", "--tee", "sev-snp"], "SNP_REPORT_MALFORMED", 1],
  [["inspect", "text", "--tee", "tdx", "--part", "leaf"], "USAGE_PART_MALFORMED", 2],
  [["inspect", "nothing"], "EVIDENCE_EMPTY", 1],
  [["inspect", "broken.json"], "EVIDENCE_KIND_UNRECOGNIZED", 1],
  [["inspect", "broken.json", "--tee", "azure-vtpm-snp"], "AZURE_EVIDENCE_MALFORMED", 1],
  [["inspect"], "USAGE_MISSING_ARGUMENT", 2],
  [["verify", "quote.bin", "--endorsements", "missing"], "FILE_NOT_FOUND", 4],
  [["verify", "quote.bin", "--endorsements", "text"], "ENDORSEMENTS_MALFORMED", 1],
  [["verify", "quote.bin", "--endorsements", "nothing"], "ENDORSEMENTS_MALFORMED", 1],
  [["verify", "quote.bin", "--endorsements", "broken.json"], "ENDORSEMENTS_MALFORMED", 1],
  [["verify", "quote.bin", "--endorsements", "odd.json"], "ENDORSEMENTS_MALFORMED", 1],
  [["verify", "cut.bin", "--endorsements", "parts"], "DCAP_QUOTE_MALFORMED", 1],
  [["verify", "quote.bin", "--challenge", "xyz"], "USAGE_INVALID_ARGUMENT", 2],
  [["verify", "quote.bin", "--measurement", "00"], "USAGE_INVALID_ARGUMENT", 2],
  [["verify", "quote.bin", "--allow-status", "Fine"], "USAGE_INVALID_ARGUMENT", 2],
  [["verify", "quote.bin", "--min-tcb", "bl=256"], "USAGE_INVALID_ARGUMENT", 2],
])("evidence %j is refused with its code, one sentence and a hint", async (args, code, expected) => {
  using folder = temporaryFolder();
  writeInputs(folder);
  writeFileSync(folder.file("text"), "these are no bytes of any processor");
  writeFileSync(folder.file("broken.json"), "{");
  writeFileSync(folder.file("nothing"), "");
  writeFileSync(folder.file("odd.json"), `{"pck_crl": "not hex"}`);
  writeFileSync(folder.file("cut.bin"), evidence.bytes.subarray(0, 700));
  const { exitCode, json } = await runJson(["evidence", ...args], { cwd: folder.path });
  expect(json).toMatchObject({
    error: { code, message: expect.stringMatching(/^[^\n]+[.:]/), hint: expect.stringMatching(/\w/) },
  });
  expect(exitCode).toBe(expected);
});

const AS_SIMULATED = ["--endorsements", "parts", "--simulated"];
const FRESH = [...AS_SIMULATED, "--challenge", "07".repeat(64)];

describe("a person's policy", () => {
  test("affirms what satisfies it, by the whole measurement or by single ones", async () => {
    using folder = temporaryFolder();
    writeInputs(folder);
    const plain = await verifyIn(folder, "quote.bin", ...FRESH);
    expect(plain.json).not.toHaveProperty("appraisal");
    const { measurement, measurements } = (plain.json as { claims: Claims }).claims;
    for (const value of [measurement, `mrTd=${measurements["mrTd"]?.toUpperCase()}`]) {
      const { exitCode, json } = await verifyIn(folder, "quote.bin", ...FRESH, "--measurement", value);
      expect(json).toMatchObject({ appraisal: { status: "affirming" } });
      expect(exitCode).toBe(0);
    }
  });

  const other = `sha256:${"00".repeat(32)}`;
  const refused: [string, string[], string[]][] = [
    ["another measurement", [...FRESH, "--measurement", other], ["MEASUREMENT_NOT_APPROVED"]],
    ["no such measurement", [...FRESH, "--measurement", "mrtd=00"], ["MEASUREMENT_NOT_APPROVED"]],
    ["no measurement at all", [...FRESH, "--allow-status", "outofdate"], ["MEASUREMENT_NOT_APPROVED"]],
    [
      "no challenge either",
      [...AS_SIMULATED, "--without-revocation"],
      ["CHALLENGE_NOT_VERIFIED", "MEASUREMENT_NOT_APPROVED"],
    ],
  ];
  test.each(refused)("refuses %s", async (_, args, codes) => {
    using folder = temporaryFolder();
    writeInputs(folder);
    const { exitCode, json } = await verifyIn(folder, "quote.bin", ...args);
    const { code, refusals = [{ code }] } = (
      json as { error: { code: string; refusals?: { code: string }[] } }
    ).error;
    expect(refusals.map((refusal) => refusal.code)).toEqual(codes);
    expect(exitCode).toBe(1);
  });

  test("on AMD's firmware is about AMD's evidence", async () => {
    using folder = temporaryFolder();
    writeInputs(folder);
    const { exitCode, json } = await verifyIn(folder, "quote.bin", ...FRESH, "--min-tcb", "bootloader=4");
    expect(json).toHaveProperty("error.code", "USAGE_MIN_TCB_OTHER_TEE");
    expect(exitCode).toBe(2);

    const platform = createSimulatedSnpPlatform(new Uint8Array(32).fill(1));
    const snp = simulatedSnpEvidence(platform, { measurement: new Uint8Array(48), reportData });
    mkdirSync(folder.file("amd"));
    for (const [name, bytes] of Object.entries(simulationSnpEndorsements(NOW_MS).parts))
      writeFileSync(folder.file(`amd/${name}.der`), bytes);
    writeFileSync(folder.file("report.bin"), snp.bytes);
    writeFileSync(folder.file("table.bin"), snp.parts?.["auxblob"] ?? "");
    const amd = [
      "report.bin",
      "--part",
      "auxblob=table.bin",
      "--endorsements",
      "amd",
      "--simulated",
      "--challenge",
      "07".repeat(64),
    ];
    const named = ["--measurement", `measurement=${"00".repeat(48)}`];
    expect((await verifyIn(folder, ...amd, ...named, "--min-tcb", "snp=1")).exitCode).toBe(0);
    const newer = await verifyIn(folder, ...amd, ...named, "--min-tcb", "microcode=255,snp=1");
    expect(newer.json).toHaveProperty("error.code", "TCB_BELOW_MINIMUM");
  });
});

test("a part of endorsements that nothing reads is named", async () => {
  using folder = temporaryFolder();
  writeInputs(folder);
  writeFileSync(folder.file("parts/tcb_info.json"), "{}");
  const { exitCode, stderr } = await runCli(["evidence", "verify", "quote.bin", ...FRESH, ...AT], {
    cwd: folder.path,
  });
  expect(exitCode).toBe(0);
  expect(stderr).toContain('no part "tcb_info"');
});

test("a device's report is read without its certificates", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("gpu.bin"), forgeNvidia().evidence.bytes);
  const { exitCode, stdout } = await runCli(["evidence", "inspect", "gpu.bin"], { cwd: folder.path });
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^driver +545\.00$/m);
});
