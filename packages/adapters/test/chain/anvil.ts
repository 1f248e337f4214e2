import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** A chain of its own for one test file. */
export interface Anvil {
  readonly rpcUrl: string;
  readonly port: number;
  kill(): Promise<void>;
}

/** The path of anvil's binary, or undefined on a platform without the package. */
export function findAnvil(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve("@foundry-rs/anvil-linux-amd64/package.json");
    return join(dirname(manifest), "bin", "anvil");
  } catch {
    return undefined;
  }
}

/** Starts anvil on a free port and waits until it listens. */
export async function startAnvil(args: readonly string[] = [], port = 0): Promise<Anvil> {
  const child = spawn(findAnvil() as string, ["--host", "127.0.0.1", "--port", String(port), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const listening = await listeningPort(child);
  return {
    rpcUrl: `http://127.0.0.1:${listening}`,
    port: listening,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

async function listeningPort(child: ChildProcess): Promise<number> {
  let printed = "";
  for await (const chunk of child.stdout as AsyncIterable<Uint8Array>) {
    printed += String(chunk);
    const port = /Listening on [\d.]+:(\d+)/.exec(printed)?.[1];
    if (port !== undefined) {
      child.stdout?.resume();
      return Number(port);
    }
  }
  throw new Error(`anvil ended: ${printed}`);
}
