import type { Address, Digest, Hex32, NodeId, OfferId, OrderId } from "@cloister/core";

/** One input of an order, as the loader found and checked it. */
export interface ReportInput {
  readonly role: "engine" | "data" | "model";
  readonly offerId: OfferId;
  /** SHA-256 of the plaintext, as the offer promises it. */
  readonly content: Digest;
  /** SHA-256 of the sealed file that was opened. */
  readonly sealed: Digest;
  /** SHA-256 of the canonical consent document; absent when the offer names none. */
  readonly consent?: Digest | undefined;
}

/** What the sandbox was allowed at most. */
export interface ReportLimits {
  readonly memoryBytes: number;
  readonly runMs: number;
  readonly outputBytes: number;
}

/**
 * What is about to run, checked and fixed before anything is opened. Evidence binds its digest
 * (`bindReportData("cloister/order/v1", order id, digest)`). spec/order-report.md §2
 */
export interface IntegrityReport {
  readonly version: 1;
  readonly chainId: number;
  /** The contract that holds the order's escrow and will hold the anchor of its report. */
  readonly contract: Address;
  readonly orderId: OrderId;
  readonly client: Address;
  /** The client's salt: it makes two equal orders different. */
  readonly salt: Hex32;
  readonly node: NodeId;
  /** The leader's term that the assignment carries. */
  readonly term: number;
  /** The epoch of the group that runs the order. */
  readonly epoch: number;
  /** In the order's own sequence, the engine first. */
  readonly inputs: readonly ReportInput[];
  /** SHA-256 of the engine's plaintext; equal to the content of the input whose role is `engine`. */
  readonly engine: Digest;
  /** SHA-256 of the canonical arguments. */
  readonly args: Digest;
  /** `none`, or the one destination that every party's consent names. */
  readonly egress: string;
  readonly limits: ReportLimits;
  /** The age recipient that alone can open the output. */
  readonly recipient: string;
  readonly preparedAtMs: number;
}

/** One piece of evidence that the report rests on: the CVM first, then accelerators. */
export interface ReportEvidence {
  readonly tee: string;
  /** `evidenceDigest(evidence)` */
  readonly evidence: Digest;
  /** `endorsementsDigest(endorsements)`: what the evidence was judged by, as of the time. */
  readonly endorsements: Digest;
  readonly measurement: Digest;
  readonly tcbStatus: string;
  readonly simulated: boolean;
}

/** One output that left the CVM, sealed to the recipient. */
export interface ReportOutput {
  readonly name: string;
  readonly content: Digest;
  readonly sealed: Digest;
  /** Size of the plaintext. */
  readonly sizeBytes: number;
}

/** How a run ended: `code` 0 is success; `reason` is `done` or the stable code of what stopped it. */
export interface ReportExit {
  readonly code: number;
  readonly reason: string;
}

/** What was wiped after the run, and when. */
export interface ReportWipe {
  /** Names of what was overwritten: `keys`, `inputs`, `outputs`, `sandbox`. */
  readonly wiped: readonly string[];
  readonly wipedAtMs: number;
}

/** What ran, on what, with which outcome. spec/order-report.md §3 */
export interface OrderReport {
  readonly version: 1;
  readonly integrity: IntegrityReport;
  readonly evidence: readonly [ReportEvidence, ...ReportEvidence[]];
  readonly outputs: readonly ReportOutput[];
  readonly exit: ReportExit;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly wipe: ReportWipe;
}

/** An order report as it was signed, opened and checked for form; who signed it is for the caller to judge. */
export interface SignedOrderReport {
  readonly report: OrderReport;
  /** SHA-256 of the node's identity key. */
  readonly kid: Uint8Array;
  /** The COSE_Sign1 itself. */
  readonly bytes: Uint8Array;
  /** SHA-256 of `bytes`: what the chain anchors and the log holds. */
  readonly digest: Digest;
}
