import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { digestOf, utf8 } from "@cloister/core";
import { beforeAll, expect, test } from "vitest";
import { forgeProof } from "../../../packages/certification/test/proof/forger.ts";
import { NOW_MS } from "../../../packages/certification/test/world.ts";
import { runCli, runJson, temporaryFolder, type Ran, type RunOptions } from "./run-cli.ts";

const AT = ["--at", new Date(NOW_MS + 300_000).toISOString()];
const OFFLINE = {
  env: { NODE_OPTIONS: `--import=${new URL("./no-network.mjs", import.meta.url).href}` },
} as const;

let proof: Awaited<ReturnType<typeof forgeProof>>;
beforeAll(async () => {
  proof = await forgeProof();
});

function verifyBytes(
  bytes: Uint8Array,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Ran> {
  return runCli(["verify", "-", ...AT, ...args], { stdin: bytes, ...options });
}

async function verifyJson(
  bytes: Uint8Array,
  ...args: string[]
): Promise<{ exitCode: number | null; json: unknown }> {
  const { exitCode, stdout } = await verifyBytes(bytes, [...args, "--json"]);
  return { exitCode, json: JSON.parse(stdout) };
}

test("a good proof is explained link by link, opens no socket, and says SIMULATED first and last", async () => {
  const { exitCode, stdout, stderr } = await verifyBytes(proof.bytes, [], OFFLINE);
  expect(stderr).toBe("");
  expect(exitCode).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toMatch(/^SIMULATED: /);
  expect(lines.at(-1)).toMatch(/^SIMULATED: /);
  expect(stdout).toContain("VERIFIED: every link holds.");
  expect(stdout.match(/^holds {3}/gm)).toHaveLength(11);
  expect(stdout).not.toMatch(/BROKEN|error /);
});

test("a proof says who witnessed the log, and a reader may ask for more of them", async () => {
  const { bytes } = await forgeProof({ witnesses: ["a", "b", "c"], cosigners: ["a", "b"] });
  const node = `0x${"61".padEnd(40, "0")}`;
  const said = await verifyBytes(bytes);
  expect(said.exitCode).toBe(0);
  expect(said.stdout).toContain("2 of its 3 witnesses co-signed");
  expect(said.stdout).toContain(node);
  const good = await verifyJson(bytes, "--witnesses", "2");
  expect(good).toMatchObject({ exitCode: 0, json: { verified: true, witnesses: [{ node }, {}] } });
  const bad = await verifyJson(bytes, "--witnesses", "3");
  expect(bad).toMatchObject({ exitCode: 1, json: { error: { code: "LOG_WITNESSES_MISSING" } } });
  const none = await verifyJson(proof.bytes, "--witnesses", "1");
  expect(none).toMatchObject({ exitCode: 1, json: { verified: false, witnesses: [] } });
});

test("the test that no socket is opened can fail", async () => {
  const ran = await runCli([], {
    ...OFFLINE,
    command: [process.execPath, "--eval", "fetch('http://127.0.0.1:9')"],
  });
  expect(ran).toMatchObject({ exitCode: 99, stderr: expect.stringContaining("NETWORK TOUCHED") as string });
});

const canCutNetwork = spawnSync("unshare", ["-rn", "true"]).status === 0;

test.skipIf(!canCutNetwork)("a proof verifies in a namespace without a network (needs unshare)", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("proof"), proof.bytes);
  const { bin } = await import("./run-cli.ts");
  const ran = await runCli(["verify", folder.file("proof"), ...AT], {
    command: ["unshare", "-rn", process.execPath, bin],
  });
  expect(ran.exitCode).toBe(0);
});

test("the JSON document says the same, link by link", async () => {
  const { exitCode, json } = await verifyJson(proof.bytes);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({
    verified: true,
    simulated: true,
    proofDigest: digestOf(proof.bytes),
    refusals: [],
    order: { id: proof.signed.report.integrity.orderId, chainId: 31_337 },
    block: { hash: proof.blockHash },
  });
});

test("every changed byte is noticed: places all over the file", async () => {
  const step = Math.floor(proof.bytes.length / 12);
  for (let at = 0; at < proof.bytes.length; at += step) {
    const changed = Uint8Array.from(proof.bytes, (byte, index) => (index === at ? byte ^ 1 : byte));
    const { exitCode, stdout, stderr } = await verifyBytes(changed);
    expect(exitCode, `byte ${at}`).toBe(1);
    expect(stdout).toContain("NOT VERIFIED");
    expect(stdout).toMatch(/error [A-Z_]+: /);
    expect(stderr).toBe("");
  }
});

test("with --hardware a simulated proof is refused with its code", async () => {
  const { exitCode, json } = await verifyJson(proof.bytes, "--hardware");
  expect(exitCode).toBe(1);
  expect(json).toMatchObject({ verified: false, simulated: true, error: { code: "PROOF_SIMULATED" } });
});

test("the result in one's hands is compared", async () => {
  const [output] = proof.signed.report.outputs;
  const good = await verifyJson(proof.bytes, "--result-digest", output?.sealed ?? "");
  expect(good.exitCode).toBe(0);
  using folder = temporaryFolder();
  writeFileSync(folder.file("result"), "something else");
  const bad = await verifyJson(proof.bytes, "--result", folder.file("result"));
  expect(bad.exitCode).toBe(1);
  expect(bad.json).toHaveProperty("error.code", "PROOF_OUTPUT_MISMATCH");
});

test("a block hash that the reader knows is compared", async () => {
  expect((await verifyJson(proof.bytes, "--block-hash", proof.blockHash)).exitCode).toBe(0);
  const other = await verifyJson(proof.bytes, "--block-hash", `0x${"00".repeat(32)}`);
  expect(other.json).toHaveProperty("error.code", "PROOF_BLOCK_MISMATCH");
});

test("a proof from the future is refused", async () => {
  const { exitCode, stdout } = await runCli(["verify", "-", "--at", "2020-01-01", "--json"], {
    stdin: proof.bytes,
  });
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ verified: false });
});

test.each([
  ["nothing", new Uint8Array(0)],
  ["text", utf8("this is not a proof")],
  ["a cut file", utf8("\u0082")],
])("%s is no proof", async (_, bytes) => {
  const { exitCode, json } = await verifyJson(bytes);
  expect(exitCode).toBe(1);
  expect(json).toMatchObject({ verified: false, error: { code: "PROOF_MALFORMED" } });
});

test.each([
  [["missing.cloister"], "FILE_NOT_FOUND", 4],
  [["."], "FILE_IS_FOLDER", 1],
  [["-", "--result", "missing"], "FILE_NOT_FOUND", 4],
  [["-", "--result-digest", "abc"], "DIGEST_MALFORMED", 1],
  [["-", "--result-digest", "abc", "--result", "x"], "USAGE_CONFLICT", 2],
  [["-", "--block-hash", "abc"], "ID_MALFORMED", 1],
  [["-", "--at", "yesterday"], "USAGE_INVALID_ARGUMENT", 2],
  [[], "USAGE_MISSING_ARGUMENT", 2],
])("verify %j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  const { exitCode, json } = await runJson(["verify", ...args], { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
});

test("a file larger than any proof is refused before it is read", async () => {
  const { exitCode, stdout } = await verifyBytes(new Uint8Array(17 * 1024 * 1024), ["--json"]);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toHaveProperty("error.code", "FILE_TOO_LARGE");
});
