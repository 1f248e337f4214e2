import type { Address, NodeId, OrderId } from "@cloister/core";
import {
  COMMITTEE_MAX,
  nextBelow,
  nextFraction,
  seedRandom,
  type Goal,
  type MemberRecord,
  type Random,
} from "@cloister/swarm";

/** Kinds of harm, each injected at random times until the world heals. */
export const FAULTS = [
  "crash",
  "crash-torn-disk",
  "crash-lost-disk",
  "freeze",
  "partition",
  "one-way-cut",
  "loss-burst",
  "slow-link",
  "chain-outage",
  "chain-reorganisation",
  "revoke",
  "expel",
  "forge-evidence",
  "garbage",
  "replay",
  "wrong-chain",
  "flood",
  "twin",
  "stale-orders",
  "mass-restart",
  "drain",
  "evidence-revoked",
  "clock-jump",
] as const;
export type FaultKind = (typeof FAULTS)[number];

/** Everything that makes one run: the same scenario gives the same run, event by event. */
export interface Scenario {
  readonly seed: number;
  readonly nodes: number;
  readonly voters: number;
  readonly faultMs: number;
  readonly healMs: number;
  readonly faults: readonly FaultKind[];
  /** Mean time between two faults. */
  readonly faultEveryMs: number;
  readonly rttMsMax: number;
  readonly loss: number;
  readonly duplicate: number;
  /** Share of messages that are overtaken by later ones. */
  readonly reorder: number;
  readonly blockMs: number;
  readonly viewLagMsMax: number;
  readonly orders: number;
  readonly goals: readonly Goal[];
  /** Nothing is done to the world, so nothing may happen in it: no deaths, no second election. */
  readonly calm: boolean;
  readonly probeIntervalMs: number;
  /** What happens to an otherwise calm world once it has formed. */
  readonly incident: Incident;
  /** A node that does not come back when the world heals; the others must do without it. */
  readonly lost: number | undefined;
}

/** One thing that happens in a calm world: a member is away for less than its grace, the leader dies or is revoked. */
export type Incident = "none" | "brief-absence" | "leader-loss" | "leader-revoked";

/** Draws a scenario from a seed. */
export function drawScenario(seed: number): Scenario {
  const random = seedRandom(seed);
  const draw = (least: number, most: number): number => least + nextBelow(random, most - least + 1);
  const drawn = [3, 3, 4, 5, 5, 5, 6, 7, 9][nextBelow(random, 9)] as number;
  // Some swarms have more voters than watch the leader, and a few so many that those are no quorum of all.
  const large = seed % 8 === 1 ? 2 * COMMITTEE_MAX + 1 : ([9, 11, 13][seed % 3] as number);
  const nodes = drawn === 9 ? large : drawn;
  const calm = nextBelow(random, 8) === 0;
  const faults: FaultKind[] = FAULTS.slice(0, -2).filter(() => nextFraction(random) < 0.4);
  if (seed % 3 === 0) faults.push("evidence-revoked");
  if (seed % 3 === 1) faults.push("clock-jump");
  const incidents: readonly Incident[] = ["none", "brief-absence", "leader-loss", "leader-revoked"];
  const incident = calm ? (incidents[nextBelow(random, 4)] as Incident) : "none";
  const lost = !calm && nodes > 3 && nextBelow(random, 3) === 0 ? nextBelow(random, nodes) : undefined;
  return {
    seed,
    nodes,
    voters: nodes > 5 && nextBelow(random, 2) === 0 && nodes <= COMMITTEE_MAX ? 5 : nodes,
    faultMs: draw(4_000, 10_000),
    healMs: 30_000,
    faults: calm ? [] : faults.length > 0 ? faults : ["crash"],
    faultEveryMs: draw(200, 1_500),
    rttMsMax: [2, 20, 100, 250][nextBelow(random, 4)] as number,
    loss: calm ? 0.005 : ([0, 0.01, 0.05, 0.15][nextBelow(random, 4)] as number),
    duplicate: [0, 0.02, 0.1][nextBelow(random, 3)] as number,
    reorder: [0, 0.05, 0.2][nextBelow(random, 3)] as number,
    blockMs: [20, 200, 1_000][nextBelow(random, 3)] as number,
    viewLagMsMax: [5, 100, 500][nextBelow(random, 3)] as number,
    orders: draw(1, 6),
    goals: apart(seed, nodes, drawGoals(random, nodes, calm ? 4_000 : 300 + nextBelow(random, 1_500))),
    calm,
    probeIntervalMs: [50, 100][nextBelow(random, 2)] as number,
    incident,
    lost,
  };
}

/** In some swarms the goals share no members; then there is just enough room for all of them. */
function apart(seed: number, nodes: number, goals: readonly Goal[]): readonly Goal[] {
  if (seed % 4 !== 1 || goals.length < 2) return goals;
  return goals.map((goal): Goal => {
    const max = goal.id === "compute" ? Math.max(goal.size.min, nodes - 2) : goal.size.max;
    return { ...goal, shared: false, size: { min: goal.size.min, max: Math.min(goal.size.max, max) } };
  });
}

function drawGoals(random: Random, nodes: number, failedGraceMs: number): Goal[] {
  const least = 1 + nextBelow(random, Math.max(1, Math.floor(nodes / 2)));
  const compute: Goal = {
    id: "compute",
    kind: "compute",
    size: { min: least, max: Math.min(nodes, least + 1 + nextBelow(random, 2)) },
    failedGraceMs,
    degradedGraceMs: 1_000,
    operatorsMin: Math.min(least, 1 + nextBelow(random, 2)),
    ...(nextBelow(random, 2) === 0 ? { latencyMsMax: 400 } : {}),
  };
  if (nextBelow(random, 2) === 0) return [compute];
  const storage: Goal = {
    id: "storage",
    kind: "storage",
    size: { min: 1, max: 2 },
    weight: 0.5,
    failedGraceMs,
  };
  return [compute, storage];
}

/** Member records of a world: ids, operators and hardware that follow from the index. */
export function memberRecords(nodes: number, voters: number): MemberRecord[] {
  return Array.from({ length: nodes }, (_, index) => ({
    id: nodeIdOf(index),
    operator: `0x${(index % 3).toString(16).padStart(40, "e")}` as Address,
    voter: index < voters,
    region: `region-${index % 4}`,
    facts: FACTS,
  }));
}

export const FACTS = { tee: "tdx", simulated: true, cpus: 8, memoryBytes: 2 ** 34, gpus: 0 };

export function nodeIdOf(index: number): NodeId {
  return `0x${(index + 1).toString(16).padStart(40, "0")}` as NodeId;
}

export function orderIdOf(index: number): OrderId {
  return `0x${(index + 1).toString(16).padStart(64, "0")}` as OrderId;
}
