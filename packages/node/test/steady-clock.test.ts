import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { steadyClock } from "../src/steady-clock.ts";

function readings(...times: readonly number[]): number[] {
  const left = [...times];
  const clock = steadyClock({ nowMs: () => left.shift() ?? 0 });
  return times.map(() => clock.nowMs());
}

describe("steadyClock", () => {
  it("is the host's clock while that goes forward", () => {
    expect(readings(5, 5, 9, 3_600_009)).toEqual([5, 5, 9, 3_600_009]);
  });

  it("goes on from where it was when the host's is set back", () => {
    const hour = 3_600_000;
    expect(readings(hour, hour + 10, 10, 30, 55)).toEqual([hour, hour + 10, hour + 10, hour + 30, hour + 55]);
  });

  it("stands that much ahead, however often it happens, and never catches up by standing still", () => {
    expect(readings(100, 0, 50, 0, 50, 200)).toEqual([100, 100, 150, 150, 200, 350]);
  });

  it("never goes back, and follows every step forward", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 2 }), (times) => {
        const seen = readings(...times);
        for (let i = 1; i < times.length; i++) {
          const forward = Math.max(0, (times[i] as number) - (times[i - 1] as number));
          expect((seen[i] as number) - (seen[i - 1] as number)).toBe(forward);
        }
      }),
    );
  });
});
