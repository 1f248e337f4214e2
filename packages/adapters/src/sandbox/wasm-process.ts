import { spawn, type ChildProcess, type ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { CloisterError, fromUtf8, toHex } from "@cloister/core";
import {
  inspectEngine,
  isEngineFileName,
  type Cancellation,
  type EngineFailureCode,
  type EngineFile,
  type EngineJob,
  type EngineLogs,
  type EngineResult,
  type Sandbox,
} from "@cloister/workload";
import { commandLine } from "./command-line.ts";
import { cutBlobs, frame, headerBytesMax, unframe, type RunnerAnswer, type RunnerEnd } from "./framing.ts";
import { findIsolation, type Isolation } from "./isolation.ts";

const CRASH_TEXT_BYTES_MAX = 64 * 1024;
const EMPTY = new Uint8Array();

/**
 * Makes the sandbox that runs each engine in a process of its own: Node under its permission model
 * (no files but the runner's own code, no children, no threads), without environment, with resource
 * limits set by the shell before it starts, and, where the kernel lets us, in an empty network
 * namespace and bound to die with this process. Inside, the engine has the WASI of spec/engine.md
 * over files in memory.
 */
export function createWasmSandbox(
  isolation: Isolation = findIsolation(),
): Sandbox & { readonly isolation: Isolation } {
  return {
    kind: "wasm-process",
    isolation,
    run: async (job, cancellation) => {
      const inspected = inspectEngine(job.module, job.limits.memoryBytes);
      if (!inspected.ok) {
        const [{ code, reason }] = inspected.refusals;
        return failure(code as EngineFailureCode, reason, 0, { stdout: EMPTY, stderr: EMPTY });
      }
      return judge(await runProcess(job, isolation, cancellation), job);
    },
  };
}

/** How the child process ended. */
interface ProcessEnd {
  readonly answer: Uint8Array;
  readonly crashText: string;
  readonly signal: NodeJS.Signals | null;
  readonly exitCode: number | null;
  readonly killed: "time" | "abort" | "size" | undefined;
}

async function runProcess(
  job: EngineJob,
  isolation: Isolation,
  cancellation: Cancellation | undefined,
): Promise<ProcessEnd> {
  if (cancellation?.aborted === true) throw aborted();
  const child = start(job, isolation);
  let killed: ProcessEnd["killed"];
  const kill = (why: NonNullable<ProcessEnd["killed"]>): void => {
    killed ??= why;
    child.kill("SIGKILL");
  };
  const timer = setTimeout(() => kill("time"), job.limits.wallMs);
  const onAbort = (): void => kill("abort");
  cancellation?.addEventListener("abort", onAbort);
  try {
    const { outputBytesMax, logBytesMax } = job.limits;
    const answerBytesMax = outputBytesMax + 2 * logBytesMax + headerBytesMax + 4;
    const answer = collect(child.stdout, answerBytesMax, () => kill("size"));
    const crash = collect(child.stderr, CRASH_TEXT_BYTES_MAX, () => undefined);
    const ended = waitFor(child);
    send(child, job);
    const { exitCode, signal } = await ended;
    return { answer: await answer, crashText: textOf(await crash), exitCode, signal, killed };
  } finally {
    clearTimeout(timer);
    cancellation?.removeEventListener("abort", onAbort);
  }
}

function start(job: EngineJob, isolation: Isolation): ChildProcessByStdio<Writable, Readable, Readable> {
  const [program, ...args] = commandLine(job.limits, isolation);
  try {
    return spawn(program, args, { env: {}, cwd: "/", stdio: ["pipe", "pipe", "pipe"] });
  } catch (cause) {
    throw unavailable("its process cannot be started", cause);
  }
}

function send(child: ChildProcess, job: EngineJob): void {
  const { limits } = job;
  const parts = frame(
    {
      moduleBytes: job.module.length,
      argsBytes: job.args.length,
      inputs: job.inputs.map(({ name, bytes }) => ({ name, sizeBytes: bytes.length })),
      seedHex: toHex(job.seed),
      clockMs: job.clockMs,
      memoryBytes: limits.memoryBytes,
      outputBytesMax: limits.outputBytesMax,
      outputFilesMax: limits.outputFilesMax,
      logBytesMax: limits.logBytesMax,
    },
    [job.module, job.args, ...job.inputs.map(({ bytes }) => bytes)],
  );
  // A child that dies early closes its pipe; how it ended is told by its exit.
  child.stdin?.on("error", () => undefined);
  for (const part of parts) child.stdin?.write(part);
  child.stdin?.end();
}

async function waitFor(
  child: ChildProcess,
): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once("error", (cause) => reject(unavailable("its process cannot be started", cause)));
    child.once("close", (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

async function collect(
  stream: NodeJS.ReadableStream | null,
  bytesMax: number,
  onExcess: () => void,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream ?? []) {
    size += chunk.length;
    if (size > bytesMax) onExcess();
    else chunks.push(chunk as Uint8Array);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

function judge(end: ProcessEnd, job: EngineJob): EngineResult {
  if (end.killed === "abort") throw aborted();
  const none: EngineLogs = { stdout: EMPTY, stderr: EMPTY };
  if (end.killed === "time") {
    return failure("ENGINE_TIME_EXCEEDED", `The engine ran longer than ${job.limits.wallMs} ms.`, 0, none);
  }
  if (end.killed === "size") throw unavailable("its answer is longer than any could be");
  if (end.signal === "SIGXCPU") {
    return failure(
      "ENGINE_TIME_EXCEEDED",
      `The engine used more than ${job.limits.cpuMs} ms of processor time.`,
      0,
      none,
    );
  }
  if (end.exitCode === 0 && end.killed === undefined) return readAnswer(end.answer, job);
  if (/out of memory|OOM/i.test(end.crashText)) {
    return failure(
      "ENGINE_MEMORY_EXCEEDED",
      "The engine filled the memory that its tables and objects may use.",
      0,
      none,
    );
  }
  // Anything else may as well be the host's doing (a kill for want of memory, a missing library).
  throw unavailable(`its process ended with ${end.signal ?? end.exitCode}: ${errorLine(end.crashText)}`);
}

function readAnswer(bytes: Uint8Array, job: EngineJob): EngineResult {
  let answer: RunnerAnswer;
  let blobs: Uint8Array[];
  try {
    const message = unframe(bytes);
    if (message === undefined) throw new RangeError("The answer is cut off.");
    answer = checkAnswer(JSON.parse(message.header) as RunnerAnswer);
    const sizes = [
      answer.stdoutBytes,
      answer.stderrBytes,
      ...answer.outputs.map((output) => output.sizeBytes),
    ];
    blobs = cutBlobs(message.rest, sizes);
  } catch (cause) {
    throw unavailable("its answer is malformed", cause);
  }
  const [stdout = EMPTY, stderr = EMPTY, ...contents] = blobs;
  const outputs = answer.outputs.map(({ name }, i) => ({ name, bytes: contents[i] ?? EMPTY }));
  return conclude(answer, outputs, { stdout, stderr }, job);
}

/** An engine that broke out of the runner would answer in its place, so the answer is read as a stranger's. */
function checkAnswer(answer: RunnerAnswer): RunnerAnswer {
  const { end, reason, exitCode, memoryBytes, stdoutBytes, stderrBytes, outputs } = answer;
  const known = end === "exited" || Object.hasOwn(ends, end);
  if (!known || typeof reason !== "string" || exitCode > 255) throw new RangeError("Its end is unknown.");
  const names = outputs.map(({ name }) => name);
  if (new Set(names).size !== names.length || !names.every(isEngineFileName)) {
    throw new RangeError("It names outputs that cannot be.");
  }
  const counts = [
    exitCode,
    memoryBytes,
    stdoutBytes,
    stderrBytes,
    ...outputs.map(({ sizeBytes }) => sizeBytes),
  ];
  if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0)) {
    throw new RangeError("A number in it is none.");
  }
  return answer;
}

function conclude(
  answer: RunnerAnswer,
  outputs: readonly EngineFile[],
  logs: EngineLogs,
  job: EngineJob,
): EngineResult {
  if (answer.end !== "exited") {
    const { code, sentence } = ends[answer.end];
    return failure(code, answer.reason === "" ? sentence : `${sentence} (${answer.reason})`, 0, logs);
  }
  if (answer.exitCode !== 0) {
    const reason = `The engine ended with exit code ${answer.exitCode}.`;
    return failure("ENGINE_EXITED_NONZERO", reason, answer.exitCode, logs);
  }
  if (outputs.length === 0) {
    return failure("ENGINE_NO_OUTPUT", "The engine ended without writing an output.", 0, logs);
  }
  // The runner enforced both limits already, but it could be an engine that answers.
  const sizeBytes = outputs.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (sizeBytes > job.limits.outputBytesMax || outputs.length > job.limits.outputFilesMax) {
    return failure("ENGINE_OUTPUT_TOO_LARGE", ends["output-exceeded"].sentence, 0, logs);
  }
  return { ok: true, outputs, logs, memoryBytes: answer.memoryBytes };
}

const ends: Readonly<
  Record<Exclude<RunnerEnd, "exited">, { readonly code: EngineFailureCode; readonly sentence: string }>
> = {
  malformed: { code: "ENGINE_MALFORMED", sentence: "The engine is not a valid module." },
  "import-forbidden": {
    code: "ENGINE_IMPORT_FORBIDDEN",
    sentence: "The engine imports what no engine is given.",
  },
  trapped: { code: "ENGINE_TRAPPED", sentence: "The engine trapped." },
  "memory-exceeded": {
    code: "ENGINE_MEMORY_EXCEEDED",
    sentence: "The engine trapped with its memory used up.",
  },
  "output-exceeded": {
    code: "ENGINE_OUTPUT_TOO_LARGE",
    sentence: "The engine wrote more bytes or files than it may.",
  },
};

function failure(code: EngineFailureCode, reason: string, exitCode: number, logs: EngineLogs): EngineResult {
  return { ok: false, code, reason, exitCode, logs };
}

function aborted(): CloisterError {
  return new CloisterError("SANDBOX_ABORTED", "The run was stopped before its end.");
}

function unavailable(why: string, cause?: unknown): CloisterError {
  return new CloisterError("SANDBOX_UNAVAILABLE", `The sandbox failed: ${why}.`, {
    hint: "The engine is not to blame; the run can be tried again.",
    cause,
  });
}

/** The line of a crash report that names the error. */
function errorLine(text: string): string {
  return (text.split("\n").find((line) => /error|fatal/i.test(line)) ?? text).trim().slice(0, 200);
}

function textOf(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    return "";
  }
}
