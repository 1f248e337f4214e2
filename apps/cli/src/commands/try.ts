import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { createWasmSandbox } from "@cloister/adapters/sandbox";
import { CloisterError, digestOf, formatBytes } from "@cloister/core";
import { isEngineFileName, type EngineFile, type EngineResult } from "@cloister/workload";
import { Option, type Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readDocument, requireFree, writeWhole } from "../cli/files.ts";
import { parseBytes, parseDuration } from "../cli/parse.ts";
import { usageError } from "../cli/usage.ts";

/** As nodes have it: spec/engine.md §5 */
const OUTPUT_FILES_MAX = 32;
const ARGS_BYTES_MAX = 1024 * 1024;
const LOG_BYTES_MAX = 64 * 1024;
const INPUT_BYTES_MAX = 1024 ** 3;

interface TryOptions {
  readonly args?: string;
  readonly output: string;
  readonly memoryMax: number;
  readonly runMax: number;
  readonly outputMax: number;
  readonly force?: boolean;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "try")
    .description(
      "Run an engine on files of your own, here, in the sandbox that nodes use, with the same limits and refusals. What it prints goes to standard error; a node would show it to nobody.",
    )
    .argument("<engine>", "the WebAssembly module")
    .argument("[inputs...]", "files that the engine finds in /inputs, under their own names")
    .option("--args <file>", "what the engine is told: the content of its /args.json")
    .option("-o, --output <folder>", "where to put what it writes", "outputs")
    .addOption(
      new Option("--run-max <time>", "the longest that it may run")
        .argParser(parseDuration)
        .default(60_000, "1m"),
    )
    .addOption(
      new Option("--memory-max <size>", "the most memory that it may use")
        .argParser(parseBytes)
        .default(256 * 1024 * 1024, "256MiB"),
    )
    .addOption(
      new Option("--output-max <size>", "the most that all it writes may take")
        .argParser(parseBytes)
        .default(16 * 1024 * 1024, "16MiB"),
    )
    .option("-f, --force", "replace files that are there")
    .addHelpText(
      "after",
      examples(
        ["cloister try train.wasm birds.csv", "fill ./outputs as a node would fill its result"],
        ["cloister try train.wasm a.csv b.csv --args args.json -o out", "with arguments, into ./out"],
      ),
    )
    .action((engine: string, inputs: string[], options: TryOptions) =>
      tryEngine(engine, inputs, options, context),
    );
}

async function tryEngine(
  engine: string,
  paths: readonly string[],
  options: TryOptions,
  context: Context,
): Promise<void> {
  const inputs = await readInputs(paths);
  const module = await readDocument(engine);
  const progress = context.output.progress(`Running ${engine}`);
  const result = await createWasmSandbox()
    .run({
      module,
      args: options.args === undefined ? new Uint8Array() : await readDocument(options.args, ARGS_BYTES_MAX),
      inputs,
      seed: new Uint8Array(32),
      clockMs: 0,
      limits: {
        wallMs: options.runMax,
        cpuMs: options.runMax,
        memoryBytes: options.memoryMax,
        outputBytesMax: options.outputMax,
        outputFilesMax: OUTPUT_FILES_MAX,
        logBytesMax: LOG_BYTES_MAX,
      },
    })
    .finally(() => progress.end());
  showLogs(result, context);
  if (!result.ok) {
    throw new CloisterError(result.code, result.reason, { hint: "A node would refund the order." });
  }
  await writeOutputs(result.outputs, options);
  const files = result.outputs.map(({ name, bytes }) => ({
    file: join(options.output, name),
    digest: digestOf(bytes),
    sizeBytes: bytes.length,
  }));
  context.output.result({ outputs: files, memoryBytes: result.memoryBytes }, () =>
    files.map(({ file, digest, sizeBytes }) => `${digest}  ${file}  ${formatBytes(sizeBytes)}`),
  );
}

/** @throws {CloisterError} `USAGE_INPUT_NAME`, `USAGE_INPUT_TWICE` */
async function readInputs(paths: readonly string[]): Promise<EngineFile[]> {
  const names = paths.map((path) => basename(path));
  for (const [index, name] of names.entries()) {
    if (!isEngineFileName(name)) {
      throw usageError(
        "USAGE_INPUT_NAME",
        `"${name}" cannot be the name of an engine's input.`,
        "Rename the file: letters, digits, dots, dashes and underscores, at most 64 of them.",
      );
    }
    if (names.indexOf(name) !== index) {
      throw usageError("USAGE_INPUT_TWICE", `Two inputs have the name ${name}.`, "Rename one of the files.");
    }
  }
  return Promise.all(
    paths.map(async (path, index) => ({
      name: names[index] ?? "",
      bytes: await readDocument(path, INPUT_BYTES_MAX),
    })),
  );
}

/** Every output, or none where a file stands in the way. */
async function writeOutputs(outputs: readonly EngineFile[], options: TryOptions): Promise<void> {
  const write = { force: options.force === true };
  for (const { name } of outputs) await requireFree(join(options.output, name), write);
  await mkdir(options.output, { recursive: true });
  for (const { name, bytes } of outputs) await writeWhole(join(options.output, name), [bytes], write);
}

function showLogs({ logs }: EngineResult, { output }: Context): void {
  for (const bytes of [logs.stdout, logs.stderr]) {
    const text = new TextDecoder().decode(bytes).trimEnd();
    if (text !== "") output.note(text);
  }
}
