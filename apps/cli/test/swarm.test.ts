import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fromHex, type Digest } from "@cloister/core";
import { decide, measurementSubject, signStatement, type Decision } from "@cloister/market";
import { Client } from "../src/network/client.ts";
import { freePortBase } from "../src/network/start.ts";
import { bin, runCli, runJson, temporaryFolder } from "./run-cli.ts";

/** One running network for every test below, in the order in which they stand. */
let net: ReturnType<typeof temporaryFolder>;
let home = "";

beforeAll(async () => {
  net = temporaryFolder();
  home = net.file("home");
  const port = String(await freePortBase());
  const { exitCode } = await cloister("up", "--detach", "--port-base", port);
  expect(exitCode).toBe(0);
  await Promise.all(["hospital", "other"].map((name) => cloister("account", "new", name)));
}, 120_000);
afterAll(async () => {
  await runCli(["--home", home, "down"]);
  net[Symbol.dispose]();
}, 30_000);

const cloister = (...args: readonly string[]) => runJson(["--home", home, ...args]);

async function refused(...args: readonly string[]) {
  const { exitCode, json } = await cloister(...args);
  return { code: (json["error"] as { code: string } | undefined)?.code ?? json, exitCode };
}

interface Status {
  readonly term: number;
  readonly leader: string;
  readonly members: readonly { name: string; id: string; state: string; answers: boolean }[];
}

async function statusOnce(condition: (status: Status) => boolean): Promise<Status> {
  for (;;) {
    const { json } = await cloister("swarm", "status");
    if (condition(json as unknown as Status)) return json as unknown as Status;
    await wait(100);
  }
}

function goalFile(...goals: readonly unknown[]): string {
  const file = net.file("goals.json");
  writeFileSync(file, JSON.stringify(goals));
  return file;
}

const NEAR = { id: "near", kind: "compute", size: { min: 2, max: 2 }, latencyMsMax: 5_000 };
const GPUS = { id: "gpus", kind: "inference", size: { min: 2, max: 2 }, gpusMin: 1 };

test("status names the leader, the quorum, and what each member's evidence says", async () => {
  const { json } = await cloister("swarm", "status");
  expect(json).toMatchObject({ simulated: true, voters: 3, quorum: 2 });
  const members = json["members"] as Record<string, unknown>[];
  expect(members.map(({ name, state, registered }) => [name, state, registered])).toEqual(
    ["node-1", "node-2", "node-3"].map((name) => [name, "alive", "active"]),
  );
  for (const { evidence, groups } of members) {
    expect(evidence).toMatchObject({ tee: "tdx", simulated: true, tcbStatus: "UpToDate" });
    expect((groups as string[]).toSorted()).toEqual(["compute", "key-release"]);
  }
});

test("status and top print tables off a terminal, without colors, and say SIMULATED", async () => {
  const shown = await runCli(["--home", home, "swarm", "status", "--matrix"]);
  expect(shown).toMatchObject({ exitCode: 0, stderr: "" });
  expect(shown.stdout).toMatch(
    /^chain {4}31337, block \d+, SIMULATED TEEs\nleader {3}node-\d \(term \d+\)\n/,
  );
  expect(shown.stdout).toMatch(/^node-\d\*? +0x[0-9a-f]{8}… +(alive|distrusted)/m);
  expect(shown.stdout).toMatch(/^ms +n1 +n2 +n3$/m);
  const top = await runCli(["--home", home, "swarm", "top"]);
  expect(top).toMatchObject({ exitCode: 0, stderr: "" });
  expect(top.stdout).toMatch(/^leader node-\d +term \d+ +members 3\/3 alive +quorum 2\/3/);
  expect(top.stdout).toMatch(/^★ node-\d +(alive|distrusted)/m);
  expect(top.stdout).not.toContain("\u001B");
});

const hasScript = spawnSync("script", ["--version"]).status === 0;

test.skipIf(!hasScript)("top fills a terminal, follows keys, and gives the terminal back on q", async () => {
  const command = `stty cols 80 rows 24; '${process.execPath}' '${bin}' --home '${home}' swarm top`;
  const child = spawn("script", ["-qec", command, "/dev/null"], { env: { ...process.env, TERM: "xterm" } });
  let screen = "";
  // A key that comes after the terminal was given back would be echoed behind its last words.
  const keys = [
    { when: "what happened", press: "m" },
    { when: "n1   n2   n3", press: "q" },
  ];
  child.stdout.on("data", (chunk: Buffer) => {
    screen += chunk.toString();
    if (keys[0] !== undefined && screen.includes(keys[0].when)) child.stdin.write(keys.shift()?.press);
  });
  const exitCode = await new Promise((resolve) => child.on("close", resolve));
  expect(exitCode).toBe(0);
  expect(screen).toContain("\u001B[?1049h");
  expect(screen.trimEnd().endsWith("\u001B[?25h\u001B[?1049l")).toBe(true);
  expect(screen).toContain("q end");
});

