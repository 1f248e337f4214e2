import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Ajv, type ValidateFunction } from "ajv";
import addFormats from "ajv-formats";
import { digestOf, parseHex32, utf8, type Digest, type OrderId } from "@cloister/core";
import { expect, test } from "vitest";
import {
  ancestorsOf,
  buildLineage,
  drawLineage,
  lineageToDot,
  lineageToSvg,
  resultsOf,
  unexplainedModels,
  toMlBom,
  toProvenance,
  type OrderReport,
  type ProofResult,
} from "../../src/index.ts";
import { input, sampleIntegrity, sampleReport } from "../sample.ts";

const digests = { report: digestOf(utf8("report")), proof: digestOf(utf8("proof")) };
const hex = (digest: Digest): string => digest.slice(7);

test("provenance names every output as subject and every input as dependency, by SHA-256", () => {
  const report = sampleReport();
  const statement = toProvenance(report, digests);
  expect(statement._type).toBe("https://in-toto.io/Statement/v1");
  expect(statement.predicateType).toBe("https://slsa.dev/provenance/v1");
  expect(statement.subject).toEqual([
    { name: "model.json", digest: { sha256: hex(digestOf(utf8("model"))) } },
  ]);
  const { buildDefinition, runDetails } = statement.predicate as Record<string, Record<string, unknown>>;
  expect(buildDefinition?.["resolvedDependencies"]).toHaveLength(3);
  expect(JSON.stringify(buildDefinition)).toContain(hex(report.integrity.engine));
  expect(runDetails?.["builder"]).toMatchObject({ id: expect.stringContaining(report.integrity.node) });
  expect(runDetails?.["metadata"]).toMatchObject({ invocationId: report.integrity.orderId });
  expect(JSON.stringify(runDetails)).toContain(hex(digests.proof));
});

