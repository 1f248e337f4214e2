import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseSignature } from "../src/network/consents.ts";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

const ENGINE = `sha256:${"ab".repeat(32)}`;
const OTHER_ENGINE = `sha256:${"cd".repeat(32)}`;

type Folder = ReturnType<typeof temporaryFolder>;

async function draft(folder: Folder, ...more: string[]): Promise<{ file: string; digest: unknown }> {
  const file = folder.file(`consent-${more.join("").replaceAll(/\W/g, "")}.json`);
  const { exitCode, json } = await runJson(["consent", "draft", "-e", ENGINE, "-o", file, ...more]);
  expect(exitCode).toBe(0);
  return { file, digest: json["digest"] };
}

test("a drafted policy is readable, and keeps its digest in its canonical form", async () => {
  using folder = temporaryFolder();
  const { file, digest } = await draft(folder, "--runs", "3", "--until", "2027-01-31");
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
    engines: [ENGINE],
    purposes: ["train"],
    runsMax: 3,
    expiresAt: "2027-01-31T00:00:00.000Z",
  });
  const cbor = folder.file("consent.cbor");
  expect((await runJson(["consent", "encode", file, "-o", cbor])).json["digest"]).toBe(digest);
  expect((await runJson(["digest", cbor])).json["digest"]).toBe(digest);
  expect((await runJson(["consent", "show", cbor])).json["digest"]).toBe(digest);
});

test("an engine may be named by its file", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("engine.wasm"), "engine");
  const { json } = await runJson(["digest", folder.file("engine.wasm")]);
  const drafted = await runJson(["consent", "draft", "-e", folder.file("engine.wasm")]);
  expect(drafted.json).toHaveProperty("policy.engines", [json["digest"]]);
});

test("a policy is explained in sentences", async () => {
  using folder = temporaryFolder();
  const { file } = await draft(folder);
  const { exitCode, stdout } = await runCli(["consent", "show", file]);
  expect(exitCode).toBe(0);
  expect(stdout).toContain(`Engines that may read the object: ${ENGINE}.`);
  expect(stdout).toContain("The engine has no network.");
});

test("a use within the policy is allowed", async () => {
  using folder = temporaryFolder();
  const { file, digest } = await draft(folder, "--runs", "2");
  const { exitCode, json } = await runJson(["consent", "check", file, "-e", ENGINE, "--runs-used", "1"]);
  expect(exitCode).toBe(0);
  expect(json).toEqual({ allowed: true, digest });
});

test.each([
  [["-e", OTHER_ENGINE], "CONSENT_ENGINE_NOT_LISTED"],
  [["-e", ENGINE, "--purpose", "resell"], "CONSENT_PURPOSE_NOT_LISTED"],
  [["-e", ENGINE, "--runs-used", "1"], "CONSENT_RUNS_EXHAUSTED"],
  [["-e", ENGINE, "--at", "2027-02-01"], "CONSENT_EXPIRED"],
  [["-e", ENGINE, "--output-max", "2MiB"], "CONSENT_OUTPUT_TOO_LARGE"],
  [["-e", ENGINE, "--tee", "sgx"], "CONSENT_TEE_NOT_LISTED"],
])("a use with %j is refused with its code", async (args, code) => {
  using folder = temporaryFolder();
  const { file } = await draft(folder, "--until", "2027-01-31", "--tee", "tdx");
  const { exitCode, json } = await runJson(["consent", "check", file, ...args]);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", code);
});

test("a consent is signed for a sealed file only, and a mistyped TEE is warned of", async () => {
  using folder = temporaryFolder();
  const { file } = await draft(folder);
  const sign = ["--home", folder.path, "consent", "sign", file, "--as", "clinic", "--object"];
  expect((await runJson([...sign, file])).json).toHaveProperty("error.code", "SEALED_NOT_AGE");
  expect((await runJson([...sign, ENGINE])).json).toHaveProperty("error.code", "NETWORK_MISSING");
  const warned = await runCli(["consent", "draft", "-e", ENGINE, "--tee", "tdx", "--tee", "banana"]);
  expect(warned).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("known here as banana;") });
});

test("a planned use is read as strictly as a policy", async () => {
  using folder = temporaryFolder();
  const { file } = await draft(folder);
  const { json } = await runJson(["consent", "check", file, "-e", ENGINE, "--recipient", "somebody"]);
  expect(json).toHaveProperty("error.code", "SEALED_RECIPIENT_MALFORMED");
  const without = await runCli(["consent", "check", file]);
  expect(without.stderr).toContain("cloister help consent check");
});