test("goals can be tried: who would form the group, or why nobody, and what would help", async () => {
  const { exitCode, json } = await cloister("swarm", "goals", "check", goalFile(NEAR, GPUS));
  const [near, gpus] = json["goals"] as Record<string, unknown>[];
  expect(exitCode).toBe(1);
  expect(near).toMatchObject({ goal: "near", met: true, refusals: [], misfits: [] });
  expect(near?.["members"]).toHaveLength(2);
  expect(gpus).toMatchObject({ goal: "gpus", met: false, refusals: [{ code: "GOAL_TOO_FEW_NODES" }, {}] });
  const text = (await runCli(["--home", home, "swarm", "goals", "check", goalFile(GPUS)])).stdout;
  expect(text).toContain("node-2 cannot be in it: it has 0 GPUs of at least 1.");
  expect(text).toContain("What would help: ");
});

test.each([
  ['{"id": "near",\n "kind": "compute",,}', /line 2 is not valid JSON/],
  ['{"id": "near"', /line 1 is not valid JSON/],
  ['{"id":"near","kind":"compute","size":{"min":3,"max":2}}', /must have a min that is not above/],
])("goals that cannot be read are refused where they go wrong: %s", async (text, words) => {
  const { exitCode, stderr } = await runCli(["--home", home, "swarm", "goals", "check", "-"], {
    stdin: text,
  });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^error GOAL_MALFORMED: /);
  expect(stderr).toMatch(words);
});

test("a goal is declared, met, explained, protected from others, and retired", async () => {
  const file = goalFile(NEAR);
  expect(await cloister("swarm", "goals", "declare", file, "--as", "hospital")).toMatchObject({
    exitCode: 0,
  });
  let explained = await cloister("swarm", "explain", "near");
  while (explained.json["standing"] !== "met") {
    await wait(200);
    explained = await cloister("swarm", "explain", "near");
  }
  expect(explained.json["group"]).toMatchObject({ goalId: "near", epoch: 1 });
  expect((explained.json["sentences"] as string[])[1]).toMatch(/^node-\d, node-\d meet it \(epoch 1\)\.$/);
  expect(await refused("swarm", "goals", "declare", file, "--as", "other")).toEqual({
    ...{ code: "GOAL_NOT_YOURS", exitCode: 1 },
  });
  expect(await refused("swarm", "goals", "retire", "near", "--as", "other")).toEqual({
    ...{ code: "GOAL_NOT_YOURS", exitCode: 1 },
  });
  expect(await cloister("swarm", "goals", "retire", "near", "--as", "hospital")).toMatchObject({
    ...{ exitCode: 0, json: { retired: "near" } },
  });
  expect((await cloister("swarm", "explain", "near")).json).toMatchObject({ standing: "retired" });
  const kept = (await cloister("swarm", "status")).json["groups"] as { goalId: string }[];
  expect(kept.map(({ goalId }) => goalId)).not.toContain("near");
  const goals = (await cloister("swarm", "goals")).json["goals"] as { goalId: string; standing: string }[];
  expect(goals.map(({ goalId, standing }) => [goalId, standing])).toEqual(
    expect.arrayContaining([
      ["near", "retired"],
      ["compute", "met"],
    ]),
  );
});

test.each([
  [["swarm", "explain", "nothing"], "GOAL_UNKNOWN", 4],
  [["swarm", "goals", "retire", "nothing", "--as", "hospital"], "GOAL_UNKNOWN", 4],
  [["swarm", "goals", "declare", "missing.json", "--as", "hospital"], "FILE_NOT_FOUND", 4],
  [["swarm", "goals", "frobnicate"], "USAGE_EXCESS_ARGUMENTS", 2],
  [["swarm", "top", "--interval", "often"], "USAGE_INVALID_ARGUMENT", 2],
  [["node", "drain", "node-9"], "NODE_NOT_FOUND", 4],
  [["node", "resume", "node-2"], "NODE_NOT_DRAINED", 1],
  [["node", "join", "--as", "hospital", "--region", "not a name"], "USAGE_INVALID_ARGUMENT", 2],
  [["node", "join", "--as", "hospital", "--listen", "everywhere"], "USAGE_LISTEN", 2],
  [["node", "join", "--as", "hospital", "--advertise", "7700"], "USAGE_ADVERTISE", 2],
])("%j is refused with its code", async (args, code, exitCode) => {
  expect(await refused(...args)).toEqual({ code, exitCode });
});

