import {
  digestToHex,
  toHex,
  type Address,
  type Digest,
  type Hex32,
  type NodeId,
  type OfferId,
  type OrderId,
} from "@cloister/core";
import { encodeAbiParameters, encodeFunctionData } from "viem/utils";
import { packOffer, packOrder, unpackHead, type Escrow } from "./escrow.ts";
import { marketAbi } from "./generated/market.ts";
import { registryAbi } from "./generated/registry.ts";
import { transparencyLogAbi } from "./generated/transparency-log.ts";
import { goalHash } from "./anchor.ts";
import {
  bytes,
  call,
  compact,
  hasEnded,
  never,
  packAssignment,
  packReport,
  packSlots,
  type Call,
  type Hex,
} from "./call.ts";
import type { MarketState } from "./state.ts";
import {
  encodeChannel,
  encodeCheckpoint,
  encodeDecision,
  encodeGroup,
  encodeNodeCertificate,
  encodeOffer,
  hashStatement,
  offerId,
  orderId,
} from "./statements.ts";
import { encodePermit, type Permit } from "./permit.ts";
import {
  NATIVE_TOKEN,
  type Assignment,
  type Channel,
  type Checkpoint,
  type Decision,
  type Deployment,
  type EpochRewards,
  type Group,
  type Heartbeat,
  type NodeCertificate,
  type Offer,
  type OfferUse,
  type Order,
  type Report,
  type SlotsAssignment,
  type SlotsHeartbeat,
  type SlotsReport,
  type Voucher,
} from "./types.ts";

const PROOF_PARAMETERS = [{ type: "bytes" }, { type: "bytes32[]" }] as const;

/** Publishes an offer; with the owner's signature anybody may send it. */
export function publishOffer(deployment: Deployment, offer: Offer, signature?: Uint8Array): Call {
  const id = offerId(deployment, offer);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "publishOffer",
    args: [encodeOffer(offer), bytes(signature)],
  });
  return call(deployment.market, "publishOffer", data, (state) => state.offers.get(id)?.offer !== undefined);
}

/**
 * Opens an order. `funding` says where the deposit comes from: the native coin sent along, or the
 * client's balance at the market, else, for a token, its allowance. The client sends it.
 */
export function openOrder(
  deployment: Deployment,
  order: Order,
  offers: readonly OfferUse[],
  funding: "value" | "balance" = order.token === NATIVE_TOKEN ? "value" : "balance",
): Call {
  const id = orderId(deployment, order);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "open",
    args: openingOf(order, offers),
  });
  const valueWei = funding === "value" ? order.depositWei : 0n;
  return call(deployment.market, "open", data, (state) => state.orders.has(id), valueWei);
}

/**
 * Opens an order in its client's name: whoever has the client's signature over it may send this. The deposit
 * comes from the client's balance at the market or, by its allowance or `permit`, from its account.
 */
export function openOrderFor(
  deployment: Deployment,
  order: Order,
  offers: readonly OfferUse[],
  clientSignature: Uint8Array,
  permit?: Permit,
): Call {
  const id = orderId(deployment, order);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "openFor",
    args: [...openingOf(order, offers), bytes(clientSignature), encodePermit(permit)],
  });
  return call(deployment.market, "openFor", data, (state) => state.orders.has(id));
}

/** Settles an order by its node's report. */
export function settleOrder(
  deployment: Deployment,
  escrow: Escrow,
  assignment: Assignment,
  leaderSignature: Uint8Array,
  report: Report,
  nodeSignature: Uint8Array,
): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "settle",
    args: [
      assignment.orderId,
      escrow.head,
      escrow.payees,
      packAssignment(assignment),
      compact(leaderSignature),
      packReport(report),
      compact(nodeSignature),
    ],
  });
  return call(deployment.market, "settle", data, (state) => hasEnded(state, report.orderId));
}

