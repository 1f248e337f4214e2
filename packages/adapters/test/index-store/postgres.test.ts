import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DEPLOYMENT } from "../../../market/test/samples.ts";
import { openIndexStore } from "../../src/index-store/index.ts";
import { indexStoreCompliance } from "./compliance.ts";
import { finishAndCompare, readUntil, surviveKills } from "./killed.ts";
import { findPostgres, startPostgres, type PostgresServer } from "./postgres-server.ts";

describe.skipIf(findPostgres() === undefined)(
  "PostgreSQL (needs a postgresql that this user can start)",
  () => {
    let server: PostgresServer;

    beforeAll(async () => {
      server = await startPostgres();
    }, 60_000);

    afterAll(() => server.stop(), 60_000);

    indexStoreCompliance("PostgreSQL", () => server.createDatabase());

    test("holds what a straight replay gives after its reader and its server were killed", async () => {
      const url = await server.createDatabase();
      await surviveKills(url);
      const second = await server.createDatabase();
      const { code, errors } = await readUntil(second, 10, () => server.crash());
      expect(code).toBe(1);
      expect(errors).toContain("INDEX_DATABASE_UNREACHABLE");
      await server.restart();
      await finishAndCompare(second);
    }, 60_000);

    test("says that a server is not there, or that it has no such database", async () => {
      const code = "INDEX_DATABASE_UNREACHABLE";
      await expect(openIndexStore("postgres://x@127.0.0.1:1/x", DEPLOYMENT)).rejects.toMatchObject({ code });
      const url = (await server.createDatabase()).replace(/index_\d+/, "nothing");
      await expect(openIndexStore(url, DEPLOYMENT)).rejects.toMatchObject({ code });
    });

    test("lies beside other tables of the same database", async () => {
      const url = await server.createDatabase();
      const { default: pg } = await import("pg");
      const client = new pg.Client(url);
      await client.connect();
      await client.query("CREATE TABLE orders (id int)");
      const store = await openIndexStore(url, DEPLOYMENT);
      expect((await store.totals()).events).toBe(0);
      await store.close();
      await client.query("SELECT id FROM orders");
      await client.query("UPDATE cloister_index.meta SET schema_version = 0");
      await client.end();
      await expect(openIndexStore(url, DEPLOYMENT)).rejects.toMatchObject({ code: "INDEX_SCHEMA_VERSION" });
    });
  },
);
