/**
 * Breaks the contracts' guards one at a time and reports which the tests notice.
 * `node contracts/tools/mutate.ts [--only TEXT] [--from N] [--json]`; exits non-zero when a mutant survives.
 * `--from` goes on with the N-th of the list.
 *
 * The tests are built once, linked to the contracts at run time. Each mutant then costs one compilation of the
 * contracts, in this process, whose bytecode takes the place of the built one. Unit tests come first; only what
 * they let pass meets the invariants.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readFlags } from "@cloister/tools/flags";
import { exactly, printReport } from "@cloister/tools/report";
import { compile, type Artifact } from "./compile.ts";
import { findForge, runForge } from "./forge-test.ts";
import { CONTRACTS } from "./generate.ts";
import { MUTANTS, type Mutant } from "./mutants.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const FOLDER = join(ROOT, "cache", "mutants");
const WORK = join(FOLDER, "work");
/** Fewer runs than in a release: each mutant pays for its own. */
const ENV = {
  FOUNDRY_FUZZ_RUNS: "64",
  FOUNDRY_INVARIANT_RUNS: "2",
  FOUNDRY_INVARIANT_DEPTH: "150",
  FOUNDRY_DYNAMIC_TEST_LINKING: "true",
};
const STAGES = [
  ["test", "--fail-fast", "--no-match-contract", "MarketInvariantTest"],
  ["test", "--fail-fast", "--match-contract", "MarketInvariantTest"],
] as const;

type Fate = "killed" | "equivalent" | "survived" | "broken";

/** The source with one guard changed. @throws {Error} when the text to change is not there exactly once. */
export function applyMutant(source: string, mutant: Mutant): string {
  if (source.split(mutant.find).length !== 2) {
    throw new Error(`"${mutant.find}" is not exactly once in ${mutant.file}`);
  }
  return source.replace(mutant.find, () => mutant.replace);
}

/** Copies the contracts and builds them with their tests. @throws {Error} when the tests do not pass as it is. */
async function prepare(forge: string): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(WORK, { recursive: true });
  for (const part of ["src", "test", "tools", "foundry.toml"]) {
    cpSync(join(ROOT, part), join(WORK, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "..", "node_modules"), join(FOLDER, "node_modules"));
  for (const stage of STAGES) {
    const { exitCode, output } = await runForge(forge, stage, ENV, false, WORK);
    if (exitCode !== 0) throw new Error(`The tests fail without any mutant:\n${output.slice(-2000)}`);
  }
}

/** Puts compiled contracts where the tests find them. */
function install(artifacts: readonly Artifact[]): void {
  for (const { name, bytecode, runtimeBytecode } of artifacts) {
    const path = join(WORK, "out", `${name}.sol`, `${name}.json`);
    const built = JSON.parse(readFileSync(path, "utf8")) as {
      bytecode: { object: string };
      deployedBytecode: { object: string };
    };
    built.bytecode.object = bytecode;
    built.deployedBytecode.object = runtimeBytecode;
    writeFileSync(path, JSON.stringify(built));
  }
}

/** The contracts into which a source file is compiled. */
function contractsOf({ file }: Mutant): readonly (typeof CONTRACTS)[number][] {
  if (file === "libraries/Sheet.sol" || file === "libraries/Words.sol") return ["Market"];
  if (file === "libraries/MerkleLog.sol") return ["TransparencyLog"];
  const own = CONTRACTS.filter((name) => file === `${name}.sol`);
  return own.length === 0 ? CONTRACTS : own;
}

async function judge(forge: string, mutant: Mutant, intact: readonly Artifact[]): Promise<Fate> {
  const path = join("src", mutant.file);
  const source = applyMutant(readFileSync(join(WORK, path), "utf8"), mutant);
  try {
    const changed = compile(contractsOf(mutant), { [path]: source });
    install(intact.map((artifact) => changed.find(({ name }) => name === artifact.name) ?? artifact));
  } catch (error) {
    process.stderr.write(`${String(error)}\n`);
    return "broken";
  }
  for (const stage of STAGES) {
    const { exitCode, output } = await runForge(forge, stage, ENV, false, WORK);
    if (exitCode === 0) continue;
    if (output.includes("[FAIL")) return "killed";
    process.stderr.write(`${output.slice(-1000)}\n`);
    return "broken";
  }
  return "survived";
}

/** @throws {Error} when none is chosen, which would be a success that says nothing. */
export function chooseMutants(only: string | undefined, from: string): readonly Mutant[] {
  const skipped = Number(from) - 1;
  if (!Number.isInteger(skipped) || skipped < 0) throw new Error(`--from ${from} is no place in the list.`);
  const chosen = MUTANTS.slice(skipped).filter(({ guard }) => only === undefined || guard.includes(only));
  if (chosen.length === 0) throw new Error(`None of the ${MUTANTS.length} mutants is chosen.`);
  return chosen;
}

async function main(): Promise<void> {
  const forge = findForge();
  if (forge === undefined) throw new Error("forge is not there: install Foundry 1.7.");
  const {
    json = false,
    only,
    from = "1",
  } = readFlags("npm run mutate:contracts -- [--only TEXT] [--from N] [--json]", {
    only: { type: "string" },
    from: { type: "string" },
    json: { type: "boolean" },
  });
  const chosen = chooseMutants(only, from);
  await prepare(forge);
  const intact = compile(CONTRACTS);
  const counts: Record<Fate, number> = { killed: 0, equivalent: 0, survived: 0, broken: 0 };
  const survivors: string[] = [];
  for (const mutant of chosen) {
    const judged = await judge(forge, mutant, intact);
    const fate = judged === "survived" && mutant.equivalent !== undefined ? "equivalent" : judged;
    counts[fate]++;
    if (fate === "survived" || fate === "broken") survivors.push(mutant.guard);
    (json ? process.stderr : process.stdout).write(`${fate.padEnd(9)} ${mutant.file}: ${mutant.guard}\n`);
  }
  printReport(
    {
      name: "mutate:contracts",
      figures: { mutants: chosen.length, ...counts, survivors },
      goals: [
        exactly(
          "mutants of the contracts that the tests kill, or that the list says why none can",
          counts.killed + counts.equivalent,
          chosen.length,
        ),
      ],
    },
    json,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
