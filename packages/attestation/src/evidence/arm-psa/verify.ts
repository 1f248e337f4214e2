/** Verification of Arm PSA tokens. spec/evidence.md §4 */
import { digestOfDocument, equalBytes, toHex, type Verdict } from "@cloister/core";
import type { Claims, Endorsements, Evidence, TrustRoots, VerifyOptions } from "../../types.ts";
import { parseCose, verifyCose } from "../cose.ts";
import { Findings } from "../findings.ts";
import { judgeArmKey } from "./key.ts";
import { describeSoftware, isUnsecured, parsePsaClaims, type PsaClaims } from "./token.ts";

/** Verifies a token: form, signature under the device's key, trust in that key, challenge. */
export function verifyArmPsa(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const findings = new Findings();
  const message = findings.attempt("ARM_TOKEN_MALFORMED", () => parseCose(evidence.bytes));
  const key = judgeArmKey(findings, endorsements.parts, options.nowMs, roots);
  if (message === undefined) return findings.refused();
  const token = findings.attempt("ARM_TOKEN_MALFORMED", () => parsePsaClaims(message.payload));
  findings.check(
    message.kind === "sign1",
    "ARM_PSA_SYMMETRIC",
    "The token is authenticated with a secret key, which nobody but its holder can check.",
    "Configure the device for COSE_Sign1.",
  );
  if (message.kind === "sign1" && key !== undefined) {
    findings.check(
      verifyCose(message, key.publicKey),
      "ARM_PSA_SIGNATURE_INVALID",
      "The token was not signed by the device's key.",
    );
  }
  if (token === undefined || key === undefined) return findings.refused();
  const challengeVerified =
    options.challenge !== undefined &&
    findings.check(
      equalBytes(token.nonce, options.challenge),
      "CHALLENGE_MISMATCH",
      "The token does not hold the challenge that was given.",
    );
  return findings.verdict(() => ({
    tee: "arm-psa",
    simulated: roots.simulated,
    rootFingerprint: key.rootFingerprint,
    challengeVerified,
    revocationChecked: key.revocationChecked,
    debug: isUnsecured(token.lifecycle),
    measurement: psaMeasurement(token),
    measurements: Object.fromEntries(
      token.software.map(({ type, value }, i) => [type ?? `component${i}`, toHex(value)]),
    ),
    reportData: token.nonce,
    tcb: { status: "UpToDate", advisoryIds: [] },
    hardwareId: toHex(token.instanceId),
    fields: describe(token),
  }));
}

/** Says what a token holds, without judging it. @throws {CloisterError} `COSE_MALFORMED`, `CBOR_MALFORMED`, `ARM_TOKEN_MALFORMED` */
export function describeArmPsa(evidence: Evidence): Record<string, unknown> {
  const message = parseCose(evidence.bytes);
  return { envelope: message.kind, ...describe(parsePsaClaims(message.payload)) };
}

function psaMeasurement({ implementationId, software }: PsaClaims): Claims["measurement"] {
  const components = software.map(({ type, value, signerId }) => [type ?? "", value, signerId]);
  return digestOfDocument({ tee: "arm-psa", implementationId, components });
}

function describe(token: PsaClaims): Record<string, unknown> {
  return {
    profile: token.profile,
    nonce: toHex(token.nonce),
    implementationId: toHex(token.implementationId),
    instanceId: toHex(token.instanceId),
    lifecycle: token.lifecycle,
    swComponents: token.software.length,
    software: describeSoftware(token.software),
    clientId: token.clientId,
    bootSeed: token.bootSeed === undefined ? undefined : toHex(token.bootSeed),
    certificationReference: token.certificationReference,
    verificationService: token.verificationService,
  };
}
