export { argumentsDigest, decodeArguments, encodeArguments, type OrderArguments } from "./arguments.ts";
export type { Cancellation } from "./cancellation.ts";
export { engineImports, inspectEngine, type EngineModule } from "./engine-module.ts";
export { exitCodeOf } from "./exit-codes.ts";
export { engineSeed } from "./loader/execute.ts";
export { loaderChain, readOrder, reportOf } from "./loader/market-chain.ts";
export { plannedUse } from "./loader/planned-use.ts";
export type {
  Attester,
  LoaderChain,
  FreshEvidence,
  KeyRelease,
  KeyRequest,
  LoaderIdentity,
  LoaderPorts,
  Market,
  NodeLimits,
  NodeOnChain,
  OfferKind,
  OfferOnChain,
  OrderOnChain,
  SignedAssignment,
  StatementLog,
} from "./loader/ports.ts";
export { endOfOrder, orderReportData, refuseOrder, runOrder, type OrderRun } from "./loader/run-order.ts";
export type { OrderEnd } from "./loader/stage.ts";
export {
  openOrderRefusal,
  REFUSAL_TYPE,
  signOrderRefusal,
  verifyOrderRefusal,
  type OrderRefusal,
  type SignedOrderRefusal,
} from "./loader/statement.ts";
export * from "./sandbox.ts";
export { packTar, unpackTar } from "./tar.ts";
