import type { Address } from "@cloister/core";
import {
  QUERY_ROWS,
  QUERY_ROWS_MAX,
  type Cell,
  type OfferQuery,
  type OrderQuery,
  type TokenTotals,
  type Totals,
} from "@cloister/market";
import type { Dialect, Sql } from "./database.ts";

/** A statement with its parameters. */
export interface Statement {
  readonly sql: string;
  readonly parameters: readonly Cell[];
}

/** Collects the conditions of a query; what is asked of nothing does not narrow. */
class Conditions {
  readonly #texts: string[] = [];
  readonly parameters: Cell[] = [];

  add(text: string, ...values: readonly (Cell | undefined)[]): void {
    if (values.includes(undefined)) return;
    this.#texts.push(text);
    this.parameters.push(...(values as Cell[]));
  }

  get where(): string {
    return this.#texts.length === 0 ? "" : ` WHERE ${this.#texts.map((text) => `(${text})`).join(" AND ")}`;
  }
}

/** The offers that a query asks for. */
export function offersSql(query: OfferQuery, dialect: Dialect): Statement {
  const { kind, owner, text, fixedWeiMax, usableAtSeconds, sortBy = "id" } = query;
  const conditions = new Conditions();
  conditions.add("kind IS NOT NULL");
  conditions.add("kind = ?", kind);
  conditions.add("owner = ?", owner);
  const pattern = text === undefined ? undefined : `%${literally(text)}%`;
  const contains = ["id", "owner", "content_digest"].map((column) => `${column} LIKE ? ESCAPE '\\'`);
  conditions.add(contains.join(" OR "), pattern, pattern, pattern);
  if (fixedWeiMax !== undefined) {
    const condition = dialect.amountAtMost("fixed_wei");
    const times = condition.split("?").length - 1;
    conditions.add(condition, ...Array.from({ length: times }, () => fixedWeiMax.toString()));
  }
  conditions.add("revoked_from_seconds IS NULL OR revoked_from_seconds > ?", usableAtSeconds);
  conditions.add("valid_from_seconds IS NULL OR valid_from_seconds <= ?", usableAtSeconds);
  conditions.add("valid_until_seconds = 0 OR valid_until_seconds >= ?", usableAtSeconds);
  if (usableAtSeconds !== undefined) {
    conditions.add("runs_max = 0 OR runs < runs_max");
    conditions.add("disabled IS NULL OR disabled = 0");
  }
  const order = sortBy === "price" ? `${dialect.amountOrder("fixed_wei")}, id` : "id";
  return {
    sql: `SELECT * FROM offers${conditions.where} ORDER BY ${order} LIMIT ${limitOf(query.limit)}`,
    parameters: conditions.parameters,
  };
}

/** The orders that a query asks for, newest first. */
export function ordersSql(query: OrderQuery): Statement {
  const conditions = new Conditions();
  conditions.add("client = ?", query.client);
  conditions.add("node = ?", query.node);
  conditions.add("status = ?", query.status);
  conditions.add("id IN (SELECT order_id FROM order_offers WHERE offer_id = ?)", query.offer);
  const limit = limitOf(query.limit);
  return {
    sql: `SELECT * FROM orders${conditions.where} ORDER BY opened_block DESC, id LIMIT ${limit}`,
    parameters: conditions.parameters,
  };
}

/** Ids in the events' table that begin with a text. */
export function subjectsSql(beginning: string, limit: number): Statement {
  return {
    sql: `SELECT DISTINCT subject FROM events WHERE subject LIKE ? ESCAPE '\\' ORDER BY subject LIMIT ${limitOf(limit)}`,
    parameters: [`${literally(beginning)}%`],
  };
}

/** A text as LIKE takes it for itself; ids are lower-case. */
function literally(text: string): string {
  return text.toLowerCase().replaceAll(/[%_\\]/g, "\\$&");
}

/** Counts everything and adds up every token. */
export async function readTotals(sql: Sql, dialect: Dialect): Promise<Totals> {
  const count = async (table: string): Promise<number> =>
    Number((await sql.query(`SELECT COUNT(*) AS count FROM ${table}`))[0]?.["count"]);
  const byStatus = await sql.query("SELECT status, COUNT(*) AS count FROM orders GROUP BY status");
  const sums = async (table: string, column: string, where: string): Promise<Map<string, bigint>> => {
    const sum = dialect.amountSum(column);
    const rows = await sql.query(`SELECT token, ${sum} AS sum FROM ${table} WHERE ${where} GROUP BY token`);
    return new Map(rows.map((row) => [String(row["token"]), BigInt(row["sum"] as string)]));
  };
  const deposits = await sums("orders", "deposit_wei", "status = 'open'");
  const paid = await sums("orders", "paid_wei", "status = 'open'");
  const balances = await sums("balances", "amount_wei", "1 = 1");
  const funded = await sums("channels", "deposit_wei", "is_open = 1");
  const claimed = await sums("channels", "claimed_wei", "is_open = 1");
  const tokens = new Set([...deposits.keys(), ...balances.keys(), ...funded.keys()]);
  return {
    offers: await count("offers WHERE kind IS NOT NULL"),
    orders: Object.fromEntries(byStatus.map((row) => [String(row["status"]), Number(row["count"])])),
    nodes: await count("nodes"),
    events: await count("events"),
    tokens: [...tokens].toSorted().map((token): TokenTotals => {
      const of = (sum: ReadonlyMap<string, bigint>): bigint => sum.get(token) ?? 0n;
      return {
        token: token as Address,
        escrowWei: of(deposits) - of(paid),
        balancesWei: of(balances),
        channelsWei: of(funded) - of(claimed),
      };
    }),
  };
}

function limitOf(limit: number = QUERY_ROWS): number {
  return Math.max(0, Math.min(QUERY_ROWS_MAX, Math.floor(limit)));
}
