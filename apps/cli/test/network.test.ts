import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

const ADDRESS = `0x${"11".repeat(20)}`;
const NETWORK = {
  ...{ version: 1, simulated: true, rpcUrl: "http://127.0.0.1:1", chainId: 31_337, fromBlock: 0 },
  ...{ registry: ADDRESS, market: ADDRESS, log: ADDRESS },
  authority: { endpoint: "127.0.0.1:2", statusUrl: "http://127.0.0.1:3" },
  nodes: [{ name: "node-1", endpoint: "127.0.0.1:4", statusUrl: "http://127.0.0.1:5" }],
};

test("a whole network file whose chain is gone is not called damaged", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("network.json"), JSON.stringify(NETWORK));
  expect(await refused(folder.path, ["status"])).toEqual({ code: "CHAIN_UNREACHABLE", exitCode: 3 });
});

test("an account without a network is refused and leaves nothing", async () => {
  using folder = temporaryFolder();
  expect(await refused(folder.path, ["account", "new", "clinic"])).toEqual({
    code: "NETWORK_MISSING",
    exitCode: 3,
  });
  expect(readdirSync(folder.path)).toEqual([]);
});

test.each([
  [`{"version": 1, `],
  ["7"],
  ["null"],
  [`{"version": 1}`],
  [`{"rpcUrl": "here", "nodes": []}`],
  [JSON.stringify({ ...NETWORK, nodes: [{ name: "node-1" }] })],
  [JSON.stringify({ ...NETWORK, market: "0x1" })],
])("a damaged network file is named: %s", async (text) => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("network.json"), text);
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
  [
    ["offers", "publish", "x", "--kind", "data", "--as", "clinic", "--allow-engine", "sha256:1"],
    "USAGE_INVALID_ARGUMENT",
    2,
  ],
  [
    ["offers", "publish", "x", "--kind", "data", "--as", "clinic", "--consent", "y", "--runs", "3"],
    "USAGE_CONFLICT",
    2,
  ],
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

/** Publishes a file of its own and gives the offer's id. */
async function publish(name: string, ...args: string[]): Promise<string> {
  writeFileSync(net.file(name), `content of ${name}`);
  const { json } = await runJson(["--home", home, "offers", "publish", net.file(name), ...args]);
  expect(json["offerId"], JSON.stringify(json)).toMatch(/^0x[0-9a-f]{64}$/);
  return String(json["offerId"]);
}

test("an order is held against every consent before it is paid", async () => {
  const as = ["--as", "clinic"];
  const [good, other] = [
    await publish("good.wasm", "--kind", "engine", ...as),
    await publish("other.wasm", "--kind", "engine", ...as),
  ];
  const policy = net.file("policy.json");
  const draft = ["consent", "draft", "-e", net.file("good.wasm"), "--runs", "2", "-o", policy];
  expect((await runJson(draft)).exitCode).toBe(0);
  const data = await publish("table.csv", "--kind", "data", ...as, "--consent", policy);
  const dry = (engine: string, ...more: string[]): string[] => [
    "orders",
    "open",
    ...as,
    "--engine",
    engine,
    "--input",
    `${data}=t.csv`,
    "--dry-run",
    ...more,
  ];
  const orders = async (): Promise<unknown> =>
    (await runJson(["--home", home, "orders", "list"])).json["orders"];
  const before = await orders();
  expect(await runJson(["--home", home, ...dry(good)])).toMatchObject({
    exitCode: 0,
    json: { allowed: true },
  });
  expect(await refused(home, dry(other))).toEqual({ code: "CONSENT_ENGINE_NOT_LISTED", exitCode: 1 });
  expect(await refused(home, dry(data))).toEqual({ code: "OFFER_NOT_ENGINE", exitCode: 1 });
  const far = ["offers", "revoke", data, ...as, "--at", "2099-01-01"];
  expect((await runJson(["--home", home, ...far])).exitCode).toBe(0);
  expect((await runJson(["--home", home, ...dry(good)])).exitCode).toBe(0);
  const now = await runJson(["--home", home, "consent", "revoke", policy, ...as]);
  expect(now).toMatchObject({ exitCode: 0, json: { offers: [{ id: data }] } });
  // The earliest moment counts, and is what is said.
  const later = ["consent", "revoke", policy, ...as, "--at", "2099-01-01"];
  expect((await runJson(["--home", home, ...later])).json).toEqual(now.json);
  expect(await refused(home, dry(good))).toEqual({ code: "CONSENT_REVOKED", exitCode: 1 });
  expect(
    await refused(home, [
      "consent",
      "revoke",
      net.file("policy.json"),
      "--as",
      "locked",
      "--passphrase-file",
      net.file("pass"),
    ]),
  ).toEqual({
    code: "OFFER_NOT_FOUND",
    exitCode: 4,
  });
  expect(await orders()).toEqual(before);
});

