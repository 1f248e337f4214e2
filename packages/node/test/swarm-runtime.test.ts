import { afterEach, describe, expect, test } from "vitest";
import { CloisterError, type Address, type Log, type NodeId, type Refusal } from "@cloister/core";
import type { Input, Signatures } from "@cloister/swarm";
import type { Channel, Peer, Transport } from "../src/ports.ts";
import { SwarmRuntime } from "../src/swarm-runtime.ts";

const nodeId = (index: number): NodeId => `0x${index.toString(16).padStart(40, "0")}` as NodeId;
const [SELF, PEER, OTHER] = [nodeId(1), nodeId(2), nodeId(3)];
const MACHINE = { cpus: 2, memoryBytes: 1 << 30, gpus: 0 };
const REVOKED: Refusal = { code: "TCB_STATUS_NOT_ACCEPTED", reason: "The firmware is out of date." };

const running: SwarmRuntime[] = [];
afterEach(() => {
  for (const runtime of running.splice(0)) runtime.stop();
});

/** A channel whose end the test decides. */
interface Line {
  readonly channel: Channel;
  end(refusal?: Refusal): void;
}

function line(id: NodeId): Line {
  let resolve: () => void = () => undefined;
  const ended: { refusal: Refusal | undefined } = { refusal: undefined };
  const peer: Peer = {
    ...{ id, identity: new Uint8Array(32), wrap: new Uint8Array(32), tee: "tdx", simulated: true },
    ...{
      machine: MACHINE,
      tcbStatus: "UpToDate",
      attestedMs: 0,
      measurement: "sha256:00" as Peer["measurement"],
    },
  };
  const channel: Channel = {
    ...{ peer, closed: new Promise<void>((done) => (resolve = done)) },
    request: () => new Promise(() => undefined),
    notify: () => undefined,
    close: () => resolve(),
    get refusal() {
      return ended.refusal;
    },
  };
  const end = (refusal?: Refusal): void => {
    ended.refusal = refusal;
    resolve();
  };
  return { channel, end };
}

class Stage {
  readonly lines = new Map<NodeId, Line>();
  readonly logged: string[] = [];
  readonly written: Uint8Array[] = [];
  /** What happens when something is to be made durable. */
  disk: () => Promise<void> = async () => undefined;
  kept: () => Promise<Uint8Array | undefined> = async () => undefined;
  readonly closedTo = new Set<NodeId>();
  readonly dials: NodeId[] = [];

  dialed(id: NodeId): number {
    return this.dials.filter((one) => one === id).length;
  }

  readonly log: Log = {
    info: (event, fields) => void this.logged.push(`${event} ${JSON.stringify(fields ?? {})}`),
    warn: (event, fields) => void this.logged.push(`${event} ${JSON.stringify(fields ?? {})}`),
  };

  readonly transport = {
    connect: async (_: string, id?: NodeId) => {
      if (id !== undefined) this.dials.push(id);
      if (id === undefined || this.closedTo.has(id)) throw new CloisterError("PEER_UNREACHABLE", "No CVM.");
      const made = line(id);
      this.lines.set(id, made);
      return made.channel;
    },
  } as Transport;

  async start(): Promise<SwarmRuntime> {
    const signatures: Signatures = { sign: () => new Uint8Array(4), verify: () => true };
    const runtime = await SwarmRuntime.start(
      {
        ...{ self: SELF, chainId: 31_337, contract: `0x${"ab".repeat(20)}` as Address, signatures, seed: 1 },
        facts: { tee: "tdx", simulated: true, ...MACHINE },
      },
      {
        ...{ transport: this.transport, log: this.log, clock: { nowMs: () => Date.now() } },
        records: {
          read: () => this.kept(),
          write: async (_, record) => {
            await this.disk();
            this.written.push(record);
          },
          delete: async () => undefined,
          list: async () => [],
        },
        timers: { wait: (durationMs) => new Promise((resolve) => setTimeout(resolve, durationMs)) },
        endpointOf: (id) => `${id}:1`,
        met: () => undefined,
      },
      {
        publishTerm: async () => undefined,
        publishGroup: async () => undefined,
        run: () => undefined,
        abandon: () => undefined,
        awaitChain: () => undefined,
      },
    );
    running.push(runtime);
    runtime.feed(registry([SELF, PEER, OTHER]));
    return runtime;
  }
}

function registry(ids: readonly NodeId[]): Input {
  const members = ids.map((id) => ({ id, operator: id as Address, voter: true }));
  const view = { blockNumber: 1, members, term: 0, leader: undefined, groups: [] };
  return { kind: "registry", nowMs: Date.now(), view };
}

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1_000 && !holds(); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(holds()).toBe(true);
}

