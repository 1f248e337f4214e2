import type { DatabaseSync, StatementSync } from "node:sqlite";
import { setTimeout as wait } from "node:timers/promises";
import { CloisterError } from "@cloister/core";
import type { Cell, Row, Table } from "@cloister/market";
import { upsertSql, type Database, type Dialect, type Sql } from "./database.ts";

/** How long another writer may hold the file. */
const BUSY_MS = 10_000;
const BUSY_WAIT_MS = 5;

/** SQLite has no exact type for 256 bits: amounts are decimal text, which sorts right by length and then text. */
const DIALECT: Dialect = {
  types: { text: "TEXT", integer: "INTEGER", amount: "TEXT" },
  idType: "TEXT NOT NULL",
  tableOptions: " STRICT",
  amountOrder: (column) => `length(${column}), ${column}`,
  amountAtMost: (column) => `(length(${column}), ${column}) <= (length(?1), ?1)`.replaceAll("?1", "?"),
  amountSum: (column) => `sum_exact(${column})`,
  lockForWriting: undefined,
  tableNames: "SELECT name AS id FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
};

/**
 * Opens a database in one file, or in memory as `:memory:`.
 * @throws {CloisterError} `INDEX_DATABASE_UNREACHABLE`, `INDEX_DATABASE_FOREIGN` when the file is none of SQLite's
 */
export async function openSqlite(file: string): Promise<Database> {
  const { DatabaseSync: Connection } = await import("node:sqlite");
  try {
    const connection = new Connection(file, { timeout: BUSY_MS });
    // What is lost with the machine's power is read again; what is there is never half of something.
    connection.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    // From here on it is waited for in turns: a wait inside SQLite would stop the whole process.
    connection.exec("PRAGMA busy_timeout = 0");
    connection.aggregate("sum_exact", {
      start: "0",
      step: (sum: string, amount) => (BigInt(sum) + BigInt(String(amount ?? 0))).toString(),
    });
    return new SqliteDatabase(file, connection);
  } catch (error) {
    throw translated(file, error);
  }
}

class SqliteDatabase implements Database, Sql {
  readonly dialect = DIALECT;
  readonly #file: string;
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(file: string, connection: DatabaseSync) {
    this.#file = file;
    this.#connection = connection;
  }

  read<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#transaction("BEGIN", work);
  }

  write<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#transaction("BEGIN IMMEDIATE", work);
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    this.#connection.close();
  }

  async query(sql: string, parameters: readonly Cell[] = []): Promise<Row[]> {
    return this.#prepare(sql).all(...parameters) as Row[];
  }

  async load(table: Table, ids: readonly string[]): Promise<Row[]> {
    const statement = this.#prepare(`SELECT * FROM ${table.name} WHERE id = ?`);
    return ids.map((id) => statement.get(id) as Row | undefined).filter((row) => row !== undefined);
  }

  async upsert(table: Table, rows: readonly Row[]): Promise<void> {
    const columns = ["id", ...Object.keys(table.columns)];
    const statement = this.#prepare(upsertSql(table, `VALUES (${columns.map(() => "?").join(", ")})`));
    for (const row of rows) statement.run(...columns.map((column) => row[column] ?? null));
  }

  async remove(table: Table, ids: readonly string[]): Promise<void> {
    const statement = this.#prepare(`DELETE FROM ${table.name} WHERE id = ?`);
    for (const id of ids) statement.run(id);
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql) ?? this.#connection.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  /** There is one connection, so what is under way must end before the next begins. */
  #transaction<T>(begin: string, work: (sql: Sql) => Promise<T>): Promise<T> {
    const turn = this.#last.catch(() => undefined).then(() => this.#run(begin, work));
    this.#last = turn;
    return turn;
  }

  async #run<T>(begin: string, work: (sql: Sql) => Promise<T>): Promise<T> {
    try {
      await this.#begin(begin);
      const result = await work(this);
      this.#connection.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#connection.isTransaction) this.#connection.exec("ROLLBACK");
      throw translated(this.#file, error);
    }
  }

  async #begin(begin: string): Promise<void> {
    for (let waitedMs = 0; ; waitedMs += BUSY_WAIT_MS) {
      try {
        return this.#connection.exec(begin);
      } catch (error) {
        if (primaryCode(error) !== BUSY || waitedMs >= BUSY_MS) throw error;
      }
      await wait(BUSY_WAIT_MS);
    }
  }
}

/** SQLite's primary result codes. */
const BUSY = 5;
const NOT_A_DATABASE = 26;
const UNREACHABLE: ReadonlySet<number> = new Set([BUSY, 6, 8, 10, 13, 14]);

function primaryCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("errcode" in error)) return undefined;
  return Number(error.errcode) & 0xff;
}

function translated(file: string, error: unknown): unknown {
  const errcode = primaryCode(error);
  if (errcode === undefined) return error;
  const reason = error instanceof Error ? error.message : "no reason given";
  if (errcode === NOT_A_DATABASE) {
    return new CloisterError("INDEX_DATABASE_FOREIGN", `${file} is not an SQLite database.`, {
      hint: "Name a file that does not exist yet, and the index is made there.",
      cause: error,
    });
  }
  if (UNREACHABLE.has(errcode)) {
    return new CloisterError(
      "INDEX_DATABASE_UNREACHABLE",
      `The database ${file} cannot be used: ${reason}.`,
      {
        hint: "Check that its folder exists, that this user may write there, and that no other program locks it.",
        cause: error,
      },
    );
  }
  return new CloisterError("INDEX_DATABASE_FAILED", `The database ${file} failed: ${reason}.`, {
    hint: "If it is damaged, delete it and build the index again: everything in it comes from the chain.",
    cause: error,
  });
}
