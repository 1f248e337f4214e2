/** The example engine on tables and arguments nobody would send, run in this process to run it often. */
import { WASI, WASIProcExit } from "@bjorn3/browser_wasi_shim";
import { buildEngine } from "@cloister/examples/build-engine";
import { fromUtf8, utf8 } from "@cloister/core";
import type { EngineFile } from "@cloister/workload";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  Budget,
  EmptyDescriptor,
  FileTree,
  FolderDescriptor,
  LogDescriptor,
} from "../../src/sandbox/memory-files.ts";
import { webAssembly } from "../../src/sandbox/web-assembly.ts";

const cell = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom("a", "b", "c", "1", "2.5", "-3e4", "NA", "", '"q,"""', "1e308", "-1e308"),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 5 }) },
);
const table = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 30 }))
  .chain(([width, height]) => {
    const row = fc.array(cell, { minLength: width, maxLength: width });
    const header = ["label", "x", "y", "z"].slice(0, width).join(",");
    return fc
      .array(row, { minLength: height, maxLength: height })
      .map((rows) => utf8([header, ...rows.map((cells) => cells.join(","))].join("\n")));
  });
const input = fc.oneof(
  { weight: 8, arbitrary: table },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }) },
);
const options = fc.record(
  {
    target: fc.constantFrom("label", "x"),
    l2: fc.constantFrom(1, 1e-6, 1e6),
    heldOutFraction: fc.double({ min: 0.01, max: 0.9, noNaN: true }),
    exclude: fc.constantFrom([], ["x"]),
  },
  { requiredKeys: [] },
);
const args = fc.oneof(
  { weight: 4, arbitrary: options.map((given) => utf8(JSON.stringify(given))) },
  { weight: 1, arbitrary: fc.json().map(utf8) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }) },
);

test("any tables and arguments give a model with finite weights, or exit code 1 and one sentence", async () => {
  const module = new webAssembly.Module(await buildEngine("penguins-train"));
  fc.assert(
    fc.property(fc.array(input, { maxLength: 3 }), args, (tables, given) => {
      const { exitCode, said, outputs } = run(module, tables, given);
      if (exitCode !== 0) {
        expect(exitCode).toBe(1);
        expect(said).toMatch(/^[^]+\.\n$/);
        expect(said).not.toMatch(/^The engine stopped/);
        return;
      }
      expect(outputs.map(({ name }) => name)).toEqual(["metrics.json", "model.json"]);
      const [metrics, model] = outputs.map(({ bytes }) => Buffer.from(bytes).toString());
      expect((JSON.parse(metrics ?? "") as { accuracy: unknown }).accuracy).toBeTypeOf("number");
      const { weights } = JSON.parse(model ?? "") as { weights: unknown[][] };
      expect(weights.flat().every((weight) => typeof weight === "number")).toBe(true);
    }),
    { numRuns: 300 },
  );
});

function run(
  module: object,
  tables: readonly Uint8Array[],
  given: Uint8Array,
): { exitCode: number; said: string; outputs: EngineFile[] } {
  const files = tables.map((bytes, i) => ({ name: `t${i}`, bytes }));
  const tree = new FileTree(given, files, new Budget(10_000_000, 10));
  const stderr = new LogDescriptor(4096);
  const descriptors = [
    new EmptyDescriptor(),
    new LogDescriptor(0),
    stderr,
    new FolderDescriptor(tree, "", true),
  ];
  const wasi = new WASI(["engine"], [], descriptors, { debug: false });
  const engine = new webAssembly.Instance(module, { wasi_snapshot_preview1: wasi.wasiImport });
  return { exitCode: exitCodeOf(wasi, engine), said: latin(stderr.bytes), outputs: tree.outputs() };
}

function exitCodeOf(wasi: WASI, engine: InstanceType<typeof webAssembly.Instance>): number {
  try {
    return wasi.start(engine);
  } catch (error) {
    if (error instanceof WASIProcExit) return error.code;
    throw error;
  }
}

/** A sentence quotes names of columns, whatever bytes they had. */
function latin(bytes: Uint8Array): string {
  return fromUtf8(bytes.map((byte) => byte & 0x7f));
}
