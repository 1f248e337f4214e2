import type { MarketEvent } from "../events.ts";
import type { Address, Digest, Hex32, NodeId, OfferId, OrderId } from "@cloister/core";
import { unpackHead, unpackPayees, type Escrow } from "../escrow.ts";
import type { GroupRecord, MarketState, NodeRecord, OfferRecord, OrderRecord } from "../state.ts";
import { OFFER_KINDS, type OfferKind } from "../types.ts";

/** `amount` is a whole number of up to 78 digits, as decimal text wherever a program holds it; never a float. */
export type ColumnType = "text" | "integer" | "amount";

/** A value of a column. Amounts are decimal text. */
export type Cell = string | number | null;

/** A row by column names. Every row of a described table has an `id`. */
export type Row = Readonly<Record<string, Cell>>;

/** A table, as every dialect makes it: `id` is a text and its primary key. */
export interface Table {
  readonly name: string;
  /** Without `id`. */
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** Columns, or lists of columns, that are looked up by. */
  readonly indexes: readonly string[];
}

/** A table that holds one part of the read model, a row for each record. */
export interface RecordTable<R> extends Table {
  toRow(id: string, record: R): Row;
  fromRow(row: Row): R;
}

/** The maps of the read model. */
export type MarketPart = {
  [K in keyof MarketState]-?: MarketState[K] extends ReadonlyMap<string, unknown> | undefined ? K : never;
}[keyof MarketState];
type RecordOf<K extends MarketPart> = MarketState[K] extends Map<string, infer R> ? R : never;

/** What of the read model is neither a map nor follows from one: it is one row. */
export type Standing = Omit<MarketState, MarketPart | "openOrders">;

type Approval = RecordOf<"measurements">;
type Channel = RecordOf<"channels">;

const offers: RecordTable<OfferRecord> = {
  name: "offers",
  columns: {
    owner: "text",
    kind: "text",
    token: "text",
    fixed_wei: "amount",
    per_second_wei: "amount",
    booking_wei: "amount",
    pool_min_wei: "amount",
    share_bps: "integer",
    seconds_min: "integer",
    seconds_max: "integer",
    runs_max: "integer",
    valid_until_seconds: "integer",
    accounts_root: "text",
    content_digest: "text",
    sealed_digest: "text",
    header_digest: "text",
    consent_digest: "text",
    details_digest: "text",
    salt: "text",
    payee_words: "text",
    runs: "integer",
    revoked_from_seconds: "integer",
    valid_from_seconds: "integer",
    replaces: "text",
    disabled: "integer",
  },
  indexes: ["owner", "kind", "content_digest"],
  toRow: (id, { offer, payee, runs, revokedFromSeconds, validFromSeconds, replaces, disabled }) => ({
    id,
    owner: offer?.owner ?? null,
    kind: offer?.kind ?? null,
    token: offer?.terms.token ?? null,
    fixed_wei: offer?.terms.fixedWei.toString() ?? null,
    per_second_wei: offer?.terms.perSecondWei.toString() ?? null,
    booking_wei: offer?.terms.bookingWei.toString() ?? null,
    pool_min_wei: offer?.terms.poolMinWei.toString() ?? null,
    share_bps: offer?.terms.shareBps ?? null,
    seconds_min: offer?.terms.secondsMin ?? null,
    seconds_max: offer?.terms.secondsMax ?? null,
    runs_max: offer?.terms.runsMax ?? null,
    valid_until_seconds: offer?.terms.validUntilSeconds ?? null,
    accounts_root: offer?.terms.accountsRoot ?? null,
    content_digest: offer?.content.contentDigest ?? null,
    sealed_digest: offer?.content.sealedDigest ?? null,
    header_digest: offer?.content.headerDigest ?? null,
    consent_digest: offer?.content.consentDigest ?? null,
    details_digest: offer?.content.detailsDigest ?? null,
    salt: offer?.content.salt ?? null,
    payee_words: payee === undefined ? null : payee.join(","),
    runs,
    revoked_from_seconds: revokedFromSeconds ?? null,
    valid_from_seconds: validFromSeconds ?? null,
    replaces: replaces ?? null,
    disabled: disabled === undefined ? null : Number(disabled),
  }),
  fromRow: (row) => ({
    ...(row["kind"] === null ? {} : { offer: offerFrom(row) }),
    ...(row["payee_words"] === null ? {} : { payee: words(row, "payee_words") as [bigint, bigint] }),
    runs: count(row, "runs"),
    ...(row["revoked_from_seconds"] === null
      ? {}
      : { revokedFromSeconds: count(row, "revoked_from_seconds") }),
    ...(row["valid_from_seconds"] === null ? {} : { validFromSeconds: count(row, "valid_from_seconds") }),
    ...(row["replaces"] === null ? {} : { replaces: text<OfferId>(row, "replaces") }),
    ...(row["disabled"] === null ? {} : { disabled: count(row, "disabled") === 1 }),
  }),
};

