/** Verification of Intel DCAP evidence, SGX and TDX alike. spec/attestation.md §5 */
import { verifySignature, type SignatureScheme } from "#signatures";
import {
  acceptUnless,
  codeOf,
  concat,
  digestOfDocument,
  equalBytes,
  fromHex,
  fromUtf8,
  sha256,
  toHex,
  type Digest,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { DerError } from "../../der.ts";
import { publicKeyFrom, type PublicKey } from "../../public-key.ts";
import type { Claims, Endorsements, Evidence, VerifyOptions } from "../../types.ts";
import {
  mayUseKeyFor,
  KEY_USAGE,
  leafFirst,
  parseCertificate,
  parseCrl,
  parsePemChain,
  pemBlocks,
  pinOf,
  verifyChain,
  verifyCrl,
  type Certificate,
  type Crl,
} from "../../x509.ts";
import { parseEnclaveIdentity, parseTcbInfo, type EnclaveIdentity, type TcbInfo } from "./collateral.ts";
import { readPckFacts, SGX_EXTENSIONS, type PckFacts } from "./pck.ts";
import { embeddedPckChain, parseQuote, type Quote } from "./quote.ts";
import { converge, judgeQuotingEnclave, judgeSgxPlatform, judgeTdxPlatform } from "./tcb.ts";

const ECDSA: SignatureScheme = { kind: "ecdsa", hash: "sha256" };

/** Members of `Endorsements.parts` for SGX and TDX, as Intel's PCS gives them. */
export interface DcapParts {
  /** The exact signed bytes of `tcbInfo`, r‖s of its signature, and the signer's chain in PEM. */
  readonly tcbInfo: Uint8Array;
  readonly tcbInfoSignature: Uint8Array;
  readonly tcbInfoIssuerChain: Uint8Array;
  readonly qeIdentity: Uint8Array;
  readonly qeIdentitySignature: Uint8Array;
  readonly qeIdentityIssuerChain: Uint8Array;
  /** DER. Absent: revocation is not checked, and the claims say so. */
  readonly pckCrl?: Uint8Array;
  readonly rootCaCrl?: Uint8Array;
  /** PEM; only for quotes that do not carry their PCK chain. */
  readonly pckCertificateChain?: Uint8Array;
}

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
  if (quote !== undefined && (quote.body.kind === "tdx") !== (evidence.tee === "tdx")) {
    fail(context, "DCAP_QUOTE_MALFORMED", `The quote is not of ${evidence.tee.toUpperCase()}.`);
  }
  const chain =
    quote === undefined
      ? undefined
      : attempt(context, "DCAP_PCK_CHAIN_MALFORMED", () => readPckChain(quote, parts.pckCertificateChain));
  if (quote === undefined || collateral === undefined || chain === undefined) return refused(context);
  const pck = attempt(context, "DCAP_PCK_CHAIN_MALFORMED", () => readPckFacts(chain[0] as Certificate));
  checkPckChain(context, chain, collateral);
  checkQuoteSignatures(context, quote, chain[0] as Certificate);
  checkCollateral(context, collateral, pck, quote);
  const challengeVerified = checkChallenge(context, quote, options.challenge);
  const tcb = pck === undefined ? undefined : judgeTcb(context, quote, pck, collateral);
  return acceptUnless(context.refusals, () =>
    claimsOf(quote, pck as PckFacts, tcb as NonNullable<typeof tcb>, {
      rootFingerprint: pinOf((chain.at(-1) as Certificate).publicKey),
      simulated: options.roots?.simulated === true,
      revocationChecked: collateral.pckCrl !== undefined && collateral.rootCaCrl !== undefined,
      challengeVerified,
    }),
  );
}

interface Context {
  readonly nowMs: number;
  readonly roots: ReadonlySet<string>;
  readonly refusals: Refusal[];
}

interface Collateral {
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: EnclaveIdentity;
  readonly signatures: readonly {
    readonly what: string;
    readonly bytes: Uint8Array;
    readonly signature: Uint8Array;
    readonly chain: readonly Certificate[];
  }[];
  readonly pckCrl: Crl | undefined;
  readonly rootCaCrl: Crl | undefined;
}

