import { decodeCanonical, encodeCanonical, hkdfSha256, type Digest, type Entropy } from "@cloister/core";
import { aeadOpen, aeadSeal } from "../../sealed/small.ts";
import { ZERO_NONCE } from "../../sealed/recipients.ts";
import {
  decodePoint,
  decodeScalar,
  encodeScalar,
  evaluate,
  evaluateCommitments,
  liftMontgomery,
  multiply,
  Point,
  scalarFromWide,
  scalarOfX25519,
  toMontgomery,
} from "../curve.ts";
import { publicShare } from "../group.ts";
import { proveEquality, proveSecret, verifyEquality, verifySecret } from "../proofs.ts";
import type { GroupMember } from "../types.ts";
import type { CeremonyPlan } from "./plan.ts";

const DEAL = "cloister/ceremony-deal/v1";
const COMPLAINT = "cloister/ceremony-complaint/v1";
const SHARE = "cloister/ceremony-share/v1";

/** A dealer's contribution: Feldman commitments, and a share for each member, sealed to its wrapping key. */
export interface Deal {
  readonly commitments: readonly Point[];
  /** Sealed shares are Diffie-Hellman with this one point, so that a complaint can be checked by everyone. */
  readonly ephemeral: Point;
  /** In the order of the plan's members. */
  readonly sealedShares: readonly Uint8Array[];
}

/** What a member reveals to show that its share is wrong: the one Diffie-Hellman point, and a proof that it is. */
export interface Complaint {
  readonly dealer: string;
  readonly point: Uint8Array;
  readonly proof: Uint8Array;
}

/**
 * Makes a deal's body. `constant` is the secret to be shared: random in a generation, the dealer's share in a
 * resharing.
 */
export function makeDeal(
  plan: CeremonyPlan,
  ceremony: Digest,
  dealer: string,
  constant: bigint,
  entropy: Entropy,
): Uint8Array {
  const random = () => scalarFromWide(entropy(64));
  const coefficients = [constant, ...Array.from({ length: plan.threshold - 1 }, random)];
  const ephemeralSecret = random();
  const context = dealContext(ceremony, dealer);
  return encodeCanonical({
    commitments: coefficients.map((coefficient) => multiply(Point.BASE, coefficient).toBytes()),
    // Knowledge of the constant keeps a dealer from choosing it as a function of the others' (rogue key).
    proof: proveSecret(constant, context, entropy),
    ephemeral: multiply(Point.BASE, ephemeralSecret).toBytes(),
    // Knowledge of the ephemeral secret keeps a dealer from using somebody else's point, for which a
    // complaint would reveal the Diffie-Hellman result.
    ephemeralProof: proveSecret(ephemeralSecret, context, entropy),
    shares: plan.members.map((member) => {
      const shared = multiply(liftMontgomery(member.wrapKey) as Point, ephemeralSecret);
      return aeadSeal(
        shareKey(ceremony, dealer, member, shared),
        ZERO_NONCE,
        encodeScalar(evaluate(coefficients, member.index)),
      );
    }),
  });
}

/** Reads a deal and checks all that anyone can check; a text says what is wrong. */
export function readDeal(
  plan: CeremonyPlan,
  ceremony: Digest,
  dealer: string,
  body: Uint8Array,
): Deal | string {
  const { commitments, proof, ephemeral, ephemeralProof, shares } = decodeCanonical(body) as Record<
    string,
    unknown
  >;
  if (!isBytesList(commitments, plan.threshold))
    return `it does not commit to ${plan.threshold} coefficients`;
  if (!isBytesList(shares, plan.members.length)) return "it does not hold a share for each member";
  const points = commitments.map(decodePoint);
  const [constant] = points;
  const base = ephemeral instanceof Uint8Array ? decodePoint(ephemeral) : undefined;
  if (!points.every((point) => point !== undefined) || constant === undefined || base === undefined)
    return "a point is not in the prime-order group";
  const context = dealContext(ceremony, dealer);
  if (!(proof instanceof Uint8Array) || !verifySecret(constant, context, proof))
    return "it does not prove knowledge of its secret";
  if (!(ephemeralProof instanceof Uint8Array) || !verifySecret(base, context, ephemeralProof))
    return "it does not prove knowledge of its ephemeral secret";
  const expected = expectedConstant(plan, dealer);
  if (expected !== undefined && !expected.equals(constant)) return "it does not share the dealer's own share";
  return { commitments: points, ephemeral: base, sealedShares: shares };
}

