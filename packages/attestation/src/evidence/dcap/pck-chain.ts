import { DerError } from "../../der.ts";
import { ContentMemo } from "../../content-memo.ts";
import { leafFirst, verifyChain, verifyCrl, type Certificate, type Crl } from "../../x509.ts";
import { readCertificates } from "../path.ts";
import { fail, type Context } from "./context.ts";
import { readPckFacts, type PckFacts } from "./pck.ts";
import { embeddedPckChain, type Quote } from "./quote.ts";

/** The chain of the key that vouches for the quoting enclave, leaf first. */
export interface PckChain {
  readonly certificates: readonly Certificate[];
  readonly leaf: Certificate;
  readonly root: Certificate;
  readonly facts: PckFacts;
}

const chains = new ContentMemo<PckChain>(512);

/**
 * Reads the chain that the quote carries, or the one that came apart: PEM, or DER one after the other, as
 * Intel's own samples have it. @throws {DerError} when there is none; {CloisterError} `CERTIFICATES_MALFORMED`
 */
export function readPckChain(quote: Quote, separate: Uint8Array | undefined): PckChain {
  const bytes = embeddedPckChain(quote) ?? separate;
  if (bytes === undefined) {
    throw new DerError(
      `certification data of type ${quote.certificationType} holds no PCK chain, and none came apart`,
    );
  }
  const known = chains.get([bytes]);
  if (known !== undefined) return known;
  const certificates = leafFirst(readCertificates(bytes));
  const [leaf] = certificates;
  const root = certificates.at(-1);
  if (leaf === undefined || root === undefined) throw new DerError("the PCK chain is empty");
  const chain = { certificates, leaf, root, facts: readPckFacts(leaf) };
  chains.set([bytes], chain);
  return chain;
}

/** Checks every link, every certificate and, where lists are given, revocation. */
export function checkPckChain(
  context: Context,
  { certificates, leaf, root }: PckChain,
  lists: { readonly pckCrl: Crl | undefined; readonly rootCaCrl: Crl | undefined } | undefined,
): void {
  const options = { prefix: "DCAP_PCK", what: "the PCK chain", purposes: [], ...context };
  context.refusals.push(...verifyChain(certificates, options));
  const [, authority] = certificates;
  if (authority === undefined || certificates.length !== 3) {
    return fail(context, "DCAP_PCK_CHAIN_MALFORMED", "The PCK chain does not have three certificates.");
  }
  const { nowMs } = context;
  if (lists?.pckCrl !== undefined) {
    const what = "The revocation list of PCK certificates";
    context.refusals.push(...verifyCrl(lists.pckCrl, authority, { prefix: "DCAP_PCK", what, nowMs }));
    if (lists.pckCrl.revoked.has(leaf.serial))
      fail(context, "DCAP_PCK_REVOKED", "The platform's PCK certificate is revoked.");
  }
  if (lists?.rootCaCrl !== undefined) {
    const what = "The revocation list of Intel's root";
    context.refusals.push(...verifyCrl(lists.rootCaCrl, root, { prefix: "DCAP_ROOT", what, nowMs }));
    if (lists.rootCaCrl.revoked.has(authority.serial))
      fail(context, "DCAP_PCK_REVOKED", "The authority of the PCK certificate is revoked.");
  }
}