/** Puts a contract in place that answers every question with one word. */
async function putWallet(address: string, answer: string): Promise<void> {
  const { rpcUrl } = JSON.parse(readFileSync(`${home}/network.json`, "utf8")) as { rpcUrl: string };
  const code = `0x63${answer}60e01b60005260206000f3`;
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "anvil_setCode", params: [address, code] });
  await fetch(rpcUrl, { method: "POST", headers: { "content-type": "application/json" }, body });
}

test("a consent is signed by an account or a wallet, for one object, and published with it", async () => {
  const engine = `sha256:${"ab".repeat(32)}`;
  writeFileSync(net.file("birds.csv"), "birds");
  const policy = net.file("birds.json");
  await runJson(["consent", "draft", "-e", engine, "-o", policy]);
  const { accounts } = (await runJson(["--home", home, "account", "list"])).json as {
    accounts: { name: string; address: string }[];
  };
  const owner = accounts.find(({ name }) => name === "clinic")?.address ?? "";
  await runJson(["--home", home, "seal", net.file("birds.csv"), "--owner", owner]);
  const [sealed, signed] = [net.file("birds.csv.age"), net.file("birds.signed.json")];
  const sign = ["consent", "sign", policy, "--object", sealed];
  const made = await runJson(["--home", home, ...sign, "--as", "clinic", "-o", signed]);
  expect(made).toMatchObject({ exitCode: 0, json: { owner } });
  const verify = ["consent", "verify", signed, "--object"];
  expect((await runJson(["--home", home, ...verify, sealed])).json).toMatchObject({ valid: true, owner });
  expect(await refused(home, [...verify, net.file("x")])).toEqual({
    code: "CONSENT_OTHER_OBJECT",
    exitCode: 1,
  });
  expect(await refused(home, ["consent", "verify", policy])).toEqual({
    code: "CONSENT_UNSIGNED",
    exitCode: 1,
  });
  const offer = [
    "offers",
    "publish",
    net.file("birds.csv"),
    "--kind",
    "data",
    "--as",
    "clinic",
    "--consent",
    signed,
  ];
  expect(await refused(home, offer)).toEqual({ code: "USAGE_SEALED_MISSING", exitCode: 2 });
  const other = await refused(home, [...offer, "--sealed", net.file("x")]);
  expect(other).toEqual({ code: "CONSENT_OTHER_OBJECT", exitCode: 1 });
  const published = await runJson(["--home", home, ...offer, "--sealed", sealed]);
  expect(published).toMatchObject({ exitCode: 0, json: { sealedDigest: made.json["object"] } });
  const wrong = ["offers", "publish", net.file("x"), "--kind", "data", "--as", "clinic", "--consent", policy];
  expect(await refused(home, [...wrong, "--sealed", sealed])).toEqual({
    code: "OFFER_SEALED_OTHER",
    exitCode: 1,
  });

  const wallet = ["--owner", `0x${"a1".repeat(20)}`, "--signature", "0x1234"];
  const typed = await runJson(["--home", home, ...sign, "--owner", owner, "--typed-data"]);
  expect(typed.json).toMatchObject({ primaryType: "Consent", domain: { name: "Cloister consent" } });
  await putWallet(wallet[1] as string, "1626ba7e");
  expect((await runJson(["--home", home, ...sign, ...wallet])).json).toMatchObject({ signature: "0x1234" });
  await putWallet(wallet[1] as string, "ffffffff");
  expect(await refused(home, [...sign, ...wallet])).toEqual({
    code: "CONSENT_SIGNATURE_INVALID",
    exitCode: 1,
  });
  expect(await refused(home, sign)).toEqual({ code: "USAGE_SIGNER", exitCode: 2 });
});

test("the log of a network is the one that its authority certifies, and continues what the chain holds", async () => {
  const { json } = await runJson(["--home", home, "log", "head"]);
  expect(json).toMatchObject({
    size: expect.any(Number) as number,
    key: expect.stringContaining("cloister.local") as string,
  });
  const listed = await runJson(["--home", home, "log", "list", "--kind", "certificate", "--from", "0"]);
  const entries = listed.json["entries"] as { what: string; problem?: string }[];
  expect(entries[0]?.what).toContain("authority");
  expect(
    entries.slice(1).every(({ what, problem }) => what.startsWith("Certificate for node") && !problem),
  ).toBe(true);
  const looked = await runJson(["--home", home, "monitor", "--once", "--account", "clinic"]);
  expect(looked).toMatchObject({ exitCode: 0, json: { read: expect.any(Number) as number } });
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
