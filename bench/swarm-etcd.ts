import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { freePorts, Relay, SteeredProcess } from "@cloister/test/hosts";

const LOOPBACK = "127.0.0.1";
const MEMBERS = 3;
const READY_WITHIN_MS = 30_000;
const ATTEMPT_MS = 3_000;

interface Member {
  readonly index: number;
  readonly process: SteeredProcess;
  readonly clientUrl: string;
}

/** Three etcd servers with default settings, whose links to one another go through the same relay as ours. */
export class EtcdCluster {
  readonly members: readonly Member[];
  readonly #relay = new Relay();
  readonly #links: readonly string[];

  private constructor(members: readonly Member[], links: readonly string[]) {
    this.members = members;
    this.#links = links;
  }

  static async start(home: string): Promise<EtcdCluster> {
    mkdirSync(home, { recursive: true });
    const ports = await freePorts(3 * MEMBERS);
    const url = (row: number, index: number): string =>
      `http://${LOOPBACK}:${ports[row * MEMBERS + index] as number}`;
    const indices = Array.from({ length: MEMBERS }, (_, index) => index);
    const initial = indices.map((index) => `etcd-${index}=${url(1, index)}`).join();
    const members = indices.map((index) => {
      const name = `etcd-${index}`;
      const args = [
        ...["--name", name, "--data-dir", join(home, name), "--initial-cluster", initial],
        ...["--listen-peer-urls", url(0, index), "--initial-advertise-peer-urls", url(1, index)],
        ...["--listen-client-urls", url(2, index), "--advertise-client-urls", url(2, index)],
      ];
      const logFile = join(home, `${name}.log`);
      const process = new SteeredProcess({ name, command: "etcd", args, logFile, line: () => undefined });
      return { index, process, clientUrl: url(2, index) };
    });
    const cluster = new EtcdCluster(
      members,
      indices.map((index) => `etcd-${index}`),
    );
    const portOf = (row: number, index: number): number => ports[row * MEMBERS + index] as number;
    await cluster.#relay.open(
      indices.map((index) => ({
        name: `etcd-${index}`,
        listen: { host: LOOPBACK, port: portOf(1, index) },
        target: { host: LOOPBACK, port: portOf(0, index) },
      })),
    );
    for (const { process } of members) process.start();
    await cluster.settled();
    return cluster;
  }

  async delay(rttMs: number): Promise<void> {
    await this.#relay.treat(this.#links, { delayMs: rttMs / 2, cut: false });
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map(({ process }) => process.stop("SIGKILL")));
    this.#relay.stop();
  }

  /** Waits until all members name the same leader and a put through each succeeds, and returns the leader. */
  async settled(): Promise<Member> {
    const endMs = performance.now() + READY_WITHIN_MS;
    for (;;) {
      const told = await Promise.all(this.members.map((member) => leaderOf(member)));
      const leader = this.members.find((_, index) => told[index]?.self === told[0]?.leader);
      const agreed = told.every((one) => one !== undefined && one.leader === told[0]?.leader);
      if (agreed && leader !== undefined) {
        const puts = await Promise.all(this.members.map((member) => put(member)));
        if (puts.every(Boolean)) return leader;
      }
      if (performance.now() > endMs) throw new Error("etcd did not settle");
      await wait(100);
    }
  }
}

interface Told {
  readonly self: string;
  readonly leader: string;
}

async function leaderOf({ clientUrl }: Member): Promise<Told | undefined> {
  const answer = await ask(`${clientUrl}/v3/maintenance/status`, {});
  if (answer === undefined) return undefined;
  const { header, leader } = answer as { header: { member_id: string }; leader?: string };
  return { self: header.member_id, leader: leader ?? "0" };
}

/** One linearizable put; true when it was committed. */
export async function put({ clientUrl }: Member): Promise<boolean> {
  return (await ask(`${clientUrl}/v3/kv/put`, { key: "a2V5", value: "dmFsdWU=" })) !== undefined;
}

async function ask(url: string, body: object): Promise<unknown> {
  try {
    const signal = AbortSignal.timeout(ATTEMPT_MS);
    const response = await fetch(url, { method: "POST", body: JSON.stringify(body), signal });
    const answer: unknown = await response.json();
    return response.ok ? answer : undefined;
  } catch {
    return undefined;
  }
}
