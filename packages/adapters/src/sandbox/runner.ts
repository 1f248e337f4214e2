/**
 * The program of the sandbox's child process: reads one job from standard input, runs the engine,
 * writes one answer to standard output, ends. It runs without environment, with no file but its own
 * code to read, and is killed from outside when it takes too long.
 */
import { createHash } from "node:crypto";
import { WASI, WASIProcExit } from "@bjorn3/browser_wasi_shim";
import { cutBlobs, frame, unframe, type RunnerAnswer, type RunnerEnd, type RunnerJob } from "./framing.ts";
import { Budget, EmptyDescriptor, FileTree, FolderDescriptor, LogDescriptor } from "./memory-files.ts";
import { webAssembly, type Engine } from "./web-assembly.ts";

interface End {
  readonly end: RunnerEnd;
  readonly reason: string;
  readonly exitCode: number;
}

/** A trap this close to the limit, in parts of the limit, is taken for want of memory. */
const MEMORY_FULL = 0.75;

async function readJob(): Promise<{ job: RunnerJob; blobs: Uint8Array[] }> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  const message = unframe(Buffer.concat(chunks));
  if (message === undefined) throw new Error("the job is cut off");
  const job = JSON.parse(message.header) as RunnerJob;
  const sizes = [job.moduleBytes, job.argsBytes, ...job.inputs.map((input) => input.sizeBytes)];
  return { job, blobs: cutBlobs(message.rest, sizes) };
}

async function answer({ job, blobs }: { job: RunnerJob; blobs: Uint8Array[] }): Promise<void> {
  const [module = new Uint8Array(), args = new Uint8Array(), ...contents] = blobs;
  const inputs = job.inputs.map(({ name }, i) => ({ name, bytes: contents[i] ?? new Uint8Array() }));
  const tree = new FileTree(args, inputs, new Budget(job.outputBytesMax, job.outputFilesMax));
  const stdout = new LogDescriptor(job.logBytesMax);
  const stderr = new LogDescriptor(job.logBytesMax);
  const root = new FolderDescriptor(tree, "", true);
  const wasi = new WASI(["engine"], [], [new EmptyDescriptor(), stdout, stderr, root], { debug: false });
  const { end, memoryBytes } = runEngine(module, wasi, job);
  const judged = tree.budget.exceeded ? outputExceeded : end;
  const outputs = judged.end === "exited" && judged.exitCode === 0 ? tree.outputs() : [];
  const header: RunnerAnswer = {
    ...judged,
    memoryBytes,
    stdoutBytes: stdout.bytes.length,
    stderrBytes: stderr.bytes.length,
    outputs: outputs.map(({ name, bytes }) => ({ name, sizeBytes: bytes.length })),
  };
  const parts = frame(header, [stdout.bytes, stderr.bytes, ...outputs.map(({ bytes }) => bytes)]);
  await new Promise<void>((resolve) => process.stdout.write(Buffer.concat(parts), () => resolve()));
}

function runEngine(bytes: Uint8Array, wasi: WASI, job: RunnerJob): { end: End; memoryBytes: number } {
  let engine: Engine;
  try {
    const module = new webAssembly.Module(bytes);
    engine = new webAssembly.Instance(module, {
      wasi_snapshot_preview1: { ...wasi.wasiImport, ...deterministicCalls(wasi, job) },
    });
  } catch (error) {
    return { end: notStarted(error), memoryBytes: 0 };
  }
  const end = start(engine, wasi);
  const memoryBytes = engine.exports.memory.buffer.byteLength;
  const full = end.end === "trapped" && memoryBytes >= MEMORY_FULL * job.memoryBytes;
  return { end: full ? { ...end, end: "memory-exceeded" } : end, memoryBytes };
}

function start(engine: Engine, wasi: WASI): End {
  try {
    return exited(wasi.start(engine));
  } catch (error) {
    if (error instanceof WASIProcExit) return exited(error.code);
    return { end: "trapped", reason: describe(error), exitCode: 0 };
  }
}

/** Exit codes are public, so an engine gets the eight bits that processes have, and not 32 to signal with. */
function exited(code: number): End {
  return { end: "exited", reason: "", exitCode: code === 0 ? 0 : code & 0xff || 1 };
}

function notStarted(error: unknown): End {
  if (error instanceof webAssembly.LinkError) {
    return { end: "import-forbidden", reason: describe(error), exitCode: 0 };
  }
  const trapped = error instanceof webAssembly.RuntimeError;
  return { end: trapped ? "trapped" : "malformed", reason: describe(error), exitCode: 0 };
}

const outputExceeded: End = {
  end: "output-exceeded",
  reason: "The engine wrote more than it may.",
  exitCode: 0,
};

/** V8's own words name no data of the engine's. */
function describe(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 200) : "the engine called what it may not";
}

/** The calls that would let the outside in: clock and entropy come from the job alone. */
function deterministicCalls(wasi: WASI, job: RunnerJob): Record<string, (...args: never[]) => number> {
  const view = (): DataView => new DataView((wasi.inst as unknown as Engine).exports.memory.buffer);
  const bytes = (): Uint8Array => new Uint8Array((wasi.inst as unknown as Engine).exports.memory.buffer);
  const draw = entropyFrom(job.seedHex);
  let elapsedNs = 0n;
  return {
    clock_res_get(_clock: number, result: number): number {
      view().setBigUint64(result, 1000n, true);
      return 0;
    },
    /** Time passes by one microsecond at each look, so that a loop that waits for it ends. */
    clock_time_get(clock: number, _precision: bigint, result: number): number {
      elapsedNs += 1000n;
      const startNs = clock === 0 ? BigInt(job.clockMs) * 1_000_000n : 0n;
      view().setBigUint64(result, startNs + elapsedNs, true);
      return 0;
    },
    random_get(address: number, length: number): number {
      const target = bytes().subarray(address >>> 0, (address >>> 0) + (length >>> 0));
      draw(target);
      return 0;
    },
    /** A wait for one clock is over at once, and the clock shows it. */
    poll_oneoff(subscriptions: number, events: number, count: number, result: number): number {
      const memory = view();
      if (count !== 1 || memory.getUint8(subscriptions + 8) !== 0) return ERRNO_NOTSUP;
      elapsedNs += memory.getBigUint64(subscriptions + 24, true) & 0xffff_ffff_ffffn;
      memory.setBigUint64(events, memory.getBigUint64(subscriptions, true), true);
      memory.setUint16(events + 8, 0, true);
      memory.setUint8(events + 10, 0);
      memory.setUint32(result, 1, true);
      return 0;
    },
    sched_yield: () => 0,
  };
}

const ERRNO_NOTSUP = 58;

/** SHA-256 of the seed and a counter, block after block. */
function entropyFrom(seedHex: string): (target: Uint8Array) => void {
  let block: Uint8Array = new Uint8Array();
  let at = 0;
  let counter = 0;
  return (target) => {
    for (let i = 0; i < target.length; i++) {
      if (at === block.length) {
        block = createHash("sha256").update(`${seedHex}:${counter++}`).digest();
        at = 0;
      }
      target[i] = block[at++] as number;
    }
  };
}

await answer(await readJob());
