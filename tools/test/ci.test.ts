import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const script = fileURLToPath(new URL("../../.ci/run", import.meta.url));

/** Runs a copy of the script where `npm` is a shell script of the test's. */
function runWith(npm: string): { exitCode: number | null; last: string; output: string } {
  const folder = mkdtempSync(join(tmpdir(), "cloister-ci-"));
  try {
    mkdirSync(join(folder, ".ci"));
    cpSync(script, join(folder, ".ci/run"));
    writeFileSync(join(folder, "npm"), `#!/bin/sh\n${npm}\n`);
    chmodSync(join(folder, "npm"), 0o755);
    const path = `${folder}:${process.env["PATH"] ?? ""}`;
    const ran = spawnSync(join(folder, ".ci/run"), {
      encoding: "utf8",
      env: { ...process.env, PATH: path, CI_INSTALL: "no" },
    });
    const output = ran.stdout.trimEnd();
    return { exitCode: ran.status, last: output.split("\n").at(-1) ?? "", output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const COUNTS = `echo noise; echo "10 passed, 0 failed, 2 skipped"`;

test("the three steps and all tests are added up", () => {
  const { exitCode, last } = runWith(`[ "$1" != test ] || { ${COUNTS}; }`);
  expect({ exitCode, last }).toEqual({ exitCode: 0, last: "13 passed, 0 failed, 2 skipped" });
});

test("an installation that fails ends the run", () => {
  const { exitCode, last, output } = runWith(`[ "$1" != ci ]`);
  expect({ exitCode, last }).toEqual({ exitCode: 1, last: "0 passed, 1 failed, 0 skipped" });
  expect(output).not.toContain("== check");
});

test("a failed check or demo counts as a failed test, and the tests run all the same", () => {
  const { exitCode, last } = runWith(`[ "$2" != check ] || exit 1; [ "$1" != test ] || { ${COUNTS}; }`);
  expect({ exitCode, last }).toEqual({ exitCode: 1, last: "12 passed, 1 failed, 2 skipped" });
});

test("failed tests fail the run", () => {
  const { exitCode, last } = runWith(`[ "$1" != test ] || { echo "9 passed, 1 failed, 0 skipped"; exit 1; }`);
  expect({ exitCode, last }).toEqual({ exitCode: 1, last: "12 passed, 1 failed, 0 skipped" });
});

test.each([`[ "$1" != test ] || exit 1`, `[ "$1" != test ] || echo nothing`])(
  "a test run that dies without counts is a failure: %s",
  (npm) => {
    const { exitCode, last } = runWith(npm);
    expect({ exitCode, last }).toEqual({ exitCode: 1, last: "3 passed, 1 failed, 0 skipped" });
  },
);

test("a test run that fails after good counts is a failure", () => {
  const { exitCode, last } = runWith(`[ "$1" != test ] || { ${COUNTS}; exit 1; }`);
  expect({ exitCode, last }).toEqual({ exitCode: 1, last: "13 passed, 1 failed, 2 skipped" });
});
