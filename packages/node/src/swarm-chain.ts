import { encodeCanonical, sha256, type NodeId } from "@cloister/core";
import {
  isNodeActive,
  NODE_ROLES,
  recoverSigner,
  recoverStatement,
  signDigest,
  signStatement,
  type BlockMark,
  type Deployment,
  type MarketState,
} from "@cloister/market";
import type { MemberRecord, OpenOrder, RegistryView, Signatures, Statement } from "@cloister/swarm";

/** What the swarm obeys of the chain, at the time of its newest block: nodes whose clocks differ see one membership. */
export function registryView(state: MarketState, { number, timestampMs }: BlockMark): RegistryView {
  const members = [...state.nodes.keys()].flatMap((id): MemberRecord[] => {
    const record = state.nodes.get(id);
    if (record === undefined || !isNodeActive(state, id, timestampMs)) return [];
    const { operator, roles } = record.certificate;
    return [{ id, operator, voter: (roles & NODE_ROLES.voter) !== 0 }];
  });
  const { term, leader } = state.term;
  const groups = [...state.groups.values()];
  return {
    blockNumber: number,
    members: members.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    term,
    leader,
    groups,
  };
}

/**
 * The orders that wait for a node. Deadlines are the chain's time; the swarm goes by the node's own clock,
 * which may be hours off: it is given how much is left, on that clock.
 */
export function openOrders(state: MarketState, { timestampMs }: BlockMark, nowMs: number): OpenOrder[] {
  return [...state.openOrders].flatMap((orderId): OpenOrder[] => {
    const order = state.orders.get(orderId);
    if (order === undefined) return [];
    const goalId = order.goal === undefined ? undefined : state.goals.get(order.goal)?.goalId;
    const { openedBlock } = order;
    const deadlineMs = nowMs + (order.deadlineMs - timestampMs);
    return [{ orderId, deadlineMs, openedBlock, ...(goalId === undefined ? {} : { goalId }) }];
  });
}

/** Votes and assignments as the contracts check them; measurements, which no contract sees, by their digest. */
export function swarmSignatures(deployment: Deployment, secret: Uint8Array): Signatures {
  return {
    sign: (statement) => {
      if (statement.kind === "vote") return signStatement(deployment, "Vote", voteOf(statement), secret);
      if (statement.kind === "assignment")
        return signStatement(deployment, "Assignment", assignmentOf(statement), secret);
      return signDigest(digestOf(deployment, statement), secret);
    },
    verify: (statement, signer, signature) => signerOf(deployment, statement, signature) === signer,
  };
}

function signerOf(deployment: Deployment, statement: Statement, signature: Uint8Array): NodeId | undefined {
  if (statement.kind === "vote") return recoverStatement(deployment, "Vote", voteOf(statement), signature);
  if (statement.kind === "assignment") {
    return recoverStatement(deployment, "Assignment", assignmentOf(statement), signature);
  }
  return recoverSigner(digestOf(deployment, statement), signature);
}

function voteOf({ term, candidate }: Extract<Statement, { kind: "vote" }>) {
  return { term, candidate };
}

function assignmentOf({ orderId, node, term, epoch }: Extract<Statement, { kind: "assignment" }>) {
  return { orderId, node, term, epoch };
}

function digestOf({ chainId, market }: Deployment, statement: Statement): Uint8Array {
  return sha256(encodeCanonical(["cloister/swarm/v1", chainId, market, statement]));
}
