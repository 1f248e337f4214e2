import { describe, expect, test } from "vitest";
import type { ChainView } from "@cloister/market";
import { chainBoundClock } from "../src/chain-clock.ts";

const NOW_MS = 1_000_000_000;
const HOUR_MS = 3_600_000;

/** A chain whose blocks are as given, one more each time it is waited for; the last one stays. */
async function opened(hostOffsetMs: number, blocksMs: readonly number[]) {
  const world = { nowMs: NOW_MS, block: 0 };
  const view = () => {
    const number = Math.min(world.block, blocksMs.length - 1);
    const timestampMs = NOW_MS + (blocksMs[number] as number);
    return { block: { number, hash: `0x${number}`, timestampMs }, state: undefined } as unknown as ChainView;
  };
  const warned: string[] = [];
  const clock = await chainBoundClock(
    { nowMs: () => world.nowMs + hostOffsetMs },
    {
      chain: { refresh: async () => view(), view },
      timers: { wait: async () => void world.block++ },
      log: { info: () => undefined, warn: (event) => void warned.push(event) },
    },
  );
  return { clock, world, warned };
}

describe("a clock bound by the chain", () => {
  test.each([
    ["that agrees", 0],
    ["a little behind", -60_000],
    ["a little ahead", 60_000],
  ])("leaves one alone %s", async (_, offsetMs) => {
    const { clock, warned } = await opened(offsetMs, [-3_000, 0]);
    expect(clock.nowMs()).toBe(NOW_MS + offsetMs);
    expect(warned).toEqual([]);
  });

  test.each([
    ["behind", -3 * HOUR_MS],
    ["ahead", 3 * HOUR_MS],
  ])("sets one right that is hours %s", async (_, offsetMs) => {
    const { clock, world, warned } = await opened(offsetMs, [-3_000, 0]);
    expect(Math.abs(clock.nowMs() - NOW_MS)).toBeLessThanOrEqual(3_000);
    world.nowMs += 10_000;
    expect(Math.abs(clock.nowMs() - NOW_MS - 10_000)).toBeLessThanOrEqual(3_000);
    expect(warned).toEqual(["clock-corrected"]);
  });

  test("does not take a chain that stood still for a clock that is ahead", async () => {
    const { clock } = await opened(0, [-8 * HOUR_MS]);
    // It waited for a block that never came, so it has nothing to hold the clock against but that one.
    expect(clock.nowMs()).toBe(NOW_MS);
  });

  test("follows a chain that had stood still and goes on", async () => {
    const { clock } = await opened(0, [-8 * HOUR_MS, 0]);
    expect(clock.nowMs()).toBe(NOW_MS);
  });

  test("is moved on when the host sets it back later, and never back", async () => {
    const host = { offsetMs: 0 };
    const view = () =>
      ({ block: { number: 1, hash: "0x1", timestampMs: NOW_MS }, state: undefined }) as unknown as ChainView;
    const clock = await chainBoundClock(
      { nowMs: () => NOW_MS + host.offsetMs },
      {
        chain: { refresh: async () => view(), view },
        timers: { wait: async () => undefined },
        log: { info: () => undefined, warn: () => undefined },
      },
    );
    host.offsetMs = -HOUR_MS;
    expect(clock.nowMs()).toBe(NOW_MS);
  });
});
