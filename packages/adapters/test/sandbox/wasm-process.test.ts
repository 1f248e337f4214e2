import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { assemble, hostileEngine, type HostileEngine } from "@cloister/examples/hostile-engines";
import { fromUtf8, toHex } from "@cloister/core";
import type { EngineLimits } from "@cloister/workload";
import { expect, test } from "vitest";
import { commandLine } from "../../src/sandbox/command-line.ts";
import { createWasmSandbox } from "../../src/sandbox/index.ts";
import { jobOf, limits } from "./jobs.ts";

const sandbox = createWasmSandbox();

const refusals: readonly [HostileEngine, string, Partial<EngineLimits>?][] = [
  ["loops-forever", "ENGINE_TIME_EXCEEDED", { wallMs: 1000 }],
  ["loops-forever", "ENGINE_TIME_EXCEEDED", { cpuMs: 1000 }],
  ["eats-memory", "ENGINE_MEMORY_EXCEEDED"],
  ["fills-the-heap", "ENGINE_MEMORY_EXCEEDED"],
  ["writes-too-much", "ENGINE_OUTPUT_TOO_LARGE"],
  ["writes-too-many-files", "ENGINE_OUTPUT_TOO_LARGE"],
  ["grows-a-file", "ENGINE_OUTPUT_TOO_LARGE"],
  ["traps", "ENGINE_TRAPPED"],
  ["overflows-stack", "ENGINE_TRAPPED"],
  ["exits-nonzero", "ENGINE_EXITED_NONZERO"],
  ["writes-nothing", "ENGINE_NO_OUTPUT"],
  ["imports-a-socket", "ENGINE_IMPORT_FORBIDDEN"],
  ["imports-the-host", "ENGINE_IMPORT_FORBIDDEN"],
  ["lacks-start", "ENGINE_MALFORMED"],
  ["two-memories", "ENGINE_MALFORMED"],
];

test.each(refusals)("an engine that %s ends with %s", async (name, code, changed) => {
  const result = await sandbox.run(jobOf(hostileEngine(name), { limits: changed ?? {} }));
  expect(result).toMatchObject({ ok: false, code, reason: expect.stringMatching(/^The engine .*[.)]$/) });
});

test("bytes that are no module, and a module whose code is invalid, are malformed", async () => {
  const invalid = hostileEngine("writes-nothing");
  invalid[invalid.length - 1] = 0x6a; // an addition without operands
  for (const module of [new Uint8Array(), new Uint8Array([0, 97, 115, 109]), invalid]) {
    expect(await sandbox.run(jobOf(module))).toMatchObject({ ok: false, code: "ENGINE_MALFORMED" });
  }
});

test("an engine that tries to open host files finds none of them", async () => {
  const result = await sandbox.run(jobOf(hostileEngine("opens-outside")));
  expect(result.ok).toBe(true);
  const found = result.ok ? result.outputs.map(({ name, bytes }) => [name, fromUtf8(bytes)]) : [];
  expect(found).toEqual([["found", "nothing"]]);
});

test("an engine cannot write to its inputs, its arguments or beside its outputs", async () => {
  const result = await sandbox.run(jobOf(hostileEngine("overwrites-input")));
  // Each attempt that succeeded would end with a code of its own.
  expect(result).toMatchObject({ ok: false, code: "ENGINE_EXITED_NONZERO", exitCode: 10 });
});

test("what an engine prints is kept up to the limit, and its exit code has eight bits", async () => {
  const result = await sandbox.run(jobOf(hostileEngine("prints-forever")));
  expect(result).toMatchObject({ ok: false, exitCode: 3 });
  expect(result.logs.stdout.length).toBe(limits.logBytesMax);
  expect(result.logs.stderr.length).toBe(limits.logBytesMax);
  const exits = await sandbox.run(jobOf(hostileEngine("exits-nonzero")));
  expect(fromUtf8(exits.logs.stderr)).toBe("The table has no label column.\n");
});

test.each([
  [259, 3],
  [256, 1],
  [-1, 255],
])("an engine that exits with %d is reported with the eight bits of %d", async (code, exitCode) => {
  const module = assemble(`(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const ${code}))))`);
  expect(await sandbox.run(jobOf(module))).toMatchObject({ code: "ENGINE_EXITED_NONZERO", exitCode });
});

/** Writes sixteen random bytes and the time to its output. */
const looksAround = assemble(`(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "outputs/seen")
  (func (export "_start")
    (drop (call $random (i32.const 128) (i32.const 16)))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 144)))
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 12) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)))
    (i32.store (i32.const 16) (i32.const 128))
    (i32.store (i32.const 20) (i32.const 24))
    (drop (call $write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))))`);

async function seen(options: { seed: Uint8Array; clockMs: number }): Promise<Uint8Array> {
  const result = await sandbox.run(jobOf(looksAround, options));
  if (!result.ok) throw new Error(result.reason);
  return result.outputs[0]?.bytes ?? new Uint8Array();
}