/** The share a deal holds for a member, or undefined when it does not open or does not fit the commitments. */
export function openShare(
  plan: CeremonyPlan,
  ceremony: Digest,
  dealer: string,
  deal: Deal,
  member: GroupMember,
  wrapSecret: Uint8Array,
): bigint | undefined {
  const shared = multiply(deal.ephemeral, scalarOfX25519(wrapSecret));
  return shareUnder(plan, ceremony, dealer, deal, member, shared);
}

/** Complains about a share: everyone who holds the deal can now open that one share and see for itself. */
export function makeComplaint(
  ceremony: Digest,
  dealer: string,
  deal: Deal,
  member: GroupMember,
  wrapSecret: Uint8Array,
  entropy: Entropy,
): Complaint {
  const secret = scalarOfX25519(wrapSecret);
  return {
    dealer,
    point: multiply(deal.ephemeral, secret).toBytes(),
    proof: proveEquality(secret, deal.ephemeral, complaintContext(ceremony, dealer, member), entropy),
  };
}

/** Judges a complaint: who is at fault, the dealer or the one who complains. */
export function judgeComplaint(
  plan: CeremonyPlan,
  ceremony: Digest,
  deal: Deal,
  member: GroupMember,
  complaint: Complaint,
): "dealer" | "member" {
  const { dealer, proof } = complaint;
  const shared = decodePoint(complaint.point);
  const imageOfGenerator = liftMontgomery(member.wrapKey);
  if (shared === undefined || imageOfGenerator === undefined) return "member";
  const claim = { base: deal.ephemeral, imageOfGenerator, imageOfBase: shared };
  if (!verifyEquality(claim, complaintContext(ceremony, dealer, member), proof)) return "member";
  return shareUnder(plan, ceremony, dealer, deal, member, shared) === undefined ? "dealer" : "member";
}

function shareUnder(
  plan: CeremonyPlan,
  ceremony: Digest,
  dealer: string,
  deal: Deal,
  member: GroupMember,
  shared: Point,
): bigint | undefined {
  const sealed = deal.sealedShares[plan.members.findIndex((candidate) => candidate.id === member.id)];
  if (sealed === undefined) return undefined;
  const bytes = aeadOpen(shareKey(ceremony, dealer, member, shared), ZERO_NONCE, sealed);
  const share = bytes === undefined ? undefined : decodeScalar(bytes);
  if (share === undefined) return undefined;
  const image = evaluateCommitments(deal.commitments, member.index);
  return multiply(Point.BASE, share).equals(image) ? share : undefined;
}

function expectedConstant(plan: CeremonyPlan, dealer: string): Point | undefined {
  const group = plan.previous?.group;
  const index = group?.members.find((member) => member.id === dealer)?.index;
  return group === undefined || index === undefined ? undefined : publicShare(group, index);
}

function shareKey(ceremony: Digest, dealer: string, member: GroupMember, shared: Point): Uint8Array {
  const info = encodeCanonical([SHARE, ceremony, dealer, member.index]);
  return hkdfSha256(toMontgomery(shared), member.wrapKey, info, 32);
}

function dealContext(ceremony: Digest, dealer: string): Uint8Array {
  return encodeCanonical([DEAL, ceremony, dealer]);
}

function complaintContext(ceremony: Digest, dealer: string, member: GroupMember): Uint8Array {
  return encodeCanonical([COMPLAINT, ceremony, dealer, member.index]);
}

function isBytesList(value: unknown, length: number): value is Uint8Array[] {
  return Array.isArray(value) && value.length === length && value.every((item) => item instanceof Uint8Array);
}
