import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { freePortBase } from "../src/network/start.ts";
import { bin, runCli, temporaryFolder } from "./run-cli.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url)).replace(/\/$/, "");

/** A guide's commands, and the lines that each block says it prints. */
interface Step {
  readonly commands: string;
  readonly expected: readonly string[];
}

function stepsOf(guide: string): Step[] {
  const steps: { commands: string; expected: string[] }[] = [];
  for (const [, language, body] of guide.matchAll(/^```(sh|text)\n([^]*?)^```$/gm)) {
    if (language === "sh") steps.push({ commands: body ?? "", expected: [] });
    else steps.at(-1)?.expected.push(...(body ?? "").trimEnd().split("\n"));
  }
  return steps;
}

/** A folder in which a guide finds what it finds in the repository, with a `cloister` that keeps off others' ports. */
async function prepare(folder: ReturnType<typeof temporaryFolder>): Promise<void> {
  const port = await freePortBase();
  mkdirSync(folder.file("bin"));
  const wrapper = `#!/bin/sh\n[ "$1" = up ] && set -- "$@" --port-base ${port}\nexec '${process.execPath}' '${bin}' "$@"\n`;
  writeFileSync(folder.file("bin/cloister"), wrapper);
  chmodSync(folder.file("bin/cloister"), 0o755);
  symlinkSync(`${root}/examples`, folder.file("examples"));
  symlinkSync(`${root}/node_modules`, folder.file("node_modules"));
}

/** Runs all blocks in one shell, stopping at the first that fails, and gives what each printed. */
function runSteps(
  steps: readonly Step[],
  cwd: string,
): Promise<{ exitCode: number | null; outputs: string[] }> {
  const mark = (at: number): string => `@@@ block ${at} @@@`;
  const blocks = steps.map(
    ({ commands }, at) => `echo '${mark(at)}'\n${commands}\nexport PATH="${cwd}/bin:$PATH"\n`,
  );
  const child = spawn("bash", ["-e", "-o", "pipefail", "-c", `exec 2>&1\n${blocks.join("")}`], { cwd });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve) => {
    child.on("close", (exitCode) => {
      const outputs = steps.map((_, at) => output.split(mark(at))[1]?.split("@@@ block")[0] ?? "");
      resolve({ exitCode, outputs });
    });
  });
}

/** A line of a guide as a pattern: `…` stands for anything, and runs of spaces for each other. */
function patternOf(line: string): RegExp {
  const escaped = line.trim().replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(escaped.replaceAll("…", ".*").replaceAll(/ +/g, " +"));
}

test("the guide to the first order does what it says", { timeout: 240_000 }, async () => {
  using folder = temporaryFolder();
  await prepare(folder);
  const steps = stepsOf(readFileSync(`${root}/docs/guides/first-order.md`, "utf8"));
  expect(steps.length).toBeGreaterThan(8);
  try {
    const { exitCode, outputs } = await runSteps(steps, folder.path);
    for (const [at, { commands, expected }] of steps.entries()) {
      for (const line of expected) expect(outputs[at], `after:\n${commands}`).toMatch(patternOf(line));
    }
    expect(exitCode, outputs.join("")).toBe(0);
    const result = folder.file(".cloister/first-order/result/summary.json");
    expect(statSync(result).mode & 0o077, "a result is its owner's alone").toBe(0);
  } finally {
    await runCli(["down"], { cwd: folder.file(".cloister/first-order") });
  }
});
