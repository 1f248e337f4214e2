import {
  digestFrom,
  type Address,
  type Digest,
  type Hex32,
  type NodeId,
  type OfferId,
  type OrderId,
} from "@cloister/core";
import {
  packPayees,
  payeeWordsOf,
  splitClaim,
  splitEscrow,
  unpackHead,
  unpackPayees,
  type Escrow,
  type Payee,
} from "./escrow.ts";
import type { MarketEvent } from "./events.ts";
import { sharesDown } from "./splits.ts";
import {
  OFFER_KINDS,
  OUTCOMES,
  ZERO_HEX32,
  type Channel,
  type NodeCertificate,
  type Offer,
  type Outcome,
} from "./types.ts";

/** What the chain knows of an offer. `offer` is absent while it was only used with a signature, not published. */
export interface OfferRecord {
  offer?: Offer | undefined;
  /** Its two payee words, once it was published or used. */
  payee?: readonly [bigint, bigint] | undefined;
  /** Orders opened on it. */
  runs: number;
  revokedFromSeconds?: number | undefined;
  /** Absent: always. */
  validFromSeconds?: number | undefined;
  /** The version that this one took the place of. */
  replaces?: OfferId | undefined;
  /** The owner lets no orders be opened on it for the time being. */
  disabled?: boolean | undefined;
}

export type OrderStatus = "open" | Outcome | "refunded" | "forfeited";

/** The states in which an order can no longer be settled. */
export const ANCHORED: ReadonlySet<OrderStatus> = new Set([
  "succeeded",
  "failed",
  "cancelled",
  "refunded",
  "forfeited",
]);

/** An order and all that became of it. */
export interface OrderRecord {
  readonly id: OrderId;
  readonly client: Address;
  readonly token: Address;
  readonly offers: readonly OfferId[];
  readonly payees: readonly Payee[];
  readonly argsDigest: Digest;
  readonly recipientDigest: Digest;
  /** Absent: any group that computes. */
  readonly goal?: Hex32 | undefined;
  readonly salt: bigint;
  /** What `settle`, `refund`, `cancel` and `extend` must be given now. */
  escrow: Escrow;
  depositWei: bigint;
  openedAtMs: number;
  deadlineMs: number;
  /** Runs of each of its offers before this one, in the same sequence. */
  readonly runsBefore: readonly number[];
  status: OrderStatus;
  readonly openedBlock: number;
  settlement?: Settlement | undefined;
}

/** How a report ended an order. */
export interface Settlement {
  readonly node: NodeId;
  readonly operator: Address;
  readonly reportDigest: Digest;
  readonly outputDigest?: Digest | undefined;
  readonly exitCode: number;
  readonly secondsPaid: number;
  readonly txHash: Hex32;
  readonly block: number;
}

export type NodeStatus = "active" | "inactive" | "leaving" | "barred";

/** A registered node. `active` says what the contract's flag says: judge expiry and measurement with `isNodeActive`. */
export interface NodeRecord {
  certificate: NodeCertificate;
  endpoint: string;
  status: NodeStatus;
  stakeWei: bigint;
}

/** An approval by the builders. */
export interface Approval {
  readonly effectiveAtSeconds: number;
  revoked: boolean;
}

export interface GroupRecord {
  readonly goalId: string;
  readonly epoch: number;
  readonly term: number;
  readonly members: readonly NodeId[];
}

/** A payment channel. */
export interface ChannelRecord {
  readonly channel: Channel;
  depositWei: bigint;
  claimedWei: bigint;
  isOpen: boolean;
}

/** Everything our contracts said, reduced. Only `reduceMarket` changes it. */
export interface MarketState {
  readonly offers: Map<OfferId, OfferRecord>;
  readonly orders: Map<OrderId, OrderRecord>;
  readonly openOrders: Set<OrderId>;
  readonly nodes: Map<NodeId, NodeRecord>;
  readonly measurements: Map<Hex32, Approval>;
  readonly authorities: Map<Address, Approval>;
  readonly announced: Map<Hex32, { readonly kind: number; readonly effectiveAtSeconds: number }>;
  readonly goals: Map<Hex32, { readonly goalId: string; readonly owner: Address; readonly document: string }>;
  readonly groups: Map<Hex32, GroupRecord>;
  /** By `balanceKey`. */
  readonly balances: Map<string, bigint>;
  /** `leader` is absent before the first term and after a term was voided. */
  term: { readonly term: number; readonly leader?: NodeId | undefined };
  round: number;
  kittyWei: bigint;
  /** Rewards that operators have not withdrawn. */
  readonly rewards: Map<Address, bigint>;
  rewardEpoch: number;
  readonly channels: Map<Hex32, ChannelRecord>;
  logRoot?: { readonly size: number; readonly root: Digest } | undefined;
}

