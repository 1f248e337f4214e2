import { CloisterError, decodeCanonical, encodeCanonical, fromHex } from "@cloister/core";
import type { MarketState } from "@cloister/market";
import type { Goal } from "@cloister/swarm";

/** Encodes a goal as the document that is declared on chain. */
export function encodeGoal(goal: Goal): Uint8Array {
  return encodeCanonical(goal);
}

/** Reads a goal's document. @throws {CloisterError} `GOAL_MALFORMED` */
export function decodeGoal(bytes: Uint8Array): Goal {
  let document: unknown;
  try {
    document = decodeCanonical(bytes);
  } catch (cause) {
    throw new CloisterError("GOAL_MALFORMED", "The goal is not canonical CBOR.", { cause });
  }
  const { id, kind, size } = (document ?? {}) as Partial<Goal>;
  if (typeof id !== "string" || typeof kind !== "string" || !Number.isSafeInteger(size?.min)) {
    throw new CloisterError("GOAL_MALFORMED", "The goal lacks an id, a kind or a size.");
  }
  return document as Goal;
}

/** The goals that the chain declares; one that cannot be read is left out, for it binds nobody. */
export function goalsOf(state: MarketState): Goal[] {
  return [...state.goals.values()].flatMap(({ document }) => {
    try {
      return [decodeGoal(fromHex(document))];
    } catch {
      return [];
    }
  });
}
