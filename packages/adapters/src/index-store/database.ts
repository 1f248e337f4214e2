import type { Cell, ColumnType, Row, Table } from "@cloister/market";

/** A transaction on a relational database. SQL names its parameters `?`. */
export interface Sql {
  query(sql: string, parameters?: readonly Cell[]): Promise<Row[]>;
  /** The rows of a table with these ids. */
  load(table: Table, ids: readonly string[]): Promise<Row[]>;
  /** Puts rows in place of those with the same ids. */
  upsert(table: Table, rows: readonly Row[]): Promise<void>;
  remove(table: Table, ids: readonly string[]): Promise<void>;
}

/** How two databases write the same thing. */
export interface Dialect {
  readonly types: Readonly<Record<ColumnType, string>>;
  /** The type of an id: it must sort by its bytes, as JavaScript does. */
  readonly idType: string;
  /** What stands behind a table's columns. */
  readonly tableOptions: string;
  /** Sorts by an amount. */
  amountOrder(column: string): string;
  /** Holds when an amount is at most the parameter. */
  amountAtMost(column: string): string;
  /** Sums an amount exactly, as text. */
  amountSum(column: string): string;
  /** Keeps other writers out until the transaction ends. */
  readonly lockForWriting: string | undefined;
  /** Names of the tables that are there. */
  readonly tableNames: string;
}

/** A relational database. One transaction's work runs at a time. */
export interface Database {
  readonly dialect: Dialect;
  /** Runs work that sees one state of the database. */
  read<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Runs work that takes effect wholly or not at all. */
  write<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A table's columns with their types, `id` first. */
export function columnsOf(
  table: Table,
  dialect: Dialect,
): readonly (readonly [name: string, type: string])[] {
  const rest = Object.entries(table.columns).map(([name, type]) => [name, dialect.types[type]] as const);
  return [["id", dialect.idType], ...rest];
}

/** What makes a table, if it is not there. */
export function creationOf(table: Table, dialect: Dialect): string[] {
  const columns = columnsOf(table, dialect).map(([name, type]) => `${name} ${type}`);
  const indexes = table.indexes.map(
    (column) => `CREATE INDEX IF NOT EXISTS ${table.name}_by_${column} ON ${table.name} (${column})`,
  );
  const body = `(${columns.join(", ")}, PRIMARY KEY (id))${dialect.tableOptions}`;
  return [`CREATE TABLE IF NOT EXISTS ${table.name} ${body}`, ...indexes];
}

/** Puts a row in place of the one with its id; `source` is `VALUES (…)` or a select. */
export function upsertSql(table: Table, source: string): string {
  const columns = Object.keys(table.columns);
  const updates = columns.map((column) => `${column} = excluded.${column}`);
  return `INSERT INTO ${table.name} (${["id", ...columns].join(", ")}) ${source} ON CONFLICT (id) DO UPDATE SET ${updates.join(", ")}`;
}
