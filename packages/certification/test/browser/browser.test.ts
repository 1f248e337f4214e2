import { join } from "node:path";
import { createContext, runInContext } from "node:vm";
import { browserPath, bundleForBrowser, inBrowser } from "@cloister/tools/browser";
import { beforeAll, expect, test } from "vitest";
import { verifyProof, type ProofResult } from "../../src/index.ts";
import { simulationRoots, vendorRoots } from "@cloister/attestation";
import { forgeProof } from "../proof/forger.ts";

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
  [code, proof] = await Promise.all([
    bundleForBrowser(join(import.meta.dirname, "entry.ts"), "cloister"),
    forgeProof(),
  ]);
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
  runInContext(code, context);
  expectSame(String(runInContext(`${PROGRAM}(${JSON.stringify([...proof.bytes])})`, context)));
});

test.skipIf(browserPath === undefined)(
  "the verifier gives the same answer in a real browser (needs chromium)",
  { timeout: 60_000 },
  async () => {
    await inBrowser(code, async (page) => {
      expectSame(await page.evaluate(`${PROGRAM}(${JSON.stringify([...proof.bytes])})`));
    });
  },
);