/** Settles an order with several compute slots by its first node's report. */
export function settleSlots(
  deployment: Deployment,
  escrow: Escrow,
  assignment: SlotsAssignment,
  leaderSignature: Uint8Array,
  slots: SlotsReport,
  nodeSignature: Uint8Array,
): Call {
  const [first, more] = splitSlots(assignment, slots.slotSeconds);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "settleSlots",
    args: [
      assignment.orderId,
      escrow.head,
      escrow.payees,
      packAssignment(first),
      more,
      compact(leaderSignature),
      packReport(slots.report),
      compact(nodeSignature),
    ],
  });
  return call(deployment.market, "settleSlots", data, (state) => hasEnded(state, assignment.orderId));
}

/** Says that the assigned node, or the first one of several slots, began with an order. */
export function startOrder(
  deployment: Deployment,
  escrow: Escrow,
  assignment: Assignment | SlotsAssignment,
  leaderSignature: Uint8Array,
  nodeSignature: Uint8Array,
): Call {
  const id = assignment.orderId;
  const [first, more] = "nodes" in assignment ? splitSlots(assignment, []) : [assignment, []];
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "start",
    args: [
      id,
      escrow.head,
      escrow.payees,
      packAssignment(first),
      more,
      compact(leaderSignature),
      compact(nodeSignature),
    ],
  });
  return call(deployment.market, "start", data, (state) => {
    const order = state.orders.get(id);
    return hasEnded(state, id) || (order !== undefined && unpackHead(order.escrow.head).started);
  });
}

/** Pays for the attested seconds of an order that goes on. */
export function claimOrder(
  deployment: Deployment,
  escrow: Escrow,
  assignment: Assignment,
  leaderSignature: Uint8Array,
  heartbeat: Heartbeat,
  nodeSignature: Uint8Array,
): Call {
  return claimCall(deployment, escrow, assignment, [], leaderSignature, heartbeat, nodeSignature);
}

/** Pays for the attested seconds of all slots of an order that goes on. */
export function claimSlots(
  deployment: Deployment,
  escrow: Escrow,
  assignment: SlotsAssignment,
  leaderSignature: Uint8Array,
  heartbeat: SlotsHeartbeat,
  nodeSignature: Uint8Array,
): Call {
  const [first, more] = splitSlots(assignment, heartbeat.slotSeconds);
  return claimCall(deployment, escrow, first, more, leaderSignature, heartbeat, nodeSignature);
}

function claimCall(
  deployment: Deployment,
  escrow: Escrow,
  assignment: Assignment,
  more: readonly bigint[],
  leaderSignature: Uint8Array,
  heartbeat: Heartbeat,
  nodeSignature: Uint8Array,
): Call {
  const id = assignment.orderId;
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "claim",
    args: [
      id,
      escrow.head,
      escrow.payees,
      packAssignment(assignment),
      more,
      compact(leaderSignature),
      heartbeat.secondsUsed,
      compact(nodeSignature),
    ],
  });
  return call(deployment.market, "claim", data, (state) => {
    const order = state.orders.get(id);
    const paid = order === undefined ? 0 : unpackHead(order.escrow.head).secondsPaid;
    return hasEnded(state, id) || paid >= heartbeat.secondsUsed;
  });
}

/** One order of a batch. */
export interface BatchItem {
  readonly escrow: Escrow;
  readonly report: Report;
}

/** Settles many orders of one node at once; the signatures are over AssignmentBatch and ReportBatch. */
export function settleBatch(
  deployment: Deployment,
  items: readonly BatchItem[],
  assignment: Omit<Assignment, "orderId">,
  leaderSignature: Uint8Array,
  nodeSignature: Uint8Array,
): Call {
  const settlements = items.map(({ escrow, report }) => ({
    orderId: report.orderId,
    head: escrow.head,
    payees: escrow.payees,
    report: packReport(report),
  }));
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "settleBatch",
    args: [settlements, packAssignment(assignment), compact(leaderSignature), compact(nodeSignature)],
  });
  return call(deployment.market, "settleBatch", data, (state) =>
    items.every(({ report }) => hasEnded(state, report.orderId)),
  );
}

