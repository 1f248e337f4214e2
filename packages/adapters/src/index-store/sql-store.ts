import {
  CloisterError,
  type Address,
  type Digest,
  type Hex32,
  type OfferId,
  type OrderId,
} from "@cloister/core";
import {
  DIGEST_PAGE_ROWS,
  EVENTS_TABLE,
  loadedTable,
  MARKET_TABLES,
  noRows,
  PART_TABLES,
  reduceRows,
  REORG_BLOCKS_MAX,
  TableDigest,
  type BlockMark,
  type Cell,
  type Happening,
  type IndexStore,
  type ListedOffer,
  type LoadedRows,
  type MarketEvent,
  type NodeRecord,
  type OfferQuery,
  type OrderQuery,
  type OrderRecord,
  type Row,
  type RowChange,
  type Stretch,
  type Table,
  type Totals,
  type Wanted,
} from "@cloister/market";
import type { Database, Sql } from "./database.ts";
import { offersSql, ordersSql, readTotals, subjectsSql } from "./queries.ts";
import { BLOCKS_TABLE, UNDO_TABLE } from "./schema.ts";

/** Rows kept at hand between stretches; beyond that all are forgotten and loaded again as needed. */
const CACHED_ROWS_MAX = 100_000;

/** An `IndexStore` over any relational database. */
export class SqlIndexStore implements IndexStore {
  readonly #database: Database;
  /** What the database holds at the head `#cachedAt`; another writer's head makes it void. */
  #cache: LoadedRows = noRows();
  #cachedAt: Hex32 | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  marks(): Promise<readonly BlockMark[]> {
    return this.#database.read(async (sql) => {
      const rows = await sql.query("SELECT * FROM blocks ORDER BY number DESC");
      return rows.map(markFrom);
    });
  }

  async apply(stretch: Stretch): Promise<"applied" | "already"> {
    const cache = this.#cachedAt === stretch.parent?.hash ? this.#cache : noRows();
    this.#forget();
    const outcome = await this.#write((sql) => applyStretch(sql, stretch, cache));
    if (outcome === "already") return outcome;
    if (cachedRows(cache) <= CACHED_ROWS_MAX) this.#cache = cache;
    this.#cachedAt = stretch.mark.hash;
    return outcome;
  }

  async rollBack(to: BlockMark | undefined): Promise<void> {
    this.#forget();
    await this.#write((sql) => (to === undefined ? clearAll(sql) : rollBackTo(sql, to)));
  }

  offers(query: OfferQuery): Promise<readonly ListedOffer[]> {
    const { sql: text, parameters } = offersSql(query, this.#database.dialect);
    return this.#database.read(async (sql) => (await sql.query(text, parameters)).map(listedOffer));
  }

  order(id: OrderId): Promise<OrderRecord | undefined> {
    return this.#database.read(async (sql) => {
      const [row] = await sql.load(PART_TABLES.orders, [id]);
      return row && PART_TABLES.orders.fromRow(row);
    });
  }

  orders(query: OrderQuery): Promise<readonly OrderRecord[]> {
    const { sql: text, parameters } = ordersSql(query);
    return this.#database.read(async (sql) =>
      (await sql.query(text, parameters)).map((row) => PART_TABLES.orders.fromRow(row)),
    );
  }

  nodes(): Promise<readonly NodeRecord[]> {
    return this.#database.read(async (sql) =>
      (await sql.query("SELECT * FROM nodes ORDER BY id")).map((row) => PART_TABLES.nodes.fromRow(row)),
    );
  }

  balancesOf(account: Address): Promise<ReadonlyMap<Address, bigint>> {
    return this.#database.read(async (sql) => {
      const rows = await sql.query("SELECT * FROM balances WHERE account = ? ORDER BY id", [account]);
      return new Map(rows.map((row) => [String(row["token"]) as Address, PART_TABLES.balances.fromRow(row)]));
    });
  }

  historyOf(subject: string): Promise<readonly Happening[]> {
    return this.#database.read(async (sql) =>
      (await sql.query("SELECT * FROM events WHERE subject = ? ORDER BY id", [subject])).map(happeningFrom),
    );
  }

  subjects(beginning: string, limit: number): Promise<readonly string[]> {
    const { sql: text, parameters } = subjectsSql(beginning, limit);
    return this.#database.read(async (sql) =>
      (await sql.query(text, parameters)).map((row) => String(row["subject"])),
    );
  }

  totals(): Promise<Totals> {
    return this.#database.read((sql) => readTotals(sql, this.#database.dialect));
  }

  digests(): Promise<ReadonlyMap<string, { readonly rows: number; readonly digest: Digest }>> {
    return this.#database.read(async (sql) => {
      const digests = new Map<string, { readonly rows: number; readonly digest: Digest }>();
      for (const table of MARKET_TABLES) digests.set(table.name, await digestOfTable(sql, table));
      return digests;
    });
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  #write<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const lock = this.#database.dialect.lockForWriting;
    return this.#database.write(async (sql) => {
      if (lock !== undefined) await sql.query(lock);
      return work(sql);
    });
  }

  #forget(): void {
    this.#cache = noRows();
    this.#cachedAt = undefined;
  }
}

