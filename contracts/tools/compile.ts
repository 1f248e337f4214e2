/** Compiles the contracts with solc-js, with the settings that foundry.toml names too. */
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const MODULES = join(ROOT, "..", "node_modules");

/** What the compiler says about one contract. */
export interface Artifact {
  readonly name: string;
  readonly abi: readonly unknown[];
  readonly bytecode: `0x${string}`;
  readonly runtimeBytecode: `0x${string}`;
  readonly runtimeBytes: number;
}

interface SolcOutput {
  readonly errors?: readonly { severity: string; formattedMessage: string }[];
  readonly contracts: Record<
    string,
    Record<
      string,
      {
        abi: readonly unknown[];
        evm: { bytecode: { object: string }; deployedBytecode: { object: string } };
      }
    >
  >;
}

interface Solc {
  compile(
    input: string,
    callbacks: { import: (path: string) => { contents: string } | { error: string } },
  ): string;
  version(): string;
}

const SETTINGS = {
  viaIR: true,
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "cancun",
  metadata: { bytecodeHash: "none", appendCBOR: false },
};
const OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"];

/** Every Solidity file below a folder, as paths relative to the contracts' root, sorted. */
export function sourcesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".sol"))
    .map((path) => join(folder, path))
    .toSorted();
}

/**
 * Compiles all sources, some of them perhaps replaced, and gives the contracts of that name.
 * @throws {Error} with the compiler's own words
 */
export function compile(
  names: readonly string[],
  replaced: Readonly<Record<string, string>> = {},
): Artifact[] {
  const solc = createRequire(import.meta.url)("solc") as Solc;
  const sources = Object.fromEntries(
    sourcesIn("src").map((path) => [
      path,
      { content: replaced[path] ?? readFileSync(join(ROOT, path), "utf8") },
    ]),
  );
  // Only the contracts asked for are translated, which is most of the work.
  const outputSelection = { "*": Object.fromEntries(names.map((name) => [name, OUTPUTS])) };
  const settings = { ...SETTINGS, outputSelection };
  const input = JSON.stringify({ language: "Solidity", sources, settings });
  const output = JSON.parse(solc.compile(input, { import: readLibrary })) as SolcOutput;
  const errors = (output.errors ?? []).filter((error) => error.severity === "error");
  if (errors.length > 0) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
  return names.map((name) => artifactOf(output, name));
}

function artifactOf(output: SolcOutput, name: string): Artifact {
  const found = Object.values(output.contracts).find((contracts) => name in contracts)?.[name];
  if (found === undefined) throw new Error(`No contract is named ${name}.`);
  return {
    name,
    abi: found.abi,
    bytecode: `0x${found.evm.bytecode.object}`,
    runtimeBytecode: `0x${found.evm.deployedBytecode.object}`,
    runtimeBytes: found.evm.deployedBytecode.object.length / 2,
  };
}

function readLibrary(path: string): { contents: string } | { error: string } {
  const file = join(MODULES, path);
  if (relative(MODULES, file).startsWith("..")) return { error: `${path} is outside node_modules` };
  try {
    return { contents: readFileSync(file, "utf8") };
  } catch (error) {
    return { error: String(error) };
  }
}
