import fc from "fast-check";
import { createPublicClient, http } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  balanceKey,
  balanceOf,
  highestPriceWei,
  marketAbi,
  NATIVE_TOKEN,
  orderId,
  OUTCOMES,
  packOffer,
  packOrder,
  serviceSplit,
  splitAddress,
  splitEscrow,
  type Chain,
  type OrderRecord,
} from "@cloister/market";
import { toHex, type Address } from "@cloister/core";
import { deploy, openChain } from "../../src/chain/index.ts";
import { findAnvil, startAnvil, type Anvil } from "./anvil.ts";
import { formSwarm, offerOf, openCall, orderOf, RICH, settleCall, testConfig } from "./world.ts";

const amount = fc.bigInt({ min: 0n, max: 2n ** 50n });
const terms = fc
  .record({ fixedWei: amount, perSecondWei: amount, shareBps: fc.integer({ min: 0, max: 5000 }) })
  .chain((drawn) =>
    fc.bigInt({ min: 0n, max: drawn.fixedWei }).map((bookingWei) => ({ ...drawn, bookingWei })),
  );

describe.skipIf(findAnvil() === undefined)("the settlement mathematics (needs anvil)", () => {
  let anvil: Anvil;
  let chain: Chain;
  let salt = 0n;

  beforeAll(async () => {
    anvil = await startAnvil();
    const deployment = await deploy({ rpcUrl: anvil.rpcUrl, config: testConfig(), secret: RICH });
    chain = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
    await formSwarm(chain);
  });

  afterAll(() => anvil.kill());

  test("foretells every balance that the contract credits", { timeout: 120_000 }, async () => {
    const client = createPublicClient({ transport: http(anvil.rpcUrl) });
    const onChain = (account: `0x${string}`): Promise<bigint> =>
      client.readContract({
        address: chain.deployment.market,
        abi: marketAbi,
        functionName: "balanceOf",
        args: [NATIVE_TOKEN, account],
      });
    const scenario = fc.tuple(terms, terms, amount, amount, fc.constantFrom(...OUTCOMES), fc.nat(100));
    await fc.assert(
      fc.asyncProperty(scenario, async ([first, second, poolWei, extraWei, outcome, secondsUsed]) => {
        const offers = [offerOf("engineer", "engine", first), offerOf("station", "data", second)] as const;
        const plain = { ...orderOf(chain.deployment, offers, ++salt, 2_000_000_000), poolWei };
        const order = { ...plain, depositWei: highestPriceWei(plain, [first, second]) + extraWei };
        await chain.send(
          openCall(chain.deployment, order, [
            ["engineer", offers[0]],
            ["station", offers[1]],
          ]),
          RICH,
        );
        const before = new Map((await chain.refresh()).state.balances);
        await chain.send(settleCall(chain, order, { outcome, secondsUsed }), RICH);
        const { state } = await chain.refresh();
        const { escrow, settlement } = state.orders.get(orderId(chain.deployment, order)) as OrderRecord;
        const operator = settlement?.operator ?? order.client;
        for (const { account, amountWei } of splitEscrow(
          escrow,
          outcome,
          settlement?.secondsPaid ?? 0,
          operator,
        )) {
          const key = balanceKey(NATIVE_TOKEN, account);
          before.set(key, (before.get(key) ?? 0n) + amountWei);
        }
        for (const [key, expected] of before) {
          const account = key.split(":")[1] as `0x${string}`;
          expect(await onChain(account)).toBe(expected);
          expect(balanceOf(state, NATIVE_TOKEN, account as never)).toBe(expected);
        }
      }),
      { numRuns: 12 },
    );
  });

  test("names the split that the contract pays out", async () => {
    const client = createPublicClient({ transport: http(anvil.rpcUrl) });
    const { deployment } = chain;
    const accounts = fc.uniqueArray(
      fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => `0x${toHex(bytes)}`),
      {
        minLength: 1,
        maxLength: 5,
      },
    );
    await fc.assert(
      fc.asyncProperty(accounts, fc.nat(10_000), async (names, first) => {
        const split = {
          accounts: names.map((name) => name as Address),
          sharesBps: names.map((_, i) =>
            names.length === 1 ? 10_000 : i === 0 ? first : i === 1 ? 10_000 - first : 0,
          ),
        };
        const { accounts: listed, sharesBps } = split;
        const args = [listed, sharesBps] as const;
        const address = await client.readContract({
          address: deployment.market,
          abi: marketAbi,
          functionName: "splitAddress",
          args,
        });
        expect(splitAddress(deployment, split)).toBe(address.toLowerCase());
      }),
      { numRuns: 10 },
    );
    const [engine, data] = [
      offerOf("engineer", "engine", { shareBps: 1500 }),
      offerOf("station", "data", { shareBps: 2500 }),
    ];
    const order = orderOf(deployment, [engine, data], ++salt, 2_000_000_000);
    const escrow = {
      head: packOrder(order),
      payees: [packOffer(engine), packOffer(data)].flatMap(([a, b]) => [a, b]),
    };
    const service = await client.readContract({
      address: deployment.market,
      abi: marketAbi,
      functionName: "serviceSplit",
      args: [escrow.head, escrow.payees],
    });
    expect(splitAddress(deployment, serviceSplit(escrow))).toBe(service[0].toLowerCase());
    expect(serviceSplit(escrow).sharesBps).toEqual([1500, 2500, 6000]);
  });
});
