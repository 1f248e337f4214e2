import { CloisterError, fromUtf8 } from "@cloister/core";
import { ContentMemo } from "../../content-memo.ts";
import type { PublicKey } from "../../public-key.ts";
import { isWithin } from "../../time.ts";
import {
  KEY_USAGE,
  leafFirst,
  mayUseKeyFor,
  parsePemChain,
  verifyChain,
  type Certificate,
  type Crl,
} from "../../x509.ts";
import { readCrls } from "../path.ts";
import { parseEnclaveIdentity, parseTcbInfo, type EnclaveIdentity, type TcbInfo } from "./collateral.ts";
import { fail, signedBy, type Context } from "./context.ts";
import { SGX_EXTENSIONS, type PckFacts } from "./pck.ts";

/** Members of `Endorsements.parts` for SGX and TDX, as Intel's PCS gives them. */
export interface DcapParts {
  /** The exact signed bytes of `tcbInfo`, r‖s of its signature, and the signer's chain in PEM. */
  readonly tcbInfo: Uint8Array;
  readonly tcbInfoSignature: Uint8Array;
  readonly tcbInfoIssuerChain: Uint8Array;
  readonly qeIdentity: Uint8Array;
  readonly qeIdentitySignature: Uint8Array;
  readonly qeIdentityIssuerChain: Uint8Array;
  /** DER or PEM. Absent: revocation is not checked, and the claims say so. */
  readonly pckCrl?: Uint8Array;
  readonly rootCaCrl?: Uint8Array;
  /** PEM; only for quotes that do not carry their PCK chain. */
  readonly pckCertificateChain?: Uint8Array;
}

/** Intel's collateral, read and judged by nobody yet. */
export interface Collateral {
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: EnclaveIdentity;
  readonly statements: readonly SignedStatement[];
  readonly pckCrl: Crl | undefined;
  readonly rootCaCrl: Crl | undefined;
}

interface SignedStatement {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly chain: readonly Certificate[];
  readonly issueDateMs: number;
  readonly nextUpdateMs: number;
}

const SHARED_PARTS = [
  ...(["tcbInfo", "tcbInfoSignature", "tcbInfoIssuerChain"] as const),
  ...(["qeIdentity", "qeIdentitySignature", "qeIdentityIssuerChain"] as const),
  ...(["pckCrl", "rootCaCrl"] as const),
];
const REMEMBERED_BYTES_MAX = 262_144;
const collaterals = new ContentMemo<Collateral>(64);

/**
 * Reads collateral; all platforms of a family share it, so what was read is remembered.
 * @throws {CloisterError} `DCAP_COLLATERAL_MISSING`, `DCAP_COLLATERAL_MALFORMED`
 */
export function readCollateral(parts: Partial<DcapParts>): Collateral {
  const shared = SHARED_PARTS.map((name) => parts[name]);
  if (shared.reduce((total, part) => total + (part?.length ?? 0), 0) > REMEMBERED_BYTES_MAX)
    return read(parts);
  const known = collaterals.get(shared);
  if (known !== undefined) return known;
  // Copies, so that a caller's reuse of its buffers cannot change what is remembered.
  const copies = SHARED_PARTS.flatMap((name, i) =>
    shared[i] === undefined ? [] : [[name, shared[i].slice()]],
  );
  const collateral = read(Object.fromEntries(copies) as Partial<DcapParts>);
  collaterals.set(shared, collateral);
  return collateral;
}

function read(parts: Partial<DcapParts>): Collateral {
  const tcbInfo = parseTcbInfo(required(parts, "tcbInfo"));
  const qeIdentity = parseEnclaveIdentity(required(parts, "qeIdentity"));
  const { pckCrl, rootCaCrl } = parts;
  return {
    tcbInfo,
    qeIdentity,
    statements: [
      { what: "TCB info", ...statement(parts, "tcbInfo"), ...window(tcbInfo) },
      { what: "QE identity", ...statement(parts, "qeIdentity"), ...window(qeIdentity) },
    ],
    pckCrl: pckCrl === undefined ? undefined : onlyCrl(pckCrl),
    rootCaCrl: rootCaCrl === undefined ? undefined : onlyCrl(rootCaCrl),
  };
}

function onlyCrl(bytes: Uint8Array): Crl {
  const [crl, ...more] = readCrls(bytes);
  if (crl !== undefined && more.length === 0) return crl;
  throw new CloisterError(
    "DCAP_COLLATERAL_MALFORMED",
    "There are several revocation lists where one is due.",
  );
}

