/**
 * Tests the contracts with forge: a short run as part of `npm test`, or with `--full` 10,000 runs of each
 * fuzz test and 256 sequences of 500 calls. The last line says `N passed, M failed, K skipped`.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const PROFILES = {
  short: { FOUNDRY_FUZZ_RUNS: "100", FOUNDRY_INVARIANT_RUNS: "3", FOUNDRY_INVARIANT_DEPTH: "150" },
  full: { FOUNDRY_FUZZ_RUNS: "10000", FOUNDRY_INVARIANT_RUNS: "256", FOUNDRY_INVARIANT_DEPTH: "500" },
} as const;

/** The path of forge: of the package for this platform, else of an installed Foundry. */
export function findForge(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve("@foundry-rs/forge-linux-amd64/package.json");
    return join(dirname(manifest), "bin", "forge");
  } catch {
    const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
    return folders.map((folder) => join(folder, "forge")).find((path) => existsSync(path));
  }
}

/** Runs forge in the contracts' folder and gives its exit code and what it printed. */
export async function runForge(
  forge: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  show: boolean,
  cwd = ROOT,
): Promise<{ exitCode: number; output: string }> {
  // forge starts the compiler's shim, which must find the same Node as this program.
  const path = `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`;
  const child = spawn(forge, args, {
    cwd,
    env: { ...process.env, PATH: path, FOUNDRY_DISABLE_NIGHTLY_WARNING: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const take = (chunk: Uint8Array): void => {
    output += String(chunk);
    if (show) process.stdout.write(chunk);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const exitCode = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 1)));
  return { exitCode, output };
}

/** Adds up what forge says at the end of its run. */
export function countTests(output: string): { passed: number; failed: number; skipped: number } {
  const line = /(\d+) tests passed, (\d+) failed, (\d+) skipped/.exec(output);
  const [passed, failed, skipped] = line === null ? [0, 1, 0] : line.slice(1).map(Number);
  return { passed: passed ?? 0, failed: failed ?? 1, skipped: skipped ?? 0 };
}

/** Runs one of the profiles, shows it, and sets this program's exit code. */
export async function testContracts(profile: keyof typeof PROFILES): Promise<void> {
  const forge = findForge();
  if (forge === undefined) {
    process.stdout.write(
      "forge has no package for this platform and is not on the PATH: install Foundry 1.7.\n",
    );
    process.stdout.write("0 passed, 0 failed, 1 skipped\n");
    return;
  }
  // With logs, for the line that says which entry points the invariants' handler reached.
  const { exitCode, output } = await runForge(forge, ["test", "-vv"], PROFILES[profile], true);
  const { passed, failed, skipped } = countTests(output);
  const coverage = /coverage: .*/.exec(output)?.[0];
  if (coverage !== undefined) process.stdout.write(`${coverage}\n`);
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  process.exitCode = exitCode;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await testContracts(process.argv.includes("--full") ? "full" : "short");
