import {
  fromHex,
  digestToHex,
  type Address,
  type Digest,
  type Hex32,
  type OfferId,
  type OrderId,
} from "@cloister/core";
import type { TypedDataDomain } from "viem";
import { hashStruct, hashTypedData } from "viem/utils";
import { recoverSigner, signDigest } from "./secp256k1.ts";
import {
  DECISIONS,
  OFFER_KINDS,
  OUTCOMES,
  ZERO_HEX32,
  type Assignment,
  type AssignmentBatch,
  type Channel,
  type Checkpoint,
  type Decision,
  type Deployment,
  type EpochRewards,
  type Group,
  type Heartbeat,
  type NodeCertificate,
  type NodeRevocation,
  type Offer,
  type OfferChange,
  type OfferContent,
  type OfferRevocation,
  type OfferTerms,
  type Order,
  type Report,
  type ReportBatch,
  type SlotsAssignment,
  type SlotsHeartbeat,
  type SlotsReport,
  type Start,
  type Vote,
  type Voucher,
} from "./types.ts";

/** The fields of every signed struct, in the order that its type hash covers. spec/market.md §2 */
export const STATEMENT_TYPES = {
  OfferContent: fields(
    "bytes32 contentDigest,bytes32 sealedDigest,bytes32 headerDigest,bytes32 consentDigest,bytes32 detailsDigest,bytes32 salt",
  ),
  OfferTerms: fields(
    "address token,uint96 fixedWei,uint96 perSecondWei,uint96 bookingWei,uint96 poolMinWei,uint16 shareBps,uint32 secondsMin,uint32 secondsMax,uint32 runsMax,uint64 validUntil,bytes32 accountsRoot",
  ),
  Offer: fields("address owner,uint8 kind,OfferTerms terms,OfferContent content"),
  Order: fields(
    "address client,address token,uint96 depositWei,uint96 poolWei,uint96 computeFixedWei,uint96 computePerSecondWei,uint32 secondsMax,uint40 deadline,bytes32[] offers,bytes32 argsDigest,bytes32 recipientDigest,bytes32 goal,uint64 salt,uint8 slots",
  ),
  Assignment: fields("bytes32 orderId,address node,uint64 term,uint64 epoch"),
  Report: fields(
    "bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed",
  ),
  Heartbeat: fields("bytes32 orderId,uint32 secondsUsed"),
  Start: fields("bytes32 orderId"),
  SlotsAssignment: fields("bytes32 orderId,address[] nodes,uint64 term,uint64 epoch"),
  SlotsReport: fields("Report report,uint32[] slotSeconds"),
  SlotsHeartbeat: fields("bytes32 orderId,uint32 secondsUsed,uint32[] slotSeconds"),
  OfferRevocation: fields("bytes32 offerId,uint64 fromTime"),
  OfferChange: fields("bytes32 offerId,bytes32 nextId,uint64 fromTime"),
  AssignmentBatch: fields("bytes32[] orderIds,address node,uint64 term,uint64 epoch"),
  ReportBatch: fields("Report[] reports"),
  Channel: fields("address consumer,address token,address payee,uint40 expiry,uint64 salt"),
  Voucher: fields("bytes32 channelId,uint96 cumulativeWei"),
  EpochRewards: fields("uint64 epoch,address[] nodes,uint32[] weights"),
  NodeCertificate: fields(
    "address node,address operator,bytes32 keysDigest,bytes32 certificateDigest,bytes32 measurement,uint8 roles,uint64 issuedAt,uint64 notAfter",
  ),
  NodeRevocation: fields("address node"),
  Vote: fields("uint64 term,address candidate"),
  Group: fields("string goalId,uint64 epoch,uint64 term,address[] members"),
  Decision: fields("uint8 kind,bytes32 subject,uint256 value,uint64 round"),
  Checkpoint: fields("uint64 size,bytes32 root"),
} as const;

