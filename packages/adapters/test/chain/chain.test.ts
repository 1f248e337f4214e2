import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RecordStore } from "@cloister/core";
import {
  addressOfSecret,
  balanceKey,
  decodeMarket,
  encodeMarket,
  isNodeActive,
  marketAbi,
  NATIVE_TOKEN,
  orderId,
  publishOffer,
  refundOrder,
  reportAnchor,
  reportAnchorSlot,
  type Chain,
  type Deployment,
  type MarketState,
  type OrderRecord,
} from "@cloister/market";
import { createPublicClient, http } from "viem";
import { connectJsonRpc, deploy, openChain } from "../../src/chain/index.ts";
import { findAnvil, startAnvil, type Anvil } from "./anvil.ts";
import {
  accountOf,
  digestNamed,
  formSwarm,
  NODES,
  offerOf,
  openCall,
  orderOf,
  RICH,
  secretOf,
  settleCall,
  termCall,
  testConfig,
} from "./world.ts";

const missing = findAnvil() === undefined;
const FAR = 2_000_000_000;

function memoryRecords(): RecordStore & { readonly kept: Map<string, Uint8Array> } {
  const kept = new Map<string, Uint8Array>();
  return {
    kept,
    read: async (name) => kept.get(name),
    write: async (name, record) => void kept.set(name, record),
    delete: async (name) => void kept.delete(name),
    list: async (prefix) => [...kept.keys()].filter((name) => name.startsWith(prefix)).toSorted(),
  };
}

/** Every balance of the read model, asked of the contract. */
async function expectBalances(chain: Chain, rpcUrl: string, state: MarketState): Promise<void> {
  const client = createPublicClient({ transport: http(rpcUrl) });
  let owed = 0n;
  for (const [key, amountWei] of state.balances) {
    const [token, account] = key.split(":") as [`0x${string}`, `0x${string}`];
    const onChain = await client.readContract({
      address: chain.deployment.market,
      abi: marketAbi,
      functionName: "balanceOf",
      args: [token, account],
    });
    expect({ key, amountWei: onChain }).toEqual({ key, amountWei });
    owed += amountWei;
  }
  for (const id of state.openOrders) owed += state.orders.get(id)?.depositWei ?? 0n;
  expect(await chain.coinOf(chain.deployment.market)).toBe(owed);
}

