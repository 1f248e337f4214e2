/** Verification of AWS Nitro Enclaves documents. spec/evidence.md §5 */
import { digestOfDocument, equalBytes, toHex, type Verdict } from "@cloister/core";
import type { Claims, Endorsements, Evidence, TrustRoots, VerifyOptions } from "../../types.ts";
import { pinOf, type Certificate } from "../../x509.ts";
import { verifyCose } from "../cose.ts";
import { Findings } from "../findings.ts";
import { judgePath, type PathJudgement } from "../path.ts";
import { parseNitroDocument, type NitroDocument } from "./document.ts";

/** Members of `Endorsements.parts` for Nitro: the document itself brings its certificates. */
export interface NitroParts {
  /** Revocation lists. Absent: revocation is not checked; AWS's leaves live for three hours. */
  readonly crl?: Uint8Array;
}

/** The registers that name what runs: image, kernel and boot, application. The others are the instance's and the user's. */
const MEASURED_PCRS = [0, 1, 2];
/** Clocks of enclave and verifier may differ by this much. */
const CLOCK_SKEW_MS = 5 * 60_000;

/** Verifies a document: form, chain to AWS's root, signature, time, challenge. */
export function verifyAwsNitro(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const findings = new Findings();
  const document = findings.attempt("NITRO_DOCUMENT_MALFORMED", () => parseNitroDocument(evidence.bytes));
  if (document === undefined) return findings.refused();
  const { crl } = endorsements.parts as NitroParts;
  const judgement = findings.attempt("NITRO_CHAIN_MALFORMED", () =>
    judgePath({
      leaf: document.certificate,
      others: document.caBundle,
      crls: crl === undefined ? [] : [crl],
      roots: roots.pins.aws ?? [],
      nowMs: options.nowMs,
      prefix: "NITRO",
      what: "the document's chain",
    }),
  );
  const challengeVerified = checkChallenge(findings, document, options.challenge);
  if (judgement === undefined) return findings.refused();
  findings.refusals.push(...judgement.refusals);
  const leaf = judgement.path[0] as Certificate;
  findings.check(
    verifyCose(document.message, leaf.publicKey),
    "NITRO_SIGNATURE_INVALID",
    "The document was not signed by the key of its certificate.",
  );
  findings.check(
    document.timestampMs <= options.nowMs + CLOCK_SKEW_MS,
    "NITRO_FROM_THE_FUTURE",
    "The document was made after the time at which it is judged.",
  );
  return findings.verdict(() =>
    claimsOf(document, judgement, { challengeVerified, simulated: roots.simulated }),
  );
}

/** The challenge of 64 bytes stands in the user data; a shorter one, in the nonce. */
function checkChallenge(
  findings: Findings,
  { nonce, userData }: NitroDocument,
  challenge: Uint8Array | undefined,
): boolean {
  if (challenge === undefined) return false;
  const holds = [nonce, userData].some((value) => value !== undefined && equalBytes(value, challenge));
  return findings.check(
    holds,
    "CHALLENGE_MISMATCH",
    "The document does not hold the challenge that was given.",
  );
}

/** Says what a document holds, without judging it. @throws as `parseNitroDocument` */
export function describeAwsNitro(evidence: Evidence): Record<string, unknown> {
  return describe(parseNitroDocument(evidence.bytes));
}

function describe(document: NitroDocument): Record<string, unknown> {
  const hex = (bytes: Uint8Array | undefined): string | undefined =>
    bytes === undefined ? undefined : toHex(bytes);
  return {
    moduleId: document.moduleId,
    timestamp: document.timestampMs,
    digest: document.digest,
    ...pcrsOf(document),
    debugPcrs: isDebug(document),
    publicKey: hex(document.publicKey),
    userData: hex(document.userData),
    nonce: hex(document.nonce),
  };
}

function pcrsOf({ pcrs }: NitroDocument): Record<string, string> {
  return Object.fromEntries([...pcrs].map(([index, value]) => [`pcr${index}`, toHex(value)]));
}

/** Enclaves in debug mode have zeros for what they run. */
function isDebug({ pcrs }: NitroDocument): boolean {
  return MEASURED_PCRS.some((index) => pcrs.get(index)?.every((byte) => byte === 0) !== false);
}

function claimsOf(
  document: NitroDocument,
  { path, revocationChecked }: PathJudgement,
  rest: Pick<Claims, "challengeVerified" | "simulated">,
): Claims {
  const measured = MEASURED_PCRS.map((index) => document.pcrs.get(index) ?? new Uint8Array(0));
  return {
    tee: "aws-nitro",
    ...rest,
    rootFingerprint: pinOf((path.at(-1) as Certificate).publicKey),
    revocationChecked,
    debug: isDebug(document),
    measurement: digestOfDocument({ tee: "aws-nitro", pcrs: measured }),
    measurements: pcrsOf(document),
    reportData: document.nonce ?? document.userData ?? new Uint8Array(0),
    tcb: { status: "UpToDate", advisoryIds: [] },
    hardwareId: "",
    fields: describe(document),
  };
}
