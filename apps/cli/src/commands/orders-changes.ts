/** `orders extend` and `orders cancel`. */
import { CloisterError, formatEther } from "@cloister/core";
import {
  cancelOrder,
  CANCEL_SECONDS,
  endSeconds,
  extendOrder,
  highestPriceWei,
  secondsAllowed,
  unpackHead,
  type OrderRecord,
} from "@cloister/market";
import type { Command } from "commander";
import { accountFor } from "../cli/account.ts";
import { examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatFields } from "../cli/output.ts";
import { parseDuration, parsePrice } from "../cli/parse.ts";
import type { PassphraseOptions } from "../cli/passphrase.ts";
import { secondsText } from "../cli/prices.ts";
import { usageError } from "../cli/usage.ts";
import type { Account } from "../network/accounts.ts";
import type { Client } from "../network/client.ts";

interface ChangeOptions extends PassphraseOptions {
  readonly as: string;
}

interface ExtendOptions extends ChangeOptions {
  readonly later?: number;
  readonly time?: number;
  readonly add?: bigint;
}

export function registerChanges(orders: Command, context: Context): void {
  orders
    .command("extend")
    .summary("give an order a later deadline, more paid time, more money")
    .description(
      "Give an open order a later deadline, more time that is paid for, or more money. What more time costs at most is added to the deposit by itself.",
    )
    .argument("<order>", "its id, or its beginning")
    .requiredOption("--as <account>", "its client")
    .option("--later <time>", "how much later its deadline is to be", parseDuration)
    .option("--time <time>", "how much more time is to be paid for", parseDuration)
    .option("--add <amount>", "how much to add to the deposit (default: what the time costs)", parsePrice)
    .option("--passphrase-file <file>", "the account's passphrase")
    .addHelpText(
      "after",
      examples([
        "cloister orders extend 0x2c… --as lab --later 1h --time 1h",
        "one more hour of what is let by the hour",
      ]),
    )
    .action((id: string, options: ExtendOptions) => extend(context, id, options));
  orders
    .command("cancel")
    .summary("end an order early")
    .description(
      `End an open order early: its deadline becomes ${secondsText(CANCEL_SECONDS)} from now. A node that works on it can report until then and is paid for that; after that the money goes back.`,
    )
    .argument("<order>", "its id, or its beginning")
    .requiredOption("--as <account>", "its client")
    .option("--passphrase-file <file>", "the account's passphrase")
    .action((id: string, options: ChangeOptions) => cancel(context, id, options));
}

/** The open order and its client's account. @throws {CloisterError} `ORDER_UNKNOWN`, `ORDER_NOT_YOURS`, `ORDER_ENDED` */
async function openOwn(
  context: Context,
  text: string,
  options: ChangeOptions,
): Promise<{ readonly client: Client; readonly account: Account; readonly found: OrderRecord }> {
  const { Client: Opened } = await import("../network/client.ts");
  const { findOrder } = await import("../network/market.ts");
  const client = await Opened.open(context.home);
  const found = findOrder(client, text);
  const account = await accountFor(context, client.layout, options);
  if (found.client !== account.address) {
    throw new CloisterError("ORDER_NOT_YOURS", `The order ${found.id} is not one of ${account.name}'s.`, {
      hint: "Only its client can change it; `cloister orders list --client` shows whose are whose.",
    });
  }
  if (found.status !== "open") throw alreadyEnded(found);
  return { client, account, found };
}

/** For what can be done to open orders only. */
export function alreadyEnded({ id, status }: OrderRecord): CloisterError {
  const hint =
    status === "succeeded"
      ? "It was paid out by its report: `cloister results get` has the result."
      : "Its price went back already: `cloister account withdraw` brings it into the wallet.";
  const how = status === "refunded" ? "was refunded" : status;
  return new CloisterError("ORDER_ENDED", `The order ${id} has ended: it ${how}.`, { hint });
}

