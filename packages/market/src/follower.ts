import type { Hex32 } from "@cloister/core";
import type { MarketEvent } from "./events.ts";
import { emptyMarket, reduceMarket, type MarketState } from "./state.ts";
import { copyMarket } from "./state-codec.ts";

/** A block by number and hash. */
export interface BlockMark {
  readonly number: number;
  readonly hash: Hex32;
  readonly timestampMs: number;
}

/** Blocks that a chain may take back. Deeper reorganisations make the follower start over. */
export const REORG_BLOCKS_MAX = 256;

interface Stretch {
  readonly mark: BlockMark;
  readonly events: readonly MarketEvent[];
}

/**
 * Follows a chain that may reorganise: keeps the state at the newest block that was read and one
 * `REORG_BLOCKS_MAX` behind it, with the events in between, so that any of the kept marks can be gone back to.
 */
export interface Follower {
  /** State at `head`. */
  state: MarketState;
  head: BlockMark | undefined;
  /** State at `baseMark`, which is not expected to be taken back. */
  base: MarketState;
  baseMark: BlockMark | undefined;
  /** What came between, ascending. */
  tail: Stretch[];
}

/** Starts following before the first block, or where a saved base left off. */
export function startFollower(saved?: { readonly mark: BlockMark; readonly state: MarketState }): Follower {
  return {
    state: saved === undefined ? emptyMarket() : copyMarket(saved.state),
    head: saved?.mark,
    base: saved?.state ?? emptyMarket(),
    baseMark: saved?.mark,
    tail: [],
  };
}

/** Takes in all events after the head up to and including the block of `mark`, in the chain's sequence. */
export function follow(follower: Follower, mark: BlockMark, events: readonly MarketEvent[]): void {
  for (const event of events) reduceMarket(follower.state, event);
  follower.head = mark;
  follower.tail.push({ mark, events });
  settleBase(follower);
}

/** The marks that can be gone back to, newest first. */
export function marksOf(follower: Follower): BlockMark[] {
  const marks = follower.tail.map((stretch) => stretch.mark).toReversed();
  return follower.baseMark === undefined ? marks : [...marks, follower.baseMark];
}

/** Goes back to one of the marks; undefined starts over before the first block. */
export function goBack(follower: Follower, mark: BlockMark | undefined): void {
  if (mark === undefined) {
    Object.assign(follower, startFollower());
    return;
  }
  const kept = follower.tail.filter((stretch) => stretch.mark.number <= mark.number);
  follower.state = copyMarket(follower.base);
  for (const { events } of kept) for (const event of events) reduceMarket(follower.state, event);
  follower.tail = kept;
  follower.head = kept.at(-1)?.mark ?? follower.baseMark;
}

/** Moves the base forward over what is too deep to be taken back. */
function settleBase(follower: Follower): void {
  const head = follower.head?.number ?? 0;
  let settled = 0;
  for (const { mark, events } of follower.tail) {
    if (mark.number > head - REORG_BLOCKS_MAX) break;
    for (const event of events) reduceMarket(follower.base, event);
    follower.baseMark = mark;
    settled++;
  }
  if (settled > 0) follower.tail.splice(0, settled);
}
