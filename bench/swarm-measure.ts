import {
  closestGroup,
  EXPLORE_GOAL_LINKS,
  EXPLORE_LINKS,
  EXPLORE_ROUNDS,
  LinkBook,
  moveCoordinate,
  nextBelow,
  nextFraction,
  originCoordinate,
  placeOf,
  predictRttMs,
  RINGS,
  seedRandom,
  type Coordinate,
  type Random,
} from "@cloister/swarm";
import { atMost, exactly } from "@cloister/tools/report";
import { planetLab } from "./planetlab.ts";
import type { PartResult } from "./swarm-parts.ts";

const NODES = 1_000;
const GROUP_SIZE = 5;
const GOALS = 40;
/** Networks of their own: one that goes well says little. */
const SEEDS = [31, 1, 2, 3, 4];
/** A goal allows so much of what the closest group there is has. */
const LIMIT_SHARE = 1.5;
/** Rounds of exploring for one goal that stays unmet. */
const GOAL_ROUNDS_MAX = 24;

type Rtt = (a: number, b: number) => number;

interface NetworkResult {
  readonly probedShare: number;
  /** Diameters of the groups formed, over those that the full matrix gives. */
  readonly latencyRatio: number;
  readonly coordinatesRatio: number;
  readonly formed: number;
  /** Formed with a pair over the limit, or with one that nobody measured. */
  readonly over: number;
  /** Goals without a group although the full matrix holds one. */
  readonly missed: number;
  /** Goals that nothing in the full matrix meets, with a group all the same. */
  readonly impossible: number;
  readonly exploredForGoals: number;
}

/** Part (d): how much of a network must be probed to find groups as good as all of it would give. */
export function benchMeasuring(): PartResult {
  const results = SEEDS.map(measureNetwork);
  const most = (of: (result: NetworkResult) => number): number => Math.max(...results.map(of));
  const sum = (of: (result: NetworkResult) => number): number => {
    return results.reduce((total, result) => total + of(result), 0);
  };
  const each = (of: (result: NetworkResult) => number, digits: number): string => {
    return results.map((result) => of(result).toFixed(digits)).join(" ");
  };
  const goals = SEEDS.length * GOALS;
  return {
    figures: {
      nodes: NODES,
      networks: SEEDS.length,
      pairsProbedShare: each((result) => result.probedShare, 4),
      pairsProbedForUnmetGoals: each((result) => result.exploredForGoals, 0),
      latencyOverFullMatrix: each((result) => result.latencyRatio, 3),
      coordinatesAloneOverFullMatrix: each((result) => result.coordinatesRatio, 1),
      groupsWithinLimit: `${sum((result) => result.formed) - sum((result) => result.over)} of ${goals}`,
      impossibleGoalsRefused: `${goals - sum((result) => result.impossible)} of ${goals}`,
    },
    goals: [
      atMost(
        "share of all pairs that was probed",
        most((result) => result.probedShare),
        0.1,
      ),
      atMost(
        "latency of the groups found, over that of the full matrix",
        most((result) => result.latencyRatio),
        1.1,
      ),
      exactly(
        "groups over their limit after confirmation",
        sum((result) => result.over),
        0,
      ),
      exactly(
        "goals without the group that the full matrix holds for them",
        sum((result) => result.missed),
        0,
      ),
      exactly(
        "groups for goals that nothing in the full matrix meets",
        sum((result) => result.impossible),
        0,
      ),
    ],
  };
}

function measureNetwork(seed: number): NetworkResult {
  const rttMs = planetLab(NODES, seed);
  const random = seedRandom(seed);
  const rings = drawRings(random);
  const coordinates = settleCoordinates(rttMs, rings, random);
  const book = new LinkBook(coordinates.map((coordinate) => placeOf(coordinate, random)));
  explore(book, rings, rttMs, random);
  const everywhere = book.pairs;
  const subsets = Array.from({ length: GOALS }, () => drawSubset(random));
  const bests = subsets.map((subset) => closestOf(subset, rttMs));
  const bestMs = bests.map((best) => diameterOf(best, rttMs));
  const impossible = subsets.filter((subset, goal) => {
    return closestOf(subset, knownMs(book), (bestMs[goal] as number) * 0.999).length > 0;
  }).length;
  let full = 0;
  let found = 0;
  let alone = 0;
  let formed = 0;
  let over = 0;
  for (const [goal, subset] of subsets.entries()) {
    const best = bestMs[goal] as number;
    const limitMs = best * LIMIT_SHARE;
    const group = groupFor(subset, limitMs, book, rttMs, random);
    alone += diameterOf(closestOf(subset, predicted(coordinates)), rttMs) / best;
    if (group.length === 0) continue;
    formed++;
    full += best;
    found += diameterOf(group, rttMs);
    const confirmed = pairsOf(group).every(([a, b]) => book.isMeasured(a, b));
    if (!confirmed || diameterOf(group, rttMs) > limitMs) over++;
  }
  return {
    probedShare: book.pairs / ((NODES * (NODES - 1)) / 2),
    latencyRatio: found / full,
    coordinatesRatio: alone / GOALS,
    formed,
    over,
    // The closest group of the full matrix is within the limit by construction: every goal can be met.
    missed: GOALS - formed,
    impossible,
    exploredForGoals: book.pairs - everywhere,
  };
}

