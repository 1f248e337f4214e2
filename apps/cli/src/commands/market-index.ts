import { join } from "node:path";
import { CloisterError, formatEther } from "@cloister/core";
import type { Happening, Totals } from "@cloister/market";
import { Option, type Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatFields, formatTable, type Progress } from "../cli/output.ts";
import { parseInterval, parseServiceUrl } from "../cli/parse.ts";
import type { IndexStep } from "../network/index-follower.ts";
import { layoutOf } from "../network/layout.ts";

interface DatabaseOptions {
  readonly database?: string;
}

interface FollowOptions extends DatabaseOptions {
  readonly rpc?: string;
  readonly every: number;
  readonly once?: boolean;
}

const DATABASE_ENV = "CLOISTER_INDEX";

export function register(program: Command, context: Context): void {
  const index = commandOf(program, "index").description(
    "Keep the market of --home in a database of your own, SQLite or PostgreSQL: every offer, order, balance, node and group, and everything that happened to them. It can be built again from the chain at any time.",
  );
  withDatabase(index.command("follow"))
    .summary("read the chain into the database, and go on as it grows")
    .description(
      "Read the chain into the database, and go on as it grows; where the chain takes blocks back, so does the index. It may be stopped or killed at any moment and goes on where it was; two may write to one database.",
    )
    .option(
      "--rpc <address>",
      "the chain's JSON-RPC node (default: that of the network in --home)",
      parseServiceUrl,
    )
    .addOption(
      new Option("--every <time>", "how often to look for new blocks")
        .argParser(parseInterval)
        .default(2_000, "2s"),
    )
    .option("--once", "read to the newest block, and end")
    .addHelpText(
      "after",
      examples(
        ["cloister index follow", "into index.sqlite in the state folder, until Ctrl-C"],
        [
          "cloister index follow --database postgres://cloister@db.example/market --once",
          "bring a PostgreSQL database up to date, from cron; PGPASSWORD has the password",
        ],
      ),
    )
    .action((options: FollowOptions) => follow(context, options));
  withDatabase(index.command("show"))
    .summary("show what the database holds, and how far it came")
    .description("Show what the database holds, and how far it came; the chain is not asked.")
    .option(
      "--digests",
      "and each table's rows and digest: equal in every database that read the same blocks",
    )
    .action((options: DatabaseOptions & { digests?: boolean }) => show(context, options));
  withDatabase(index.command("history"))
    .summary("show all that happened to an order, an offer, a node or an account")
    .description("Show all that happened to an order, an offer, a node or an account, oldest first.")
    .argument("<id>", "its id or address, or the beginning of it")
    .action((id: string, options: DatabaseOptions) => history(context, id, options));
  withDatabase(index.command("check"))
    .summary("read the chain afresh, and compare")
    .description(
      "Read the whole chain afresh, in memory, and hold the database against it, table by table. The exit code is 0 when every table is the same.",
    )
    .option(
      "--rpc <address>",
      "the chain's JSON-RPC node (default: that of the network in --home)",
      parseServiceUrl,
    )
    .action((options: DatabaseOptions & { rpc?: string }) => check(context, options));
}

function withDatabase(command: Command): Command {
  return command.addOption(
    new Option(
      "--database <url>",
      "sqlite:FILE or postgres://USER@HOST/DATABASE (default: index.sqlite in the state folder)",
    ).env(DATABASE_ENV),
  );
}

function databaseOf(context: Context, { database }: DatabaseOptions): string {
  return database ?? `sqlite:${join(layoutOf(context.home).home, "index.sqlite")}`;
}

async function follow(context: Context, options: FollowOptions): Promise<void> {
  const { followOn, openPlace, readOn } = await import("../network/index-follower.ts");
  const stop = new AbortController();
  const place = await openPlace({
    home: context.home,
    rpcUrl: options.rpc,
    databaseUrl: databaseOf(context, options),
  });
  const progress = context.output.progress("Reading the chain");
  const tell = (step: IndexStep): void => tellStep(context, progress, step);
  const end = (): void => stop.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  try {
    if (options.once === true) await readOn(place, tell, stop.signal);
    else await followOn(place, tell, options.every, stop.signal);
    progress.end();
    const [head] = await place.store.marks();
    const { events } = await place.store.totals();
    context.output.event({ what: "ended", block: head?.number, hash: head?.hash, events }, () =>
      head === undefined
        ? "The chain has no block of this market yet."
        : `The index stands at block ${head.number}, with ${events} events.`,
    );
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.removeListener(signal, end);
    progress.end();
    await place.store.close();
  }
}