function readCollateral(parts: Partial<DcapParts>): Collateral {
  const { tcbInfo, tcbInfoSignature, tcbInfoIssuerChain } = parts;
  const { qeIdentity, qeIdentitySignature, qeIdentityIssuerChain, pckCrl, rootCaCrl } = parts;
  if (!tcbInfo || !tcbInfoSignature || !tcbInfoIssuerChain) throw new DerError("TCB info is missing");
  if (!qeIdentity || !qeIdentitySignature || !qeIdentityIssuerChain)
    throw new DerError("QE identity is missing");
  return {
    tcbInfo: parseTcbInfo(tcbInfo),
    qeIdentity: parseEnclaveIdentity(qeIdentity),
    signatures: [
      {
        what: "TCB info",
        bytes: tcbInfo,
        signature: tcbInfoSignature,
        chain: leafFirst(parsePemChain(fromUtf8(tcbInfoIssuerChain))),
      },
      {
        what: "QE identity",
        bytes: qeIdentity,
        signature: qeIdentitySignature,
        chain: leafFirst(parsePemChain(fromUtf8(qeIdentityIssuerChain))),
      },
    ],
    pckCrl: pckCrl === undefined ? undefined : parseCrl(pckCrl),
    rootCaCrl: rootCaCrl === undefined ? undefined : parseCrl(rootCaCrl),
  };
}

function readPckChain(quote: Quote, separate: Uint8Array | undefined): readonly Certificate[] {
  const pem = embeddedPckChain(quote) ?? (separate === undefined ? undefined : fromUtf8(separate));
  if (pem === undefined) {
    throw new DerError(
      `the quote has certification data of type ${quote.certificationType} and no PCK chain`,
    );
  }
  const chain = leafFirst(pemBlocks(pem).slice(0, 8).map(parseCertificate));
  if (chain.length === 0) throw new DerError("the PCK chain is empty");
  return chain;
}

function checkPckChain(
  context: Context,
  chain: readonly Certificate[],
  { pckCrl, rootCaCrl }: Collateral,
): void {
  const [leaf, authority] = chain;
  const options = { prefix: "DCAP_PCK", what: "the PCK chain", ...context };
  context.refusals.push(...verifyChain(chain, options));
  const root = chain.at(-1);
  if (leaf === undefined || authority === undefined || root === undefined || chain.length !== 3) {
    return fail(context, "DCAP_PCK_CHAIN_MALFORMED", "The PCK chain does not have three certificates.");
  }
  if (pckCrl !== undefined) {
    const what = "The revocation list of PCK certificates";
    context.refusals.push(
      ...verifyCrl(pckCrl, authority, { prefix: "DCAP_PCK", what, nowMs: context.nowMs }),
    );
    if (pckCrl.revoked.has(leaf.serial))
      fail(context, "DCAP_PCK_REVOKED", "The platform's PCK certificate is revoked.");
  }
  if (rootCaCrl !== undefined) {
    const what = "The revocation list of Intel's root";
    context.refusals.push(...verifyCrl(rootCaCrl, root, { prefix: "DCAP_ROOT", what, nowMs: context.nowMs }));
    if (rootCaCrl.revoked.has(authority.serial)) {
      fail(context, "DCAP_PCK_REVOKED", "The authority of the PCK certificate is revoked.");
    }
  }
}

