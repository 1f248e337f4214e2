/** Runs the commands that check and test are made of. */
import { spawn } from "node:child_process";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

export interface Finished {
  readonly exitCode: number;
  readonly output: string;
  readonly durationMs: number;
}

/**
 * Runs a command in the repository's root with the locked tools first on PATH, and waits for its end.
 * With `echo` its output is shown while it runs; it is collected either way.
 */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { echo?: boolean; env?: Readonly<Record<string, string>> } = {},
): Promise<Finished> {
  const startedMs = Date.now();
  const path = `${root}/node_modules/.bin${delimiter}${process.env["PATH"] ?? ""}`;
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...options.env, PATH: path },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const collect = (chunk: Buffer): void => {
    output += chunk.toString("utf8");
    if (options.echo === true) process.stdout.write(chunk);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  return new Promise((resolve) => {
    child.on("error", (error) => {
      resolve({ exitCode: 127, output: `${output}${error.message}\n`, durationMs: Date.now() - startedMs });
    });
    child.on("close", (code) => {
      resolve({ exitCode: code ?? 1, output, durationMs: Date.now() - startedMs });
    });
  });
}
