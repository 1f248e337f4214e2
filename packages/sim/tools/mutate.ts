import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { exactly, printReport } from "@cloister/tools/report";
import { runSeed, type Core } from "../src/index.ts";
import { MUTANTS, type Mutant } from "./mutants.ts";

/**
 * `npm run mutate:swarm`: seeds one fault at a time into a copy of the core and lets the simulator look
 * for it, in the first seeds and in those that once found a fault. Exits 1 when a fault survives all.
 */
const values = readFlags("npm run mutate:swarm -- [--seeds N] [--only TEXT] [--json]", {
  seeds: { type: "string", default: "1000" },
  only: { type: "string" },
  json: { type: "boolean", default: false },
});

const root = fileURLToPath(new URL("../../..", import.meta.url));
const source = fileURLToPath(new URL("../../swarm/src", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "swarm-mutants-"));
symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');

const foundSeeds = readFileSync(new URL("../test/found-seeds.json", import.meta.url), "utf8");
const FOUND = (JSON.parse(foundSeeds) as { readonly seed: number }[]).map(({ seed }) => seed);
const seeds = wholeNumber("seeds", values.seeds, 1);
const wanted = MUTANTS.filter(({ name }) => values.only === undefined || name.includes(values.only));
const survivors: string[] = [];
const explained: string[] = [];
const found: { name: string; seed: number; code: string }[] = [];
try {
  for (const [place, mutant] of wanted.entries()) {
    const core = await loadMutant(mutant, join(folder, String(place)));
    const hit = hunt(core, seeds);
    if (hit === undefined) (mutant.explained === undefined ? survivors : explained).push(mutant.name);
    else found.push({ name: mutant.name, ...hit });
    const verdict =
      hit === undefined
        ? `SURVIVED${mutant.explained === undefined ? "" : `: ${mutant.explained}`}`
        : `${hit.code}, seed ${hit.seed}`;
    if (!values.json) console.log(`${mutant.name.padEnd(64)} ${verdict}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}

const figures = {
  mutants: wanted.length,
  found: found.length,
  explained: explained.length,
  survivors: survivors.length,
};
const goals = [exactly("faults neither found nor explained", survivors.length, 0)];
const report = { name: "mutate:swarm", figures, goals, found, explained, survivors };
printReport(report, values.json);

async function loadMutant(mutant: Mutant, target: string): Promise<Core> {
  cpSync(source, target, { recursive: true });
  const path = join(target, mutant.file);
  const text = readFileSync(path, "utf8");
  if (text.split(mutant.find).length !== 2) {
    throw new Error(`mutant "${mutant.name}": its text is not in ${mutant.file} exactly once`);
  }
  writeFileSync(
    path,
    text.replace(mutant.find, () => mutant.replace),
  );
  return (await import(pathToFileURL(join(target, "index.ts")).href)) as Core;
}

function hunt(core: Core, seeds: number): { seed: number; code: string } | undefined {
  for (const seed of [...Array(seeds).keys()].map((place) => place + 1).concat(FOUND)) {
    const { broken } = runSeed(seed, core);
    if (broken !== undefined) return { seed, code: broken.code };
  }
  return undefined;
}
