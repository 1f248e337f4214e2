import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { freePorts, SteeredProcess } from "@cloister/test/hosts";

const LOOPBACK = "127.0.0.1";
const AGENTS = 5;
const WITHIN_MS = 60_000;
const POLL_MS = 5;

interface Said {
  readonly agent: string;
  readonly atMs: number;
  readonly line: string;
}

/** Five serf agents on loopback with the LAN profile, which is serf's default. */
export class SerfCluster {
  readonly #agents: readonly SteeredProcess[];
  readonly #said: Said[];

  private constructor(agents: readonly SteeredProcess[], said: Said[]) {
    this.#agents = agents;
    this.#said = said;
  }

  static async start(home: string): Promise<SerfCluster> {
    mkdirSync(home, { recursive: true });
    const ports = await freePorts(2 * AGENTS);
    const said: Said[] = [];
    const agents = Array.from({ length: AGENTS }, (_, index) => {
      const name = `serf-${index}`;
      const first = `${LOOPBACK}:${ports[index === 0 ? 1 : 0]}`;
      const args = [
        ...["agent", "-node", name, "-bind", `${LOOPBACK}:${ports[index]}`, "-profile", "lan"],
        ...["-rpc-addr", `${LOOPBACK}:${ports[AGENTS + index]}`, "-retry-join", first],
        ...["-retry-interval", "1s", "-log-level", "info"],
      ];
      const line = (text: string): void =>
        void said.push({ agent: name, atMs: performance.now(), line: text });
      return new SteeredProcess({ name, command: "serf", args, logFile: join(home, `${name}.log`), line });
    });
    const cluster = new SerfCluster(agents, said);
    for (const agent of agents) agent.start();
    for (const agent of agents) await cluster.#seenBy(AGENTS - 1, "EventMemberJoin", agent.name, 0);
    return cluster;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.stop("SIGKILL")));
  }

  /** Kills one agent; milliseconds until the first and until the last of the others said that it failed. */
  async lose(turn: number): Promise<{ readonly firstMs: number; readonly lastMs: number }> {
    const agent = this.#agents[turn % AGENTS] as SteeredProcess;
    const atMs = performance.now();
    agent.kill();
    const times = await this.#seenBy(AGENTS - 1, "EventMemberFailed", agent.name, atMs);
    const restartedMs = performance.now();
    agent.start();
    await this.#seenBy(AGENTS - 1, "EventMemberJoin", agent.name, restartedMs);
    return { firstMs: (times[0] as number) - atMs, lastMs: (times.at(-1) as number) - atMs };
  }

  /** When each of so many other agents said `event` of a member, ascending. */
  async #seenBy(count: number, event: string, member: string, sinceMs: number): Promise<number[]> {
    for (const endMs = performance.now() + WITHIN_MS; performance.now() < endMs; await wait(POLL_MS)) {
      const seen = new Map<string, number>();
      for (const { agent, atMs, line } of this.#said) {
        const matches = atMs >= sinceMs && agent !== member && line.includes(`${event}: ${member} `);
        if (matches && !seen.has(agent)) seen.set(agent, atMs);
      }
      if (seen.size >= count) return [...seen.values()].toSorted((a, b) => a - b);
    }
    throw new Error(`serf: not all agents said ${event} of ${member}`);
  }
}
