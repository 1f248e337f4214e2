import { readFileSync, writeFileSync } from "node:fs";
import { digestOf, parseHex32, utf8, type OrderId } from "@cloister/core";
import type { OrderReport } from "@cloister/certification";
import { beforeAll, expect, test } from "vitest";
import { forgeProof } from "../../../packages/certification/test/proof/forger.ts";
import { input } from "../../../packages/certification/test/sample.ts";
import { NOW_MS } from "../../../packages/certification/test/world.ts";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

const AT = ["--at", new Date(NOW_MS + 300_000).toISOString()];
const model = utf8("model");
const answers: OrderReport["outputs"] = [
  {
    name: "answers.csv",
    content: digestOf(utf8("answers")),
    sealed: digestOf(utf8("sealed answers")),
    sizeBytes: 9,
  },
];

let training: Uint8Array;
let inference: Uint8Array;
beforeAll(async () => {
  training = (await forgeProof()).bytes;
  const integrity = {
    orderId: parseHex32(`0x${"1f".repeat(32)}`) as OrderId,
    inputs: [input("engine"), { ...input("model"), content: digestOf(model) }],
  };
  inference = (await forgeProof({ integrity, report: { outputs: answers } })).bytes;
});

/** A folder with the two proofs and a third that was damaged. */
function withProofs() {
  const folder = temporaryFolder();
  writeFileSync(folder.file("train"), training);
  writeFileSync(folder.file("infer"), inference);
  writeFileSync(folder.file("damaged"), training.with(900, (training[900] as number) ^ 1));
  return folder;
}

test("answers are drawn back through the model to data and engine, whatever the order of the files", async () => {
  using folder = withProofs();
  const { exitCode, stdout, stderr } = await runCli(["lineage", "infer", "train", ...AT], {
    cwd: folder.path,
  });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const lines = stdout.split("\n");
  expect(lines[0]).toContain("answers.csv sha256:");
  const at = (text: string): number => lines.findIndex((line) => line.includes(text));
  expect(at("made by order 0x1f1f1f1f")).toBeLessThan(at("from model"));
  expect(at("from model")).toBeLessThan(at("made by order 0x0d0d0d0d"));
  expect(lines.filter((line) => line.includes("from data"))).toHaveLength(2);
  expect(stdout).toContain("SIMULATED: ");
  expect(stdout).not.toContain("Missing");
});

test("a model whose making nobody proves is named", async () => {
  using folder = withProofs();
  const { json } = await runJson(["lineage", "infer", ...AT], { cwd: folder.path });
  expect(json).toMatchObject({ missing: [digestOf(model)] });
});

test("one artifact's own lineage is drawn, by its file", async () => {
  using folder = withProofs();
  writeFileSync(folder.file("model.json"), model);
  const args = ["lineage", "train", "infer", "--of", "model.json", ...AT];
  const { json } = await runJson(args, { cwd: folder.path });
  expect(json["results"]).toEqual([digestOf(model)]);
  expect(json["runs"]).toHaveLength(1);
  writeFileSync(folder.file("other"), "other");
  const other = await runJson(["lineage", "train", "--of", "other", ...AT], { cwd: folder.path });
  expect(other).toMatchObject({ exitCode: 4, json: { error: { code: "ARTIFACT_NOT_FOUND" } } });
});

test("a proof that does not hold is said and makes the exit code 1", async () => {
  using folder = withProofs();
  const { exitCode, stdout } = await runCli(["lineage", "infer", "damaged", ...AT], { cwd: folder.path });
  expect(exitCode).toBe(1);
  expect(stdout).toContain("NOT VERIFIED: damaged. Nothing of it is drawn.");
  expect(stdout).toContain("PROOF_MALFORMED");
  const hardware = await runCli(["lineage", "infer", "--hardware", ...AT], { cwd: folder.path });
  expect(hardware.exitCode).toBe(1);
  expect(hardware.stdout).toContain("(NOT VERIFIED)");
});

test("the graph is written for Graphviz, and as a page that needs nothing else", async () => {
  using folder = withProofs();
  const dot = await runCli(["lineage", "train", "infer", "--dot", ...AT], { cwd: folder.path });
  expect(dot.stdout).toMatch(/^digraph lineage \{[\s\S]*\}\n$/);
  expect(dot.stdout.match(/ -> /g)).toHaveLength(7);
  const page = await runCli(["lineage", "train", "infer", "--html", "p.html", ...AT], { cwd: folder.path });
  expect(page.exitCode).toBe(0);
  const html = readFileSync(folder.file("p.html"), "utf8");
  expect(html.match(/<rect /g)).toHaveLength(7);
  expect(html).toContain("answers.csv");
  expect(html).toContain("SIMULATED");
  expect(html).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
});

test.each([
  [["train", "--dot", "--html", "x.html"], "USAGE_CONFLICT"],
  [["nothing"], "FILE_NOT_FOUND"],
  [["train", "--of", "sha256:12"], "DIGEST_MALFORMED"],
])("lineage %j is refused with %s", async (args, code) => {
  using folder = withProofs();
  expect((await runJson(["lineage", ...args, ...AT], { cwd: folder.path })).json).toMatchObject({
    error: { code },
  });
});

test("what a proof proves is exported for tools that read provenance, and only if it holds", async () => {
  using folder = withProofs();
  const run = { cwd: folder.path };
  const slsa = await runJson(["verify", "train", "--export", "slsa", ...AT], run);
  expect(slsa.json).toMatchObject({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: "model.json", digest: { sha256: digestOf(model).slice(7) } }],
  });
  const mlbom = await runCli(["verify", "infer", "--export", "mlbom", ...AT], run);
  expect(mlbom.stderr).toContain("SIMULATED");
  expect(JSON.parse(mlbom.stdout)).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6" });
  const hardware = await runCli(["verify", "train", "--hardware", "--export", "slsa", ...AT], run);
  const reasons = hardware.stderr.split("\n").slice(0, -2);
  expect(new Set(reasons).size).toBe(reasons.length);
  const damaged = await runCli(["verify", "damaged", "--export", "slsa", ...AT], run);
  expect(damaged).toMatchObject({ exitCode: 1, stdout: "" });
});
