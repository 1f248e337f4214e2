import type { NodeId, OrderId } from "@cloister/core";
import { encodeFunctionData } from "viem/utils";
import { bytes, call, compact, packAssignment, packReport, type Call } from "./call.ts";
import type { Escrow } from "./escrow.ts";
import { marketAbi } from "./generated/market.ts";
import { registryAbi } from "./generated/registry.ts";
import type { MarketState } from "./state.ts";
import type { Assignment, Deployment, Report, Vote } from "./types.ts";

/** A report with its node's signature, as evidence. */
export interface SignedReport {
  readonly report: Report;
  /** Of further slots, when the node signed SlotsReport. */
  readonly slotSeconds?: readonly number[] | undefined;
  readonly signature: Uint8Array;
}

/** A vote with its voter's signature, as evidence. */
export interface SignedVote {
  readonly vote: Vote;
  readonly signature: Uint8Array;
}

/** Takes stake of the node that let an order's deadline pass. */
export function forfeitOrder(
  deployment: Deployment,
  assignment: Assignment,
  leaderSignature: Uint8Array,
): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "forfeit",
    args: [assignment.orderId, packAssignment(assignment), [], [], compact(leaderSignature)],
  });
  return call(
    deployment.market,
    "forfeit",
    data,
    (state) => state.orders.get(assignment.orderId)?.status === "forfeited",
  );
}

/** Takes the whole stake of a node that signed two different reports for one order. */
export function proveDoubleReport(
  deployment: Deployment,
  node: NodeId,
  first: SignedReport,
  second: SignedReport,
): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "proveDoubleReport",
    args: [first.report.orderId, packSigned(first), packSigned(second)],
  });
  return call(deployment.market, "proveDoubleReport", data, (state) => isBarred(state, node));
}

/** Takes the whole stake of a node that signed a report for an order opened after the node was revoked. */
export function proveRevokedReport(
  deployment: Deployment,
  node: NodeId,
  id: OrderId,
  escrow: Escrow,
  signed: SignedReport,
): Call {
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "proveRevokedReport",
    args: [id, escrow.head, escrow.payees, packSigned(signed)],
  });
  return call(
    deployment.market,
    "proveRevokedReport",
    data,
    (state) => isBarred(state, node) && state.nodes.get(node)?.stakeWei === 0n,
  );
}

/** Takes the whole stake of a voter that gave one term to two candidates. */
export function proveDoubleVote(
  deployment: Deployment,
  voter: NodeId,
  first: SignedVote,
  second: SignedVote,
): Call {
  const data = encodeFunctionData({
    abi: registryAbi,
    functionName: "proveDoubleVote",
    args: [
      BigInt(first.vote.term),
      first.vote.candidate,
      bytes(first.signature),
      second.vote.candidate,
      bytes(second.signature),
    ],
  });
  return call(deployment.registry, "proveDoubleVote", data, (state) => isBarred(state, voter));
}

function packSigned({ report, slotSeconds = [], signature }: SignedReport) {
  return {
    report: packReport(report),
    more: slotSeconds.map(BigInt),
    batch: [],
    signature: compact(signature),
  };
}

function isBarred(state: MarketState, node: NodeId): boolean {
  return state.nodes.get(node)?.status === "barred";
}
