import { assertInvariant } from "@cloister/core";
import type { MarketEvent } from "../events.ts";
import { emptyMarket, reduceMarket, type MarketState } from "../state.ts";
import {
  EVENTS_TABLE,
  eventRow,
  MARKET_PARTS,
  ORDER_OFFERS_TABLE,
  orderOfferRows,
  PART_TABLES,
  STANDING_ID,
  STANDING_TABLE,
  type MarketPart,
  type RecordTable,
  type Row,
  type Standing,
  type Table,
} from "./tables.ts";

/** What is known of one table: rows by id, null where there is none; absent where nobody looked. */
export interface LoadedTable {
  readonly rows: Map<string, Row | null>;
  /** Whether every row of the table is among them. */
  isComplete: boolean;
}

/** What is known of a database, by the tables' names. */
export type LoadedRows = Map<string, LoadedTable>;

/** Rows to look for before the events can be reduced; `all` asks for the whole table. */
export interface Wanted {
  readonly table: Table;
  readonly ids: readonly string[];
  readonly all: boolean;
}

/** One row that is other than before; null is none. */
export interface RowChange {
  readonly table: Table;
  readonly id: string;
  readonly before: Row | null;
  readonly after: Row | null;
}

/** Either what events change in a database, or what must be known first. */
export type Reduction =
  | { readonly ready: true; readonly changes: readonly RowChange[]; readonly events: readonly Row[] }
  | { readonly ready: false; readonly wanted: readonly Wanted[] };

/** Nothing is known yet. */
export function noRows(): LoadedRows {
  return new Map();
}

/** What is known of a table, to be added to. */
export function loadedTable(loaded: LoadedRows, table: Table): LoadedTable {
  const known = loaded.get(table.name) ?? { rows: new Map(), isComplete: false };
  loaded.set(table.name, known);
  return known;
}

/**
 * Runs the one reducer over as much of a database as its events touch. Records that the reducer asks for and
 * that are not loaded are reported as wanted: load them and reduce again, until it is ready. Nothing that is
 * passed in changes. There is no second list of what an event touches that could come to differ from the reducer.
 */
export function reduceRows(loaded: LoadedRows, events: readonly MarketEvent[]): Reduction {
  const parts = new Map(MARKET_PARTS.map((part) => [part, sparsePart(part, loaded)]));
  const standingRow = loadedTable(loaded, STANDING_TABLE).rows.get(STANDING_ID);
  const { openOrders: _, ...scalars } = emptyMarket();
  const state = {
    ...scalars,
    ...(standingRow === undefined || standingRow === null ? {} : STANDING_TABLE.fromRow(standingRow)),
    ...Object.fromEntries(parts),
    openOrders: new ForgetfulSet(),
  } as unknown as MarketState;
  for (const event of events) reduceMarket(state, event);
  const wanted = [...parts.values()].flatMap((part) => part.wanted());
  if (standingRow === undefined) wanted.push({ table: STANDING_TABLE, ids: [STANDING_ID], all: false });
  if (wanted.length > 0) return { ready: false, wanted };
  const changes = [...parts.values()].flatMap((part) => part.changes());
  const after = STANDING_TABLE.toRow(STANDING_ID, standingOf(state));
  if (!isSameRow(STANDING_TABLE, standingRow ?? null, after)) {
    changes.push({ table: STANDING_TABLE, id: STANDING_ID, before: standingRow ?? null, after });
  }
  return { ready: true, changes: [...changes, ...openedOffers(changes)], events: events.map(eventRow) };
}

