import type { AttestationResult, Endorsements } from "@cloister/attestation";
import {
  acceptUnless,
  accept,
  equalBytes,
  refuse,
  toHex,
  type Digest,
  type Entropy,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { endorsementsDigest } from "./cmw.ts";
import { certifyReportData } from "./issue.ts";
import type { CertificateRequest, NodeStatement, Realm } from "./types.ts";

const CHALLENGE_BYTES = 32;

/**
 * The challenges that an authority has given out and not seen answered. Each is good once and for a
 * short time; old ones make room for new ones, so that asking for many costs nothing but one's own.
 */
export class ChallengeBook {
  readonly #lifetimeMs: number;
  readonly #openMax: number;
  readonly #expiries = new Map<string, number>();

  constructor(options: { readonly lifetimeMs?: number; readonly openMax?: number } = {}) {
    this.#lifetimeMs = options.lifetimeMs ?? 60_000;
    this.#openMax = options.openMax ?? 1024;
  }

  /** Makes a fresh challenge of 32 bytes. */
  issue(entropy: Entropy, nowMs: number): Uint8Array {
    const challenge = entropy(CHALLENGE_BYTES);
    if (this.#expiries.size >= this.#openMax)
      this.#expiries.delete(this.#expiries.keys().next().value as string);
    this.#expiries.set(toHex(challenge), nowMs + this.#lifetimeMs);
    return challenge;
  }

  /** Takes a challenge back. It cannot be taken back twice, whatever becomes of the request. */
  redeem(challenge: Uint8Array, nowMs: number): Verdict<Uint8Array> {
    const expiryMs = this.#expiries.get(toHex(challenge));
    this.#expiries.delete(toHex(challenge));
    const hint = "Ask for a new challenge and answer it at once.";
    if (expiryMs === undefined) {
      return refuse(
        "CERTIFY_CHALLENGE_UNKNOWN",
        "This authority gave out no such challenge, or it was answered already.",
        hint,
      );
    }
    if (nowMs > expiryMs)
      return refuse("CERTIFY_CHALLENGE_EXPIRED", "The challenge was answered too late.", hint);
    return accept(challenge);
  }
}

/** All that an authority looks at before it certifies a node. */
export interface IssuanceQuestion {
  readonly request: CertificateRequest;
  /** What redeeming the request's challenge gave. */
  readonly challenge: Verdict<Uint8Array>;
  /** What appraising the request's evidence gave, under the authority's policy. */
  readonly result: AttestationResult;
  /** The endorsements that the evidence was verified by. */
  readonly endorsements: Endorsements;
  readonly realm: Realm;
  /** Tells whether the chain approves a measurement at this moment. */
  isApproved(measurement: Digest): boolean;
}

/**
 * Decides whether a node is certified, and with which statement. Refuses with every failed check:
 * the challenge, the appraisal, the binding of the keys, the chain's approval. spec/certificates.md §2
 */
export function judgeIssuance(question: IssuanceQuestion): Verdict<NodeStatement> {
  const { request, challenge, result, realm } = question;
  const { claims } = result;
  const { keys } = request;
  const refusals: Refusal[] = [...(challenge.ok ? [] : challenge.refusals), ...result.refusals];
  if (challenge.ok && !equalBytes(challenge.value, request.challenge)) {
    refusals.push({ code: "CERTIFY_CHALLENGE_UNKNOWN", reason: "The request answers another challenge." });
  }
  if (result.status !== "affirming" && result.refusals.length === 0) {
    refusals.push({
      code: "CERTIFY_NOT_AFFIRMED",
      reason: "The appraisal of the evidence did not affirm it.",
    });
  }
  const expected = certifyReportData(request.challenge, keys);
  const bound =
    claims.challengeVerified && equalBytes(claims.reportData.subarray(0, expected.length), expected);
  if (!bound || claims.tee !== request.evidence.tee) {
    const reason = "The evidence does not bind these keys and this challenge.";
    refusals.push({ code: "CERTIFY_BINDING_MISMATCH", reason });
  }
  if (keys.identity.length !== 32 || keys.wrap.length !== 32) {
    refusals.push({ code: "CERTIFY_KEYS_MALFORMED", reason: "A key of the node does not have 32 bytes." });
  }
  if (!question.isApproved(claims.measurement)) {
    refusals.push({
      code: "MEASUREMENT_NOT_APPROVED",
      reason: `The measurement ${claims.measurement} is not approved on chain ${realm.chainId}.`,
      hint: "Run an approved image, or have the builders approve this one.",
    });
  }
  return acceptUnless(refusals, () => statementOf(question));
}

function statementOf({ request, result, realm, endorsements }: IssuanceQuestion): NodeStatement {
  const { claims } = result;
  return {
    version: 1,
    chainId: realm.chainId,
    contract: realm.contract,
    registry: realm.registry,
    settlement: request.keys.settlement,
    wrap: request.keys.wrap,
    challenge: request.challenge,
    endorsements: endorsementsDigest(endorsements),
    measurement: claims.measurement,
    tcbStatus: claims.tcb.status,
    simulated: claims.simulated,
  };
}
