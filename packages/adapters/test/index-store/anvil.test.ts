import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Address } from "@cloister/core";
import {
  digestRows,
  MARKET_TABLES,
  orderId,
  rowsOfMarket,
  type Chain,
  type Deployment,
  type IndexStore,
} from "@cloister/market";
import { ChainReader, connectJsonRpc, deploy, openChain } from "../../src/chain/index.ts";
import { inBloom } from "../../src/chain/silence.ts";
import { openIndexStore } from "../../src/index-store/index.ts";
import { findAnvil, startAnvil, type Anvil } from "../chain/anvil.ts";
import { formSwarm, offerOf, openCall, orderOf, RICH, settleCall, testConfig } from "../chain/world.ts";
import { findPostgres, startPostgres, type PostgresServer } from "./postgres-server.ts";

const FAR = 2_000_000_000;

describe.skipIf(findAnvil() === undefined)("an index of a real chain (needs anvil for this platform)", () => {
  const folder = mkdtempSync(join(tmpdir(), "cloister-index-"));
  let anvil: Anvil;
  let deployment: Deployment;
  let chain: Chain;
  let server: PostgresServer | undefined;
  let stores: IndexStore[];
  let salt = 0n;

  beforeAll(async () => {
    anvil = await startAnvil();
    deployment = await deploy({ rpcUrl: anvil.rpcUrl, config: testConfig(), secret: RICH });
    chain = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
    await formSwarm(chain);
    server = findPostgres() === undefined ? undefined : await startPostgres();
    const urls = [`sqlite:${join(folder, "index")}`, ...(server ? [await server.createDatabase()] : [])];
    stores = await Promise.all(urls.map((url) => openIndexStore(url, deployment)));
  }, 60_000);

  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await server?.stop();
    await anvil.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Reads on in every index and holds each against the read model in memory. */
  async function expectAllSame(): Promise<void> {
    const { state, block } = await chain.refresh();
    const rows = rowsOfMarket(state, []);
    for (const ledger of stores) {
      const rpc = connectJsonRpc(anvil.rpcUrl);
      const head = await new ChainReader({ rpc, deployment, ledger, keepWhenBehind: true }).read();
      expect(head?.hash).toBe(block.hash);
      const got = await ledger.digests();
      for (const table of MARKET_TABLES.filter(({ name }) => name !== "events")) {
        const expected = digestRows(table, rows.get(table.name) ?? []);
        expect({ table: table.name, ...got.get(table.name) }).toEqual({ table: table.name, ...expected });
      }
    }
  }

  async function open(): Promise<ReturnType<typeof orderOf>> {
    const offer = offerOf("engineer", "engine");
    const order = orderOf(deployment, [offer], ++salt, FAR);
    await chain.send(openCall(deployment, order, [["engineer", offer]]), RICH);
    await chain.refresh();
    return order;
  }

  test("follows orders from open to settled", async () => {
    await expectAllSame();
    const order = await open();
    await expectAllSame();
    await chain.send(settleCall(chain, order), RICH);
    await expectAllSame();
    for (const store of stores) {
      expect((await store.order(orderId(deployment, order)))?.status).toBe("succeeded");
    }
  });

  test("goes back with a snapshot, and forgets what was lost", async () => {
    const rpc = connectJsonRpc(anvil.rpcUrl);
    const snapshot = await rpc.request<string>("evm_snapshot", []);
    const lost = await open();
    await expectAllSame();
    await rpc.request("evm_revert", [snapshot]);
    await expectAllSame();
    for (const store of stores) expect(await store.order(orderId(deployment, lost))).toBeUndefined();
    await open();
    await expectAllSame();
  });

  test("takes over the blocks of a reorganisation", async () => {
    const rpc = connectJsonRpc(anvil.rpcUrl);
    const order = await open();
    await chain.send(settleCall(chain, order), RICH);
    await expectAllSame();
    await rpc.request("anvil_reorg", [2, []]);
    await expectAllSame();
    for (const store of stores) expect(await store.order(orderId(deployment, order))).toBeUndefined();
  });

  test("is not emptied by a node that is still catching up", async () => {
    const rpc = connectJsonRpc(anvil.rpcUrl);
    const [ledger] = stores as [IndexStore];
    const kept = await ledger.digests();
    const marks = await ledger.marks();
    const newest = (marks.at(-1)?.number ?? 0) - 1;
    const behind = {
      url: "behind",
      request: <T>(method: string, params: readonly unknown[]): Promise<T> =>
        params[0] === "latest" || Number(params[0]) > newest
          ? params[0] === "latest"
            ? rpc.request<T>(method, [`0x${newest.toString(16)}`, false])
            : Promise.resolve(null as T)
          : rpc.request<T>(method, params),
    };
    const reader = new ChainReader({ rpc: behind, deployment, ledger, keepWhenBehind: true });
    await expect(reader.read()).rejects.toMatchObject({ code: "CHAIN_BEHIND" });
    expect(await ledger.digests()).toEqual(kept);
  });

  test("takes from a block's filter who wrote logs in it, and nobody else", async () => {
    const rpc = connectJsonRpc(anvil.rpcUrl);
    const { registry, market, log } = deployment;
    const filter = { address: [registry, market, log], fromBlock: "0x0", toBlock: "latest" };
    const logs = await rpc.request<{ address: Address; blockNumber: string }[]>("eth_getLogs", [filter]);
    expect(logs.length).toBeGreaterThan(0);
    for (const { address, blockNumber } of logs) {
      const block = await rpc.request<{ logsBloom: `0x${string}` }>("eth_getBlockByNumber", [
        blockNumber,
        false,
      ]);
      expect(inBloom(block.logsBloom, address)).toBe(true);
      expect(inBloom(block.logsBloom, `0x${"5e".repeat(20)}` as Address)).toBe(false);
    }
    expect(inBloom(undefined, market)).toBe(true);
  });

  test("refuses a node that answers nonsense", async () => {
    const rpc = connectJsonRpc(anvil.rpcUrl);
    const [ledger] = stores as [IndexStore];
    await open();
    for (const answer of ["text", [{}], [{ blockNumber: "0x1" }], [null]]) {
      const broken = {
        url: "broken",
        request: <T>(method: string, params: readonly unknown[]): Promise<T> =>
          method === "eth_getLogs" ? Promise.resolve(answer as T) : rpc.request<T>(method, params),
      };
      const reading = new ChainReader({ rpc: broken, deployment, ledger }).read();
      await expect(reading).rejects.toMatchObject({ code: "CHAIN_LOGS_MALFORMED" });
    }
    await expectAllSame();
  });
});
