import { expect, test } from "vitest";
import { addCounts, countsOfVitest, failuresOfVitest, findCounts, formatCounts } from "../lib/counts.ts";

test("counts are written and found again, the last line counting", () => {
  const counts = { passed: 3, failed: 1, skipped: 2 };
  expect(formatCounts(counts)).toBe("3 passed, 1 failed, 2 skipped");
  expect(findCounts(`1 passed, 0 failed, 0 skipped\nnoise\n${formatCounts(counts)}\n`)).toEqual(counts);
  expect(addCounts(counts, counts)).toEqual({ passed: 6, failed: 2, skipped: 4 });
});

test.each(["", "3 passed", " 3 passed, 1 failed, 2 skipped", "3 passed, 1 failed, 2 skipped."])(
  "%j is not a counts line",
  (output) => {
    expect(findCounts(output)).toBeUndefined();
  },
);

test("a test file that does not load is a failed test, and failures are named", () => {
  const report = {
    numPassedTests: 2,
    numFailedTests: 1,
    numPendingTests: 1,
    numTodoTests: 0,
    testResults: [
      { name: "a.test.ts", status: "failed", assertionResults: [] },
      {
        name: "b.test.ts",
        status: "failed",
        assertionResults: [
          { status: "failed", fullName: "adds" },
          { status: "passed", fullName: "counts" },
        ],
      },
      { name: "c.test.ts", status: "passed", assertionResults: [{ status: "passed", fullName: "writes" }] },
    ],
  };
  expect(countsOfVitest(report)).toEqual({ passed: 2, failed: 2, skipped: 1 });
  expect(failuresOfVitest(report)).toEqual(["a.test.ts: did not load", "b.test.ts: adds"]);
});
