/**
 * Runs a folder of attestation vectors: `npm run vectors -- DIR [--browser] [--json]`. Every entry is judged at
 * its own time, mutations included; none is skipped. Prints per TEE how many verdicts, statuses and fields agree,
 * and every difference. With `--browser` the same judges run in headless Chromium too, over the same bytes, and
 * must come to the same. Exit code 1 when anything differs, 2 when there is nothing to judge or to judge it in.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { browserPath } from "@cloister/tools/browser";
import { readFlags } from "@cloister/tools/flags";
import { exactly, printReport, type GoalOutcome } from "@cloister/tools/report";
import { judgedDifferently, judgeInBrowser } from "./in-browser.ts";
import { judgeAll } from "./judges/all.ts";
import type { Agreement, Comparison } from "./judges/compare.ts";
import type { VectorEntry } from "./judges/entry.ts";

const flags = readFlags("npm run vectors -- DIR [--browser] [--json]", {
  browser: { type: "boolean" },
  json: { type: "boolean" },
});
const dir = process.argv.slice(2).find((argument) => !argument.startsWith("--"));
const root = resolve(
  dir ?? process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../shared/vectors"),
);
if (flags.browser === true && browserPath === undefined)
  end("There is no Chromium on this machine: install chromium, or leave out --browser.");

const entries = readEntries();
const started = process.cpuUsage();
const comparisons = judgeAll(entries, load);
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
const agreeing = comparisons.length - differing.length;
const out = flags.json === true ? process.stderr : process.stdout;
printTable();
const goals = [exactly("entries that agree", agreeing, comparisons.length)];
if (flags.browser === true) goals.push(await holdAgainstBrowser());
printReport({ name: "vectors", figures, goals }, flags.json === true);

function readEntries(): readonly VectorEntry[] {
  try {
    const { entries: read } = JSON.parse(readFileSync(join(root, "index.json"), "utf8")) as {
      entries: readonly VectorEntry[];
    };
    if (!Array.isArray(read) || read.length === 0) throw new Error("it has no entries");
    return read;
  } catch (error) {
    return end(`There is no readable index.json in ${root}: ${(error as Error).message}`);
  }
}

function load(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(join(root, path)));
  } catch {
    // In the words of the page's judges, so that what misses in both is not called a difference.
    throw new Error(`there is no file ${path}`);
  }
}

function end(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

/** Runs the same judges in a browser: same verdicts, statuses, fields, mutations and codes, or it is named. */
async function holdAgainstBrowser(): Promise<GoalOutcome> {
  const differently = judgedDifferently(comparisons, await judgeInBrowser(entries, load));
  for (const id of differently) out.write(`${id}: judged differently in headless Chromium\n`);
  const same = comparisons.length - differently.length;
  out.write(
    `${same} of ${comparisons.length} entries are judged in headless Chromium as they are in Node.\n`,
  );
  return exactly("entries judged in headless Chromium as in Node", same, comparisons.length);
}

function sum(group: readonly Comparison[], name: (typeof COUNTED)[number]): string {
  const total = (pick: (agreement: Agreement) => number): number =>
    group.reduce((count, one) => count + pick(one[name]), 0);
  return `${total(({ agree }) => agree)}/${total(({ of }) => of)}`;
}

function printTable(): void {
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
  const cpuMs = Math.round((user + system) / 1000);
  lines.push(`${agreeing} of ${comparisons.length} entries agree, in ${cpuMs} ms of CPU time.`);
  out.write(`${lines.join("\n")}\n`);
}
