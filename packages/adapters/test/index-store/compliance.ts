import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress, type Address } from "@cloister/core";
import {
  digestRows,
  emptyMarket,
  MARKET_TABLES,
  NATIVE_TOKEN,
  reduceMarket,
  REORG_BLOCKS_MAX,
  rowsOfMarket,
  type IndexStore,
  type MarketEvent,
  type MarketState,
  type OrderRecord,
} from "@cloister/market";
import { MarketHistory } from "../../../market/test/market-history.ts";
import { DEPLOYMENT } from "../../../market/test/samples.ts";
import { ChainReader, type JsonRpc } from "../../src/chain/index.ts";
import { openIndexStore } from "../../src/index-store/index.ts";
import { ScriptedChain, TROUBLES, type ScriptedBlock, type Trouble } from "./scripted-chain.ts";

/** What a straight replay of the events gives, table by table. */
export function digestsOfEvents(
  events: readonly MarketEvent[],
): ReadonlyMap<string, ReturnType<typeof digestRows>> {
  const state = emptyMarket();
  for (const event of events) reduceMarket(state, event);
  const rows = rowsOfMarket(state, events);
  return new Map(MARKET_TABLES.map((table) => [table.name, digestRows(table, rows.get(table.name) ?? [])]));
}

/** What the store and a straight replay have in each table, to be compared. */
async function expectSame(store: IndexStore, events: readonly MarketEvent[]): Promise<void> {
  const expected = digestsOfEvents(events);
  const got = await store.digests();
  // An empty database has no row for the whole market yet.
  if (events.length === 0) expect([...got.values()].every(({ rows }) => rows === 0)).toBe(true);
  else expect(Object.fromEntries(got)).toEqual(Object.fromEntries(expected));
}

async function applyAll(store: IndexStore, blocks: readonly ScriptedBlock[], isFinal = false): Promise<void> {
  for (const { mark, events } of blocks) {
    const [parent] = await store.marks();
    await store.apply({ parent, mark, events, isFinal });
  }
}

function chainOf(blocks: number, perBlock: number, seed = 1): ScriptedChain {
  const chain = new ScriptedChain();
  chain.reorganise(
    0,
    Array.from({ length: blocks }, () => perBlock),
    seed,
  );
  return chain;
}

