import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  closestGroup,
  LinkBook,
  nextBelow,
  nextFraction,
  originCoordinate,
  placeOf,
  seedRandom,
  type Goal,
  type Place,
  type Random,
} from "../src/index.ts";
import { Cluster } from "./cluster.ts";

type Rtt = (a: number, b: number) => number;

/** Places that know nothing: every node stands at the origin, but for a little chance. */
function unknownPlaces(count: number, random: Random): Place[] {
  return Array.from({ length: count }, () => placeOf(originCoordinate(), random));
}

/** Nodes on a plane of 100 by 100 milliseconds. */
function plane(count: number, random: Random): Rtt {
  const x = Array.from({ length: count }, () => 100 * nextFraction(random));
  const y = Array.from({ length: count }, () => 100 * nextFraction(random));
  return (a, b) => 1 + Math.hypot((x[a] ?? 0) - (x[b] ?? 0), (y[a] ?? 0) - (y[b] ?? 0));
}

function pairsOf(nodes: readonly number[]): [number, number][] {
  return nodes.flatMap((a) => nodes.filter((b) => a < b).map((b): [number, number] => [a, b]));
}

describe("places fitted to the links of all", () => {
  it("predict links that nobody measured", () => {
    const random = seedRandom(5);
    const rttMs = plane(200, random);
    const book = new LinkBook(unknownPlaces(200, random));
    for (let node = 0; node < 200; node++) {
      for (let peer = 0; peer < 10; peer++) {
        const other = (node + 1 + nextBelow(random, 199)) % 200;
        book.note(node, other, rttMs(node, other));
      }
    }
    for (let fit = 0; fit < 4; fit++) book.fit(random);
    const unmeasured = pairsOf([...Array(200).keys()]).filter(([a, b]) => !book.isMeasured(a, b));
    const errorMs = unmeasured.map(([a, b]) => Math.abs(book.rttMs(a, b) - rttMs(a, b)));
    expect(errorMs.reduce((sum, ms) => sum + ms, 0) / errorMs.length).toBeLessThan(5);
  });

  it("leave alone what was measured, and places that no link names", () => {
    const random = seedRandom(6);
    const places = unknownPlaces(4, random);
    const before = places.map((place) => Float64Array.from(place));
    const book = new LinkBook(places);
    book.fit(random);
    expect(places).toEqual(before);
    book.note(0, 1, 80);
    book.fit(random);
    expect(book.rttMs(1, 0)).toBe(80);
    expect(places.slice(2)).toEqual(before.slice(2));
    expect(places[0]).not.toEqual(before[0]);
  });

  it("stay finite, whatever is reported", () => {
    const link = fc.tuple(fc.nat(9), fc.nat(9), fc.constantFrom<number>(0, 1e-9, 0.5, 3, 250, 30_000));
    fc.assert(
      fc.property(fc.array(link, { minLength: 1, maxLength: 60 }), fc.integer(), (links, seed) => {
        const random = seedRandom(seed);
        const places = unknownPlaces(10, random);
        const book = new LinkBook(places);
        for (const [a, b, ms] of links) if (a !== b) book.note(a, b, ms);
        for (let fit = 0; fit < 5; fit++) book.fit(random);
        for (const [a, b] of pairsOf([...Array(10).keys()])) {
          expect(Number.isFinite(book.rttMs(a, b))).toBe(true);
          expect(book.rttMs(a, b)).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe("exploring around an unmet goal", () => {
  const NODES = 14;
  const matrix = fc.array(fc.integer({ min: 1, max: 60 }), {
    minLength: NODES * NODES,
    maxLength: NODES * NODES,
  });
  const usable = fc.uniqueArray(fc.nat(NODES - 1), { minLength: 3, maxLength: NODES });

  it("finds a group whenever there is one, however wrong the places are, and none over the limit", () => {
    fc.assert(
      fc.property(
        matrix,
        usable,
        fc.integer({ min: 2, max: 4 }),
        fc.integer({ min: 1, max: 40 }),
        (times, nodes, size, limitMs) => {
          const rttMs: Rtt = (a, b) => times[Math.min(a, b) * NODES + Math.max(a, b)] as number;
          const book = new LinkBook(unknownPlaces(NODES, seedRandom(limitMs)));
          const at = (place: number): number => nodes[place] as number;
          const known: Rtt = (a, b) => {
            return book.isMeasured(at(a), at(b)) ? book.rttMs(at(a), at(b)) : Infinity;
          };
          let found = closestGroup(nodes.length, size, known, limitMs);
          while (found === undefined) {
            const links = book.nearestByGoal(nodes, limitMs, 5);
            if (links.length === 0) break;
            for (const [a, b] of links) book.note(a, b, rttMs(a, b));
            found = closestGroup(nodes.length, size, known, limitMs);
          }
          const exists = closestGroup(nodes.length, size, (a, b) => rttMs(at(a), at(b)), limitMs);
          expect(found === undefined).toBe(exists === undefined);
          const group = (found?.members ?? []).map(at);
          for (const [a, b] of pairsOf(group)) expect(rttMs(a, b)).toBeLessThanOrEqual(limitMs);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("asks for no link twice, none that is known, no more than it may, and nobody else's", () => {
    fc.assert(
      fc.property(matrix, usable, fc.integer({ min: 0, max: 30 }), (times, nodes, most) => {
        const book = new LinkBook(unknownPlaces(NODES, seedRandom(1)));
        for (let node = 1; node < NODES; node++) book.note(0, node, times[node] as number);
        const links = book.nearestByGoal(nodes, 20, most);
        expect(links.length).toBeLessThanOrEqual(most);
        const names = links.map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
        expect(new Set(names).size).toBe(links.length);
        for (const [a, b] of links) {
          expect(book.isMeasured(a, b) || a === b).toBe(false);
          expect(nodes.includes(a) && nodes.includes(b)).toBe(true);
        }
      }),
    );
  });

  it("begins where the most are near already", () => {
    const book = new LinkBook(unknownPlaces(6, seedRandom(2)));
    for (const [a, b] of [
      [0, 1],
      [3, 4],
      [3, 5],
    ] as const) {
      book.note(a, b, 2);
    }
    expect(book.nearestByGoal([0, 1, 2, 3, 4, 5], 10, 1)).toEqual([[4, 5]]);
  });
});

describe("a goal with a latency limit", () => {
  const goal: Goal = { id: "near", kind: "compute", size: { min: 3, max: 5 }, latencyMsMax: 40 };

  it("never gets a group with a pair over it, and gets one where there is one", () => {
    const delays = fc.array(fc.integer({ min: 0, max: 24 }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(delays, (slowMs) => {
        const cluster = new Cluster(6, [goal], new Map(slowMs.entries()));
        cluster.run(6_000);
        const rttMs: Rtt = (a, b) => 2 * ((slowMs[a] ?? 0) + (slowMs[b] ?? 0));
        for (const { group } of cluster.effects("publish-group")) {
          const members = group.members.map((id) => cluster.indexOf(id));
          for (const [a, b] of pairsOf(members)) expect(rttMs(a, b)).toBeLessThanOrEqual(40);
        }
        // The cluster's clock ticks in milliseconds: one for each way.
        const possible = closestGroup(6, 3, (a, b) => rttMs(a, b) + 2, 40) !== undefined;
        if (possible) expect(cluster.view.groups[0]?.members.length ?? 0).toBeGreaterThanOrEqual(3);
      }),
      { numRuns: 12 },
    );
  }, 30_000);

  it("never gets a group with a pair that nobody could measure", () => {
    const pair = fc.tuple(fc.nat(5), fc.nat(5)).filter(([a, b]) => a < b);
    fc.assert(
      fc.property(fc.array(pair, { minLength: 1, maxLength: 4 }), (pairs) => {
        const cluster = new Cluster(6, [{ ...goal, size: { min: 2, max: 5 } }]);
        for (const [a, b] of pairs) cluster.blocked.add(`${a}-${b}`);
        cluster.run(6_000);
        for (const { group } of cluster.effects("publish-group")) {
          const members = group.members.map((id) => cluster.indexOf(id)).sort((a, b) => a - b);
          for (const [a, b] of pairsOf(members)) expect(cluster.blocked).not.toContain(`${a}-${b}`);
        }
      }),
      { numRuns: 12 },
    );
  }, 30_000);

  it("stays unmet, and says so, where all are too far", () => {
    const cluster = new Cluster(4, [goal], new Map([15, 15, 15, 15].entries()));
    cluster.run(6_000);
    expect(cluster.effects("publish-group")).toEqual([]);
    const said = cluster.effects("log").map(({ event }) => event);
    expect(said).toContain("goal-unmet");
  });
});
