import { nodeKeysDigest, type NodeKeys, type Realm } from "@cloister/certification";
import { decodeGroupKey, encodeGroupKey, groupDigest, type GroupKey } from "@cloister/custody";
import {
  accept,
  codeOf,
  decodeCanonical,
  encodeCanonical,
  openSign1,
  parseAddress,
  refuse,
  sha256,
  signSign1,
  verifySign1,
  type NodeId,
  type Verdict,
} from "@cloister/core";
import { isNodeActive, type MarketState } from "@cloister/market";
import type { Cvm } from "./cvm.ts";
import { keyGoals } from "./key-goals.ts";
import { MessageFields } from "./message.ts";

const GROUP_TYPE = "application/vnd.cloister.key-group+cbor";

/** One member's signed word about a key that it holds a share of: which goal on chain it belongs to, and who holds it. */
export function signGroupStatement(
  { keys, sign }: Cvm,
  realm: Realm,
  goalId: string,
  group: GroupKey,
): Uint8Array {
  const { identity, settlement, wrap } = keys;
  const payload = encodeCanonical({
    version: 1,
    ...realm,
    goalId,
    identity,
    settlement,
    wrap,
    group: encodeGroupKey(group),
  });
  return signSign1({ contentType: GROUP_TYPE, kid: sha256(identity), payload, sign });
}

/**
 * Finds the group key that owners seal to: of the last key-release goal whose key enough of its own members vouch
 * for, so that an owner seals to no key that a single host made up. A member's word counts when the chain lists it
 * as active with these very keys. Codes: `RELEASE_GROUP_UNVOUCHED`.
 */
export function judgeGroupStatements(
  statements: readonly Uint8Array[],
  realm: Realm,
  state: MarketState,
  nowMs: number,
): Verdict<GroupKey> {
  const { vouched, doubts } = vouchedGroups(statements, realm, state, nowMs);
  const current = vouched.at(-1);
  if (current !== undefined) return accept(current);
  const why = doubts.length === 0 ? "too few of its members answer" : doubts.join("; ");
  return refuse(
    "RELEASE_GROUP_UNVOUCHED",
    `No key-release group is vouched for by enough of its members: ${why}.`,
    "Wait until the network has formed its key-release group, then try again.",
  );
}

/** Every key that enough of its members vouch for and that is not retired, oldest first. */
export function vouchedGroups(
  statements: readonly Uint8Array[],
  realm: Realm,
  state: MarketState,
  nowMs: number,
): { readonly vouched: readonly GroupKey[]; readonly doubts: readonly string[] } {
  const words = new Map<string, Word>();
  const doubts: string[] = [];
  for (const statement of statements) {
    try {
      const { group, goalId, keys } = readStatement(statement, realm);
      const listed = state.nodes.get(keys.settlement)?.certificate.keysDigest === nodeKeysDigest(keys);
      if (!listed || !isNodeActive(state, keys.settlement, nowMs))
        throw new Error(`${keys.settlement} is not listed`);
      const name = `${goalId} ${groupDigest(group)}`;
      const word = words.get(name) ?? { goalId, group, members: new Set<NodeId>() };
      if (group.members.some(({ id }) => id === keys.settlement)) word.members.add(keys.settlement);
      words.set(name, word);
    } catch (error) {
      doubts.push(`${codeOf(error, "RELEASE_GROUP_MALFORMED")}: ${(error as Error).message}`);
    }
  }
  const sure = [...words.values()].filter(({ group, members }) => members.size >= group.threshold);
  const vouched = keyGoals(state).flatMap(({ goalId, retired }) =>
    retired ? [] : sure.filter((word) => word.goalId === goalId).map(({ group }) => group),
  );
  return { vouched, doubts };
}

interface Word {
  readonly goalId: string;
  readonly group: GroupKey;
  readonly members: Set<NodeId>;
}

function readStatement(bytes: Uint8Array, realm: Realm): { group: GroupKey; goalId: string; keys: NodeKeys } {
  const statement = openSign1(bytes);
  const fields = new MessageFields(decodeCanonical(statement.payload));
  const keys: NodeKeys = {
    identity: fields.bytes("identity", 32),
    settlement: parseAddress(fields.text("settlement")),
    wrap: fields.bytes("wrap", 32),
  };
  if (!verifySign1(statement, keys.identity, GROUP_TYPE))
    throw new Error("a member's word is not signed by it");
  const here = fields.count("chainId") === realm.chainId && fields.text("contract") === realm.contract;
  if (!here) throw new Error("a member's word is about another network");
  return { group: decodeGroupKey(fields.bytes("group")), goalId: fields.text("goalId"), keys };
}