test("the bill of materials hangs outputs on inputs, and one report has one serial number", () => {
  const bom = toMlBom(sampleReport(), digests);
  expect(bom.serialNumber).toMatch(
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(bom.serialNumber).toBe(toMlBom(sampleReport(), digests).serialNumber);
  expect(toMlBom(sampleReport(), { ...digests, report: digests.proof }).serialNumber).not.toBe(
    bom.serialNumber,
  );
  expect(bom.components.map((one) => one["type"])).toEqual([
    "machine-learning-model",
    "application",
    "data",
    "data",
  ]);
  const refs = ["order", ...bom.components.map((one) => String(one["bom-ref"]))];
  expect(bom.dependencies.map(({ ref }) => ref).toSorted()).toEqual(refs.toSorted());
  expect(bom.dependencies.flatMap(({ dependsOn }) => dependsOn).every((ref) => refs.includes(ref))).toBe(
    true,
  );
  expect(JSON.stringify(bom.metadata)).toContain("cloister:simulated");
});

const require = createRequire(import.meta.url);

/** The standard's own schema, as OWASP publishes it with its library. */
function cycloneDxSchema(): ValidateFunction {
  const library = require.resolve("@cyclonedx/cyclonedx-library");
  const folder = library.slice(0, library.lastIndexOf("cyclonedx-library/") + "cyclonedx-library/".length);
  const read = (name: string): object =>
    JSON.parse(readFileSync(`${folder}res/schema/${name}.SNAPSHOT.schema.json`, "utf8")) as object;
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats.default(ajv);
  for (const format of ["iri-reference", "idn-email"]) ajv.addFormat(format, true);
  for (const name of ["spdx", "jsf-0.82", "cryptography-defs"])
    ajv.addSchema(read(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  return ajv.compile(read("bom-1.6"));
}

test("the bill of materials keeps to CycloneDX 1.6 by its own schema, which notices what does not", () => {
  const isValid = cycloneDxSchema();
  const failed = sampleReport({ outputs: [] });
  for (const report of [sampleReport(), failed]) {
    const bom = toMlBom(report, digests);
    expect([isValid(bom), isValid.errors]).toEqual([true, null]);
  }
  const bom = toMlBom(sampleReport(), digests);
  const [first, ...rest] = bom.components;
  for (const wrong of [
    { ...bom, bomFormat: "SPDX" },
    { ...bom, serialNumber: "order" },
    { ...bom, components: [{ ...first, type: "model" }, ...rest] },
    { ...bom, components: [first, first] },
    { ...bom, unknown: true },
  ])
    expect(isValid(wrong)).toBe(false);
});

const model = digestOf(utf8("model"));
const answer = digestOf(utf8("answer"));
function proven(n: number, report: OrderReport, changes: Partial<ProofResult> = {}): ProofResult {
  const orderId = parseHex32(`0x${String(n).repeat(64)}`) as OrderId;
  const shifted = { ...report, endedAtMs: report.endedAtMs + n, integrity: { ...report.integrity, orderId } };
  return {
    verified: true,
    simulated: false,
    links: [],
    refusals: [],
    unknown: [],
    witnesses: [],
    block: undefined,
    report: shifted,
    ...changes,
  };
}
const training = proven(1, sampleReport());
const inference = proven(
  2,
  sampleReport({
    integrity: sampleIntegrity({ inputs: [input("engine"), { ...input("model", 3), content: model }] }),
    outputs: [{ name: "answer.txt", content: answer, sealed: digestOf(utf8("s")), sizeBytes: 1 }],
  }),
  { simulated: true },
);

test("proofs chain up from an answer over the model to the data, in any order of proofs", () => {
  for (const proofs of [
    [training, inference],
    [inference, training],
  ]) {
    const lineage = buildLineage(proofs);
    expect(ancestorsOf(lineage, answer).map(({ orderId }) => orderId.slice(0, 3))).toEqual(["0x2", "0x1"]);
    expect(ancestorsOf(lineage, model).map(({ orderId }) => orderId.slice(0, 3))).toEqual(["0x1"]);
    expect(ancestorsOf(lineage, digestOf(utf8("data 1")))).toEqual([]);
  }
});

test("the drawing says of each run whether it holds", () => {
  const bad = proven(1, sampleReport(), { verified: false });
  const drawing = drawLineage(buildLineage([bad, inference]), answer);
  expect(drawing.split("\n")[0]).toMatch(new RegExp(`^\\S+ ${answer.slice(0, 19)}…$`));
  expect(drawing).toMatch(/└─ made by order 0x22222222… \(SIMULATED\)\n/);
  expect(drawing).toMatch(/└─ made by order 0x11111111… \(NOT VERIFIED\)\n/);
  expect(drawing).toContain("from data");
});

test("what was made and went into nothing else is a result, and a model that nobody proves is missing", () => {
  const lineage = buildLineage([training, inference]);
  expect(resultsOf(lineage)).toEqual([answer]);
  expect(unexplainedModels(lineage)).toEqual([]);
  expect(unexplainedModels(buildLineage([inference]))).toEqual([model]);
  expect(resultsOf(buildLineage([]))).toEqual([]);
});

test("the picture has a box for each artifact and run, red where a proof does not hold, and escapes names", () => {
  const broken = proven(1, sampleReport(), { verified: false });
  const svg = lineageToSvg(buildLineage([broken, inference]));
  const { runs, artifacts } = buildLineage([broken, inference]);
  expect(svg.match(/<rect /g)).toHaveLength(runs.length + artifacts.length);
  expect(svg.match(/#c00"\/>/g)).toHaveLength(1);
  const named = { ...sampleReport().outputs[0], name: `<b>&"` } as OrderReport["outputs"][number];
  expect(lineageToSvg(buildLineage([proven(3, sampleReport({ outputs: [named] }))]))).toContain(
    "&lt;b>&amp;&quot;",
  );
  expect(lineageToSvg(buildLineage([]))).toContain("<svg ");
});

test("an engine that gives back what it was given does not turn the drawing in circles", () => {
  const { inputs } = sampleIntegrity();
  const content = inputs[1]?.content as Digest;
  const echo = proven(
    1,
    sampleReport({ outputs: [{ name: "same", content, sealed: content, sizeBytes: 1 }] }),
  );
  const lineage = buildLineage([echo, echo]);
  expect(lineage.runs.length).toBe(1);
  expect(drawLineage(lineage, content)).toContain("(see above)");
  expect(ancestorsOf(lineage, content).length).toBe(1);
});

test("proofs without a readable report are left out, and the graph is one of Graphviz", () => {
  const lineage = buildLineage([{ ...training, report: undefined }, training, inference]);
  const dot = lineageToDot(lineage);
  expect(lineage.runs.length).toBe(2);
  expect(dot.startsWith("digraph lineage {")).toBe(true);
  expect(dot.match(/ -> /g)?.length).toBe(3 + 1 + 2 + 1);
});
