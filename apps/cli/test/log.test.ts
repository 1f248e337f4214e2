import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { digestFrom, digestOf, utf8, type Refusal } from "@cloister/core";
import {
  cosignCheckpoint,
  encodeLogEntry,
  formatNoteKey,
  isForkProof,
  parseCheckpoint,
  signOrderReport,
  TileReader,
  TransparencyLog,
  witnessKeyOf,
} from "@cloister/certification";
import { expect, test } from "vitest";
import { MemoryRecords } from "../../../packages/certification/test/memory-records.ts";
import { sampleIntegrity, sampleReport } from "../../../packages/certification/test/sample.ts";
import { witnessOf } from "../../../packages/certification/test/proof/forger.ts";
import {
  authorityStatement,
  issueAuthority,
  issueNode,
  key,
  node,
  NOW_MS,
  signer,
} from "../../../packages/certification/test/world.ts";
import { judgeAnchor, openLog, type LogHead } from "../src/network/log-access.ts";
import { LogWatch, type WatchStep } from "../src/network/log-watch.ts";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

const logKey = { name: "log.example/31337", key: key("log") };
const KEY = formatNoteKey(logKey);
const newLog = (): Promise<TransparencyLog> =>
  TransparencyLog.open(new MemoryRecords(), logKey, signer("log"));
const report = signOrderReport(sampleReport(), { identity: key("identity"), sign: signer("identity") });
const { orderId, client } = sampleIntegrity();
const statements = [
  encodeLogEntry({ kind: "certificate", statement: issueNode() }),
  encodeLogEntry({ kind: "order-report", statement: report.bytes }),
  encodeLogEntry({ kind: "order-report", statement: utf8("no report") }),
  utf8("of no kind"),
];
const noise = (from: number, to: number, word = "noise"): Uint8Array[] =>
  Array.from({ length: to - from }, (_, i) => utf8(`${word} ${from + i}`));

/** A server of a log's tiles over HTTP; which log it shows can be changed. */
async function serve(log: TransparencyLog) {
  const serveMore: (path: string) => Uint8Array | undefined = () => undefined;
  const shown = {
    log,
    serve: serveMore,
    spoil: (_path: string, bytes: Uint8Array): Uint8Array | undefined => bytes,
  };
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").slice(1);
    void shown.log.resource(path).then((found) => {
      const bytes = shown.serve(path) ?? (found === undefined ? undefined : shown.spoil(path, found));
      response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { shown, url, at: ["--url", url, "--key", KEY], [Symbol.dispose]: () => void server.close() };
}

async function grownLog(size: number, word?: string): Promise<TransparencyLog> {
  const log = await newLog();
  await log.append(statements);
  await log.append(noise(log.size, 10));
  if (size > 10) await log.append(noise(10, size, word));
  return log;
}

const codeIn = (json: Record<string, unknown>): unknown => (json["error"] as { code: string }).code;

test("the head is shown with its key, and can be kept and compared later", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(300));
  const file = folder.file("kept");
  const { exitCode, json } = await runJson(["log", "head", "-o", file, ...server.at]);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({ origin: logKey.name, size: 300, key: KEY, witnesses: [], witnessesMin: 0 });
  await server.shown.log.append(noise(300, 555));
  const later = await runCli(["log", "compare", file, ...server.at]);
  expect(later).toMatchObject({ exitCode: 0, stderr: "" });
  expect(later.stdout).toContain("tree of 555 entries continues the 300");
});

