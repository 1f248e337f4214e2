import { viewOf, type Goal } from "@cloister/swarm";
import { drawScenario, type Scenario } from "../scenario.ts";
import { guarded, World } from "../world.ts";
import { perform } from "./actions.ts";
import { readScript, type ScriptStep } from "./script.ts";
import { randomTopology, worldTopology, type Topology } from "./topology.ts";

/** A run that somebody watches: their goals, their machines, what happens when. */
export interface StoryOptions {
  readonly nodes: number;
  readonly seed: number;
  /** Absent: half a minute, and a while longer than the script. */
  readonly seconds?: number;
  readonly goals: readonly Goal[];
  /** See `readScript`. */
  readonly script: string;
  /** Absent: six regions of the world, or random round trips up to `rttMsMax` where that is given. */
  readonly topology?: Topology;
  readonly rttMsMax?: number;
  /** Absent: the topology's. */
  readonly loss?: number;
}

/** One action of the script, as it was carried out. */
export interface Mark {
  readonly atMs: number;
  readonly step: ScriptStep;
  /** The nodes that it concerned. */
  readonly nodes: readonly number[];
}

/** How the swarm was at one moment. */
export interface Sample {
  readonly atMs: number;
  readonly alive: number;
  /** Messages sent since the start. */
  readonly messages: number;
}

/** Beyond so many nodes probes are rarer: a second of simulated time costs the less. */
const PROBE_INTERVALS = [
  [100, 50],
  [300, 100],
  [Infinity, 200],
] as const;

/** The production core on a virtual clock and network, told what to do by a script. Same options, same run. */
export class Story {
  readonly options: StoryOptions;
  readonly topology: Topology;
  readonly world: World;
  readonly marks: Mark[] = [];
  readonly samples: Sample[] = [];
  readonly endMs: number;
  /** What the script wants done after the end: it is not. */
  readonly notRun: readonly ScriptStep[];
  readonly #orders = { next: 0 };

  /** @throws {CloisterError} `SIM_SCRIPT_MALFORMED` */
  constructor(options: StoryOptions) {
    this.options = options;
    this.topology = topologyOf(options);
    const { members, rttMsOf } = this.topology;
    this.world = new World(scenarioOf(options, this.topology), { members, rttMsOf });
    this.world.recordTrace = true;
    this.world.factsOf = this.topology.factsOf;
    const steps = readScript(options.script, {
      nodes: this.topology.nodes,
      regions: this.topology.regions,
      goalIds: options.goals.map(({ id }) => id),
    });
    this.endMs = endOf(options, steps);
    this.notRun = steps.filter(({ atMs }) => atMs > this.endMs);
    for (const step of steps) this.world.schedule(step.atMs, () => this.#perform(step));
    this.world.begin();
  }

  /** How many orders the script has opened. */
  get orders(): number {
    return this.#orders.next;
  }

  get done(): boolean {
    return this.world.nowMs >= this.endMs;
  }

  /** Goes on by so much simulated time. @throws {InvariantError} when an invariant of the protocol breaks */
  advance(byMs: number): void {
    const { world } = this;
    guarded(world, () => world.run(Math.min(this.endMs, world.nowMs + byMs)));
    const alive = world.nodes.filter(({ state, frozen }) => state !== undefined && !frozen).length;
    this.samples.push({ atMs: world.nowMs, alive, messages: world.figures.messages });
  }

  /** Why goals are not met at this moment, in the leader's words. */
  unmet(): Readonly<Record<string, string>> {
    const { view } = this.world.chain.head;
    const leader = view.leader === undefined ? undefined : this.world.nodes[this.world.indexOf(view.leader)];
    return leader?.state === undefined ? {} : viewOf(leader.state).unmet;
  }

  #perform(step: ScriptStep): void {
    const nodes = perform(this.world, this.topology, step.action, this.#orders);
    this.marks.push({ atMs: this.world.nowMs, step, nodes });
  }
}

const SLICE_MS = 250;
const LEAST_SECONDS = 30;
/** Time to get over the last thing that the script does. */
const AFTERMATH_SECONDS = 15;
/** Nobody meant more, who did not say so. */
const UNASKED_SECONDS_MAX = 3_600;

function endOf({ seconds }: StoryOptions, steps: readonly ScriptStep[]): number {
  const lastSeconds = Math.ceil((steps.at(-1)?.atMs ?? 0) / 1_000);
  const enough = Math.max(LEAST_SECONDS, lastSeconds + AFTERMATH_SECONDS);
  return (seconds ?? Math.min(UNASKED_SECONDS_MAX, enough)) * 1_000;
}

function topologyOf({ topology, nodes, seed, rttMsMax }: StoryOptions): Topology {
  if (topology !== undefined) return topology;
  return rttMsMax === undefined ? worldTopology(nodes, seed) : randomTopology(nodes, rttMsMax, seed);
}

/** Runs a story to its end and gives the world it ended in, its trace recorded. */
export function runStory(options: StoryOptions): World {
  return tellStory(options).world;
}

/** Runs a story to its end. */
export function tellStory(options: StoryOptions): Story {
  const story = new Story(options);
  while (!story.done) story.advance(SLICE_MS);
  return story;
}

function scenarioOf(options: StoryOptions, topology: Topology): Scenario {
  const interval = PROBE_INTERVALS.find(([nodes]) => topology.nodes <= nodes)?.[1] ?? 200;
  return {
    ...drawScenario(options.seed),
    seed: options.seed,
    nodes: topology.nodes,
    voters: topology.nodes,
    faults: [],
    calm: true,
    incident: "none",
    lost: undefined,
    rttMsMax: options.rttMsMax ?? 100,
    loss: options.loss ?? topology.loss,
    duplicate: 0,
    reorder: 0.01,
    blockMs: 500,
    viewLagMsMax: 100,
    orders: 0,
    probeIntervalMs: interval,
    goals: options.goals,
  };
}
