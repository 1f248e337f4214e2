import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";

const RESTART_MS_MIN = 200;
const RESTART_MS_MAX = 5_000;
/** A child that ran this long is taken to be healthy, and its next restart is quick again. */
const HEALTHY_MS = 10_000;
const HELD_MS = 300;

/** One process of the local network: how to start it, and where its output goes. */
export interface ChildPlan {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Runs before every start, first or later. */
  readonly prepare?: () => void;
  readonly started?: (pid: number) => void;
  /** It leaves by itself once its standard input ends; a signal would make it take leave of others first. */
  readonly leavesWithPipe?: boolean;
  /** Asked when it has ended: while true it is not started again, for somebody wants it that way. */
  readonly held?: () => boolean;
}

export interface ChildView {
  readonly name: string;
  readonly pid: number | undefined;
  readonly restarts: number;
}

/**
 * Starts processes and starts them again when they die. Children hold the read end of a pipe as
 * standard input: when this process is killed, the pipe ends and they leave too.
 */
export class Children {
  readonly #children = new Map<string, RunningChild>();
  readonly #onRestart: (name: string, why: string) => void;

  constructor(onRestart: (name: string, why: string) => void = () => undefined) {
    this.#onRestart = onRestart;
  }

  start(plan: ChildPlan): void {
    const child = new RunningChild(plan, this.#onRestart);
    this.#children.set(plan.name, child);
    child.start();
  }

  views(): ChildView[] {
    return [...this.#children.values()].map((child) => child.view());
  }

  pid(name: string): number | undefined {
    return this.#children.get(name)?.view().pid;
  }

  /** Kills one child and does not start it again. */
  async lose(name: string): Promise<void> {
    await this.#children.get(name)?.stop(0);
    this.#children.delete(name);
  }

  /** Ends all children: politely, then by force. */
  async stop(graceMs = 4_000): Promise<void> {
    const children = [...this.#children.values()].toReversed();
    await Promise.all(children.map((child) => child.stop(graceMs)));
  }
}

class RunningChild {
  readonly #plan: ChildPlan;
  readonly #onRestart: (name: string, why: string) => void;
  #process: ChildProcess | undefined;
  #startedMs = 0;
  #restarts = 0;
  #delayMs = RESTART_MS_MIN;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(plan: ChildPlan, onRestart: (name: string, why: string) => void) {
    this.#plan = plan;
    this.#onRestart = onRestart;
  }

  view(): ChildView {
    return { name: this.#plan.name, pid: this.#process?.pid, restarts: this.#restarts };
  }

  start(): void {
    const { command, args, logFile, env, prepare, started } = this.#plan;
    prepare?.();
    mkdirSync(dirname(logFile), { recursive: true });
    const log = openSync(logFile, "a");
    const child = spawn(command, args, {
      stdio: ["pipe", log, log],
      env: { ...process.env, ...env },
    });
    closeSync(log);
    this.#process = child;
    this.#startedMs = Date.now();
    if (child.pid !== undefined) started?.(child.pid);
    child.stdin?.on("error", () => undefined);
    child.once("error", (error) => this.#ended(error.message));
    child.once("exit", (code, signal) => this.#ended(signal ?? `exit ${code}`));
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#process;
    if (child === undefined) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    if (this.#plan.leavesWithPipe === true) child.stdin?.end();
    else child.kill("SIGTERM");
    const force = setTimeout(() => child.kill("SIGKILL"), graceMs);
    await ended;
    clearTimeout(force);
  }

  #ended(why: string): void {
    if (this.#process === undefined) return;
    this.#process = undefined;
    if (this.#stopping) return;
    if (this.#plan.held?.() === true) return this.#waitToBeLetGo();
    const healthy = Date.now() - this.#startedMs > HEALTHY_MS;
    this.#delayMs = healthy ? RESTART_MS_MIN : Math.min(2 * this.#delayMs, RESTART_MS_MAX);
    this.#restarts++;
    this.#onRestart(this.#plan.name, why);
    this.#timer = setTimeout(() => this.start(), this.#delayMs);
  }

  #waitToBeLetGo(): void {
    this.#timer = setTimeout(() => {
      if (this.#plan.held?.() === true) this.#waitToBeLetGo();
      else this.start();
    }, HELD_MS);
  }
}

/** Whether a process of this machine runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
