import { codeOf, refuse, type Verdict } from "@cloister/core";
import { verifyArmCca } from "./evidence/arm-cca/verify.ts";
import { verifyArmPsa } from "./evidence/arm-psa/verify.ts";
import { verifyAwsNitro } from "./evidence/aws-nitro/verify.ts";
import { verifyAzureVtpm } from "./evidence/azure-vtpm/verify.ts";
import { verifyDcap } from "./evidence/dcap/index.ts";
import { verifyEventLog } from "./evidence/event-log/verify.ts";
import { verifyNvidia } from "./evidence/nvidia/verify.ts";
import { verifySevSnp } from "./evidence/sev-snp/verify.ts";
import { vendorRoots } from "./roots.ts";
import { assertTime } from "./time.ts";
import type { Claims, Endorsements, Evidence, TeeKind, TrustRoots, VerifyOptions } from "./types.ts";

type Verifier = (evidence: Evidence, endorsements: Endorsements, options: VerifyOptions) => Verdict<Claims>;

const dcap: Verifier = (evidence, endorsements, options) =>
  verifyDcap(evidence, endorsements, options, pinsOf(options.roots, "intel"));

/** Adapts a verifier that wants to be told the roots. */
function rooted(
  verifier: (
    evidence: Evidence,
    endorsements: Endorsements,
    options: VerifyOptions,
    roots: TrustRoots,
  ) => Verdict<Claims>,
): Verifier {
  return (evidence, endorsements, options) =>
    verifier(evidence, endorsements, options, options.roots ?? vendorRoots);
}

/** Every kind of evidence that can be verified here. */
const VERIFIERS: Readonly<Partial<Record<TeeKind, Verifier>>> = {
  sgx: dcap,
  tdx: dcap,
  "sev-snp": rooted(verifySevSnp),
  nvidia: rooted(verifyNvidia),
  "arm-cca": rooted(verifyArmCca),
  "arm-psa": rooted(verifyArmPsa),
  "aws-nitro": rooted(verifyAwsNitro),
  "azure-vtpm-snp": rooted(verifyAzureVtpm),
  "azure-vtpm-tdx": rooted(verifyAzureVtpm),
  "tcg-eventlog": rooted(verifyEventLog),
};

/**
 * Verifies evidence: signatures, chains, revocation, endorsements, TCB, challenge. It judges nothing:
 * hold the claims against reference values and a policy with `appraise`. Never throws on what a peer sent.
 * Without `options.roots` only the vendors' own roots count.
 */
export function verify(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
): Verdict<Claims> {
  assertTime(options.nowMs);
  const verifier = Object.hasOwn(VERIFIERS, evidence.tee) ? VERIFIERS[evidence.tee] : undefined;
  if (verifier === undefined)
    return refuse("TEE_UNKNOWN", `Evidence of "${evidence.tee}" is not known here.`);
  if (endorsements.tee !== evidence.tee) {
    return refuse(
      "ENDORSEMENTS_OTHER_TEE",
      `The endorsements are of ${endorsements.tee}, not of ${evidence.tee}.`,
    );
  }
  try {
    return verifier(evidence, endorsements, options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : "It cannot be read.";
    return refuse(codeOf(error, "EVIDENCE_MALFORMED"), reason);
  }
}

function pinsOf(roots: TrustRoots | undefined, vendor: keyof TrustRoots["pins"]): readonly string[] {
  return (roots ?? vendorRoots).pins[vendor] ?? [];
}
