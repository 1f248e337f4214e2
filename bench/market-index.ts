/**
 * Replays the events of many orders into both databases and holds the results against the reducer in memory,
 * table by table; each run in a process of its own, beside a bare insertion of the same rows.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { digestOfDocument } from "@cloister/core";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { atLeast, exactly, printReport } from "@cloister/tools/report";
import { findPostgres, startPostgres } from "../packages/adapters/test/index-store/postgres-server.ts";
import { writeHistory } from "./market-index-history.ts";
import type { RunReport } from "./market-index-run.ts";

const ORDERS = 100_000;
const PROGRAM = fileURLToPath(new URL("market-index-run.ts", import.meta.url));

const flags = readFlags("npm run bench:index -- [--orders N] [--seed N] [--json]", {
  orders: { type: "string", default: String(ORDERS) },
  seed: { type: "string", default: "1" },
  json: { type: "boolean", default: false },
});
const say = flags.json ? console.error : console.log;
const round = (value: number): number => Math.round(value * 100) / 100;

function runApart(mode: string, folder: string, ...rest: readonly string[]): RunReport {
  const args = ["--max-old-space-size=8192", PROGRAM, mode, folder, ...rest];
  const done = spawnSync(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 1 << 26,
  });
  if (done.status !== 0) throw new Error(`the run ${[mode, ...rest].join(" ")} failed`);
  return JSON.parse(done.stdout.toString()) as RunReport;
}

interface Replayed {
  readonly digest: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** A replay into a database and the bare insertion of the same rows into another one beside it. */
function replayInto(
  name: string,
  folder: string,
  facts: Facts,
  urls: readonly [string, string],
  pid = "",
): Replayed {
  const replay = runApart("replay", folder, urls[0], pid);
  const bare = runApart("bare", folder, urls[1], pid);
  const figures = {
    eventsPerCpuSecond: Math.round(facts.events / replay.cpuSeconds),
    ordersPerCpuSecond: Math.round(facts.orders / replay.cpuSeconds),
    eventsPerSecond: Math.round(facts.events / replay.wallSeconds),
    cpuSeconds: round(replay.cpuSeconds),
    wallSeconds: round(replay.wallSeconds),
    memoryMb: Math.round(replay.memoryMb),
    rows: replay.rows,
    bareCpuSeconds: round(bare.cpuSeconds),
    timesBareInsertion: round(replay.cpuSeconds / bare.cpuSeconds),
  };
  say(
    `${name}: ${Object.entries(figures)
      .map(([key, value]) => `${key} ${value}`)
      .join(", ")}`,
  );
  return { digest: digestOfDocument(replay.digests ?? {}), figures };
}

type Facts = ReturnType<typeof writeHistory>;

const folder = mkdtempSync(join(tmpdir(), "cloister-bench-index-"));
const server = findPostgres() === undefined ? undefined : await startPostgres();
try {
  const facts = writeHistory(folder, wholeNumber("orders", flags.orders, 1), wholeNumber("seed", flags.seed));
  say(
    `${facts.orders} orders, ${facts.events} events in ${facts.blocks} blocks, ${facts.bytes} bytes of logs`,
  );
  const inMemory = runApart("memory", folder);
  const digest = digestOfDocument(inMemory.digests ?? {});
  const memory = {
    eventsPerCpuSecond: Math.round(facts.events / inMemory.cpuSeconds),
    cpuSeconds: round(inMemory.cpuSeconds),
  };
  say(
    `memory: decoded and reduced ${memory.eventsPerCpuSecond} events per CPU second, ${inMemory.rows} rows, ${digest}`,
  );
  const files = ["index.sqlite", "bare.sqlite"].map((name) => `sqlite:${join(folder, name)}`) as [
    string,
    string,
  ];
  const sqlite = replayInto("sqlite", folder, facts, files);
  const sqliteBytes = statSync(join(folder, "index.sqlite")).size;
  const postgres =
    server &&
    replayInto(
      "postgres",
      folder,
      facts,
      [await server.createDatabase(), await server.createDatabase()],
      String(server.pid),
    );
  say(
    `digest over all tables: memory ${digest}, sqlite ${sqlite.digest}, postgres ${postgres?.digest ?? "not there"}`,
  );
  printReport(
    {
      name: "index",
      figures: {
        history: facts,
        memory,
        sqlite: { ...sqlite.figures, sqliteBytes },
        postgres: postgres?.figures ?? null,
        digest,
      },
      goals: [
        atLeast("orders whose events were replayed", facts.orders, ORDERS),
        exactly("digest over every table, SQLite against the reducer in memory", sqlite.digest, digest),
        {
          ...exactly(
            "digest over every table, PostgreSQL against the reducer in memory",
            postgres?.digest ?? "",
            digest,
          ),
          figure: postgres?.digest ?? null,
        },
      ],
    },
    flags.json,
  );
} finally {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
}
