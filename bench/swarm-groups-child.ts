import { allocate } from "@cloister/swarm";
import { drawProblem } from "./swarm-groups.ts";

/**
 * Allocates problems one after another and prints what came of them as JSON: `node bench/swarm-groups-child.ts
 * NODES GOALS tight|loose SEED…`. CPU time counts from the first, cold one on, and with what runs beside the main
 * thread: compiling and collecting garbage.
 */
const [nodes, count, kind, ...seeds] = process.argv.slice(2);
const results = seeds.map((seed) => {
  const { problem, goals } = drawProblem(Number(nodes), Number(count), Number(seed), kind === "tight");
  const beforeMb = process.memoryUsage().rss / 1e6;
  const before = process.cpuUsage();
  const { score, groups } = allocate(problem, goals);
  const { user, system } = process.cpuUsage(before);
  const met = groups.filter((group) => group !== undefined).length;
  const peakMb = (process.resourceUsage().maxRSS * 1_024) / 1e6;
  return { score, met, ms: (user + system) / 1_000, peakMb, beforeMb };
});
console.log(JSON.stringify(results));