/** What every database of an index must do. `urls` gives the URL of a new, empty one at each call. */
export function indexStoreCompliance(name: string, urls: () => Promise<string>): void {
  const open = async (url?: string): Promise<IndexStore> => openIndexStore(url ?? (await urls()), DEPLOYMENT);

  describe(`an index in ${name}: what it takes in`, () => {
    test("holds what a straight replay gives, with every kind of event", async () => {
      const chain = chainOf(30, 60);
      const store = await open();
      await applyAll(store, chain.blocks);
      await expectSame(store, chain.events());
      expect((await store.marks())[0]).toEqual(chain.blocks.at(-1)?.mark);
      await store.close();
    });

    test("is the same from the same file after it was closed", async () => {
      const url = await urls();
      const chain = chainOf(8, 20);
      const first = await open(url);
      await applyAll(first, chain.blocks.slice(0, 4));
      await first.close();
      const second = await open(url);
      await applyAll(second, chain.blocks.slice(4));
      await expectSame(second, chain.events());
      await second.close();
    });

    test("changes nothing when a stretch comes twice", async () => {
      const chain = chainOf(4, 20);
      const store = await open();
      await applyAll(store, chain.blocks);
      const [last, before] = chain.blocks.toReversed() as [ScriptedBlock, ScriptedBlock];
      const again = { parent: before.mark, mark: last.mark, events: last.events, isFinal: false };
      expect(await store.apply(again)).toBe("already");
      await expectSame(store, chain.events());
      await store.close();
    });

    test("refuses a stretch with a gap before it, and one of another chain", async () => {
      const chain = chainOf(4, 5);
      const store = await open();
      const [first, second, third] = chain.blocks as [ScriptedBlock, ScriptedBlock, ScriptedBlock];
      const code = "INDEX_OUT_OF_STEP";
      const gap = { parent: second.mark, mark: third.mark, events: third.events, isFinal: false };
      await expect(store.apply(gap)).rejects.toMatchObject({ code });
      await applyAll(store, [first]);
      await expect(store.apply(gap)).rejects.toMatchObject({ code });
      const other = chainOf(1, 5, 2).blocks[0] as ScriptedBlock;
      await expect(store.apply({ ...gap, parent: other.mark })).rejects.toMatchObject({ code });
      await expectSame(store, first.events);
      await store.close();
    });

    test("takes in a stretch wholly or not at all", async () => {
      const chain = chainOf(2, 30);
      const store = await open();
      const [first, second] = chain.blocks as [ScriptedBlock, ScriptedBlock];
      await applyAll(store, [first]);
      // A number that no column holds, in the very last event.
      const torn = { ...second.events.at(-1), blockNumber: 2 ** 70 } as MarketEvent;
      const parent = first.mark;
      const stretch = { parent, mark: second.mark, events: [...second.events, torn], isFinal: false };
      await expect(store.apply(stretch)).rejects.toMatchObject({ code: "INDEX_DATABASE_FAILED" });
      await expectSame(store, first.events);
      await applyAll(store, [second]);
      await expectSame(store, chain.events());
      await store.close();
    });
  });

  describe(`an index in ${name}: reorganisations`, () => {
    test("goes back to any block that it keeps, and to the first", async () => {
      const chain = chainOf(12, 15);
      const store = await open();
      await applyAll(store, chain.blocks);
      for (const kept of [9, 4, 1]) {
        await store.rollBack(chain.blocks[kept - 1]?.mark);
        await expectSame(
          store,
          chain.blocks.slice(0, kept).flatMap(({ events }) => events),
        );
      }
      await store.rollBack(undefined);
      await expectSame(store, []);
      expect(await store.marks()).toEqual([]);
      await applyAll(store, chain.blocks);
      await expectSame(store, chain.events());
      await store.close();
    });

    test("refuses to go back to a block that it does not keep", async () => {
      const chain = chainOf(3, 5);
      const store = await open();
      const [, , last] = chain.blocks as [ScriptedBlock, ScriptedBlock, ScriptedBlock];
      await applyAll(store, chain.blocks.slice(0, 2));
      await expect(store.rollBack(last.mark)).rejects.toMatchObject({ code: "INDEX_MARK_UNKNOWN" });
      await expectSame(
        store,
        chain.blocks.slice(0, 2).flatMap(({ events }) => events),
      );
      await store.close();
    });

    test("keeps no more than it needs to go back", async () => {
      const chain = chainOf(REORG_BLOCKS_MAX + 20, 1);
      const store = await open();
      await applyAll(store, chain.blocks.slice(0, 10), true);
      expect(await store.marks()).toEqual([chain.blocks[9]?.mark]);
      await applyAll(store, chain.blocks.slice(10));
      const marks = await store.marks();
      expect(marks.at(-1)?.number).toBe(19);
      expect(marks).toHaveLength(REORG_BLOCKS_MAX + 1);
      await store.rollBack(marks.at(-1));
      await expectSame(
        store,
        chain.blocks.slice(0, 20).flatMap(({ events }) => events),
      );
      await store.close();
    });

    test(
      "has the chain's state after any reorganisations, restarts and bad answers",
      { timeout: 60_000 },
      async () => {
        const step = fc.record({
          back: fc.nat(7),
          grow: fc.array(fc.nat(9), { minLength: 1, maxLength: 7 }),
          // Each stretch leaves a mark, so narrow ones make it go back over several of them.
          blocksMax: fc.constantFrom(1, 2, 3, 50),
          restart: fc.boolean(),
          troubles: fc.array(fc.option(fc.constantFrom<Trouble>(...TROUBLES), { nil: undefined }), {
            maxLength: 6,
          }),
          seed: fc.nat(),
        });
        await fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 6 }), async (steps) => {
            const url = await urls();
            const chain = chainOf(12, 8);
            let store = await open(url);
            for (const { back, grow, blocksMax, restart, troubles, seed } of steps) {
              chain.reorganise(back, grow, seed);
              if (restart && !url.includes(":memory:")) {
                await store.close();
                store = await open(url);
              }
              const left = [...troubles];
              const rpc = chain.rpc(() => left.pop(), blocksMax);
              await new ChainReader({ rpc, deployment: DEPLOYMENT, ledger: store }).read();
              await expectSame(store, chain.events());
            }
            await store.close();
          }),
          { numRuns: 12 },
        );
      },
    );

    test.each(TROUBLES)("is not led astray by a node that answers: %s", async (trouble) => {
      for (const quiet of [0, 1, 3]) {
        const chain = chainOf(12, 8);
        const store = await open();
        const read = (rpc: JsonRpc) => new ChainReader({ rpc, deployment: DEPLOYMENT, ledger: store }).read();
        await read(chain.rpc());
        for (let place = 0; place < 8; place++) {
          // Behind the new events a block without any: an answer that ends before it is from no chain in particular.
          chain.reorganise(place % 2, [1, ...Array.from({ length: quiet }, () => 0)], place);
          const troubles: (Trouble | undefined)[] = [
            trouble,
            ...Array.from({ length: place }, () => undefined),
          ];
          await read(chain.rpc(() => troubles.pop()));
          await expectSame(store, chain.events());
        }
        await store.close();
      }
    });

    test("knows what another program wrote in between", async () => {
      const url = await urls();
      const chain = chainOf(12, 20);
      const stores = [await open(url), await open(url)];
      for (const [i, block] of chain.blocks.entries()) await applyAll(stores[i % 2] as IndexStore, [block]);
      await expectSame(stores[0] as IndexStore, chain.events());
      for (const store of stores) await store.close();
    });

    test("lets two readers write to it: each event counts once", async () => {
      const url = await urls();
      if (url.includes(":memory:")) return;
      const chain = chainOf(40, 10);
      const [a, b] = [await open(url), await open(url)];
      const readers = [a, b].map(
        (ledger) => new ChainReader({ rpc: chain.rpc(), deployment: DEPLOYMENT, ledger }),
      );
      await Promise.all(readers.map((reader) => reader.read()));
      chain.reorganise(10, [5, 5, 5, 5], 3);
      await Promise.all(readers.map((reader) => reader.read()));
      await expectSame(a, chain.events());
      await expectSame(b, chain.events());
      await Promise.all([a.close(), b.close()]);
    });
  });

  indexQueries(name, open);
  indexRefusals(name, urls);
}

