import { CloisterError } from "@cloister/core";
import type { Deployment, IndexStore } from "@cloister/market";
import type { Database } from "./database.ts";
import { openPostgres } from "./postgres.ts";
import { prepareSchema } from "./schema.ts";
import { SqlIndexStore } from "./sql-store.ts";
import { openSqlite } from "./sqlite.ts";

/**
 * Opens the index of a deployment in the database that a URL names, making its tables when there are none:
 * `sqlite:FILE`, `sqlite::memory:`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
 * @throws {CloisterError} `INDEX_URL_UNKNOWN`, `INDEX_DATABASE_UNREACHABLE`, `INDEX_DATABASE_FAILED`,
 *   `INDEX_DATABASE_FOREIGN`, `INDEX_SCHEMA_VERSION`, `INDEX_OTHER_CHAIN`
 */
export async function openIndexStore(url: string, deployment: Deployment): Promise<IndexStore> {
  const database = await openDatabase(url);
  try {
    await prepareSchema(database, deployment);
    return new SqlIndexStore(database);
  } catch (error) {
    await database.close();
    throw error;
  }
}

function openDatabase(url: string): Promise<Database> {
  const file = /^sqlite:(.+)$/.exec(url)?.[1];
  if (file !== undefined) return openSqlite(file);
  if (/^postgres(ql)?:\/\//.test(url)) return openPostgres(url);
  // The text may hold a password, so it is not repeated.
  throw new CloisterError("INDEX_URL_UNKNOWN", "The database's URL names neither SQLite nor PostgreSQL.", {
    hint: "Write sqlite:FILE, or postgres://USER:PASSWORD@HOST:PORT/DATABASE.",
  });
}