/** Every statement that somebody signs, by the name of its EIP-712 struct. */
export interface Statements {
  readonly Offer: Offer;
  readonly Order: Order;
  readonly Assignment: Assignment;
  readonly Report: Report;
  readonly Heartbeat: Heartbeat;
  readonly Start: Start;
  readonly SlotsAssignment: SlotsAssignment;
  readonly SlotsReport: SlotsReport;
  readonly SlotsHeartbeat: SlotsHeartbeat;
  readonly OfferRevocation: OfferRevocation;
  readonly OfferChange: OfferChange;
  readonly AssignmentBatch: AssignmentBatch;
  readonly ReportBatch: ReportBatch;
  readonly Channel: Channel;
  readonly Voucher: Voucher;
  readonly EpochRewards: EpochRewards;
  readonly NodeCertificate: NodeCertificate;
  readonly NodeRevocation: NodeRevocation;
  readonly Vote: Vote;
  readonly Group: Group;
  readonly Decision: Decision;
  readonly Checkpoint: Checkpoint;
}
export type StatementName = keyof Statements;

type Encoded = Readonly<Record<string, unknown>>;

/** Which contract's domain a statement is signed under. */
const DOMAIN_OF: { readonly [K in StatementName]: "market" | "registry" | "log" } = {
  Offer: "market",
  Order: "market",
  Assignment: "market",
  Report: "market",
  Heartbeat: "market",
  Start: "market",
  SlotsAssignment: "market",
  SlotsReport: "market",
  SlotsHeartbeat: "market",
  OfferRevocation: "market",
  OfferChange: "market",
  AssignmentBatch: "market",
  ReportBatch: "market",
  Channel: "market",
  Voucher: "market",
  EpochRewards: "registry",
  NodeCertificate: "registry",
  NodeRevocation: "registry",
  Vote: "registry",
  Group: "registry",
  Decision: "registry",
  Checkpoint: "log",
};

const DOMAIN_NAMES = {
  market: "Cloister Market",
  registry: "Cloister Registry",
  log: "Cloister Log",
} as const;

const ENCODERS: { readonly [K in StatementName]: (statement: Statements[K]) => Encoded } = {
  Offer: encodeOffer,
  Order: encodeOrder,
  Assignment: (a) => ({ ...a, term: BigInt(a.term), epoch: BigInt(a.epoch) }),
  Report: encodeReport,
  Heartbeat: (heartbeat) => ({ ...heartbeat }),
  Start: (start) => ({ ...start }),
  SlotsAssignment: (slots) => ({ ...slots, term: BigInt(slots.term), epoch: BigInt(slots.epoch) }),
  SlotsReport: (slots) => ({ ...slots, report: encodeReport(slots.report) }),
  SlotsHeartbeat: (heartbeat) => ({ ...heartbeat }),
  OfferRevocation: ({ fromSeconds, ...rest }) => ({ ...rest, fromTime: BigInt(fromSeconds) }),
  OfferChange: ({ fromSeconds, ...rest }) => ({ ...rest, fromTime: BigInt(fromSeconds) }),
  AssignmentBatch: (batch) => ({ ...batch, term: BigInt(batch.term), epoch: BigInt(batch.epoch) }),
  ReportBatch: (batch) => ({ reports: batch.reports.map(encodeReport) }),
  Channel: encodeChannel,
  Voucher: (voucher) => ({ ...voucher }),
  EpochRewards: (rewards) => ({ ...rewards, epoch: BigInt(rewards.epoch) }),
  NodeCertificate: encodeNodeCertificate,
  NodeRevocation: (revocation) => ({ ...revocation }),
  Vote: (vote) => ({ term: BigInt(vote.term), candidate: vote.candidate }),
  Group: encodeGroup,
  Decision: encodeDecision,
  Checkpoint: encodeCheckpoint,
};

/** The EIP-712 domain of a contract. */
export function domainOf(deployment: Deployment, contract: "market" | "registry" | "log"): TypedDataDomain {
  return {
    name: DOMAIN_NAMES[contract],
    version: "1",
    chainId: deployment.chainId,
    verifyingContract: deployment[contract],
  };
}

/** What a wallet is asked to sign (`eth_signTypedData_v4`), in the shape of viem's `signTypedData`. */
export function typedDataOf<K extends StatementName>(
  deployment: Deployment,
  name: K,
  statement: Statements[K],
) {
  return {
    domain: domainOf(deployment, DOMAIN_OF[name]),
    types: STATEMENT_TYPES,
    primaryType: name,
    message: ENCODERS[name](statement),
  } as const;
}

/** The EIP-712 digest of a statement: what is signed, and for offers and orders also the id. */
export function hashStatement<K extends StatementName>(
  deployment: Deployment,
  name: K,
  statement: Statements[K],
): Hex32 {
  return hashTypedData(
    typedDataOf(deployment, name, statement) as Parameters<typeof hashTypedData>[0],
  ) as Hex32;
}

