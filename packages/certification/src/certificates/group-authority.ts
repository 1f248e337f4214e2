import type { AttestationResult, Endorsements, Evidence } from "@cloister/attestation";
import {
  equalBytes,
  encodeCanonical,
  refuse,
  sha256,
  type Digest,
  type Entropy,
  type NodeId,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { publicKeyOf, type KeyShare } from "../threshold/keys.ts";
import { SigningRound, type SignatureShare, type SigningCommitment } from "../threshold/signing.ts";
import { ChallengeBook, judgeIssuance } from "./authority.ts";
import {
  CERTIFICATE_SKEW_MS,
  certifyReportData,
  prepareNodeCertificate,
  type UnsignedCertificate,
} from "./issue.ts";
import type { CertificateRequest, Realm } from "./types.ts";

const ROUNDS_OPEN_MAX = 256;

/** One member's part of a challenge: the node answers the parts of all members that are to sign. */
export interface ChallengePart {
  readonly index: number;
  /** 32 random bytes of this member. */
  readonly nonce: Uint8Array;
  /** The member's commitment for the signature to come. RFC 9591 §5.1 */
  readonly commitment: SigningCommitment;
}

/** What the members of an authority are asked to sign together. All see the same, each judges alone. */
export interface GroupIssuance {
  readonly parts: readonly ChallengePart[];
  readonly request: CertificateRequest;
  readonly endorsements: Endorsements;
  /** As the coordinator has them; each member holds them against its own clock and bounds. */
  readonly nowMs: number;
  readonly lifetimeMs: number;
}

/** What a member judges by: its own clock, its own view of the chain, its own policy. */
export interface MemberView {
  readonly nowMs: number;
  readonly lifetimeMsMax: number;
  readonly realm: Realm;
  isApproved(measurement: Digest): boolean;
  /** Tells whether the chain, or a revocation list, says to have nothing to do with a node. */
  isBarred(node: NodeId): boolean;
  /** Verifies and appraises under this member's policy; `reportData` is what the evidence must bind. */
  appraise(
    evidence: Evidence,
    endorsements: Endorsements,
    reportData: Uint8Array,
  ): Verdict<AttestationResult>;
}

/**
 * The challenge that a node answers when several members sign: no member has to trust another one's
 * freshness, for each one's own random bytes are in it.
 */
export function jointChallenge(parts: readonly ChallengePart[]): Uint8Array {
  const sorted = parts.toSorted((a, b) => a.index - b.index);
  return sha256(
    encodeCanonical(["cloister/challenge/v1", ...sorted.map(({ index, nonce }) => [index, nonce])]),
  );
}

/** Builds what the members sign; the coordinator finishes it with the combined signature. */
export function groupCertificate(
  key: Uint8Array,
  issuance: GroupIssuance,
  statement: Parameters<typeof prepareNodeCertificate>[0]["statement"],
): UnsignedCertificate {
  const { nowMs, lifetimeMs, request } = issuance;
  // All signers' randomness is in the challenge, so nobody can choose a number that is taken.
  const serial = sha256(encodeCanonical(["cloister/serial/v1", request.challenge])).subarray(0, 16);
  const { identity } = request.keys;
  const fields = { nowMs, lifetimeMs, serial, identity, statement, evidence: request.evidence };
  return prepareNodeCertificate({ ...fields, authorityKey: key });
}

/**
 * One CVM of a certification authority whose key exists as shares. It gives out challenge parts and signs
 * a certificate once, if it finds everything in order by its own judgement; fewer than the threshold
 * of such members cannot certify anything. spec/certificates.md §7
 */
export class AuthorityShare {
  readonly #share: KeyShare;
  readonly #book: ChallengeBook;
  readonly #rounds = new Map<string, SigningRound>();

  constructor(share: KeyShare, book: ChallengeBook = new ChallengeBook()) {
    this.#share = share;
    this.#book = book;
  }

  /** Begins an issuance: fresh bytes for the node to answer, and nonces for one signature. */
  challenge(entropy: Entropy, nowMs: number): ChallengePart {
    const nonce = this.#book.issue(entropy, nowMs);
    const round = new SigningRound(this.#share, entropy);
    if (this.#rounds.size >= ROUNDS_OPEN_MAX) this.#rounds.delete(this.#rounds.keys().next().value as string);
    this.#rounds.set(nonce.join(), round);
    return { index: this.#share.index, nonce, commitment: round.commitment };
  }

  /** Judges an issuance and signs it with this member's share, or refuses with every failed check. */
  sign(issuance: GroupIssuance, view: MemberView): Verdict<SignatureShare> {
    const own = issuance.parts.find(({ index }) => index === this.#share.index);
    const round = own === undefined ? undefined : this.#rounds.get(own.nonce.join());
    if (own === undefined || round === undefined) {
      return refuse(
        "CERTIFY_CHALLENGE_UNKNOWN",
        "This member gave out no such challenge, or has signed for it.",
      );
    }
    this.#rounds.delete(own.nonce.join());
    const redeemed = this.#book.redeem(own.nonce, view.nowMs);
    const joint = jointChallenge(issuance.parts);
    const refusals = [...(redeemed.ok ? [] : redeemed.refusals), ...judgeTerms(issuance, view)];
    if (!sameCommitment(own.commitment, round.commitment)) {
      refusals.push({ code: "CERTIFY_COMMITMENT_SWAPPED", reason: "The member's commitment was exchanged." });
    }
    const { request, endorsements } = issuance;
    const challenge = { ok: true as const, value: joint };
    const verdict = judgeRequest(request, endorsements, challenge, view);
    if (!verdict.ok) return { ok: false, refusals: [...verdict.refusals, ...refusals] };
    const [first, ...rest] = refusals;
    if (first !== undefined) return { ok: false, refusals: [first, ...rest] };
    const { toBeSigned } = groupCertificate(publicKeyOf(this.#share.group), issuance, verdict.value);
    const commitments = issuance.parts.map(({ commitment }) => commitment);
    const share = round.sign(commitments, toBeSigned);
    if (share !== undefined) return { ok: true, value: share };
    return refuse(
      "CERTIFY_SIGNERS_INVALID",
      "Those who are to sign are too few, or not members of this authority.",
    );
  }
}

/** Verifies, appraises and judges a request under one member's view. A node that was revoked is not certified again. */
export function judgeRequest(
  request: CertificateRequest,
  endorsements: Endorsements,
  challenge: Verdict<Uint8Array>,
  view: MemberView,
) {
  const { settlement } = request.keys;
  if (view.isBarred(settlement)) return refuse("NODE_REVOKED", `The node ${settlement} was revoked.`);
  const reportData = certifyReportData(request.challenge, request.keys);
  const result = view.appraise(request.evidence, endorsements, reportData);
  if (!result.ok) return result;
  const { realm } = view;
  const isApproved = (measurement: Digest): boolean => view.isApproved(measurement);
  return judgeIssuance({ request, challenge, result: result.value, endorsements, realm, isApproved });
}

function judgeTerms({ nowMs, lifetimeMs }: GroupIssuance, view: MemberView): Refusal[] {
  const refusals: Refusal[] = [];
  if (Math.abs(nowMs - view.nowMs) > CERTIFICATE_SKEW_MS) {
    refusals.push({ code: "CERTIFY_TIME_REFUSED", reason: "The certificate's beginning is not now." });
  }
  if (lifetimeMs <= 0 || lifetimeMs > view.lifetimeMsMax) {
    refusals.push({
      code: "CERTIFY_LIFETIME_REFUSED",
      reason: "The certificate would be good for too long.",
    });
  }
  return refusals;
}

function sameCommitment(a: SigningCommitment, b: SigningCommitment): boolean {
  return a.index === b.index && equalBytes(a.hiding, b.hiding) && equalBytes(a.binding, b.binding);
}
