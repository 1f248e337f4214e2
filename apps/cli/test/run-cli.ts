/** Runs the program as a person would: a real process, nothing shared with the test but files. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const bin: string = fileURLToPath(new URL("../bin/cloister.mjs", import.meta.url));

export interface Ran {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly stdin?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** The program before the arguments; by default this Node with the cloister program. */
  readonly command?: readonly [string, ...string[]];
}

export function runCli(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const [program, ...before] = options.command ?? [process.execPath, bin];
  const { NODE_OPTIONS: _, NO_COLOR: __, CLOISTER_HOME: ___, ...env } = process.env;
  const child = spawn(program, [...before, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: { ...env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.stdin ?? "");
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (exitCode) => {
      resolve({ exitCode, stdout, stderr });
    });
  });
}

/** Runs with `--json` and reads the document. */
export async function runJson(
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ exitCode: number | null; json: Record<string, unknown> }> {
  const { exitCode, stdout } = await runCli([...args, "--json"], options);
  return { exitCode, json: JSON.parse(stdout) as Record<string, unknown> };
}

/** A folder that is gone when the `using` block ends. */
export function temporaryFolder(): { readonly path: string; file(name: string): string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "cloister-cli-"));
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** A disk of 64 KiB on a folder, gone when the `using` block ends; undefined when this user may not mount one. */
export function smallDisk(folder: string): Disposable | undefined {
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]).status === 0;
  return mounted ? { [Symbol.dispose]: () => void spawnSync("umount", [folder]) } : undefined;
}
