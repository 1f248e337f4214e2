import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeCanonical } from "@cloister/core";
import {
  decodeMarket,
  emptyMarket,
  encodeMarket,
  follow,
  goBack,
  marksOf,
  NATIVE_TOKEN,
  reduceMarket,
  REORG_BLOCKS_MAX,
  startFollower,
  type BlockMark,
  type MarketEvent,
  type MarketState,
} from "../src/index.ts";
import { accountOf, hexOf } from "./samples.ts";

interface Block {
  readonly mark: BlockMark;
  readonly events: readonly MarketEvent[];
}

/** A block whose hash depends on its branch, with deposits that do too. */
function blockOf(number: number, branch: number, amounts: readonly number[]): Block {
  const hash = hexOf(`${number} ${branch}`);
  const events = amounts.map((amount, logIndex) => ({
    eventName: "Deposited",
    args: { token: NATIVE_TOKEN, account: accountOf(String(amount % 3)), amount: BigInt(amount) },
    blockNumber: number,
    logIndex,
    txHash: hash,
  }));
  return { mark: { number, hash, timestampMs: number * 1000 }, events: events as unknown as MarketEvent[] };
}

function stateOf(chain: readonly Block[]): MarketState {
  const state = emptyMarket();
  for (const { events } of chain) for (const event of events) reduceMarket(state, event);
  return state;
}

/** Goes back to the newest block that both have, as an indexer does, and reads on. */
function catchUp(follower: ReturnType<typeof startFollower>, chain: readonly Block[]): void {
  const common = marksOf(follower).find((mark) =>
    chain.some((block) => block.mark.number === mark.number && block.mark.hash === mark.hash),
  );
  if (common === undefined || common !== follower.head) goBack(follower, common);
  const from = follower.head?.number ?? -1;
  for (const { mark, events } of chain.filter((block) => block.mark.number > from))
    follow(follower, mark, events);
}

describe("a follower", () => {
  test("has the chain's state after any reorganisations", () => {
    const step = fc.record({
      back: fc.integer({ min: 0, max: 12 }),
      grow: fc.array(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 3 }), { maxLength: 12 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const follower = startFollower();
        let chain: Block[] = [];
        steps.forEach(({ back, grow }, branch) => {
          chain = chain.slice(0, Math.max(0, chain.length - back));
          for (const amounts of grow) chain.push(blockOf(chain.length, branch, amounts));
          catchUp(follower, chain);
          expect(encodeMarket(follower.state)).toEqual(encodeMarket(stateOf(chain)));
        });
      }),
      { numRuns: 60 },
    );
  });

  test("keeps a base behind the deepest reorganisation and starts over from a deeper one", () => {
    const chain = Array.from({ length: REORG_BLOCKS_MAX + 50 }, (_, number) =>
      blockOf(number, 0, [number + 1]),
    );
    const follower = startFollower();
    catchUp(follower, chain);
    expect(follower.baseMark?.number).toBe(49);
    expect(encodeMarket(follower.base)).toEqual(encodeMarket(stateOf(chain.slice(0, 50))));
    const other = chain.slice(0, 20).concat([blockOf(20, 1, [5])]);
    catchUp(follower, other);
    expect(encodeMarket(follower.state)).toEqual(encodeMarket(stateOf(other)));
  });

  test("goes on from a saved base", () => {
    const chain = Array.from({ length: 300 }, (_, number) => blockOf(number, 0, [number + 1]));
    const follower = startFollower();
    catchUp(follower, chain);
    const saved = { mark: follower.baseMark as BlockMark, state: decodeMarket(encodeMarket(follower.base)) };
    const again = startFollower(saved);
    catchUp(again, chain);
    expect(encodeMarket(again.state)).toEqual(encodeMarket(follower.state));
  });
});

describe("a saved state", () => {
  test("is refused in another version and when it is no state", () => {
    const code = "MARKET_STATE_MALFORMED";
    expect(() => decodeMarket(encodeCanonical({ version: 2 }))).toThrow(expect.objectContaining({ code }));
    expect(() => decodeMarket(encodeCanonical([1]))).toThrow(expect.objectContaining({ code }));
    expect(() => decodeMarket(new Uint8Array([0xff]))).toThrow(
      expect.objectContaining({ code: "CBOR_MALFORMED" }),
    );
  });
});
