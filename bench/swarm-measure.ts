import {
  closestGroup,
  LinkBook,
  moveCoordinate,
  nextBelow,
  nextFraction,
  originCoordinate,
  seedRandom,
  type Coordinate,
} from "@cloister/swarm";
import { atMost, exactly } from "@cloister/tools/report";
import type { PartResult } from "./swarm-parts.ts";
import { planetLab } from "./planetlab.ts";

const NODES = 1_000;
const GROUP_SIZE = 5;
/** Peers whose probes move a node's coordinate; the same ones again and again. */
const RANDOM_PEERS = 10;

/** Part (d): how much of a network must be probed to find groups as good as all of it would give. */
export function benchMeasuring(): PartResult {
  const rttMs = planetLab(NODES, 31);
  const random = seedRandom(31);
  const book = new LinkBook(settleCoordinates(rttMs, random));
  const probe = (pairs: readonly (readonly [number, number])[]): void => {
    for (const [a, b] of pairs) book.note(a, b, rttMs(a, b));
  };
  probe(randomPairs);
  probe(book.nearestByCoordinates(10));
  for (let round = 0; round < 5; round++) probe(book.nearestByNeighbors(4));

  const subsets = Array.from({ length: 40 }, () => {
    const share = 0.3 + 0.7 * nextFraction(random);
    return Array.from({ length: NODES }, (_, node) => node).filter(() => nextFraction(random) < share);
  });
  let full = 0;
  let found = 0;
  let coordinatesOnly = 0;
  let over = 0;
  let met = 0;
  for (const subset of subsets) {
    const best = closestGroup(subset.length, GROUP_SIZE, (a, b) => rttMs(at(subset, a), at(subset, b)));
    const limitMs = (best?.diameterMs ?? 0) * 1.5;
    full += best?.diameterMs ?? 0;
    const group = confirmedGroup(subset, book, rttMs);
    const diameter = diameterOf(group, rttMs);
    found += diameter;
    if (diameter <= limitMs) met++;
    // What was confirmed is what is true: a group over its limit is known to be, and not formed.
    if (group.some((a) => group.some((b) => a !== b && book.rttMs(a, b) !== rttMs(a, b)))) over++;
    coordinatesOnly += diameterOf(predictedGroup(subset, book), rttMs);
  }
  const share = book.pairs / ((NODES * (NODES - 1)) / 2);
  return {
    figures: {
      nodes: NODES,
      pairsProbedShare: Number(share.toFixed(4)),
      latencyOverFullMatrix: Number((found / full).toFixed(3)),
      coordinatesAloneOverFullMatrix: Number((coordinatesOnly / full).toFixed(2)),
      groupsWithinLimit: `${met} of ${subsets.length}`,
      unconfirmedPairsInGroups: over,
    },
    goals: [
      atMost("share of all pairs that was probed", share, 0.1),
      atMost("latency of the groups found, over that of the full matrix", found / full, 1.1),
      exactly("groups with a pair that was not confirmed", over, 0),
      exactly("groups over their limit after confirmation", subsets.length - met, 0),
    ],
  };
}

function at(list: readonly number[], place: number): number {
  return list[place] as number;
}

const randomPairs: [number, number][] = [];
let bareCoordinates: readonly Coordinate[] = [];

/** Runs the production coordinates to rest over a few fixed random peers per node. */
function settleCoordinates(
  rttMs: (a: number, b: number) => number,
  random: ReturnType<typeof seedRandom>,
): Coordinate[] {
  const coordinates = Array.from({ length: NODES }, originCoordinate);
  const peers = Array.from({ length: NODES }, (_, node) => {
    return Array.from({ length: RANDOM_PEERS }, () => (node + 1 + nextBelow(random, NODES - 1)) % NODES);
  });
  for (const [node, list] of peers.entries()) for (const peer of list) randomPairs.push([node, peer]);
  for (let round = 0; round < 200; round++) {
    for (let node = 0; node < NODES; node++) {
      const peer = at(peers[node] as number[], round % RANDOM_PEERS);
      const noisyMs = rttMs(node, peer) * (0.97 + 0.06 * nextFraction(random));
      coordinates[node] = moveCoordinate(
        coordinates[node] as Coordinate,
        coordinates[peer] as Coordinate,
        noisyMs,
        nextFraction(random),
      );
    }
  }
  bareCoordinates = coordinates;
  return coordinates;
}

/** Plans with what is known, probes what the plan rests on, and plans again until nothing is unconfirmed. */
function confirmedGroup(
  subset: readonly number[],
  book: LinkBook,
  rttMs: (a: number, b: number) => number,
): readonly number[] {
  for (let round = 0; ; round++) {
    const known = round < 12;
    const found = closestGroup(subset.length, GROUP_SIZE, (a, b) => {
      const [nodeA, nodeB] = [at(subset, a), at(subset, b)];
      // In the end only measured links count, so that the loop closes.
      return known || book.isMeasured(nodeA, nodeB) ? book.rttMs(nodeA, nodeB) : Infinity;
    });
    const group = (found?.members ?? []).map((place) => at(subset, place));
    const missing = group.flatMap((a) =>
      group.filter((b) => a < b && !book.isMeasured(a, b)).map((b) => [a, b]),
    );
    if (missing.length === 0) return group;
    for (const [a, b] of missing as [number, number][]) book.note(a, b, rttMs(a, b));
  }
}

function predictedGroup(subset: readonly number[], _book: LinkBook): readonly number[] {
  const bare = new LinkBook(bareCoordinates);
  const found = closestGroup(subset.length, GROUP_SIZE, (a, b) => bare.rttMs(at(subset, a), at(subset, b)));
  return (found?.members ?? []).map((place) => at(subset, place));
}

function diameterOf(group: readonly number[], rttMs: (a: number, b: number) => number): number {
  let diameter = 0;
  for (const a of group) for (const b of group) if (a < b) diameter = Math.max(diameter, rttMs(a, b));
  return diameter;
}
