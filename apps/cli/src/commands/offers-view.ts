/** `offers list`, `offers show` and `offers versions`. */
import type { Address, OfferId } from "@cloister/core";
import {
  OFFER_KINDS,
  offerStanding,
  perHourWei,
  versionsOf,
  type MarketState,
  type Offer,
  type OfferKind,
  type OfferRecord,
  type OfferStanding,
} from "@cloister/market";
import { Option, type Command } from "commander";
import { examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatFields, formatTable } from "../cli/output.ts";
import { parsePrice } from "../cli/parse.ts";
import { priceText, secondsText } from "../cli/prices.ts";
import type { Client } from "../network/client.ts";
import { layoutOf } from "../network/layout.ts";

interface ListOptions {
  readonly kind?: OfferKind;
  readonly owner?: string;
  readonly find?: string;
  readonly maxPrice?: bigint;
  readonly maxPerHour?: bigint;
  readonly usable?: boolean;
  readonly sort?: "published" | "price" | "runs";
}

export function registerViews(offers: Command, context: Context): void {
  offers
    .command("list")
    .summary("list what is offered")
    .description("List the offers of this market, in the sequence in which they were published.")
    .addOption(new Option("--kind <kind>", "of one kind only").choices([...OFFER_KINDS]))
    .option("--owner <account>", "of one owner only: an account of this home, or an address")
    .option("--find <text>", "only where the name, the id, the owner or the content's digest has this text")
    .option("--max-price <amount>", "whose fixed price is at most this", parsePrice)
    .option("--max-per-hour <amount>", "whose price by the hour is at most this", parsePrice)
    .option("--usable", "only what an order could be opened on now")
    .addOption(new Option("--sort <by>", "in which sequence").choices(["published", "price", "runs"]))
    .addHelpText(
      "after",
      examples(
        ["cloister offers list --kind data --usable --sort price", "tables to order now, the cheapest first"],
        ["cloister offers list --owner clinic", "what the clinic offers, and how often it was used"],
      ),
    )
    .action((options: ListOptions) => list(context, options));
  offers
    .command("show")
    .summary("show one offer: its terms, how often it was used, what may be done with it")
    .description("Show one offer: its terms, how often it was used, and what its consent allows.")
    .argument("<offer>", "its id, or its beginning")
    .action((id: string) => show(context, id));
  offers
    .command("versions")
    .summary("show what an offer was before, and what took its place")
    .description("Show all versions of an offer, the oldest first, and from when on each holds.")
    .argument("<offer>", "any version's id, or its beginning")
    .action((id: string) => versions(context, id));
}

interface OfferLine {
  readonly id: OfferId;
  readonly kind: OfferKind;
  readonly owner: Address;
  /** In words. */
  readonly price: string;
  readonly priceWei: bigint;
  readonly perHourWei: bigint;
  readonly shareBps: number;
  readonly token: Address;
  readonly runs: number;
  readonly runsMax: number;
  readonly content: string;
  readonly name?: string;
  readonly revision?: string;
  readonly download?: boolean;
  readonly standing: OfferStanding;
  readonly revoked: boolean;
  readonly replaces?: OfferId;
  readonly validFrom?: string;
  readonly endsAt?: string;
}

function lineOf(id: OfferId, record: OfferRecord & { readonly offer: Offer }, nowMs: number): OfferLine {
  const { owner, kind, terms, content } = record.offer;
  const { revokedFromSeconds: ends, validFromSeconds: begins, replaces, runs } = record;
  const standing = offerStanding(record, Math.floor(nowMs / 1000));
  return {
    ...{
      id,
      kind,
      owner,
      price: priceText(terms),
      priceWei: terms.fixedWei,
      perHourWei: perHourWei(terms.perSecondWei),
    },
    ...{ shareBps: terms.shareBps, token: terms.token, runs, runsMax: terms.runsMax },
    ...{ content: content.contentDigest, standing, revoked: standing === "ended" },
    ...(replaces === undefined ? {} : { replaces }),
    ...(begins === undefined ? {} : { validFrom: timeText(begins) }),
    ...(ends === undefined ? {} : { endsAt: timeText(ends) }),
  };
}

