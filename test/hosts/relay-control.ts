import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { atEnd } from "./at-end.ts";
import type { LinkPlan, LinkTreatment } from "./link.ts";
import type { RelayOrder } from "./relay.ts";

const PROGRAM = fileURLToPath(new URL("relay.ts", import.meta.url));

/** The relay as whoever steers it sees it. */
export class Relay {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (error: string | undefined) => void>();
  #nextId = 1;

  /** @param prefix What the command line begins with, for a relay that runs elsewhere. */
  constructor(prefix: readonly string[] = []) {
    const [command, ...args] = [...prefix, process.execPath, PROGRAM];
    this.#process = spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#process.once(
      "exit",
      atEnd(() => this.#process.kill("SIGKILL")),
    );
    this.#process.on("message", ({ id, error }: { id: number; error?: string }) => {
      this.#waiting.get(id)?.(error);
      this.#waiting.delete(id);
    });
  }

  open(links: readonly LinkPlan[]): Promise<void> {
    return this.#order({ kind: "open", links });
  }

  treat(names: readonly string[], treatment: LinkTreatment): Promise<void> {
    return this.#order({ kind: "treat", names, treatment });
  }

  stop(): void {
    if (this.#process.connected) this.#process.disconnect();
  }

  #order(order: RelayOrder): Promise<void> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (error) => (error === undefined ? resolve() : reject(new Error(error))));
      this.#process.send({ id, order });
    });
  }
}
