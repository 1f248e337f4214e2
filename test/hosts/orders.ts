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
const RELEASE_GROUP_WITHIN_MS = 60_000;
const ENDED_WITHIN_MS = 60_000;

/** Writes two bytes to one output: everything around an engine happens, and next to nothing inside it. */
const TINY_ENGINE = `(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "outputs/ok")
  (data (i32.const 544) "ok")
  (func (export "_start")
    (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 10)
      (i32.const 1) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 8)))
    (i32.store (i32.const 16) (i32.const 544))
    (i32.store (i32.const 20) (i32.const 2))
    (drop (call $fd_write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))))`;

/** A client of a fleet: real orders of a small engine, for goals of the caller's choice. */
export class OrderBook {
  readonly #fleet: Fleet;
  readonly #client: Client;
  readonly #buyer: Account;
  readonly #engine: OfferId;
  readonly #opened: OrderId[] = [];

  private constructor(fleet: Fleet, client: Client, buyer: Account, engine: OfferId) {
    this.#fleet = fleet;
    this.#client = client;
    this.#buyer = buyer;
    this.#engine = engine;
  }

  /** Waits for the key-release group and offers the engine. */
  static async open(fleet: Fleet): Promise<OrderBook> {
    const client = await Client.open(fleet.layout.home);
    await client.releaseGroup(RELEASE_GROUP_WITHIN_MS);
    const buyer = await createAccount(client.layout, "buyer");
    await fundLocally(client.network, buyer.address);
    const { offerId } = await offer(client, buyer, {
      ...{ kind: "engine", content: [assemble(TINY_ENGINE)], fixedWei: 0n, engines: [] },
      ...{ purposes: ["test"], runsMax: 100_000 },
    });
    return new OrderBook(fleet, client, buyer, offerId);
  }

  /** Everything but the transaction that opens the order. */
  async prepare(goal: string): Promise<PreparedOrder> {
    const prepared = await prepareOrder(this.#client, this.#buyer, {
      ...{ engine: this.#engine, inputs: [], purpose: "test", computeWei: 1_000n, goal },
      ...{ deadlineMs: Date.now() + DEADLINE_MS, runMs: 20_000, memoryBytes: 64 * MIB, outputBytesMax: MIB },
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
