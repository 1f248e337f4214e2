/** `orders list` and `orders show`. */
import { formatEther, type Address } from "@cloister/core";
import {
  ANCHORED,
  OUTCOMES,
  perHourWei,
  splitEscrow,
  unpackHead,
  type OrderRecord,
  type OrderStatus,
  type Outcome,
} from "@cloister/market";
import { Option, type Command } from "commander";
import { examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { EXIT } from "../cli/errors.ts";
import { formatCoins, formatFields, formatTable } from "../cli/output.ts";
import { secondsText, tokenText } from "../cli/prices.ts";
import type { Client } from "../network/client.ts";
import { layoutOf } from "../network/layout.ts";

const STATUSES: readonly OrderStatus[] = ["open", ...ANCHORED];

interface ListOptions {
  readonly client?: string;
  readonly status?: OrderStatus;
  readonly offer?: string;
  readonly owner?: string;
  readonly overdue?: boolean;
}

export function registerOrderViews(orders: Command, context: Context): void {
  orders
    .command("list")
    .summary("list the orders of this market")
    .description("List the orders of this market and how they ended, the newest last.")
    .option("--client <account>", "of one client only: an account of this home, or an address")
    .option("--owner <account>", "only orders on what this account offers")
    .option("--offer <offer>", "only orders on this offer")
    .addOption(new Option("--status <status>", "only orders that stand so").choices([...STATUSES]))
    .option("--overdue", "only open orders whose deadline has passed")
    .addHelpText(
      "after",
      examples(
        ["cloister orders list --client lab --status open", "what the lab waits for"],
        ["cloister orders list --owner clinic", "every use of what the clinic offers"],
      ),
    )
    .action((options: ListOptions) => list(context, options));
  orders
    .command("show")
    .summary("show one order, what became of its money, and why it failed if it did")
    .description("Show one order: its state, where its money is or went, and why it failed if it did.")
    .argument("<order>", "its id, or its beginning")
    .action((id: string) => show(context, id));
}

async function openClient(context: Context): Promise<Client> {
  const { Client: Opened } = await import("../network/client.ts");
  return Opened.open(context.home);
}

async function list(context: Context, options: ListOptions): Promise<void> {
  const { addressNamed, namesOf } = await import("../network/accounts.ts");
  const { findOffer } = await import("../network/market.ts");
  const layout = layoutOf(context.home);
  const client = await openClient(context);
  const address = (text: string | undefined): Address | undefined =>
    text === undefined ? undefined : addressNamed(layout, text);
  const [buyer, owner] = [address(options.client), address(options.owner)];
  const offer = options.offer === undefined ? undefined : findOffer(client, options.offer);
  const found = [...(client.chain.view()?.state.orders.values() ?? [])].filter(
    (one) =>
      (buyer === undefined || one.client === buyer) &&
      (owner === undefined || one.payees.some((payee) => payee.owner === owner)) &&
      (offer === undefined || one.offers.includes(offer)) &&
      (options.status === undefined || one.status === options.status) &&
      (options.overdue !== true || isOverdue(one, context.nowMs())),
  );
  const orders = found.map((one) => ({
    id: one.id,
    status: one.status,
    client: one.client,
    depositWei: one.depositWei,
    opened: new Date(one.openedAtMs).toISOString(),
    deadline: new Date(one.deadlineMs).toISOString(),
  }));
  const nameOf = namesOf(layout);
  context.output.result({ orders }, () =>
    found.length === 0 ? "There is no such order." : tableOf(context, found, nameOf),
  );
}

function isOverdue({ status, deadlineMs }: OrderRecord, nowMs: number): boolean {
  return status === "open" && deadlineMs <= nowMs;
}

function tableOf(
  context: Context,
  orders: readonly OrderRecord[],
  nameOf: (address: Address) => string,
): string[] {
  const { style } = context.output;
  const paint = { succeeded: style.good, failed: style.bad } as Partial<
    Record<OrderStatus, typeof style.good>
  >;
  const rows = orders.map((one) => [
    `${one.id.slice(0, 14)}…`,
    (paint[one.status] ?? ((text: string) => text))(one.status),
    formatCoins(one.depositWei) + tokenText(one.token),
    timeText(one.openedAtMs),
    timeText(one.deadlineMs),
    nameOf(one.client),
  ]);
  return formatTable(style, ["order", "status", "price", "opened", "deadline", "client"], rows);
}

/** To the second, in UTC. */
function timeText(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19)}Z`;
}

async function show(context: Context, text: string): Promise<void> {
  const { findOrder } = await import("../network/market.ts");
  const client = await openClient(context);
  await showRecord(context, client, findOrder(client, text), true);
}

/** Where the money of an order is, or went: to whom, how much, and for what. */
interface MoneyLine {
  readonly account: Address;
  readonly amountWei: bigint;
  readonly for: string;
}

/** Shows an order; one that failed makes the exit code 1, unless it is only looked at. */
export async function showRecord(
  context: Context,
  client: Client,
  record: OrderRecord,
  looking = false,
): Promise<void> {
  const { namesOf } = await import("../network/accounts.ts");
  const reasons = record.status === "failed" ? await client.orderReasons(record.id) : undefined;
  if (!looking && record.status !== "succeeded") process.exitCode = EXIT.refused;
  const { settlement } = record;
  const head = unpackHead(record.escrow.head);
  const paid = paidOf(record);
  const document = {
    orderId: record.id,
    status: record.status,
    client: record.client,
    offers: record.offers,
    depositWei: record.depositWei,
    claimedWei: head.paidWei,
    secondsMax: head.secondsMax,
    opened: new Date(record.openedAtMs).toISOString(),
    deadline: new Date(record.deadlineMs).toISOString(),
    ...(head.ending ? { ending: true } : {}),
    ...(settlement === undefined ? {} : { settlement }),
    ...(paid.length === 0 ? {} : { paid }),
    ...(reasons === undefined ? {} : { code: reasons.reason, refusals: reasons.refusals }),
  };
  const nameOf = namesOf(layoutOf(context.home));
  context.output.result(document, () => [
    ...formatFields([
      ["order", record.id],
      ["status", statusText(record, head.ending, context.nowMs())],
      ["client", `${record.client} (${nameOf(record.client)})`],
      ["price", formatEther(record.depositWei) + tokenText(record.token)],
      ...timeFields(record),
      ...(settlement === undefined
        ? []
        : [["node", settlement.node] as const, ["report", settlement.reportDigest] as const]),
      ...(reasons === undefined ? [] : [["why", reasons.reason] as const]),
      ...paid.map(
        (one) => ["paid", `${formatEther(one.amountWei)} to ${nameOf(one.account)} for ${one.for}`] as const,
      ),
    ]),
    ...(reasons?.refusals ?? []).map(({ code, reason }) => `  ${code}: ${reason}`),
    ...(record.status === "failed" || record.status === "refunded"
      ? ["The price went back to the client: `cloister account withdraw` takes it out of the market."]
      : []),
  ]);
}

function statusText({ status, deadlineMs }: OrderRecord, ending: boolean, nowMs: number): string {
  if (status !== "open") return status;
  if (deadlineMs <= nowMs) return "open, overdue: `cloister orders refund` brings the money back";
  return ending ? "open, cancelled by its client: it ends at the deadline" : "open";
}

function timeFields(record: OrderRecord): (readonly [string, string])[] {
  const { secondsMax, computePerSecondWei } = unpackHead(record.escrow.head);
  const perSecondWei = record.payees.reduce((sum, payee) => sum + payee.perSecondWei, computePerSecondWei);
  return [
    ["opened", timeText(record.openedAtMs)],
    ["deadline", timeText(record.deadlineMs)],
    ...(secondsMax === 0
      ? []
      : ([
          ["time", `at most ${secondsText(secondsMax)}, at ${formatCoins(perHourWei(perSecondWei))}/h`],
        ] as const)),
  ];
}

/** How the escrow was split when the order ended; what was claimed before is not in it. */
function paidOf(record: OrderRecord): MoneyLine[] {
  const { status, settlement, escrow } = record;
  // Further slots are paid by an event of their own.
  if (status === "open" || status === "forfeited" || unpackHead(escrow.head).slots > 1) return [];
  const outcome = OUTCOMES.find((one) => one === status) ?? ("failed" satisfies Outcome);
  const operator = settlement?.operator ?? record.client;
  return splitEscrow(escrow, outcome, settlement?.secondsPaid ?? 0, operator).map(
    ({ account, amountWei, reason }) => ({
      ...{ account, amountWei },
      for: typeof reason === "object" ? offerText(record, reason.offer) : REASONS[reason],
    }),
  );
}

const REASONS = { compute: "computing", rest: "what was left" } as const;

function offerText({ payees, offers }: OrderRecord, place: number): string {
  const kind = ["engine", "data", "model", "compute", "storage"][payees[place]?.kind ?? -1] ?? "offer";
  return `${kind} ${offers[place]?.slice(0, 10) ?? ""}…`;
}