function checkQuoteSignatures(context: Context, quote: Quote, leaf: Certificate): void {
  const { qeReport, qeReportSignature, attestationKey, qeAuthData } = quote;
  if (!verifySignature(leaf.publicKey, ECDSA, qeReport.raw, qeReportSignature)) {
    fail(
      context,
      "DCAP_QE_SIGNATURE_INVALID",
      "The quoting enclave's report was not signed by the platform's PCK key.",
    );
  }
  const bound = concat(sha256(concat(attestationKey, qeAuthData)), new Uint8Array(32));
  if (!equalBytes(bound, qeReport.reportData)) {
    fail(
      context,
      "DCAP_ATTESTATION_KEY_UNBOUND",
      "The quoting enclave's report does not name the attestation key.",
    );
  }
  const key = attempt(context, "DCAP_QUOTE_MALFORMED", () => attestationPublicKey(attestationKey));
  if (key !== undefined && !verifySignature(key, ECDSA, quote.signed, quote.signature)) {
    fail(context, "DCAP_QUOTE_SIGNATURE_INVALID", "The quote was not signed by its attestation key.");
  }
}

function checkCollateral(
  context: Context,
  { tcbInfo, qeIdentity, signatures, rootCaCrl }: Collateral,
  pck: PckFacts | undefined,
  quote: Quote,
): void {
  for (const { what, bytes, signature, chain } of signatures) {
    checkTcbSigner(context, what, chain, rootCaCrl);
    const signer = chain[0];
    if (signer === undefined || !verifySignature(signer.publicKey, ECDSA, bytes, signature)) {
      fail(
        context,
        "DCAP_COLLATERAL_SIGNATURE_INVALID",
        `${what} was not signed by the certificate that comes with it.`,
      );
    }
  }
  for (const [what, dated] of [["TCB info", tcbInfo] as const, ["QE identity", qeIdentity] as const]) {
    if (context.nowMs < dated.issueDateMs || context.nowMs > dated.nextUpdateMs) {
      fail(
        context,
        "DCAP_COLLATERAL_EXPIRED",
        `${what} does not cover ${new Date(context.nowMs).toISOString()}.`,
      );
    }
  }
  if (pck !== undefined && (pck.fmspc !== tcbInfo.fmspc || pck.pceId !== tcbInfo.pceId)) {
    fail(
      context,
      "DCAP_COLLATERAL_OTHER_PLATFORM",
      `TCB info is about ${tcbInfo.fmspc}, the platform is ${pck.fmspc}.`,
    );
  }
  const [infoId, identityId] = quote.body.kind === "tdx" ? ["TDX", "TD_QE"] : ["SGX", "QE"];
  if (tcbInfo.id !== infoId || qeIdentity.id !== identityId) {
    fail(
      context,
      "DCAP_COLLATERAL_OTHER_TEE",
      `The collateral is of ${tcbInfo.id} and ${qeIdentity.id}, not of ${infoId}.`,
    );
  }
}