/** Signs a statement with a secp256k1 secret (32 bytes). */
export function signStatement<K extends StatementName>(
  deployment: Deployment,
  name: K,
  statement: Statements[K],
  secret: Uint8Array,
): Uint8Array {
  return signDigest(fromHex(hashStatement(deployment, name, statement)), secret);
}

/** Who signed a statement; undefined when the signature is malformed. Contract wallets have no such signer. */
export function recoverStatement<K extends StatementName>(
  deployment: Deployment,
  name: K,
  statement: Statements[K],
  signature: Uint8Array,
): Address | undefined {
  return recoverSigner(fromHex(hashStatement(deployment, name, statement)), signature);
}

/** The id of an offer. */
export function offerId(deployment: Deployment, offer: Offer): OfferId {
  return hashStatement(deployment, "Offer", offer);
}

/** The id of an order. */
export function orderId(deployment: Deployment, order: Order): OrderId {
  return hashStatement(deployment, "Order", order);
}

/** The struct hash of an offer's content: what `open` takes in its place. */
export function contentHash(content: OfferContent): Hex32 {
  return hashStruct({
    types: STATEMENT_TYPES,
    primaryType: "OfferContent",
    data: encodeContent(content),
  }) as Hex32;
}

/** An offer as the ABI and EIP-712 take it. */
export function encodeOffer(offer: Offer) {
  return {
    owner: offer.owner,
    kind: OFFER_KINDS.indexOf(offer.kind),
    terms: encodeTerms(offer.terms),
    content: encodeContent(offer.content),
  };
}

/** An order as the ABI and EIP-712 take it. */
export function encodeOrder(order: Order) {
  const { deadlineSeconds, argsDigest, recipientDigest, slots = 1, ...rest } = order;
  return {
    ...rest,
    slots,
    deadline: deadlineSeconds,
    argsDigest: digestToHex(argsDigest),
    recipientDigest: digestToHex(recipientDigest),
  };
}

export function encodeTerms(terms: OfferTerms) {
  const { validUntilSeconds, ...rest } = terms;
  return { ...rest, validUntil: BigInt(validUntilSeconds) };
}

export function encodeContent(content: OfferContent) {
  return {
    contentDigest: digestToHex(content.contentDigest),
    sealedDigest: digestToHex(content.sealedDigest),
    headerDigest: digestToHex(content.headerDigest),
    consentDigest: hexOrZero(content.consentDigest),
    detailsDigest: hexOrZero(content.detailsDigest),
    salt: content.salt,
  };
}

export function encodeReport(report: Report) {
  return {
    orderId: report.orderId,
    reportDigest: digestToHex(report.reportDigest),
    outputDigest: hexOrZero(report.outputDigest),
    outcome: OUTCOMES.indexOf(report.outcome),
    exitCode: report.exitCode,
    secondsUsed: report.secondsUsed,
  };
}

export function encodeNodeCertificate(certificate: NodeCertificate) {
  const { issuedAtSeconds, notAfterSeconds, ...rest } = certificate;
  return {
    node: rest.node,
    operator: rest.operator,
    keysDigest: digestToHex(rest.keysDigest),
    certificateDigest: digestToHex(rest.certificateDigest),
    measurement: digestToHex(rest.measurement),
    roles: rest.roles,
    issuedAt: BigInt(issuedAtSeconds),
    notAfter: BigInt(notAfterSeconds),
  };
}

export function encodeGroup(group: Group) {
  return { ...group, epoch: BigInt(group.epoch), term: BigInt(group.term) };
}

export function encodeDecision(decision: Decision) {
  return { ...decision, kind: DECISIONS[decision.kind], round: BigInt(decision.round) };
}

export function encodeChannel(channel: Channel) {
  const { expirySeconds, ...rest } = channel;
  return { ...rest, expiry: expirySeconds };
}

export function encodeCheckpoint(checkpoint: Checkpoint) {
  return { size: BigInt(checkpoint.size), root: digestToHex(checkpoint.root) };
}

function hexOrZero(digest: Digest | undefined): `0x${string}` {
  return digest === undefined ? ZERO_HEX32 : digestToHex(digest);
}

function fields(declaration: string): readonly { readonly name: string; readonly type: string }[] {
  return declaration.split(",").map((field) => {
    const [type, name] = field.split(" ") as [string, string];
    return { name, type };
  });
}
