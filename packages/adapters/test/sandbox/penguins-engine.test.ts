import { buildEngine, compileEngine, engineNames, pinnedDigest } from "@cloister/examples/build-engine";
import { penguinsArgs, penguinsByStation } from "@cloister/examples/penguins";
import { digestOf, fromUtf8, utf8 } from "@cloister/core";
import { inspectEngine, type EngineResult } from "@cloister/workload";
import { beforeAll, describe, expect, test } from "vitest";
import { createWasmSandbox } from "../../src/sandbox/index.ts";
import { jobOf } from "./jobs.ts";

const sandbox = createWasmSandbox();
const { stationA, stationB } = penguinsByStation();
let engine: Uint8Array;

beforeAll(async () => {
  engine = await buildEngine("penguins-train");
});

async function train(tables: Record<string, string>, args: unknown = {}): Promise<EngineResult> {
  const inputs = Object.entries(tables).map(([name, text]) => ({ name, bytes: utf8(text) }));
  return sandbox.run(jobOf(engine, { args, inputs }));
}

interface Score {
  readonly accuracy: number;
  readonly confusion: readonly (readonly number[])[];
  readonly converged: boolean;
  readonly iterations: number;
  readonly rowsTrain: number;
}

interface Metrics extends Score {
  readonly classes: readonly string[];
  readonly rowsHeldOut: number;
  readonly rowsDropped: number;
  readonly missing: Readonly<Record<string, number>>;
  readonly alone: readonly (Score & { readonly input: string; readonly classesSeen: readonly string[] })[];
}

interface Model {
  readonly classes: readonly string[];
  readonly l2: number;
  readonly features: readonly {
    readonly name: string;
    readonly kind: "numeric" | "categorical";
    readonly mean: number;
    readonly deviation: number;
    readonly levels: readonly string[];
  }[];
  readonly weights: readonly (readonly number[])[];
  readonly intercepts: readonly number[];
}

function outputsOf(result: EngineResult): { metrics: Metrics; model: Model } {
  if (!result.ok) throw new Error(`${result.reason} ${fromUtf8(result.logs.stderr)}`);
  const file = (name: string): unknown => {
    const output = result.outputs.find((candidate) => candidate.name === name);
    return JSON.parse(fromUtf8(output?.bytes ?? new Uint8Array()));
  };
  return { metrics: file("metrics.json") as Metrics, model: file("model.json") as Model };
}

test.each(engineNames)("compiling %s gives the pinned digest", { timeout: 60_000 }, async (name) => {
  expect(digestOf(await compileEngine(name))).toBe(pinnedDigest(name));
});

test("the engine imports six WASI calls and starts small", () => {
  const inspected = inspectEngine(engine, 1024 * 1024);
  const names = inspected.ok
    ? inspected.value.imports.map(({ name }) => name).toSorted()
    : inspected.refusals;
  expect(names).toEqual(["fd_close", "fd_read", "fd_readdir", "fd_write", "path_open", "proc_exit"]);
});