/** Tops an order up. The client sends it. */
export function extendOrder(
  deployment: Deployment,
  id: OrderId,
  escrow: Escrow,
  more: { readonly addWei: bigint; readonly addSeconds: number; readonly deadlineSeconds: number },
): Call {
  const { token } = unpackHead(escrow.head);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "extend",
    args: [id, escrow.head, escrow.payees, more.addWei, more.addSeconds, more.deadlineSeconds],
  });
  const done = (state: MarketState): boolean => {
    const order = state.orders.get(id);
    return order !== undefined && (order.status !== "open" || order.escrow.head[0] !== escrow.head[0]);
  };
  return call(deployment.market, "extend", data, done, token === NATIVE_TOKEN ? more.addWei : 0n);
}

/** Refunds an order whose deadline passed without a report. */
export function refundOrder(deployment: Deployment, id: OrderId, escrow: Escrow): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "refund",
    args: [id, escrow.head, escrow.payees],
  });
  return call(deployment.market, "refund", data, (state) => hasEnded(state, id));
}

/** Ends an order early: the node then has ten minutes to report the seconds it worked. The client sends it. */
export function cancelOrder(deployment: Deployment, id: OrderId, escrow: Escrow): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "cancel",
    args: [id, escrow.head, escrow.payees],
  });
  return call(deployment.market, "cancel", data, (state) => {
    const order = state.orders.get(id);
    return order !== undefined && (order.status !== "open" || order.escrow.head[3] !== escrow.head[3]);
  });
}

/** Pays out of the sender's balance at the market. Not repeatable: each send withdraws once more. */
export function withdraw(deployment: Deployment, token: Address, to: Address, amountWei: bigint): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "withdraw",
    args: [token, to, amountWei],
  });
  return call(deployment.market, "withdraw", data, never);
}

/** Adds to a balance at the market. Not repeatable: each send deposits once more. */
export function deposit(deployment: Deployment, token: Address, account: Address, amountWei: bigint): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "deposit",
    args: [token, account, amountWei],
  });
  return call(deployment.market, "deposit", data, never, token === NATIVE_TOKEN ? amountWei : 0n);
}

/** Adds tokens of the sender to a balance at the market by a permit. Not repeatable, as `deposit`. */
export function depositWithPermit(
  deployment: Deployment,
  token: Address,
  account: Address,
  permit: Permit,
): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "depositWithPermit",
    args: [token, account, permit.valueWei, encodePermit(permit)],
  });
  return call(deployment.market, "depositWithPermit", data, never);
}

/** Credits a split's balance to its accounts. */
export function distribute(
  deployment: Deployment,
  token: Address,
  accounts: readonly Address[],
  sharesBps: readonly number[],
): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "distribute",
    args: [token, accounts, sharesBps],
  });
  return call(deployment.market, "distribute", data, never);
}

/** Registers a node, or renews its certificate. Its operator sends it, with stake. */
export function registerNode(
  deployment: Deployment,
  certificate: NodeCertificate,
  authoritySignature: Uint8Array,
  endpoint: string,
  stakeWei: bigint,
): Call {
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "registerNode",
    args: [encodeNodeCertificate(certificate), bytes(authoritySignature), endpoint],
  });
  const done = (state: MarketState): boolean =>
    (state.nodes.get(certificate.node)?.certificate.issuedAtSeconds ?? 0) >= certificate.issuedAtSeconds;
  return call(deployment.registry, "registerNode", data, done, stakeWei);
}

/** Changes where peers find a node. Its operator sends it. */
export function setEndpoint(deployment: Deployment, node: NodeId, endpoint: string): Call {
  const data = encodeFunctionData({ abi: registryAbi, functionName: "setEndpoint", args: [node, endpoint] });
  return call(
    deployment.registry,
    "setEndpoint",
    data,
    (state) => state.nodes.get(node)?.endpoint === endpoint,
  );
}

