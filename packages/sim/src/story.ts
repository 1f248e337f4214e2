import { CloisterError } from "@cloister/core";
import type { Goal, HardwareFacts } from "@cloister/swarm";
import { drawScenario, type Scenario } from "./scenario.ts";
import { guarded, World, type SimNode } from "./world.ts";

/** A run that somebody watches: their goals, their number of nodes, what happens when. */
export interface StoryOptions {
  readonly nodes: number;
  readonly seed: number;
  readonly seconds: number;
  readonly goals: readonly Goal[];
  readonly rttMsMax: number;
  readonly loss: number;
  /** Lines `SECONDS stop|start|freeze|thaw NODE`, `SECONDS cut A-B` (those nodes from the rest), `SECONDS heal`. */
  readonly script: string;
}

/**
 * Runs a story and gives the world it ended in, its trace recorded.
 * @throws {CloisterError} `SIM_SCRIPT_MALFORMED`
 */
export function runStory(options: StoryOptions): World {
  const scenario: Scenario = {
    ...drawScenario(options.seed),
    seed: options.seed,
    nodes: options.nodes,
    voters: options.nodes,
    faults: [],
    calm: true,
    incident: "none",
    lost: undefined,
    rttMsMax: options.rttMsMax,
    loss: options.loss,
    duplicate: 0,
    reorder: 0.01,
    blockMs: 500,
    viewLagMsMax: 100,
    orders: 0,
    probeIntervalMs: 50,
    goals: options.goals,
  };
  const world = new World(scenario);
  world.recordTrace = true;
  world.factsOf = variedFacts;
  for (const line of options.script.split(/[\n;]/)) scheduleLine(world, line.trim());
  world.begin();
  guarded(world, () => world.run(options.seconds * 1000));
  return world;
}

/** A mixed park: two kinds of TEE, every fourth machine with GPUs. */
function variedFacts(index: number): HardwareFacts {
  return {
    tee: index % 3 === 2 ? "sev-snp" : "tdx",
    simulated: true,
    cpus: 8 << (index % 3),
    memoryBytes: 2 ** (34 + (index % 3)),
    gpus: index % 4 === 0 ? 2 : 0,
  };
}

function scheduleLine(world: World, line: string): void {
  if (line === "" || line.startsWith("#")) return;
  const [at = "", verb = "", what = ""] = line.split(/\s+/);
  const atMs = Number(at) * 1000;
  const act = actionOf(world, verb, what);
  if (!(atMs >= 0) || act === undefined) {
    throw new CloisterError(
      "SIM_SCRIPT_MALFORMED",
      `The script line "${line.slice(0, 80)}" is not understood.`,
      {
        hint: 'Write for example "5 stop 3", "9 start 3", "12 cut 0-4" or "20 heal", one per line.',
      },
    );
  }
  world.schedule(atMs, act);
}

function actionOf(world: World, verb: string, what: string): (() => void) | undefined {
  const [from = 0, to = from] = what.split("-").map(Number);
  const { nodes } = world.scenario;
  if (verb === "heal") return () => void world.cuts.fill(0);
  if (!(from >= 0 && to >= from && to < nodes) || what === "") return undefined;
  const each = (act: (node: SimNode) => void) => () => world.nodes.slice(from, to + 1).forEach(act);
  if (verb === "stop") return each((node) => world.crash(node));
  if (verb === "start") return each((node) => world.start(node));
  if (verb === "freeze") return each((node) => (node.frozen = node.state !== undefined));
  if (verb === "thaw") return each((node) => world.thaw(node));
  if (verb !== "cut") return undefined;
  return () => {
    const inside = (node: number): boolean => node >= from && node <= to;
    for (let a = 0; a < nodes; a++) {
      for (let b = 0; b < nodes; b++) if (inside(a) !== inside(b)) world.cuts[a * nodes + b] = 1;
    }
  };
}
