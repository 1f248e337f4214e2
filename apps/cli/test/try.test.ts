import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { buildEngine } from "@cloister/examples/build-engine";
import { hostileEngine } from "@cloister/examples/hostile-engines";
import { penguinsArgs, penguinsByStation } from "@cloister/examples/penguins";
import { digestOf } from "@cloister/core";
import { expect, test } from "vitest";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

const { stationA } = penguinsByStation();
const { inputs: _, ...engineArgs } = penguinsArgs;

test("an engine tried here writes what a node would write", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("train.wasm"), await buildEngine("penguins-train"));
  writeFileSync(folder.file("a.csv"), stationA.csv);
  writeFileSync(folder.file("args.json"), JSON.stringify(engineArgs));
  const command = ["try", "train.wasm", "a.csv", "--args", "args.json", "-o", "out"];
  const { exitCode, json } = await runJson(command, { cwd: folder.path });
  expect(json).not.toHaveProperty("error");
  expect(exitCode).toBe(0);
  const outputs = json["outputs"] as { file: string; digest: string; sizeBytes: number }[];
  expect(outputs.map(({ file }) => file)).toContain("out/metrics.json");
  for (const { file, digest, sizeBytes } of outputs) {
    const bytes = readFileSync(folder.file(file));
    expect(digestOf(bytes)).toBe(digest);
    expect(bytes.length).toBe(sizeBytes);
  }
  const again = await runJson(command, { cwd: folder.path });
  expect(again.json).toMatchObject({ error: { code: "FILE_EXISTS" } });
  expect((await runJson([...command, "--force"], { cwd: folder.path })).exitCode).toBe(0);
});

test("an engine that a node would refuse is refused here, by the same code", async () => {
  using folder = temporaryFolder();
  for (const [name, code] of [
    ["exits-nonzero", "ENGINE_EXITED_NONZERO"],
    ["imports-a-socket", "ENGINE_IMPORT_FORBIDDEN"],
    ["writes-nothing", "ENGINE_NO_OUTPUT"],
    ["loops-forever", "ENGINE_TIME_EXCEEDED"],
  ] as const) {
    writeFileSync(folder.file("engine.wasm"), hostileEngine(name));
    const { exitCode, json } = await runJson(["try", "engine.wasm", "--run-max", "1s"], { cwd: folder.path });
    expect(json, name).toMatchObject({ error: { code } });
    expect(exitCode).toBe(1);
  }
  expect(existsSync(folder.file("outputs"))).toBe(false);
});

test("what cannot be an engine's input is refused before anything runs", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("engine.wasm"), hostileEngine("writes-nothing"));
  writeFileSync(folder.file("två.csv"), "a\n1\n");
  mkdirSync(folder.file("b"));
  for (const place of ["a.csv", "b/a.csv"]) writeFileSync(folder.file(place), "a\n1\n");
  const run = (...inputs: string[]): ReturnType<typeof runJson> =>
    runJson(["try", "engine.wasm", ...inputs], { cwd: folder.path });
  expect((await run("två.csv")).json).toMatchObject({ error: { code: "USAGE_INPUT_NAME" } });
  expect((await run("a.csv", "b/a.csv")).json).toMatchObject({ error: { code: "USAGE_INPUT_TWICE" } });
  expect((await run("missing.csv")).json).toMatchObject({ error: { code: "FILE_NOT_FOUND" } });
  const { exitCode, stderr } = await runCli(["try", "missing.wasm"], { cwd: folder.path });
  expect(stderr).toContain("There is no file missing.wasm.");
  expect(exitCode).toBe(4);
});
