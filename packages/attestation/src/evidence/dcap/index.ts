export { parseEnclaveIdentity, parseTcbInfo } from "./collateral.ts";
export { describeDcap } from "./describe.ts";
export type { DcapParts } from "./endorsements.ts";
export { dcapMeasurement } from "./facts.ts";
export { parseQuote } from "./quote.ts";
export { verifyDcap } from "./verify.ts";
