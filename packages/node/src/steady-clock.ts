import type { Clock } from "@cloister/core";

/**
 * Makes a clock that never goes back. A host may set its own by hours; one that was set back goes on from
 * where it was, since a core whose time stands still would neither probe nor vote until it was caught up.
 */
export function steadyClock(clock: Clock): Clock {
  let lastMs = -Infinity;
  let aheadMs = 0;
  return {
    nowMs: () => {
      const hostMs = clock.nowMs();
      if (hostMs + aheadMs < lastMs) aheadMs = lastMs - hostMs;
      lastMs = hostMs + aheadMs;
      return lastMs;
    },
  };
}
