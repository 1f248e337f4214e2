/**
 * `npm test`: runs every test runner, adds up what they report, names what failed, and prints
 * `N passed, M failed, K skipped` alone on the last line. `npm test -- packages/core` hands its arguments to vitest and leaves the others out.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import {
  addCounts,
  countsOfVitest,
  failuresOfVitest,
  findCounts,
  formatCounts,
  NO_TESTS,
  type Counts,
} from "./lib/counts.ts";
import { root, runCommand } from "./lib/run-command.ts";

const args = process.argv.slice(2);
const failures: string[] = [];
let counts = await runVitest(args);
if (args.length === 0) counts = addCounts(counts, await runContracts());
for (const failure of failures) console.log(`failed: ${relative(root, failure)}`);
console.log(formatCounts(counts));
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1;

async function runVitest(filters: readonly string[]): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  const report = join(folder, "report.json");
  try {
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    const { exitCode } = await runCommand("vitest", ["run", ...reporters, ...filters], { echo: true });
    if (!existsSync(report)) return { ...NO_TESTS, failed: 1 };
    const results: unknown = JSON.parse(readFileSync(report, "utf8"));
    const read = countsOfVitest(results);
    failures.push(...failuresOfVitest(results));
    return exitCode !== 0 && read.failed === 0 ? { ...read, failed: 1 } : read;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The contracts' own tests in Solidity: their runner prints the same counts line as this one. */
async function runContracts(): Promise<Counts> {
  const runner = `${root}/contracts/tools/forge-test.ts`;
  if (!existsSync(runner)) return NO_TESTS;
  const { exitCode, output } = await runCommand(process.execPath, [runner], { echo: true });
  const read = findCounts(output) ?? NO_TESTS;
  return exitCode !== 0 && read.failed === 0 ? { ...read, failed: 1 } : read;
}
