import type { LogWitnesses } from "@cloister/certification";
import type { GroupKey } from "@cloister/custody";
import { parseAddress } from "@cloister/core";

/** A checkpoint holds at most 16 signatures, and one is the log's own. */
const DUE_MAX = 15;

/**
 * The witnesses of an authority's log: whoever holds a share of its key. More than half of them must co-sign, so that
 * two histories of the log cannot both be published without a member that signed both.
 */
export function logWitnessesOf(members: GroupKey["members"]): LogWitnesses {
  const witnesses = members.map(({ id, identityKey }) => ({ node: parseAddress(id), key: identityKey }));
  return {
    countMin: Math.min(DUE_MAX, Math.floor(witnesses.length / 2) + 1),
    members: witnesses.toSorted((a, b) => (a.node < b.node ? -1 : 1)),
  };
}