function offerFrom(row: Row): NonNullable<OfferRecord["offer"]> {
  return {
    owner: text<Address>(row, "owner"),
    kind: text<OfferKind>(row, "kind"),
    terms: {
      token: text<Address>(row, "token"),
      fixedWei: amount(row, "fixed_wei"),
      perSecondWei: amount(row, "per_second_wei"),
      bookingWei: amount(row, "booking_wei"),
      poolMinWei: amount(row, "pool_min_wei"),
      shareBps: count(row, "share_bps"),
      secondsMin: count(row, "seconds_min"),
      secondsMax: count(row, "seconds_max"),
      runsMax: count(row, "runs_max"),
      validUntilSeconds: count(row, "valid_until_seconds"),
      accountsRoot: text<Hex32>(row, "accounts_root"),
    },
    content: {
      contentDigest: text<Digest>(row, "content_digest"),
      sealedDigest: text<Digest>(row, "sealed_digest"),
      headerDigest: text<Digest>(row, "header_digest"),
      consentDigest: optional<Digest>(row, "consent_digest"),
      detailsDigest: optional<Digest>(row, "details_digest"),
      salt: text<Hex32>(row, "salt"),
    },
  };
}

const orders: RecordTable<OrderRecord> = {
  name: "orders",
  columns: {
    client: "text",
    token: "text",
    status: "text",
    deposit_wei: "amount",
    paid_wei: "amount",
    opened_at_ms: "integer",
    deadline_ms: "integer",
    opened_block: "integer",
    args_digest: "text",
    recipient_digest: "text",
    goal: "text",
    offers: "text",
    runs_before: "text",
    head_words: "text",
    payee_words: "text",
    node: "text",
    operator: "text",
    report_digest: "text",
    output_digest: "text",
    exit_code: "integer",
    seconds_paid: "integer",
    settled_block: "integer",
    tx_hash: "text",
  },
  indexes: ["client", "node", "status"],
  toRow: (id, order) => ({
    id,
    client: order.client,
    token: order.token,
    status: order.status,
    deposit_wei: order.depositWei.toString(),
    paid_wei: unpackHead(order.escrow.head).paidWei.toString(),
    opened_at_ms: order.openedAtMs,
    deadline_ms: order.deadlineMs,
    opened_block: order.openedBlock,
    args_digest: order.argsDigest,
    recipient_digest: order.recipientDigest,
    goal: order.goal ?? null,
    offers: order.offers.join(","),
    runs_before: order.runsBefore.join(","),
    head_words: order.escrow.head.join(","),
    payee_words: order.escrow.payees.join(","),
    node: order.settlement?.node ?? null,
    operator: order.settlement?.operator ?? null,
    report_digest: order.settlement?.reportDigest ?? null,
    output_digest: order.settlement?.outputDigest ?? null,
    exit_code: order.settlement?.exitCode ?? null,
    seconds_paid: order.settlement?.secondsPaid ?? null,
    settled_block: order.settlement?.block ?? null,
    tx_hash: order.settlement?.txHash ?? null,
  }),
  fromRow: (row) => {
    const escrow: Escrow = {
      head: words(row, "head_words") as unknown as Escrow["head"],
      payees: words(row, "payee_words"),
    };
    return {
      id: text<OrderId>(row, "id"),
      client: text<Address>(row, "client"),
      token: text<Address>(row, "token"),
      offers: list(row, "offers") as OfferId[],
      payees: unpackPayees(escrow.payees),
      argsDigest: text<Digest>(row, "args_digest"),
      recipientDigest: text<Digest>(row, "recipient_digest"),
      goal: optional<Hex32>(row, "goal"),
      salt: unpackHead(escrow.head).salt,
      escrow,
      depositWei: amount(row, "deposit_wei"),
      openedAtMs: count(row, "opened_at_ms"),
      deadlineMs: count(row, "deadline_ms"),
      runsBefore: list(row, "runs_before").map(Number),
      status: text<OrderRecord["status"]>(row, "status"),
      openedBlock: count(row, "opened_block"),
      ...(row["node"] === null ? {} : { settlement: settlementFrom(row) }),
    };
  },
};