describe("on the penguins of two stations", () => {
  let metrics: Metrics;
  let model: Model;

  beforeAll(async () => {
    const tables = { [stationA.name]: stationA.csv, [stationB.name]: stationB.csv };
    ({ metrics, model } = outputsOf(await train(tables, penguinsArgs)));
  });

  test("the joint model beats what either station gets alone on the same held-out birds", () => {
    expect(metrics.classes).toEqual(["Adelie", "Chinstrap", "Gentoo"]);
    const [a, b] = metrics.alone;
    expect(a).toMatchObject({ input: "station-a.csv", classesSeen: ["Adelie", "Gentoo"], converged: true });
    expect(b).toMatchObject({
      input: "station-b.csv",
      classesSeen: ["Adelie", "Chinstrap"],
      converged: true,
    });
    expect(metrics.converged).toBe(true);
    expect(metrics.accuracy).toBeGreaterThan(0.97);
    expect(a?.accuracy).toBeLessThan(0.85);
    expect(b?.accuracy).toBeLessThan(0.7);
  });

  test("every row is accounted for: trained on, held out in each class's proportion, or dropped", () => {
    expect(stationA.rows + stationB.rows).toBe(344);
    expect(metrics.rowsTrain + metrics.rowsHeldOut + metrics.rowsDropped).toBe(344);
    expect(metrics.alone.map(({ rowsTrain }) => rowsTrain).reduce((a, b) => a + b)).toBe(metrics.rowsTrain);
    // A quarter of 151, 68 and 123 usable birds. Two have no measurement at all; nine lack the sex.
    expect(metrics.confusion.map((row) => row.reduce((a, b) => a + b))).toEqual([38, 17, 31]);
    expect(metrics.rowsDropped).toBe(2);
    expect(metrics.missing["sex"]).toBe(9);
  });

  test("the weights are the minimum: the penalised gradient, computed anew, vanishes", () => {
    const rows = [...parse(stationA.csv), ...parse(stationB.csv)];
    const usable = rows.filter((row) => row["bill_length_mm"] !== "");
    // Which rows were held out is the engine's business; over all rows of a class but few, the gradient
    // of a minimum over three quarters of them stays small, and that of a wrong model does not.
    const gradient = gradientOf(model, usable);
    expect(Math.max(...gradient.map(Math.abs))).toBeLessThan(0.02);
    const shifted = { ...model, intercepts: model.intercepts.map((value, i) => value + (i === 0 ? 1 : 0)) };
    expect(Math.max(...gradientOf(shifted, usable).map(Math.abs))).toBeGreaterThan(0.02);
  });

  test("neither the order of rows nor that of inputs changes the split or the model's figures", async () => {
    const [header = "", ...lines] = stationA.csv.trim().split("\n");
    const turned = [header, ...lines.toReversed()].join("\n");
    const swapped = outputsOf(await train({ "1.csv": stationB.csv, "2.csv": turned }, penguinsArgs));
    expect(swapped.metrics.confusion).toEqual(metrics.confusion);
    expect(swapped.metrics.alone[1]?.confusion).toEqual(metrics.alone[0]?.confusion);
    expect(swapped.metrics.alone[0]?.confusion).toEqual(metrics.alone[1]?.confusion);
  });

  test("the same job gives the same bytes", async () => {
    const tables = { [stationA.name]: stationA.csv, [stationB.name]: stationB.csv };
    const again = await train(tables, penguinsArgs);
    const third = await train(tables, penguinsArgs);
    expect(again.ok && again.outputs).toEqual(third.ok && third.outputs);
    expect(outputsOf(again).model).toEqual(model);
  });
});

function parse(csv: string): Record<string, string>[] {
  const [header = "", ...lines] = csv.trim().split("\n");
  const names = header.split(",");
  return lines.map((line) => Object.fromEntries(line.split(",").map((cell, i) => [names[i] ?? "", cell])));
}

/** The mean gradient of the penalised log loss, written apart from the engine. */
function gradientOf(model: Model, rows: readonly Record<string, string>[]): number[] {
  const gradient = model.weights.map((weights) => [...weights, 0].map(() => 0));
  for (const row of rows) {
    const x = [...model.features.flatMap((feature) => encode(feature, row[feature.name] ?? "")), 1];
    const scores = model.weights.map((weights, k) =>
      [...weights, model.intercepts[k] ?? 0].reduce((sum, weight, i) => sum + weight * (x[i] ?? 0), 0),
    );
    const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    gradient.forEach((slopes, k) => {
      const error = Math.exp(scores[k] ?? 0) / total - (row["species"] === model.classes[k] ? 1 : 0);
      slopes.forEach((_, i) => (slopes[i] = (slopes[i] ?? 0) + (error * (x[i] ?? 0)) / rows.length));
    });
  }
  const penalty = model.l2 / (0.75 * rows.length);
  return gradient.flatMap((slopes, k) => {
    const weights = [...(model.weights[k] ?? []), model.intercepts[k] ?? 0];
    return slopes.map((slope, i) => slope + penalty * (weights[i] ?? 0));
  });
}