/** The state before the first block. */
export function emptyMarket(): MarketState {
  return {
    offers: new Map(),
    orders: new Map(),
    openOrders: new Set(),
    nodes: new Map(),
    measurements: new Map(),
    authorities: new Map(),
    announced: new Map(),
    goals: new Map(),
    groups: new Map(),
    balances: new Map(),
    term: { term: 0 },
    round: 0,
    kittyWei: 0n,
    rewards: new Map(),
    rewardEpoch: 0,
    channels: new Map(),
  };
}

/** The key of a balance. */
export function balanceKey(token: Address, account: Address): string {
  return `${token}:${account}`;
}

/** What an account can withdraw. */
export function balanceOf(state: MarketState, token: Address, account: Address): bigint {
  return state.balances.get(balanceKey(token, account)) ?? 0n;
}

/** Tells whether a measurement is approved and its public delay over. */
export function isMeasurementApproved(state: MarketState, measurement: Digest, nowMs: number): boolean {
  const approval = state.measurements.get(`0x${measurement.slice("sha256:".length)}` as Hex32);
  return approval !== undefined && !approval.revoked && approval.effectiveAtSeconds * 1000 <= nowMs;
}

/** Tells whether a node may be assigned orders now, as the contract would judge it. */
export function isNodeActive(state: MarketState, node: NodeId, nowMs: number): boolean {
  const record = state.nodes.get(node);
  if (record?.status !== "active") return false;
  const { notAfterSeconds, measurement } = record.certificate;
  return nowMs <= notAfterSeconds * 1000 + 999 && isMeasurementApproved(state, measurement, nowMs);
}

const MAX_SECONDS = BigInt(Number.MAX_SAFE_INTEGER);

type Args<Name extends MarketEvent["eventName"]> = Extract<MarketEvent, { readonly eventName: Name }>["args"];
type Handlers = {
  readonly [Name in MarketEvent["eventName"]]: (
    state: MarketState,
    args: Args<Name>,
    event: MarketEvent,
  ) => void;
};

