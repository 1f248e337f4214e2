/**
 * The proof of one order, as the demo leaves it: how large it is, what a warm verification costs in Node and in a
 * browser, beside the least that it could cost, and whether any of many random changes goes unnoticed. `npm run
 * bench:proof -- [--proof FILE] [--changes N] [--seed N] [--json]`; without a file the demo is run first.
 */
import { spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { simulationRoots, vendorRoots } from "@cloister/attestation";
import { verifyProof } from "@cloister/certification";
import { browserPath, bundleForBrowser, inBrowser } from "@cloister/tools/browser";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { atMost, exactly, printReport } from "@cloister/tools/report";

const ROUNDS = 41;
const BYTES_MAX = 65_536;
const WARM_MS_MAX = 100;
const ENTRY = fileURLToPath(new URL("../packages/certification/test/browser/entry.ts", import.meta.url));
const PROGRAM = fileURLToPath(new URL("../apps/cli/bin/cloister.mjs", import.meta.url));
const roots = [vendorRoots, simulationRoots];

const flags = readFlags("npm run bench:proof -- [--proof FILE] [--changes N] [--seed N] [--json]", {
  proof: { type: "string" },
  changes: { type: "string", default: "1000" },
  seed: { type: "string", default: "1" },
  json: { type: "boolean", default: false },
});
const changes = wholeNumber("changes", flags.changes);
const random = randomFrom(wholeNumber("seed", flags.seed));
const proof = flags.proof === undefined ? proofOfDemo() : new Uint8Array(readFileSync(flags.proof));
if (!verifyProof(proof, { roots }).verified) throw new Error("the proof does not verify as it is");

const nodeMs: number[] = [];
const bareMs: number[] = [];
const bare = bareOperations(proof);
for (let round = 0; round < ROUNDS; round++) {
  nodeMs.push(cpuMsOf(() => verifyProof(proof, { roots })));
  bareMs.push(cpuMsOf(bare));
}
const browserMs = browserPath === undefined ? Number.NaN : await warmInBrowser();
const unnoticed = countUnnoticed();

const figures = {
  sizeBytes: proof.length,
  nodeWarmCpuMs: median(nodeMs),
  bareCpuMs: median(bareMs),
  nodeOverBare: median(nodeMs.map((ms, i) => ms / (bareMs[i] as number))),
  browserWarmMs: browserMs,
  changes,
  unnoticed,
};
if (!flags.json)
  for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(16)} ${value}`);
printReport(
  {
    name: "proof",
    figures,
    goals: [
      atMost("bytes of the demo's proof", proof.length, BYTES_MAX),
      atMost("warm verification in Node, CPU ms", figures.nodeWarmCpuMs, WARM_MS_MAX),
      atMost("warm verification in Chromium, ms", browserMs, WARM_MS_MAX),
      exactly(`changes of one byte, of ${changes}, that went unnoticed`, unnoticed, 0),
    ],
  },
  flags.json,
);

function proofOfDemo(): Uint8Array {
  const home = mkdtempSync(join(tmpdir(), "cloister-bench-proof-"));
  try {
    const demo = spawnSync(process.execPath, [PROGRAM, "--json", "--home", home, "demo"], {
      encoding: "utf8",
      maxBuffer: 1 << 26,
    });
    if (demo.status !== 0) throw new Error(`the demo ended with ${demo.status}: ${demo.stderr}`);
    return new Uint8Array(readFileSync(join(home, "demo", "proof.cloister")));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** What no verifier can do without: two P-256 and three Ed25519 signatures, and the digest of the file. */
function bareOperations(file: Uint8Array): () => void {
  const message = file.subarray(0, 600);
  const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ed25519 = generateKeyPairSync("ed25519");
  const quote = sign("sha256", message, p256.privateKey);
  const statement = sign(null, message, ed25519.privateKey);
  return () => {
    for (let i = 0; i < 2; i++) verify("sha256", message, p256.publicKey, quote);
    for (let i = 0; i < 3; i++) verify(null, message, ed25519.publicKey, statement);
    createHash("sha256").update(file).digest();
  };
}

async function warmInBrowser(): Promise<number> {
  return inBrowser(await bundleForBrowser(ENTRY, "cloister"), (page) =>
    page.evaluate(
      ([bytes, rounds]) => {
        const page = (
          globalThis as unknown as {
            cloister: typeof import("../packages/certification/test/browser/entry.ts");
          }
        ).cloister;
        const trusted = [page.vendorRoots, page.simulationRoots];
        const file = new Uint8Array(bytes);
        const times: number[] = [];
        for (let round = 0; round < rounds; round++) {
          const start = performance.now();
          if (!page.verifyProof(file, { roots: trusted }).verified)
            throw new Error("not verified in the browser");
          times.push(performance.now() - start);
        }
        return times.toSorted((a, b) => a - b)[times.length >> 1] as number;
      },
      [[...proof], ROUNDS] as const,
    ),
  );
}

function countUnnoticed(): number {
  let count = 0;
  for (let i = 0; i < changes; i++) {
    const changed = proof.slice();
    const at = random() % changed.length;
    changed[at] = (changed[at] as number) ^ (1 + (random() % 255));
    if (verifyProof(changed, { roots }).verified) count++;
  }
  return count;
}

function cpuMsOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

/** xorshift32: the same changes for the same seed. */
function randomFrom(seed: number): () => number {
  let word = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    return (word >>>= 0);
  };
}
