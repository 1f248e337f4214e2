import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { browserPath } from "@cloister/tools/browser";
import { describe, expect, test } from "vitest";
import { bundleJudges, judgedDifferently, judgeInBrowser } from "../../tools/in-browser.ts";
import { judgeAll } from "../../tools/judges/all.ts";
import type { VectorEntry } from "../../tools/judges/entry.ts";
import { judgeInPage } from "../../tools/judges/in-page.ts";

const folder = process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../../shared/vectors");
const present = existsSync(join(folder, "index.json"));
const load = (path: string): Uint8Array => new Uint8Array(readFileSync(join(folder, path)));

test("the bundle for browsers imports nothing", { timeout: 60_000 }, async () => {
  expect(await bundleJudges()).not.toMatch(/\brequire\(|\bimport\s*\(|from\s*["']node:|["']node:/);
});

test.skipIf(browserPath === undefined || !present)(
  `every vector of ${folder} gets the same verdict in a real browser (needs chromium)`,
  { timeout: 180_000 },
  async () => {
    const { entries } = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
      entries: VectorEntry[];
    };
    const here = judgeAll(entries, load);
    expect(judgedDifferently(here, await judgeInBrowser(entries, load))).toEqual([]);
    expect(
      here.flatMap(({ verdict, status, fields, mutations }) =>
        [verdict, status, fields, mutations].flatMap(({ differences }) => differences),
      ),
    ).toEqual([]);
  },
);

describe("entries judged in two places", () => {
  const entry: VectorEntry = {
    ...{ id: "e-1", tee: "sgx", kind: "dcap-quote", evaluationTime: "2025-01-01T00:00:00Z" },
    ...{ files: { quote: "q.bin" }, expected: { verdict: "reject" } },
  };
  const bytes = (): Uint8Array => new Uint8Array(48);

  test("are the same when both had the same bytes", () => {
    const there = judgeInPage({ entries: [entry], files: { "q.bin": "AAAA" } });
    expect(judgedDifferently(judgeAll([entry], bytes), there)).toEqual([]);
  });

  test("are named when their verdicts, their codes or their number differ", () => {
    const here = judgeAll([entry], bytes);
    const verdict = { agree: 0, of: 1, differences: ["verdict: got valid, expected reject"] };
    expect(
      judgedDifferently(
        here,
        here.map((one) => ({ ...one, verdict })),
      ),
    ).toEqual(["e-1"]);
    expect(
      judgedDifferently(
        here,
        here.map((one) => ({ ...one, codes: [] })),
      ),
    ).toEqual(["e-1"]);
    expect(judgedDifferently(here, [])).toEqual(["e-1"]);
  });

  test("are named when the page lacks a file", () => {
    const there = judgeInPage({ entries: [entry], files: {} });
    expect(judgedDifferently(judgeAll([entry], bytes), there)).toEqual(["e-1"]);
    expect(there[0]?.verdict.differences.join()).toContain("there is no file q.bin");
  });
});