/** What is asked of an index, against the same asked of the read model in memory. */
function indexQueries(name: string, open: () => Promise<IndexStore>): void {
  describe(`an index in ${name}: what it answers`, () => {
    const chain = chainOf(30, 60, 7);
    const state: MarketState = chain.state();
    const published = [...state.offers].filter(([, { offer }]) => offer !== undefined);
    const filled = async (): Promise<IndexStore> => {
      const store = await open();
      await applyAll(store, chain.blocks);
      return store;
    };

    test("finds offers by kind, owner, text, price and whether they can be used", async () => {
      const store = await filled();
      const ids = async (query: Parameters<IndexStore["offers"]>[0]): Promise<string[]> =>
        (await store.offers({ limit: 1000, ...query })).map(({ id }) => id);
      const having = (test: (record: (typeof published)[number][1]) => boolean): string[] =>
        published
          .filter(([, record]) => test(record))
          .map(([id]) => id)
          .toSorted();
      expect(await ids({})).toEqual(having(() => true));
      expect(await ids({ kind: "data" })).toEqual(having(({ offer }) => offer?.kind === "data"));
      const owner = published[0]?.[1].offer?.owner as Address;
      expect(await ids({ owner })).toEqual(having(({ offer }) => offer?.owner === owner));
      const digest = published[3]?.[1].offer?.content.contentDigest as string;
      expect(await ids({ text: digest.slice(9, 30).toUpperCase() })).toEqual([published[3]?.[0]]);
      expect(await ids({ text: "%" })).toEqual([]);
      expect(await ids({ text: "_" })).toEqual([]);
      const prices = published.map(([, { offer }]) => offer?.terms.fixedWei ?? 0n);
      const median = prices.toSorted((a, b) => (a < b ? -1 : 1))[prices.length >> 1] as bigint;
      expect(await ids({ fixedWeiMax: median })).toEqual(
        having(({ offer }) => (offer?.terms.fixedWei ?? 0n) <= median),
      );
      const now = 1_800_500_000;
      expect(await ids({ usableAtSeconds: now })).toEqual(
        having(
          ({ offer, runs, revokedFromSeconds, validFromSeconds, disabled }) =>
            (revokedFromSeconds ?? now + 1) > now &&
            (validFromSeconds ?? 0) <= now &&
            disabled !== true &&
            (offer?.terms.validUntilSeconds === 0 || (offer?.terms.validUntilSeconds ?? 0) >= now) &&
            (offer?.terms.runsMax === 0 || runs < (offer?.terms.runsMax ?? 0)),
        ),
      );
      await store.close();
    });

    test("sorts by exact price, and gives no more than asked for", async () => {
      const store = await filled();
      const sorted = await store.offers({ sortBy: "price", limit: 1000 });
      const prices = sorted.map(({ offer }) => offer.terms.fixedWei);
      expect(prices).toEqual(prices.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
      expect(new Set(prices.map((price) => price.toString().length)).size).toBeGreaterThan(1);
      expect(await store.offers({ limit: 3, sortBy: "price" })).toEqual(sorted.slice(0, 3));
      expect(await store.offers({ limit: 0 })).toEqual([]);
      expect(await store.offers({ limit: -1 })).toEqual([]);
      await store.close();
    });

    test("gives orders by id, client, status and offer", async () => {
      const store = await filled();
      const all = [...state.orders.values()];
      const [some] = all.filter(({ status }) => status === "succeeded");
      if (some === undefined) throw new Error("no order succeeded");
      expect(await store.order(some.id)).toEqual(some);
      expect(await store.order(`0x${"00".repeat(32)}` as typeof some.id)).toBeUndefined();
      const count = (test: (order: OrderRecord) => boolean): number => all.filter(test).length;
      const asked = async (query: Parameters<IndexStore["orders"]>[0]): Promise<number> =>
        (await store.orders({ limit: 10_000, ...query })).length;
      expect(await asked({})).toBe(all.length);
      expect(await asked({ client: some.client })).toBe(count(({ client }) => client === some.client));
      expect(await asked({ status: "open" })).toBe(state.openOrders.size);
      const node = some.settlement?.node;
      expect(await asked({ node })).toBe(count(({ settlement }) => settlement?.node === node));
      const [offer] = some.offers;
      if (offer === undefined) throw new Error("no offer");
      expect(await asked({ offer })).toBe(count(({ offers }) => offers.includes(offer)));
      const newest = (await store.orders({ limit: 5 })).map(({ openedBlock }) => openedBlock);
      expect(newest).toEqual(newest.toSorted((a, b) => b - a));
      await store.close();
    });

    test("gives nodes, balances, the history of an order, and totals", async () => {
      const store = await filled();
      const nodes = [...state.nodes].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, node]) => node);
      expect(await store.nodes()).toEqual(nodes);
      const [key, amountWei] = [...state.balances].find(([id]) => id.startsWith(NATIVE_TOKEN)) ?? ["", 0n];
      const account = parseAddress(key.slice(43));
      expect((await store.balancesOf(account)).get(NATIVE_TOKEN)).toBe(amountWei);
      expect(await store.balancesOf(`0x${"01".repeat(20)}` as Address)).toEqual(new Map());
      const [order] = [...state.orders.values()].filter(({ status }) => status === "refunded");
      const names = (await store.historyOf(order?.id ?? "")).map((happening) => happening.name);
      expect(names[0]).toBe("OrderOpened");
      expect(names).toContain("OrderRefunded");
      expect(await store.historyOf("nothing")).toEqual([]);
      const id = order?.id ?? "";
      expect(await store.subjects(id.slice(0, 40), 2)).toEqual([id]);
      expect(await store.subjects(id.toUpperCase(), 2)).toEqual([id]);
      expect(await store.subjects("0x", 3)).toHaveLength(3);
      for (const nobody of ["%", "_x", "\\", "0y"]) expect(await store.subjects(nobody, 2)).toEqual([]);
      await expectTotals(store, state, chain.events().length);
      await store.close();
    });
  });
}

