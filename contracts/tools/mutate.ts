/**
 * Breaks the contracts' guards one at a time and reports which the tests notice.
 * `node contracts/tools/mutate.ts [--only TEXT]`; exits non-zero when a mutant survives.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findForge, runForge } from "./forge-test.ts";
import { MUTANTS, type Mutant } from "./mutants.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const FOLDER = join(ROOT, "cache", "mutants");
const WORK = join(FOLDER, "work");
/** Fewer runs than in a release: each mutant pays for its own. */
const ENV = {
  FOUNDRY_FUZZ_RUNS: "64",
  FOUNDRY_INVARIANT_RUNS: "2",
  FOUNDRY_INVARIANT_DEPTH: "120",
  // Only what changed is compiled again: tests find the contracts' code at run time.
  FOUNDRY_DYNAMIC_TEST_LINKING: "true",
};

type Fate = "killed" | "survived" | "broken";

/** The source with one guard changed. @throws {Error} when the text to change is not there exactly once. */
export function applyMutant(source: string, mutant: Mutant): string {
  if (source.split(mutant.find).length !== 2) {
    throw new Error(`"${mutant.find}" is not exactly once in ${mutant.file}`);
  }
  return source.replace(mutant.find, () => mutant.replace);
}

function prepare(): void {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(WORK, { recursive: true });
  for (const part of ["src", "test", "tools", "foundry.toml"]) {
    cpSync(join(ROOT, part), join(WORK, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "..", "node_modules"), join(FOLDER, "node_modules"));
}

async function judge(forge: string, mutant: Mutant): Promise<Fate> {
  const path = join(WORK, "src", mutant.file);
  const source = readFileSync(path, "utf8");
  writeFileSync(path, applyMutant(source, mutant));
  try {
    const { exitCode, output } = await runForge(forge, ["test", "--fail-fast"], ENV, false, WORK);
    if (exitCode === 0) return "survived";
    if (output.includes("[FAIL")) return "killed";
    process.stdout.write(`${output.slice(-1000)}\n`);
    return "broken";
  } finally {
    writeFileSync(path, source);
  }
}

async function main(): Promise<void> {
  const forge = findForge();
  if (forge === undefined) throw new Error("forge is not there: install Foundry 1.7.");
  const only = process.argv[process.argv.indexOf("--only") + 1];
  const chosen = process.argv.includes("--only")
    ? MUTANTS.filter((mutant) => mutant.guard.includes(only as string))
    : MUTANTS;
  prepare();
  const counts: Record<Fate, number> = { killed: 0, survived: 0, broken: 0 };
  for (const mutant of chosen) {
    const fate = await judge(forge, mutant);
    counts[fate]++;
    process.stdout.write(`${fate.padEnd(9)} ${mutant.file}: ${mutant.guard}\n`);
  }
  const { killed, survived, broken } = counts;
  process.stdout.write(
    `${chosen.length} mutants: ${killed} killed, ${survived} survived, ${broken} broken\n`,
  );
  process.exitCode = survived + broken === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
