import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { digestOf, isDigest, type Digest } from "@cloister/core";

const enginesFolder = fileURLToPath(new URL("./engines/", import.meta.url));
const builtFolder = fileURLToPath(new URL("./dist/", import.meta.url));
const pinsFile = join(enginesFolder, "digests.json");

/** The example engines that are built from AssemblyScript. */
export type EngineName = "penguins-train";

/** The part of the AssemblyScript compiler that is used here. */
interface AssemblyScriptCompiler {
  main(
    args: readonly string[],
    options: {
      readonly stderr: { write(text: string): void };
      readonly writeFile: (name: string, contents: Uint8Array | string) => void;
    },
  ): Promise<{ readonly error: Error | null }>;
}

/** Every example engine. */
export const engineNames: readonly EngineName[] = ["penguins-train"];

/** The digest that building an engine must give, as pinned in `engines/digests.json`. */
export function pinnedDigest(name: EngineName): Digest {
  const pins = JSON.parse(readFileSync(pinsFile, "utf8")) as Record<string, string>;
  const pin = pins[name];
  if (pin === undefined || !isDigest(pin)) throw new Error(`${pinsFile} pins no digest for ${name}.`);
  return pin;
}

/**
 * Gives an example engine's module. What was built before is used as long as it has the pinned digest;
 * otherwise the engine is compiled.
 */
export async function buildEngine(name: EngineName): Promise<Uint8Array> {
  const file = join(builtFolder, `${name}.wasm`);
  const built = readIfThere(file);
  if (built !== undefined && digestOf(built) === pinnedDigest(name)) return built;
  const module = await compileEngine(name);
  mkdirSync(builtFolder, { recursive: true });
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, module);
  renameSync(partial, file);
  return module;
}

/**
 * Compiles an example engine with the pinned compiler. File names are taken relative to the engine's
 * folder, so that every checkout gives the same bytes.
 */
export async function compileEngine(name: EngineName): Promise<Uint8Array> {
  // Loaded only here, because that takes a second and a built engine does not need it; and untyped,
  // because its declarations would give the whole program AssemblyScript's globals.
  const specifier: string = "assemblyscript/asc";
  const asc = (await import(specifier)) as AssemblyScriptCompiler;
  const folder = join(enginesFolder, name);
  const target = `${name}.wasm`;
  let module: Uint8Array | undefined;
  const messages: string[] = [];
  const { error } = await asc.main(compilerArguments(folder, target), {
    stderr: { write: (text) => void messages.push(text) },
    writeFile: (file, contents) => {
      if (file === target && typeof contents !== "string") module = new Uint8Array(contents);
    },
  });
  if (error !== null || module === undefined) {
    throw new Error(`The engine ${name} does not compile:\n${messages.join("")}`, { cause: error });
  }
  return module;
}

function compilerArguments(folder: string, target: string): string[] {
  return [
    "assembly/index.ts",
    ...["--baseDir", folder],
    ...["--config", "none"],
    ...["--outFile", target],
    ...["--runtime", "incremental"],
    ...["--exportStart", "_start"],
    ...["--use", "abort=assembly/wasi/abortEngine"],
    "-O3",
  ];
}

/** Pins what compiling every example engine gives now. To be run after a change to an engine. */
export async function pinEngines(): Promise<Record<string, Digest>> {
  const pins: Record<string, Digest> = {};
  for (const name of engineNames) pins[name] = digestOf(await compileEngine(name));
  writeFileSync(pinsFile, `${JSON.stringify(pins, undefined, 2)}\n`);
  return pins;
}

function readIfThere(file: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(file));
  } catch {
    return undefined;
  }
}
