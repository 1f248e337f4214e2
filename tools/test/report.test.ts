import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { atLeast, atMost, exactly } from "../report.ts";

test("A goal compares what was measured, and what is shown is never rounded into being met", () => {
  expect(atMost("gas", 130_000.4, 130_000)).toEqual({
    what: "gas",
    goal: "<= 130000",
    figure: 130_000.4,
    met: false,
  });
  expect(atLeast("times", 2.99999, 3)).toMatchObject({ figure: 2.9999, met: false });
  expect(atMost("times", 1.500001, 1.5)).toMatchObject({ figure: 1.5001, met: false });
  expect(atMost("times", 1.5, 1.5).met).toBe(true);
  expect(exactly("entries", "84/84", "84/84").met).toBe(true);
  expect(exactly("entries", "83/84", "84/84").met).toBe(false);
});

test("What could not be measured meets no goal", () => {
  expect(atMost("peer", Number.NaN, 1)).toEqual({ what: "peer", goal: "<= 1", figure: null, met: false });
  expect(atLeast("peer", Number.NaN, 1).met).toBe(false);
});

test("Under --json the object stands last on stdout, the words go to stderr, and a miss is exit code 1", () => {
  const program = (limit: number, json: boolean): string =>
    `import { atMost, printReport } from ${JSON.stringify(new URL("../report.ts", import.meta.url).href)};
     printReport({ name: "probe", figures: { a: 1 }, goals: [atMost("a", 1, ${limit})] }, ${json});`;
  const run = (limit: number, json: boolean) =>
    spawnSync(process.execPath, ["--input-type=module", "--eval", program(limit, json)], {
      encoding: "utf8",
    });

  const met = run(2, true);
  expect(JSON.parse(met.stdout)).toEqual({
    name: "probe",
    figures: { a: 1 },
    goals: [{ what: "a", goal: "<= 2", figure: 1, met: true }],
  });
  expect(met.stderr).toBe("a: 1 (goal <= 2): met\n");
  expect(met.status).toBe(0);

  const missed = run(0, false);
  expect(missed.stdout).toBe("a: 1 (goal <= 0): MISSED\n");
  expect(missed.status).toBe(1);
});
