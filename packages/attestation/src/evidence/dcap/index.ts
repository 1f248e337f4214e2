export { parseEnclaveIdentity, parseTcbInfo, type EnclaveIdentity, type TcbInfo } from "./collateral.ts";
export type { DcapParts } from "./endorsements.ts";
export { describeDcap } from "./describe.ts";
export { dcapMeasurement, measurementsOf, quoteFacts } from "./facts.ts";
export { readPckFacts, SGX_EXTENSIONS, type PckFacts } from "./pck.ts";
export { encodeTdxQuoteV4, parseQuote, type EnclaveReport, type Quote, type TdReport } from "./quote.ts";
export { verifyDcap } from "./verify.ts";