async function applyStretch(sql: Sql, stretch: Stretch, known: LoadedRows): Promise<"applied" | "already"> {
  const { parent, mark, events } = stretch;
  if ((await sql.load(BLOCKS_TABLE, [mark.hash])).length > 0) return "already";
  const [head] = await sql.query("SELECT * FROM blocks ORDER BY number DESC LIMIT 1");
  if ((head?.["id"] ?? undefined) !== parent?.hash) {
    throw new CloisterError(
      "INDEX_OUT_OF_STEP",
      "The index stands at another block than what was read follows.",
      {
        hint: "Another program writes to the same index; both go on by themselves.",
        details: { head: head?.["number"] ?? null, parent: parent?.number ?? null },
      },
    );
  }
  const reduction = await reduceInto(sql, known, events);
  await writeChanges(sql, reduction.changes);
  await sql.upsert(EVENTS_TABLE, reduction.events);
  await sql.upsert(BLOCKS_TABLE, [{ id: mark.hash, number: mark.number, timestamp_ms: mark.timestampMs }]);
  if (!stretch.isFinal) await sql.upsert(UNDO_TABLE, undoRows(mark, reduction.changes));
  await prune(sql, stretch);
  remember(known, reduction.changes);
  return "applied";
}

async function reduceInto(
  sql: Sql,
  known: LoadedRows,
  events: readonly MarketEvent[],
): Promise<{ readonly changes: readonly RowChange[]; readonly events: readonly Row[] }> {
  for (;;) {
    const reduction = reduceRows(known, events);
    if (reduction.ready) return reduction;
    for (const wanted of reduction.wanted) await load(sql, known, wanted);
  }
}

async function load(sql: Sql, known: LoadedRows, { table, ids, all }: Wanted): Promise<void> {
  const loaded = loadedTable(known, table);
  for (const id of ids) loaded.rows.set(id, null);
  const rows = all ? await sql.query(`SELECT * FROM ${table.name}`) : await sql.load(table, ids);
  for (const row of rows) loaded.rows.set(String(row["id"]), row);
  if (all) loaded.isComplete = true;
}

async function writeChanges(sql: Sql, changes: readonly RowChange[]): Promise<void> {
  for (const [table, ofTable] of Map.groupBy(changes, (change) => change.table)) {
    await sql.upsert(
      table,
      ofTable.map(({ after }) => after).filter((row) => row !== null),
    );
    await sql.remove(
      table,
      ofTable.filter(({ after }) => after === null).map(({ id }) => id),
    );
  }
}

function remember(known: LoadedRows, changes: readonly RowChange[]): void {
  for (const { table, id, after } of changes) loadedTable(known, table).rows.set(id, after);
}

