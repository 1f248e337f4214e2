import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { build, type Rolldown } from "vite";
import { expect, test } from "vitest";
import type { VectorEntry } from "../../tools/judges/entry.ts";
import { judgeAll } from "./entry.ts";

const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path),
);
const folder = process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../../shared/vectors");
const present = existsSync(join(folder, "index.json"));

/** Bundles the judges and the verifiers under them as a web page's build would: with nothing of Node. */
async function bundle(): Promise<string> {
  const built = (await build({
    root: import.meta.dirname,
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      lib: {
        entry: join(import.meta.dirname, "entry.ts"),
        formats: ["iife"],
        name: "attestation",
        fileName: "attestation",
      },
    },
  })) as Rolldown.RolldownOutput[];
  const [chunk, ...more] = built.flatMap(({ output }) => output);
  if (chunk?.type !== "chunk" || more.length > 0) throw new Error("the bundle is not one file");
  return chunk.code;
}

test("the bundle for browsers imports nothing", { timeout: 60_000 }, async () => {
  expect(await bundle()).not.toMatch(/\brequire\(|\bimport\s*\(|from\s*["']node:|["']node:/);
});

test.skipIf(browser === undefined || !present)(
  `every vector of ${folder} gets the same verdict in a real browser (needs chromium)`,
  { timeout: 180_000 },
  async () => {
    const { entries } = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
      entries: VectorEntry[];
    };
    const files = filesOf(entries);
    const running = await chromium.launch({ executablePath: browser as string, args: ["--no-sandbox"] });
    try {
      const page = await running.newPage();
      await page.addScriptTag({ content: `${await bundle()}; globalThis.attestation = attestation;` });
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
    } finally {
      await running.close();
    }
  },
);

/** Every file that an entry names, and every anchor, as base64 by path. */
function filesOf(entries: readonly VectorEntry[]): Record<string, string> {
  const named = entries.flatMap((entry) => [...Object.values(entry.files).flat(), entry.trustAnchor ?? ""]);
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