function timeText(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
}

/** All published offers, with what they say of themselves. */
async function linesOf(client: Client, state: MarketState, nowMs: number): Promise<OfferLine[]> {
  const lines: OfferLine[] = [];
  for (const [id, record] of state.offers) {
    const { offer } = record;
    if (offer !== undefined)
      lines.push(await detailed(client, { ...record, offer }, lineOf(id, { ...record, offer }, nowMs)));
  }
  return lines;
}

async function detailed(client: Client, record: OfferRecord, line: OfferLine): Promise<OfferLine> {
  const { readDetails } = await import("../network/offer-details.ts");
  const details = await readDetails(client, record);
  if (details === undefined) return line;
  const { name, revision, download = false } = details;
  return { ...line, name, revision, download };
}

async function list(context: Context, options: ListOptions): Promise<void> {
  const { Client: Opened } = await import("../network/client.ts");
  const { addressNamed, namesOf } = await import("../network/accounts.ts");
  const layout = layoutOf(context.home);
  const client = await Opened.open(context.home);
  const owner = options.owner === undefined ? undefined : addressNamed(layout, options.owner);
  const { state } = await client.chain.refresh();
  const offers = sorted(
    (await linesOf(client, state, context.nowMs())).filter((line) => isWanted(line, owner, options)),
    options.sort,
  );
  const nameOf = namesOf(layout);
  context.output.result({ offers }, () =>
    offers.length === 0 ? "There is no such offer." : tableOf(context, offers, nameOf),
  );
}

function isWanted(line: OfferLine, owner: Address | undefined, options: ListOptions): boolean {
  const { kind, find, maxPrice, maxPerHour, usable } = options;
  const text = find?.toLowerCase();
  return (
    (kind === undefined || line.kind === kind) &&
    (owner === undefined || line.owner === owner) &&
    (text === undefined ||
      [line.id, line.owner, line.content, line.name ?? ""].some((one) => one.toLowerCase().includes(text))) &&
    (maxPrice === undefined || line.priceWei <= maxPrice) &&
    (maxPerHour === undefined || line.perHourWei <= maxPerHour) &&
    (usable !== true || line.standing === "usable")
  );
}

