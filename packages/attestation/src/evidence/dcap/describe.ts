import type { Evidence, Endorsements } from "../../types.ts";
import type { DcapParts } from "./endorsements.ts";
import { quoteFacts } from "./facts.ts";
import { readPckChain } from "./pck-chain.ts";
import { parseQuote } from "./quote.ts";

/**
 * Reads out what a quote and its PCK certificate say, without judging anything.
 * @throws {CloisterError} `DCAP_QUOTE_MALFORMED`
 */
export function describeDcap(evidence: Evidence, endorsements?: Endorsements): Record<string, unknown> {
  const quote = parseQuote(evidence.bytes);
  const { certificationType, qeReport } = quote;
  const facts = { ...quoteFacts(quote), qeIsvSvn: qeReport.isvSvn, certificationType };
  try {
    const { certificates, facts: pck } = readPckChain(
      quote,
      (endorsements?.parts as Partial<DcapParts> | undefined)?.pckCertificateChain,
    );
    const pckChain = certificates.map(({ subjectCommonName }) => subjectCommonName);
    return { ...facts, fmspc: pck.fmspc, pceId: pck.pceId, ppid: pck.ppid, pckChain };
  } catch {
    return facts;
  }
}
