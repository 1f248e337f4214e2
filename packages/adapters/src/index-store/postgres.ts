import type { Pool, PoolClient, QueryResult } from "pg";
import { CloisterError, codeOf } from "@cloister/core";
import type { Cell, Row, Table } from "@cloister/market";
import { columnsOf, upsertSql, type Database, type Dialect, type Sql } from "./database.ts";

const CONNECT_MS = 5_000;
/** Rows that one statement carries. */
const STATEMENT_ROWS = 10_000;
/** All tables lie in a schema of their own, beside whatever else the database holds. */
const SCHEMA = "cloister_index";

/** PostgreSQL's number for the type `bigint`; every other type is taken as the text that it is sent as. */
const INT8_OID = 20;

const DIALECT: Dialect = {
  types: { text: "text", integer: "bigint", amount: "numeric(78, 0)" },
  idType: 'text COLLATE "C"',
  tableOptions: "",
  amountOrder: (column) => column,
  amountAtMost: (column) => `${column} <= CAST(? AS numeric)`,
  amountSum: (column) => `CAST(COALESCE(SUM(${column}), 0) AS text)`,
  lockForWriting: "LOCK TABLE meta IN EXCLUSIVE MODE",
  tableNames: `SELECT table_name AS id FROM information_schema.tables WHERE table_schema = '${SCHEMA}'`,
};

/**
 * Opens a PostgreSQL database by its URL.
 * @throws {CloisterError} `INDEX_DATABASE_UNREACHABLE`, `INDEX_DATABASE_FAILED`
 */
export async function openPostgres(url: string): Promise<Database> {
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({
    connectionString: url,
    max: 4,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: "cloister index",
    // What is lost with the machine's power is read again; what is there is never half of something.
    options: `-c search_path=${SCHEMA} -c synchronous_commit=off -c client_min_messages=warning`,
    types: { getTypeParser: (oid: number) => (oid === INT8_OID ? Number : asText) },
  });
  // What breaks between two statements is told by the next one; an idle connection is replaced when one is needed.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  const database = new PostgresDatabase(pool);
  try {
    await database.write((sql) => sql.query(`CREATE SCHEMA IF NOT EXISTS ${SCHEMA}`));
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

function asText(value: string): string {
  return value;
}

class PostgresDatabase implements Database {
  readonly dialect = DIALECT;
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  read<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work);
  }

  write<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#transaction("BEGIN", work);
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  async #transaction<T>(begin: string, work: (sql: Sql) => Promise<T>): Promise<T> {
    let client: PoolClient | undefined;
    let broken = false;
    try {
      client = await this.#pool.connect();
      await client.query(begin);
      const result = await work(new PostgresSql(client));
      await client.query("COMMIT");
      return result;
    } catch (error) {
      await client?.query("ROLLBACK").catch(() => {
        broken = true;
      });
      throw translated(error);
    } finally {
      client?.release(broken);
    }
  }
}

class PostgresSql implements Sql {
  readonly #client: PoolClient;

  constructor(client: PoolClient) {
    this.#client = client;
  }

  async query(sql: string, parameters: readonly Cell[] = []): Promise<Row[]> {
    let place = 0;
    const numbered = sql.replaceAll("?", () => `$${++place}`);
    const result: QueryResult<Row> = await this.#client.query(numbered, [...parameters]);
    return result.rows;
  }

  async load(table: Table, ids: readonly string[]): Promise<Row[]> {
    if (ids.length === 0) return [];
    const sql = `SELECT * FROM ${table.name} WHERE id = ANY($1::text[])`;
    return (await this.#client.query<Row>(sql, [ids])).rows;
  }

  /** Sends whole columns: a statement per row would wait for the server each time. */
  async upsert(table: Table, rows: readonly Row[]): Promise<void> {
    const columns = columnsOf(table, DIALECT).map(
      ([name, type]) => [name, type.split(" COLLATE")[0]] as const,
    );
    const arrays = columns.map(([, type], i) => `$${i + 1}::${type}[]`).join(", ");
    const sql = upsertSql(table, `SELECT * FROM unnest(${arrays})`);
    for (let at = 0; at < rows.length; at += STATEMENT_ROWS) {
      const page = rows.slice(at, at + STATEMENT_ROWS);
      await this.#client.query(
        sql,
        columns.map(([name]) => page.map((row) => row[name] ?? null)),
      );
    }
  }

  async remove(table: Table, ids: readonly string[]): Promise<void> {
    if (ids.length > 0)
      await this.#client.query(`DELETE FROM ${table.name} WHERE id = ANY($1::text[])`, [ids]);
  }
}

/** Classes of SQLSTATE: connection, authorisation, unknown database, no resources, shut down by its operator. */
const UNREACHABLE_STATE = /^(08|28|3D|53|57)/;

function translated(error: unknown): unknown {
  if (error instanceof CloisterError || !(error instanceof Error)) return error;
  const state = codeOf(error, "");
  if (/^[0-9A-Z]{5}$/.test(state) && !UNREACHABLE_STATE.test(state) && !state.startsWith("E")) {
    return new CloisterError("INDEX_DATABASE_FAILED", `PostgreSQL refused: ${error.message}.`, {
      hint: "The user needs the right to create a schema and tables in this database.",
      cause: error,
      details: { state },
    });
  }
  const reason = error.message === "" ? state : error.message;
  return new CloisterError("INDEX_DATABASE_UNREACHABLE", `PostgreSQL cannot be used: ${reason}.`, {
    hint: "Check that the server runs, and the host, port, user and password in the URL.",
    cause: error,
  });
}
