import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { atEnd } from "./at-end.ts";

export interface ProcessPlan {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** What it writes is kept here too. */
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  line(line: string): void;
}

/** One process that a test starts, strikes and starts again. Its standard input is a pipe that ends with this one. */
export class SteeredProcess {
  readonly #plan: ProcessPlan;
  readonly #log: WriteStream;
  #child: ChildProcess | undefined;
  #frozen = false;

  constructor(plan: ProcessPlan) {
    this.#plan = plan;
    this.#log = createWriteStream(plan.logFile, { flags: "a" });
  }

  get name(): string {
    return this.#plan.name;
  }

  get runs(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  start(): void {
    const { command, args, env, line } = this.#plan;
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });
    child.stdin?.on("error", () => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      stream.pipe(this.#log, { end: false });
      createInterface({ input: stream }).on("line", line);
    }
    const ended = atEnd(() => child.kill("SIGKILL"));
    child.once("exit", ended);
    this.#child = child;
    this.#frozen = false;
  }

  /** Ends it without warning (SIGKILL). */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  /** Stops it where it is (SIGSTOP): its sockets stay open and nobody answers on them. */
  freeze(): void {
    this.#frozen = true;
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#frozen = false;
    this.#child?.kill("SIGCONT");
  }

  /** Asks it to end, and waits. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.runs) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    if (this.#frozen) this.thaw();
    child.kill(signal);
    const force = setTimeout(() => child.kill("SIGKILL"), 4_000);
    await ended;
    clearTimeout(force);
  }
}