async function metrics(name: string): Promise<string> {
  const client = await Client.open(home);
  const url = client.network.nodes.find((node) => node.name === name)?.statusUrl ?? "";
  return (await fetch(`${url}/metrics`)).text();
}

test("metrics of a running node parse, line by line, and each family comes with help and type", async () => {
  const text = await metrics("node-1");
  const sample = /^[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? (\d+(\.\d+)?(e[+-]\d+)?|\+Inf)$/;
  const lines = text.trimEnd().split("\n");
  expect(lines.filter((line) => !/^# (HELP|TYPE) /.test(line) && !sample.test(line))).toEqual([]);
  const typed = new Set(lines.flatMap((line) => /^# TYPE (\S+)/.exec(line)?.[1] ?? []));
  const names = lines.flatMap((line) => /^([a-z_]+)[{ ]/.exec(line)?.[1] ?? []);
  const untyped = names.filter((name) => {
    return !typed.has(name) && !typed.has(name.replace(/_(bucket|sum|count)$/, ""));
  });
  expect(untyped).toEqual([]);
  expect(text).toMatch(/^cloister_handshakes_total\{side="server",outcome="ok"\} [1-9]/m);
  expect(text).toMatch(/^cloister_swarm_probe_duration_seconds_count [1-9]/m);
});

test("strangers that say nothing, or noise, change nothing for a running node, and are counted", async () => {
  const client = await Client.open(home);
  const port = Number(client.network.nodes[0]?.endpoint.split(":")[1]);
  const sockets = Array.from({ length: 300 }, (_, index) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => undefined);
    if (index % 3 === 0) socket.write("GET / HTTP/1.1\r\n\r\n");
    return socket;
  });
  await statusOnce(({ members }) => members.every(({ state }) => state === "alive"));
  while (
    !/^cloister_connections_refused_total\{reason="crowded-out"\} [1-9]/m.test(await metrics("node-1"))
  ) {
    await wait(50);
  }
  expect(await metrics("node-1")).toMatch(/outcome="TLS_FAILED"\} [1-9]/);
  for (const socket of sockets) socket.destroy();
});

test("a leader that is drained hands over, is gone until it is let come back, and comes back", async () => {
  const before = await statusOnce(({ leader }) => leader !== undefined);
  const leader = before.members.find(({ id }) => id === before.leader)?.name ?? "";
  const { exitCode, json } = await cloister("node", "drain", leader);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({ name: leader, led: true });
  const after = await statusOnce(({ term }) => term > before.term);
  expect(after.leader).not.toBe(before.leader);
  expect(after.members.find(({ name }) => name === leader)).toMatchObject({ answers: false });
  expect(await refused("node", "drain", leader)).toEqual({ code: "NODE_DRAINED", exitCode: 1 });
  expect(await cloister("node", "resume", leader)).toMatchObject({ exitCode: 0 });
  await statusOnce(({ members }) => members.every(({ state, answers }) => state === "alive" && answers));
}, 60_000);

test("when the builders revoke the measurement, open channels end by it", async () => {
  const client = await Client.open(home);
  const secrets = JSON.parse(readFileSync(net.file("home/host-secrets.json"), "utf8")) as {
    builder: string;
    deployer: string;
  };
  const { deployment } = client.chain;
  const { state } = await client.chain.refresh();
  const nodes = await client.nodes();
  const decision: Decision = {
    kind: "revokeMeasurement",
    subject: measurementSubject(nodes[0]?.measurement as Digest),
    ...{ value: 0n, round: state.round },
  };
  const signature = signStatement(deployment, "Decision", decision, fromHex(secrets.builder));
  await client.chain.send(decide(deployment, decision, [signature]), fromHex(secrets.deployer));
  // Whoever sees the block first cuts its peers, which then have nobody left to ask for evidence.
  const cut = /^cloister_attestations_total\{outcome="MEASUREMENT_NOT_APPROVED"\} [1-9]/m;
  const open = new RegExp(
    `^cloister_channel_evidence_age_seconds\\{peer="(${nodes.map(({ id }) => id).join("|")})"`,
    "m",
  );
  const pages = () => Promise.all(["node-1", "node-2", "node-3"].map(metrics));
  while (!(await pages()).some((page) => cut.test(page))) await wait(100);
  while ((await pages()).some((page) => open.test(page))) await wait(100);
}, 60_000);
