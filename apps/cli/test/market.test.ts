import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { connectJsonRpc, deploy, openChain } from "@cloister/adapters/chain";
import type { OfferId, OrderId } from "@cloister/core";
import type { Chain, Deployment } from "@cloister/market";
import { findAnvil, startAnvil, type Anvil } from "../../../packages/adapters/test/chain/anvil.ts";
import { formSwarm, RICH, settleCallOf, testConfig } from "../../../packages/adapters/test/chain/world.ts";
import { main } from "../src/main.ts";
import { temporaryFolder } from "./run-cli.ts";

const ETHER = 10n ** 18n;

describe.skipIf(findAnvil() === undefined)("a day at the market (needs anvil)", () => {
  const folder = temporaryFolder();
  const home = folder.file("home");
  let anvil: Anvil;
  let deployment: Deployment;
  let chain: Chain;

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
    for (const name of ["clinic", "lab"]) await json("account", "new", name);
  }, 60_000);

  afterAll(async () => {
    await anvil.kill();
    folder[Symbol.dispose]();
  });

  /** Runs a command as the program does, and gives what it printed. */
  async function run(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
    let text = "";
    const spy = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
      text += String(chunk);
      return true;
    });
    try {
      const code = await main(["--home", home, ...args]);
      process.exitCode = undefined;
      return { code, text };
    } finally {
      spy.mockRestore();
    }
  }

  async function json(...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    const { text } = await run("--json", ...args);
    return JSON.parse(text) as Record<string, unknown>;
  }

  async function refused(...args: readonly string[]): Promise<string | undefined> {
    const { code, text } = await run("--json", ...args);
    expect(code).not.toBe(0);
    return (JSON.parse(text) as { error?: { code: string } }).error?.code;
  }

  /** Publishes an offer of a file that was sealed before, so that no key-release group is needed. */
  async function publish(name: string, ...args: readonly string[]): Promise<OfferId> {
    const [file, sealed] = [folder.file(name), folder.file(`${name}.age`)];
    writeFileSync(file, `content of ${name}`);
    await json("seal", file, "--to", String((await accounts())[0]?.recipient), "-o", sealed, "--force");
    const made = await json("offers", "publish", file, "--sealed", sealed, "--as", "clinic", ...args);
    expect(made["error"]).toBeUndefined();
    return String(made["offerId"]) as OfferId;
  }

  async function accounts(): Promise<
    { name: string; recipient: string; walletWei: string; earnedWei: string }[]
  > {
    return (await json("account", "list"))["accounts"] as Awaited<ReturnType<typeof accounts>>;
  }

  async function open(engine: OfferId, ...args: readonly string[]): Promise<OrderId> {
    const made = await json("orders", "open", "--as", "lab", "--engine", engine, ...args);
    expect(made["error"]).toBeUndefined();
    return String(made["orderId"]) as OrderId;
  }

  /** Settles an order as a node would that worked so long. */
  async function settle(id: OrderId, secondsUsed: number): Promise<void> {
    await connectJsonRpc(anvil.rpcUrl).request("evm_increaseTime", [secondsUsed + 1]);
    await chain.refresh();
    await chain.send(settleCallOf(chain, id, { secondsUsed }), RICH);
  }

  let timed: OfferId;

  test("offers are shown by the hour, by their share and by their terms, and found by them", async () => {
    const engine = ["--kind", "engine"] as const;
    timed = await publish(
      "by-the-hour",
      ...engine,
      "--price",
      "0.1",
      "--price-per-hour",
      "0.36",
      "--time-max",
      "2h",
    );
    await publish("shared", ...engine, "--share", "12.5", "--pool-min", "0.2");
    await publish("booked", ...engine, "--price", "3", "--booking", "0.5", "--runs", "7");
    await publish("free", ...engine);
    const { text } = await run("offers", "list");
    expect(text).toMatch(/engine {2}0\.1 \+ 0\.36\/h +0\/100 +usable {2}clinic\n/);
    expect(text).toMatch(/engine {2}12\.5 % of the pool +/);
    expect(text).toMatch(/engine {2}free +/);
    const ids = async (...args: readonly string[]): Promise<unknown[]> =>
      ((await json("offers", "list", ...args))["offers"] as { price: string }[]).map(({ price }) => price);
    const cheapest = ["free", "12.5 % of the pool", "0.1 + 0.36/h", "3"];
    expect(new Set(await ids("--sort", "price"))).toEqual(new Set(cheapest));
    expect((await ids("--sort", "price")).slice(2)).toEqual(["0.1 + 0.36/h", "3"]);
    expect(await ids("--max-price", "2", "--find", timed.slice(2, 30))).toEqual(["0.1 + 0.36/h"]);
    expect(await ids("--max-per-hour", "0.3", "--sort", "price")).toHaveLength(3);
    expect(await ids("--owner", "lab")).toEqual([]);
    expect(await ids("--kind", "data")).toEqual([]);
    expect((await run("offers", "list", "--kind", "data")).text).toBe("There is no such offer.\n");
    const shown = await run("offers", "show", timed.slice(0, 12));
    expect(shown.text).toMatch(/price +0\.1 \+ 0\.36\/h\nat most +2 h\nruns +0\/100\nstate +usable\n/);
    expect(shown.text).toContain("Purposes: train.");
  });

  test("an offer has a name and a revision if its owner gives them, and no other text of its file", async () => {
    const engine = ["--kind", "engine"] as const;
    const plain = await publish("secret-name", ...engine);
    const named = await publish("named", ...engine, "--name", "Penguins, trained", "--revision", "2.1");
    const { text } = await run("offers", "list", "--find", "penguins");
    expect(text).toMatch(/owner +name\n0x.*clinic +Penguins, trained 2\.1\n$/);
    expect((await json("offers", "show", named))["download"]).toBe(false);
    expect((await run("offers", "show", named)).text).toMatch(/use +leased, never handed out\n/);
    expect((await run("offers", "show", plain)).text).not.toContain("secret-name");
    expect(await json("offers", "show", plain)).not.toHaveProperty("name");
    const file = folder.file("named");
    const bad = ["offers", "publish", file, "--sealed", `${file}.age`, "--as", "clinic", ...engine] as const;
    expect(await refused(...bad, "--name", "two\nlines")).toBe("OFFER_DETAILS_MALFORMED");
    expect(await refused(...bad, "--revision", "2")).toBe("USAGE_CONFLICT");
  });

  test("an offer can be switched off and on, replaced by a version, and ended", async () => {
    const id = await publish("versioned", "--kind", "engine", "--price", "1");
    const as = ["--as", "clinic"] as const;
    expect((await run("offers", "disable", id, ...as)).text).toContain("No order can be opened on");
    expect(await refused("orders", "open", "--as", "lab", "--engine", id)).toBe("OFFER_DISABLED");
    expect((await json("offers", "list", "--usable"))["offers"]).not.toContainEqual(
      expect.objectContaining({ id }),
    );
    expect(await json("offers", "enable", id, ...as)).toEqual({ offerId: id, enabled: true });
    const soon = "2099-01-01";
    const next = await publish(
      "versioned",
      "--kind",
      "engine",
      "--price",
      "2",
      "--replaces",
      id,
      "--from",
      soon,
    );
    expect(await refused("orders", "open", "--as", "lab", "--engine", next)).toBe("OFFER_NOT_YET");
    const { text } = await run("offers", "versions", next);
    expect(text).toMatch(/1 +0x\w+… +1 +0\/100 +usable +2099-01-01T00:00:00Z\n2 +0x\w+… +2 +0\/100 +not yet/);
    const versions = (await json("offers", "versions", id))["versions"] as { id: string }[];
    expect(versions.map((one) => one.id)).toEqual([id, next]);
    await run("offers", "revoke", id, ...as);
    expect((await json("offers", "show", id))["standing"]).toBe("ended");
    expect(await refused("orders", "open", "--as", "lab", "--engine", id)).toBe("CONSENT_REVOKED");
    for (const change of ["disable", "enable", "revoke"]) {
      expect(await refused("offers", change, next, "--as", "lab")).toBe("OFFER_NOT_YOURS");
    }
  });

  test("an order is cancelled only while that makes it end sooner", async () => {
    const far = await open(timed, "--time-max", "1h", "--deadline", "2h");
    const near = await open(timed, "--time-max", "1m", "--deadline", "5m");
    expect(await refused("orders", "cancel", near, "--as", "lab")).toBe("ORDER_ENDS_SOON");
    expect(await refused("orders", "cancel", far, "--as", "clinic")).toBe("ORDER_NOT_YOURS");
    const cancelled = await run("orders", "cancel", far, "--as", "lab");
    expect(cancelled.text).toMatch(/^The order 0x\w+ ends by 20.*Z\.\n/);
    expect((await run("orders", "show", far)).text).toMatch(/status +open, cancelled by its client/);
    const listed = await run("orders", "list", "--client", "lab", "--status", "open");
    expect(listed.text.split("\n")).toHaveLength(4);
    const of = async (...args: readonly string[]): Promise<number> =>
      ((await json("orders", "list", ...args))["orders"] as unknown[]).length;
    expect(await of("--owner", "clinic", "--status", "open")).toBe(2);
    expect(await of("--owner", "clinic", "--status", "succeeded")).toBe(0);
    expect(await of("--offer", timed)).toBe(2);
    expect(await of("--client", "clinic")).toBe(0);
    expect(await of("--overdue")).toBe(0);
  });

  test("an order by the hour is extended, paid for the time it took, and shown with where its money went", async () => {
    const id = await open(timed, "--time-max", "1h", "--deadline", "2h", "--compute-price", "0.01");
    const before = await json("orders", "show", id);
    expect(before).toMatchObject({ secondsMax: 3600, depositWei: String((ETHER * 47n) / 100n) });
    const longer = await json("orders", "extend", id, "--as", "lab", "--time", "30m", "--later", "30m");
    expect(longer).toMatchObject({ addedWei: String((ETHER * 18n) / 100n), secondsMax: 5400 });
    expect(Date.parse(String(longer["deadline"])) - Date.parse(String(before["deadline"]))).toBe(1_800_000);
    expect(await refused("orders", "extend", id, "--as", "lab", "--time", "1h", "--add", "0.1")).toBe(
      "ORDER_TIME_OUTSIDE",
    );
    expect(await refused("orders", "extend", id, "--as", "lab", "--time", "30m", "--add", "0.1")).toBe(
      "ORDER_DEPOSIT_SHORT",
    );
    expect(await refused("orders", "extend", id, "--as", "clinic", "--add", "1")).toBe("ORDER_NOT_YOURS");
    expect(await refused("orders", "extend", id, "--as", "lab")).toBe("USAGE_CHANGE_MISSING");
    await settle(id, 1800);
    const { text, code } = await run("orders", "show", id);
    expect(code).toBe(0);
    expect(text).toMatch(/time +at most 1 h 30 min, at 0\.36\/h\n/);
    expect(text).toMatch(
      /paid +0\.28 to clinic for engine 0x\w+…\npaid +0\.01 to 0x\w+… for computing\npaid +0\.36 to lab for what was left/,
    );
    expect(await refused("orders", "extend", id, "--as", "lab", "--add", "1")).toBe("ORDER_ENDED");
    expect(await refused("orders", "open", "--as", "lab", "--engine", timed, "--time-max", "3h")).toBe(
      "ORDER_TIME_OUTSIDE",
    );
  });

  test("money goes into the market, pays an order there, and comes out again, to whom one says", async () => {
    expect((await run("account", "deposit", "0.5", "--as", "lab")).text).toBe(
      "lab has 0.86 in the market now.\n",
    );
    const { text } = await run("account", "show", "lab");
    expect(text).toMatch(/in the market +0\.86\n/);
    expect(text).toMatch(/orders +3, of which 2 open\n/);
    await open(timed, "--time-max", "1m", "--deadline", "1h", "--compute-price", "0.1", "--from-balance");
    const clinic = (await accounts()).find(({ name }) => name === "clinic");
    expect(clinic?.earnedWei).toBe(String((ETHER * 28n) / 100n));
    expect(
      await json("account", "withdraw", "--as", "clinic", "--amount", "0.08", "--to", "lab"),
    ).toMatchObject({
      withdrawnWei: String((ETHER * 8n) / 100n),
    });
    expect(await refused("account", "withdraw", "--as", "clinic", "--amount", "0.21")).toBe("BALANCE_SHORT");
    expect((await run("account", "withdraw", "--as", "clinic")).text).toMatch(/^Withdrew 0\.2 to 0x/);
    expect((await run("account", "withdraw", "--as", "clinic")).text).toBe("There is nothing to withdraw.\n");
    expect(await refused("account", "show", "nobody")).toBe("ACCOUNT_NOT_FOUND");
    expect(await refused("account", "withdraw", "--as", "clinic", "--to", "0x12")).toBe("ADDRESS_MALFORMED");
  });

  test.each([
    ["offers", "publish", "x", "--kind", "engine", "--as", "clinic", "--price", "1", "--booking", "2"],
    ["offers", "publish", "x", "--kind", "engine", "--as", "clinic", "--time-min", "2h", "--time-max", "1h"],
    ["offers", "publish", "x", "--kind", "engine", "--as", "clinic", "--from", "2099-01-01"],
  ])("terms that contradict each other are refused, %#", async (...args) => {
    expect(await refused(...args)).toBe("USAGE_CONFLICT");
  });

  test.each([
    ["offers", "publish", "x", "--kind", "engine", "--as", "clinic", "--share", "101"],
    ["offers", "publish", "x", "--kind", "engine", "--as", "clinic", "--share", "1.234"],
    ["offers", "publish", "x", "--kind", "engine", "--as", "clinic", "--price-per-hour", "cheap"],
    ["offers", "list", "--kind", "ware"],
    ["orders", "list", "--status", "lost"],
  ])("an argument that does not read is refused, %#", async (...args) => {
    expect(await refused(...args)).toBe("USAGE_INVALID_ARGUMENT");
  });
});