async function extend(context: Context, text: string, options: ExtendOptions): Promise<void> {
  if (options.later === undefined && options.time === undefined && options.add === undefined) {
    throw usageError("USAGE_CHANGE_MISSING", "Nothing would change.", "Say --later, --time or --add.");
  }
  const { client, account, found } = await openOwn(context, text, options);
  const head = unpackHead(found.escrow.head);
  if (endSeconds(head) * 1000 <= context.nowMs()) throw overdue(found);
  const addSeconds = Math.ceil((options.time ?? 0) / 1000);
  refuseTooLong(found, head.secondsMax + addSeconds);
  const leastWei = leastAddition(found, addSeconds);
  const addWei = options.add ?? leastWei;
  if (addWei < leastWei) {
    throw new CloisterError(
      "ORDER_DEPOSIT_SHORT",
      `So much time costs up to ${formatEther(leastWei)} more than what is deposited; ${formatEther(addWei)} was offered.`,
      { hint: "Raise --add, or leave it out." },
    );
  }
  // In the grace period of a service the deadline may have passed; the new one may not.
  const from = Math.max(
    head.deadlineSeconds,
    options.later === undefined ? 0 : Math.ceil(context.nowMs() / 1000),
  );
  const deadlineSeconds = from + Math.ceil((options.later ?? 0) / 1000);
  if (deadlineSeconds * 1000 <= context.nowMs()) throw overdue(found);
  const more = { addWei, addSeconds, deadlineSeconds };
  await client.chain.send(extendOrder(client.chain.deployment, found.id, found.escrow, more), account.secret);
  await client.durable();
  const deadline = new Date(deadlineSeconds * 1000).toISOString();
  const depositWei = found.depositWei + addWei;
  context.output.result(
    { orderId: found.id, addedWei: addWei, depositWei, secondsMax: head.secondsMax + addSeconds, deadline },
    () =>
      formatFields([
        ["order", found.id],
        ["added", formatEther(addWei)],
        ["deposit", formatEther(depositWei)],
        [
          "time",
          head.secondsMax + addSeconds === 0
            ? "not paid for"
            : `at most ${secondsText(head.secondsMax + addSeconds)}`,
        ],
        ["deadline", deadline],
      ]),
  );
}

/** @throws {CloisterError} `ORDER_TIME_OUTSIDE` */
function refuseTooLong({ id, payees }: OrderRecord, seconds: number): void {
  const most = secondsAllowed(payees);
  if (seconds <= most) return;
  throw new CloisterError(
    "ORDER_TIME_OUTSIDE",
    `The offers of the order ${id} are let for at most ${secondsText(most)}; this would make it ${secondsText(seconds)}.`,
    { hint: "Give it less --time, or open another order." },
  );
}

/** What more time costs at most beyond what the deposit covers. */
function leastAddition({ escrow, payees, depositWei }: OrderRecord, addSeconds: number): bigint {
  const head = unpackHead(escrow.head);
  const wantedWei = highestPriceWei({ ...head, secondsMax: head.secondsMax + addSeconds }, payees);
  return wantedWei > depositWei ? wantedWei - depositWei : 0n;
}

function overdue({ id, deadlineMs }: OrderRecord): CloisterError {
  return new CloisterError(
    "ORDER_OVERDUE",
    `The order ${id} had until ${new Date(deadlineMs).toISOString()}.`,
    {
      hint: "A service that was paid by the second can still be given a later one with --later, for a day; anything else is refunded.",
    },
  );
}

async function cancel(context: Context, text: string, options: ChangeOptions): Promise<void> {
  const { client, account, found } = await openOwn(context, text, options);
  const endsMs = context.nowMs() + CANCEL_SECONDS * 1000;
  if (found.deadlineMs <= endsMs) {
    throw new CloisterError(
      "ORDER_ENDS_SOON",
      `The order ${found.id} ends at ${new Date(found.deadlineMs).toISOString()} anyway.`,
      {
        hint: `A cancelled order has ${secondsText(CANCEL_SECONDS)} left, too: wait for its report or its refund.`,
      },
    );
  }
  await client.chain.send(cancelOrder(client.chain.deployment, found.id, found.escrow), account.secret);
  await client.durable();
  const { state } = await client.chain.refresh();
  const deadline = new Date(state.orders.get(found.id)?.deadlineMs ?? endsMs).toISOString();
  context.output.result({ orderId: found.id, cancelled: true, deadline }, () => [
    `The order ${found.id} ends by ${deadline}.`,
    "A node that works on it can still report until then; after that the money goes back.",
  ]);
}
