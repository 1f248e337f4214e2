import { ed25519_FROST as frost } from "@noble/curves/ed25519.js";
import { assertInvariant, ed25519Verify, type Entropy } from "@cloister/core";
import { publicKeyOf, verifyingShares, type GroupKey, type KeyShare } from "./keys.ts";

/** What a member publishes before it signs: commitments to two nonces that it uses once. RFC 9591 §5.1 */
export interface SigningCommitment {
  readonly index: number;
  readonly hiding: Uint8Array;
  readonly binding: Uint8Array;
}

/** One member's part of a signature. RFC 9591 §5.2 */
export interface SignatureShare {
  readonly index: number;
  readonly share: Uint8Array;
}

/** Either a signature, or who is to blame that there is none. */
export type SigningOutcome =
  | { readonly ok: true; readonly signature: Uint8Array }
  | { readonly ok: false; readonly culprits: readonly number[] };

const COMMITMENTS_CACHED_MAX = 16;
const publics = new Map<GroupKey, ReturnType<typeof toFrost>>();

/**
 * One member's side of one signature (FROST with Ed25519, RFC 9591): it commits, is told who else signs
 * and what, and gives its share once. The nonces live in this object alone and die with their use; after
 * a restart a new round is begun, never an old one continued.
 */
export class SigningRound {
  readonly commitment: SigningCommitment;
  readonly #share: KeyShare;
  #nonces: { hiding: Uint8Array; binding: Uint8Array } | undefined;

  constructor(share: KeyShare, entropy: Entropy) {
    const { nonces, commitments } = frost.commit(secretOf(share), (length = 32) => entropy(length));
    this.#share = share;
    this.#nonces = nonces;
    this.commitment = { index: share.index, hiding: commitments.hiding, binding: commitments.binding };
  }

  /**
   * Signs with this member's share. Judge the message first: a share is consent to all of it.
   * @returns undefined when the round was used already, or the commitments are not ones that this member is part of
   */
  sign(commitments: readonly SigningCommitment[], message: Uint8Array): SignatureShare | undefined {
    const nonces = this.#nonces;
    this.#nonces = undefined;
    const own = commitments.find(({ index }) => index === this.#share.index);
    if (nonces === undefined || own === undefined || !wellFormed(this.#share.group, commitments))
      return undefined;
    try {
      const list = commitments.map(toNonceCommitment);
      const share = frost.signShare(
        secretOf(this.#share),
        frostPublic(this.#share.group),
        nonces,
        list,
        message,
      );
      return { index: this.#share.index, share };
    } catch {
      // Commitments of others that are no points, or own ones that were swapped: nothing is signed.
      return undefined;
    }
  }
}

/**
 * Puts shares together into one Ed25519 signature under the group's key. When that fails, names the
 * members whose shares are wrong. RFC 9591 §5.3, §5.4
 */
export function combineShares(
  group: GroupKey,
  commitments: readonly SigningCommitment[],
  message: Uint8Array,
  shares: readonly SignatureShare[],
): SigningOutcome {
  const signers = commitments.map(({ index }) => index);
  const absent = signers.filter((index) => !shares.some((share) => share.index === index));
  if (absent.length > 0 || !wellFormed(group, commitments)) return { ok: false, culprits: absent };
  const list = commitments.map(toNonceCommitment);
  const byId = Object.fromEntries(
    shares.map(({ index, share }) => [frost.Identifier.fromNumber(index), share]),
  );
  try {
    const signature = frost.aggregate(frostPublic(group), list, message, byId);
    if (ed25519Verify(publicKeyOf(group), message, signature)) return { ok: true, signature };
  } catch {
    // Falls through to the search for whose share it was.
  }
  return {
    ok: false,
    culprits: shares.filter((share) => !isRight(group, list, message, share)).map(({ index }) => index),
  };
}

function isRight(
  group: GroupKey,
  list: ReturnType<typeof toNonceCommitment>[],
  message: Uint8Array,
  { index, share }: SignatureShare,
): boolean {
  try {
    return frost.verifyShare(frostPublic(group), list, message, frost.Identifier.fromNumber(index), share);
  } catch {
    return false;
  }
}

/** At least the threshold, each member once, all of them members. */
function wellFormed(group: GroupKey, commitments: readonly SigningCommitment[]): boolean {
  const indexes = new Set(commitments.map(({ index }) => index));
  const members = [...indexes].every((index) => Number.isInteger(index) && index >= 1 && index <= group.size);
  return members && indexes.size === commitments.length && indexes.size >= group.threshold;
}

function secretOf(share: KeyShare) {
  return { identifier: frost.Identifier.fromNumber(share.index), signingShare: share.secret };
}

function toNonceCommitment({ index, hiding, binding }: SigningCommitment) {
  return { identifier: frost.Identifier.fromNumber(index), hiding, binding };
}

/** Computing every verifying share costs milliseconds, and a group signs many times. */
function frostPublic(group: GroupKey): ReturnType<typeof toFrost> {
  const known = publics.get(group);
  if (known !== undefined) return known;
  if (publics.size >= COMMITMENTS_CACHED_MAX) publics.delete(publics.keys().next().value as GroupKey);
  const made = toFrost(group);
  publics.set(group, made);
  return made;
}

function toFrost(group: GroupKey) {
  assertInvariant(
    group.commitment.length === group.threshold,
    "a group's polynomial has its threshold's degree",
  );
  const shares = verifyingShares(group).map((point, i) => [
    frost.Identifier.fromNumber(i + 1),
    point.toBytes(),
  ]);
  return {
    signers: { min: group.threshold, max: group.size },
    commitments: [...group.commitment],
    verifyingShares: Object.fromEntries(shares) as Record<string, Uint8Array>,
  };
}
