import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { DEPLOYMENT } from "../../../market/test/samples.ts";
import { openIndexStore } from "../../src/index-store/index.ts";
import { digestsOfEvents } from "./compliance.ts";
import { killChain } from "./scripted-chain.ts";

const PROGRAM = fileURLToPath(new URL("reader-process.ts", import.meta.url));

/** Runs a reader until it has said so many blocks, then does `strike` with it; tells how it ended. */
export async function readUntil(
  url: string,
  blocks: number,
  strike: (pid: number) => void | Promise<void>,
): Promise<{ readonly code: number | null; readonly errors: string }> {
  const child = spawn(process.execPath, [PROGRAM, url], { stdio: ["ignore", "pipe", "pipe"] });
  let [said, errors, struck] = [0, "", Promise.resolve()];
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
  child.stdout.on("data", (text: Buffer) => {
    const before = said;
    said += text.toString().split("\n").length - 1;
    if (before < blocks && said >= blocks) struck = Promise.resolve(strike(child.pid as number));
  });
  const [code] = (await once(child, "exit")) as [number | null];
  await struck;
  return { code, errors };
}

/** Kills readers of one index again and again, lets the last one finish, and compares with a straight replay. */
export async function surviveKills(url: string): Promise<void> {
  for (const blocks of [1, 9, 17, 4]) {
    const { code } = await readUntil(url, blocks, (pid) => void process.kill(pid, "SIGKILL"));
    expect(code).toBeNull();
  }
  await finishAndCompare(url);
}

/** Reads to the end and compares with a straight replay. */
export async function finishAndCompare(url: string): Promise<void> {
  expect(await readUntil(url, Number.POSITIVE_INFINITY, () => undefined)).toEqual({ code: 0, errors: "" });
  const store = await openIndexStore(url, DEPLOYMENT);
  const digests = Object.fromEntries(await store.digests());
  await store.close();
  expect(digests).toEqual(Object.fromEntries(digestsOfEvents(killChain().events())));
}
