import {
  CloisterError,
  codeOf,
  formatBytes,
  formatEther,
  fromUtf8,
  type OfferId,
  type Refusal,
} from "@cloister/core";
import { Option, type Command } from "commander";
import { accountFor } from "../cli/account.ts";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readDocument } from "../cli/files.ts";
import { formatFields } from "../cli/output.ts";
import { parseBytes, parseDuration, parsePrice } from "../cli/parse.ts";
import type { PassphraseOptions } from "../cli/passphrase.ts";
import type { OfferRefusals } from "../network/order-check.ts";
import { alreadyEnded, registerChanges } from "./orders-changes.ts";
import { registerOrderViews, showRecord } from "./orders-view.ts";

const WAIT_AFTER_DEADLINE_MS = 30_000;
const ARGS_BYTES_MAX = 1024 * 1024;
const OUTPUT_BYTES_DEFAULT = 16 * 1024 * 1024;

interface OpenOptions extends PassphraseOptions {
  readonly as: string;
  readonly engine: string;
  readonly input?: string[];
  readonly args?: string;
  readonly purpose: string;
  readonly computePrice: bigint;
  readonly maxPrice?: bigint;
  readonly pool?: bigint;
  readonly timeMax?: number;
  readonly fromBalance?: boolean;
  readonly deadline: number;
  readonly outputMax?: number;
  readonly runMax?: number;
  readonly memoryMax?: number;
  readonly wait?: boolean;
  readonly dryRun?: boolean;
  readonly anyway?: boolean;
}

export function register(program: Command, context: Context): void {
  const orders = commandOf(program, "orders").description(
    "An order runs an engine on data inside a CVM. Its price waits in escrow until the report of the run releases it.",
  );
  registerOpen(orders, context);
  registerOrderViews(orders, context);
  orders
    .command("wait")
    .summary("wait until an order has ended")
    .description("Wait until an order has ended. The exit code is 0 when it succeeded and 1 when it did not.")
    .argument("<order>", "its id, or its beginning")
    .action((id: string) => waitFor(context, id));
  orders
    .command("refund")
    .summary("bring the money of an overdue order back")
    .description(
      "Bring the money of an order back whose deadline passed without a report. The network does it by itself, too.",
    )
    .argument("<order>", "its id, or its beginning")
    .requiredOption("--as <account>", "who sends the transaction; the money goes to the client")
    .option("--passphrase-file <file>", "the account's passphrase")
    .action((id: string, options: PassphraseOptions & { as: string }) => refundOne(context, id, options));
  registerChanges(orders, context);
}

function registerOpen(orders: Command, context: Context): void {
  orders
    .command("open")
    .summary("order a run and pay it into escrow")
    .description(
      "Open an order: an engine, its inputs, the most it may cost, and until when. The result is sealed to you. Every consent is judged first, as the nodes will: what they would refuse is not paid for.",
    )
    .requiredOption("--as <account>", "who pays, and whom the result is sealed to")
    .requiredOption("--engine <offer>", "the engine's offer, or the beginning of its id")
    .option(
      "--input <offer=name>",
      "an input's offer, and the name the engine finds it under; several times",
      collectValues,
    )
    .option("--args <file>", "what the engine is told: the content of its /args.json")
    .option("--purpose <word>", "what the run is for; each consent must list it", "train")
    .option("--compute-price <amount>", "for the operator of the node", parsePrice, 10n ** 16n)
    .option("--max-price <amount>", "the most that all may cost together", parsePrice)
    .option(
      "--pool <amount>",
      "what offers with a share divide (default: the least they ask for)",
      parsePrice,
    )
    .option("--time-max <time>", "the longest that offers by the hour are paid for", parseDuration)
    .option("--from-balance", "pay with what the account has in the market, not out of its wallet")
    .addOption(
      new Option("--deadline <time>", "how long the run may take before you are refunded")
        .argParser(parseDuration)
        .default(600_000, "10m"),
    )
    .option(
      "--output-max <size>",
      "the most that the result may take (default: what every consent allows, at most 16MiB)",
      parseBytes,
    )
    .option("--run-max <time>", "the longest that the engine may run", parseDuration)
    .option("--memory-max <size>", "the most memory that the engine may use", parseBytes)
    .option("--dry-run", "say what it would cost and whether every consent allows it, and order nothing")
    .option("--anyway", "order even what a consent would refuse; it is refunded then")
    .option("--wait", "return once the order has ended")
    .option("--passphrase-file <file>", "the account's passphrase")
    .addHelpText(
      "after",
      examples([
        "cloister orders open --as author --engine 0x12ab --input 0x34cd=a.csv --input 0x56ef=b.csv --args args.json --wait",
        "train on two tables",
      ]),
    )
    .action((options: OpenOptions) => openOne(context, options));
}

