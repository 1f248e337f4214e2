import type { Address, Digest, Hex32, NodeId, OfferId, OrderId } from "@cloister/core";
import type { MarketEvent } from "../events.ts";
import type { BlockMark } from "../follower.ts";
import type { NodeRecord, OfferRecord, OrderRecord, OrderStatus } from "../state.ts";
import type { OfferKind } from "../types.ts";

/** All events after the block of `parent` up to and including that of `mark`, in the chain's sequence. */
export interface Stretch {
  /** The head that this continues; undefined before the first block. */
  readonly parent: BlockMark | undefined;
  readonly mark: BlockMark;
  readonly events: readonly MarketEvent[];
  /** True when no reorganisation is expected to reach so deep: nothing is kept to go back behind it. */
  readonly isFinal: boolean;
}

/** What a chain's events are read into, by one reader at a time or by several. */
export interface EventLedger {
  /** The blocks that can be gone back to, newest first; the first is the head. */
  marks(): Promise<readonly BlockMark[]>;
  /**
   * Takes in a stretch wholly or not at all. One that was taken in before changes nothing.
   * @throws {CloisterError} `INDEX_OUT_OF_STEP` when the head is another than its parent.
   */
  apply(stretch: Stretch): Promise<"applied" | "already">;
  /**
   * Takes back everything after a block; undefined takes back everything.
   * @throws {CloisterError} `INDEX_MARK_UNKNOWN` when the block is none of `marks`.
   */
  rollBack(to: BlockMark | undefined): Promise<void>;
}

/** Which offers to list; what is absent does not narrow. */
export interface OfferQuery {
  readonly kind?: OfferKind | undefined;
  readonly owner?: Address | undefined;
  /** Of the id, the owner or the content's digest. */
  readonly text?: string | undefined;
  readonly fixedWeiMax?: bigint | undefined;
  /** Only offers that an order could be opened on then: neither revoked nor disabled, in time, with runs left. */
  readonly usableAtSeconds?: number | undefined;
  readonly sortBy?: "id" | "price" | undefined;
  readonly limit?: number | undefined;
}

/** Which orders to list; what is absent does not narrow. */
export interface OrderQuery {
  readonly client?: Address | undefined;
  readonly node?: NodeId | undefined;
  readonly status?: OrderStatus | undefined;
  /** Only orders that were opened on this offer. */
  readonly offer?: OfferId | undefined;
  readonly limit?: number | undefined;
}

/** Rows that a query gives when it names no limit. */
export const QUERY_ROWS = 100;
/** The most rows that a query gives. */
export const QUERY_ROWS_MAX = 10_000;

/** A published offer by its id. */
export interface ListedOffer extends OfferRecord {
  readonly id: OfferId;
  readonly offer: NonNullable<OfferRecord["offer"]>;
}

/** Something that happened to an order, an offer, a node or whatever else has an id. */
export interface Happening {
  readonly block: number;
  readonly logIndex: number;
  readonly txHash: Hex32;
  readonly name: MarketEvent["eventName"];
  /** The event's arguments, amounts as decimal text. */
  readonly args: Readonly<Record<string, unknown>>;
}

/** What one token holds and owes in all. */
export interface TokenTotals {
  readonly token: Address;
  /** Deposits of open orders, less what was paid out of them. */
  readonly escrowWei: bigint;
  /** What accounts can withdraw. */
  readonly balancesWei: bigint;
  /** Deposits of open channels, less what was claimed. */
  readonly channelsWei: bigint;
}

/** Numbers over everything. */
export interface Totals {
  readonly offers: number;
  readonly orders: Readonly<Partial<Record<OrderStatus, number>>>;
  readonly nodes: number;
  readonly events: number;
  readonly tokens: readonly TokenTotals[];
}

/**
 * The read model in a database. Amounts are exact. Every method throws {CloisterError}
 * `INDEX_DATABASE_UNREACHABLE` when the database does not answer, `INDEX_DATABASE_FAILED` when it refuses.
 */
export interface IndexStore extends EventLedger {
  offers(query: OfferQuery): Promise<readonly ListedOffer[]>;
  order(id: OrderId): Promise<OrderRecord | undefined>;
  /** Newest first. */
  orders(query: OrderQuery): Promise<readonly OrderRecord[]>;
  nodes(): Promise<readonly NodeRecord[]>;
  balancesOf(account: Address): Promise<ReadonlyMap<Address, bigint>>;
  /** What happened to the thing with an id, oldest first. */
  historyOf(subject: string): Promise<readonly Happening[]>;
  /** Ids that begin so and to which something happened, in order; no more than `limit`. */
  subjects(beginning: string, limit: number): Promise<readonly string[]>;
  totals(): Promise<Totals>;
  /** Rows and digest of every table that follows from the events: equal in every store that took the same. */
  digests(): Promise<ReadonlyMap<string, { readonly rows: number; readonly digest: Digest }>>;
  close(): Promise<void>;
}