const isConnected = (runtime: SwarmRuntime, id: NodeId): boolean =>
  runtime.view().members.find((member) => member.id === id)?.connected === true;

describe("a channel that ends", () => {
  test("because the peer's evidence was refused puts the member out, with the reason", async () => {
    const stage = new Stage();
    const runtime = await stage.start();
    await until(() => isConnected(runtime, PEER) && isConnected(runtime, OTHER));
    stage.closedTo.add(PEER);
    stage.lines.get(PEER)?.end(REVOKED);
    await until(() => !isConnected(runtime, PEER));
    expect(runtime.view().refusals[PEER]).toEqual({ TCB_STATUS_NOT_ACCEPTED: 1 });
    expect(runtime.view().refusals[OTHER]).toBeUndefined();
    expect(stage.logged).toContainEqual(
      expect.stringMatching(/^member-unattested .*TCB_STATUS_NOT_ACCEPTED/),
    );
  });

  test("for any other reason is a channel that ended, and is opened again", async () => {
    const stage = new Stage();
    const runtime = await stage.start();
    await until(() => isConnected(runtime, PEER));
    const first = stage.lines.get(PEER);
    first?.end();
    await until(() => stage.lines.get(PEER) !== first && isConnected(runtime, PEER));
    expect(runtime.view().refusals[PEER]).toBeUndefined();
    expect(stage.logged.filter((text) => text.startsWith("member-unattested"))).toEqual([]);
  });

  test("once its evidence passes again, the member is as any other", async () => {
    const stage = new Stage();
    const runtime = await stage.start();
    await until(() => isConnected(runtime, PEER));
    const first = stage.lines.get(PEER);
    first?.end(REVOKED);
    await until(() => stage.lines.get(PEER) !== first && isConnected(runtime, PEER));
  });
});

test("a peer that stays unreachable is told of once, and again when it was reached in between", async () => {
  const stage = new Stage();
  const told = (): number => stage.logged.filter((text) => text.startsWith("peer-unreachable")).length;
  stage.closedTo.add(PEER);
  const runtime = await stage.start();
  await until(() => told() > 0 && stage.dialed(PEER) > 2);
  expect(told()).toBe(1);
  stage.closedTo.delete(PEER);
  await until(() => isConnected(runtime, PEER));
  stage.closedTo.add(PEER);
  stage.lines.get(PEER)?.end();
  await until(() => told() === 2);
});

describe("a record that the disk does not take", () => {
  const full = new CloisterError("RECORD_STORE_FULL", "The disk is full.");

  test("holds back all that rests on it, says why once, and goes on once there is room", async () => {
    const stage = new Stage();
    let tries = 0;
    stage.disk = async () => {
      tries++;
      throw full;
    };
    const runtime = await stage.start();
    await until(() => tries > 1);
    expect(runtime.trouble).toEqual({ code: "RECORD_STORE_FULL", reason: "The disk is full." });
    expect(stage.logged.filter((text) => text.includes("RECORD_STORE_FULL"))).toHaveLength(1);
    expect([...stage.lines.keys()], "channels that were opened meanwhile").toEqual([]);
    stage.disk = async () => undefined;
    await until(() => isConnected(runtime, PEER) && isConnected(runtime, OTHER));
    expect(runtime.trouble).toBeUndefined();
    expect(stage.logged).toContain("swarm-record-kept {}");
    expect(stage.written.length).toBeGreaterThan(0);
  });

  test("keeps a runtime that is stopped meanwhile from doing anything more", async () => {
    const stage = new Stage();
    stage.disk = () => Promise.reject(full);
    const runtime = await stage.start();
    await until(() => runtime.trouble !== undefined);
    runtime.stop();
    stage.disk = async () => undefined;
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(stage.written).toEqual([]);
    expect([...stage.lines.keys()]).toEqual([]);
  });
});

test.each([
  ["opens no more", () => Promise.reject(new CloisterError("SEALED_RECORD_UNREADABLE", "No."))],
  ["is none", async () => new Uint8Array([0xff])],
  ["is empty", async () => new Uint8Array(0)],
])("a record that %s counts as lost: the node starts as one that forgot", async (_, kept) => {
  const stage = new Stage();
  stage.kept = kept;
  const runtime = await stage.start();
  await until(() => isConnected(runtime, PEER));
  expect(stage.logged).toContainEqual(expect.stringMatching(/^swarm-record-lost .*(UNREADABLE|MALFORMED)/));
});