async function openOne(context: Context, options: OpenOptions): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { findOffer, orderEnd, prepareOrder } = await import("../network/market.ts");
  const { judgeOrder } = await import("../network/order-check.ts");
  const engineArgs =
    options.args === undefined ? undefined : fromUtf8(await readDocument(options.args, ARGS_BYTES_MAX));
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const inputs = (options.input ?? []).map((text, i) => {
    const [id = "", name = `input-${i}`] = text.split("=", 2);
    return { offer: findOffer(client, id), name };
  });
  const engine = findOffer(client, options.engine);
  const deadlineMs = context.nowMs() + options.deadline;
  const outputBytesMax =
    options.outputMax ?? (await outputAllowed(client, [engine, ...inputs.map((input) => input.offer)]));
  const prepared = await prepareOrder(client, account, {
    ...{ engine, inputs, purpose: options.purpose, deadlineMs, outputBytesMax },
    computeWei: options.computePrice,
    ...(engineArgs === undefined ? {} : { engineArgs }),
    ...(options.maxPrice === undefined ? {} : { maxWei: options.maxPrice }),
    ...(options.pool === undefined ? {} : { poolWei: options.pool }),
    ...(options.timeMax === undefined ? {} : { secondsMax: Math.ceil(options.timeMax / 1000) }),
    ...(options.fromBalance === true ? { fromBalance: true } : {}),
    ...(options.runMax === undefined ? {} : { runMs: options.runMax }),
    ...(options.memoryMax === undefined ? {} : { memoryBytes: options.memoryMax }),
  });
  const intent = { offers: [engine, ...inputs.map(({ offer }) => offer)], purpose: options.purpose };
  const recipient = account.identity.recipient.text;
  const judged = await judgeOrder(client, { ...intent, recipient, outputBytesMax }, context.nowMs());
  if (judged.length > 0 && options.anyway !== true) throw refusedBeforehand(judged);
  if (options.dryRun === true) return showPlan(context, prepared.depositWei, outputBytesMax, judged);
  await prepared.open();
  const { id } = prepared;
  if (options.wait !== true) {
    await client.durable();
    return context.output.result({ orderId: id, status: "open" }, () => [
      `order   ${id}`,
      "Follow it with `cloister orders wait`.",
    ]);
  }
  context.output.note(`order ${id} is open`);
  const progress = context.output.progress("Waiting for the report");
  try {
    const ended = await orderEnd(client, id, {
      untilMs: deadlineMs + WAIT_AFTER_DEADLINE_MS,
      reopen: prepared.open,
    });
    progress.end();
    await showRecord(context, client, ended);
  } finally {
    progress.end();
  }
}

/** One error with every reason of every consent; each names its offer. */
function refusedBeforehand(judged: readonly OfferRefusals[]): CloisterError {
  const all = judged.flatMap(({ offer, kind, refusals }) =>
    refusals.map((refusal) => ({ ...refusal, reason: `${kind} ${offer.slice(0, 14)}…: ${refusal.reason}` })),
  );
  return CloisterError.fromRefusals(all as [Refusal, ...Refusal[]]);
}

function showPlan(
  context: Context,
  depositWei: bigint,
  outputBytesMax: number,
  refused: readonly OfferRefusals[],
): void {
  context.output.result({ allowed: refused.length === 0, depositWei, outputBytesMax, refused }, () => [
    ...formatFields([
      ["price", formatEther(depositWei)],
      ["result", `at most ${formatBytes(outputBytesMax)}`],
    ]),
    refused.length === 0 ? "Every consent allows it. Nothing was ordered." : "Refused; nothing was ordered.",
  ]);
}

/** What every consent lets out, when the client does not say: with more, the order would end refused. */
async function outputAllowed(client: Client, offers: readonly OfferId[]): Promise<number> {
  const { collect, decodeConsent } = await import("@cloister/custody");
  const known = client.chain.view()?.state.offers;
  let least = OUTPUT_BYTES_DEFAULT;
  for (const id of offers) {
    const digest = known?.get(id)?.offer?.content.consentDigest;
    if (digest === undefined) continue;
    try {
      least = Math.min(least, decodeConsent(await collect(client.store.get(digest))).outputBytesMax);
    } catch (error) {
      // A consent that cannot be read allows nothing; the loader says so with its reason.
      if (codeOf(error) === "INTERNAL") throw error;
    }
  }
  return least;
}

type Client = Awaited<ReturnType<typeof import("../network/client.ts").Client.open>>;

async function openClient(context: Context): Promise<Client> {
  const { Client } = await import("../network/client.ts");
  return Client.open(context.home);
}

async function waitFor(context: Context, text: string): Promise<void> {
  const { findOrder, orderEnd } = await import("../network/market.ts");
  const client = await openClient(context);
  const { id, deadlineMs } = findOrder(client, text);
  const progress = context.output.progress("Waiting for the report");
  try {
    const ended = await orderEnd(client, id, { untilMs: deadlineMs + WAIT_AFTER_DEADLINE_MS });
    progress.end();
    await showRecord(context, client, ended);
  } finally {
    progress.end();
  }
}

async function refundOne(
  context: Context,
  text: string,
  options: PassphraseOptions & { readonly as: string },
): Promise<void> {
  const { findOrder, refund } = await import("../network/market.ts");
  const client = await openClient(context);
  const account = await accountFor(context, client.layout, options);
  const found = findOrder(client, text);
  if (found.status !== "open") throw alreadyEnded(found);
  await refund(client, found, account);
  context.output.result({ orderId: found.id, refunded: true }, () => `The order ${found.id} is refunded.`);
}
