import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { nextFraction, seedRandom } from "@cloister/swarm";

const FILE = fileURLToPath(new URL("../../shared/data/latency/PlanetLabData_1.txt", import.meta.url));

/** The measured network is not here: benches that want it say so by name. */
export const PLANETLAB_MISSING = existsSync(FILE)
  ? undefined
  : "the PlanetLab matrix is not in ../shared/data/latency; skipped";

let sites: { count: number; rttMs: Float64Array } | undefined;

function loadSites(): { count: number; rttMs: Float64Array } {
  if (sites !== undefined) return sites;
  const rows = readFileSync(FILE, "utf8").trim().split("\n");
  const matrix = rows.map((row) => row.trim().split(/\s+/).map(Number));
  const count = matrix.length;
  const rttMs = new Float64Array(count * count);
  for (let a = 0; a < count; a++) {
    for (let b = 0; b < count; b++) {
      rttMs[a * count + b] = ((matrix[a]?.[b] ?? 0) + (matrix[b]?.[a] ?? 0)) / 2;
    }
  }
  sites = { count, rttMs };
  return sites;
}

/**
 * A network of `nodes` drawn from the measured one: up to its size distinct sites, beyond it sites at
 * random with an exponential access delay (mean 2 ms) and 5 % noise per pair. No n² matrix is made.
 */
export function planetLab(nodes: number, seed: number): (a: number, b: number) => number {
  const { count, rttMs } = loadSites();
  const random = seedRandom(seed);
  const order = Array.from({ length: count }, (_, site) => ({ site, key: nextFraction(random) }));
  order.sort((a, b) => a.key - b.key);
  const grown = nodes > count;
  const site = Int32Array.from({ length: nodes }, (_, node) => {
    return grown ? Math.floor(nextFraction(random) * count) : (order[node]?.site ?? 0);
  });
  const access = Float64Array.from({ length: nodes }, () =>
    grown ? -2 * Math.log(1 - nextFraction(random)) : 0,
  );
  return (a, b) => {
    const base = rttMs[(site[a] as number) * count + (site[b] as number)] as number;
    if (!grown) return base;
    const low = a < b ? a : b;
    const high = a < b ? b : a;
    let hash = Math.imul(low * 0x9e3779b1 + high, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
    const noise = 0.95 + ((hash >>> 0) / 4294967296) * 0.1;
    return (base + (access[low] as number) + (access[high] as number)) * noise;
  };
}
