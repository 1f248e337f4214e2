import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as wait } from "node:timers/promises";
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

/** Starts the program under the old Node on an input that never ends, and finds the process under the new Node. */
async function startWaiting(): Promise<{ outer: ChildProcess; inner: number }> {
  const outer = spawn(OLD_NODE, [bin, "digest", "-"], { stdio: ["pipe", "ignore", "ignore"] });
  const children = `/proc/${outer.pid}/task/${outer.pid}/children`;
  for (;;) {
    const inner = Number(readFileSync(children, "utf8").trim().split(" ")[0]);
    if (inner > 0 && isLoaded(inner)) return { outer, inner };
    await wait(20);
  }
}

/** Node installs its handlers before it runs our code; earlier a signal would meet a process that is not ours yet. */
function isLoaded(pid: number): boolean {
  return /^SigCgt:\s*0*[1-9a-f]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await wait(20);
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

test.skipIf(!both).each(["SIGTERM", "SIGINT", "SIGKILL"] as const)(
  "%s to the outer process ends the inner one (needs both Nodes)",
  async (signal) => {
    const { outer, inner } = await startWaiting();
    const ended = new Promise<NodeJS.Signals | null>((resolve) => {
      outer.on("exit", (_, by) => resolve(by));
    });
    outer.kill(signal);
    expect(await ended).toBe(signal);
    await untilGone(inner);
  },
);

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
