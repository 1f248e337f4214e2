import { describe, expect, test } from "vitest";
import { decodeLog, emptyMarket, encodeMarket, reduceMarket } from "../src/index.ts";
import { encodeLog, EVENT_NAMES, MarketHistory } from "./market-history.ts";
import { DEPLOYMENT, hexOf } from "./samples.ts";

describe("a made history", () => {
  const history = new MarketHistory(1);
  const events = Array.from({ length: 40 }, (_, number) =>
    history.block(number, 60, number === 0 ? history.opening() : []),
  ).flat();

  test("has every event that the contracts can say", () => {
    expect([...new Set(events.map((event) => event.eventName))].toSorted()).toEqual(EVENT_NAMES.toSorted());
  });

  test("survives the contracts' own encoding", () => {
    const state = emptyMarket();
    for (const event of events) {
      const decoded = decodeLog(DEPLOYMENT, encodeLog(event, hexOf("block")));
      expect(decoded).toEqual(event);
      if (decoded !== undefined) reduceMarket(state, decoded);
    }
    expect(encodeMarket(state)).toEqual(encodeMarket(history.state));
  });

  test("never owes what is not there", () => {
    for (const amountWei of history.state.balances.values()) expect(amountWei).toBeGreaterThan(0n);
  });

  test("is not decoded from another contract's log, nor from a torn one", () => {
    const [event] = events;
    if (event === undefined) throw new Error("no event");
    const log = encodeLog(event, hexOf("block"));
    expect(
      decodeLog(DEPLOYMENT, { ...log, address: `0x${"99".repeat(20)}` as typeof log.address }),
    ).toBeUndefined();
    expect(decodeLog(DEPLOYMENT, { ...log, topics: [hexOf("other")] })).toBeUndefined();
    expect(decodeLog(DEPLOYMENT, { ...log, data: "0x01" })).toBeUndefined();
    expect(decodeLog(DEPLOYMENT, { ...log, topics: log.topics.slice(0, 1) })).toBeUndefined();
  });
});
