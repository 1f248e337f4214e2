import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePortBase } from "../src/network/start.ts";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

const UNKNOWN_DIGEST = `sha256:${"ab".repeat(32)}`;

async function refused(
  home: string,
  args: readonly string[],
): Promise<{ code: unknown; exitCode: number | null }> {
  const { exitCode, json } = await runJson(["--home", home, ...args]);
  return { code: (json["error"] as { code: string } | undefined)?.code ?? json, exitCode };
}

const ASKING = [
  ["status"],
  ["account", "list"],
  ["offers", "list"],
  ["orders", "list"],
  ["orders", "show", "0x1234"],
  ["node", "list"],
  ["results", "proof", "0x1234"],
];

test.each(ASKING.map((args) => [args]))("without a network, %j says where it looked", async (args) => {
  using folder = temporaryFolder();
  expect(await refused(folder.path, args)).toEqual({ code: "NETWORK_MISSING", exitCode: 3 });
  expect(readdirSync(folder.path)).toEqual([]);
});

test("an account without a network is refused and leaves nothing", async () => {
  using folder = temporaryFolder();
  expect(await refused(folder.path, ["account", "new", "clinic"])).toEqual({
    code: "NETWORK_MISSING",
    exitCode: 3,
  });
  expect(readdirSync(folder.path)).toEqual([]);
});

test("a damaged network file is named", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("network.json"), `{"version": 1, `);
  expect(await refused(folder.path, ["status"])).toEqual({ code: "NETWORK_MALFORMED", exitCode: 1 });
});

test.each([
  [["up", "--nodes", "2"], "USAGE_NODES", 2],
  [["up", "--nodes", "many"], "USAGE_NODES", 2],
  [["up", "--port-base", "80"], "USAGE_PORT_BASE", 2],
  [["down"], "NETWORK_NOT_RUNNING", 1],
])("%j is refused with its code", async (args, code, exitCode) => {
  using folder = temporaryFolder();
  expect(await refused(folder.path, args)).toEqual({ code, exitCode });
});

