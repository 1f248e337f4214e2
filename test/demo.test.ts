/** The demo as a newcomer runs it: one process, one JSON document, and what a skeptic checks afterwards. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";

const PROGRAM = fileURLToPath(new URL("../apps/cli/bin/cloister.mjs", import.meta.url));
const home = mkdtempSync(join(tmpdir(), "cloister-demo-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function cloister(...args: readonly string[]): { status: number | null; stdout: string } {
  const { status, stdout } = spawnSync(process.execPath, [PROGRAM, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  return { status, stdout };
}

interface Report {
  readonly leader: { readonly node: string; readonly term: number };
  readonly group: { readonly members: readonly string[]; readonly goal: { readonly id: string } };
  readonly accuracy: { readonly joint: number; readonly stationA: number; readonly stationB: number };
  readonly order: { readonly id: string; readonly reportDigest: string; readonly txHash: string };
  readonly settlement: readonly {
    readonly party: string;
    readonly beforeWei: string;
    readonly afterWei: string;
  }[];
  readonly proof: { readonly path: string; readonly verified: boolean; readonly sizeBytes: number };
  readonly refusals: readonly { readonly case: string; readonly code: string }[];
  readonly seconds: { readonly total: number; readonly job: number };
}

test("the demo trains jointly what neither station can alone, pays for it, proves it, and refuses four cheats", () => {
  const { status, stdout } = cloister("--json", "--home", home, "demo");
  expect(status).toBe(0);
  const report = JSON.parse(stdout) as Report;
  expect(report.group).toMatchObject({ goal: { id: "compute" }, members: { length: 3 } });
  expect(report.group.members).toContain(report.leader.node);
  const { joint, stationA, stationB } = report.accuracy;
  expect(joint).toBeGreaterThan(Math.max(stationA, stationB) + 0.1);
  expect(report.order.reportDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(report.order.txHash).toMatch(/^0x[0-9a-f]{64}$/);
  const earned = (party: RegExp): bigint => {
    const row = report.settlement.find((one) => party.test(one.party));
    return BigInt(row?.afterWei ?? 0) - BigInt(row?.beforeWei ?? 0);
  };
  expect(earned(/station A/)).toBe(5n * 10n ** 17n);
  expect(earned(/station B/)).toBe(25n * 10n ** 16n);
  expect(earned(/operator/)).toBe(5n * 10n ** 16n);
  expect(earned(/author/)).toBeLessThanOrEqual(-8n * 10n ** 17n);
  expect(report.proof).toMatchObject({ verified: true });
  expect(report.proof.sizeBytes).toBeLessThanOrEqual(65_536);
  expect(report.refusals.map(({ code }) => code)).toEqual([
    "LOADER_CONTENT_DIGEST_MISMATCH",
    "CONSENT_ENGINE_NOT_LISTED",
    "MEASUREMENT_NOT_APPROVED",
    "PROOF_MALFORMED",
  ]);
}, 180_000);

test("its proof is verified by a process that may open no socket, and says SIMULATED", () => {
  const { status, stdout } = cloister("verify", join(home, "demo", "proof.cloister"));
  expect(status).toBe(0);
  expect(stdout).toContain("SIMULATED");
  expect(stdout).toContain("VERIFIED");
});

test("with any byte changed it is refused", () => {
  const proof = readFileSync(join(home, "demo", "proof.cloister"));
  for (const at of [0, 1, proof.length >> 1, proof.length - 1]) {
    const changed = Buffer.from(proof);
    changed[at] = (changed[at] as number) ^ 0x20;
    const file = join(home, `changed-${at}`);
    writeFileSync(file, changed);
    expect(cloister("verify", file).status).toBe(1);
  }
});
