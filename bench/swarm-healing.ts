import { runHealing, SCENES } from "@cloister/test/hosts";
import type { PartResult } from "./swarm-parts.ts";
import { loadAverage } from "./swarm-statistics.ts";

/**
 * Part (h): what goes wrong with members, links, hosts and hardware on loopback, how long until the swarm is whole
 * again, and that no order was lost which had been opened. `npm run test:heal` does it in network namespaces too.
 */
export async function benchHealing(say: (text: string) => void): Promise<PartResult> {
  const loadBefore = loadAverage();
  const { figures, goals } = await runHealing("loopback", Object.keys(SCENES), say);
  return { figures: { load: `${loadBefore}; ${loadAverage()}`, ...figures }, goals };
}