test("the head shows its witnesses, and counts for nothing with fewer of them than the authority asks for", async () => {
  using server = await serve(await grownLog(20));
  const names = ["a", "b", "c"];
  const log = {
    origin: logKey.name,
    key: logKey.key,
    witnesses: { countMin: 2, members: names.map(witnessOf) },
  };
  const authority = issueAuthority({ statement: { ...authorityStatement, log }, nowMs: Date.now() });
  const cosignedBy = (cosigners: string[]) => {
    const note = cosigners.reduce(
      (so, name) => cosignCheckpoint(so, witnessKeyOf(witnessOf(name)), NOW_MS, signer(name)),
      server.shown.log.checkpoint,
    );
    server.shown.serve = (path) => ({ authority, checkpoint: note })[path];
  };
  cosignedBy(["a", "c"]);
  const { exitCode, json } = await runJson(["log", "head", ...server.at]);
  expect(exitCode).toBe(0);
  const seen = ["a", "c"].map((name) => ({ node: witnessOf(name).node, atMs: NOW_MS }));
  expect(json).toMatchObject({ witnesses: seen, witnessesMin: 2 });
  expect((await runCli(["log", "head", ...server.at])).stdout).toContain("2, of whom 2 are due");
  for (const cosigners of [[], ["b"], ["b", "b"], ["b", "x"]]) {
    cosignedBy(cosigners);
    const refused = await runJson(["log", "head", ...server.at]);
    expect([codeIn(refused.json), refused.exitCode], cosigners.join()).toEqual(["LOG_WITNESSES_MISSING", 1]);
  }
});

test("entries are listed, found by whom they are about, and shown in full", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(40));
  const { json } = await runJson(["log", "list", "--about", orderId.slice(0, 12), ...server.at]);
  expect(json["entries"]).toMatchObject([{ index: 1, kind: "order-report" }]);
  const newest = await runJson(["log", "list", "--count", "3", ...server.at]);
  expect(newest.json["entries"]).toMatchObject([{ index: 37 }, { index: 38 }, { index: 39 }]);
  const file = folder.file("report");
  const shown = await runCli(["log", "show", "1", "-o", file, ...server.at]);
  expect(shown.stdout).toContain(`ran order ${orderId}: 1 outputs.`);
  expect(shown.stdout).toContain("Entry 1 of 40, proven");
  expect(new Uint8Array(readFileSync(file))).toEqual(report.bytes);
  const damaged = await runJson(["log", "show", "2", ...server.at]);
  expect(damaged.json).toMatchObject({ kind: "order-report", what: "Damaged." });
  expect((await runJson(["log", "show", "3", ...server.at])).json).toMatchObject({ kind: "unknown" });
});

test("the printed inclusion proof leads to the printed root", async () => {
  using server = await serve(await grownLog(300));
  const { json } = await runJson(["log", "prove", "257", ...server.at]);
  const { rootFromInclusion } = await import("@cloister/certification");
  const bytes = (hex: unknown): Uint8Array => new Uint8Array(Buffer.from(String(hex), "hex"));
  const path = (json["path"] as string[]).map(bytes);
  expect(rootFromInclusion(bytes(json["leaf"]), 257, 300, path)).toEqual(bytes(json["root"]));
});

test.each([
  [["show", "300"], "LOG_INDEX_UNKNOWN"],
  [["show", "many"], "USAGE_INVALID_ARGUMENT"],
  [["list", "--key", "x"], "LOG_KEY_MALFORMED"],
])("log %j is refused with %s", async (args, code) => {
  using server = await serve(await grownLog(300));
  expect(codeIn((await runJson(["log", ...server.at, ...args].toSorted(byCommand))).json)).toBe(code);
});

/** `log`, then the command below it, then all the rest. */
function byCommand(a: string, b: string): number {
  const rank = (word: string): number => ["log", "show", "prove", "list"].indexOf(word);
  return (rank(b) < 0 ? -9 : -rank(b)) - (rank(a) < 0 ? -9 : -rank(a));
}

test("a log that nobody serves, without its key, or signed by another is refused", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(20));
  const nobody = await runJson(["log", "head", "--url", "http://127.0.0.1:9", "--key", KEY]);
  expect([codeIn(nobody.json), nobody.exitCode]).toEqual(["LOG_UNREACHABLE", 3]);
  const [, url = ""] = server.at;
  const alone = await runJson(["--home", folder.path, "log", "head", "--url", url]);
  expect(codeIn(alone.json)).toBe("NETWORK_MISSING");
  const other = formatNoteKey({ ...logKey, key: key("another") });
  const stranger = await runJson(["log", "head", "--url", url, "--key", other]);
  expect(codeIn(stranger.json)).toBe("LOG_CHECKPOINT_UNSIGNED");
});