test("a policy that is not text is named as such, and one that is none says how to make one", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("c.json"), Buffer.from('{"\xFF"}', "latin1"));
  const { json } = await runJson(["consent", "show", "c.json"], { cwd: folder.path });
  expect(json).toHaveProperty("error.code", "FILE_NOT_TEXT");
  writeFileSync(folder.file("c.json"), "a table");
  const { stderr } = await runCli(["consent", "show", "c.json"], { cwd: folder.path });
  expect(stderr).toMatch(
    /^error CONSENT_MALFORMED: The consent policy is not JSON or .*\nhint: .*consent draft/,
  );
});

test("every failed check is listed", async () => {
  using folder = temporaryFolder();
  const { file } = await draft(folder);
  const args = ["consent", "check", file, "-e", OTHER_ENGINE, "--runs-used", "9"];
  const { exitCode, stderr } = await runCli(args);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^error CONSENT_ENGINE_NOT_LISTED: .*\n {2}also CONSENT_RUNS_EXHAUSTED: /);
  const { json } = await runJson(args);
  expect(json).toHaveProperty("error.refusals.length", 2);
});

test("a change is said to widen or to narrow", async () => {
  using folder = temporaryFolder();
  const [one, three] = [await draft(folder), await draft(folder, "--runs", "3")];
  const { json } = await runJson(["consent", "diff", one.file, three.file]);
  expect(json).toEqual({ changes: [{ member: "runsMax", before: 1, after: 3, effect: "wider" }] });
  expect((await runCli(["consent", "diff", one.file, one.file])).stdout).toBe(
    "The two policies allow the same.\n",
  );
});

test.each([
  ["", "CONSENT_MALFORMED"],
  ["{", "CONSENT_MALFORMED"],
  ["{}", "CONSENT_MALFORMED"],
  ["a table, not a policy", "CONSENT_MALFORMED"],
  [
    `{"version":1,"engines":["${ENGINE}"],"purposes":["train"],"runsMax":1,"outputBytesMax":1,"egress":"none","extra":1}`,
    "CONSENT_MALFORMED",
  ],
  ["\u00E9{", "CONSENT_MALFORMED"],
])("the policy %j is refused", async (content, code) => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("c.json"), content);
  for (const args of [["show"], ["check", "-e", ENGINE], ["encode", "-o", "-"]]) {
    const [verb = "", ...rest] = args;
    const { exitCode, json } = await runJson(["consent", verb, folder.file("c.json"), ...rest]);
    expect(exitCode).toBe(1);
    expect(json).toHaveProperty("error.code", code);
  }
});

test.each([
  [["consent", "draft"], "USAGE_ENGINE_MISSING", 2],
  [["consent", "draft", "-e", "sha256:abc"], "DIGEST_MALFORMED", 1],
  [["consent", "draft", "-e", "missing.wasm"], "FILE_NOT_FOUND", 4],
  [["consent", "draft", "-e", ENGINE, "--recipient", "age1x"], "CONSENT_MALFORMED", 1],
  [["consent", "draft", "-e", ENGINE, "--until", "2027-02-31"], "USAGE_INVALID_ARGUMENT", 2],
  [["consent", "show", "missing.json"], "FILE_NOT_FOUND", 4],
])("%j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  const { exitCode, json } = await runJson(args, { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
});

test.each([
  ["--owner", `0x${"ab".repeat(20)}`],
  ["--as", "clinic", "--typed-data", "--signature", "0x12"],
  ["--as", "clinic", "--owner", `0x${"ab".repeat(20)}`],
])("who signs must be clear: %s %s", async (...args) => {
  using folder = temporaryFolder();
  const { file } = await draft(folder);
  const sign = ["--home", folder.path, "consent", "sign", file, "--object", ENGINE];
  expect(await runJson([...sign, ...args])).toMatchObject({
    exitCode: 2,
    json: { error: { code: "USAGE_SIGNER" } },
  });
});

test("a signature is hex, and a direct grant names its nodes", async () => {
  expect(() => parseSignature("sig")).toThrow(expect.objectContaining({ code: "USAGE_SIGNATURE_MALFORMED" }));
  expect(parseSignature("0x0aFF")).toEqual(new Uint8Array([10, 255]));
  using folder = temporaryFolder();
  const node = `0x${"0a".repeat(20)}`;
  const { file } = await draft(folder, "--node", node, "--measurement", OTHER_ENGINE);
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
    nodes: [node],
    measurements: [OTHER_ENGINE],
  });
});
