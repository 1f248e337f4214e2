import { CloisterError } from "@cloister/core";
import { MARKET_TABLES, type Deployment, type Table } from "@cloister/market";
import { creationOf, type Database, type Sql } from "./database.ts";

/** Counts up whenever a table changes. */
export const SCHEMA_VERSION = 3;

/** Rows as they were before each block that may still be taken back. */
export const UNDO_TABLE: Table = {
  name: "undo",
  columns: { block: "integer", table_name: "text", row_id: "text", row_text: "text" },
  indexes: ["block"],
};

/** The blocks that can be gone back to; the newest is the head. */
export const BLOCKS_TABLE: Table = {
  name: "blocks",
  columns: { number: "integer", timestamp_ms: "integer" },
  indexes: ["number"],
};

/** What the database is an index of. */
const META_TABLE: Table = {
  name: "meta",
  columns: { schema_version: "integer", chain_id: "integer", market: "text", registry: "text", log: "text" },
  indexes: [],
};

const META_ID = "cloister";

/**
 * Makes the tables, or checks that they are those of this version and deployment.
 * @throws {CloisterError} `INDEX_DATABASE_FOREIGN`, `INDEX_SCHEMA_VERSION`, `INDEX_OTHER_CHAIN`
 */
export async function prepareSchema(database: Database, deployment: Deployment): Promise<void> {
  await database.write(async (sql) => {
    const there = new Set((await sql.query(database.dialect.tableNames)).map((row) => row["id"]));
    if (there.has(META_TABLE.name)) return checkMeta(sql, deployment);
    if (there.size > 0) {
      throw new CloisterError("INDEX_DATABASE_FOREIGN", "The database holds tables of something else.", {
        hint: "Name a database of the index's own; a new file or an empty database will do.",
        details: { tables: [...there].slice(0, 10) },
      });
    }
    for (const table of [META_TABLE, BLOCKS_TABLE, UNDO_TABLE, ...MARKET_TABLES]) {
      for (const statement of creationOf(table, database.dialect)) await sql.query(statement);
    }
    const { chainId, market, registry, log } = deployment;
    const row = { id: META_ID, schema_version: SCHEMA_VERSION, chain_id: chainId, market, registry, log };
    await sql.upsert(META_TABLE, [row]);
  });
}

async function checkMeta(sql: Sql, deployment: Deployment): Promise<void> {
  const [meta] = await sql.load(META_TABLE, [META_ID]);
  const version = meta?.["schema_version"] ?? null;
  if (meta === undefined || version !== SCHEMA_VERSION) {
    const isNewer = Number(version) > SCHEMA_VERSION;
    throw new CloisterError(
      "INDEX_SCHEMA_VERSION",
      `The index has version ${version}; this program has ${SCHEMA_VERSION}.`,
      {
        hint: isNewer
          ? "Use the newer version of cloister that made it."
          : "Build it again in an empty database: everything in it comes from the chain.",
        details: { got: version, expected: SCHEMA_VERSION },
      },
    );
  }
  const got = { chainId: meta["chain_id"], market: meta["market"] };
  if (got.chainId !== deployment.chainId || got.market !== deployment.market) {
    throw new CloisterError(
      "INDEX_OTHER_CHAIN",
      `The database is an index of the market ${got.market} on chain ${got.chainId}, not of ${deployment.market} on ${deployment.chainId}.`,
      {
        hint: "Name another database, or the network that this one belongs to with --home.",
        details: { got, expected: { chainId: deployment.chainId, market: deployment.market } },
      },
    );
  }
}
