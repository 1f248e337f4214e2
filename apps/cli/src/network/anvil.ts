import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { CloisterError } from "@cloister/core";
import { runningProcess } from "./process-file.ts";

/** Chain id of every local network: the one that wallets know as "not a real chain". */
export const LOCAL_CHAIN_ID = 31_337;

/** Seconds between two writes of the chain's state to disk; a SIGKILL loses at most this much. */
const STATE_INTERVAL_SECONDS = 1;

/** States of past blocks that the chain answers about; more would be written to disk every second. */
const STATES_KEPT = 64;

/**
 * Finds the chain program: the one installed with this package, or `anvil` on the PATH.
 * @throws {CloisterError} `ANVIL_MISSING`
 */
export function findAnvil(): string {
  const require = createRequire(import.meta.url);
  try {
    const manifest = require.resolve("@foundry-rs/anvil-linux-amd64/package.json");
    const binary = join(dirname(manifest), "bin", "anvil");
    if (existsSync(binary)) return binary;
  } catch {
    // Not a platform that has the package: look on the PATH.
  }
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    if (folder !== "" && existsSync(join(folder, "anvil"))) return join(folder, "anvil");
  }
  throw new CloisterError(
    "ANVIL_MISSING",
    "The local chain needs anvil, and this platform has no package of it.",
    {
      hint: "Install Foundry 1.7 or newer so that `anvil` is on the PATH, then try again.",
    },
  );
}

/** How the local chain is started; without a file for its state it keeps none. */
export function anvilArgs(port: number, stateFile?: string, host = "127.0.0.1"): string[] {
  const kept = ["--state", stateFile ?? "", "--state-interval", String(STATE_INTERVAL_SECONDS)];
  return [
    ...["--host", host, "--port", String(port), "--chain-id", String(LOCAL_CHAIN_ID)],
    ...(stateFile === undefined ? [] : kept),
    ...["--prune-history", String(STATES_KEPT)],
    ...["--mixed-mining", "--block-time", "5", "--accounts", "1", "--silent"],
  ];
}

/**
 * Makes sure that a port is free, or gets free within so long.
 * @throws {CloisterError} `PORT_IN_USE`
 */
export async function requireFreePort(port: number, withinMs = 0): Promise<void> {
  for (const endMs = Date.now() + withinMs; ;) {
    try {
      return await probePort(port);
    } catch (error) {
      if (Date.now() >= endMs) throw error;
      await wait(50);
    }
  }
}

async function probePort(port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const probe = createServer();
    probe.once("error", () =>
      reject(
        new CloisterError("PORT_IN_USE", `Port ${port} on 127.0.0.1 is taken by another program.`, {
          hint: "Stop that program, or choose other ports with --port-base.",
        }),
      ),
    );
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve()));
  });
}

/** Ends a chain process that outlived its supervisor, so that two never write one state file. */
export async function endLeftover(pidFile: string): Promise<void> {
  const leftover = runningProcess(pidFile);
  if (leftover === undefined) return;
  process.kill(leftover.pid, "SIGTERM");
  for (let waitedMs = 0; waitedMs < 5_000 && leftover.runs(); waitedMs += 50) await wait(50);
  if (leftover.runs()) process.kill(leftover.pid, "SIGKILL");
}
