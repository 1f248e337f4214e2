/** Intel's Provisioning Certification Service, and PCCS caches of it (API version 4). */
import {
  describeDcap,
  parseCrl,
  parseEnclaveIdentity,
  parsePemChain,
  parseTcbInfo,
  type Endorsements,
  type Evidence,
} from "@cloister/attestation";
import { CloisterError, fromHex, fromUtf8, utf8 } from "@cloister/core";
import type { EndorsementCache } from "./cache.ts";
import { allOrFirstFailure, type VendorAnswer } from "./http.ts";

export interface IntelService {
  /** `https://api.trustedservices.intel.com`, or a PCCS. */
  readonly baseUrl: string;
  /** Where the root's revocation list lies; a PCCS has it under its own address. */
  readonly rootCrlUrl: string;
}

export const intelService: IntelService = {
  baseUrl: "https://api.trustedservices.intel.com",
  rootCrlUrl: "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
};

/** Intel's collateral in the hands of a PCCS. */
export function pccs(baseUrl: string): IntelService {
  return { baseUrl, rootCrlUrl: `${baseUrl}/sgx/certification/v4/rootcacrl` };
}

/**
 * Fetches the collateral that a quote of SGX or TDX needs.
 * @throws {CloisterError} as `EndorsementCache.get`; `ENDORSEMENTS_EVIDENCE_UNUSABLE` when the quote has no PCK chain
 */
export async function fetchIntelEndorsements(
  evidence: Evidence,
  cache: EndorsementCache,
  service: IntelService = intelService,
): Promise<Endorsements> {
  const { fmspc, authority } = platformOf(evidence);
  const api = `${service.baseUrl}/${evidence.tee}/certification/v4`;
  const crlUrl = `${service.baseUrl}/sgx/certification/v4/pckcrl?ca=${authority}&encoding=der`;
  const [tcbInfo, qeIdentity, pckCrl, rootCaCrl] = await allOrFirstFailure([
    cache.get({ url: `${api}/tcb?fmspc=${fmspc}` }, (answer) => acceptTcbInfo(answer, fmspc)),
    cache.get({ url: `${api}/qe/identity` }, (answer) => {
      const { statement } = signedStatement(answer, "enclaveIdentity");
      chainOf(answer);
      return parseEnclaveIdentity(statement);
    }),
    cache.get({ url: crlUrl }, acceptCrl),
    cache.get({ url: service.rootCrlUrl }, acceptCrl),
  ]);
  const info = signedStatement(tcbInfo, "tcbInfo");
  const identity = signedStatement(qeIdentity, "enclaveIdentity");
  return {
    tee: evidence.tee,
    parts: {
      tcbInfo: info.statement,
      tcbInfoSignature: info.signature,
      tcbInfoIssuerChain: chainOf(tcbInfo),
      qeIdentity: identity.statement,
      qeIdentitySignature: identity.signature,
      qeIdentityIssuerChain: chainOf(qeIdentity),
      pckCrl: crlBytes(pckCrl),
      rootCaCrl: crlBytes(rootCaCrl),
    },
  };
}

function platformOf(evidence: Evidence): { fmspc: string; authority: "platform" | "processor" } {
  const { fmspc, pckChain } = describeDcap(evidence);
  const [, authority] = Array.isArray(pckChain) ? (pckChain as unknown[]) : [];
  if (typeof fmspc !== "string" || typeof authority !== "string") {
    throw new CloisterError(
      "ENDORSEMENTS_EVIDENCE_UNUSABLE",
      "The quote carries no PCK chain that says what its platform is.",
    );
  }
  return { fmspc, authority: authority.includes("Processor") ? "processor" : "platform" };
}

function acceptTcbInfo(answer: VendorAnswer, fmspc: string): { nextUpdateMs: number } {
  const info = parseTcbInfo(signedStatement(answer, "tcbInfo").statement);
  if (info.fmspc !== fmspc) throw wrong(`TCB info is about ${info.fmspc}, not ${fmspc}`);
  chainOf(answer);
  return info;
}

function acceptCrl(answer: VendorAnswer): { nextUpdateMs: number | undefined } {
  return parseCrl(crlBytes(answer));
}

/** A PCCS gives the root's list as hex text, everybody else as DER. */
function crlBytes({ bytes }: VendorAnswer): Uint8Array {
  return bytes[0] === 0x30 && bytes[1] !== undefined && bytes[1] >= 0x80
    ? bytes
    : fromHex(fromUtf8(bytes).trim());
}

/** The signature is over the member's exact bytes, so they are cut out and not written anew. */
function signedStatement(
  { bytes }: VendorAnswer,
  member: "tcbInfo" | "enclaveIdentity",
): { statement: Uint8Array; signature: Uint8Array } {
  const pattern = new RegExp(
    `^\\s*\\{\\s*"${member}"\\s*:\\s*(\\{.*\\})\\s*,\\s*"signature"\\s*:\\s*"([0-9a-fA-F]{128})"\\s*\\}\\s*$`,
    "s",
  );
  const [, statement, signature] = pattern.exec(fromUtf8(bytes)) ?? [];
  if (statement === undefined || signature === undefined) throw wrong(`the answer is no signed ${member}`);
  return { statement: utf8(statement), signature: fromHex(signature) };
}

function chainOf({ headers }: VendorAnswer): Uint8Array {
  const header =
    headers["tcb-info-issuer-chain"] ??
    headers["sgx-tcb-info-issuer-chain"] ??
    headers["sgx-enclave-identity-issuer-chain"];
  if (header === undefined) throw wrong("the answer names no issuer chain");
  const pem = decodeURIComponent(header);
  if (parsePemChain(pem).length < 2) throw wrong("the issuer chain is too short");
  return utf8(pem);
}

function wrong(why: string): CloisterError {
  return new CloisterError("ENDORSEMENTS_CONTENT_WRONG", why);
}
