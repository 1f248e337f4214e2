import { afterEach, describe, expect, test } from "vitest";
import { CloisterError, type NodeId, type OrderId } from "@cloister/core";
import type { Chain } from "@cloister/market";
import type { Assignment } from "@cloister/swarm";
import type { LoaderPorts } from "@cloister/workload";
import type { Cvm } from "../src/cvm.ts";
import { OrderDesk } from "../src/order-desk.ts";

const ORDER = `0x${"11".repeat(32)}` as OrderId;
const NODE = `0x${"22".repeat(20)}` as NodeId;
const ASSIGNMENT: Assignment = { orderId: ORDER, node: NODE, term: 1, epoch: 1, goalId: "compute" };

const desks: OrderDesk[] = [];
afterEach(() => {
  for (const desk of desks.splice(0)) desk.stop();
});

/** A desk whose loader cannot read its records, and what it logged. */
function deskWhoseRecords(fail: CloisterError): { desk: OrderDesk; logged: string[] } {
  const logged: string[] = [];
  const state = { orders: new Map([[ORDER, {}]]), openOrders: new Set([ORDER]) };
  const records = { read: () => Promise.reject(fail) };
  const desk = new OrderDesk({
    cvm: {} as Cvm,
    chain: { refresh: async () => ({ state }) } as unknown as Chain,
    loader: () => ({ records }) as unknown as LoaderPorts,
    clock: { nowMs: () => 0 },
    timers: { wait: () => new Promise((resolve) => setTimeout(resolve, 1)) },
    log: {
      info: () => undefined,
      warn: (event, fields) => void logged.push(`${event} ${String(fields?.["code"])}`),
    },
    operatorSecret: new Uint8Array(32),
    changed: () => undefined,
  });
  desks.push(desk);
  return { desk, logged };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("an order on a node", () => {
  test.each([
    "SEALED_RECORD_UNREADABLE",
    "RECORD_STORE_FULL",
    "RECORD_STORE_NOT_WRITABLE",
    "RECORD_STORE_FAILED",
  ])("whose own records fail it is given up, for another node to take: %s", async (code) => {
    const { desk, logged } = deskWhoseRecords(new CloisterError(code, "No."));
    desk.run(ASSIGNMENT, new Uint8Array(65));
    await until(() => desk.work()[0]?.state === "failed");
    expect(logged).toEqual([`order-given-up ${code}`]);
  });

  test("that anything else keeps from its order tries again", async () => {
    const { desk, logged } = deskWhoseRecords(new CloisterError("STORE_UNREACHABLE", "No."));
    desk.run(ASSIGNMENT, new Uint8Array(65));
    await until(() => logged.length > 2);
    expect(desk.work()).toEqual([{ orderId: ORDER, state: "running" }]);
    expect(new Set(logged)).toEqual(new Set(["order-retried STORE_UNREACHABLE"]));
  });
});
