/**
 * Kills processes of a local network while orders run on it, and says what became of orders and money.
 * The supervisor is killed like every other process; it is then started again, as a person would.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { buildEngine } from "@cloister/examples/build-engine";
import { penguinsArgs, penguinsByStation } from "@cloister/examples/penguins";
import { connectJsonRpc } from "@cloister/adapters/chain";
import { balanceOf, NATIVE_TOKEN, splitEscrow, type OrderRecord } from "@cloister/market";
import { createAccount, fundLocally, type Account } from "../apps/cli/src/network/accounts.ts";
import { Client } from "../apps/cli/src/network/client.ts";
import { offer, orderEnd, prepareOrder } from "../apps/cli/src/network/market.ts";
import { freePortBase, untilReady } from "../apps/cli/src/network/start.ts";

const PROGRAM = fileURLToPath(new URL("../apps/cli/bin/cloister.mjs", import.meta.url));
const DATA_WEI = 10n ** 17n;
const COMPUTE_WEI = 10n ** 16n;
const ORDER_MS = 180_000;
/** The first kill of an order comes before it can have ended. */
const FIRST_GAP_MS_MAX = 200;
const KILL_GAP_MS_MAX = 1_500;
const RESTART_AFTER_MS = 100;
/** Supervisor, chain, authority, three nodes. */
const PROCESSES = 6;

export interface KillOptions {
  readonly home: string;
  readonly kills: number;
  /** A number in [0, 1). */
  random(): number;
  say(text: string): void;
}

export interface KillResult {
  readonly kills: Readonly<Record<string, number>>;
  /** Kills that struck while not all processes of the network were up. */
  readonly killsOfUnready: number;
  /** How often the supervisor ended by itself: it never should. */
  readonly gaveUp: number;
  readonly orders: readonly { readonly id: string; readonly status: string; readonly kills: number }[];
  /** What the market holds, and what it owes; the two are equal. */
  readonly heldWei: bigint;
  readonly owedWei: bigint;
  /** What the owner of the data was credited, and what the orders that succeeded owe it. */
  readonly earnedWei: bigint;
  readonly dueWei: bigint;
}

/** Runs orders one after the other until so many kills were made; every order must end. */
export async function runKills(options: KillOptions): Promise<KillResult> {
  const supervisor = new Supervisor(options.home, await freePortBase());
  try {
    supervisor.start();
    await untilReady(options.home);
    return await new KillRun(options, supervisor).run();
  } finally {
    await supervisor.stop();
  }
}

class KillRun {
  readonly #options: KillOptions;
  readonly #supervisor: Supervisor;
  readonly #kills: Record<string, number> = {};
  #killed = 0;
  #killedUnready = 0;

  constructor(options: KillOptions, supervisor: Supervisor) {
    this.#options = options;
    this.#supervisor = supervisor;
  }

  async run(): Promise<KillResult> {
    const { home, kills } = this.#options;
    const client = await Client.open(home);
    const owner = await accountOf(client, "owner");
    const buyer = await accountOf(client, "buyer");
    const offers = await makeOffers(client, owner);
    const orders: OrderRecord[] = [];
    const list: { id: string; status: string; kills: number }[] = [];
    while (this.#killed < kills) {
      const before = this.#killed;
      const ended = await this.#oneOrder(client, buyer, offers);
      orders.push(ended);
      list.push({ id: ended.id, status: ended.status, kills: this.#killed - before });
      this.#options.say(
        `order ${ended.id.slice(0, 10)} ${ended.status} after ${this.#killed - before} kills`,
      );
    }
    await untilReady(home);
    return {
      kills: this.#kills,
      killsOfUnready: this.#killedUnready,
      gaveUp: this.#supervisor.gaveUp,
      orders: list,
      ...(await accounts(
        client,
        owner,
        list.map(({ id }) => id),
      )),
    };
  }

  async #oneOrder(client: Client, buyer: Account, offers: Offers): Promise<OrderRecord> {
    const prepared = await prepareOrder(client, buyer, {
      engine: offers.engine,
      inputs: [
        { offer: offers.stationA, name: penguinsArgs.inputs[0] },
        { offer: offers.stationB, name: penguinsArgs.inputs[1] },
      ],
      purpose: "train",
      engineArgs: JSON.stringify(penguinsArgs),
      computeWei: COMPUTE_WEI,
      deadlineMs: Date.now() + ORDER_MS,
    });
    let ended = false;
    const killing = this.#killWhile(() => !ended);
    try {
      const untilMs = Date.now() + ORDER_MS + 60_000;
      return await orderEnd(client, prepared.id, { untilMs, reopen: prepared.open });
    } finally {
      ended = true;
      await killing;
    }
  }