test("clock and entropy come from the job alone", async () => {
  const first = await seen({ seed: new Uint8Array(32), clockMs: 1_800_000_000_000 });
  const again = await seen({ seed: new Uint8Array(32), clockMs: 1_800_000_000_000 });
  const other = await seen({ seed: new Uint8Array(32).fill(1), clockMs: 1_800_000_000_000 });
  expect(toHex(again)).toBe(toHex(first));
  expect(toHex(other.subarray(0, 16))).not.toBe(toHex(first.subarray(0, 16)));
  const timeNs = new DataView(first.buffer, first.byteOffset).getBigUint64(16, true);
  expect(timeNs / 1_000_000n).toBe(1_800_000_000_000n);
});

test("an aborted run ends with SANDBOX_ABORTED, before and after its start", async () => {
  const job = jobOf(hostileEngine("loops-forever"));
  await expect(sandbox.run(job, AbortSignal.abort())).rejects.toMatchObject({ code: "SANDBOX_ABORTED" });
  const controller = new AbortController();
  const run = sandbox.run(job, controller.signal);
  setTimeout(() => controller.abort(), 200);
  await expect(run).rejects.toMatchObject({ code: "SANDBOX_ABORTED" });
});

test("a sandbox that cannot start says so instead of blaming the engine", async () => {
  const broken = createWasmSandbox({ networkNamespace: false, diesWithParent: false, prefix: ["/nowhere"] });
  const run = broken.run(jobOf(hostileEngine("writes-nothing")));
  await expect(run).rejects.toMatchObject({ code: "SANDBOX_UNAVAILABLE" });
});

/** Runs code where the runner would run, with all that protects the host from it. */
async function inRunner(code: string, cpuMs = 10_000): Promise<string> {
  const [program, ...args] = commandLine({ ...limits, cpuMs }, sandbox.isolation, ["-e", code]);
  const child = spawn(program, args, { env: {}, cwd: "/", stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await new Promise((resolve) => child.once("close", resolve));
  return text.trim();
}

test.each([
  ["read a host file", `require("fs").readFileSync("/etc/hostname")`],
  ["write a file", `require("fs").writeFileSync("/tmp/cloister-escape", "x")`],
  ["list a folder", `require("fs").readdirSync("/")`],
  [
    "start a process",
    `require("child_process").spawnSync("true").error && (() => { throw require("child_process").spawnSync("true").error })()`,
  ],
  ["start a thread", `new (require("worker_threads").Worker)("1", { eval: true })`],
  ["load native code", `process.dlopen({ exports: {} }, "/lib/x86_64-linux-gnu/libc.so.6")`],
])("the runner process cannot %s", async (_what, code) => {
  const said = await inRunner(
    `try { ${code}; console.log("DONE") } catch (error) { console.log(error.code) }`,
  );
  expect(said).toMatch(/^ERR_(ACCESS_DENIED|DLOPEN_DISABLED)$/);
});

test("the runner process has no environment and cannot make code from text", async () => {
  expect(await inRunner(`console.log(JSON.stringify(process.env))`)).toBe("{}");
  expect(
    await inRunner(`try { new Function("1")(); console.log("DONE") } catch (e) { console.log(e.name) }`),
  ).toBe("EvalError");
});

test("the runner process reaches no socket of the host", async (ctx) => {
  if (!sandbox.isolation.networkNamespace) ctx.skip("This host lets nobody make a network namespace.");
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const connect = `require("net").connect(${port}, "127.0.0.1")
    .on("connect", () => console.log("DONE")).on("error", (error) => console.log(error.code))`;
  expect(await inRunner(connect)).toMatch(/^(ENETUNREACH|ECONNREFUSED|ERR_ACCESS_DENIED)$/);
  server.close();
});

test("the kernel ends a process that uses up its processor time", async () => {
  expect(await inRunner(`setTimeout(() => console.log("DONE"), 3000); while (true);`, 1000)).toBe("");
});

test("the runner dies with the process that started it", async (ctx) => {
  if (!sandbox.isolation.diesWithParent) ctx.skip("This host has no setpriv.");
  const script = `
    const { createWasmSandbox } = await import(${JSON.stringify(import.meta.resolve("../../src/sandbox/index.ts"))});
    const { hostileEngine } = await import(${JSON.stringify(import.meta.resolve("@cloister/examples/hostile-engines"))});
    const limits = ${JSON.stringify({ ...limits, wallMs: 60_000, cpuMs: 60_000 })};
    const module = hostileEngine("loops-forever");
    const empty = new Uint8Array();
    void createWasmSandbox().run({ module, args: empty, inputs: [], seed: empty, clockMs: 0, limits });
    console.log("started");`;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve, reject) => {
    parent.stdout.once("data", resolve);
    parent.once("exit", () => reject(new Error("The parent ended before it started the engine.")));
  });
  const children = readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, "utf8").trim();
  expect(children).toMatch(/^\d+$/);
  parent.kill("SIGKILL");
  for (let tries = 0; tries < 200 && isRunning(children); tries++) await sleep(50);
  expect(isRunning(children)).toBe(false);
});

function isRunning(pid: string): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
