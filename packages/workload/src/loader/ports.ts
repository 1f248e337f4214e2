import type { ReportEvidence } from "@cloister/certification";
import type {
  Address,
  Clock,
  Digest,
  Entropy,
  Hex32,
  Log,
  NodeId,
  ObjectStore,
  OfferId,
  OrderId,
  RecordStore,
  Verdict,
} from "@cloister/core";
import type { Sandbox } from "../sandbox.ts";

/** The contract on which an order lives. */
export interface Market {
  readonly chainId: number;
  readonly contract: Address;
}

/** The leader's decision that one node runs one order, as the node received it. */
export interface SignedAssignment {
  readonly orderId: OrderId;
  readonly node: NodeId;
  readonly term: number;
  readonly epoch: number;
  /** 65 bytes, over the market's EIP-712 `Assignment`. */
  readonly signature: Uint8Array;
}

export type OfferKind = "engine" | "data" | "model" | "compute" | "storage";

/** An offer as published, with what the chain counted since. */
export interface OfferOnChain {
  readonly owner: Address;
  readonly kind: OfferKind;
  readonly contentDigest: Digest;
  readonly sealedDigest: Digest;
  readonly headerDigest: Digest;
  /** Undefined when the offer names none. */
  readonly consentDigest: Digest | undefined;
  /** Orders opened on the offer before this one. */
  readonly runsBefore: number;
  readonly revokedAtMs: number | undefined;
}

/** An order as the chain has it now. */
export interface OrderOnChain {
  readonly isOpen: boolean;
  readonly client: Address;
  readonly salt: Hex32;
  readonly openedAtMs: number;
  readonly deadlineMs: number;
  readonly argsDigest: Digest;
  readonly recipientDigest: Digest;
  /** In the order's sequence, the engine first; an offer the chain does not know has no `offer`. */
  readonly offers: readonly { readonly id: OfferId; readonly offer: OfferOnChain | undefined }[];
}

/** What the chain says of a node. */
export interface NodeOnChain {
  readonly isActive: boolean;
  readonly measurement: Digest;
  readonly isMeasurementApproved: boolean;
}

/** What the loader reads from the chain. An answer is as fresh as a finalized block allows. */
export interface LoaderChain {
  readonly market: Market;
  order(id: OrderId): Promise<OrderOnChain | undefined>;
  node(id: NodeId): Promise<NodeOnChain | undefined>;
  /** The term that counts now; `leader` is undefined while the term is void. */
  term(): Promise<{ readonly term: number; readonly leader: Address | undefined }>;
  /** Who signed an assignment; undefined when the signature is malformed. */
  assignmentSigner(assignment: SignedAssignment): Address | undefined;
}

/** One object that the key-release group is asked to open for an order. */
export interface KeyRequest {
  readonly orderId: OrderId;
  readonly offerId: OfferId;
  readonly assignment: SignedAssignment;
  /** The object's age header with its MAC line. */
  readonly headerBytes: Uint8Array;
  readonly consentBytes: Uint8Array;
  readonly argsBytes: Uint8Array;
}

/** The key-release group as a loader sees it. */
export interface KeyRelease {
  /**
   * The object's file key, or the reasons of the members that refused it.
   * @throws {CloisterError} when too few members can be reached: the order can be tried again.
   */
  release(request: KeyRequest): Promise<Verdict<Uint8Array>>;
}

/** Fresh evidence of this CVM, with what is needed to verify it later. */
export interface FreshEvidence {
  readonly summary: ReportEvidence;
  /** As proof files carry them. */
  readonly evidence: Uint8Array;
  readonly endorsements: Uint8Array;
}

/** Asks the TEE for evidence, and judges it as anybody else would before it is relied upon. */
export interface Attester {
  attest(reportData: Uint8Array): Promise<FreshEvidence>;
}

/** The transparency log. */
export interface StatementLog {
  /** Appends a signed statement once, however often it is called; the answer is its receipt. */
  append(statement: Uint8Array): Promise<Uint8Array>;
}

/** This CVM, as its certificate and its keys describe it. */
export interface LoaderIdentity {
  readonly node: NodeId;
  /** Ed25519. */
  readonly identity: Uint8Array;
  readonly sign: (message: Uint8Array) => Uint8Array;
  readonly tee: string;
  readonly measurement: Digest;
  readonly certificate: { readonly notBeforeMs: number; readonly notAfterMs: number };
}

/** What this node lets any order use at most. */
export interface NodeLimits {
  readonly runMs: number;
  readonly memoryBytes: number;
  readonly outputBytes: number;
  readonly outputFiles: number;
  /** All sealed inputs together: they are opened in memory. */
  readonly inputBytes: number;
  /** Kept free before an order's deadline, for sealing, signing and settling. */
  readonly settleMs: number;
}

/** Everything outside that the loader speaks to. */
export interface LoaderPorts {
  readonly self: LoaderIdentity;
  readonly limits: NodeLimits;
  readonly chain: LoaderChain;
  readonly store: ObjectStore;
  readonly release: KeyRelease;
  readonly sandbox: Sandbox;
  readonly attester: Attester;
  readonly statements: StatementLog;
  readonly records: RecordStore;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log: Log;
}