function listenOn(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

test.each([[[]], [["--detach"]]])("up %j on a port in use says which, and starts nothing", async (flags) => {
  using folder = temporaryFolder();
  const port = await freePortBase();
  const server = await listenOn(port);
  const up = ["up", "--port-base", String(port), ...flags];
  expect(await refused(folder.path, up)).toEqual({ code: "PORT_IN_USE", exitCode: 3 });
  expect(existsSync(folder.file("network.json"))).toBe(false);
  expect(await refused(folder.path, ["down"])).toEqual({ code: "NETWORK_NOT_RUNNING", exitCode: 1 });
  await new Promise((resolve) => server.close(resolve));
});

/** One running network for every test below: bad input must not disturb it. */
let net: ReturnType<typeof temporaryFolder>;
let home = "";
beforeAll(async () => {
  net = temporaryFolder();
  home = net.file("home");
  const port = String(await freePortBase());
  const { exitCode, json } = await runJson(["--home", home, "up", "--detach", "--port-base", port]);
  expect(json).toMatchObject({ simulated: true });
  expect(exitCode).toBe(0);
  writeFileSync(net.file("pass"), "correct horse");
  writeFileSync(net.file("wrong"), "battery staple");
  writeFileSync(net.file("x"), "content");
  await runJson(["--home", home, "account", "new", "clinic"]);
  await runJson(["--home", home, "account", "new", "locked", "--passphrase-file", net.file("pass")]);
}, 120_000);
afterAll(async () => {
  await runCli(["--home", home, "down"]);
  net[Symbol.dispose]();
}, 30_000);

test("a second network in the same folder is refused", async () => {
  expect(await refused(home, ["up"])).toEqual({ code: "NETWORK_RUNNING", exitCode: 1 });
});

test.each([
  [["account", "new", "clinic"], "ACCOUNT_EXISTS", 1],
  [["account", "new", "Bad_Name"], "ACCOUNT_NAME_MALFORMED", 1],
  [["account", "withdraw", "--as", "nobody"], "ACCOUNT_NOT_FOUND", 4],
  [["offers", "revoke", "0x12345678", "--as", "clinic"], "OFFER_UNKNOWN", 4],
  [["orders", "show", "0x12345678"], "ORDER_UNKNOWN", 4],
  [["orders", "show", "no id at all"], "ORDER_UNKNOWN", 4],
  [["orders", "refund", "0x12345678", "--as", "clinic"], "ORDER_UNKNOWN", 4],
  [["orders", "open", "--as", "clinic", "--engine", "0x12345678"], "OFFER_UNKNOWN", 4],
  [["results", "get", "0x12345678", "--as", "clinic", "-o", "out"], "ORDER_UNKNOWN", 4],
  [["results", "proof", "0x12345678"], "ORDER_UNKNOWN", 4],
  [["offers", "publish", "missing", "--kind", "engine", "--as", "clinic"], "FILE_NOT_FOUND", 4],
  [["offers", "publish", "missing", "--kind", "data", "--as", "clinic"], "USAGE_ENGINE_MISSING", 2],
  [["offers", "publish", "missing", "--kind", "ware", "--as", "clinic"], "USAGE_INVALID_ARGUMENT", 2],
])("%j is refused with its code, and the network goes on", async (args, code, exitCode) => {
  expect(await refused(home, args)).toEqual({ code, exitCode });
});

test("a wrong passphrase, or none, opens no account", async () => {
  const withdraw = ["account", "withdraw", "--as", "locked"];
  expect(await refused(home, [...withdraw, "--passphrase-file", net.file("wrong")])).toEqual({
    code: "PASSPHRASE_WRONG",
    exitCode: 1,
  });
  expect(await refused(home, withdraw)).toEqual({ code: "PASSPHRASE_NEEDED", exitCode: 1 });
  const right = await runJson(["--home", home, ...withdraw, "--passphrase-file", net.file("pass")]);
  expect(right).toMatchObject({ exitCode: 0, json: { withdrawnWei: "0" } });
});

test("a damaged account is named, and its keys are not shown", async () => {
  mkdirSync(`${home}/accounts`, { recursive: true });
  writeFileSync(
    `${home}/accounts/broken.json`,
    `{"name": "broken", "secrets": {"account": "zz", "identity": "x"}}`,
  );
  const { exitCode, stdout } = await runCli([
    "--home",
    home,
    "--json",
    "account",
    "withdraw",
    "--as",
    "broken",
  ]);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toHaveProperty("error.code", "ACCOUNT_MALFORMED");
  expect(stdout).not.toContain("zz");
  rmSync(`${home}/accounts/broken.json`);
});

test("an offer that is not one's own cannot be ended, and one that costs too much is not ordered", async () => {
  const publish = ["offers", "publish", net.file("x"), "--kind", "engine", "--as", "clinic", "--price", "2"];
  const { json } = await runJson(["--home", home, ...publish]);
  const id = String(json["offerId"]);
  expect(id).toMatch(/^0x[0-9a-f]{64}$/);
  const locked = ["--as", "locked", "--passphrase-file", net.file("pass")];
  expect(await refused(home, ["offers", "revoke", id, ...locked])).toEqual({
    code: "OFFER_NOT_YOURS",
    exitCode: 1,
  });
  const order = ["orders", "open", "--as", "clinic", "--engine", id, "--max-price", "1"];
  expect(await refused(home, order)).toEqual({ code: "ORDER_TOO_DEAR", exitCode: 1 });
  expect((await runJson(["--home", home, "orders", "list"])).json).toEqual({ orders: [] });
});

test("an engine that is none fails the order with a reason, refunds it, and leaves neither result nor proof", async () => {
  const publish = ["offers", "publish", net.file("x"), "--kind", "engine", "--as", "clinic", "--price", "1"];
  const engine = String((await runJson(["--home", home, ...publish])).json["offerId"]);
  const open = ["orders", "open", "--as", "clinic", "--engine", engine, "--deadline", "90s", "--wait"];
  const { exitCode, json } = await runJson(["--home", home, ...open]);
  expect(exitCode).toBe(1);
  expect(json).toMatchObject({
    status: "failed",
    code: expect.stringMatching(/^[A-Z]+(_[A-Z]+)+$/) as string,
  });
  const id = String(json["orderId"]);
  const get = ["results", "get", id, "--as", "clinic", "-o", net.file("result")];
  expect(await refused(home, get)).toEqual({ code: "RESULT_NOT_FOUND", exitCode: 4 });
  expect(existsSync(net.file("result"))).toBe(false);
  const proof = ["results", "proof", id, "-o", net.file("proof")];
  expect(await refused(home, proof)).toEqual({ code: "PROOF_NOT_FOUND", exitCode: 4 });
  expect(existsSync(net.file("proof"))).toBe(false);
  expect(await refused(home, ["orders", "refund", id, "--as", "clinic"])).toEqual({
    code: "ORDER_ENDED",
    exitCode: 1,
  });
  const { accounts } = (await runJson(["--home", home, "account", "list"])).json as {
    accounts: { name: string; walletWei: string; earnedWei: string }[];
  };
  const clinic = accounts.find(({ name }) => name === "clinic");
  const wholeWei = BigInt(clinic?.walletWei ?? 0) + BigInt(clinic?.earnedWei ?? 0);
  const spentOnGasWei = 10n * 10n ** 18n - wholeWei;
  expect(spentOnGasWei).toBeGreaterThan(0n);
  expect(spentOnGasWei).toBeLessThan(10n ** 16n);
});

test("a file is sealed to the group that the network's members vouch for", async () => {
  const owner = `0x${"ab".repeat(20)}`;
  const { exitCode, json } = await runJson(["--home", home, "seal", net.file("x"), "--owner", owner]);
  expect(exitCode).toBe(0);
  expect(json["recipients"]).toEqual([expect.stringMatching(/^age1/)]);
});

test("an unknown object is not found in the network's store either", async () => {
  const get = ["files", "get", UNKNOWN_DIGEST, "-o", net.file("out")];
  expect(await refused(home, get)).toEqual({ code: "OBJECT_NOT_FOUND", exitCode: 4 });
});

test("when the chain is gone, every command that needs it says so", async () => {
  const { exitCode } = await runJson(["--home", home, "down"]);
  expect(exitCode).toBe(0);
  for (const args of ASKING) {
    expect(await refused(home, args), args.join(" ")).toEqual({ code: "CHAIN_UNREACHABLE", exitCode: 3 });
  }
});
