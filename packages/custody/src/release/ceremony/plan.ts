import {
  acceptUnless,
  CloisterError,
  decodeCanonical,
  digestOfDocument,
  encodeCanonical,
  type Digest,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { liftMontgomery } from "../curve.ts";
import {
  areDistinctMembers,
  decodeGroupKey,
  encodeGroupKey,
  groupDigest,
  memberDocument,
  readMember,
} from "../group.ts";
import type { GroupKey, GroupMember } from "../types.ts";

/**
 * What all participants agree on before a ceremony; its digest is the ceremony's id, so that messages of
 * another plan do not even verify. Without `previous` the members generate a new key together (DKG);
 * with it, `dealers` of the previous group hand the same key to the new members (resharing).
 */
export interface CeremonyPlan {
  /** Tells attempts apart. */
  readonly name: string;
  readonly epoch: number;
  readonly threshold: number;
  /** Who will hold shares. Indices stay with their member through all epochs. */
  readonly members: readonly GroupMember[];
  readonly previous?: {
    readonly group: GroupKey;
    /** Indices in the previous group; at least its threshold. */
    readonly dealers: readonly number[];
  };
}

/** The id of a ceremony: the digest of its plan. */
export function ceremonyId(plan: CeremonyPlan): Digest {
  const { name, epoch, threshold, members, previous } = plan;
  return digestOfDocument({
    name,
    epoch,
    threshold,
    members: members.map(memberDocument),
    previous:
      previous === undefined ? undefined : { group: groupDigest(previous.group), dealers: previous.dealers },
  });
}

/** Encodes a plan as canonical CBOR, for whoever is to take part. */
export function encodePlan({ name, epoch, threshold, members, previous }: CeremonyPlan): Uint8Array {
  const from =
    previous === undefined
      ? undefined
      : { group: encodeGroupKey(previous.group), dealers: [...previous.dealers] };
  return encodeCanonical({
    ...{ name, epoch, threshold, members: members.map(memberDocument) },
    ...(from === undefined ? {} : { previous: from }),
  });
}

/**
 * Reads a plan. Whether it can be carried out is for `checkPlan`, and whether it should be for the participant.
 * @throws {CloisterError} `CEREMONY_PLAN_MALFORMED`
 */
export function decodePlan(bytes: Uint8Array): CeremonyPlan {
  try {
    const { name, epoch, threshold, members, previous } = decodeCanonical(bytes) as Record<string, unknown>;
    if (typeof name !== "string" || name.length > 256 || !Array.isArray(members)) throw planMalformed();
    if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(threshold)) throw planMalformed();
    const plan = {
      name,
      epoch: epoch as number,
      threshold: threshold as number,
      members: members.map((member) => readMember(member)),
    };
    return previous === undefined ? plan : { ...plan, previous: readPrevious(previous) };
  } catch (cause) {
    throw planMalformed(cause);
  }
}

function readPrevious(document: unknown): NonNullable<CeremonyPlan["previous"]> {
  const { group, dealers } = document as Record<string, unknown>;
  if (!(group instanceof Uint8Array) || !Array.isArray(dealers)) throw planMalformed();
  if (!dealers.every((index) => Number.isSafeInteger(index))) throw planMalformed();
  return { group: decodeGroupKey(group), dealers: dealers as number[] };
}

function planMalformed(cause?: unknown): CloisterError {
  return new CloisterError("CEREMONY_PLAN_MALFORMED", "The document is not the plan of a ceremony.", {
    cause,
  });
}

/** Who deals: every member in a generation, the chosen members of the previous group in a resharing. */
export function dealersOf(plan: CeremonyPlan): readonly GroupMember[] {
  const { previous } = plan;
  if (previous === undefined) return plan.members;
  return previous.group.members.filter((member) => previous.dealers.includes(member.index));
}

/** Checks that a plan can be carried out. Codes: `CEREMONY_…`. */
export function checkPlan(plan: CeremonyPlan): Verdict<CeremonyPlan> {
  const refusals: Refusal[] = [];
  const need = (holds: boolean, code: string, reason: string) => {
    if (!holds) refusals.push({ code, reason });
  };
  const { members, threshold, previous, epoch } = plan;
  need(
    areDistinctMembers(members),
    "CEREMONY_MEMBERS_INVALID",
    "Members' ids, indices and keys must be distinct.",
  );
  need(
    threshold >= 1 && threshold <= members.length,
    "CEREMONY_THRESHOLD_INVALID",
    `A threshold of ${threshold} does not fit ${members.length} members.`,
  );
  for (const member of [...members, ...dealersOf(plan)]) {
    const usable = liftMontgomery(member.wrapKey) !== undefined;
    need(usable, "CEREMONY_KEY_INVALID", `The wrapping key of ${member.id} is not one that X25519 makes.`);
  }
  if (previous !== undefined) {
    const { group, dealers } = previous;
    const known = dealersOf(plan).length === dealers.length;
    need(
      known,
      "CEREMONY_DEALERS_INVALID",
      "A dealer is not a member of the previous group, or is named twice.",
    );
    need(
      dealers.length >= group.threshold,
      "CEREMONY_DEALERS_TOO_FEW",
      `${dealers.length} members of the previous group deal; ${group.threshold} are needed.`,
    );
    need(epoch > group.epoch, "CEREMONY_EPOCH_OLD", `Epoch ${epoch} does not follow ${group.epoch}.`);
  }
  return acceptUnless(refusals, () => plan);
}

/** One participant's misconduct or silence. */
export interface Fault {
  /** The participant's id. */
  readonly participant: string;
  readonly code:
    | "CEREMONY_EQUIVOCATED"
    | "CEREMONY_DEAL_INVALID"
    | "CEREMONY_SHARE_WRONG"
    | "CEREMONY_COMPLAINT_FALSE"
    | "CEREMONY_BALLOT_INVALID"
    | "CEREMONY_DEAL_MISSING"
    | "CEREMONY_BALLOT_MISSING";
  readonly reason: string;
  /** True when the signed messages prove it to anyone; false for silence, which only a deadline shows. */
  readonly proven: boolean;
}

/**
 * The plan of the next attempt, without those at fault. Silence counts only where no misconduct is proven:
 * who is silent may be cut off, and a participant that lies about it must not take honest ones with it.
 * Codes: `CEREMONY_TOO_FEW_LEFT`.
 */
export function planWithout(
  plan: CeremonyPlan,
  faults: readonly Fault[],
  name: string,
): Verdict<CeremonyPlan> {
  const proven = faults.filter((fault) => fault.proven);
  const counted = proven.length > 0 ? proven : faults;
  const out = new Set(counted.map((fault) => fault.participant));
  const members = plan.members.filter((member) => !out.has(member.id));
  const { previous } = plan;
  const dealers = dealersOf(plan).filter((member) => !out.has(member.id));
  const refusals: Refusal[] = [];
  const need = previous?.group.threshold ?? plan.threshold;
  if (members.length < plan.threshold || dealers.length < need) {
    const reason = `Without ${[...out].join(", ")} there are ${members.length} members and ${dealers.length} dealers; ${plan.threshold} and ${need} are needed.`;
    refusals.push({ code: "CEREMONY_TOO_FEW_LEFT", reason, hint: "Admit more nodes to the group." });
  }
  return acceptUnless(refusals, () => ({
    ...plan,
    name,
    members,
    ...(previous === undefined
      ? {}
      : { previous: { group: previous.group, dealers: dealers.map((dealer) => dealer.index) } }),
  }));
}