const HANDLERS: Handlers = {
  MeasurementApproved: (state, { measurement, effectiveAt }) =>
    void state.measurements.set(measurement as Hex32, {
      effectiveAtSeconds: secondsOf(effectiveAt),
      revoked: false,
    }),
  MeasurementRevoked: (state, { measurement }) => {
    const approval = state.measurements.get(measurement as Hex32);
    if (approval !== undefined) approval.revoked = true;
  },
  AuthorityApproved: (state, { authority, effectiveAt }) =>
    void state.authorities.set(authority as Address, {
      effectiveAtSeconds: secondsOf(effectiveAt),
      revoked: false,
    }),
  AuthorityRevoked: (state, { authority }) => {
    const approval = state.authorities.get(authority as Address);
    if (approval !== undefined) approval.revoked = true;
  },
  DecisionAnnounced: (state, { decision, kind, effectiveAt }) =>
    void state.announced.set(decision as Hex32, { kind, effectiveAtSeconds: secondsOf(effectiveAt) }),
  DecisionEnacted: (state, { round }) => {
    state.round = Number(round);
    state.announced.clear();
  },
  NodeRegistered: registerNode,
  NodeEndpointChanged: (state, { node, endpoint }) => {
    const record = state.nodes.get(node as NodeId);
    if (record !== undefined) record.endpoint = endpoint;
  },
  NodeDeactivated: (state, { node, reason }) => {
    const record = state.nodes.get(node as NodeId);
    if (record !== undefined) record.status = statusAfter(record.status, reason);
  },
  StakeChanged: (state, { node, stakeWei }) => setStake(state, node as NodeId, stakeWei),
  StakeReleased: (state, { node }) => {
    setStake(state, node as NodeId, 0n);
    if (state.nodes.get(node as NodeId)?.status !== "barred") state.nodes.delete(node as NodeId);
  },
  NodeSlashed: ignore,
  KittyChanged: (state, { kittyWei }) => void (state.kittyWei = kittyWei),
  RewardsPaid: payRewards,
  RewardWithdrawn: (state, { operator }) => void state.rewards.delete(operator as Address),
  TermStarted: (state, { term, leader }) =>
    void (state.term = { term: Number(term), leader: leader as NodeId }),
  TermVoided: (state, { term }) => void (state.term = { term: Number(term) }),
  GoalDeclared: (state, { goal, owner, goalId, document }) =>
    void state.goals.set(goal as Hex32, { goalId, owner: owner as Address, document: document.slice(2) }),
  GroupFormed: (state, { goal, epoch, term, goalId, members }) =>
    void state.groups.set(goal as Hex32, {
      goalId,
      epoch: Number(epoch),
      term: Number(term),
      members: members as readonly NodeId[],
    }),
  OfferPublished: publishOffer,
  OfferRevoked: (state, { offerId, fromTime }) =>
    void (offerOf(state, offerId as OfferId).revokedFromSeconds = secondsOf(fromTime)),
  OfferChanged: (state, { offerId, nextId, fromTime }) => {
    const next = offerOf(state, nextId as OfferId);
    next.validFromSeconds = secondsOf(fromTime);
    next.replaces = offerId as OfferId;
  },
  OfferEnabled: (state, { offerId, enabled }) =>
    void (offerOf(state, offerId as OfferId).disabled = !enabled),
  OfferUsed: (state, { offerId, words }) =>
    void (offerOf(state, offerId as OfferId).payee = payeeWordsOf(words)),
  OrderOpened: openOrder,
  OrderClaimed: claimOrder,
  OrderChanged: (state, { orderId, head }) => {
    const order = state.orders.get(orderId as OrderId);
    if (order === undefined) return;
    const { depositWei, deadlineSeconds } = unpackHead(head);
    Object.assign(order, {
      escrow: { ...order.escrow, head },
      depositWei,
      deadlineMs: deadlineSeconds * 1000,
    });
  },
  OrderStarted: (state, { orderId, head }) => {
    const order = state.orders.get(orderId as OrderId);
    if (order !== undefined) order.escrow = { ...order.escrow, head };
  },
  OrderSlotsPaid: paySlots,
  OrderSettled: settleOrder,
  OrderRefunded: (state, { orderId }) => endOrder(state, orderId as OrderId, "refunded"),
  OrderForfeited: (state, { orderId }) => {
    const order = state.orders.get(orderId as OrderId);
    if (order !== undefined) order.status = "forfeited";
  },
  ChannelFunded: fundChannel,
  VoucherClaimed: (state, { channelId, payee, token, amountWei }) => {
    const record = state.channels.get(channelId as Hex32);
    if (record !== undefined) record.claimedWei += amountWei;
    credit(state, token, payee, amountWei);
  },
  ChannelClosed: (state, { channelId, consumer, token, restWei }) => {
    const record = state.channels.get(channelId as Hex32);
    if (record !== undefined) Object.assign(record, { isOpen: false, depositWei: record.claimedWei });
    credit(state, token, consumer, restWei);
  },
  Deposited: (state, { token, account, amount }) => credit(state, token, account, amount),
  BalanceUsed: (state, { token, account, amount }) => credit(state, token, account, -amount),
  Withdrawn: (state, { token, account, amount }) => credit(state, token, account, -amount),
  SplitDistributed: distribute,
  RootAnchored: (state, { size, root }) =>
    void (state.logRoot = { size: Number(size), root: digestFrom(root) }),
};

/**
 * Takes one event into the state, which it owns and changes; events come in the chain's sequence.
 * What an event cannot mean in that sequence is left out: a contract of ours never says it.
 */
export function reduceMarket(state: MarketState, event: MarketEvent): MarketState {
  const handler = HANDLERS[event.eventName] as (
    state: MarketState,
    args: unknown,
    event: MarketEvent,
  ) => void;
  handler(state, event.args, event);
  return state;
}

