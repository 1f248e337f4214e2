import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import type { Address, Hex32 } from "@cloister/core";
import type { ProofChain, StateProof } from "../src/index.ts";

/** Path of the real EVM chain for tests, or undefined where its package is not installed. */
export const anvil = anvilBinary();

function anvilBinary(): string | undefined {
  try {
    const path = createRequire(import.meta.url).resolve("@foundry-rs/anvil-linux-amd64/bin/anvil");
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** Starts a chain of its own on a free port. */
export async function startAnvil(binary: string, args: readonly string[] = []) {
  const running = spawn(binary, ["--port", "0", ...args], { stdio: ["ignore", "pipe", "ignore"] });
  const port = await new Promise<string>((resolve, reject) => {
    let output = "";
    running.stdout.on("data", (chunk: Uint8Array) => {
      output += String(chunk);
      const listening = /Listening on 127\.0\.0\.1:(\d+)/.exec(output)?.[1];
      if (listening !== undefined) resolve(listening);
    });
    running.once("exit", () => reject(new Error(`anvil ended: ${output}`)));
  });
  const call = async (method: string, params: readonly unknown[]): Promise<unknown> => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`http://127.0.0.1:${port}`, { method: "POST", headers, body });
    const { result, error } = (await answer.json()) as { result?: unknown; error?: unknown };
    if (error !== undefined) throw new Error(JSON.stringify(error));
    return result;
  };
  const chain: ProofChain = {
    latestBlock: async () =>
      (await call("eth_getBlockByNumber", ["latest", false])) as Record<string, unknown>,
    stateProof: async (address: Address, slots: readonly Hex32[], blockNumber: number) =>
      (await call("eth_getProof", [address, slots, `0x${blockNumber.toString(16)}`])) as StateProof,
  };
  return { ...chain, call, stop: () => running.kill("SIGKILL") };
}