/** The peers that each node probes all the time. */
function drawRings(random: Random): number[][] {
  return Array.from({ length: NODES }, (_, node) => {
    return Array.from({ length: RINGS }, () => (node + 1 + nextBelow(random, NODES - 1)) % NODES);
  });
}

/** Runs the production coordinates to rest over the same few peers, again and again. */
function settleCoordinates(rttMs: Rtt, rings: readonly (readonly number[])[], random: Random): Coordinate[] {
  const coordinates = Array.from({ length: NODES }, originCoordinate);
  for (let round = 0; round < 200; round++) {
    for (const [node, peers] of rings.entries()) {
      const peer = peers[round % RINGS] as number;
      const noisyMs = rttMs(node, peer) * (0.97 + 0.06 * nextFraction(random));
      const own = coordinates[node] as Coordinate;
      const other = coordinates[peer] as Coordinate;
      coordinates[node] = moveCoordinate(own, other, noisyMs, nextFraction(random));
    }
  }
  return coordinates;
}

/** What a leader does when it comes to lead: the same rounds, the same links per node. */
function explore(book: LinkBook, rings: readonly (readonly number[])[], rttMs: Rtt, random: Random): void {
  const probe = (a: number, b: number): void => book.note(a, b, rttMs(a, b));
  for (const [node, peers] of rings.entries()) for (const peer of peers) probe(node, peer);
  for (let round = 0; round < EXPLORE_ROUNDS; round++) {
    book.fit(random);
    const wanted = [...book.nearestByNeighbors(EXPLORE_LINKS), ...book.nearestByPlaces(EXPLORE_LINKS)];
    for (const [a, b] of wanted) probe(a, b);
  }
  book.fit(random);
}

/**
 * Plans with what is known, probes what the plan rests on, and plans again; where nothing is within the limit,
 * explores around the goal. No group is formed that is not confirmed pair by pair.
 */
function groupFor(
  subset: readonly number[],
  limitMs: number,
  book: LinkBook,
  rttMs: Rtt,
  random: Random,
): readonly number[] {
  for (let round = 0; round < GOAL_ROUNDS_MAX; round++) {
    const likely = closestOf(subset, (a, b) => book.rttMs(a, b));
    const unsure = pairsOf(likely).filter(([a, b]) => !book.isMeasured(a, b));
    for (const [a, b] of unsure) book.note(a, b, rttMs(a, b));
    if (unsure.length > 0) continue;
    const group = closestOf(subset, knownMs(book), limitMs);
    if (group.length > 0) return group;
    for (const [a, b] of book.nearestByGoal(subset, limitMs, EXPLORE_GOAL_LINKS))
      book.note(a, b, rttMs(a, b));
    book.fit(random);
  }
  return closestOf(subset, knownMs(book), limitMs);
}

/** Only what was measured counts. */
function knownMs(book: LinkBook): Rtt {
  return (a, b) => (book.isMeasured(a, b) ? book.rttMs(a, b) : Infinity);
}

function predicted(coordinates: readonly Coordinate[]): Rtt {
  return (a, b) => predictRttMs(coordinates[a] as Coordinate, coordinates[b] as Coordinate);
}

function drawSubset(random: Random): number[] {
  const share = 0.3 + 0.7 * nextFraction(random);
  return Array.from({ length: NODES }, (_, node) => node).filter(() => nextFraction(random) < share);
}

function closestOf(subset: readonly number[], rttMs: Rtt, limitMs = Infinity): readonly number[] {
  const at = (place: number): number => subset[place] as number;
  const found = closestGroup(subset.length, GROUP_SIZE, (a, b) => rttMs(at(a), at(b)), limitMs);
  return (found?.members ?? []).map(at);
}

function pairsOf(group: readonly number[]): [number, number][] {
  return group.flatMap((a) => group.filter((b) => a < b).map((b): [number, number] => [a, b]));
}

function diameterOf(group: readonly number[], rttMs: Rtt): number {
  return Math.max(0, ...pairsOf(group).map(([a, b]) => rttMs(a, b)));
}