function settlementFrom(row: Row): NonNullable<OrderRecord["settlement"]> {
  return {
    node: text<NodeId>(row, "node"),
    operator: text<Address>(row, "operator"),
    reportDigest: text<Digest>(row, "report_digest"),
    outputDigest: optional<Digest>(row, "output_digest"),
    exitCode: count(row, "exit_code"),
    secondsPaid: count(row, "seconds_paid"),
    txHash: text<Hex32>(row, "tx_hash"),
    block: count(row, "settled_block"),
  };
}

const nodes: RecordTable<NodeRecord> = {
  name: "nodes",
  columns: {
    operator: "text",
    status: "text",
    stake_wei: "amount",
    endpoint: "text",
    roles: "integer",
    measurement: "text",
    keys_digest: "text",
    certificate_digest: "text",
    issued_at_seconds: "integer",
    not_after_seconds: "integer",
  },
  indexes: ["operator"],
  toRow: (id, { certificate, endpoint, status, stakeWei }) => ({
    id,
    operator: certificate.operator,
    status,
    stake_wei: stakeWei.toString(),
    endpoint: safeText(endpoint),
    roles: certificate.roles,
    measurement: certificate.measurement,
    keys_digest: certificate.keysDigest,
    certificate_digest: certificate.certificateDigest,
    issued_at_seconds: certificate.issuedAtSeconds,
    not_after_seconds: certificate.notAfterSeconds,
  }),
  fromRow: (row) => ({
    certificate: {
      node: text<NodeId>(row, "id"),
      operator: text<Address>(row, "operator"),
      keysDigest: text<Digest>(row, "keys_digest"),
      certificateDigest: text<Digest>(row, "certificate_digest"),
      measurement: text<Digest>(row, "measurement"),
      roles: count(row, "roles"),
      issuedAtSeconds: count(row, "issued_at_seconds"),
      notAfterSeconds: count(row, "not_after_seconds"),
    },
    endpoint: originalText(text(row, "endpoint")),
    status: text<NodeRecord["status"]>(row, "status"),
    stakeWei: amount(row, "stake_wei"),
  }),
};

function approvals(name: string): RecordTable<Approval> {
  return {
    name,
    columns: { effective_at_seconds: "integer", revoked: "integer" },
    indexes: [],
    toRow: (id, { effectiveAtSeconds, revoked }) => ({
      id,
      effective_at_seconds: effectiveAtSeconds,
      revoked: Number(revoked),
    }),
    fromRow: (row) => ({
      effectiveAtSeconds: count(row, "effective_at_seconds"),
      revoked: count(row, "revoked") === 1,
    }),
  };
}

const announced: RecordTable<RecordOf<"announced">> = {
  name: "announced_decisions",
  columns: { kind: "integer", effective_at_seconds: "integer" },
  indexes: [],
  toRow: (id, { kind, effectiveAtSeconds }) => ({ id, kind, effective_at_seconds: effectiveAtSeconds }),
  fromRow: (row) => ({ kind: count(row, "kind"), effectiveAtSeconds: count(row, "effective_at_seconds") }),
};

