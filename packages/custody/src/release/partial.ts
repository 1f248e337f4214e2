import {
  accept,
  CloisterError,
  concat,
  decodeCanonical,
  encodeCanonical,
  utf8,
  type Entropy,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import type { Header } from "../sealed/header.ts";
import { unwrapX25519 } from "../sealed/recipients.ts";
import { decodePoint, decodeScalar, lagrangeAtZero, multiply, Point, toMontgomery } from "./curve.ts";
import { groupPublicKey, publicShare } from "./group.ts";
import { hpkeOpen, hpkeSeal } from "./hpke.ts";
import { readOwned } from "./owner.ts";
import { proveEquality, verifyEquality } from "./proofs.ts";
import type { GroupKey, GroupShare, PartialContext, PartialKey } from "./types.ts";

const PARTIAL_DOMAIN = "cloister/partial-key/v1";
const WRAP_INFO = utf8("cloister/wrapped-partial/v1");

/**
 * A member's contribution to opening an object. Judge the release first: this only computes.
 * @throws {CloisterError} `RELEASE_OWNER_NOT_BOUND`, `RELEASE_OWNER_FORGED`, `RELEASE_SHARE_MALFORMED`
 */
export function makePartial(
  group: GroupKey,
  share: GroupShare,
  header: Header,
  context: PartialContext,
  entropy: Entropy,
): PartialKey {
  const secret = decodeScalar(share.secret);
  if (secret === undefined || share.groupId !== group.groupId || share.epoch !== group.epoch)
    throw new CloisterError("RELEASE_SHARE_MALFORMED", "The share is not one of this group's epoch.");
  const { base } = readOwned(header, groupPublicKey(group));
  return {
    epoch: share.epoch,
    index: share.index,
    point: multiply(base, secret).toBytes(),
    proof: proveEquality(secret, base, proofContext(context, share.epoch, share.index), entropy),
  };
}

/**
 * Combines the partial keys of at least `threshold` members into the file key.
 * Every partial is checked first: `liars` names who gave a wrong one, and the rest may still suffice.
 * Codes: `RELEASE_TOO_FEW`, `RELEASE_PARTIAL_INVALID`, `RELEASE_EPOCH_MIXED`, `RELEASE_NOT_SEALED_TO_GROUP`.
 * @throws {CloisterError} `RELEASE_OWNER_NOT_BOUND`, `RELEASE_OWNER_FORGED`
 */
export function combinePartials(
  group: GroupKey,
  header: Header,
  context: PartialContext,
  partials: readonly PartialKey[],
): Verdict<{ fileKey: Uint8Array; liars: readonly Refusal[] }> {
  const publicKey = groupPublicKey(group);
  const { stanza, base } = readOwned(header, publicKey);
  const liars: Refusal[] = [];
  const honest = new Map<number, Point>();
  for (const partial of partials) {
    const judged = checkPartial(group, base, context, partial);
    if (judged.ok) honest.set(partial.index, judged.value);
    else liars.push(...judged.refusals);
  }
  if (honest.size < group.threshold) {
    const reason = `${honest.size} valid partial keys arrived; ${group.threshold} are needed.`;
    const few = { code: "RELEASE_TOO_FEW", reason, hint: "Ask the members that refused for their reasons." };
    return { ok: false, refusals: [few, ...liars] };
  }
  const shared = interpolate([...honest].slice(0, group.threshold));
  const fileKey = shared.is0() ? undefined : unwrapX25519(stanza, toMontgomery(shared), publicKey);
  if (fileKey !== undefined) return accept({ fileKey, liars });
  const reason = "The object's owned stanza is not sealed to the group's key.";
  return { ok: false, refusals: [{ code: "RELEASE_NOT_SEALED_TO_GROUP", reason }, ...liars] };
}

/** Checks one partial key against the member's public share; the value is its point. */
function checkPartial(
  group: GroupKey,
  base: Point,
  context: PartialContext,
  partial: PartialKey,
): Verdict<Point> {
  const { epoch, index, proof } = partial;
  const member = group.members.find((candidate) => candidate.index === index);
  const lie = (code: string, reason: string): Verdict<never> => ({ ok: false, refusals: [{ code, reason }] });
  if (member === undefined) return lie("RELEASE_PARTIAL_INVALID", `No member has the index ${index}.`);
  if (epoch !== group.epoch)
    return lie("RELEASE_EPOCH_MIXED", `${member.id} answered for epoch ${epoch}, not ${group.epoch}.`);
  const imageOfBase = decodePoint(partial.point);
  const imageOfGenerator = publicShare(group, index);
  if (
    imageOfBase === undefined ||
    !verifyEquality({ base, imageOfGenerator, imageOfBase }, proofContext(context, epoch, index), proof)
  ) {
    return lie("RELEASE_PARTIAL_INVALID", `${member.id} gave a partial key that its share did not make.`);
  }
  return accept(imageOfBase);
}

/** Wraps a partial key to the loader's attested X25519 key; nothing else can read it. */
export function wrapPartial(
  partial: PartialKey,
  wrapKey: Uint8Array,
  context: PartialContext,
  entropy: Entropy,
): Uint8Array {
  const { epoch, index, point, proof } = partial;
  return hpkeSeal(wrapKey, wrapInfo(context), encodeCanonical({ epoch, index, point, proof }), entropy);
}

/**
 * Opens a wrapped partial key with the loader's secret. It is not yet checked: `combinePartials` does.
 * @throws {CloisterError} `RELEASE_ANSWER_MALFORMED`
 */
export function unwrapPartial(
  message: Uint8Array,
  wrapSecret: Uint8Array,
  context: PartialContext,
): PartialKey {
  const answer = hpkeOpen(wrapSecret, wrapInfo(context), message);
  if (answer === undefined) throw malformedAnswer("it was not wrapped to this key for this order");
  let document: unknown;
  try {
    document = decodeCanonical(answer);
  } catch (cause) {
    throw malformedAnswer("it is not canonical CBOR", cause);
  }
  const { epoch, index, point, proof } = (document ?? {}) as Record<string, unknown>;
  if (typeof epoch !== "number" || typeof index !== "number") throw malformedAnswer("a number is missing");
  if (!(point instanceof Uint8Array && proof instanceof Uint8Array))
    throw malformedAnswer("bytes are missing");
  return { epoch, index, point, proof };
}

function interpolate(points: readonly (readonly [number, Point])[]): Point {
  const coefficients = lagrangeAtZero(points.map(([index]) => index));
  return points.reduce(
    (sum, [index, point]) => sum.add(multiply(point, coefficients.get(index) as bigint)),
    Point.ZERO,
  );
}

function proofContext(context: PartialContext, epoch: number, index: number): Uint8Array {
  return encodeCanonical([PARTIAL_DOMAIN, context.orderId, context.headerDigest, epoch, index]);
}

function wrapInfo(context: PartialContext): Uint8Array {
  return concat(WRAP_INFO, encodeCanonical([context.orderId, context.headerDigest]));
}

function malformedAnswer(why: string, cause?: unknown): CloisterError {
  return new CloisterError("RELEASE_ANSWER_MALFORMED", `A key-release answer is malformed: ${why}.`, {
    ...(cause === undefined ? {} : { cause }),
  });
}
