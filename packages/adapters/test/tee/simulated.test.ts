import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  simulationEndorsements,
  simulationRoots,
  simulationSnpEndorsements,
  vendorRoots,
  verify,
} from "@cloister/attestation";
import { toHex, type RecordStore } from "@cloister/core";
import { afterAll, describe, expect, test } from "vitest";
import { measureImage, simulatedMeasurement, SimulatedTee, type Image } from "../../src/tee/index.ts";
import { teeCompliance } from "./compliance.ts";

const NOW_MS = Date.UTC(2026, 5, 1);
const folder = mkdtempSync(join(tmpdir(), "cloister-image-"));
afterAll(() => rmSync(folder, { recursive: true }));
const entropy = (length: number): Uint8Array => new Uint8Array(randomBytes(length));

function memoryRecords(): RecordStore {
  const records = new Map<string, Uint8Array>();
  return {
    read: async (name) => records.get(name),
    write: async (name, record) => void records.set(name, record),
    delete: async (name) => void records.delete(name),
    list: async (prefix) => [...records.keys()].filter((name) => name.startsWith(prefix)).toSorted(),
  };
}

function image(more: Partial<Image> = {}): Image {
  mkdirSync(join(folder, "src/deep"), { recursive: true });
  writeFileSync(join(folder, "src/main.ts"), "start();\n");
  writeFileSync(join(folder, "src/deep/part.ts"), "export {};\n");
  writeFileSync(join(folder, "lock.json"), "{}\n");
  return { root: folder, program: ["src"], lockFile: join(folder, "lock.json"), role: "node", ...more };
}

const machine = memoryRecords();
teeCompliance("the simulated TEE", async () => ({
  tee: await SimulatedTee.launch(machine, await measureImage(image()), entropy),
  endorsements: simulationEndorsements(NOW_MS),
  roots: simulationRoots,
  nowMs: NOW_MS,
}));

teeCompliance("the simulated TEE in SEV-SNP's layout", async () => ({
  tee: await SimulatedTee.launch(machine, await measureImage(image()), entropy, "sev-snp"),
  endorsements: simulationSnpEndorsements(NOW_MS),
  roots: simulationRoots,
  nowMs: NOW_MS,
}));

describe("the simulated TEE", () => {
  const launch = async (records: RecordStore, more: Partial<Image> = {}): Promise<SimulatedTee> =>
    SimulatedTee.launch(records, await measureImage(image(more)), entropy);
  const key = async (tee: SimulatedTee): Promise<string> => toHex(await tee.sealingKey("keys"));

  test("is refused under the vendors' roots, and says SIMULATED under its own", async () => {
    const bytes = await (await launch(machine)).evidence(new Uint8Array(64));
    const judge = (roots: typeof vendorRoots) =>
      verify({ tee: "tdx", bytes }, simulationEndorsements(NOW_MS), { nowMs: NOW_MS, roots });
    expect(judge(simulationRoots)).toMatchObject({
      ok: true,
      value: { simulated: true, tcb: { status: "UpToDate" } },
    });
    expect(judge(vendorRoots)).toMatchObject({ ok: false });
  });

  test.each([
    [1, 1, "UpToDate"],
    [2, 1, "UpToDate"],
    [2, 2, "UpToDate"],
    [1, 2, "OutOfDate"],
    [2, 3, "OutOfDate"],
  ])("with firmware %i, where the vendor asks for %i, is %s", async (firmware, firmwareMin, status) => {
    const tee = await SimulatedTee.launch(machine, await measureImage(image()), entropy, "tdx", firmware);
    const bytes = await tee.evidence(new Uint8Array(64));
    const endorsements = simulationEndorsements(NOW_MS, firmwareMin);
    const verdict = verify({ tee: "tdx", bytes }, endorsements, { nowMs: NOW_MS, roots: simulationRoots });
    const advisoryIds = status === "OutOfDate" ? ["SIMULATED-SA-00001"] : [];
    expect(verdict).toMatchObject({ ok: true, value: { tcb: { status, advisoryIds } } });
  });

  test("keeps its sealing key under later firmware", async () => {
    const later = await SimulatedTee.launch(machine, await measureImage(image()), entropy, "tdx", 2);
    expect(await key(later)).toBe(await key(await launch(machine)));
  });

  test("has the measurement that its image foretells", async () => {
    const bytes = await (await launch(machine)).evidence(new Uint8Array(64));
    const verdict = verify({ tee: "tdx", bytes }, simulationEndorsements(NOW_MS), {
      nowMs: NOW_MS,
      roots: simulationRoots,
    });
    expect(verdict.ok && verdict.value.measurement).toBe(simulatedMeasurement(await measureImage(image())));
  });

  test("has it in SEV-SNP's layout too", async () => {
    const launched = await SimulatedTee.launch(machine, await measureImage(image()), entropy, "sev-snp");
    const bytes = await launched.evidence(new Uint8Array(64));
    const judge = (roots: typeof vendorRoots) =>
      verify({ tee: "sev-snp", bytes }, simulationSnpEndorsements(NOW_MS), { nowMs: NOW_MS, roots });
    expect(judge(simulationRoots)).toMatchObject({
      ok: true,
      value: { simulated: true, measurement: simulatedMeasurement(await measureImage(image()), "sev-snp") },
    });
    expect(judge(vendorRoots)).toMatchObject({ ok: false });
  });

  test("seals to the machine and to the code", async () => {
    const here = await key(await launch(machine));
    expect(await key(await launch(memoryRecords()))).not.toBe(here);
    expect(await key(await launch(machine, { role: "authority" }))).not.toBe(here);
    writeFileSync(join(folder, "added.json"), "{}");
    expect(await key(await launch(machine, { added: [join(folder, "added.json")] }))).not.toBe(here);
  });

  test("measures a changed file, a renamed file and a changed lock", async () => {
    const before = simulatedMeasurement(await measureImage(image()));
    image();
    writeFileSync(join(folder, "src/main.ts"), "start(2);\n");
    const measure = async (): Promise<string> =>
      simulatedMeasurement(
        await measureImage({
          root: folder,
          program: ["src"],
          lockFile: join(folder, "lock.json"),
          role: "node",
        }),
      );
    expect(await measure()).not.toBe(before);
    image();
    rmSync(join(folder, "src/deep/part.ts"));
    writeFileSync(join(folder, "src/deep/other.ts"), "export {};\n");
    expect(await measure()).not.toBe(before);
    rmSync(join(folder, "src/deep/other.ts"));
    image();
    expect(await measure()).toBe(before);
    writeFileSync(join(folder, "lock.json"), '{"changed":true}\n');
    expect(await measure()).not.toBe(before);
  });
});
