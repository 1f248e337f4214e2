/**
 * `npm run check`: everything that judges the code without running it. One line per step with its
 * duration; the output of a failed step follows it; exits 1 when any step failed.
 * `npm run check -- lint tidy` runs only the steps named.
 */
import { formatDuration } from "@cloister/core";
import { runCommand } from "./lib/run-command.ts";

interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

const STEPS: readonly Step[] = [
  { name: "types", command: ["tsc", "-b"] },
  { name: "lint", command: ["oxlint", "--deny-warnings"] },
  { name: "format", command: ["oxfmt", "--check", "."] },
  { name: "tidy", command: [process.execPath, "tools/tidy.ts"] },
  { name: "unused", command: ["knip", "--no-progress", "--no-config-hints"] },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !STEPS.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(`error USAGE: no step is called "${unknown.join('", "')}".`);
  console.error(`hint: the steps are ${STEPS.map((step) => step.name).join(", ")}.`);
  process.exitCode = 2;
} else {
  process.exitCode = await check(STEPS.filter((step) => wanted.length === 0 || wanted.includes(step.name)));
}

async function check(steps: readonly Step[]): Promise<number> {
  const failed: string[] = [];
  for (const { name, command } of steps) {
    const [program, ...args] = command;
    const { exitCode, output, durationMs } = await runCommand(program, args);
    const ok = exitCode === 0;
    console.log(`${ok ? "ok  " : "FAIL"} ${name.padEnd(16)} ${formatDuration(durationMs)}`);
    if (ok) continue;
    failed.push(name);
    console.log(output.trimEnd());
  }
  console.log(failed.length === 0 ? `${steps.length} steps passed` : `failed: ${failed.join(", ")}`);
  return failed.length === 0 ? 0 : 1;
}