function checkTcbSigner(
  context: Context,
  what: string,
  chain: readonly Certificate[],
  rootCaCrl: Crl | undefined,
): void {
  const options = { prefix: "DCAP_TCB_SIGNER", what: `the signer's chain of ${what}`, ...context };
  context.refusals.push(...verifyChain(chain, options));
  const [signer] = chain;
  if (signer === undefined) return;
  // A PCK key is on every platform: it must not be able to sign collateral.
  if (signer.extensions.has(SGX_EXTENSIONS) || !mayUseKeyFor(signer, KEY_USAGE.digitalSignature)) {
    fail(
      context,
      "DCAP_TCB_SIGNER_WRONG",
      `${what} was signed by a certificate that is not for signing collateral.`,
    );
  }
  if (chain.length !== 2) {
    fail(context, "DCAP_TCB_SIGNER_WRONG", `The signer of ${what} was not certified by the root itself.`);
  }
  if (rootCaCrl?.revoked.has(signer.serial) === true) {
    fail(context, "DCAP_TCB_SIGNER_REVOKED", `The certificate that signed ${what} is revoked.`);
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
  const platform =
    body.kind === "tdx" ? judgeTdxPlatform(tcbInfo, pck, body.report) : judgeSgxPlatform(tcbInfo, pck);
  const enclave = judgeQuotingEnclave(qeIdentity, quote.qeReport);
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
  pck: PckFacts,
  tcb: Claims["tcb"],
  rest: Pick<Claims, "rootFingerprint" | "simulated" | "revocationChecked" | "challengeVerified">,
): Claims {
  const { body, version } = quote;
  const measurements = measurementsOf(quote);
  return {
    tee: body.kind,
    ...rest,
    debug:
      body.kind === "tdx"
        ? body.report.tdAttributes[0] !== 0
        : ((body.report.attributes[0] as number) & 2) !== 0,
    measurement: dcapMeasurement(body.kind, measurements),
    measurements,
    reportData: body.report.reportData,
    tcb,
    hardwareId: pck.ppid,
    fields: { version, teeType: body.kind.toUpperCase(), fmspc: pck.fmspc, ...quoteFields(quote) },
  };
}

/** Measurements of the TD or the enclave, by Intel's names. */
export function measurementsOf({ body }: Quote): Record<string, string> {
  if (body.kind === "sgx") {
    const { mrEnclave, mrSigner, isvProdId, isvSvn } = body.report;
    const number = (value: number): string => value.toString(16).padStart(4, "0");
    return {
      mrEnclave: toHex(mrEnclave),
      mrSigner: toHex(mrSigner),
      isvProdId: number(isvProdId),
      isvSvn: number(isvSvn),
    };
  }
  const { mrTd, mrConfigId, mrOwner, mrOwnerConfig, rtmrs, mrServiceTd } = body.report;
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs.map(toHex) as [string, string, string, string];
  const names = { mrTd: toHex(mrTd), rtmr0, rtmr1, rtmr2, rtmr3 };
  const owner = {
    mrConfigId: toHex(mrConfigId),
    mrOwner: toHex(mrOwner),
    mrOwnerConfig: toHex(mrOwnerConfig),
  };
  return { ...names, ...owner, ...(mrServiceTd === undefined ? {} : { mrServiceTd: toHex(mrServiceTd) }) };
}

/** The one digest that names a TD's or an enclave's measurements. spec/attestation.md §4 */
export function dcapMeasurement(tee: "sgx" | "tdx", measurements: Readonly<Record<string, string>>): Digest {
  const bytes = Object.entries(measurements).map(([name, hex]) => [name, fromHex(hex)] as const);
  return digestOfDocument({ tee, ...Object.fromEntries(bytes) });
}

/** What a reader may want to see beyond the claims, by the names that the vectors use. */
export function quoteFields(quote: Quote): Record<string, unknown> {
  const { body } = quote;
  const common = { version: quote.version, teeType: body.kind.toUpperCase() };
  if (body.kind === "sgx") {
    const { mrEnclave, mrSigner, isvProdId, isvSvn, reportData } = body.report;
    const texts = { mrEnclave: toHex(mrEnclave), mrSigner: toHex(mrSigner), reportData: toHex(reportData) };
    return { ...common, ...texts, isvProdId, isvSvn };
  }
  const { report } = body;
  const hex = (bytes: Uint8Array | undefined): string | undefined =>
    bytes === undefined ? undefined : toHex(bytes);
  return {
    ...common,
    ...measurementsOf(quote),
    reportData: toHex(report.reportData),
    teeTcbSvn: toHex(report.teeTcbSvn),
    teeTcbSvn2: hex(report.teeTcbSvn2),
    mrSeam: toHex(report.mrSeam),
    mrSignerSeam: toHex(report.mrSignerSeam),
    seamAttributes: toHex(report.seamAttributes),
    tdAttributes: toHex(report.tdAttributes),
    xfam: toHex(report.xfam),
  };
}

function attestationPublicKey(point: Uint8Array): PublicKey {
  return publicKeyFrom("P-256", concat(new Uint8Array([4]), point));
}

function attempt<T>(context: Context, code: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    const own = codeOf(error, code);
    fail(context, own === "DER_MALFORMED" ? code : own, (error as Error).message);
    return undefined;
  }
}

function fail(context: Context, code: string, reason: string): void {
  context.refusals.push({ code, reason });
}

function refused(context: Context): Verdict<never> {
  return acceptUnless(context.refusals, () => {
    throw new Error("a quote that was not read has a reason");
  });
}