function registerNode(state: MarketState, args: Args<"NodeRegistered">): void {
  const node = args.node as NodeId;
  const stakeWei = state.nodes.get(node)?.stakeWei ?? 0n;
  const certificate: NodeCertificate = {
    node,
    operator: args.operator as Address,
    keysDigest: digestFrom(args.keysDigest),
    certificateDigest: digestFrom(args.certificateDigest),
    measurement: digestFrom(args.measurement),
    roles: args.roles,
    issuedAtSeconds: secondsOf(args.issuedAt),
    notAfterSeconds: secondsOf(args.notAfter),
  };
  state.nodes.set(node, { certificate, endpoint: args.endpoint, status: "active", stakeWei });
}

function publishOffer(state: MarketState, args: Args<"OfferPublished">): void {
  const { terms, content } = args;
  const record = offerOf(state, args.offerId as OfferId);
  record.payee = packPayees([{ owner: args.owner as Address, kind: args.kind, ...terms }]) as [
    bigint,
    bigint,
  ];
  record.offer = {
    owner: args.owner as Address,
    kind: OFFER_KINDS[args.kind] ?? "data",
    terms: {
      ...terms,
      token: terms.token as Address,
      accountsRoot: terms.accountsRoot as Hex32,
      validUntilSeconds: secondsOf(terms.validUntil),
    },
    content: {
      contentDigest: digestFrom(content.contentDigest),
      sealedDigest: digestFrom(content.sealedDigest),
      headerDigest: digestFrom(content.headerDigest),
      consentDigest: digestOrNone(content.consentDigest),
      detailsDigest: digestOrNone(content.detailsDigest),
      salt: content.salt as Hex32,
    },
  };
}

function openOrder(state: MarketState, args: Args<"OrderOpened">, event: MarketEvent): void {
  const id = args.orderId as OrderId;
  const records = args.offers.map((offer) => offerOf(state, offer as OfferId));
  const escrow: Escrow = { head: args.head, payees: records.flatMap((record) => record.payee ?? []) };
  const head = unpackHead(escrow.head);
  const runsBefore = records.map((record) => record.runs++);
  state.openOrders.add(id);
  state.orders.set(id, {
    id,
    client: head.client,
    token: head.token,
    offers: args.offers as readonly OfferId[],
    payees: unpackPayees(escrow.payees),
    argsDigest: digestFrom(args.argsDigest),
    recipientDigest: digestFrom(args.recipientDigest),
    goal: args.goal === ZERO_HEX32 ? undefined : (args.goal as Hex32),
    salt: head.salt,
    escrow,
    depositWei: head.depositWei,
    openedAtMs: head.openedAtSeconds * 1000,
    deadlineMs: head.deadlineSeconds * 1000,
    runsBefore,
    status: "open",
    openedBlock: event.blockNumber,
  });
}

function claimOrder(state: MarketState, args: Args<"OrderClaimed">): void {
  const order = state.orders.get(args.orderId as OrderId);
  const operator = state.nodes.get(args.node as NodeId)?.certificate.operator;
  if (order === undefined || operator === undefined) return;
  const { secondsPaid } = unpackHead(args.head);
  for (const { account, amountWei } of splitClaim(order.escrow, secondsPaid, operator)) {
    credit(state, order.token, account, amountWei);
  }
  order.escrow = { ...order.escrow, head: args.head };
}

function paySlots(state: MarketState, args: Args<"OrderSlotsPaid">): void {
  const order = state.orders.get(args.orderId as OrderId);
  if (order === undefined) return;
  args.operators.forEach((operator, i) => credit(state, order.token, operator, args.amounts[i] ?? 0n));
  const paidWei = args.amounts.reduce((sum, amount) => sum + amount, 0n);
  const [first, second, third, fourth] = order.escrow.head;
  // paidWei is the low end of the last word, and never exceeds the deposit.
  order.escrow = { ...order.escrow, head: [first, second, third, fourth + paidWei] };
}

