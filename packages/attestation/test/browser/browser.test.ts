import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { browserPath, bundleForBrowser, inBrowser } from "@cloister/tools/browser";
import { expect, test } from "vitest";
import type { VectorEntry } from "../../tools/judges/entry.ts";
import { judgeAll } from "./entry.ts";

const folder = process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../../shared/vectors");
/** The judges and the verifiers under them. */
const bundle = (): Promise<string> => bundleForBrowser(join(import.meta.dirname, "entry.ts"), "attestation");
const present = existsSync(join(folder, "index.json"));

test("the bundle for browsers imports nothing", { timeout: 60_000 }, async () => {
  expect(await bundle()).not.toMatch(/\brequire\(|\bimport\s*\(|from\s*["']node:|["']node:/);
});

test.skipIf(browserPath === undefined || !present)(
  `every vector of ${folder} gets the same verdict in a real browser (needs chromium)`,
  { timeout: 180_000 },
  async () => {
    const { entries } = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
      entries: VectorEntry[];
    };
    const files = filesOf(entries);
    await inBrowser(await bundle(), async (page) => {
      const judged: unknown = await page.evaluate(
        ([given, bytes]) =>
          (globalThis as unknown as { attestation: { judgeAll: typeof judgeAll } }).attestation.judgeAll(
            given,
            bytes,
          ),
        [entries, files] as const,
      );
      expect(judged).toEqual(judgeAll(entries, files));
      expect(
        (judged as ReturnType<typeof judgeAll>).filter(({ differences }) => differences.length > 0),
      ).toEqual([]);
    });
  },
);

/** Every file that an entry names, and every anchor, as base64 by path. */
function filesOf(entries: readonly VectorEntry[]): Record<string, string> {
  const named = entries.flatMap((entry) => [
    ...Object.values(entry.files).flat(),
    ...[entry.trustAnchor, entry["intermediate"]].filter((path) => typeof path === "string"),
  ]);
  const anchors = ["milan", "genoa", "turin"].flatMap((product) =>
    ["ark", "ask", "asvk"].map((role) => `anchors/amd-${product}-${role}.pem`),
  );
  const paths = [...new Set([...named, ...anchors])].filter((path) => /^[\w./-]+\.\w+$/.test(path));
  return Object.fromEntries(
    paths
      .filter((path) => existsSync(join(folder, path)))
      .map((path) => [path, readFileSync(join(folder, path), "base64")]),
  );
}
