/** Runs an engine on local files in the sandbox that nodes use, and shows what it printed. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { createWasmSandbox } from "@cloister/adapters/sandbox";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    args: { type: "string" },
    output: { type: "string", default: "outputs" },
    "memory-mib": { type: "string", default: "256" },
    seconds: { type: "string", default: "60" },
  },
});
const [engine, ...inputs] = positionals;
if (engine === undefined) {
  process.stderr.write("Usage: run-engine.ts ENGINE.wasm [--args args.json] [--output FOLDER] INPUT…\n");
  process.exit(2);
}
const wallMs = Number(values.seconds) * 1000;
const result = await createWasmSandbox().run({
  module: readFileSync(engine),
  args: values.args === undefined ? new Uint8Array() : readFileSync(values.args),
  inputs: inputs.map((path) => ({ name: basename(path), bytes: readFileSync(path) })),
  seed: new Uint8Array(32),
  clockMs: 0,
  limits: {
    wallMs,
    cpuMs: wallMs,
    memoryBytes: Number(values["memory-mib"]) * 1024 * 1024,
    outputBytesMax: 64 * 1024 * 1024,
    outputFilesMax: 32,
    logBytesMax: 64 * 1024,
  },
});
process.stdout.write(result.logs.stdout);
process.stderr.write(result.logs.stderr);
if (!result.ok) {
  process.stderr.write(`${result.code}: ${result.reason}\n`);
  process.exit(1);
}
mkdirSync(values.output, { recursive: true });
for (const { name, bytes } of result.outputs) {
  writeFileSync(join(values.output, name), bytes);
  process.stdout.write(`${join(values.output, name)}\n`);
}
