/**
 * `npm run test:resharing`: a real network loses a node for good, another takes its place, and the key that was
 * made before still opens; then the key is rotated and the first one retired. By hand, about a minute.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { CloisterError, type NodeId, type OfferId } from "@cloister/core";
import { assemble } from "@cloister/examples/hostile-engines";
import { readFlags } from "@cloister/tools/flags";
import { exactly, printReport } from "@cloister/tools/report";
import { createAccount, fundLocally, type Account } from "../apps/cli/src/network/accounts.ts";
import { Client } from "../apps/cli/src/network/client.ts";
import { groupKeys, retireGroup, rotateGroup } from "../apps/cli/src/network/group-keys.ts";
import { LocalNetwork } from "../apps/cli/src/network/local-network.ts";
import { offer, order, orderEnd } from "../apps/cli/src/network/market.ts";
import { freePortBase, untilReady } from "../apps/cli/src/network/start.ts";

const PROGRAM = fileURLToPath(new URL("../apps/cli/bin/cloister.mjs", import.meta.url));
const WITHIN_MS = 90_000;

const { json } = readFlags("npm run test:resharing -- [--json]", {
  json: { type: "boolean", default: false },
});
const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Writes one file, whatever it is given. */
const ENGINE = assemble(`(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "outputs/a.txt")
  (data (i32.const 96) "done")
  (data (i32.const 0) "\\60\\00\\00\\00\\04\\00\\00\\00")
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 13)
      (i32.const 1) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 16)))
    (drop (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))))`);

class Rehearsal {
  readonly #client: Client;
  readonly #owner: Account;
  readonly #network: LocalNetwork;

  constructor(network: LocalNetwork, client: Client, owner: Account) {
    this.#network = network;
    this.#client = client;
    this.#owner = owner;
  }