/** Revokes a node; one authority's or enough builders' signatures over NodeRevocation, ascending by signer. */
export function revokeNode(deployment: Deployment, node: NodeId, signatures: readonly Uint8Array[]): Call {
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "revokeNode",
    args: [node, signatures.map(bytes)],
  });
  return call(deployment.registry, "revokeNode", data, (state) => state.nodes.get(node)?.status === "barred");
}

/** Takes an expired node, or one with a revoked measurement, out of the voters. */
export function pruneNode(deployment: Deployment, node: NodeId): Call {
  const data = encodeFunctionData({ abi: registryAbi, functionName: "prune", args: [node] });
  return call(deployment.registry, "prune", data, (state) => state.nodes.get(node)?.status !== "active");
}

/** Takes a node out. Its operator sends it. */
export function exitNode(deployment: Deployment, node: NodeId): Call {
  const data = encodeFunctionData({ abi: registryAbi, functionName: "exit", args: [node] });
  return call(deployment.registry, "exit", data, (state) => state.nodes.get(node)?.status === "leaving");
}

/** Starts a term: the votes' signatures, ascending by voter, are its certificate. */
export function startTerm(
  deployment: Deployment,
  term: number,
  leader: NodeId,
  signatures: readonly Uint8Array[],
): Call {
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "startTerm",
    args: [BigInt(term), leader, signatures.map(bytes)],
  });
  return call(
    deployment.registry,
    "startTerm",
    data,
    (state) => state.term.term === term && state.term.leader === leader,
  );
}

/** Declares a goal, or changes it. */
export function declareGoal(deployment: Deployment, goalId: string, document: Uint8Array): Call {
  const goal = goalHash(goalId);
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "declareGoal",
    args: [goalId, bytes(document)],
  });
  return call(
    deployment.registry,
    "declareGoal",
    data,
    (state) => state.goals.get(goal)?.document === toHex(document),
  );
}

/** Commits a group; the term's leader signed it. */
export function formGroup(deployment: Deployment, group: Group, leaderSignature: Uint8Array): Call {
  const goal = goalHash(group.goalId);
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "formGroup",
    args: [encodeGroup(group), bytes(leaderSignature)],
  });
  return call(
    deployment.registry,
    "formGroup",
    data,
    (state) => (state.groups.get(goal)?.epoch ?? 0) >= group.epoch,
  );
}

/** Shares an epoch's budget among nodes; signatures ascending by voter. */
export function payRewards(
  deployment: Deployment,
  rewards: EpochRewards,
  signatures: readonly Uint8Array[],
): Call {
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "payRewards",
    args: [BigInt(rewards.epoch), rewards.nodes, rewards.weights, signatures.map(bytes)],
  });
  return call(deployment.registry, "payRewards", data, (state) => state.rewardEpoch >= rewards.epoch);
}

/** Pays an operator's rewards. The operator sends it. */
export function withdrawRewards(deployment: Deployment, operator: Address, to: Address): Call {
  const data = encodeFunctionData({ abi: registryAbi, functionName: "withdrawRewards", args: [to] });
  return call(deployment.registry, "withdrawRewards", data, (state) => !state.rewards.has(operator));
}

/** Opens a payment channel, or adds to it until it holds `depositWei` in all. The consumer sends it. */
export function fundChannel(
  deployment: Deployment,
  channel: Channel,
  addWei: bigint,
  depositWei: bigint,
): Call {
  const id = hashStatement(deployment, "Channel", channel);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "fundChannel",
    args: [encodeChannel(channel), addWei],
  });
  const done = (state: MarketState): boolean => (state.channels.get(id)?.depositWei ?? 0n) >= depositWei;
  return call(deployment.market, "fundChannel", data, done, channel.token === NATIVE_TOKEN ? addWei : 0n);
}

