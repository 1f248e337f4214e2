/**
 * `npm run test:s3`: starts Ceph with its S3 gateway on one machine, in memory, on the loopback address, and runs the
 * suite of object stores against it. Debian has it: `apt-get install ceph-mon ceph-osd ceph-common radosgw`. Another
 * server is tried with `--endpoint URL`; it must know the keys in `packages/adapters/test/store/s3-real.test.ts`.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { readFlags } from "@cloister/tools/flags";
import { exactly, printReport } from "@cloister/tools/report";

const flags = readFlags("npm run test:s3 -- [--endpoint URL] [--json]", {
  endpoint: { type: "string" },
  json: { type: "boolean", default: false },
});
const TOOLS = ["ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"];
const SUITE = "packages/adapters/test/store/s3-real.test.ts";
const START_MS = 90_000;

const folder = mkdtempSync(join(tmpdir(), "cloister-s3-"));
const running: ChildProcess[] = [];
try {
  const endpoint = flags.endpoint ?? (await startCeph());
  const { passed, failed, skipped } = runSuite(endpoint);
  const goals = [exactly("tests that failed", failed, 0), exactly("tests that were skipped", skipped, 0)];
  printReport(
    { name: "s3", figures: { server: flags.endpoint ?? cephVersion(), passed }, goals },
    flags.json,
  );
} finally {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
}

function runSuite(endpoint: string): { passed: number; failed: number; skipped: number } {
  const report = join(folder, "report.json");
  const run = spawnSync("vitest", ["run", SUITE, "--reporter=json", `--outputFile=${report}`], {
    stdio: ["ignore", 2, 2],
    env: { ...process.env, CLOISTER_TEST_S3: endpoint },
  });
  if (run.error !== undefined) throw run.error;
  const counted = JSON.parse(readFileSync(report, "utf8")) as Record<string, number>;
  const count = (name: string) => counted[name] ?? Number.NaN;
  return {
    passed: count("numPassedTests"),
    failed: count("numFailedTests"),
    skipped: count("numPendingTests"),
  };
}

/** A monitor, one disk in memory, the gateway, and a person who may use it. */
async function startCeph(): Promise<string> {
  const missing = TOOLS.filter((tool) => spawnSync(tool, ["--version"]).error !== undefined);
  if (missing.length > 0) {
    console.error(`Missing here: ${missing.join(", ")}.`);
    console.error("Install ceph-mon, ceph-osd, ceph-common and radosgw, or name a server with --endpoint.");
    process.exit(3);
  }
  const [cluster, disk] = [randomUUID(), randomUUID()];
  const [monitorPort, gatewayPort] = [await freePort(), await freePort()];
  writeConfiguration(cluster, monitorPort, gatewayPort);
  const keyring = join(folder, "keyring");
  call("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *");
  const all = ["mon", "osd", "mgr"].flatMap((kind) => ["--cap", kind, "allow *"]);
  call("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", ...all);
  const map = join(folder, "monmap");
  call("monmaptool", "--create", "--fsid", cluster, "--addv", "a", `[v2:127.0.0.1:${monitorPort}]`, map);
  call("ceph-mon", "--mkfs", "-i", "a", "--monmap", map, "--keyring", keyring);
  daemon("ceph-mon", "-f", "-i", "a");
  call("ceph", "--connect-timeout", "30", "osd", "new", disk);
  appendFileSync(
    keyring,
    call("ceph", "auth", "get-or-create", "osd.0", "mon", "allow profile osd", "osd", "allow *"),
  );
  call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk);
  daemon("ceph-osd", "-f", "-i", "0");
  daemon("radosgw", "-f", "-n", "client.admin");
  const endpoint = `http://127.0.0.1:${gatewayPort}`;
  await untilAnswering(endpoint);
  const keys = ["--access-key", "test-key", "--secret", "test-secret", "--max-buckets", "0"];
  call("radosgw-admin", "user", "create", "--uid", "test", "--display-name", "test", ...keys);
  return endpoint;
}

function writeConfiguration(cluster: string, monitorPort: number, gatewayPort: number): void {
  for (const name of ["mon", "osd", "rgw"]) mkdirSync(join(folder, name));
  const settings = {
    fsid: cluster,
    "mon host": `v2:127.0.0.1:${monitorPort}/0`,
    "public addr": "127.0.0.1",
    keyring: join(folder, "keyring"),
    "osd pool default size": 1,
    "osd pool default min size": 1,
    "osd pool default pg num": 1,
    "osd pool default pgp num": 1,
    "osd pool default pg autoscale mode": "off",
    "mon max pg per osd": 1000,
    "mon allow pool size one": true,
    "osd crush chooseleaf type": 0,
    "osd objectstore": "memstore",
    "memstore device bytes": 2 ** 31,
    "run dir": folder,
    "admin socket": join(folder, "$name.$pid.asok"),
    "log file": join(folder, "$name.log"),
    "pid file": join(folder, "$name.$pid.pid"),
    "mon data": join(folder, "mon"),
    "osd data": join(folder, "osd"),
    "rgw data": join(folder, "rgw"),
    "rgw frontends": `beast endpoint=127.0.0.1:${gatewayPort}`,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(join(folder, "ceph.conf"), `[global]\n${lines.join("\n")}\n`);
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, CEPH_CONF: join(folder, "ceph.conf") };
}

function call(program: string, ...args: string[]): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: environment(),
  });
}

function daemon(program: string, ...args: string[]): void {
  running.push(spawn(program, args, { stdio: "ignore", env: environment() }));
}

async function untilAnswering(endpoint: string): Promise<void> {
  for (const until = Date.now() + START_MS; Date.now() < until; await wait(250)) {
    const answer = await fetch(endpoint).catch(() => undefined);
    if (answer?.ok === true) return;
    if (running.some((child) => child.exitCode !== null)) break;
  }
  const ended = running.find((child) => child.exitCode !== null);
  throw new Error(`Ceph did not start: ${ended?.spawnfile ?? "its gateway"} ended or never answered.`);
}

async function stopAll(): Promise<void> {
  const left = running.filter((child) => child.exitCode === null && child.signalCode === null);
  const ended = left.map((child) => new Promise((resolve) => child.once("exit", resolve)));
  // Nothing in it is wanted any more.
  for (const child of left.toReversed()) child.kill("SIGKILL");
  await Promise.all(ended);
}

function cephVersion(): string {
  return /ceph version (\S+)/.exec(call("radosgw", "--version"))?.[1] ?? "unknown";
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