/** On a terminal, what was read moves on one line; only what is out of the ordinary stays. */
function tellStep(context: Context, progress: Progress, step: IndexStep): void {
  if (context.json) return context.output.event(step, () => "");
  if (step.what === "read") {
    progress.label(`Block ${step.block} of ${step.newestBlock}`);
    return;
  }
  if (step.what === "waiting") return context.output.note(`${step.code}: ${step.reason} Looking again.`);
  const to = step.to === undefined ? "before the first block" : `to block ${step.to}`;
  context.output.note(`The chain took blocks back: from block ${step.from ?? "?"} ${to}, and on from there.`);
}

async function show(
  context: Context,
  options: DatabaseOptions & { readonly digests?: boolean },
): Promise<void> {
  const { openIndex } = await import("../network/index-follower.ts");
  const store = await openIndex(context.home, databaseOf(context, options));
  try {
    const [head] = await store.marks();
    const totals = await store.totals();
    const tables = options.digests === true ? [...(await store.digests())] : undefined;
    const document = {
      block: head?.number,
      hash: head?.hash,
      at: head === undefined ? undefined : new Date(head.timestampMs).toISOString(),
      ...totals,
      ...(tables === undefined ? {} : { tables: Object.fromEntries(tables) }),
    };
    context.output.result(document, () => [
      ...totalsLines(head?.number, totals),
      ...(tables === undefined ? [] : ["", ...tableLines(context, tables)]),
    ]);
  } finally {
    await store.close();
  }
}

function totalsLines(block: number | undefined, totals: Totals): string[] {
  const orders = Object.entries(totals.orders).map(([status, count]) => `${count} ${status}`);
  return formatFields([
    ["block", block === undefined ? "none: run `cloister index follow`" : String(block)],
    ["events", String(totals.events)],
    ["offers", String(totals.offers)],
    ["orders", orders.join(", ") || "none"],
    ["nodes", String(totals.nodes)],
    ...totals.tokens.flatMap(({ token, escrowWei, balancesWei, channelsWei }) => {
      const of = /^0x0+$/.test(token) ? "" : ` of ${token}`;
      return [
        [`in escrow${of}`, formatEther(escrowWei)] as const,
        [`in channels${of}`, formatEther(channelsWei)] as const,
        [`to withdraw${of}`, formatEther(balancesWei)] as const,
      ];
    }),
  ]);
}

function tableLines(
  context: Context,
  tables: readonly (readonly [string, { readonly rows: number; readonly digest: string }])[],
): string[] {
  return formatTable(
    context.output.style,
    ["table", "rows", "digest"],
    tables.map(([name, { rows, digest }]) => [name, String(rows), digest]),
  );
}

async function history(context: Context, beginning: string, options: DatabaseOptions): Promise<void> {
  const { findSubject, openIndex } = await import("../network/index-follower.ts");
  const store = await openIndex(context.home, databaseOf(context, options));
  try {
    const id = await findSubject(store, beginning);
    const happenings = await store.historyOf(id);
    context.output.result({ id, happenings }, () => [
      id,
      ...formatTable(context.output.style, ["block", "what", "with"], happenings.map(happeningCells)),
    ]);
  } finally {
    await store.close();
  }
}

/** An event in a line: long values are cut, `--json` has them whole. */
function happeningCells({ block, name, args }: Happening): string[] {
  const values = Object.entries(args).flatMap(([key, value]) => {
    if (typeof value === "object" && value !== null) return [];
    const text = String(value);
    return [`${key}=${/^0x.{20,}$/.test(text) ? `${text.slice(0, 10)}…` : text}`];
  });
  return [String(block), name, values.slice(0, 5).join(" ")];
}

async function check(context: Context, options: DatabaseOptions & { readonly rpc?: string }): Promise<void> {
  const { compareWithFresh, openPlace } = await import("../network/index-follower.ts");
  const place = await openPlace({
    home: context.home,
    rpcUrl: options.rpc,
    databaseUrl: databaseOf(context, options),
  });
  const progress = context.output.progress("Reading the chain afresh");
  try {
    const { block, tables } = await compareWithFresh(place);
    progress.end();
    const other = tables
      .filter(({ digest, freshDigest }) => digest !== freshDigest)
      .map(({ table }) => table);
    if (other.length > 0) throw differs(other);
    context.output.result({ block, same: true, tables }, () => [
      ...tableLines(
        context,
        tables.map(({ table, rows, digest }) => [table, { rows, digest }] as const),
      ),
      `At block ${block ?? "none"}, every table is the same as in a fresh reading of the chain.`,
    ]);
  } finally {
    progress.end();
    await place.store.close();
  }
}

function differs(tables: readonly string[]): CloisterError {
  return new CloisterError(
    "INDEX_DIFFERS",
    `The database differs from a fresh reading of the chain in: ${tables.join(", ")}.`,
    {
      hint: "Something else wrote to it. Build it again in an empty database.",
      details: { tables },
    },
  );
}
