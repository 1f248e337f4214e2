import type { Hex32, OrderId } from "@cloister/core";
import { emptyMarket, type BlockMark, type MarketState, type OrderRecord } from "@cloister/market";
import { describe, expect, it } from "vitest";
import { openOrders, registryView } from "../src/swarm-chain.ts";

const HOUR = 3_600_000;
const MEASUREMENT = "ab".repeat(32);
const NODE = `0x${"1".repeat(40)}` as const;
const ORDER = `0x${"2".repeat(64)}` as OrderId;

/** One node whose certificate ends, and one order whose deadline is, an hour after the epoch plus ten. */
function market(): MarketState {
  const state = emptyMarket();
  state.measurements.set(`0x${MEASUREMENT}` as never, { effectiveAtSeconds: 0, revoked: false });
  const certificate = {
    operator: NODE,
    roles: 1,
    notAfterSeconds: 11 * 3_600,
    measurement: `sha256:${MEASUREMENT}`,
  };
  state.nodes.set(NODE as never, {
    certificate: certificate as never,
    endpoint: "",
    status: "active",
    stakeWei: 0n,
  });
  state.orders.set(ORDER, { deadlineMs: 11 * HOUR, openedBlock: 3 } as OrderRecord);
  state.openOrders.add(ORDER);
  return state;
}

function blockAt(timestampMs: number): BlockMark {
  return { number: 7, hash: `0x${"3".repeat(64)}` as Hex32, timestampMs };
}

describe("what the swarm obeys of the chain", () => {
  it("has the members of its newest block's time, whatever the node's clock shows", () => {
    expect(registryView(market(), blockAt(10 * HOUR)).members.map(({ id }) => id)).toEqual([NODE]);
    expect(registryView(market(), blockAt(12 * HOUR)).members).toEqual([]);
  });

  it("gives an order the time that the chain leaves it, on a clock that is hours off", () => {
    for (const offMs of [-9 * HOUR, 0, 30 * HOUR]) {
      const nowMs = 10 * HOUR + offMs;
      const [order] = openOrders(market(), blockAt(10 * HOUR), nowMs);
      expect((order?.deadlineMs ?? 0) - nowMs).toBe(HOUR);
    }
  });

  it("gives an order none whose deadline the chain has passed", () => {
    const [order] = openOrders(market(), blockAt(12 * HOUR), 5 * HOUR);
    expect(order?.deadlineMs).toBeLessThan(5 * HOUR);
  });
});