/** Cheapest first, by the fixed price and then by the hour; most used first; else as they were published. */
function sorted(lines: OfferLine[], by: ListOptions["sort"]): OfferLine[] {
  if (by === "runs") return lines.toSorted((a, b) => b.runs - a.runs);
  if (by !== "price") return lines;
  return lines.toSorted((a, b) => compare(a.priceWei, b.priceWei) || compare(a.perHourWei, b.perHourWei));
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function tableOf(
  context: Context,
  lines: readonly OfferLine[],
  nameOf: (address: Address) => string,
): string[] {
  const { style } = context.output;
  const rows = lines.map((line) => [
    `${line.id.slice(0, 14)}…`,
    line.kind,
    line.price,
    runsText(line),
    line.standing === "usable" ? style.good("usable") : style.warn(standingText(line)),
    nameOf(line.owner),
    nameText(line),
  ]);
  return formatTable(style, ["offer", "kind", "price", "runs", "state", "owner", "name"], rows);
}

function nameText({ name, revision }: OfferLine): string {
  return name === undefined ? "" : `${name} ${revision ?? ""}`;
}

function runsText({ runs, runsMax }: Pick<OfferLine, "runs" | "runsMax">): string {
  return `${runs}/${runsMax === 0 ? "∞" : runsMax}`;
}

const STANDINGS: Readonly<Record<OfferStanding, string>> = {
  usable: "usable",
  unpublished: "unpublished",
  "not-yet": "not yet",
  ended: "ended",
  disabled: "disabled",
  expired: "expired",
  "used-up": "used up",
};

function standingText({ standing }: Pick<OfferLine, "standing">): string {
  return STANDINGS[standing];
}

async function show(context: Context, text: string): Promise<void> {
  const { Client: Opened } = await import("../network/client.ts");
  const { namesOf } = await import("../network/accounts.ts");
  const { findOffer } = await import("../network/market.ts");
  const { readPolicy } = await import("../network/order-check.ts");
  const client = await Opened.open(context.home);
  const id = findOffer(client, text);
  const record = client.chain.view()?.state.offers.get(id) as OfferRecord & { readonly offer: Offer };
  const { explainConsent } = await import("@cloister/custody");
  const policy = await readPolicy(client, record);
  const line = await detailed(client, record, lineOf(id, record, context.nowMs()));
  const nameOf = namesOf(layoutOf(context.home));
  const { content, ...more } = line;
  const digests = record.offer.content;
  context.output.result(
    { ...more, terms: record.offer.terms, content: digests, consent: policy ?? null },
    () => [
      ...formatFields([
        ["offer", id],
        ...(line.name === undefined ? [] : [["name", nameText(line)] as const]),
        ["kind", line.kind],
        ["owner", `${line.owner} (${nameOf(line.owner)})`],
        ["price", line.price],
        ...termFields(record.offer),
        ["runs", runsText(line)],
        ["state", standingText(line)],
        ...(line.validFrom === undefined ? [] : [["from", line.validFrom] as const]),
        ...(line.endsAt === undefined ? [] : [["until", line.endsAt] as const]),
        ...(line.replaces === undefined ? [] : [["replaces", line.replaces] as const]),
        ...(line.download === undefined
          ? []
          : [
              ["use", line.download ? "leased, and a copy may be kept" : "leased, never handed out"] as const,
            ]),
        ["content", content],
        ["sealed as", digests.sealedDigest],
      ]),
      "",
      ...(policy === undefined
        ? ["Its consent is not in the store, or not readable: nothing can be released under it."]
        : explainConsent(policy)),
    ],
  );
}

/** Terms that most offers do not use: only those that this one has. */
function termFields({ terms }: Offer): (readonly [string, string])[] {
  const { bookingWei, poolMinWei, secondsMin, secondsMax, validUntilSeconds, token } = terms;
  const plain = { token, perSecondWei: 0n, shareBps: 0 };
  return [
    ...(bookingWei === 0n
      ? []
      : [["if it fails", `${priceText({ ...plain, fixedWei: bookingWei })} is kept`] as const]),
    ...(poolMinWei === 0n
      ? []
      : [["pool", `at least ${priceText({ ...plain, fixedWei: poolMinWei })}`] as const]),
    ...(secondsMin === 0 ? [] : [["at least", secondsText(secondsMin)] as const]),
    ...(secondsMax === 0 ? [] : [["at most", secondsText(secondsMax)] as const]),
    ...(validUntilSeconds === 0 ? [] : [["ends", timeText(validUntilSeconds)] as const]),
  ];
}

async function versions(context: Context, text: string): Promise<void> {
  const { Client: Opened } = await import("../network/client.ts");
  const { findOffer } = await import("../network/market.ts");
  const client = await Opened.open(context.home);
  const id = findOffer(client, text);
  const { state } = await client.chain.refresh();
  const all = versionsOf(state, id);
  const lines = await linesOf(client, state, context.nowMs());
  const found = all.flatMap((one) => lines.filter((line) => line.id === one));
  context.output.result({ versions: found }, () =>
    formatTable(
      context.output.style,
      ["version", "offer", "price", "runs", "state", "from", "until", "name"],
      found.map((line, i) => [
        String(i + 1),
        `${line.id.slice(0, 14)}…`,
        line.price,
        runsText(line),
        standingText(line),
        line.validFrom ?? "",
        line.endsAt ?? "",
        nameText(line),
      ]),
    ),
  );
}