function cachedRows(known: LoadedRows): number {
  return [...known.values()].reduce((sum, { rows }) => sum + rows.size, 0);
}

function undoRows(mark: BlockMark, changes: readonly RowChange[]): Row[] {
  return changes.map(({ table, id, before }) => ({
    id: `${mark.number}:${table.name}:${id}`,
    block: mark.number,
    table_name: table.name,
    row_id: id,
    row_text: before === null ? null : JSON.stringify(before),
  }));
}

/** Drops what is too deep to be taken back; the newest of such blocks stays as the last to go back to. */
async function prune(sql: Sql, { mark, isFinal }: Stretch): Promise<void> {
  const settled = isFinal ? mark.number : mark.number - REORG_BLOCKS_MAX;
  const [base] = await sql.query("SELECT MAX(number) AS number FROM blocks WHERE number <= ?", [settled]);
  const number = base?.["number"] ?? null;
  if (number === null) return;
  await sql.query("DELETE FROM blocks WHERE number < ?", [number]);
  await sql.query("DELETE FROM undo WHERE block <= ?", [number]);
}

async function rollBackTo(sql: Sql, to: BlockMark): Promise<void> {
  if ((await sql.load(BLOCKS_TABLE, [to.hash])).length === 0) {
    throw new CloisterError("INDEX_MARK_UNKNOWN", `The index cannot go back to block ${to.number}.`, {
      hint: "It keeps what it needs to go back 256 blocks; build it again from the first.",
    });
  }
  const undo = await sql.query("SELECT * FROM undo WHERE block > ? ORDER BY block DESC", [to.number]);
  // The oldest row of each is written last and stays: it is how things were at `to`.
  const rows = new Map(undo.map((row) => [`${row["table_name"]}:${row["row_id"]}`, row]));
  const tables = new Map(MARKET_TABLES.map((table) => [table.name, table]));
  const changes = [...rows.values()].map((row): RowChange => {
    const before = row["row_text"] === null ? null : (JSON.parse(String(row["row_text"])) as Row);
    const table = tables.get(String(row["table_name"])) as Table;
    return { table, id: String(row["row_id"]), before: null, after: before };
  });
  await writeChanges(sql, changes);
  for (const table of ["events", "undo"])
    await sql.query(`DELETE FROM ${table} WHERE block > ?`, [to.number]);
  await sql.query("DELETE FROM blocks WHERE number > ?", [to.number]);
}

async function clearAll(sql: Sql): Promise<void> {
  for (const { name } of [...MARKET_TABLES, BLOCKS_TABLE, UNDO_TABLE]) await sql.query(`DELETE FROM ${name}`);
}

async function digestOfTable(
  sql: Sql,
  table: Table,
): Promise<{ readonly rows: number; readonly digest: Digest }> {
  const digest = new TableDigest(table);
  let after: Cell = "";
  for (;;) {
    const rows: Row[] = await sql.query(
      `SELECT * FROM ${table.name} WHERE id > ? ORDER BY id LIMIT ${DIGEST_PAGE_ROWS}`,
      [after],
    );
    if (rows.length > 0) digest.add(rows);
    if (rows.length < DIGEST_PAGE_ROWS) return digest.result();
    after = rows.at(-1)?.["id"] ?? "";
  }
}

function markFrom(row: Row): BlockMark {
  return {
    number: Number(row["number"]),
    hash: String(row["id"]) as Hex32,
    timestampMs: Number(row["timestamp_ms"]),
  };
}

function listedOffer(row: Row): ListedOffer {
  return { ...PART_TABLES.offers.fromRow(row), id: String(row["id"]) as OfferId } as ListedOffer;
}

function happeningFrom(row: Row): Happening {
  return {
    block: Number(row["block"]),
    logIndex: Number(row["log_index"]),
    txHash: String(row["tx_hash"]) as Hex32,
    name: String(row["name"]) as Happening["name"],
    args: JSON.parse(String(row["args"])) as Record<string, unknown>,
  };
}
