import { accept, CloisterError, refuse, type Verdict } from "@cloister/core";
import type { Header } from "../sealed/header.ts";
import { groupPublicKey } from "./group.ts";
import { readOwned } from "./owner.ts";
import type { GroupKey } from "./types.ts";

/**
 * The keys of a key-release group over time. Owners seal to the current key; retired ones still open what was
 * sealed to them, until they are dropped. spec/key-release.md §7
 */
export interface GroupRing {
  readonly current: GroupKey;
  readonly retired: readonly GroupKey[];
}

/** Starts a ring with a generated key. */
export function createRing(group: GroupKey): GroupRing {
  return { current: group, retired: [] };
}

/**
 * Takes up the outcome of a ceremony: a reshared key replaces the one it continues, whether current or retired;
 * a new key becomes current and retires the one before.
 * @throws {CloisterError} `RELEASE_EPOCH_OLD` when a reshared key is not of a later epoch.
 */
export function withGroup(ring: GroupRing, group: GroupKey): GroupRing {
  const held = [ring.current, ...ring.retired].find(({ groupId }) => groupId === group.groupId);
  if (held === undefined) return { current: group, retired: [ring.current, ...ring.retired] };
  if (group.epoch <= held.epoch)
    throw new CloisterError("RELEASE_EPOCH_OLD", `Epoch ${group.epoch} does not follow ${held.epoch}.`);
  const replaced = (each: GroupKey) => (each.groupId === group.groupId ? group : each);
  return { current: replaced(ring.current), retired: ring.retired.map(replaced) };
}

/** Drops a retired key: what was sealed to it alone can never be opened again. */
export function withoutGroup(ring: GroupRing, groupId: GroupKey["groupId"]): GroupRing {
  return { ...ring, retired: ring.retired.filter((group) => group.groupId !== groupId) };
}

/**
 * The key that an object is sealed to: the one under which its owner stanza holds.
 * Codes: `RELEASE_KEY_UNKNOWN`, and those of the owner stanza when no key fits.
 */
export function groupOf(ring: GroupRing, header: Header): Verdict<GroupKey> {
  let last: CloisterError | undefined;
  for (const group of [ring.current, ...ring.retired]) {
    try {
      readOwned(header, groupPublicKey(group));
      return accept(group);
    } catch (failure) {
      if (!(failure instanceof CloisterError)) throw failure;
      last = failure;
    }
  }
  if (last?.code === "RELEASE_OWNER_NOT_BOUND") return refuse(last.code, last.message, last.hint);
  return refuse(
    "RELEASE_KEY_UNKNOWN",
    "The object is sealed to none of the group's keys, or its owner stanza is forged.",
    "Seal it again to the group's current key.",
  );
}