const goals: RecordTable<RecordOf<"goals">> = {
  name: "goals",
  columns: { goal_id: "text", owner: "text", document: "text" },
  indexes: ["owner"],
  toRow: (id, { goalId, owner, document }) => ({ id, goal_id: safeText(goalId), owner, document }),
  fromRow: (row) => ({
    goalId: originalText(text(row, "goal_id")),
    owner: text<Address>(row, "owner"),
    document: text(row, "document"),
  }),
};

const groups: RecordTable<GroupRecord> = {
  name: "node_groups",
  columns: { goal_id: "text", epoch: "integer", term: "integer", members: "text" },
  indexes: [],
  toRow: (id, { goalId, epoch, term, members }) => ({
    id,
    goal_id: safeText(goalId),
    epoch,
    term,
    members: members.join(","),
  }),
  fromRow: (row) => ({
    goalId: originalText(text(row, "goal_id")),
    epoch: count(row, "epoch"),
    term: count(row, "term"),
    members: list(row, "members") as NodeId[],
  }),
};

const balances: RecordTable<bigint> = {
  name: "balances",
  columns: { token: "text", account: "text", amount_wei: "amount" },
  indexes: ["account"],
  toRow: (id, amountWei) => {
    const [token = "", account = ""] = id.split(":");
    return { id, token, account, amount_wei: amountWei.toString() };
  },
  fromRow: (row) => amount(row, "amount_wei"),
};

const rewards: RecordTable<bigint> = {
  name: "rewards",
  columns: { amount_wei: "amount" },
  indexes: [],
  toRow: (id, amountWei) => ({ id, amount_wei: amountWei.toString() }),
  fromRow: (row) => amount(row, "amount_wei"),
};

const channels: RecordTable<Channel> = {
  name: "channels",
  columns: {
    consumer: "text",
    payee: "text",
    token: "text",
    expiry_seconds: "integer",
    salt: "amount",
    deposit_wei: "amount",
    claimed_wei: "amount",
    is_open: "integer",
  },
  indexes: ["consumer", "payee"],
  toRow: (id, { channel, depositWei, claimedWei, isOpen }) => ({
    id,
    consumer: channel.consumer,
    payee: channel.payee,
    token: channel.token,
    expiry_seconds: channel.expirySeconds,
    salt: channel.salt.toString(),
    deposit_wei: depositWei.toString(),
    claimed_wei: claimedWei.toString(),
    is_open: Number(isOpen),
  }),
  fromRow: (row) => ({
    channel: {
      consumer: text<Address>(row, "consumer"),
      payee: text<Address>(row, "payee"),
      token: text<Address>(row, "token"),
      expirySeconds: count(row, "expiry_seconds"),
      salt: amount(row, "salt"),
    },
    depositWei: amount(row, "deposit_wei"),
    claimedWei: amount(row, "claimed_wei"),
    isOpen: count(row, "is_open") === 1,
  }),
};

/** The table of each map of the read model: a new map has none and does not compile. */
export const PART_TABLES: { readonly [K in MarketPart]: RecordTable<RecordOf<K>> } = {
  offers,
  orders,
  nodes,
  measurements: approvals("measurements"),
  authorities: approvals("authorities"),
  announced,
  goals,
  groups,
  balances,
  rewards,
  channels,
};

/** The maps of the read model by name. */
export const MARKET_PARTS = Object.keys(PART_TABLES) as MarketPart[];

/** What holds for the whole market: one row, whose id is `STANDING_ID`. */
export const STANDING_TABLE: RecordTable<Standing> = {
  name: "standing",
  columns: {
    term: "integer",
    leader: "text",
    round: "integer",
    kitty_wei: "amount",
    reward_epoch: "integer",
    log_size: "integer",
    log_root: "text",
  },
  indexes: [],
  toRow: (id, { term, round, kittyWei, rewardEpoch, logRoot, ...others }) => {
    void (others satisfies Record<string, never>);
    return {
      id,
      term: term.term,
      leader: term.leader ?? null,
      round,
      kitty_wei: kittyWei.toString(),
      reward_epoch: rewardEpoch,
      log_size: logRoot?.size ?? null,
      log_root: logRoot?.root ?? null,
    };
  },
  fromRow: (row) => ({
    term: {
      term: count(row, "term"),
      ...(row["leader"] === null ? {} : { leader: text<NodeId>(row, "leader") }),
    },
    round: count(row, "round"),
    kittyWei: amount(row, "kitty_wei"),
    rewardEpoch: count(row, "reward_epoch"),
    ...(row["log_root"] === null
      ? {}
      : { logRoot: { size: count(row, "log_size"), root: text<Digest>(row, "log_root") } }),
  }),
};

