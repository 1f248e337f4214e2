/** How many tests passed, failed and were skipped; the runners' reports are read into it and added up. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const NO_TESTS: Counts = { passed: 0, failed: 0, skipped: 0 };

export function addCounts(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

export function formatCounts({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** The last counts line that a runner printed. */
export function findCounts(output: string): Counts | undefined {
  const lines = [...output.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm)];
  const last = lines.at(-1);
  if (last === undefined) return undefined;
  return { passed: Number(last[1]), failed: Number(last[2]), skipped: Number(last[3]) };
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** Reads vitest's JSON report. A file that does not even load is one failed test. */
export function countsOfVitest(report: unknown): Counts {
  const read = report as VitestReport;
  return {
    passed: read.numPassedTests,
    failed: failuresOfVitest(report).length,
    skipped: read.numPendingTests + read.numTodoTests,
  };
}

/** `file: test` of every test that failed, and the file alone where it did not load. */
export function failuresOfVitest(report: unknown): string[] {
  return (report as VitestReport).testResults.flatMap(({ name, status, assertionResults }) => {
    const failed = assertionResults.filter((one) => one.status === "failed");
    if (failed.length > 0) return failed.map(({ fullName }) => `${name}: ${fullName}`);
    return status === "failed" ? [`${name}: did not load`] : [];
  });
}