  /** Kills one process after the other, at moments that nobody chose, start-ups among them, until the order has ended. */
  async #killWhile(goingOn: () => boolean): Promise<void> {
    const { random, kills, say } = this.#options;
    for (let gapMsMax = FIRST_GAP_MS_MAX; goingOn() && this.#killed < kills; gapMsMax = KILL_GAP_MS_MAX) {
      await wait(random() * gapMsMax);
      if (!goingOn()) return;
      const victims = this.#supervisor.processes();
      const victim = victims[Math.floor(random() * victims.length)];
      if (victim === undefined) continue;
      process.kill(victim.pid, "SIGKILL");
      this.#killed++;
      if (victims.length < PROCESSES) this.#killedUnready++;
      this.#kills[victim.name] = (this.#kills[victim.name] ?? 0) + 1;
      say(`kill ${this.#killed}: ${victim.name}, ${victims.length} of ${PROCESSES} up`);
    }
  }
}

type Offers = Readonly<
  Record<"engine" | "stationA" | "stationB", Awaited<ReturnType<typeof offer>>["offerId"]>
>;

async function accountOf(client: Client, name: string): Promise<Account> {
  const account = await createAccount(client.layout, name);
  await fundLocally(client.network, account.address);
  return account;
}

async function makeOffers(client: Client, owner: Account): Promise<Offers> {
  const tables = penguinsByStation();
  const common = { purposes: ["train"], runsMax: 1_000 };
  const engine = await offer(client, owner, {
    ...{
      ...common,
      kind: "engine" as const,
      content: [await buildEngine("penguins-train")],
      fixedWei: 0n,
      engines: [],
    },
  });
  const data = (csv: string) =>
    offer(client, owner, {
      ...{ ...common, kind: "data" as const, content: [new TextEncoder().encode(csv)], fixedWei: DATA_WEI },
      engines: [engine.contentDigest],
    });
  const stationA = await data(tables.stationA.csv);
  const stationB = await data(tables.stationB.csv);
  await client.durable();
  return { engine: engine.offerId, stationA: stationA.offerId, stationB: stationB.offerId };
}

async function accounts(
  client: Client,
  owner: Account,
  ids: readonly string[],
): Promise<Pick<KillResult, "heldWei" | "owedWei" | "earnedWei" | "dueWei">> {
  const { state } = await client.chain.refresh();
  const rpc = connectJsonRpc(client.network.rpcUrl);
  const heldWei = BigInt(await rpc.request<string>("eth_getBalance", [client.network.market, "latest"]));
  let owedWei = 0n;
  for (const balanceWei of state.balances.values()) owedWei += balanceWei;
  for (const id of state.openOrders) owedWei += state.orders.get(id)?.depositWei ?? 0n;
  let dueWei = 0n;
  for (const id of ids) {
    const order = state.orders.get(id as never);
    if (order?.status !== "succeeded") continue;
    const payouts = splitEscrow(order.escrow, "succeeded", 0, owner.address);
    for (const { account, amountWei, reason } of payouts) {
      if (account === owner.address && reason !== "compute") dueWei += amountWei;
    }
  }
  return { heldWei, owedWei, earnedWei: balanceOf(state, NATIVE_TOKEN, owner.address), dueWei };
}

/** `cloister up`, started again whenever it ended. */
class Supervisor {
  readonly #home: string;
  readonly #portBase: number;
  #process: ChildProcess | undefined;
  #stopping = false;
  #gaveUp = 0;

  constructor(home: string, portBase: number) {
    this.#home = home;
    this.#portBase = portBase;
  }

  get gaveUp(): number {
    return this.#gaveUp;
  }

  start(): void {
    const args = [PROGRAM, "--json", "--home", this.#home, "up", "--port-base", String(this.#portBase)];
    mkdirSync(this.#home, { recursive: true });
    const log = openSync(join(this.#home, "supervisor.log"), "a");
    const child = spawn(process.execPath, args, { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#process = child;
    child.once("exit", (code) => {
      this.#process = undefined;
      if (this.#stopping) return;
      if (code !== null) this.#gaveUp++;
      setTimeout(() => this.#stopping || this.start(), RESTART_AFTER_MS);
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#process;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }

  /** The supervisor and every process that it started, by name. */
  processes(): { name: string; pid: number }[] {
    const supervisor = this.#process?.pid;
    if (supervisor === undefined) return [];
    return [{ name: "supervisor", pid: supervisor }, ...childrenOf(supervisor)];
  }
}

function childrenOf(parent: number): { name: string; pid: number }[] {
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) return [];
    try {
      const stat = readFileSync(join("/proc", entry, "stat"), "utf8");
      if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) !== parent) return [];
      const command = readFileSync(join("/proc", entry, "cmdline"), "utf8");
      const name =
        /cvms\/([^/]+)\/config/.exec(command)?.[1] ?? (command.includes("anvil") ? "chain" : undefined);
      return name === undefined ? [] : [{ name, pid }];
    } catch {
      return [];
    }
  });
}
