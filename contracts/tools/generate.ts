/**
 * Writes the contracts' ABIs and bytecode as `as const` modules into packages/market/src/generated.
 * `node contracts/tools/generate.ts` writes; `--check` says whether the files are what the sources give.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile, type Artifact } from "./compile.ts";

const FOLDER = join(
  dirname(fileURLToPath(import.meta.url)),
  "..",
  "..",
  "packages",
  "market",
  "src",
  "generated",
);
export const CONTRACTS = ["Registry", "Market", "TransparencyLog"] as const;

/** The generated modules by file name. */
export function generate(artifacts: readonly Artifact[] = compile(CONTRACTS)): Map<string, string> {
  const files = artifacts.map((artifact): [string, string] => [
    `${kebab(artifact.name)}.ts`,
    moduleOf(artifact),
  ]);
  return new Map(files);
}

/** Names of the files on disk that differ from what the sources give. */
export function staleFiles(files: ReadonlyMap<string, string>): string[] {
  return [...files].filter(([name, text]) => readOr(join(FOLDER, name)) !== text).map(([name]) => name);
}

function moduleOf(artifact: Artifact): string {
  const name = camel(artifact.name);
  const entries = artifact.abi.map((entry) => `  ${JSON.stringify(entry)},`).join("\n");
  return `// Generated from contracts/src by contracts/tools/generate.ts.
export const ${name}Abi = [
${entries}
] as const;

export const ${name}Bytecode =
  "${artifact.bytecode}";
`;
}

function camel(name: string): string {
  return name.slice(0, 1).toLowerCase() + name.slice(1);
}

function kebab(name: string): string {
  return camel(name).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function readOr(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = generate();
  const stale = staleFiles(files);
  if (process.argv.includes("--check")) {
    process.stdout.write(stale.length === 0 ? "Up to date.\n" : `Stale: ${stale.join(", ")}\n`);
    process.exitCode = stale.length === 0 ? 0 : 1;
  } else {
    mkdirSync(FOLDER, { recursive: true });
    for (const [name, text] of files) writeFileSync(join(FOLDER, name), text);
    process.stdout.write(`Wrote ${[...files.keys()].join(", ")}.\n`);
  }
}