describe.skipIf(missing)("a chain over JSON-RPC (needs anvil for this platform)", () => {
  let anvil: Anvil;
  let deployment: Deployment;
  let chain: Chain;

  beforeAll(async () => {
    anvil = await startAnvil();
    deployment = await deploy({ rpcUrl: anvil.rpcUrl, config: testConfig(), secret: RICH });
    chain = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
    await formSwarm(chain);
  });

  afterAll(() => anvil.kill());

  test("registers nodes and follows the term", async () => {
    const { state, block } = await chain.refresh();
    expect(state.nodes.size).toBe(3);
    expect(state.term).toEqual({ term: 1, leader: accountOf("node-a") });
    for (const name of NODES) {
      expect(isNodeActive(state, accountOf(name), block.timestampMs)).toBe(true);
    }
  });

  test("opens and settles an order; the read model agrees with the contract to the unit", async () => {
    const engine = offerOf("engineer", "engine");
    const data = offerOf("station", "data", { shareBps: 3333 });
    const order = orderOf(deployment, [engine, data], 1n, FAR);
    await chain.send(
      openCall(deployment, order, [
        ["engineer", engine],
        ["station", data],
      ]),
      RICH,
    );
    const id = orderId(deployment, order);
    const opened = await chain.refresh();
    expect(opened.state.orders.get(id)?.status).toBe("open");
    const result = await chain.send(settleCall(chain, order), RICH);
    expect(result.kind).toBe("mined");
    const { state, block } = await chain.refresh();
    expect(state.orders.get(id)?.status).toBe("succeeded");
    expect(state.balances.get(balanceKey(NATIVE_TOKEN, accountOf("station")))).toBe(4333n);
    await expectBalances(chain, anvil.rpcUrl, state);
    const proof = await chain.getProof(deployment.market, [reportAnchorSlot(id)], block.number);
    expect(proof.storageProof[0]?.value).toBe(reportAnchor(id, digestNamed("report")));
    expect((await chain.header(block.number))?.["hash"]).toBe(block.hash);
  });

  test("does nothing when the effect is there", async () => {
    const offer = offerOf("station", "data");
    const call = publishOffer(deployment, offer, undefined);
    await chain.transfer(accountOf("station"), 10n ** 18n, RICH);
    expect((await chain.send(call, secretOf("station"))).kind).toBe("mined");
    expect((await chain.send(call, secretOf("station"))).kind).toBe("already");
  });

  test("sent at once, goes by the last view, and finds out afterwards that the effect is there", async () => {
    const term = (await chain.refresh()).state.term.term + 1;
    const late = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
    await late.refresh();
    expect((await chain.sendAtOnce(termCall(deployment, term, "node-b"), RICH)).kind).toBe("mined");
    expect(late.view()?.state.term.term).toBe(term - 1);
    expect((await late.sendAtOnce(termCall(deployment, term, "node-b"), RICH)).kind).toBe("already");
  });

  test("sent at once, says when the chain's node took it, and nothing of what it did not take", async () => {
    const term = (await chain.refresh()).state.term.term + 1;
    const late = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
    await late.refresh();
    const told: string[] = [];
    await chain.sendAtOnce(termCall(deployment, term, "node-b"), RICH, () => told.push("taken"));
    await late.sendAtOnce(termCall(deployment, term, "node-b"), RICH, () => told.push("taken late"));
    expect(told).toEqual(["taken"]);
  });

  test("names the contract's error when a call is refused", async () => {
    const offer = offerOf("engineer", "engine");
    const order = { ...orderOf(deployment, [offer], 2n, FAR), depositWei: 1n };
    await expect(chain.send(openCall(deployment, order, [["engineer", offer]]), RICH)).rejects.toMatchObject({
      code: "CHAIN_REVERTED",
      details: { error: "DepositTooSmall", call: "open" },
    });
    await expect(chain.send(termCall(deployment, 0, "node-a"), RICH)).rejects.toMatchObject({
      code: "CHAIN_REVERTED",
      details: { error: "TermStale" },
    });
  });

  test("says who lacks coin", async () => {
    const call = publishOffer(deployment, offerOf("pauper", "data"));
    await expect(chain.send(call, secretOf("pauper"))).rejects.toMatchObject({ code: "INSUFFICIENT_FUNDS" });
  });

  test("refuses to deploy when another transaction took the nonce", async () => {
    const options = { rpcUrl: anvil.rpcUrl, secret: RICH, nonce: 5 };
    const deploying = deploy({ ...options, config: { ...testConfig(), nodeStakeWei: 10n ** 19n } });
    await expect(deploying).rejects.toMatchObject({ code: "DEPLOYER_NONCE_TAKEN" });
  });

  test("says that a chain is not there, or is another one", async () => {
    await expect(openChain({ rpcUrl: "http://127.0.0.1:1", deployment })).rejects.toMatchObject({
      code: "CHAIN_UNREACHABLE",
    });
    const other = { ...deployment, chainId: 1 };
    await expect(openChain({ rpcUrl: anvil.rpcUrl, deployment: other })).rejects.toMatchObject({
      code: "CHAIN_ID_MISMATCH",
    });
  });

  test("goes back with the chain, and sends again what was lost", async () => {
    const rpc = connectJsonRpc(anvil.rpcUrl);
    const before = encodeMarket((await chain.refresh()).state);
    const snapshot = await rpc.request<string>("evm_snapshot", []);
    const offer = offerOf("engineer", "engine");
    const order = orderOf(deployment, [offer], 3n, FAR);
    const call = openCall(deployment, order, [["engineer", offer]]);
    await chain.send(call, RICH);
    expect((await chain.refresh()).state.orders.has(orderId(deployment, order))).toBe(true);
    await rpc.request("evm_revert", [snapshot]);
    expect(encodeMarket((await chain.refresh()).state)).toEqual(before);
    expect((await chain.send(call, RICH)).kind).toBe("mined");
    expect((await chain.send(call, RICH)).kind).toBe("already");
    await expectBalances(chain, anvil.rpcUrl, (await chain.refresh()).state);
  });

  test("refunds after the deadline", async () => {
    const rpc = connectJsonRpc(anvil.rpcUrl);
    const offer = offerOf("engineer", "engine", { bookingWei: 10n });
    const { timestampMs } = (await chain.refresh()).block;
    const order = orderOf(deployment, [offer], 4n, Math.floor(timestampMs / 1000) + 1000);
    const id = orderId(deployment, order);
    await chain.send(openCall(deployment, order, [["engineer", offer]]), RICH);
    const { escrow } = (await chain.refresh()).state.orders.get(id) as OrderRecord;
    const refund = refundOrder(deployment, id, escrow);
    await expect(chain.send(refund, RICH)).rejects.toMatchObject({ details: { error: "DeadlineNotPassed" } });
    await rpc.request("evm_increaseTime", [2000]);
    await rpc.request("evm_mine", []);
    await chain.send(refund, RICH);
    const { state } = await chain.refresh();
    expect(state.orders.get(id)?.status).toBe("refunded");
    await expectBalances(chain, anvil.rpcUrl, state);
  });

  test("reads the same state from the first block and from a saved one", async () => {
    const records = memoryRecords();
    const { state } = await chain.refresh();
    const fresh = await openChain({ rpcUrl: anvil.rpcUrl, deployment, records });
    expect(encodeMarket((await fresh.refresh()).state)).toEqual(encodeMarket(state));
    expect(encodeMarket(decodeMarket(encodeMarket(state)))).toEqual(encodeMarket(state));
  });
});

describe.skipIf(missing)("a chain that is killed (needs anvil for this platform)", () => {
  test("goes on from the state on disk, sends again what was lost, and deploys once", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cloister-chain-"));
    const args = ["--state", join(folder, "state.json"), "--state-interval", "1"];
    let anvil = await startAnvil(args);
    try {
      const options = { rpcUrl: anvil.rpcUrl, config: testConfig(), secret: RICH, nonce: 0, fromBlock: 0 };
      const deployment = await deploy(options);
      await anvil.kill();
      anvil = await startAnvil(args, anvil.port);
      expect(await deploy(options)).toEqual(deployment);
      const chain = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
      await formSwarm(chain);
      await chain.refresh();
      await anvil.kill();
      await expect(chain.refresh()).rejects.toMatchObject({ code: "CHAIN_UNREACHABLE" });
      anvil = await startAnvil(args, anvil.port);
      await deploy(options);
      await formSwarm(chain);
      expect((await chain.refresh()).state.nodes.size).toBe(3);
      expect(addressOfSecret(RICH)).toBe("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    } finally {
      await anvil.kill();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