  async offerData(engine: Awaited<ReturnType<typeof offer>>, text: string): Promise<OfferId> {
    const content = [new TextEncoder().encode(text)];
    const common = { purposes: ["train"], runsMax: 50, fixedWei: 0n };
    const engines = [engine.contentDigest];
    return (await offer(this.#client, this.#owner, { ...common, kind: "data", content, engines })).offerId;
  }

  /** How an order that opens these inputs ends. */
  async run(engine: OfferId, inputs: readonly OfferId[], runMs = 60_000): Promise<string> {
    const id = await order(this.#client, this.#owner, {
      engine,
      inputs: inputs.map((one, i) => ({ offer: one, name: `${i}.csv` })),
      purpose: "train",
      computeWei: 1_000n,
      deadlineMs: Date.now() + runMs,
      outputBytesMax: 1_024,
    });
    return (await orderEnd(this.#client, id, { untilMs: Date.now() + runMs + 30_000 })).status;
  }

  /** Ends a member of the group for good; returns its id. */
  async loseOne(): Promise<NodeId> {
    const { members } = await this.#client.releaseGroup();
    const pages = await this.#client.nodes();
    const { state } = await this.#client.chain.refresh();
    const lost = pages.find(({ id, name }) => {
      return (
        name.startsWith("node-") && id !== state.term.leader && members.some((member) => member.id === id)
      );
    });
    if (lost?.id === undefined) throw new CloisterError("NODE_UNKNOWN", "No member of the group answers.");
    await this.#network.lose(lost.name);
    say(`${lost.name} (${lost.id}) is gone for good`);
    return lost.id;
  }

  /** Waits until the key is held, settled, by members without the lost one; returns how long that took. */
  async untilHandedOn(lost: NodeId): Promise<{ holders: number; tookMs: number }> {
    const startMs = Date.now();
    return until("the group has three live members again", async () => {
      const [key] = await groupKeys(this.#client);
      const group = await this.#client.releaseGroup(0);
      const without = !group.members.some(({ id }) => id === lost);
      if (!without || key?.settled !== true) return undefined;
      return { holders: key.holders.length, tookMs: Date.now() - startMs };
    });
  }
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  let last: unknown;
  for (const endMs = Date.now() + WITHIN_MS; Date.now() < endMs;) {
    const found = await look().catch((error: unknown) => {
      last = error;
    });
    if (found !== undefined) return found;
    await wait(200);
  }
  throw new CloisterError("NETWORK_NOT_READY", `It did not come to this in time: ${what}.`, { cause: last });
}

async function joinFourth(client: Client, home: string, port: number): Promise<ChildProcess> {
  const account = await createAccount(client.layout, "guest");
  await fundLocally(client.network, account.address);
  const args = [PROGRAM, "--home", home, "node", "join", "--as", "guest", "--port", String(port)];
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  await until("a fourth node is registered", async () => {
    const { state } = await client.chain.refresh();
    return state.nodes.size === 4 ? true : undefined;
  });
  say("a fourth node joined");
  return child;
}

const home = mkdtempSync(join(tmpdir(), "cloister-resharing-"));
const portBase = await freePortBase();
const network = await LocalNetwork.start({ home, nodes: 3, portBase, progress: say });
let guest: ChildProcess | undefined;
try {
  await untilReady(home);
  let client = await Client.open(home);
  const owner = await createAccount(client.layout, "owner");
  await fundLocally(client.network, owner.address);
  const rehearsal = new Rehearsal(network, client, owner);
  const engineOffer = {
    ...{ kind: "engine" as const, content: [ENGINE], fixedWei: 0n, engines: [] },
    ...{ purposes: ["train"], runsMax: 50 },
  };
  const engine = await offer(client, owner, engineOffer);
  const data = await rehearsal.offerData(engine, "sealed before\n");
  const before = await client.releaseGroup();
  const first = await rehearsal.run(engine.offerId, [data]);
  guest = await joinFourth(client, home, portBase + 12);
  client = await Client.open(home);
  const grown = new Rehearsal(network, client, owner);
  const lost = await grown.loseOne();
  const { holders, tookMs } = await grown.untilHandedOn(lost);
  const after = await client.releaseGroup();
  say(`handed on ${tookMs} ms after the loss, epoch ${before.epoch} to ${after.epoch}`);
  const second = await grown.run(engine.offerId, [data]);
  const rotatedMs = Date.now();
  const key = await rotateGroup(client, WITHIN_MS);
  const next = await client.releaseGroup();
  say(`rotated to ${key.goalId} in ${Date.now() - rotatedMs} ms`);
  // Engines are sealed too: one of the first key goes with it.
  const newEngine = await offer(client, owner, engineOffer);
  const newer = await grown.offerData(engine, "sealed to the new key\n");
  const third = await grown.run(engine.offerId, [data, newer]);
  await retireGroup(client, "key-release");
  await until("the first key is forgotten", async () => {
    const pages = await client.nodes();
    return pages.every(({ keys = [] }) => keys.every(({ goalId }) => goalId !== "key-release")) || undefined;
  });
  const fourth = await grown.run(engine.offerId, [data], 8_000);
  const fifth = await grown.run(newEngine.offerId, [newer]);
  printReport(
    {
      name: "resharing",
      figures: { handedOnMs: tookMs, epochs: [before.epoch, after.epoch], rotatedTo: key.goalId },
      goals: [
        exactly("an order before the loss", first, "succeeded"),
        exactly("live members after the loss", holders, 3),
        exactly("the group's key after the loss", after.groupId, before.groupId),
        exactly("an order on a file sealed before the loss", second, "succeeded"),
        exactly(
          "the recipient after the rotation is another",
          String(next.recipient !== before.recipient),
          "true",
        ),
        exactly("an order on files of both keys", third, "succeeded"),
        exactly("an order on a file of a retired key succeeds", String(fourth === "succeeded"), "false"),
        exactly("an order on a file of the new key", fifth, "succeeded"),
      ],
    },
    json,
  );
} finally {
  guest?.kill("SIGKILL");
  await network.stop();
  if (process.exitCode === undefined) rmSync(home, { recursive: true, force: true });
  else say(`what is left of the network lies in ${home}`);
}
process.exit();
