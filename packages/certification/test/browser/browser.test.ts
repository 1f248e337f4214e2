import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { chromium } from "playwright-core";
import { build, type Rolldown } from "vite";
import { beforeAll, expect, test } from "vitest";
import { verifyProof, type ProofResult } from "../../src/index.ts";
import { simulationRoots, vendorRoots } from "@cloister/attestation";
import { forgeProof } from "../proof/forger.ts";

const here = dirname(fileURLToPath(import.meta.url));
const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path),
);

/** Bundles the verifier as a web page's build would: for browsers, with nothing of Node. */
async function bundle(): Promise<string> {
  const built = (await build({
    root: here,
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      lib: { entry: join(here, "entry.ts"), formats: ["iife"], name: "cloister", fileName: "cloister" },
    },
  })) as Rolldown.RolldownOutput[];
  const [chunk, ...more] = built.flatMap(({ output }) => output);
  if (chunk?.type !== "chunk" || more.length > 0) throw new Error("the bundle is not one file");
  return chunk.code;
}

const PROGRAM = `(${String((bytes: number[]) => {
  const {
    verifyProof: verifyInPage,
    simulationRoots: simulation,
    vendorRoots: vendors,
  } = (globalThis as unknown as { cloister: typeof import("./entry.ts") }).cloister;
  const roots = [vendors, simulation];
  const good = verifyInPage(new Uint8Array(bytes), { roots });
  const bad = verifyInPage(new Uint8Array(bytes.with(9000, (bytes[9000] ?? 0) ^ 1)), { roots });
  verifyInPage(new Uint8Array(bytes), { roots });
  const start = performance.now();
  verifyInPage(new Uint8Array(bytes), { roots });
  return JSON.stringify({ good, bad: bad.verified, warmMs: performance.now() - start });
})})`;

let code = "";
let proof: Awaited<ReturnType<typeof forgeProof>>;
beforeAll(async () => {
  [code, proof] = await Promise.all([bundle(), forgeProof()]);
}, 60_000);

function expectSame(answer: string): void {
  const { good, bad } = JSON.parse(answer) as { good: ProofResult; bad: boolean };
  const here = verifyProof(proof.bytes, { roots: [vendorRoots, simulationRoots] });
  expect(good.verified).toBe(true);
  expect(good.links).toEqual(here.links);
  expect(bad).toBe(false);
}

test("the bundle for browsers imports nothing", () => {
  expect(code).not.toMatch(/\brequire\(|\bimport\s*\(|from\s*["']node:|["']node:/);
});

test("the verifier gives the same answer where there is nothing but the language, text coding and URLs", () => {
  const globals = { TextEncoder, TextDecoder, URL, atob, btoa, performance };
  const context = createContext(globals);
  runInContext(`${code}; globalThis.cloister = cloister;`, context);
  expectSame(String(runInContext(`${PROGRAM}(${JSON.stringify([...proof.bytes])})`, context)));
});

test.skipIf(browser === undefined)(
  "the verifier gives the same answer in a real browser (needs chromium)",
  { timeout: 60_000 },
  async () => {
    const running = await chromium.launch({ executablePath: browser as string, args: ["--no-sandbox"] });
    try {
      const page = await running.newPage();
      await page.addScriptTag({ content: `${code}; globalThis.cloister = cloister;` });
      expectSame(await page.evaluate(`${PROGRAM}(${JSON.stringify([...proof.bytes])})`));
    } finally {
      await running.close();
    }
  },
);
