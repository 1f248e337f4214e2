/** Orders on a real local network: what engines do wrong, what nodes refuse, and that money comes back. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyProof } from "@cloister/certification";
import { simulationRoots } from "@cloister/attestation";
import type { OfferId } from "@cloister/core";
import { assemble, hostileEngine, type HostileEngine } from "@cloister/examples/hostile-engines";
import { balanceOf, NATIVE_TOKEN } from "@cloister/market";
import { createAccount, fundLocally, type Account } from "../apps/cli/src/network/accounts.ts";
import { Client } from "../apps/cli/src/network/client.ts";
import { LocalNetwork } from "../apps/cli/src/network/local-network.ts";
import { offer, order, orderEnd, type OrderPlan } from "../apps/cli/src/network/market.ts";
import { freePortBase, untilReady } from "../apps/cli/src/network/start.ts";

const MIB = 1024 * 1024;
const home = mkdtempSync(join(tmpdir(), "cloister-network-"));
let network: LocalNetwork;
let client: Client;
let author: Account;

beforeAll(async () => {
  network = await LocalNetwork.start({
    home,
    nodes: 3,
    portBase: await freePortBase(),
    progress: () => undefined,
  });
  await untilReady(home);
  client = await Client.open(home);
  author = await createAccount(client.layout, "author");
  await fundLocally(client.network, author.address);
}, 120_000);

afterAll(async () => {
  await network.stop();
  rmSync(home, { recursive: true, force: true });
});

async function publish(module: Uint8Array): Promise<OfferId> {
  const plan = {
    kind: "engine" as const,
    content: [module],
    fixedWei: 0n,
    engines: [],
    purposes: ["train"],
    runsMax: 5,
  };
  return (await offer(client, author, plan)).offerId;
}

function plan(engine: OfferId, more: Partial<OrderPlan> = {}): OrderPlan {
  const deadlineMs = Date.now() + 60_000;
  return {
    engine,
    inputs: [],
    purpose: "train",
    computeWei: 1_000n,
    deadlineMs,
    runMs: 2_000,
    memoryBytes: 64 * MIB,
    outputBytesMax: MIB,
    ...more,
  };
}

async function runOrder(
  engine: OfferId,
  more: Partial<OrderPlan> = {},
): Promise<{ status: string; code: string | undefined }> {
  const id = await order(client, author, plan(engine, more));
  const { status } = await orderEnd(client, id, { untilMs: Date.now() + 90_000 });
  return { status, code: (await client.orderReasons(id))?.reason };
}

const WRONGS: readonly (readonly [HostileEngine, string])[] = [
  ["loops-forever", "ENGINE_TIME_EXCEEDED"],
  ["eats-memory", "ENGINE_MEMORY_EXCEEDED"],
  ["writes-too-much", "ENGINE_OUTPUT_TOO_LARGE"],
  ["traps", "ENGINE_TRAPPED"],
  ["exits-nonzero", "ENGINE_EXITED_NONZERO"],
  ["writes-nothing", "ENGINE_NO_OUTPUT"],
  ["imports-a-socket", "ENGINE_IMPORT_FORBIDDEN"],
];

describe("an engine that misbehaves ends its order, and the client has the money back", () => {
  test.each(WRONGS)(
    "%s: %s",
    async (name, code) => {
      const engine = await publish(hostileEngine(name));
      const before = balanceOf((await client.chain.refresh()).state, NATIVE_TOKEN, author.address);
      expect(await runOrder(engine)).toEqual({ status: "failed", code });
      const after = balanceOf((await client.chain.refresh()).state, NATIVE_TOKEN, author.address);
      expect(after - before).toBe(1_000n);
    },
    120_000,
  );

  test("no engine at all: ENGINE_MALFORMED", async () => {
    const engine = await publish(new TextEncoder().encode("no module"));
    expect(await runOrder(engine)).toEqual({ status: "failed", code: "ENGINE_MALFORMED" });
  }, 120_000);
});

test("an order whose purpose no consent lists opens nothing", async () => {
  const engine = await publish(hostileEngine("traps"));
  expect(await runOrder(engine, { purpose: "sell" })).toEqual({
    status: "failed",
    code: "CONSENT_PURPOSE_NOT_LISTED",
  });
}, 120_000);

test("an order that nobody can finish in time is given back without anybody asking", async () => {
  const engine = await publish(hostileEngine("loops-forever"));
  const id = await order(client, author, plan(engine, { deadlineMs: Date.now() + 3_000 }));
  const { status } = await orderEnd(client, id, { untilMs: Date.now() + 60_000 });
  expect(["failed", "refunded"]).toContain(status);
}, 120_000);

test("an engine that does its work is paid for, proven, and its proof holds for no other order", async () => {
  const engine = await publish(
    assemble(`(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 64) "outputs/a.txt")
      (data (i32.const 96) "done")
      (data (i32.const 0) "\\60\\00\\00\\00\\04\\00\\00\\00")
      (func (export "_start")
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 13)
          (i32.const 1) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 16)))
        (drop (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))))`),
  );
  const id = await order(client, author, plan(engine, { runMs: 30_000 }));
  const ended = await orderEnd(client, id, { untilMs: Date.now() + 90_000 });
  expect(ended).toMatchObject({ status: "succeeded" });
  await expect
    .poll(
      () =>
        client.proof(id).then(
          ({ length }) => length,
          () => 0,
        ),
      { timeout: 20_000 },
    )
    .toBeGreaterThan(0);
  const proof = verifyProof(await client.proof(id), { roots: [simulationRoots] });
  expect(proof).toMatchObject({ verified: true, simulated: true, report: { integrity: { orderId: id } } });
}, 120_000);

test("a node with a file that no builder approved is let in nowhere", async () => {
  const statusUrl = network.startIntruder();
  const refusal = async (): Promise<unknown> => {
    const page = await fetch(`${statusUrl}/status`).then(
      (response) => response.json(),
      () => ({}),
    );
    return (page as { refusal?: { code: string } }).refusal?.code;
  };
  await expect.poll(refusal, { timeout: 30_000 }).toBe("MEASUREMENT_NOT_APPROVED");
}, 60_000);
