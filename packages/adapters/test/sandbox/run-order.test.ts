import { openOrderReport } from "@cloister/certification";
import { digestOf, fromUtf8, utf8 } from "@cloister/core";
import { buildEngine, pinnedDigest } from "@cloister/examples/build-engine";
import { hostileEngine } from "@cloister/examples/hostile-engines";
import { penguinsArgs, penguinsByStation } from "@cloister/examples/penguins";
import { openOrderRefusal, runOrder, type OrderArguments, type OrderEnd } from "@cloister/workload";
import { expect, test } from "vitest";
import {
  changeOffer,
  createWorld,
  offerAt,
  otherDigest,
  tamper,
  type OwnedObject,
  type World,
} from "../../../workload/test/loader/world.ts";
import { createWasmSandbox } from "../../src/sandbox/index.ts";

const sandbox = createWasmSandbox();
const { stationA, stationB } = penguinsByStation();
const { inputs, ...engineArgs } = penguinsArgs;
const args: Partial<OrderArguments> = { inputs, engine: JSON.stringify(engineArgs) };

async function penguins(engine: Uint8Array, consent: OwnedObject["consent"] = {}): Promise<World> {
  const objects: OwnedObject[] = [
    { kind: "engine", content: engine, consent },
    { kind: "data", content: utf8(stationA.csv), consent },
    { kind: "data", content: utf8(stationB.csv), consent },
  ];
  return createWorld(objects, { sandbox, args });
}

async function endOf(world: World): Promise<OrderEnd> {
  const run = await runOrder(world.assignment, world.ports);
  if (run.kind === "declined") throw new Error(run.refusals.map(({ code }) => code).join());
  return run.end;
}

test("two stations' sealed tables become one model that only the client can open", async () => {
  const world = await penguins(await buildEngine("penguins-train"));
  const end = await endOf(world);
  expect(end).toMatchObject({ kind: "report", succeeded: true });
  const files = await world.result(end.outputDigest ?? otherDigest);
  expect(files.map(({ name }) => name)).toEqual(["metrics.json", "model.json"]);
  const metrics = JSON.parse(fromUtf8(files[0]?.bytes ?? new Uint8Array())) as { accuracy: number };
  expect(metrics.accuracy).toBeGreaterThan(0.97);
  const { integrity, outputs } = openOrderReport(end.statement).report;
  expect(integrity.engine).toBe(pinnedDigest("penguins-train"));
  expect(outputs.map(({ content }) => content)).toEqual(files.map(({ bytes }) => digestOf(bytes)));
});

test("an engine with one changed byte in its sealed file is refused before anything is opened", async () => {
  const world = await penguins(await buildEngine("penguins-train"));
  tamper(world, offerAt(world, 0).sealedDigest, (bytes) =>
    bytes.map((byte, i) => (i === 5000 ? byte ^ 1 : byte)),
  );
  expect(await endOf(world)).toMatchObject({ kind: "refusal", reason: "LOADER_SEALED_DIGEST_MISMATCH" });
  expect(world.keyRequests).toEqual([]);
});

test("an engine changed before it was sealed is another engine, which no consent names", async () => {
  const engine = await buildEngine("penguins-train");
  const changed = engine.map((byte, i) => (i === engine.length - 1 ? byte ^ 1 : byte));
  const world = await penguins(changed, { engines: [digestOf(engine)] });
  const end = await endOf(world);
  expect(end).toMatchObject({ kind: "refusal", reason: "CONSENT_ENGINE_NOT_LISTED" });
  // The engine's own consent and both stations' say so, each for itself.
  expect(openOrderRefusal(end.statement).refusal.refusals).toHaveLength(3);
  expect(world.keyRequests).toEqual([]);
});

test("an engine changed before it was sealed and offered as the unchanged one is refused once opened", async () => {
  const engine = await buildEngine("penguins-train");
  const changed = engine.map((byte, i) => (i === engine.length - 1 ? byte ^ 1 : byte));
  const world = await penguins(changed, { engines: [digestOf(engine)] });
  changeOffer(world, 0, { contentDigest: digestOf(engine) });
  expect(await endOf(world)).toMatchObject({ kind: "report", reason: "LOADER_CONTENT_DIGEST_MISMATCH" });
  // The engine is opened first: no key to data was asked for.
  expect(world.keyRequests).toHaveLength(1);
});

test.each([
  ["eats-memory", "ENGINE_MEMORY_EXCEEDED", 202],
  ["traps", "ENGINE_TRAPPED", 200],
  ["exits-nonzero", "ENGINE_EXITED_NONZERO", 7],
  ["writes-nothing", "ENGINE_NO_OUTPUT", 204],
  ["imports-a-socket", "ENGINE_IMPORT_FORBIDDEN", 206],
] as const)("an engine that %s ends the order with %s and no result", async (name, reason, exitCode) => {
  const world = await penguins(hostileEngine(name));
  expect(await endOf(world)).toMatchObject({ kind: "report", reason, exitCode, outputDigest: undefined });
});

test("an engine that loops ends with the order's time limit", async () => {
  const objects: OwnedObject[] = [{ kind: "engine", content: hostileEngine("loops-forever") }];
  const world = await createWorld(objects, { sandbox, args: { runMs: 1000 } });
  expect(await endOf(world)).toMatchObject({ reason: "ENGINE_TIME_EXCEEDED", exitCode: 201 });
});
