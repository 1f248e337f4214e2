import type { Address, Digest, Hex32, NodeId, OfferId, OrderId } from "@cloister/core";

/** One deployment of the contracts: what every signature and every id is bound to. */
export interface Deployment {
  readonly chainId: number;
  readonly registry: Address;
  readonly market: Address;
  readonly log: Address;
  /** The block from which on the contracts can have spoken. */
  readonly fromBlock: number;
}

/** The native coin, where a token is asked for. */
export const NATIVE_TOKEN = "0x0000000000000000000000000000000000000000" as Address;

/** No digest, no id: what contracts hold where there is none. */
export const ZERO_HEX32 = `0x${"00".repeat(32)}` as Hex32;

/** Kinds of offers, in the contract's numbering. */
export const OFFER_KINDS = ["engine", "data", "model", "compute", "storage"] as const;
export type OfferKind = (typeof OFFER_KINDS)[number];

/** How an order ended by its report, in the contract's numbering. */
export const OUTCOMES = ["succeeded", "failed", "cancelled"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** What a registered node may do, bit by bit. */
export const NODE_ROLES = { voter: 1, runner: 2, keyRelease: 4 } as const;

/** What builders decide, in the contract's numbering. */
export const DECISIONS = {
  approveMeasurement: 1,
  revokeMeasurement: 2,
  approveAuthority: 3,
  revokeAuthority: 4,
  addBuilder: 5,
  removeBuilder: 6,
  setThreshold: 7,
  setRevokeThreshold: 8,
  setNodeStake: 9,
  setForfeit: 10,
  setDelay: 11,
  setReward: 12,
} as const;
export type DecisionKind = keyof typeof DECISIONS;

/** What an offer is about. IMarket.OfferContent */
export interface OfferContent {
  readonly contentDigest: Digest;
  readonly sealedDigest: Digest;
  readonly headerDigest: Digest;
  /** Of the canonical consent document; absent when the offer names none. */
  readonly consentDigest?: Digest | undefined;
  /** Of a document with name, version, slots and options; absent when there is none. */
  readonly detailsDigest?: Digest | undefined;
  readonly salt: Hex32;
}

/** On what terms an offer may be used. Amounts are in the token's smallest unit. IMarket.OfferTerms */
export interface OfferTerms {
  readonly token: Address;
  readonly fixedWei: bigint;
  readonly perSecondWei: bigint;
  readonly bookingWei: bigint;
  readonly poolMinWei: bigint;
  readonly shareBps: number;
  readonly secondsMin: number;
  readonly secondsMax: number;
  readonly runsMax: number;
  /** Seconds since 1970; 0 is no limit. */
  readonly validUntilSeconds: number;
  /** Merkle root of the accounts that may open orders (`accountsRoot`); zero: anybody. */
  readonly accountsRoot: Hex32;
}

/** An offer as its owner signs it. IMarket.Offer */
export interface Offer {
  readonly owner: Address;
  readonly kind: OfferKind;
  readonly terms: OfferTerms;
  readonly content: OfferContent;
}

/** An offer as an order uses it: published before, or with its owner's signature. IMarket.OfferUse */
export interface OfferUse {
  readonly offer: Offer;
  readonly signature?: Uint8Array | undefined;
  readonly accountProof?: readonly Hex32[] | undefined;
}

/** An order as it is identified. IMarket.Order */
export interface Order {
  readonly client: Address;
  readonly token: Address;
  readonly depositWei: bigint;
  readonly poolWei: bigint;
  readonly computeFixedWei: bigint;
  readonly computePerSecondWei: bigint;
  readonly secondsMax: number;
  /** Seconds since 1970. */
  readonly deadlineSeconds: number;
  /** The engine first. */
  readonly offers: readonly OfferId[];
  readonly argsDigest: Digest;
  readonly recipientDigest: Digest;
  /** `goalHash` of the goal's id; zero: any group that computes. */
  readonly goal: Hex32;
  /** 64 bits. */
  readonly salt: bigint;
  /** Compute slots, each another node's and at the price for compute; absent: one. */
  readonly slots?: number | undefined;
}

/** The leader's decision that one node runs one order. IMarket.Assignment */
export interface Assignment {
  readonly orderId: OrderId;
  readonly node: NodeId;
  readonly term: number;
  readonly epoch: number;
}

/** What a node says about an order. IMarket.Report */
export interface Report {
  readonly orderId: OrderId;
  readonly reportDigest: Digest;
  /** Absent when there is no output. */
  readonly outputDigest?: Digest | undefined;
  readonly outcome: Outcome;
  readonly exitCode: number;
  readonly secondsUsed: number;
}

/** How long a running order was attested so far. */
export interface Heartbeat {
  readonly orderId: OrderId;
  readonly secondsUsed: number;
}

/** A node began with an order: its seconds count from when this reaches the chain. */
export interface Start {
  readonly orderId: OrderId;
}

/** The leader's decision on an order with several compute slots. */
export interface SlotsAssignment {
  readonly orderId: OrderId;
  /** The first reports for all; the others ascend. */
  readonly nodes: readonly [NodeId, ...NodeId[]];
  readonly term: number;
  readonly epoch: number;
}

/** What the first node of an order with several slots says of all, further slots in the assignment's sequence. */
export interface SlotsReport {
  readonly report: Report;
  readonly slotSeconds: readonly number[];
}

/** How long the slots of a running order were attested so far. */
export interface SlotsHeartbeat {
  readonly orderId: OrderId;
  readonly secondsUsed: number;
  readonly slotSeconds: readonly number[];
}

/** An owner ends an offer from a time on; 0 is when it reaches the chain. */
export interface OfferRevocation {
  readonly offerId: OfferId;
  readonly fromSeconds: number;
}

/** An owner puts another offer in an offer's place from a time on; 0 is when it reaches the chain. */
export interface OfferChange {
  readonly offerId: OfferId;
  readonly nextId: OfferId;
  readonly fromSeconds: number;
}

/** The leader's decision that one node runs many orders, for settling them at once. */
export interface AssignmentBatch {
  readonly orderIds: readonly OrderId[];
  readonly node: NodeId;
  readonly term: number;
  readonly epoch: number;
}

/** What a node says about many orders. */
export interface ReportBatch {
  readonly reports: readonly Report[];
}

/** What a certification authority says about a node. IRegistry.NodeCertificate */
export interface NodeCertificate {
  readonly node: NodeId;
  readonly operator: Address;
  readonly keysDigest: Digest;
  readonly certificateDigest: Digest;
  readonly measurement: Digest;
  /** Sum of `NODE_ROLES`. */
  readonly roles: number;
  readonly issuedAtSeconds: number;
  readonly notAfterSeconds: number;
}

/** A voter gives a term to a candidate. IRegistry.Vote */
export interface Vote {
  readonly term: number;
  readonly candidate: NodeId;
}

/** A group as the leader of a term formed it. IRegistry.Group */
export interface Group {
  readonly goalId: string;
  readonly epoch: number;
  readonly term: number;
  readonly members: readonly NodeId[];
}

/** What builders decide. IRegistry.Decision */
export interface Decision {
  readonly kind: DecisionKind;
  /** A measurement's digest as hex, or an address or a number padded to 32 bytes. */
  readonly subject: Hex32;
  readonly value: bigint;
  readonly round: number;
}

/** What a majority of the voters says each node earned in an epoch. IRegistry.payRewards */
export interface EpochRewards {
  readonly epoch: number;
  /** Ascending. */
  readonly nodes: readonly NodeId[];
  readonly weights: readonly number[];
}

/** A payment channel from a consumer to a service. IMarket.Channel */
export interface Channel {
  readonly consumer: Address;
  readonly token: Address;
  /** `serviceSplit` of the service's order. */
  readonly payee: Address;
  /** Seconds since 1970. */
  readonly expirySeconds: number;
  /** 64 bits. */
  readonly salt: bigint;
}

/** All that a consumer owes on a channel so far. */
export interface Voucher {
  readonly channelId: Hex32;
  readonly cumulativeWei: bigint;
}

/** A node's key is taken out of the registry. */
export interface NodeRevocation {
  readonly node: NodeId;
}

/** A root of the transparency log. ITransparencyLog.Checkpoint */
export interface Checkpoint {
  readonly size: number;
  readonly root: Digest;
}