/** Credits a service with what a voucher adds to those before it. */
export function claimVoucher(
  deployment: Deployment,
  channel: Channel,
  voucher: Voucher,
  signature: Uint8Array,
): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "claimVoucher",
    args: [encodeChannel(channel), voucher.cumulativeWei, compact(signature)],
  });
  return call(
    deployment.market,
    "claimVoucher",
    data,
    (state) => (state.channels.get(voucher.channelId)?.claimedWei ?? 0n) >= voucher.cumulativeWei,
  );
}

/** Returns to the consumer what no voucher claimed, once the channel expired. */
export function closeChannel(deployment: Deployment, channel: Channel): Call {
  const id = hashStatement(deployment, "Channel", channel);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "closeChannel",
    args: [encodeChannel(channel)],
  });
  return call(deployment.market, "closeChannel", data, (state) => state.channels.get(id)?.isOpen === false);
}

/** Takes a decision of the builders; signatures ascending by builder. */
export function decide(deployment: Deployment, decision: Decision, signatures: readonly Uint8Array[]): Call {
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "decide",
    args: [encodeDecision(decision), signatures.map(bytes)],
  });
  return call(deployment.registry, "decide", data, (state) => isTaken(state, deployment, decision));
}

/** Carries out an announced decision once its delay is over. */
export function enact(deployment: Deployment, decision: Decision): Call {
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "enact",
    args: [encodeDecision(decision)],
  });
  return call(deployment.registry, "enact", data, (state) => state.round > decision.round);
}

/** Anchors a root of the transparency log; the authority signed the checkpoint. */
export function anchorRoot(
  deployment: Deployment,
  checkpoint: Checkpoint,
  proof: readonly Digest[],
  authoritySignature: Uint8Array,
): Call {
  const data = encodeFunctionData({
    abi: transparencyLogAbi,
    functionName: "anchor",
    args: [encodeCheckpoint(checkpoint), proof.map(digestToHex), bytes(authoritySignature)],
  });
  return call(deployment.log, "anchor", data, (state) => (state.logRoot?.size ?? 0) >= checkpoint.size);
}

/** A measurement as the subject of a decision. */
export function measurementSubject(measurement: Digest): Hex32 {
  return digestToHex(measurement) as Hex32;
}

/** An address as the subject of a decision. */
export function addressSubject(address: Address): Hex32 {
  return `0x${address.slice(2).padStart(64, "0")}` as Hex32;
}

function isTaken(state: MarketState, deployment: Deployment, decision: Decision): boolean {
  const measurement = state.measurements.get(decision.subject);
  const authority = state.authorities.get(`0x${decision.subject.slice(26)}` as Address);
  switch (decision.kind) {
    case "approveMeasurement":
      return measurement !== undefined;
    case "revokeMeasurement":
      return measurement?.revoked === true;
    case "approveAuthority":
      return authority !== undefined;
    case "revokeAuthority":
      return authority?.revoked === true;
    default:
      return (
        state.announced.has(hashStatement(deployment, "Decision", decision)) || state.round > decision.round
      );
  }
}

/** What `open` and `openFor` take first. */
function openingOf(order: Order, offers: readonly OfferUse[]) {
  return [
    packOrder(order),
    [digestToHex(order.argsDigest), digestToHex(order.recipientDigest), order.goal],
    offers.flatMap((use) => packOffer(use.offer)),
    offers.some(hasProof) ? offers.map(encodeProof) : [],
  ] as const;
}

/** The first slot's assignment, and the words of the others. */
function splitSlots(assignment: SlotsAssignment, seconds: readonly number[]): [Assignment, bigint[]] {
  const [node, ...others] = assignment.nodes;
  return [{ ...assignment, node }, packSlots(others, seconds)];
}

function hasProof(use: OfferUse): boolean {
  return use.signature !== undefined || use.accountProof !== undefined;
}

function encodeProof(use: OfferUse): Hex {
  return encodeAbiParameters(PROOF_PARAMETERS, [bytes(use.signature), use.accountProof ?? []]);
}

/** The id of an offer, for callers that have it as part of a use. */
export function offerIdOfUse(deployment: Deployment, use: OfferUse): OfferId {
  return offerId(deployment, use.offer);
}
