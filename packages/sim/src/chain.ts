import type { NodeId, OrderId } from "@cloister/core";
import {
  directoryOf,
  quorumOf,
  type Assignment,
  type GroupRecord,
  type MemberRecord,
  type OpenOrder,
  type RegistryView,
  type Signatures,
  type TermCertificate,
} from "@cloister/swarm";

/** One block's state. Never changed once made: nodes and reorganisations point into the past. */
export interface ChainState {
  readonly view: RegistryView;
  readonly orders: ReadonlyMap<OrderId, OpenOrder>;
  readonly settled: ReadonlyMap<OrderId, { readonly node: NodeId; readonly term: number }>;
}

export type Transaction =
  | { readonly kind: "term"; readonly certificate: TermCertificate }
  | { readonly kind: "group"; readonly group: GroupRecord; readonly sender: NodeId }
  | { readonly kind: "settle"; readonly assignment: Assignment; readonly sender: NodeId }
  | { readonly kind: "open"; readonly order: OpenOrder }
  | { readonly kind: "members"; readonly members: readonly MemberRecord[] };

/** As many blocks can be taken back. */
const BLOCKS_KEPT = 4_096;

/** The contract's rules that the swarm relies on, over blocks that can be taken back. */
export class SimulatedChain {
  readonly #blocks: ChainState[];
  readonly #mempool: Transaction[] = [];
  readonly #signatures: Signatures;
  /** Transactions of each kept block, so that a reorganisation can mine them again. */
  readonly #mined: Transaction[][] = [[]];
  refusedTransactions = 0;

  constructor(members: readonly MemberRecord[], signatures: Signatures) {
    this.#signatures = signatures;
    const view = { blockNumber: 0, members, term: 0, leader: undefined, groups: [] };
    this.#blocks = [{ view, orders: new Map(), settled: new Map() }];
  }

  get head(): ChainState {
    return this.#blocks[this.#blocks.length - 1] as ChainState;
  }

  submit(transaction: Transaction): void {
    this.#mempool.push(transaction);
  }

  mine(): ChainState {
    const transactions = this.#mempool.splice(0);
    let state = this.head;
    for (const transaction of transactions) {
      const next = this.#apply(state, transaction);
      if (next === state) this.refusedTransactions++;
      state = next;
    }
    const blockNumber = state.view.blockNumber + 1;
    this.#blocks.push({ ...state, view: { ...state.view, blockNumber } });
    this.#mined.push(transactions);
    if (this.#blocks.length > BLOCKS_KEPT) {
      this.#blocks.shift();
      this.#mined.shift();
    }
    return this.head;
  }

  /** Takes up to `depth` blocks back; their transactions are mined again, or lost. */
  reorganise(depth: number, keep: boolean): void {
    for (let i = 0; i < depth && this.#blocks.length > 1; i++) {
      this.#blocks.pop();
      const lost = this.#mined.pop() ?? [];
      const kept = keep ? lost : lost.filter(({ kind }) => kind === "open" || kind === "members");
      this.#mempool.unshift(...kept);
    }
  }

  #apply(state: ChainState, transaction: Transaction): ChainState {
    switch (transaction.kind) {
      case "term":
        return this.#applyTerm(state, transaction.certificate);
      case "group":
        return this.#applyGroup(state, transaction.group, transaction.sender);
      case "settle":
        return this.#applySettlement(state, transaction.assignment);
      case "open": {
        if (state.settled.has(transaction.order.orderId)) return state;
        return {
          ...state,
          orders: new Map(state.orders).set(transaction.order.orderId, transaction.order),
        };
      }
      case "members":
        return { ...state, view: { ...state.view, members: transaction.members } };
    }
  }

  /** A higher term with a quorum of distinct, registered voters' signatures over it. */
  #applyTerm(state: ChainState, certificate: TermCertificate): ChainState {
    const { view } = state;
    if (certificate.term <= view.term) return state;
    const { voters: registered, isVoter } = directoryOf(view.members);
    if (!isVoter(certificate.leader)) return state;
    const voters = new Set<NodeId>();
    for (const { voter, signature } of certificate.votes) {
      const vote = { kind: "vote", term: certificate.term, candidate: certificate.leader } as const;
      if (isVoter(voter) && this.#signatures.verify(vote, voter, signature)) voters.add(voter);
    }
    if (voters.size < quorumOf(registered.length)) return state;
    return { ...state, view: { ...view, term: certificate.term, leader: certificate.leader } };
  }

  #applyGroup(state: ChainState, group: GroupRecord, sender: NodeId): ChainState {
    const { view } = state;
    const before = view.groups.find(({ goalId }) => goalId === group.goalId);
    const fits = group.term === view.term && sender === view.leader;
    if (!fits || group.epoch !== (before?.epoch ?? 0) + 1) return state;
    const groups = [...view.groups.filter(({ goalId }) => goalId !== group.goalId), group];
    return { ...state, view: { ...view, groups } };
  }

  #applySettlement(state: ChainState, assignment: Assignment): ChainState {
    if (!state.orders.has(assignment.orderId) || assignment.term !== state.view.term) return state;
    const orders = new Map(state.orders);
    orders.delete(assignment.orderId);
    const settled = new Map(state.settled).set(assignment.orderId, {
      node: assignment.node,
      term: assignment.term,
    });
    return { ...state, orders, settled };
  }
}
