import type { Refusal } from "@cloister/core";
import type {
  AppraisalPolicy,
  AttestationResult,
  Claims,
  ReferenceValue,
  SnpTcb,
  SnpTcbClaims,
  TeeKind,
  TrustVector,
} from "./types.ts";

/** Tiers of AR4SI §2.3.2. */
const AFFIRMING = 2;
const WARNING = 32;
const CONTRAINDICATED = 96;

type Facet = keyof TrustVector;

/**
 * Holds claims against reference values and a policy. Fails closed: whatever cannot be judged is a
 * refusal, and every failed check is listed. spec/attestation.md §6
 */
export function appraise(
  claims: Claims,
  referenceValues: readonly ReferenceValue[],
  policy: AppraisalPolicy,
): AttestationResult {
  const failed = CHECKS.flatMap((check) => check(claims, referenceValues, policy) ?? []);
  const worst = (facet: Facet, otherwise: number): number =>
    failed.some((check) => check.facet === facet) ? CONTRAINDICATED : otherwise;
  return {
    status: failed.length === 0 ? "affirming" : "contraindicated",
    trustVector: {
      "instance-identity": worst("instance-identity", AFFIRMING),
      configuration: worst("configuration", AFFIRMING),
      executables: worst("executables", AFFIRMING),
      hardware: worst("hardware", claims.tcb.status === "UpToDate" ? AFFIRMING : WARNING),
      "runtime-opaque": worst("runtime-opaque", AFFIRMING),
    },
    refusals: failed.map(({ code, reason, hint }) =>
      hint === undefined ? { code, reason } : { code, reason, hint },
    ),
    claims,
  };
}

type Check = (
  claims: Claims,
  referenceValues: readonly ReferenceValue[],
  policy: AppraisalPolicy,
) => (Refusal & { readonly facet: Facet }) | undefined;

const CHECKS: readonly Check[] = [
  (claims) =>
    unless(claims.challengeVerified, "instance-identity", {
      code: "CHALLENGE_NOT_VERIFIED",
      reason: "The evidence was not held against a fresh challenge, so it may be a replay.",
      hint: "Ask for evidence with a challenge of your own, and verify it with that challenge.",
    }),
  (claims, _, { tees }) =>
    unless(tees.includes(claims.tee), "hardware", {
      code: "TEE_NOT_ACCEPTED",
      reason: `The policy does not accept evidence of ${claims.tee}.`,
    }),
  (claims, _, { simulated }) =>
    unless(claims.simulated === (simulated === "require"), "hardware", {
      code: claims.simulated ? "TEE_SIMULATED" : "TEE_NOT_SIMULATED",
      reason: claims.simulated
        ? "The TEE is simulated: its evidence proves nothing about hardware, and the policy wants hardware."
        : "The evidence is of real hardware, and this network is a simulation: the two never mix.",
    }),
  (claims) =>
    unless(!claims.debug, "runtime-opaque", {
      code: "TEE_DEBUG",
      reason: "The TEE runs in debug mode: its host can read its memory.",
      hint: "Start it without debug. No policy can accept it.",
    }),
  (claims, _, { tcbStatuses }) =>
    unless(tcbStatuses.includes(claims.tcb.status), "hardware", {
      code: "TCB_STATUS_NOT_ACCEPTED",
      reason: `The platform's TCB is ${claims.tcb.status}${advisories(claims)}; the policy accepts ${tcbStatuses.join(", ")}.`,
      hint: "Update the platform's firmware and microcode.",
    }),
  ({ tee, tcb }, _, { snpTcbMin }) => {
    const concerned = snpTcbMin !== undefined && (tcb.snp !== undefined || SNP_TEES.includes(tee));
    const below = concerned ? belowMinimum(tcb.snp, snpTcbMin) : [];
    return unless(below.length === 0, "hardware", {
      code: "TCB_BELOW_MINIMUM",
      reason: `The platform's firmware is below the policy's minimum: ${below.join("; ")}.`,
      hint: "Update the platform's firmware, and have the host commit it.",
    });
  },
  (claims, referenceValues) =>
    unless(
      referenceValues.some(({ measurement }) => measurement === claims.measurement),
      "executables",
      {
        code: "MEASUREMENT_NOT_APPROVED",
        reason:
          referenceValues.length === 0
            ? `The measurement is ${claims.measurement}, and none is approved.`
            : `The measurement ${claims.measurement} is not one of the ${referenceValues.length} that are approved.`,
        hint: "Run an approved build, or have this one approved by the builders.",
      },
    ),
  (claims, _, { withoutRevocation }) =>
    unless(claims.revocationChecked || withoutRevocation === true, "hardware", {
      code: "REVOCATION_NOT_CHECKED",
      reason: "The endorsements hold no revocation lists.",
    }),
];

const SNP_TEES: readonly TeeKind[] = ["sev-snp", "azure-vtpm-snp"];

/** Every version that a policy's minimum is above, in words. A version that the platform does not have is below. */
function belowMinimum(
  tcb: SnpTcbClaims | undefined,
  minimums: NonNullable<AppraisalPolicy["snpTcbMin"]>,
): string[] {
  if (tcb === undefined) return ["the claims do not tell its versions"];
  const { product, reported, committed } = tcb;
  const minimum = minimums[product];
  if (minimum === undefined) return [`it names none for ${product}`];
  return Object.entries(minimum).flatMap(([name, least]) =>
    Object.entries({ reported, committed }).flatMap(([which, tcb]) => {
      const version = tcb[name as keyof SnpTcb];
      return version !== undefined && version >= least
        ? []
        : [`${which} ${name} ${version ?? "missing"}, at least ${least}`];
    }),
  );
}

function unless(
  holds: boolean,
  facet: Facet,
  refusal: Refusal,
): (Refusal & { readonly facet: Facet }) | undefined {
  return holds ? undefined : { ...refusal, facet };
}

function advisories(claims: Claims): string {
  const { advisoryIds } = claims.tcb;
  return advisoryIds.length === 0 ? "" : ` (${advisoryIds.join(", ")})`;
}