function settleOrder(state: MarketState, args: Args<"OrderSettled">, event: MarketEvent): void {
  const order = state.orders.get(args.orderId as OrderId);
  const outcome = OUTCOMES[Number((args.result >> 64n) & 0xffn)];
  const node = `0x${(args.result >> 96n).toString(16).padStart(40, "0")}` as NodeId;
  const operator = state.nodes.get(node)?.certificate.operator;
  if (order === undefined || outcome === undefined || operator === undefined) return;
  order.settlement = {
    node,
    operator,
    reportDigest: digestFrom(args.reportDigest),
    outputDigest: digestOrNone(args.outputDigest),
    exitCode: Number((args.result >> 32n) & 0xffff_ffffn),
    secondsPaid: Number(args.result & 0xffff_ffffn),
    txHash: event.txHash,
    block: event.blockNumber,
  };
  endOrder(state, order.id, outcome);
}

function endOrder(state: MarketState, id: OrderId, status: Outcome | "refunded"): void {
  const order = state.orders.get(id);
  if (order === undefined || order.status !== "open") return;
  order.status = status;
  state.openOrders.delete(id);
  const outcome = status === "refunded" ? "failed" : status;
  const operator = order.settlement?.operator ?? order.client;
  const secondsPaid = order.settlement?.secondsPaid ?? 0;
  for (const { account, amountWei } of splitEscrow(order.escrow, outcome, secondsPaid, operator)) {
    credit(state, order.token, account, amountWei);
  }
}

function fundChannel(state: MarketState, args: Args<"ChannelFunded">): void {
  const { consumer, token, payee, expiry, salt } = args.channel;
  const id = args.channelId as Hex32;
  const record = state.channels.get(id) ?? {
    channel: {
      consumer: consumer as Address,
      token: token as Address,
      payee: payee as Address,
      expirySeconds: expiry,
      salt,
    },
    depositWei: 0n,
    claimedWei: 0n,
    isOpen: true,
  };
  record.depositWei += args.addWei;
  state.channels.set(id, record);
}

function payRewards(state: MarketState, args: Args<"RewardsPaid">): void {
  state.rewardEpoch = Number(args.epoch);
  for (const { operator, amountWei } of shareRewards(state, args.nodes as readonly NodeId[], args.shares)) {
    state.rewards.set(operator, (state.rewards.get(operator) ?? 0n) + amountWei);
  }
}

function shareRewards(
  state: MarketState,
  nodes: readonly NodeId[],
  shares: readonly bigint[],
): { operator: Address; amountWei: bigint }[] {
  return nodes.flatMap((node, i) => {
    const operator = state.nodes.get(node)?.certificate.operator;
    return operator === undefined ? [] : [{ operator, amountWei: shares[i] ?? 0n }];
  });
}

function distribute(state: MarketState, args: Args<"SplitDistributed">): void {
  const whole = balanceOf(state, args.token as Address, args.split as Address);
  const shares = sharesDown(whole, args.sharesBps);
  args.accounts.forEach((account, i) => credit(state, args.token, account, shares[i] ?? 0n));
  credit(state, args.token, args.split, -args.amount);
}

function statusAfter(status: NodeStatus, reason: number): NodeStatus {
  if (reason === 1 || reason === 5 || status === "barred") return "barred";
  return reason === 3 ? "leaving" : "inactive";
}

function setStake(state: MarketState, node: NodeId, stakeWei: bigint): void {
  const record = state.nodes.get(node);
  if (record !== undefined) record.stakeWei = stakeWei;
}

function credit(state: MarketState, token: string, account: string, amountWei: bigint): void {
  const key = balanceKey(token as Address, account as Address);
  const balance = (state.balances.get(key) ?? 0n) + amountWei;
  if (balance === 0n) state.balances.delete(key);
  else state.balances.set(key, balance);
}

function offerOf(state: MarketState, id: OfferId): OfferRecord {
  const record = state.offers.get(id) ?? { runs: 0 };
  state.offers.set(id, record);
  return record;
}

/** Anyone can write a time that no number holds; what is that late is for ever. */
function secondsOf(time: bigint): number {
  return Number(time > MAX_SECONDS ? MAX_SECONDS : time);
}

function digestOrNone(hex: `0x${string}`): Digest | undefined {
  return hex === ZERO_HEX32 ? undefined : digestFrom(hex);
}

function ignore(): void {
  // Its effects come in events of their own.
}
