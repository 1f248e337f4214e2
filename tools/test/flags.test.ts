import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

const program = `import { readFlags, wholeNumber } from ${JSON.stringify(new URL("../flags.ts", import.meta.url).href)};
const flags = readFlags("probe [--seeds N] [--json]", {
  seeds: { type: "string", default: "3" },
  json: { type: "boolean", default: false },
});
console.log(JSON.stringify({ ...flags, seeds: wholeNumber("seeds", flags.seeds, 1) }));`;

const run = (...flags: string[]) =>
  spawnSync(process.execPath, ["--input-type=module", "--eval", program, "--", ...flags], {
    encoding: "utf8",
  });

test("Options are read with their defaults", () => {
  expect(JSON.parse(run("--json").stdout)).toMatchObject({ seeds: 3, json: true });
  expect(JSON.parse(run("--seeds", "12").stdout)).toMatchObject({ seeds: 12, json: false });
});

test("--help prints how it is used and runs nothing", () => {
  const { stdout, status } = run("--help");
  expect([stdout, status]).toEqual(["probe [--seeds N] [--json]\n", 0]);
});

test.each([
  [["--sedes", "3"], "--sedes"],
  [["--seeds"], "--seeds"],
  [["--seeds", "0"], "--seeds takes a whole number from 1 on"],
  [["--seeds", "3.5"], "--seeds takes a whole number"],
  [["--seeds", "many"], "--seeds takes a whole number"],
])("%j ends with exit code 2 and no stack", (flags, named) => {
  const { stdout, stderr, status } = run(...flags);
  expect([stdout, status]).toEqual(["", 2]);
  expect(stderr).toContain(named);
  expect(stderr).not.toContain("    at ");
});