test("a server that hides or changes tiles or entries is not believed", async () => {
  using server = await serve(await grownLog(300));
  const refused = async (...args: string[]): Promise<unknown> =>
    codeIn((await runJson(["log", ...args, ...server.at])).json);
  server.shown.spoil = (path, bytes) => (path.startsWith("tile/0/") ? undefined : bytes);
  expect(await refused("show", "5")).toBe("LOG_TILE_MISSING");
  server.shown.spoil = (path, bytes) => (path.startsWith("tile/0/") ? bytes.map((byte) => byte ^ 1) : bytes);
  expect(await refused("show", "5")).toBe("LOG_INCLUSION_INVALID");
  server.shown.spoil = (path, bytes) => (path.startsWith("tile/entries") ? bytes.subarray(1) : bytes);
  expect(await refused("show", "5")).toBe("LOG_TILE_MALFORMED");
});

/** One look of a monitor that remembers in a folder, as a process of its own would take it. */
async function look(url: string, folder: string, ...subjects: string[]): Promise<WatchStep> {
  const access = await openLog(folder, { url, key: KEY }, Date.now());
  const watch = await LogWatch.open(access, folder, { subjects, account: undefined }, Date.now());
  return watch.step(Date.now());
}

test("a monitor hears once of what is about its subject", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(40));
  const state = ["--state", folder.file("m")];
  const first = await runJson([
    "monitor",
    "--once",
    "--about",
    client,
    "--about",
    node,
    ...state,
    ...server.at,
  ]);
  expect(first).toMatchObject({ exitCode: 0, json: { size: 40, read: 40 } });
  expect((first.json["findings"] as { index: number }[]).map(({ index }) => index)).toEqual([0, 1]);
  expect(await look(server.url, folder.file("m"), client)).toMatchObject({ read: 0, findings: [] });
  await server.shown.log.append([
    ...noise(40, 50),
    encodeLogEntry({ kind: "certificate", statement: issueNode({ identity: key("x") }) }),
  ]);
  const later = await look(server.url, folder.file("m"), node);
  expect(later.findings.map(({ index }) => index)).toEqual([50]);
});

/** Looks at a log, then at another story under its key, and gives what was said and kept. */
async function lookAt(first: TransparencyLog, second: TransparencyLog) {
  using folder = temporaryFolder();
  using server = await serve(first);
  expect((await look(server.url, folder.path)).refusal).toBeUndefined();
  server.shown.log = second;
  const { refusal, evidence = [] } = await look(server.url, folder.path);
  const files = evidence.map((file) => new Uint8Array(readFileSync(file)));
  // The story that was followed is still the one to hold the log to.
  expect((await look(server.url, folder.path)).refusal).toEqual(refusal);
  server.shown.log = first;
  expect((await look(server.url, folder.path)).refusal).toBeUndefined();
  expect(evidence.every((file) => existsSync(file))).toBe(true);
  return { code: refusal?.code, files };
}

test("a forked log is caught, and the two checkpoints that are kept prove it", async () => {
  const caught = await lookAt(await grownLog(300), await grownLog(300, "another story"));
  expect(caught.code).toBe("LOG_FORKED");
  const [seen, kept] = caught.files as [Uint8Array, Uint8Array];
  expect(isForkProof(kept, seen, logKey)).toBe(true);
});

test("a fork ends the command with exit code 1 and says where the evidence is", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(300));
  await look(server.url, folder.path);
  server.shown.log = await grownLog(300, "another story");
  const { exitCode, stdout, stderr } = await runCli(["monitor", "--state", folder.path, ...server.at]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
  expect(stderr).toContain("error LOG_FORKED: ");
  for (const name of readdirSync(folder.file("evidence"))) expect(stderr).toContain(name);
});

test("a fork that has grown past what was followed is caught too", async () => {
  expect((await lookAt(await grownLog(300), await grownLog(700, "another story"))).code).toBe("LOG_FORKED");
});

