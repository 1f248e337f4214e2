/**
 * One run of the index bench in a process of its own, so that its processor time and memory are its own:
 * `memory FOLDER`, `replay FOLDER URL`, `bare FOLDER URL`. Prints one JSON object.
 */
import { readdirSync, readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { ChainReader } from "@cloister/adapters/chain";
import { openIndexStore } from "@cloister/adapters/index-store";
import {
  digestRows,
  emptyMarket,
  MARKET_TABLES,
  reduceMarket,
  rowsOfMarket,
  type EventLedger,
  type MarketEvent,
  type Row,
  type Table,
} from "@cloister/market";
import { DEPLOYMENT } from "../packages/market/test/samples.ts";
import { historyRpc } from "./market-index-history.ts";

/** Rows that one bare transaction inserts: about what a stretch of blocks brings. */
const BARE_ROWS = 8_000;

/** What a run says of itself. */
export interface RunReport {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly memoryMb: number;
  readonly rows: number;
  /** Digest of each table, where the run has them. */
  readonly digests?: Readonly<Record<string, string>>;
}

const [mode, folder, url = "", serverPid = ""] = process.argv.slice(2) as [string, string, string?, string?];
const ticksPerSecond = 100;

/** Processor time of a process and of all that it started, ended or not. */
function serverSeconds(): number {
  if (serverPid === "") return 0;
  const stat = (pid: string): string[] => {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  };
  const ticks = (pid: string, fields: readonly number[]): number => {
    try {
      const parts = stat(pid);
      return fields.reduce((sum, field) => sum + Number(parts[field - 3]), 0);
    } catch {
      return 0;
    }
  };
  const children = readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && stat(pid)[1] === serverPid;
    } catch {
      return false;
    }
  });
  const own = ticks(serverPid, [14, 15, 16, 17]);
  return children.reduce((sum, pid) => sum + ticks(pid, [14, 15]), own) / ticksPerSecond;
}

async function measured(work: () => Promise<void>): Promise<Omit<RunReport, "rows">> {
  const [server, started, before] = [serverSeconds(), performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return {
    cpuSeconds: (user + system) / 1e6 + serverSeconds() - server,
    wallSeconds: (performance.now() - started) / 1000,
    memoryMb: process.resourceUsage().maxRSS / 1024,
  };
}

async function read(ledger: EventLedger): Promise<void> {
  await new ChainReader({ rpc: historyRpc(folder), deployment: DEPLOYMENT, ledger }).read();
}

/** All rows, by the reducer in memory alone. */
async function rowsInMemory(): Promise<{
  rows: ReadonlyMap<string, readonly Row[]>;
  run: Omit<RunReport, "rows">;
}> {
  const state = emptyMarket();
  const all: MarketEvent[] = [];
  const run = await measured(() =>
    read({
      marks: async () => [],
      rollBack: async () => undefined,
      apply: async ({ events }) => {
        for (const event of events) {
          reduceMarket(state, event);
          all.push(event);
        }
        return "applied";
      },
    }),
  );
  return { rows: rowsOfMarket(state, all), run };
}

async function memory(): Promise<RunReport> {
  const { rows, run } = await rowsInMemory();
  const results = MARKET_TABLES.map(
    (table) => [table.name, digestRows(table, rows.get(table.name) ?? [])] as const,
  );
  return reportOf(run, new Map(results));
}

async function replay(): Promise<RunReport> {
  const run = await measured(async () => {
    const store = await openIndexStore(url, DEPLOYMENT);
    await read(store);
    await store.close();
  });
  const store = await openIndexStore(url, DEPLOYMENT);
  const digests = await store.digests();
  await store.close();
  return reportOf(run, digests);
}

function reportOf(
  run: Omit<RunReport, "rows">,
  digests: ReadonlyMap<string, { readonly rows: number; readonly digest: string }>,
): RunReport {
  const rows = [...digests.values()].reduce((sum, one) => sum + one.rows, 0);
  return { ...run, rows, digests: Object.fromEntries([...digests].map(([name, one]) => [name, one.digest])) };
}

/** The same rows put into like tables by the driver alone: no reducer, no decoding, no undo, no other index. */
async function bare(): Promise<RunReport> {
  const { rows } = await rowsInMemory();
  const run = await measured(() => (url.startsWith("sqlite:") ? bareSqlite(rows) : barePostgres(rows)));
  return { ...run, rows: [...rows.values()].reduce((sum, of) => sum + of.length, 0) };
}

function columnsOf(table: Table, types: Readonly<Record<string, string>>): (readonly [string, string])[] {
  return [
    ["id", "TEXT"],
    ...Object.entries(table.columns).map(([name, type]) => [name, types[type] as string] as const),
  ];
}

async function bareSqlite(rows: ReadonlyMap<string, readonly Row[]>): Promise<void> {
  const database = new DatabaseSync(url.slice("sqlite:".length));
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
  for (const table of MARKET_TABLES) {
    const columns = columnsOf(table, { text: "TEXT", integer: "INTEGER", amount: "TEXT" });
    const body = columns.map(([name, type]) => `${name} ${type}`).join(", ");
    database.exec(`CREATE TABLE ${table.name} (${body}, PRIMARY KEY (id))`);
    const insert = database.prepare(
      `INSERT INTO ${table.name} VALUES (${columns.map(() => "?").join(", ")})`,
    );
    for (const page of pagesOf(rows.get(table.name) ?? [])) {
      database.exec("BEGIN");
      for (const row of page) insert.run(...columns.map(([name]) => row[name] ?? null));
      database.exec("COMMIT");
    }
  }
  database.close();
}

async function barePostgres(rows: ReadonlyMap<string, readonly Row[]>): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query("SET synchronous_commit = off");
  for (const table of MARKET_TABLES) {
    const columns = columnsOf(table, { text: "text", integer: "bigint", amount: "numeric" });
    const body = columns.map(([name, type]) => `${name} ${type}`).join(", ");
    await client.query(`CREATE TABLE ${table.name} (${body}, PRIMARY KEY (id))`);
    const arrays = columns.map(([, type], i) => `$${i + 1}::${type}[]`).join(", ");
    for (const page of pagesOf(rows.get(table.name) ?? [])) {
      await client.query(
        `INSERT INTO ${table.name} SELECT * FROM unnest(${arrays})`,
        columns.map(([name]) => page.map((row) => row[name] ?? null)),
      );
    }
  }
  await client.end();
}

function pagesOf(rows: readonly Row[]): (readonly Row[])[] {
  const pages = Math.ceil(rows.length / BARE_ROWS);
  return Array.from({ length: pages }, (_, page) => rows.slice(page * BARE_ROWS, (page + 1) * BARE_ROWS));
}

const MODES: Readonly<Record<string, () => Promise<RunReport>>> = { memory, replay, bare };
const run = MODES[mode];
if (run === undefined) throw new Error(`no run is called ${mode}`);
process.stdout.write(`${JSON.stringify(await run())}\n`);