function encode(feature: Model["features"][number], cell: string): number[] {
  if (feature.kind === "categorical") return feature.levels.map((level) => (level === cell ? 1 : 0));
  return [cell === "" ? 0 : (Number(cell) - feature.mean) / feature.deviation];
}

test("tables of a user's own work: quoted cells, a BOM, CRLF, columns in another order", async () => {
  const first = [
    "\uFEFFlabel,width,color",
    ...grid((i) => [i < 10 ? "small" : "large", i, i < 10 ? '"re,d"' : "blue"]),
  ];
  const second = [
    "color,label,width",
    ...grid((i) => [i < 10 ? '"re,d"' : "blue", i < 10 ? "small" : "large", i + 0.5]),
  ];
  const { metrics, model } = outputsOf(await train({ a: first.join("\r\n"), b: second.join("\n") }));
  expect(metrics).toMatchObject({
    accuracy: 1,
    classes: ["large", "small"],
    converged: true,
    rowsHeldOut: 10,
  });
  expect(model.features.map(({ name, kind }) => [name, kind])).toEqual([
    ["width", "numeric"],
    ["color", "categorical"],
  ]);
  expect(model.features[1]?.levels).toEqual(["blue", "re,d"]);
});

function grid(row: (i: number) => readonly (string | number)[]): string[] {
  return Array.from({ length: 20 }, (_, i) => row(i).join(","));
}

const good = `label,x\n${grid((i) => [i % 2 === 0 ? "a" : "b", i]).join("\n")}\n`;

test.each<[string, Record<string, string>, unknown, string]>([
  ["no input", {}, {}, "There is no input to train on."],
  ["an empty table", { a: "" }, {}, "a is empty: a header line is needed."],
  ["a short row", { a: "label,x\na,1\nb\n" }, {}, "a, line 3: the row has 1 cells where the header has 2."],
  ["an open quote", { a: 'label,x\na,"1\n' }, {}, "a, line 2: a quoted cell is not closed."],
  ["a stray quote", { a: 'label,x\na,1"2\n' }, {}, "a, line 2: a quote stands inside an unquoted cell."],
  ["text after a quote", { a: 'label,x\na,"1"2\n' }, {}, "a, line 2: text follows a closing quote."],
  ["a column named twice", { a: "x,x\n1,2\n" }, {}, 'a, line 1: the column "x" is named twice.'],
  ["a binary file", { a: "label,x\na,\0\n" }, {}, "a is not a CSV file: it holds a zero byte."],
  ["no target", { a: "x,y\n1,2\n" }, {}, 'a has no column "label"; its columns are x, y.'],
  ["one class", { a: "label,x\na,1\na,2\n" }, {}, 'The column "label" must hold at least two classes.'],
  ["other columns", { a: good, b: "label,y\na,1\n" }, {}, 'b has no column "x"; its columns are label, y.'],
  ["an unknown option", { a: good }, { epochs: 3 }, 'args.json: the member "epochs" is unknown.'],
  [
    "an option of the wrong kind",
    { a: good },
    { l2: "x" },
    'args.json: "l2" must be a number from 0.000001 to 1000000.0.',
  ],
  ["only the target", { a: "label\na\nb\n" }, {}, 'There is no column to learn from besides "label".'],
])("%s ends with exit code 1 and one sentence", async (_what, tables, args, sentence) => {
  const result = await train(tables, args);
  expect(result).toMatchObject({ ok: false, code: "ENGINE_EXITED_NONZERO", exitCode: 1 });
  expect(fromUtf8(result.logs.stderr)).toBe(`${sentence}\n`);
});

test("arguments that are no JSON end with exit code 1 and say where", async () => {
  const job = { ...jobOf(engine), args: utf8('{"target": ') };
  const result = await sandbox.run(job);
  expect(result).toMatchObject({ ok: false, exitCode: 1 });
  expect(fromUtf8(result.logs.stderr)).toBe("args.json is not JSON: a value is malformed at character 12.\n");
});