export const STANDING_ID = "market";

/** What an order was opened on, a row for each of its offers: they never change. */
export const ORDER_OFFERS_TABLE: Table = {
  name: "order_offers",
  columns: {
    order_id: "text",
    position: "integer",
    offer_id: "text",
    owner: "text",
    kind: "text",
    fixed_wei: "amount",
    per_second_wei: "amount",
    booking_wei: "amount",
    share_bps: "integer",
    runs_before: "integer",
  },
  indexes: ["offer_id"],
};

/** The rows of `ORDER_OFFERS_TABLE` for one order. */
export function orderOfferRows(order: OrderRecord): Row[] {
  return order.offers.map((offer, position) => {
    const payee = order.payees[position];
    return {
      id: `${order.id}:${position}`,
      order_id: order.id,
      position,
      offer_id: offer,
      owner: payee?.owner ?? null,
      kind: OFFER_KINDS[payee?.kind ?? -1] ?? null,
      fixed_wei: payee?.fixedWei.toString() ?? null,
      per_second_wei: payee?.perSecondWei.toString() ?? null,
      booking_wei: payee?.bookingWei.toString() ?? null,
      share_bps: payee?.shareBps ?? null,
      runs_before: order.runsBefore[position] ?? null,
    };
  });
}

/**
 * Everything that happened, in the chain's sequence: the history of every order, offer, node, channel, term,
 * group and log root. `subject` is what it happened to; `args` is JSON with amounts as decimal text.
 */
export const EVENTS_TABLE: Table = {
  name: "events",
  columns: {
    block: "integer",
    log_index: "integer",
    tx_hash: "text",
    name: "text",
    subject: "text",
    args: "text",
  },
  indexes: ["subject", "block"],
};

/** An event's row. Its id sorts as the chain does. */
export function eventRow(event: MarketEvent): Row {
  const { blockNumber, logIndex, txHash, eventName } = event;
  const args = event.args as Readonly<Record<string, unknown>>;
  return {
    id: `${String(blockNumber).padStart(12, "0")}:${String(logIndex).padStart(6, "0")}`,
    block: blockNumber,
    log_index: logIndex,
    tx_hash: txHash,
    name: eventName,
    subject: String(args["account"] ?? Object.values(args)[0]),
    args: JSON.stringify(args, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value)),
  };
}

/** Every table that follows from the events alone. */
export const MARKET_TABLES: readonly Table[] = [
  ...MARKET_PARTS.map((part): Table => PART_TABLES[part]),
  STANDING_TABLE,
  ORDER_OFFERS_TABLE,
  EVENTS_TABLE,
];

function text<T extends string = string>(row: Row, column: string): T {
  return String(row[column]) as T;
}

function optional<T extends string>(row: Row, column: string): T | undefined {
  return row[column] === null ? undefined : text<T>(row, column);
}

function count(row: Row, column: string): number {
  return Number(row[column]);
}

function amount(row: Row, column: string): bigint {
  return BigInt(row[column] as string);
}

function list(row: Row, column: string): string[] {
  const joined = text(row, column);
  return joined === "" ? [] : joined.split(",");
}

function words(row: Row, column: string): bigint[] {
  return list(row, column).map(BigInt);
}

/** Anyone can write a NUL into a text on the chain, and PostgreSQL takes none: it is kept as `\0`. */
function safeText(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\0", "\\0");
}

function originalText(value: string): string {
  return value.replaceAll(/\\([\\0])/g, (_, mark: string) => (mark === "0" ? "\0" : "\\"));
}
