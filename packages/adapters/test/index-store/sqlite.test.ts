import { DatabaseSync } from "node:sqlite";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DEPLOYMENT } from "../../../market/test/samples.ts";
import { openIndexStore } from "../../src/index-store/index.ts";
import { indexStoreCompliance } from "./compliance.ts";
import { surviveKills } from "./killed.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-index-"));
let files = 0;
const newFile = (): string => join(folder, `${++files}.sqlite`);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

indexStoreCompliance("an SQLite file", async () => `sqlite:${newFile()}`);

describe("an index in SQLite", () => {
  test("holds what a straight replay gives after its reader was killed again and again", async () => {
    await surviveKills(`sqlite:${newFile()}`);
  }, 30_000);

  test("can be kept in memory", async () => {
    const store = await openIndexStore("sqlite::memory:", DEPLOYMENT);
    expect((await store.totals()).events).toBe(0);
    await store.close();
  });

  test("refuses a newer version's index, and says which", async () => {
    const file = newFile();
    await (await openIndexStore(`sqlite:${file}`, DEPLOYMENT)).close();
    const database = new DatabaseSync(file);
    database.exec("UPDATE meta SET schema_version = 99");
    database.close();
    await expect(openIndexStore(`sqlite:${file}`, DEPLOYMENT)).rejects.toMatchObject({
      code: "INDEX_SCHEMA_VERSION",
      details: { got: 99 },
      hint: "Use the newer version of cloister that made it.",
    });
  });

  test("refuses a file of another program, a file that is no database, and a folder that is not there", async () => {
    const foreign = newFile();
    const database = new DatabaseSync(foreign);
    database.exec("CREATE TABLE orders (id INTEGER)");
    database.close();
    const code = "INDEX_DATABASE_FOREIGN";
    await expect(openIndexStore(`sqlite:${foreign}`, DEPLOYMENT)).rejects.toMatchObject({ code });
    const text = newFile();
    writeFileSync(text, "This is a text, and a rather long one, so that it could have a header.".repeat(20));
    await expect(openIndexStore(`sqlite:${text}`, DEPLOYMENT)).rejects.toMatchObject({ code });
    await expect(openIndexStore(`sqlite:${folder}/none/index`, DEPLOYMENT)).rejects.toMatchObject({
      code: "INDEX_DATABASE_UNREACHABLE",
    });
  });

  test("refuses a URL that it does not know, without repeating its password", async () => {
    for (const url of ["", "sqlite:", "mysql://me:secret@host/db", "index.sqlite"]) {
      const opening = openIndexStore(url, DEPLOYMENT);
      await expect(opening).rejects.toMatchObject({ code: "INDEX_URL_UNKNOWN" });
      await expect(opening).rejects.not.toThrow(/secret/);
    }
  });
});