async function expectTotals(store: IndexStore, state: MarketState, events: number): Promise<void> {
  const totals = await store.totals();
  expect(totals).toMatchObject({ nodes: state.nodes.size, events });
  expect(totals.orders.open).toBe(state.openOrders.size);
  for (const { token, balancesWei } of totals.tokens) {
    const held = [...state.balances].filter(([key]) => key.startsWith(token));
    expect(balancesWei).toBe(held.reduce((sum, [, amountWei]) => sum + amountWei, 0n));
  }
  const escrowWei = totals.tokens.reduce((sum, total) => sum + total.escrowWei, 0n);
  const open = [...state.orders.values()].filter(({ status }) => status === "open");
  const owed = open.map(({ escrow, depositWei }) => depositWei - (escrow.head[3] & ((1n << 96n) - 1n)));
  expect(escrowWei).toBe(owed.reduce((sum, amountWei) => sum + amountWei, 0n));
  const channelsWei = totals.tokens.reduce((sum, total) => sum + total.channelsWei, 0n);
  const channels = [...state.channels.values()].filter(({ isOpen }) => isOpen);
  expect(channelsWei).toBe(channels.reduce((sum, one) => sum + one.depositWei - one.claimedWei, 0n));
}

function indexRefusals(name: string, urls: () => Promise<string>): void {
  describe(`an index in ${name}: what it refuses`, () => {
    test("to be the index of another market or chain", async () => {
      const url = await urls();
      if (url.includes(":memory:")) return;
      await (await openIndexStore(url, DEPLOYMENT)).close();
      const code = "INDEX_OTHER_CHAIN";
      const other = { ...DEPLOYMENT, chainId: 1 };
      await expect(openIndexStore(url, other)).rejects.toMatchObject({ code });
      const market = `0x${"99".repeat(20)}` as Address;
      await expect(openIndexStore(url, { ...DEPLOYMENT, market })).rejects.toMatchObject({ code });
      await (await openIndexStore(url, DEPLOYMENT)).close();
    });

    test("amounts beyond what a number holds are exact", async () => {
      const store = await openIndexStore(await urls(), DEPLOYMENT);
      const huge = 2n ** 256n - 1n;
      const account = `0x${"01".repeat(20)}` as Address;
      const history = new MarketHistory(1);
      const args = { token: NATIVE_TOKEN, account, amount: huge };
      const events = history.block(0, 0, [{ eventName: "Deposited", args } as never]);
      const mark = { number: 0, hash: `0x${"ab".repeat(32)}` as never, timestampMs: 0 };
      await store.apply({ parent: undefined, mark, events, isFinal: false });
      expect((await store.balancesOf(account)).get(NATIVE_TOKEN)).toBe(huge);
      expect((await store.totals()).tokens[0]?.balancesWei).toBe(huge);
      await store.close();
    });
  });
}
