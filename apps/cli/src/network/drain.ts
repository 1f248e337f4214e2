import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { CloisterError, codeOf } from "@cloister/core";
import { isAlive } from "./children.ts";
import type { Client, NodeStatus } from "./client.ts";
import { parseJsonFile } from "./layout.ts";

const LOOK_MS = 100;

/** How a node left. */
export interface Drained {
  readonly name: string;
  readonly id: string | undefined;
  readonly tookMs: number;
  /** It led when it was asked to leave. */
  readonly led: boolean;
}

/**
 * Asks a node of this host to leave in good order, and waits until its process has ended. It is not started
 * again before `resume`.
 * @throws {CloisterError} `NODE_NOT_FOUND`, `NODE_DRAINED`, `NODE_NOT_RUNNING`, `NODE_DRAIN_TIMEOUT`
 */
export async function drainNode(client: Client, name: string, withinMs: number): Promise<Drained> {
  const page = await findNode(client, name);
  const pid = ownProcess(client, page);
  if (pid === undefined && existsSync(client.layout.cvm(page.name).drained)) {
    throw new CloisterError("NODE_DRAINED", `The node ${name} has left already.`, {
      hint: `\`cloister node resume ${page.name}\` brings it back.`,
    });
  }
  if (pid === undefined) {
    throw new CloisterError("NODE_NOT_RUNNING", `The node ${name} does not run on this machine.`, {
      hint: "A node is drained where it runs; `cloister swarm status` says which ones answer.",
    });
  }
  const startedMs = Date.now();
  writeFileSync(client.layout.cvm(page.name).drained, "");
  terminate(pid);
  while (isAlive(pid)) {
    if (Date.now() > startedMs + withinMs) {
      throw new CloisterError("NODE_DRAIN_TIMEOUT", `The node ${name} is still busy with its order.`, {
        hint: "It goes on leaving by itself; `cloister swarm status` shows when it is gone.",
      });
    }
    await wait(LOOK_MS);
  }
  return { name: page.name, id: page.id, tookMs: Date.now() - startedMs, led: page.swarm?.role === "leader" };
}

/** Lets the supervisor start a drained node again. @throws {CloisterError} `NODE_NOT_FOUND`, `NODE_NOT_DRAINED` */
export async function resumeNode(client: Client, name: string): Promise<void> {
  const page = await findNode(client, name);
  const { drained } = client.layout.cvm(page.name);
  if (!existsSync(drained)) {
    throw new CloisterError("NODE_NOT_DRAINED", `The node ${name} was not drained.`, {
      hint: "`cloister swarm status` says how it is.",
    });
  }
  rmSync(drained, { force: true });
}

async function findNode(client: Client, name: string): Promise<NodeStatus> {
  const pages = await client.nodes();
  const found = pages.find((page) => page.name === name || page.id === name);
  if (found !== undefined) return found;
  throw new CloisterError("NODE_NOT_FOUND", `There is no node "${name}" in this network.`, {
    hint: `There are ${pages.map((page) => page.name).join(", ")}.`,
  });
}

/** The node's process, where this host's own file and the running node itself agree on it. */
function ownProcess(client: Client, page: NodeStatus): number | undefined {
  const { config } = client.layout.cvm(page.name);
  const file = config.replace(/config\.json$/, "identity.json");
  if (page.process === undefined || !existsSync(file)) return undefined;
  const own = parseJsonFile<{ id?: string; pid?: number }>(
    readFileSync(file, "utf8"),
    file,
    "NETWORK_MALFORMED",
  );
  return own.id === page.id && own.pid === page.process.pid ? own.pid : undefined;
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}
