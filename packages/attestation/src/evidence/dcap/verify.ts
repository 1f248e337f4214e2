/** Verification of Intel DCAP evidence, SGX and TDX alike. spec/attestation.md §5 */
import { acceptUnless, concat, equalBytes, sha256, type Verdict } from "@cloister/core";
import { publicKeyFrom } from "../../public-key.ts";
import type { Claims, Endorsements, Evidence, VerifyOptions } from "../../types.ts";
import { pinOf, type Certificate } from "../../x509.ts";
import { attempt, fail, signedBy, signedOnceBy, type Context } from "./context.ts";
import { checkCollateral, readCollateral, type Collateral, type DcapParts } from "./endorsements.ts";
import { dcapMeasurement, isDebug, measurementsOf, quoteFacts } from "./facts.ts";
import { checkPckChain, readPckChain, type PckChain } from "./pck-chain.ts";
import type { PckFacts } from "./pck.ts";
import { parseQuote, type Quote } from "./quote.ts";
import { converge, judgeQuotingEnclave, judgeSgxPlatform, judgeTdxPlatform } from "./tcb.ts";

/** Verifies a quote: signatures, chains, revocation, collateral, TCB. Gives every check that failed. */
export function verifyDcap(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  pins: readonly string[],
): Verdict<Claims> {
  const parts = endorsements.parts as Partial<DcapParts>;
  const context: Context = { nowMs: options.nowMs, roots: new Set(pins), refusals: [] };
  const quote = attempt(context, "DCAP_QUOTE_MALFORMED", () => parseQuote(evidence.bytes));
  const collateral = attempt(context, "DCAP_COLLATERAL_MALFORMED", () => readCollateral(parts));
  if (quote === undefined) return refused(context);
  if (quote.body.kind !== evidence.tee)
    fail(context, "DCAP_QUOTE_MALFORMED", `The quote is of ${quote.body.kind}, not of ${evidence.tee}.`);
  const chain = attempt(context, "DCAP_PCK_CHAIN_MALFORMED", () =>
    readPckChain(quote, parts.pckCertificateChain),
  );
  if (chain !== undefined) checkPckChain(context, chain, collateral);
  checkSignatures(context, quote, chain?.leaf);
  const challengeVerified = checkChallenge(context, quote, options.challenge);
  if (collateral !== undefined) checkCollateral(context, collateral, quote.body.kind, chain?.facts);
  if (collateral === undefined || chain === undefined) return refused(context);
  const tcb = judgeTcb(context, quote, chain.facts, collateral);
  if (tcb === undefined) return refused(context);
  return acceptUnless(context.refusals, () => ({
    ...claimsOf(quote, chain, tcb),
    simulated: options.roots?.simulated === true,
    revocationChecked: collateral.pckCrl !== undefined && collateral.rootCaCrl !== undefined,
    challengeVerified,
  }));
}

function checkSignatures(context: Context, quote: Quote, leaf: Certificate | undefined): void {
  const { qeReport, qeReportSignature, attestationKey, qeAuthData } = quote;
  if (leaf !== undefined && !signedOnceBy(leaf.publicKey, qeReport.raw, qeReportSignature)) {
    const reason = "The quoting enclave's report was not signed by the platform's PCK key.";
    fail(context, "DCAP_QE_SIGNATURE_INVALID", reason);
  }
  const bound = concat(sha256(concat(attestationKey, qeAuthData)), new Uint8Array(32));
  if (!equalBytes(bound, qeReport.reportData)) {
    const reason = "The quoting enclave's report does not name the attestation key.";
    fail(context, "DCAP_ATTESTATION_KEY_UNBOUND", reason);
  }
  const key = attempt(context, "DCAP_QUOTE_MALFORMED", () =>
    publicKeyFrom("P-256", concat(new Uint8Array([4]), attestationKey)),
  );
  if (key !== undefined && !signedBy(key, quote.signed, quote.signature)) {
    fail(context, "DCAP_QUOTE_SIGNATURE_INVALID", "The quote was not signed by its attestation key.");
  }
}

function checkChallenge(context: Context, quote: Quote, challenge: Uint8Array | undefined): boolean {
  if (challenge === undefined) return false;
  const matches = equalBytes(quote.body.report.reportData, challenge);
  if (!matches)
    fail(context, "CHALLENGE_MISMATCH", "The evidence does not hold the report data that was asked for.");
  return matches;
}

function judgeTcb(
  context: Context,
  quote: Quote,
  pck: PckFacts,
  { tcbInfo, qeIdentity }: Collateral,
): Claims["tcb"] | undefined {
  const { body } = quote;
  const enclave = judgeQuotingEnclave(qeIdentity, quote.qeReport);
  const platform =
    body.kind === "tdx"
      ? judgeTdxPlatform(tcbInfo, pck, body.report, enclave.ok ? enclave.value.status : "OutOfDate")
      : judgeSgxPlatform(tcbInfo, pck);
  if (!platform.ok) context.refusals.push(...platform.refusals);
  if (!enclave.ok) context.refusals.push(...enclave.refusals);
  if (!platform.ok || !enclave.ok) return undefined;
  const status = converge(platform.value.status, enclave.value.status);
  if (status === "Revoked") fail(context, "DCAP_TCB_REVOKED", "Intel revoked the platform's TCB level.");
  const advisoryIds = new Set([...platform.value.advisoryIds, ...enclave.value.advisoryIds]);
  return { status, advisoryIds: [...advisoryIds].toSorted() };
}

function claimsOf(
  quote: Quote,
  { root, facts }: PckChain,
  tcb: Claims["tcb"],
): Omit<Claims, "simulated" | "revocationChecked" | "challengeVerified"> {
  const { body } = quote;
  const measurements = measurementsOf(quote);
  const { fmspc, pceId, ppid } = facts;
  return {
    tee: body.kind,
    rootFingerprint: pinOf(root.publicKey),
    debug: isDebug(quote),
    measurement: dcapMeasurement(body.kind, measurements),
    measurements,
    reportData: body.report.reportData,
    tcb,
    hardwareId: ppid,
    fields: { ...quoteFacts(quote, measurements), fmspc, pceId },
  };
}

function refused(context: Context): Verdict<never> {
  return acceptUnless(context.refusals, () => {
    throw new Error("a quote that was not read has a reason");
  });
}
