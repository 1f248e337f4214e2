import { fromHex, fromUtf8, utf8 } from "@cloister/core";
import { describeDcap } from "../../src/evidence/dcap/index.ts";
import {
  parsePemChain,
  pinOf,
  verify,
  type Endorsements,
  type Evidence,
  type TrustRoots,
} from "../../src/index.ts";
import { pathOf, timeOf, type Judge, type LoadFile, type VectorAnswer, type VectorEntry } from "./entry.ts";

/** SGX and TDX quotes with Intel's collateral. */
export const judgeDcapQuote: Judge = (entry, load, main) => {
  const tee = entry.tee === "sgx" ? "sgx" : "tdx";
  const bytes = main ?? load(pathOf(entry, "quote"));
  const roots = rootsOf(entry, load);
  const endorsements = endorsementsOf(entry, tee, load);
  const verdict = verify({ tee, bytes }, endorsements, {
    nowMs: timeOf(entry),
    ...(roots === undefined ? {} : { roots }),
  });
  if (verdict.ok) {
    const { debug, tcb, fields } = verdict.value;
    const valid = tcb.status === "UpToDate" ? "valid" : "valid-with-status";
    return {
      verdict: debug ? "policy-reject" : valid,
      tcbStatus: tcb.status,
      advisoryIds: tcb.advisoryIds,
      fields,
      codes: [],
    };
  }
  const codes = verdict.refusals.map(({ code }) => code);
  return {
    verdict: "reject",
    tcbStatus: refusedStatus(codes),
    fields: described({ tee, bytes }, endorsements),
    codes,
  };
};

/** A refused quote's fields are still read out: a parser is judged on its own. */
function described(evidence: Evidence, endorsements: Endorsements): VectorAnswer["fields"] {
  try {
    return describeDcap(evidence, endorsements);
  } catch {
    return {};
  }
}

function refusedStatus(codes: readonly string[]): string | undefined {
  if (codes.includes("DCAP_TCB_REVOKED")) return "Revoked";
  return codes.includes("DCAP_TCB_NOT_SUPPORTED") ? "NotSupported" : undefined;
}

function rootsOf({ trustAnchor }: VectorEntry, load: LoadFile): TrustRoots | undefined {
  if (trustAnchor?.endsWith(".pem") !== true) return undefined;
  const anchors = parsePemChain(fromUtf8(load(trustAnchor)));
  return { simulated: false, pins: { intel: anchors.map(({ publicKey }) => pinOf(publicKey)) } };
}

const MEMBERS = [
  ["tcb_info", "tcbInfo", utf8],
  ["tcb_info_signature", "tcbInfoSignature", fromHex],
  ["tcb_info_issuer_chain", "tcbInfoIssuerChain", utf8],
  ["qe_identity", "qeIdentity", utf8],
  ["qe_identity_signature", "qeIdentitySignature", fromHex],
  ["qe_identity_issuer_chain", "qeIdentityIssuerChain", utf8],
  ["pck_crl", "pckCrl", fromHex],
  ["root_ca_crl", "rootCaCrl", fromHex],
  ["pck_certificate_chain", "pckCertificateChain", utf8],
] as const;

/** Collateral in the layout of the vectors (and of several public tools) as endorsements. */
export function endorsementsOf(entry: VectorEntry, tee: "sgx" | "tdx", load: LoadFile): Endorsements {
  const parts: Record<string, Uint8Array> = {};
  if (entry.files["collateral"] === undefined) return { tee, parts };
  const collateral = JSON.parse(fromUtf8(load(pathOf(entry, "collateral")))) as Record<string, string | null>;
  for (const [theirs, ours, decode] of MEMBERS) {
    const text = collateral[theirs];
    if (typeof text === "string") parts[ours] = decode(text);
  }
  return { tee, parts };
}
