/**
 * Runs a folder of attestation vectors: `npm run vectors -- DIR [--json]`. Every entry is judged at its own
 * time, mutations included; none is skipped. Prints per TEE how many verdicts, statuses and fields agree, and
 * every difference. Exit code 1 when anything differs.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { exactly, printReport } from "@cloister/tools/report";
import { compareEntry, type Agreement, type Comparison } from "./judges/compare.ts";
import type { VectorEntry } from "./judges/entry.ts";
import { JUDGES } from "./judges/index.ts";

const json = process.argv.includes("--json");
const dir = process.argv.slice(2).find((argument) => !argument.startsWith("--"));
const root = resolve(
  dir ?? process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../shared/vectors"),
);

const index = readIndex();
const load = (path: string): Uint8Array => new Uint8Array(readFileSync(join(root, path)));
const started = process.cpuUsage();
const comparisons = index.entries.map((entry) => compareEntry(entry, JUDGES[entry.kind], load));
const { user, system } = process.cpuUsage(started);

const COUNTED = ["verdict", "status", "fields", "mutations"] as const;
const tees = [...new Set(comparisons.map(({ tee }) => tee))];
const figures = Object.fromEntries(
  [
    ...tees.map((tee) => [tee, comparisons.filter((one) => one.tee === tee)] as const),
    ["all", comparisons] as const,
  ].map(([tee, group]) => [
    tee,
    { entries: group.length, ...Object.fromEntries(COUNTED.map((name) => [name, sum(group, name)])) },
  ]),
);
const differing = comparisons.filter((one) => COUNTED.some((name) => one[name].differences.length > 0));
print();

function readIndex(): { entries: VectorEntry[] } {
  try {
    return JSON.parse(readFileSync(join(root, "index.json"), "utf8")) as { entries: VectorEntry[] };
  } catch (error) {
    process.stderr.write(`There is no readable index.json in ${root}: ${(error as Error).message}\n`);
    process.exit(2);
  }
}

function sum(group: readonly Comparison[], name: (typeof COUNTED)[number]): string {
  const total = (pick: (agreement: Agreement) => number): number =>
    group.reduce((count, one) => count + pick(one[name]), 0);
  return `${total(({ agree }) => agree)}/${total(({ of }) => of)}`;
}

function print(): void {
  const row = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(i === 0 ? 18 : 11))
      .join("")
      .trimEnd();
  const lines = [row(["TEE", "entries", "verdicts", "statuses", "fields", "mutations"])];
  for (const [tee, figure] of Object.entries(figures)) {
    const cells = Object.values(figure).map(String);
    lines.push(row([tee, ...cells]));
  }
  for (const one of differing) {
    const differences = COUNTED.flatMap((name) => one[name].differences);
    lines.push(
      `${one.id}: ${differences.join("; ")}${one.codes.length === 0 ? "" : ` [${one.codes.join(", ")}]`}`,
    );
  }
  lines.push(
    `${comparisons.length - differing.length} of ${comparisons.length} entries agree, in ${Math.round((user + system) / 1000)} ms of CPU time.`,
  );
  (json ? process.stderr : process.stdout).write(`${lines.join("\n")}\n`);
  const agreeing = comparisons.length - differing.length;
  printReport(
    {
      name: "vectors",
      figures,
      goals: [exactly("entries that agree", agreeing, comparisons.length)],
    },
    json,
  );
}
