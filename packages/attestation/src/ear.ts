import type { AttestationResult, TrustVector } from "./types.ts";

/** An EAT Attestation Result (draft-ietf-rats-ear) as a JSON claims set; whoever hands it on signs it. */
export interface Ear {
  readonly eat_profile: "tag:github.com,2023:veraison/ear";
  /** Seconds since 1970. */
  readonly iat: number;
  readonly "ear.verifier-id": { readonly developer: string; readonly build: string };
  readonly submods: Readonly<
    Record<
      string,
      {
        readonly "ear.status": "affirming" | "warning" | "contraindicated";
        readonly "ear.trustworthiness-vector": TrustVector;
        readonly "ear.appraisal-policy-id"?: string;
      }
    >
  >;
}

const WARNING_MAX = 95;
const AFFIRMING_MAX = 31;

/**
 * Writes a result as an EAR, one submodule named by the TEE. The status is the worst tier of the vector
 * (AR4SI §2.3), so a platform that the policy tolerates although its TCB is not up to date says "warning".
 */
export function earOf(
  { claims, trustVector }: AttestationResult,
  options: { readonly nowMs: number; readonly build: string; readonly policyId?: string },
): Ear {
  const worst = Math.max(...Object.values(trustVector).map(Number));
  const status = worst > WARNING_MAX ? "contraindicated" : worst > AFFIRMING_MAX ? "warning" : "affirming";
  return {
    eat_profile: "tag:github.com,2023:veraison/ear",
    iat: Math.floor(options.nowMs / 1000),
    "ear.verifier-id": { developer: "cloister", build: options.build },
    submods: {
      [claims.tee]: {
        "ear.status": status,
        "ear.trustworthiness-vector": trustVector,
        ...(options.policyId === undefined ? {} : { "ear.appraisal-policy-id": options.policyId }),
      },
    },
  };
}
