import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { assemble } from "@cloister/examples/hostile-engines";
import type { NodeId, OfferId, OrderId } from "@cloister/core";
import type { OrderStatus } from "@cloister/market";
import { createAccount, fundLocally, type Account } from "../../apps/cli/src/network/accounts.ts";
import { Client } from "../../apps/cli/src/network/client.ts";
import { offer, prepareOrder, type PreparedOrder } from "../../apps/cli/src/network/market.ts";
import type { Fleet } from "./fleet.ts";

const MIB = 1024 * 1024;
const DEADLINE_MS = 300_000;
const RELEASE_GROUP_WITHIN_MS = 150_000;
const ENDED_WITHIN_MS = 120_000;

/** Additions that take a processor some seconds. */
const SLOW_ROUNDS = 6_000_000_000;

/** Writes two bytes to one output: everything around an engine happens, and inside it only so many additions. */
const engineOf = (rounds: number): string => `(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "outputs/ok")
  (data (i32.const 544) "ok")
  (func (export "_start") (local $round i64)
    (loop $again
      (local.set $round (i64.add (local.get $round) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $round) (i64.const ${rounds}))))
    (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 10)
      (i32.const 1) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 8)))
    (i32.store (i32.const 16) (i32.const 544))
    (i32.store (i32.const 20) (i32.const 2))
    (drop (call $fd_write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))))`;

/** How long an engine works: next to nothing, or some seconds. */
export type Effort = "tiny" | "slow";

/** A client of a fleet: real orders of a small engine, for goals of the caller's choice. */
export class OrderBook {
  readonly #fleet: Fleet;
  readonly #client: Client;
  readonly #buyer: Account;
  readonly #engines: Readonly<Record<Effort, OfferId>>;
  readonly #opened: OrderId[] = [];

  private constructor(
    fleet: Fleet,
    client: Client,
    buyer: Account,
    engines: Readonly<Record<Effort, OfferId>>,
  ) {
    this.#fleet = fleet;
    this.#client = client;
    this.#buyer = buyer;
    this.#engines = engines;
  }

  /** Waits for the key-release group and offers the engines. */
  static async open(fleet: Fleet): Promise<OrderBook> {
    const client = await Client.open(fleet.layout.home);
    await client.releaseGroup(RELEASE_GROUP_WITHIN_MS);
    const buyer = await createAccount(client.layout, "buyer");
    await fundLocally(client.network, buyer.address);
    const engine = async (rounds: number): Promise<OfferId> => {
      const { offerId } = await offer(client, buyer, {
        ...{ kind: "engine", content: [assemble(engineOf(rounds))], fixedWei: 0n, engines: [] },
        ...{ purposes: ["test"], runsMax: 100_000 },
      });
      return offerId;
    };
    const engines = { tiny: await engine(1), slow: await engine(SLOW_ROUNDS) };
    return new OrderBook(fleet, client, buyer, engines);
  }

  /** Everything but the transaction that opens the order. */
  async prepare(goal: string, effort: Effort = "tiny"): Promise<PreparedOrder> {
    const prepared = await prepareOrder(this.#client, this.#buyer, {
      ...{ engine: this.#engines[effort], inputs: [], purpose: "test", computeWei: 1_000n, goal },
      ...{ deadlineMs: Date.now() + DEADLINE_MS, runMs: 100_000, memoryBytes: 64 * MIB, outputBytesMax: MIB },
    });
    this.#opened.push(prepared.id);
    return prepared;
  }

  get opened(): readonly OrderId[] {
    return this.#opened;
  }

  /** The goals whose groups, as the chain has them, consist of others than these nodes. */
  async goalsWithout(kind: string, nodes: readonly (NodeId | undefined)[]): Promise<string[]> {
    const { state } = await this.#client.chain.refresh();
    return [...state.groups.values()]
      .filter(({ goalId, members }) => goalId.startsWith(kind) && !members.some((id) => nodes.includes(id)))
      .map(({ goalId }) => goalId);
  }

  /** The members of a goal's group. */
  async membersOf(goal: string): Promise<readonly NodeId[]> {
    const { state } = await this.#client.chain.refresh();
    return [...state.groups.values()].find(({ goalId }) => goalId === goal)?.members ?? [];
  }

  /** How these orders ended; one that has not yet after a while is "open". */
  async ends(ids: readonly OrderId[] = this.#opened): Promise<Map<OrderId, OrderStatus | "unknown">> {
    const endMs = performance.now() + ENDED_WITHIN_MS;
    for (;;) {
      const { state } = await this.#fleet.chain.refresh();
      const ends = new Map(ids.map((id) => [id, state.orders.get(id)?.status ?? "unknown"] as const));
      const pending = [...ends.values()].some((status) => status === "open" || status === "unknown");
      if (!pending || performance.now() > endMs) return ends;
      await wait(100);
    }
  }
}