test("a log that was rolled back is caught, with both checkpoints", async () => {
  const caught = await lookAt(await grownLog(300), await grownLog(200));
  expect(caught.code).toBe("LOG_ROLLED_BACK");
  const sizes = caught.files.map((note) => parseCheckpoint(note).checkpoint.size);
  expect(sizes).toEqual([200, 300]);
});

test("a late copy of the checkpoint is no rollback while the log can prove what it signed since", async () => {
  using folder = temporaryFolder();
  const early = await grownLog(200);
  using server = await serve(await grownLog(300));
  await look(server.url, folder.path);
  server.shown.spoil = (path, bytes) => (path === "checkpoint" ? early.checkpoint : bytes);
  expect(await look(server.url, folder.path)).toEqual({ size: 200, read: 0, findings: [] });
});

test("entries that are not those of the signed tree are caught", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(300));
  server.shown.spoil = (path, bytes) => {
    const changed = bytes.slice();
    if (path.startsWith("tile/entries")) changed[changed.length - 1] = 0;
    return changed;
  };
  expect((await look(server.url, folder.path)).refusal?.code).toBe("LOG_FORKED");
});

test("a monitor's folder belongs to one log", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(20));
  await look(server.url, folder.path);
  const access = await openLog(folder.path, { url: server.url, key: KEY }, 0);
  const other = { ...access, key: { ...logKey, name: "other.example" } };
  const watched = { subjects: [], account: undefined };
  await expect(LogWatch.open(other, folder.path, watched, 0)).rejects.toMatchObject({
    code: "MONITOR_OTHER_LOG",
  });
});

test.each([
  [["--about", "0x1"], "USAGE_ABOUT_SHORT"],
  [["--account", "0x12"], "ADDRESS_MALFORMED"],
  [["--account", "nobody"], "ACCOUNT_NOT_FOUND"],
  [["--every", "0s"], "USAGE_INVALID_ARGUMENT"],
  [["--every", "999999d"], "USAGE_INVALID_ARGUMENT"],
])("monitor %j is refused with %s", async (args, code) => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(20));
  const { json } = await runJson(["--home", folder.path, "monitor", "--once", ...args, ...server.at]);
  expect(codeIn(json)).toBe(code);
});

test("a head is held against the root on the chain", async () => {
  const [log, other] = [await grownLog(300), await grownLog(300, "another story")];
  const headOf = (one: TransparencyLog): LogHead => ({
    note: one.checkpoint,
    checkpoint: parseCheckpoint(one.checkpoint).checkpoint,
    witnessed: { by: [], countMin: 0 },
    reader: new TileReader((path) => one.resource(path), one.size),
  });
  const anchor = { size: 300, root: digestFrom(log.root) };
  const code = (refusal: Refusal | undefined): string | undefined => refusal?.code;
  expect(code(await judgeAnchor(headOf(log), undefined))).toBeUndefined();
  expect(code(await judgeAnchor(headOf(log), anchor))).toBeUndefined();
  expect(code(await judgeAnchor(headOf(other), anchor))).toBe("LOG_FORKED");
  expect(code(await judgeAnchor(headOf(await grownLog(200)), anchor))).toBe("LOG_ROLLED_BACK");
  await log.append(noise(300, 700));
  expect(code(await judgeAnchor(headOf(log), anchor))).toBeUndefined();
  expect(code(await judgeAnchor(headOf(log), { ...anchor, root: digestOf(utf8("x")) }))).toBe("LOG_FORKED");
});

test("checkpoints that the log did not sign are no evidence against it", async () => {
  using folder = temporaryFolder();
  using server = await serve(await grownLog(20));
  const stranger = await TransparencyLog.open(new MemoryRecords(), { ...logKey, key: key("x") }, signer("x"));
  writeFileSync(folder.file("kept"), stranger.checkpoint);
  writeFileSync(folder.file("text"), "no checkpoint");
  const refused = async (file: string): Promise<unknown> =>
    codeIn((await runJson(["log", "compare", folder.file(file), ...server.at])).json);
  expect(await refused("kept")).toBe("LOG_CHECKPOINT_UNSIGNED");
  expect(await refused("text")).toBe("CHECKPOINT_MALFORMED");
});
