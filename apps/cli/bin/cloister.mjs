#!/usr/bin/env node
/**
 * The `cloister` program. Plain JavaScript for any Node from 18 on: where the running Node is too old, it
 * goes on under the Node that was installed along, or says which one to get.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** Node 22.18 and 24.11 and later run TypeScript and carry the cryptography used here; 23 and 25 are past their end. */
function isSupported(version) {
  const [major, minor] = version.split(".").map(Number);
  return (major === 22 && minor >= 18) || (major === 24 && minor >= 11) || major >= 26;
}

function bundledNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve("node24/package.json");
    const binary = join(dirname(manifest), "bin", "node");
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

function explainOldNode() {
  const message = `Cloister needs Node 22.18, 24.11 or 26 and later; this is Node ${process.versions.node}.`;
  const hint =
    "Install a newer Node from nodejs.org. On Linux x64, `npm ci` in the repository brings one along.";
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify({ error: { code: "NODE_TOO_OLD", message, hint } }));
  } else {
    console.error(`error NODE_TOO_OLD: ${message}\nhint: ${hint}`);
  }
  process.exitCode = 3;
}

/** Runs this program again under another Node, as if it had been started there. */
function continueUnder(node) {
  const child = spawn(node, process.argv.slice(1), {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, CLOISTER_UNDER_WRAPPER: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      // A terminal sends its interrupt to both processes; passed on, it would count twice.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("error", explainOldNode);
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 1;
    if (signal === null) return;
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/** Leaves when the wrapper was killed: its SIGKILL cannot be passed on, but the channel to it closes. */
function leaveWithWrapper() {
  if (process.env.CLOISTER_UNDER_WRAPPER === undefined) return;
  delete process.env.CLOISTER_UNDER_WRAPPER;
  process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
  process.channel?.unref();
}

async function run() {
  leaveWithWrapper();
  const { enableCompileCache } = await import("node:module");
  enableCompileCache?.();
  const emitWarning = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    const type = typeof rest[0] === "object" ? rest[0]?.type : rest[0];
    if (type !== "ExperimentalWarning") emitWarning.call(process, warning, ...rest);
  };
  const { main } = await import("../src/main.ts");
  await end(await main(process.argv.slice(2)));
}

/** Ends the process once everything is written: a pooled connection must not keep a finished command alive. */
async function end(exitCode) {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise((written) => {
      stream.write("", written);
    });
  }
  process.exit(exitCode);
}

if (isSupported(process.versions.node)) {
  await run();
} else {
  const node = bundledNode();
  if (node === undefined || process.env.CLOISTER_UNDER_WRAPPER !== undefined) explainOldNode();
  else continueUnder(node);
}