function statement(
  parts: Partial<DcapParts>,
  name: "tcbInfo" | "qeIdentity",
): Pick<SignedStatement, "bytes" | "signature" | "chain"> {
  return {
    bytes: required(parts, name),
    signature: required(parts, `${name}Signature`),
    chain: leafFirst(parsePemChain(fromUtf8(required(parts, `${name}IssuerChain`)))),
  };
}

function window(dated: Pick<SignedStatement, "issueDateMs" | "nextUpdateMs">): typeof dated {
  return { issueDateMs: dated.issueDateMs, nextUpdateMs: dated.nextUpdateMs };
}

function required(parts: Partial<DcapParts>, name: keyof DcapParts): Uint8Array {
  const part = parts[name];
  if (part === undefined) {
    throw new CloisterError("DCAP_COLLATERAL_MISSING", `The endorsements lack "${name}".`, {
      hint: "Fetch Intel's collateral for this platform.",
    });
  }
  return part;
}

/** Checks who signed the collateral, when it is valid, and that it is about this TEE on this kind of platform. */
export function checkCollateral(
  context: Context,
  collateral: Collateral,
  tee: "sgx" | "tdx",
  pck: PckFacts | undefined,
): void {
  const { tcbInfo, qeIdentity, rootCaCrl } = collateral;
  for (const signed of collateral.statements) checkStatement(context, signed, rootCaCrl);
  if (pck !== undefined && (pck.fmspc !== tcbInfo.fmspc || pck.pceId !== tcbInfo.pceId)) {
    const [theirs, ours] = [tcbInfo, pck].map(({ fmspc, pceId }) => `FMSPC ${fmspc}, PCEID ${pceId}`);
    fail(context, "DCAP_COLLATERAL_OTHER_PLATFORM", `TCB info is about ${theirs}; the platform has ${ours}.`);
  }
  const [infoId, identityId] = tee === "tdx" ? ["TDX", "TD_QE"] : ["SGX", "QE"];
  if (tcbInfo.id !== infoId || qeIdentity.id !== identityId) {
    const reason = `The collateral is of ${tcbInfo.id} and ${qeIdentity.id}, not of ${infoId} and ${identityId}.`;
    fail(context, "DCAP_COLLATERAL_OTHER_TEE", reason);
  }
}

const statementSigners = new WeakMap<SignedStatement, PublicKey>();

/** Tells whether the key signed the statement; what was read once is held against its signer once. */
function isGenuine(signed: SignedStatement, key: PublicKey): boolean {
  if (statementSigners.get(signed) === key) return true;
  const genuine = signedBy(key, signed.bytes, signed.signature);
  if (genuine) statementSigners.set(signed, key);
  return genuine;
}

function checkStatement(context: Context, signed: SignedStatement, rootCaCrl: Crl | undefined): void {
  const { what, chain, issueDateMs, nextUpdateMs } = signed;
  const { nowMs } = context;
  const options = {
    prefix: "DCAP_TCB_SIGNER",
    what: `the signer's chain of ${what}`,
    purposes: [],
    ...context,
  };
  context.refusals.push(...verifyChain(chain, options));
  const [signer] = chain;
  if (signer === undefined || !isGenuine(signed, signer.publicKey)) {
    const reason = `${what} was not signed by the certificate that comes with it.`;
    fail(context, "DCAP_COLLATERAL_SIGNATURE_INVALID", reason);
  }
  if (!isWithin(nowMs, issueDateMs, nextUpdateMs)) {
    fail(context, "DCAP_COLLATERAL_EXPIRED", `${what} does not cover ${new Date(nowMs).toISOString()}.`);
  }
  if (signer === undefined) return;
  // Every platform has a PCK key: it must not be able to sign collateral. The signer hangs on the root itself.
  const mayNot = signer.extensions.has(SGX_EXTENSIONS) || !mayUseKeyFor(signer, KEY_USAGE.digitalSignature);
  if (mayNot || chain.length !== 2) {
    fail(
      context,
      "DCAP_TCB_SIGNER_WRONG",
      `${what} was signed by a certificate that is not for signing collateral.`,
    );
  }
  if (rootCaCrl?.revoked.has(signer.serial) === true) {
    fail(context, "DCAP_TCB_SIGNER_REVOKED", `The certificate that signed ${what} is revoked.`);
  }
}