/** Every row of a state, table by table, as a database that took the same events holds them. */
export function rowsOfMarket(
  state: MarketState,
  events: readonly MarketEvent[],
): ReadonlyMap<string, readonly Row[]> {
  const rows = new Map<string, Row[]>();
  for (const part of MARKET_PARTS) {
    const table = PART_TABLES[part] as RecordTable<unknown>;
    const records = state[part] as ReadonlyMap<string, unknown>;
    rows.set(
      table.name,
      [...records].map(([id, record]) => table.toRow(id, record)),
    );
  }
  rows.set(STANDING_TABLE.name, [STANDING_TABLE.toRow(STANDING_ID, standingOf(state))]);
  rows.set(ORDER_OFFERS_TABLE.name, [...state.orders.values()].flatMap(orderOfferRows));
  rows.set(EVENTS_TABLE.name, events.map(eventRow));
  return rows;
}

function standingOf(state: MarketState): Standing {
  const parts: ReadonlySet<string> = new Set([...MARKET_PARTS, "openOrders"]);
  return Object.fromEntries(
    Object.entries(state).filter(([name]) => !parts.has(name)),
  ) as unknown as Standing;
}

function openedOffers(changes: readonly RowChange[]): RowChange[] {
  return changes.flatMap(({ table, before, after }) => {
    if (table !== PART_TABLES.orders || before !== null || after === null) return [];
    return orderOfferRows(PART_TABLES.orders.fromRow(after)).map((row) => ({
      table: ORDER_OFFERS_TABLE,
      id: String(row["id"]),
      before: null,
      after: row,
    }));
  });
}

function isSameRow(table: Table, a: Row | null, b: Row | null): boolean {
  if (a === null || b === null) return a === b;
  return Object.keys(table.columns).every((column) => a[column] === b[column]);
}

function sparsePart(part: MarketPart, loaded: LoadedRows): SparseMap {
  const table = PART_TABLES[part] as RecordTable<unknown>;
  return new SparseMap(table, loadedTable(loaded, table));
}

/** A map that holds what was loaded, and remembers what was asked of it and what it did not know. */
class SparseMap extends Map<string, unknown> {
  readonly #table: RecordTable<unknown>;
  readonly #loaded: LoadedTable;
  readonly #touched = new Set<string>();
  readonly #unknown = new Set<string>();
  #wantsAll = false;

  constructor(table: RecordTable<unknown>, loaded: LoadedTable) {
    super();
    this.#table = table;
    this.#loaded = loaded;
  }

  override get(id: string): unknown {
    if (!this.#touched.has(id)) this.#bring(id);
    return super.get(id);
  }

  override has(id: string): boolean {
    return this.get(id) !== undefined;
  }

  override set(id: string, record: unknown): this {
    this.get(id);
    return super.set(id, record);
  }

  override delete(id: string): boolean {
    this.get(id);
    return super.delete(id);
  }

  override clear(): void {
    if (!this.#loaded.isComplete) this.#wantsAll = true;
    for (const id of this.#loaded.rows.keys()) this.get(id);
    super.clear();
  }

  /** A reducer that went through a whole table would load it for every event. */
  override [Symbol.iterator](): never {
    assertInvariant(false, `the reducer does not go through all ${this.#table.name}`);
  }

  wanted(): Wanted[] {
    if (!this.#wantsAll && this.#unknown.size === 0) return [];
    return [{ table: this.#table, ids: [...this.#unknown], all: this.#wantsAll }];
  }

  changes(): RowChange[] {
    const table = this.#table;
    return [...this.#touched].flatMap((id) => {
      const before = this.#loaded.rows.get(id) ?? null;
      const record = super.get(id);
      const after = record === undefined ? null : table.toRow(id, record);
      return isSameRow(table, before, after) ? [] : [{ table, id, before, after }];
    });
  }

  #bring(id: string): void {
    this.#touched.add(id);
    const row = this.#loaded.rows.get(id);
    if (row === undefined && !this.#loaded.isComplete) this.#unknown.add(id);
    if (row !== undefined && row !== null) super.set(id, this.#table.fromRow(row));
  }
}

/** Which orders are open follows from their status. */
class ForgetfulSet extends Set<string> {
  override add(): this {
    return this;
  }
}
