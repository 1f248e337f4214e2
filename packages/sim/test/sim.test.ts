import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as swarm from "@cloister/swarm";
import { EventQueue, FAULTS, noDrills, noHarm, runSeed } from "../src/index.ts";
import { MUTANTS } from "../tools/mutants.ts";

/** Seeds that once found a fault, each with what it found. They are run for ever. */
const FOUND = JSON.parse(readFileSync(new URL("found-seeds.json", import.meta.url), "utf8")) as {
  seed: number;
  found: string;
}[];

describe("the simulator", () => {
  it.each(FOUND)("seed $seed: $found", ({ seed }) => {
    expect(runSeed(seed).broken).toBeUndefined();
  });

  it("breaks no invariant in the first seeds, which between them suffer every kind of harm and drill", () => {
    const suffered = { ...noHarm(), ...noDrills() };
    const kinds = Object.keys(suffered) as (keyof typeof suffered)[];
    for (let seed = 1; seed <= 100; seed++) {
      const result = runSeed(seed);
      expect(result).toMatchObject({ seed, broken: undefined });
      for (const kind of kinds) suffered[kind] += result.figures[kind];
    }
    expect(kinds.filter((kind) => suffered[kind] === 0)).toEqual([]);
    expect(kinds).toHaveLength(FAULTS.length + Object.keys(noDrills()).length);
  }, 180_000);

  it("repeats a run exactly", () => {
    for (const seed of [5, 6, 7]) expect(runSeed(seed)).toEqual(runSeed(seed));
  });

  it("gives different runs for different seeds", () => {
    expect(new Set([1, 2, 3, 4].map((seed) => runSeed(seed).traceHash)).size).toBe(4);
  });

  it("finds a core that votes without persisting", () => {
    const withoutDisk = {
      init: swarm.init,
      nextWakeMs: swarm.nextWakeMs,
      viewOf: swarm.viewOf,
      step: (state: swarm.SwarmState, input: swarm.Input) => {
        const result = swarm.step(state, input);
        return { ...result, effects: result.effects.filter(({ kind }) => kind !== "persist") };
      },
    };
    const codes = [1, 2, 3].map((seed) => runSeed(seed, withoutDisk).broken?.code);
    expect(codes).toContain("VOTE_DURABLE_FIRST");
  });

  it("finds a core that throws", () => {
    const throwing = {
      init: swarm.init,
      nextWakeMs: swarm.nextWakeMs,
      viewOf: swarm.viewOf,
      step: (state: swarm.SwarmState, input: swarm.Input) => {
        if (input.kind === "registry" && (input.orders?.length ?? 0) > 0) throw new Error("a bug");
        return swarm.step(state, input);
      },
    };
    expect(runSeed(1, throwing).broken?.code).toBe("STEP_NEVER_THROWS");
  });

  it("knows each of its faults by one name", () => {
    expect(new Set(FAULTS).size).toBe(FAULTS.length);
  });
});

describe("the seeded faults", () => {
  it.each(MUTANTS)("$name: its text is in the core, once", ({ file, find, replace }) => {
    const text = readFileSync(new URL(`../../swarm/src/${file}`, import.meta.url), "utf8");
    expect(text.split(find)).toHaveLength(2);
    expect(replace).not.toBe(find);
  });
});

describe("the event queue", () => {
  it("gives events in order of time, and of insertion at one time", () => {
    const times = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 300 });
    fc.assert(
      fc.property(times, (list) => {
        const queue = new EventQueue(4);
        for (const [index, timeMs] of list.entries()) queue.push(timeMs, 1, index, 0, 0);
        const taken: [number, number][] = [];
        while (queue.pop()) taken.push([queue.timeMs, queue.a]);
        const expected = list.map((timeMs, index): [number, number] => [timeMs, index]);
        expect(taken).toEqual(expected.sort((x, y) => x[0] - y[0] || x[1] - y[1]));
      }),
    );
  });

  it("keeps what it is given through growth and reuse", () => {
    const queue = new EventQueue(2);
    for (let round = 0; round < 50; round++) {
      queue.push(100 - round, round, round + 1, round + 2, round + 3);
      if (round % 3 === 0) expect(queue.pop()).toBe(true);
    }
    while (queue.pop())
      expect([queue.a, queue.b, queue.c]).toEqual([queue.kind + 1, queue.kind + 2, queue.kind + 3]);
    expect(queue.size).toBe(0);
    expect(queue.nextMs()).toBe(Infinity);
  });
});
