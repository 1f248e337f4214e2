import {
  appraise,
  bindReportData,
  verify,
  type AppraisalPolicy,
  type AttestationResult,
  type Claims,
  type Endorsements,
  type Evidence,
  type ReferenceValue,
  type TeeKind,
  type TrustRoots,
} from "@cloister/attestation";
import {
  accept,
  encodeCanonical,
  digestBytes,
  refuse,
  type Clock,
  type NodeId,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { nodeKeysDigest } from "@cloister/certification";
import type { Admission, Introduction, Machine } from "./ports.ts";

const CHANNEL_DOMAIN = "cloister/channel/v1";

/** Where endorsements come from: a vendor's service behind a cache, or the simulation's own. */
export interface EndorsementSource {
  endorsementsFor(evidence: Evidence, nowMs: number): Promise<Endorsements>;
  /** Names what it gives at this moment, where it learns by itself that the vendor rates hardware anew. */
  edition?(): string;
}

export interface VerifierOptions {
  readonly roots: TrustRoots;
  readonly policy: AppraisalPolicy;
  readonly source: EndorsementSource;
  readonly clock: Clock;
  /** The measurements that the chain approves at this moment. */
  approved(): readonly ReferenceValue[];
  /** The nodes that the chain has barred. */
  barred(): readonly NodeId[];
}

/** What judging evidence gave: claims only when it verified, refusals when anything failed. */
export interface Judgement {
  readonly refusals: readonly Refusal[];
  readonly claims?: Claims;
  /** The appraisal of the claims. */
  readonly result?: AttestationResult;
  readonly endorsements: Endorsements;
}

/** This CVM's own judgement of other CVMs (RFC 9334: it is its own verifier and relying party). */
export class Verifier {
  readonly #options: VerifierOptions;
  readonly #barred = new Set<NodeId>();

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  get roots(): TrustRoots {
    return this.#options.roots;
  }

  /** Names what this verifier accepts at this moment: another name, another judgement. */
  policyNow(): string {
    const { policy, approved, barred, source } = this.#options;
    const measurements = approved().map(({ measurement }) => measurement);
    const nodes = new Set([...this.#barred, ...barred()]);
    return JSON.stringify([policy, measurements.toSorted(), source.edition?.(), [...nodes].toSorted()]);
  }

  /** Lets a node in nowhere from now on, whatever its evidence: its certificate was revoked. */
  bar(node: NodeId): void {
    this.#barred.add(node);
  }

  /** Whether the chain, or a revocation list, says to have nothing to do with a node. */
  isBarred(node: NodeId): boolean {
    return this.#barred.has(node) || this.#options.barred().includes(node);
  }

  /** Verifies evidence that must hold `reportData`, and appraises it under this network's policy. */
  async judge(evidence: Evidence, reportData: Uint8Array): Promise<Judgement> {
    const { source, clock } = this.#options;
    const endorsements = await source.endorsementsFor(evidence, clock.nowMs());
    return this.judgeWith(evidence, endorsements, reportData);
  }

  /** The same by endorsements that somebody else brought: they are signed by the maker, whoever brings them. */
  judgeWith(evidence: Evidence, endorsements: Endorsements, reportData: Uint8Array): Judgement {
    const { roots, policy, clock } = this.#options;
    const verified = verify(evidence, endorsements, { challenge: reportData, nowMs: clock.nowMs(), roots });
    if (!verified.ok) return { refusals: verified.refusals, endorsements };
    const result = appraise(verified.value, this.#options.approved(), policy);
    return { refusals: result.refusals, claims: verified.value, result, endorsements };
  }

  /** The judgement as a verdict: the appraisal, or every reason why there is none that affirms. */
  appraise(
    evidence: Evidence,
    endorsements: Endorsements,
    reportData: Uint8Array,
  ): Verdict<AttestationResult> {
    const { refusals, result } = this.judgeWith(evidence, endorsements, reportData);
    const [first, ...rest] = refusals;
    if (first !== undefined) return { ok: false, refusals: [first, ...rest] };
    if (result !== undefined) return accept(result);
    return refuse("EVIDENCE_MALFORMED", "The evidence could not be read.");
  }

  /** Lets a peer in exactly when its evidence on this channel is affirmed. */
  admission(): Admission {
    return async (introduction) => {
      const evidence: Evidence = { tee: introduction.tee as TeeKind, bytes: introduction.evidence };
      const { refusals, claims } = await this.judge(evidence, introduction.reportData);
      const [first, ...rest] = refusals;
      if (first !== undefined || claims === undefined) {
        const unread = { code: "EVIDENCE_MALFORMED", reason: "The peer's evidence could not be read." };
        return { ok: false, refusals: [first ?? unread, ...rest] };
      }
      const { settlement, identity, wrap, machine } = introduction;
      if (this.isBarred(settlement)) return refuse("NODE_REVOKED", `The node ${settlement} was revoked.`);
      const { measurement, tee, simulated, tcb } = claims;
      const attestedMs = this.#options.clock.nowMs();
      return accept({
        ...{ id: settlement, identity, wrap, machine, measurement, tee, simulated },
        ...{ tcbStatus: tcb.status, attestedMs },
      });
    };
  }
}

/** The report data for a channel: one direction of it, the peer's challenge, and who speaks. spec/channel.md §3 */
export function channelReportData(
  challenge: Uint8Array,
  exported: Uint8Array,
  introduced: Pick<Introduction, "identity" | "settlement" | "wrap"> & { readonly machine: Machine },
): Uint8Array {
  const { identity, settlement, wrap, machine } = introduced;
  const keys = digestBytes(nodeKeysDigest({ identity, settlement, wrap }));
  return bindReportData(CHANNEL_DOMAIN, challenge, exported, keys, encodeCanonical(machine));
}
