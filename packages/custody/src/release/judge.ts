import { bindReportData } from "@cloister/attestation";
import {
  acceptUnless,
  codeOf,
  digestOf,
  equalBytes,
  fromHex,
  concat,
  type Address,
  type Digest,
  type Hex32,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { decodeConsent } from "../consent/codec.ts";
import { judgeConsent } from "../consent/judge.ts";
import type { PlannedUse } from "../consent/policy.ts";
import { headerDigest, parseHeader, type Header } from "../sealed/header.ts";
import { groupPublicKey } from "./group.ts";
import { readOwned } from "./owner.ts";
import type { GroupKey, PartialContext } from "./types.ts";

const RELEASE_DOMAIN = "cloister/release/v1";

/** What a loader asks one member of the key-release group for. Nothing in it is believed. */
export interface ReleaseRequest {
  readonly orderId: Hex32;
  readonly offerId: Hex32;
  /** The challenge that this member gave the loader. */
  readonly nonce: Uint8Array;
  /** The loader's X25519 key, to which the evidence is bound and the answer is wrapped. */
  readonly wrapKey: Uint8Array;
  readonly epoch: number;
  /** The object's age header with its MAC line. */
  readonly headerBytes: Uint8Array;
  /** The consent document in its canonical form. */
  readonly consentBytes: Uint8Array;
}

/** What the member established for itself: from its clock, its memory, the chain and the loader's evidence. */
export interface ReleaseFacts {
  readonly nowMs: number;
  readonly group: GroupKey;
  /** The challenge it gave this loader and has not seen used; undefined when there is none. */
  readonly challenge: { readonly nonce: Uint8Array; readonly expiresAtMs: number } | undefined;
  /** The appraisal of the loader's evidence: its refusals, and its claims when it has any. */
  readonly appraisal: {
    readonly refusals: readonly Refusal[];
    readonly claims?: {
      readonly tee: string;
      readonly simulated: boolean;
      readonly measurement: Digest;
      readonly reportData: Uint8Array;
    };
  };
  /** Only a network under a simulation root sets it. */
  readonly allowSimulated: boolean;
  /** The order on chain; undefined when there is none. */
  readonly order:
    | {
        readonly isOpen: boolean;
        readonly deadlineMs: number;
        /** The node that the leader's assignment names. */
        readonly node: Address;
        readonly offerIds: readonly Hex32[];
      }
    | undefined;
  /** The offer on chain; undefined when there is none. */
  readonly offer:
    | { readonly owner: Address; readonly headerDigest: Digest; readonly consentDigest: Digest | undefined }
    | undefined;
  /** The use as order and loader plan it; time, TEE and measurement come from the facts above. */
  readonly planned: Omit<PlannedUse, "nowMs" | "tee" | "measurement">;
}

/** What a positive judgement lets the member compute. */
export interface Release {
  readonly header: Header;
  readonly context: PartialContext;
  readonly wrapKey: Uint8Array;
}

/** The 64 bytes that a loader's evidence must carry for a release: what it asks about, for whom, in answer to what. */
export function releaseReportData(orderId: Hex32, nonce: Uint8Array, wrapKey: Uint8Array): Uint8Array {
  return bindReportData(RELEASE_DOMAIN, concat(fromHex(orderId), nonce), wrapKey);
}

/**
 * Judges whether this member may contribute to opening an object, and lists every reason against it.
 * Each member judges for itself; no member's word counts for another's. spec/key-release.md §5 lists the codes.
 */
export function judgeRelease(request: ReleaseRequest, facts: ReleaseFacts): Verdict<Release> {
  const refusals: Refusal[] = [];
  const need = (holds: boolean, code: string, reason: string, hint?: string) => {
    if (!holds) refusals.push(hint === undefined ? { code, reason } : { code, reason, hint });
  };
  const { epoch } = facts.group;
  need(
    request.epoch === epoch,
    "RELEASE_EPOCH_OTHER",
    `The request is for epoch ${request.epoch}; the group is in ${epoch}.`,
  );
  judgeEvidence(request, facts, need);
  refusals.push(...facts.appraisal.refusals);
  judgeOrder(request, facts, need);
  const header = judgeHeader(request, facts, need);
  refusals.push(...judgeDocument(request, facts, need));
  return acceptUnless(refusals, () => ({
    header: header as Header,
    context: { orderId: request.orderId, headerDigest: headerDigest(header as Header) },
    wrapKey: request.wrapKey,
  }));
}

type Need = (holds: boolean, code: string, reason: string, hint?: string) => void;

function judgeEvidence(request: ReleaseRequest, facts: ReleaseFacts, need: Need): void {
  const { challenge, nowMs, allowSimulated } = facts;
  const { claims } = facts.appraisal;
  const isKnown = challenge !== undefined && equalBytes(challenge.nonce, request.nonce);
  need(
    isKnown,
    "RELEASE_CHALLENGE_UNKNOWN",
    "The challenge is not one that this node gave, or it was used.",
    "Ask for a new challenge.",
  );
  const isFresh = challenge === undefined || nowMs <= challenge.expiresAtMs;
  need(isFresh, "RELEASE_CHALLENGE_EXPIRED", "The challenge is too old.", "Ask for a new challenge.");
  need(
    claims !== undefined || facts.appraisal.refusals.length > 0,
    "RELEASE_EVIDENCE_MISSING",
    "There is no evidence of the loader.",
  );
  if (claims === undefined) return;
  const expected = releaseReportData(request.orderId, request.nonce, request.wrapKey);
  need(
    equalBytes(claims.reportData, expected),
    "RELEASE_EVIDENCE_NOT_BOUND",
    "The evidence is not bound to this order, challenge and key.",
  );
  need(
    !claims.simulated || allowSimulated,
    "RELEASE_SIMULATED",
    "The evidence is of a simulated TEE.",
    "Run the loader on real hardware.",
  );
}

function judgeOrder(request: ReleaseRequest, facts: ReleaseFacts, need: Need): void {
  const { order, nowMs, planned } = facts;
  need(order !== undefined, "RELEASE_ORDER_UNKNOWN", `There is no order ${request.orderId} on chain.`);
  if (order === undefined) return;
  need(order.isOpen, "RELEASE_ORDER_CLOSED", `Order ${request.orderId} is settled or refunded.`);
  need(
    nowMs <= order.deadlineMs,
    "RELEASE_ORDER_OVERDUE",
    `The deadline of order ${request.orderId} has passed.`,
  );
  need(
    order.node === planned.node,
    "RELEASE_NODE_NOT_ASSIGNED",
    `The order is assigned to ${order.node}, not to ${planned.node}.`,
  );
  const isUsed = order.offerIds.includes(request.offerId);
  need(isUsed, "RELEASE_OFFER_NOT_ORDERED", `The order does not use the offer ${request.offerId}.`);
}

function judgeHeader(request: ReleaseRequest, facts: ReleaseFacts, need: Need): Header | undefined {
  const { offer, group } = facts;
  need(offer !== undefined, "RELEASE_OFFER_UNKNOWN", `There is no offer ${request.offerId} on chain.`);
  try {
    const header = parseHeader(request.headerBytes);
    const isWhole = header.headerBytes.length === request.headerBytes.length;
    const isOffered = offer === undefined || offer.headerDigest === headerDigest(header);
    need(isWhole && isOffered, "RELEASE_HEADER_OTHER", "The header is not the one that the offer names.");
    const { owner } = readOwned(header, groupPublicKey(group));
    need(
      offer === undefined || offer.owner === owner,
      "RELEASE_OWNER_OTHER",
      `The object is sealed for ${owner}, who did not make this offer.`,
    );
    return header;
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : "The header cannot be read.";
    need(false, codeOf(thrown, "RELEASE_HEADER_OTHER"), reason);
    return undefined;
  }
}

function judgeDocument(request: ReleaseRequest, facts: ReleaseFacts, need: Need): Refusal[] {
  const { offer, planned, nowMs } = facts;
  const { claims } = facts.appraisal;
  if (offer === undefined) return [];
  need(
    offer.consentDigest !== undefined,
    "RELEASE_CONSENT_MISSING",
    "The offer names no consent; without one nothing is released.",
  );
  const isOffered =
    offer.consentDigest === undefined || offer.consentDigest === digestOf(request.consentBytes);
  need(isOffered, "RELEASE_CONSENT_OTHER", "The consent is not the one that the offer names.");
  if (claims === undefined) return [];
  try {
    const { tee, measurement } = claims;
    return judgeConsent(decodeConsent(request.consentBytes), { ...planned, nowMs, tee, measurement });
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : "The consent cannot be read.";
    need(false, codeOf(thrown, "CONSENT_MALFORMED"), reason);
    return [];
  }
}
