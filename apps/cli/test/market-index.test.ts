import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChainReader, connectJsonRpc, deploy, openChain } from "@cloister/adapters/chain";
import { openIndexStore } from "@cloister/adapters/index-store";
import { deposit, NATIVE_TOKEN, orderId, type Chain, type Deployment, type Order } from "@cloister/market";
import { findAnvil, startAnvil, type Anvil } from "../../../packages/adapters/test/chain/anvil.ts";
import {
  accountOf,
  formSwarm,
  offerOf,
  openCall,
  orderOf,
  RICH,
  settleCall,
  testConfig,
} from "../../../packages/adapters/test/chain/world.ts";
import {
  findPostgres,
  startPostgres,
  type PostgresServer,
} from "../../../packages/adapters/test/index-store/postgres-server.ts";
import { bin, runCli, runJson, temporaryFolder } from "./run-cli.ts";

const FAR = 2_000_000_000;

interface Step {
  readonly what: string;
  readonly block?: number;
  readonly events?: number;
  readonly from?: number;
  readonly to?: number;
  readonly code?: string;
}

function stepsOf(text: string): Step[] {
  return text
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line) as Step);
}

/** A chain's node that gives one block's logs at a time, each after a moment; `false` makes it fall silent. */
async function slowNode(rpcUrl: string, delayMs: number): Promise<Server & { readonly url: string }> {
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of request) chunks.push(chunk as Uint8Array);
      const body = Buffer.concat(chunks).toString();
      const { id, method, params } = JSON.parse(body) as {
        id: number;
        method: string;
        params: [{ fromBlock: string; toBlock: string }];
      };
      const isWide = method === "eth_getLogs" && params[0].fromBlock !== params[0].toBlock;
      if (method === "eth_getLogs") await new Promise((resolve) => setTimeout(resolve, delayMs));
      const error = { code: -32005, message: "too many blocks" };
      const answer = isWide
        ? JSON.stringify({ jsonrpc: "2.0", id, error })
        : await (
            await fetch(rpcUrl, { method: "POST", headers: { "content-type": "application/json" }, body })
          ).text();
      response.setHeader("content-type", "application/json").end(answer);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(server, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

describe.skipIf(findAnvil() === undefined)("an index in a database of one's own (needs anvil)", () => {
  const folder = temporaryFolder();
  const home = folder.file("home");
  let anvil: Anvil;
  let deployment: Deployment;
  let chain: Chain;
  let salt = 0n;

  beforeAll(async () => {
    anvil = await startAnvil();
    deployment = await deploy({ rpcUrl: anvil.rpcUrl, config: testConfig(), secret: RICH });
    chain = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
    await formSwarm(chain);
    mkdirSync(home);
    const authority = { endpoint: "127.0.0.1:1", statusUrl: "http://127.0.0.1:1" };
    const network = {
      version: 1,
      simulated: true,
      rpcUrl: anvil.rpcUrl,
      authority,
      nodes: [],
      ...deployment,
    };
    writeFileSync(`${home}/network.json`, JSON.stringify(network));
  }, 60_000);

  afterAll(async () => {
    await anvil.kill();
    folder[Symbol.dispose]();
  });

  const index = (...args: readonly string[]): ReturnType<typeof runJson> =>
    runJson(["--home", home, "index", ...args]);
  const run = (...args: readonly string[]): ReturnType<typeof runCli> =>
    runCli(["--home", home, "index", ...args]);
  const database = (name: string): string => `sqlite:${folder.file(name)}`;

  async function open(): Promise<Order> {
    const offer = offerOf("engineer", "engine");
    const order = orderOf(deployment, [offer], ++salt, FAR);
    await chain.send(openCall(deployment, order, [["engineer", offer]]), RICH);
    await chain.refresh();
    return order;
  }

  async function digestsIn(url: string): Promise<unknown> {
    const store = await openIndexStore(url, deployment);
    const digests = await store.digests();
    await store.close();
    return Object.fromEntries(digests);
  }

  /** What a reading of the chain from its first block gives now. */
  async function freshDigests(): Promise<unknown> {
    const url = database(`fresh-${++salt}`);
    const ledger = await openIndexStore(url, deployment);
    await new ChainReader({ rpc: connectJsonRpc(anvil.rpcUrl), deployment, ledger }).read();
    await ledger.close();
    return digestsIn(url);
  }

  test("reads up to the newest block, goes on later, and tells what it holds", async () => {
    const order = await open();
    const first = await run("follow", "--once");
    expect(first.stdout).toMatch(/^The index stands at block \d+, with \d+ events\.\n$/);
    await chain.send(settleCall(chain, order), RICH);
    const second = stepsOf((await run("follow", "--once", "--json")).stdout);
    expect(second.map(({ what }) => what)).toEqual(["read", "ended"]);
    const { json } = await index("show", "--digests");
    expect(json["tables"]).toEqual(await freshDigests());
    expect(json).toMatchObject({ orders: { succeeded: 1 }, nodes: 3, block: second[1]?.block });
    expect((await run("show")).stdout).toMatch(/orders +1 succeeded\nnodes +3\n/);
    const told = await run("history", orderId(deployment, order).slice(0, 12));
    expect(told.stdout).toMatch(/OrderOpened[\s\S]+OrderSettled/);
    expect(told.stdout.startsWith(orderId(deployment, order))).toBe(true);
  });

  test("goes back with the chain, and says so", async () => {
    const url = database("reorganised");
    await run("follow", "--once", "--database", url);
    const lost = await open();
    await run("follow", "--once", "--database", url);
    await connectJsonRpc(anvil.rpcUrl).request("anvil_reorg", [1, []]);
    const { stderr } = await run("follow", "--once", "--database", url);
    expect(stderr).toMatch(
      /^The chain took blocks back: from block \d+ to block \d+, and on from there\.\n$/,
    );
    expect((await index("history", orderId(deployment, lost), "--database", url)).json).toMatchObject({
      error: { code: "INDEX_SUBJECT_NOT_FOUND" },
    });
    expect(await digestsIn(url)).toEqual(await freshDigests());
    expect((await index("check", "--database", url)).json).toMatchObject({ same: true });
  });

  test("killed again and again, and over a reorganisation, it ends as a fresh reading does", async () => {
    for (let i = 0; i < 4; i++) await chain.send(settleCall(chain, await open()), RICH);
    const node = await slowNode(anvil.rpcUrl, 20);
    const url = database("killed");
    const args = ["--home", home, "--json", "index", "follow", "--database", url, "--rpc", node.url];
    for (const lines of [2, 4]) {
      const child = spawn(process.execPath, [bin, ...args], { stdio: ["ignore", "pipe", "inherit"] });
      let read = 0;
      child.stdout.on("data", (text: Buffer) => {
        read += text.toString().split("\n").length - 1;
        if (read >= lines) child.kill("SIGKILL");
      });
      expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
    }
    const store = await openIndexStore(url, deployment);
    expect((await store.marks())[0]?.number).toBeLessThan((await chain.refresh()).block.number);
    await store.close();
    await connectJsonRpc(anvil.rpcUrl).request("anvil_reorg", [3, []]);
    const last = stepsOf(
      (await run("follow", "--once", "--json", "--database", url, "--rpc", node.url)).stdout,
    );
    expect(last.filter(({ what }) => what === "read").length).toBeGreaterThan(2);
    node.close();
    expect(await digestsIn(url)).toEqual(await freshDigests());
  }, 60_000);

  test("follows until it is told to end, waits for a chain that is away, and lets Ctrl-C end it", async () => {
    const node = await slowNode(anvil.rpcUrl, 0);
    const url = database("following");
    const args = ["--home", home, "--json", "index", "follow", "--database", url, "--rpc", node.url];
    const child = spawn(process.execPath, [bin, ...args, "--every", "1s"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (text: Buffer) => (said += text.toString()));
    const until = async (what: string, count = 1): Promise<void> => {
      while (stepsOf(said).filter((step) => step.what === what).length < count) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    await until("read");
    node.closeAllConnections();
    node.close();
    await until("waiting");
    expect(stepsOf(said).find(({ what }) => what === "waiting")?.code).toBe("CHAIN_UNREACHABLE");
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(stepsOf(said).at(-1)?.what).toBe("ended");
  }, 30_000);

  test("notices what another program changed in the database", async () => {
    const url = database("changed");
    await chain.send(deposit(deployment, NATIVE_TOKEN, accountOf("somebody"), 5n), RICH);
    await run("follow", "--once", "--database", url);
    const file = new DatabaseSync(folder.file("changed"));
    file.exec("UPDATE balances SET amount_wei = '6' WHERE amount_wei = '5'");
    file.close();
    const { exitCode, json } = await index("check", "--database", url);
    expect({ exitCode, json }).toMatchObject({ exitCode: 1, json: { error: { code: "INDEX_DIFFERS" } } });
    expect(JSON.stringify(json)).toContain("balances");
  });

  test.each([
    [["follow", "--once", "--database", "mysql://x"], "INDEX_URL_UNKNOWN", 1],
    [["show", "--database", "sqlite:/nowhere/at/all"], "INDEX_DATABASE_UNREACHABLE", 3],
    [["follow", "--once", "--rpc", "http://127.0.0.1:1"], "CHAIN_UNREACHABLE", 3],
    [["follow", "--rpc", "nonsense"], "USAGE_INVALID_ARGUMENT", 2],
    [["history", "0x"], "INDEX_SUBJECT_NOT_FOUND", 4],
    [["history", "0xffffffffffff"], "INDEX_SUBJECT_NOT_FOUND", 4],
  ])("%j is refused with its code", async (args, code, exitCode) => {
    const refused = await index(...args);
    expect({ ...refused, json: refused.json["error"] }).toMatchObject({ exitCode, json: { code } });
  });

  test("refuses the node of another chain", async () => {
    const other = await startAnvil(["--chain-id", "4711"]);
    const { exitCode, json } = await index("follow", "--once", "--rpc", other.rpcUrl);
    await other.kill();
    expect({ exitCode, json }).toMatchObject({ exitCode: 1, json: { error: { code: "CHAIN_ID_MISMATCH" } } });
  });

  describe.skipIf(findPostgres() === undefined)(
    "in PostgreSQL (needs a postgresql that this user can start)",
    () => {
      let server: PostgresServer;
      beforeAll(async () => {
        server = await startPostgres();
      }, 60_000);
      afterAll(() => server.stop());

      test("holds the same as in SQLite, and is found through the environment", async () => {
        const url = await server.createDatabase();
        const env = { CLOISTER_INDEX: url };
        expect((await runCli(["--home", home, "index", "follow", "--once"], { env })).exitCode).toBe(0);
        expect(await digestsIn(url)).toEqual(await freshDigests());
      });
    },
  );
});
