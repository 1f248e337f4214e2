import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createSimulatedPlatform,
  createSimulatedSnpPlatform,
  simulatedSnpEvidence,
  simulatedTdxQuote,
  simulationEndorsements,
  simulationRoots,
  simulationSnpEndorsements,
} from "@cloister/attestation";
import { sha384, utf8 } from "@cloister/core";
import { afterAll, describe, expect, test } from "vitest";
import { openTsmTee, type TsmTee } from "../../src/tee/index.ts";
import { teeCompliance } from "./compliance.ts";
import { errno, fakeConfigfs, type FakeKernel } from "./fake-configfs.ts";

const NOW_MS = Date.UTC(2026, 5, 1);
const folder = mkdtempSync(join(tmpdir(), "cloister-tsm-"));
afterAll(() => rmSync(folder, { recursive: true }));

const entropy = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
const zeros = new Uint8Array(48);
const platform = createSimulatedPlatform(new Uint8Array(32).fill(5));
const tdxKernel: FakeKernel = {
  provider: "tdx_guest",
  outblob: (reportData) =>
    simulatedTdxQuote(platform, {
      mrTd: sha384(utf8("guest")),
      rtmrs: [zeros, zeros, zeros, zeros],
      reportData,
    }),
};

function open(kernel: FakeKernel): Promise<TsmTee> {
  return openTsmTee({ entropy, folder, files: fakeConfigfs(kernel) });
}

teeCompliance("the kernel's TSM interface", async () => ({
  tee: await open(tdxKernel),
  endorsements: simulationEndorsements(NOW_MS),
  roots: simulationRoots,
  nowMs: NOW_MS,
}));

const snpPlatform = createSimulatedSnpPlatform(new Uint8Array(32).fill(6));
const snpKernel: FakeKernel = {
  provider: "sev_guest",
  outblob: (reportData) => simulatedSnpEvidence(snpPlatform, { measurement: zeros, reportData }).bytes,
  auxblob: snpPlatform.certificateTable,
};

teeCompliance("the kernel's TSM interface on SEV-SNP", async () => ({
  tee: await open(snpKernel),
  endorsements: simulationSnpEndorsements(NOW_MS),
  roots: simulationRoots,
  nowMs: NOW_MS,
}));

describe("the kernel's TSM interface", () => {
  const plain = (provider: string, more: Partial<FakeKernel> = {}): FakeKernel => ({
    provider,
    outblob: (inblob) => inblob.toReversed(),
    ...more,
  });
  const data = Uint8Array.from({ length: 64 }, (_, i) => i);

  test.each([
    ["tdx_guest", "tdx"],
    ["sev_guest", "sev-snp"],
    ["arm_cca_guest", "cca"],
  ])("%s is a TEE of kind %s", async (provider, kind) => {
    expect(await open(plain(provider))).toMatchObject({ kind, simulated: false });
  });

  test("gives SEV-SNP's certificate table after the report, and nothing else after any other", async () => {
    const auxblob = new Uint8Array([1, 2, 3]);
    const snp = await open(plain("sev_guest", { auxblob }));
    expect(await snp.evidence(data)).toEqual(Uint8Array.from([...data.toReversed(), 1, 2, 3]));
    const cca = await open(plain("arm_cca_guest", { auxblob }));
    expect(await cca.evidence(data)).toEqual(data.toReversed());
    expect(await cca.report(data)).toEqual({ outblob: data.toReversed(), auxblob });
  });

  test("asks again when the device is busy or another writer came between", async () => {
    const failures = [errno("EBUSY"), errno("EINTR")];
    expect(await (await open(plain("tdx_guest", { failures }))).evidence(data)).toEqual(data.toReversed());
    expect(await (await open(plain("tdx_guest", { races: 2 }))).evidence(data)).toEqual(data.toReversed());
  });

  test("gives up by name", async () => {
    const failed = { code: "TEE_REPORT_FAILED" };
    const broken = await open(plain("tdx_guest", { failures: [errno("EIO")] }));
    await expect(broken.evidence(data)).rejects.toMatchObject(failed);
    await expect((await open(plain("tdx_guest", { races: 99 }))).evidence(data)).rejects.toMatchObject(
      failed,
    );
    const empty = await open(plain("tdx_guest", { outblob: () => new Uint8Array() }));
    await expect(empty.evidence(data)).rejects.toMatchObject(failed);
  });

  test("leaves no entry behind, whatever happened", () => {
    expect(readdirSync(folder)).toEqual([]);
  });

  test("names what was looked for where there is no TEE", async () => {
    const missing = openTsmTee({ entropy, folder: join(folder, "absent") });
    await expect(missing).rejects.toMatchObject({
      code: "TEE_NOT_FOUND",
      message: expect.stringMatching(
        /absent, but it does not exist; .dev.tdx_guest .*, .dev.sev-guest /,
      ) as string,
    });
  });

  test("names a TEE that it does not know", async () => {
    await expect(open(plain("next_guest"))).rejects.toMatchObject({ code: "TEE_UNKNOWN" });
  });
});
