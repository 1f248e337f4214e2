import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { CloisterError, codeOf, type NodeId } from "@cloister/core";
import { goalsOf } from "@cloister/node";
import { requireFreePort } from "./anvil.ts";
import { Client } from "./client.ts";
import { layoutOf, readNetwork } from "./layout.ts";
import { alreadyRunning } from "./local-network.ts";
import { runningProcess } from "./process-file.ts";

export { LocalNetwork } from "./local-network.ts";

const PORT_BASE = 7_640;
const READY_WITHIN_MS = 90_000;
const PROGRAM = fileURLToPath(new URL("../../bin/cloister.mjs", import.meta.url));

/** A network that can take orders. */
export interface NetworkFacts {
  readonly leader: NodeId;
  readonly term: number;
  readonly nodes: readonly NodeId[];
  readonly groups: readonly {
    readonly goalId: string;
    readonly epoch: number;
    readonly members: readonly NodeId[];
  }[];
  /** The recipient of the key-release group. */
  readonly releaseGroup: string;
  readonly simulated: true;
}

/** @throws {CloisterError} `USAGE_NODES` */
export function readNodeCount(text: string): number {
  const nodes = Number(text);
  if (Number.isInteger(nodes) && nodes >= 3 && nodes <= 9) return nodes;
  throw new CloisterError("USAGE_NODES", `"${text}" is not a number of nodes.`, {
    hint: "Give a number from 3 to 9.",
  });
}

/** The port base asked for, else the one of the network in this home, else the default. */
export function readPortBase(home: string, text: string | undefined): number {
  if (text === undefined) {
    const layout = layoutOf(home);
    if (!existsSync(layout.networkFile)) return PORT_BASE;
    return Number(new URL(readNetwork(layout).rpcUrl).port);
  }
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1_024 && port <= 65_000) return port;
  throw new CloisterError("USAGE_PORT_BASE", `"${text}" is not a port.`, {
    hint: "Give a number from 1024 to 65000.",
  });
}

/** A base from which enough ports are free, for networks that nobody needs to find. */
export async function freePortBase(): Promise<number> {
  for (let tries = 0; ; tries++) {
    const base = 20_000 + 16 * Math.floor(Math.random() * 1_800);
    try {
      for (let port = base; port < base + 16; port++) await requireFreePort(port);
      return base;
    } catch (error) {
      if (tries > 50) throw error;
    }
  }
}

/** Waits until the network has a leader, its groups, and a key-release group that its members vouch for. */
export async function untilReady(home: string, withinMs = READY_WITHIN_MS): Promise<NetworkFacts> {
  const endMs = Date.now() + withinMs;
  let last: unknown;
  while (Date.now() < endMs) {
    try {
      return await readFacts(home);
    } catch (error) {
      if (!PASSING.has(codeOf(error))) throw error;
      last = error;
    }
    await wait(150);
  }
  throw new CloisterError(
    "NETWORK_START_TIMEOUT",
    `The network was not ready within ${withinMs / 1000} seconds.`,
    {
      hint: "`cloister status` shows what is missing; the logs folder says why.",
      cause: last,
    },
  );
}

const PASSING = new Set([
  "NETWORK_MISSING",
  "CHAIN_UNREACHABLE",
  "RELEASE_GROUP_UNVOUCHED",
  "NETWORK_NOT_READY",
]);

async function readFacts(home: string): Promise<NetworkFacts> {
  const client = await Client.open(home);
  const { state } = await client.chain.refresh();
  const { term, leader } = state.term;
  const groups = [...state.groups.values()];
  const goals = goalsOf(state).length;
  // A leader on chain may be one of before a restart: it counts once it says so itself.
  const leading = (await client.nodes()).some(({ id, swarm }) => id === leader && swarm?.role === "leader");
  if (leader === undefined || !leading || groups.length < goals || goals === 0) {
    throw new CloisterError("NETWORK_NOT_READY", "The network has no leader or not all of its groups yet.");
  }
  const { recipient } = await client.releaseGroup(0);
  return {
    ...{ leader, term, releaseGroup: recipient },
    nodes: [...state.nodes.keys()],
    groups: groups.map(({ goalId, epoch, members }) => ({ goalId, epoch, members })),
    simulated: true,
  };
}

/** Starts a supervisor that outlives this process. @throws {CloisterError} what it failed with */
export async function detachNetwork(home: string, nodes: number, portBase: number): Promise<void> {
  const { log: logOf, supervisorPidFile } = layoutOf(home);
  const before = runningProcess(supervisorPidFile);
  // The network that runs would be taken for the one that was asked for.
  if (before !== undefined) throw alreadyRunning(home, before.pid);
  const log = logOf("up");
  mkdirSync(dirname(log), { recursive: true });
  const from = existsSync(log) ? readFileSync(log).length : 0;
  const output = openSync(log, "a");
  const args = [
    PROGRAM,
    "--json",
    "--home",
    home,
    "up",
    "--nodes",
    String(nodes),
    "--port-base",
    String(portBase),
  ];
  const child = spawn(process.execPath, args, { detached: true, stdio: ["ignore", output, output] });
  closeSync(output);
  const ended = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
  const early = await Promise.race([ended, untilReady(home).then(() => undefined)]);
  child.unref();
  if (early === undefined) return;
  throw startFailure(readFileSync(log, "utf8").slice(from), log);
}

function startFailure(said: string, log: string): CloisterError {
  const last = said.trim().split("\n}\n").at(-1) ?? "";
  try {
    const { error } = JSON.parse(last.slice(last.indexOf("{"))) as {
      error: { code: string; message: string; hint?: string };
    };
    return new CloisterError(error.code, error.message, error.hint === undefined ? {} : { hint: error.hint });
  } catch {
    return new CloisterError("NETWORK_START_FAILED", "The network did not start.", {
      hint: `Look into ${log}.`,
    });
  }
}
