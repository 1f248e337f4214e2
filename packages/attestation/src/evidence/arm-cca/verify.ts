/** Verification of Arm CCA tokens. spec/evidence.md §4 */
import { digestOfDocument, equalBytes, toHex, type Digest, type Verdict } from "@cloister/core";
import type { Claims, Endorsements, Evidence, TrustRoots, VerifyOptions } from "../../types.ts";
import { judgeArmKey } from "../arm-psa/key.ts";
import { isUnsecured } from "../arm-psa/token.ts";
import { verifyCose } from "../cose.ts";
import { Findings } from "../findings.ts";
import { describeCcaToken, parseCcaToken, type CcaToken } from "./token.ts";

/** Verifies a token: the platform under its maker's key, the realm under its own, and that the first names the second. */
export function verifyArmCca(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const findings = new Findings();
  const token = findings.attempt("ARM_TOKEN_MALFORMED", () => parseCcaToken(evidence.bytes));
  const key = judgeArmKey(findings, endorsements.parts, options.nowMs, roots);
  if (token === undefined) return findings.refused();
  const checks = checkCcaToken(token);
  if (key !== undefined) {
    findings.check(
      verifyCose(token.platformMessage, key.publicKey),
      "ARM_CCA_PLATFORM_SIGNATURE_INVALID",
      "The platform token was not signed by the platform's key.",
    );
  }
  findings.check(
    checks.realmSignature,
    "ARM_CCA_REALM_SIGNATURE_INVALID",
    "The realm token was not signed by the realm's key.",
  );
  findings.check(
    checks.realmKeyBoundToPlatformNonce,
    "ARM_CCA_REALM_UNBOUND",
    "The platform token does not name the realm's key: the realm may run elsewhere.",
  );
  const challengeVerified =
    options.challenge !== undefined &&
    findings.check(
      equalBytes(token.realm.challenge, options.challenge),
      "CHALLENGE_MISMATCH",
      "The realm token does not hold the challenge that was given.",
    );
  if (key === undefined) return findings.refused();
  return findings.verdict(() => ({
    tee: "arm-cca",
    simulated: roots.simulated,
    rootFingerprint: key.rootFingerprint,
    challengeVerified,
    revocationChecked: key.revocationChecked,
    debug: isUnsecured(token.platform.lifecycle),
    measurement: ccaMeasurement(token),
    measurements: measurementsOf(token),
    reportData: token.realm.challenge,
    tcb: { status: "UpToDate", advisoryIds: [] },
    hardwareId: toHex(token.platform.instanceId),
    fields: { ...describeCcaToken(token), checks: { ...checks, platformSignature: true } },
  }));
}

/** The two checks that need no key from outside. */
export function checkCcaToken({ realmMessage, realm, platform }: CcaToken): {
  readonly realmSignature: boolean;
  readonly realmKeyBoundToPlatformNonce: boolean;
} {
  return {
    realmSignature: verifyCose(realmMessage, realm.key),
    realmKeyBoundToPlatformNonce: equalBytes(realm.keyHash, platform.challenge),
  };
}

/** Says what a token holds, without judging it. @throws {CloisterError} `ARM_TOKEN_MALFORMED`, `COSE_MALFORMED`, `CBOR_MALFORMED` */
export function describeArmCca(evidence: Evidence): Record<string, unknown> {
  return describeCcaToken(parseCcaToken(evidence.bytes));
}

function measurementsOf({ realm }: CcaToken): Record<string, string> {
  const [rem0, rem1, rem2, rem3] = realm.extensibleMeasurements.map(toHex) as [
    string,
    string,
    string,
    string,
  ];
  return { rim: toHex(realm.initialMeasurement), rem0, rem1, rem2, rem3, rpv: toHex(realm.personalization) };
}

function ccaMeasurement({ realm, platform }: CcaToken): Digest {
  return digestOfDocument({
    tee: "arm-cca",
    rim: realm.initialMeasurement,
    rem: realm.extensibleMeasurements,
    rpv: realm.personalization,
    implementationId: platform.implementationId,
    platform: platform.software.map(({ type, value, signerId }) => [type ?? "", value, signerId]),
    config: platform.config,
  });
}
