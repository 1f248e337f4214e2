import type { Clock, Log } from "@cloister/core";
import type { BlockMark, Chain } from "@cloister/market";
import type { Timers } from "./ports.ts";

/** Clocks that differ by less than this agree: blocks are timed coarsely and seen late. */
const TOLERANCE_MS = 120_000;
/** How long a chain may take to its next block before it counts as standing still. */
const NEXT_BLOCK_MS = 30_000;
const LOOK_MS = 250;

/**
 * A CVM's clock is its host's, and a host may set it to what it likes. The chain's newest block bounds it: a
 * clock that is behind that block is wrong, and so is one that is far ahead of a block just made. A clock that
 * agrees with the chain is left alone. It never goes back once it was opened.
 */
export async function chainBoundClock(
  clock: Clock,
  ports: { readonly chain: Pick<Chain, "refresh" | "view">; readonly timers: Timers; readonly log: Log },
): Promise<Clock> {
  const { chain, log } = ports;
  const first = (await chain.refresh()).block;
  const isAhead = clock.nowMs() - first.timestampMs > TOLERANCE_MS;
  const block = isAhead ? await nextBlock(first, ports) : first;
  let offsetMs = block === undefined ? 0 : offsetOf(clock.nowMs(), block.timestampMs);
  if (offsetMs !== 0) log.warn("clock-corrected", { offsetMs });
  return {
    nowMs: () => {
      const hostMs = clock.nowMs();
      const newestMs = chain.view()?.block.timestampMs ?? Number.NEGATIVE_INFINITY;
      if (hostMs + offsetMs < newestMs - TOLERANCE_MS) {
        offsetMs = newestMs - hostMs;
        log.warn("clock-corrected", { offsetMs });
      }
      return hostMs + offsetMs;
    },
  };
}

/** Only a block that is seen to appear tells a clock that is ahead from a chain that stood still. */
async function nextBlock(
  first: BlockMark,
  { chain, timers }: { readonly chain: Pick<Chain, "refresh">; readonly timers: Timers },
): Promise<BlockMark | undefined> {
  for (let waitedMs = 0; waitedMs < NEXT_BLOCK_MS; waitedMs += LOOK_MS) {
    await timers.wait(LOOK_MS);
    const { block } = await chain.refresh();
    if (block.hash !== first.hash) return block;
  }
  return undefined;
}

function offsetOf(hostMs: number, blockMs: number): number {
  return Math.abs(hostMs - blockMs) > TOLERANCE_MS ? blockMs - hostMs : 0;
}
