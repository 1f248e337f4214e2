import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { bin, runCli, temporaryFolder } from "./run-cli.ts";

const OLD_NODE = "/usr/bin/node";

/** Whether the system has a Node too old for us: the situation that the wrapper is for. */
function hasOldNode(): boolean {
  if (!existsSync(OLD_NODE)) return false;
  const major = Number(/^v(\d+)\./.exec(execFileSync(OLD_NODE, ["--version"], { encoding: "utf8" }))?.[1]);
  return major >= 18 && major < 22;
}

function hasBundledNode(): boolean {
  try {
    createRequire(import.meta.url).resolve("node24/package.json");
    return true;
  } catch {
    return false;
  }
}

const old = hasOldNode();
const both = old && hasBundledNode();

test.skipIf(!both)("under an old Node the program goes on under the bundled one (needs both)", async () => {
  const options = { command: [OLD_NODE, bin], stdin: "hello\n" } as const;
  const ran = await runCli(["digest", "-"], options);
  expect(ran.stderr).toBe("");
  expect(ran.stdout).toContain("sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  expect(ran.exitCode).toBe(0);
});

test.skipIf(!both)("exit codes come through from the bundled Node (needs both)", async () => {
  const ran = await runCli(["digest", "missing.txt"], { command: [OLD_NODE, bin] });
  expect(ran.exitCode).toBe(4);
  expect(ran.stderr).toContain("error FILE_NOT_FOUND");
});

test.skipIf(!old)(
  "without a bundled Node it says which one it needs (needs an old system Node)",
  async () => {
    using folder = temporaryFolder();
    mkdirSync(folder.file("bin"));
    cpSync(bin, folder.file("bin/cloister.mjs"));
    const ran = await runCli(["--help"], { command: [OLD_NODE, folder.file("bin/cloister.mjs")] });
    expect(ran.exitCode).toBe(3);
    expect(ran.stderr).toMatch(/^error NODE_TOO_OLD: .*22\.18.*\nhint: .*npm ci.*\n$/);
    const json = await runCli(["--json"], { command: [OLD_NODE, folder.file("bin/cloister.mjs")] });
    expect(JSON.parse(json.stdout)).toHaveProperty("error.code", "NODE_TOO_OLD");
  },
);

test.skipIf(!old)("the project's tools say so too (needs an old system Node)", async () => {
  using folder = temporaryFolder();
  mkdirSync(folder.file("tools"));
  cpSync(new URL("../../../tools/run.mjs", import.meta.url), folder.file("tools/run.mjs"));
  writeFileSync(folder.file("tools/check.ts"), "throw new Error('must not run');");
  const ran = await runCli(["check"], { command: [OLD_NODE, folder.file("tools/run.mjs")] });
  expect(ran.exitCode).toBe(3);
  expect(ran.stderr).toMatch(/^error NODE_TOO_OLD: /);
});
