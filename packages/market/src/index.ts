export * from "./anchor.ts";
export type { Call } from "./call.ts";
export * from "./calls.ts";
export * from "./consent-calls.ts";
export * from "./evidence-calls.ts";
export * from "./offer-standing.ts";
export * from "./permit.ts";
export type * from "./chain-port.ts";
export * from "./deployment.ts";
export * from "./details.ts";
export * from "./errors.ts";
export * from "./escrow.ts";
export * from "./events.ts";
export * from "./follower.ts";
export { addressOfSecret, recoverSigner, signDigest } from "./secp256k1.ts";
export * from "./read-model/index.ts";
export * from "./splits.ts";
export * from "./state-codec.ts";
export * from "./state.ts";
export {
  contentHash,
  domainOf,
  hashStatement,
  offerId,
  orderId,
  recoverStatement,
  signStatement,
  STATEMENT_TYPES,
  typedDataOf,
  type StatementName,
  type Statements,
} from "./statements.ts";
export * from "./types.ts";
export { marketAbi } from "./generated/market.ts";
export { registryAbi } from "./generated/registry.ts";
export { transparencyLogAbi } from "./generated/transparency-log.ts";
