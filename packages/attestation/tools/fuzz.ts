/**
 * Fuzzes every decoder and verifier by hand: `node packages/attestation/tools/fuzz.ts [--cases N] [--seed N]
 * [--target NAME] [--vectors DIR]`. A case may neither throw, nor be accepted when a signature covers what was
 * changed, nor take longer than 50 ms for each started 64 KiB of processor time. Finds are minimised and printed.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { toHex } from "@cloister/core";
import { minimize, mutate, randomFrom } from "../test/fuzz/mutate.ts";
import { collateralTarget, forgedTargets, vectorTargets } from "../test/fuzz/targets.ts";
import { escapeOf, type FuzzTarget } from "../test/fuzz/target.ts";
import type { VectorEntry } from "./judges/entry.ts";

const { values } = parseArgs({
  options: {
    cases: { type: "string" },
    seed: { type: "string" },
    target: { type: "string" },
    vectors: { type: "string" },
  },
});
const cases = Number(values.cases ?? 1_000_000);
const folder =
  values.vectors ??
  process.env["CLOISTER_VECTORS"] ??
  join(import.meta.dirname, "../../../../shared/vectors");
const files = new Map<string, Uint8Array>();
const targets = allTargets().filter(
  ({ name }) => values.target === undefined || name.includes(values.target),
);
for (const target of targets) fuzz(target);

function allTargets(): FuzzTarget[] {
  if (!existsSync(join(folder, "index.json"))) {
    process.stdout.write(`no vectors in ${folder}: only forged seeds\n`);
    return forgedTargets();
  }
  const { entries } = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
    entries: VectorEntry[];
  };
  return [...forgedTargets(), ...vectorTargets(entries, load), ...collateralTarget(entries, load)];
}

function load(path: string): Uint8Array {
  let bytes = files.get(path);
  if (bytes === undefined) files.set(path, (bytes = new Uint8Array(readFileSync(join(folder, path)))));
  return bytes;
}

function fuzz(target: FuzzTarget): void {
  const random = randomFrom(Number(values.seed ?? 1));
  let slowestMs = 0;
  let slow = 0;
  const escapes = new Map<string, string>();
  for (let i = 0; i < cases; i++) {
    const seed = random(target.seeds.length);
    const bytes = mutate(target.seeds[seed] ?? new Uint8Array(), random);
    const started = process.cpuUsage();
    const escape = escapeOf(target, bytes, seed);
    const used = process.cpuUsage(started);
    const perBlockMs = (used.user + used.system) / 1000 / Math.ceil(Math.max(1, bytes.length) / 65_536);
    slowestMs = Math.max(slowestMs, perBlockMs);
    // The collector's threads count too, so a case is slow only when it is slow again.
    if (perBlockMs > 50 && againMs(target, bytes, seed) > 50) slow++;
    if (escape === undefined || escapes.has(escape)) continue;
    escapes.set(escape, toHex(minimize(bytes, (candidate) => escapeOf(target, candidate, seed) === escape)));
  }
  process.stdout.write(
    `${target.name}: ${cases} cases, ${escapes.size} escapes, ${slow} slow, slowest ${slowestMs.toFixed(1)} ms per 64 KiB\n`,
  );
  for (const [escape, hex] of escapes) process.stdout.write(`  ${escape}\n  ${hex}\n`);
  if (escapes.size > 0 || slow > 0) process.exitCode = 1;
}

function againMs(target: FuzzTarget, bytes: Uint8Array, seed: number): number {
  const started = process.cpuUsage();
  escapeOf(target, bytes, seed);
  const used = process.cpuUsage(started);
  return (used.user + used.system) / 1000 / Math.ceil(Math.max(1, bytes.length) / 65_536);
}
