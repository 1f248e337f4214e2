import { CloisterError, formatBytes, type Address, type Digest } from "@cloister/core";
import type { ConsentPolicy, SignedConsent } from "@cloister/custody";
import type { Offer, OfferTerms } from "@cloister/market";
import { Option, type Command } from "commander";
import { accountFor } from "../cli/account.ts";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { digestOfFile, readStream } from "../cli/files.ts";
import { formatFields } from "../cli/output.ts";
import {
  collectDigests,
  parseBytes,
  parseCount,
  parseDuration,
  parsePrice,
  parseTime,
} from "../cli/parse.ts";
import type { PassphraseOptions } from "../cli/passphrase.ts";
import { parseHourly, parsePercent } from "../cli/prices.ts";
import { counted } from "../cli/streams.ts";
import { usageError } from "../cli/usage.ts";
import type { Account } from "../network/accounts.ts";
import type { Client } from "../network/client.ts";
import type { OfferPlan } from "../network/market.ts";
import { registerViews } from "./offers-view.ts";

const RUNS_DEFAULT = 100;

interface PublishOptions extends PassphraseOptions {
  readonly as: string;
  readonly kind: "engine" | "data" | "model";
  readonly price: bigint;
  readonly pricePerHour?: bigint;
  readonly booking?: bigint;
  readonly share?: number;
  readonly poolMin?: bigint;
  readonly timeMin?: number;
  readonly timeMax?: number;
  readonly name?: string;
  readonly revision?: string;
  readonly download?: boolean;
  readonly replaces?: string;
  readonly from?: number;
  readonly allowEngine?: Digest[];
  readonly consent?: string;
  readonly sealed?: string;
  readonly purpose?: string[];
  readonly runs?: number;
  readonly outputMax?: number;
  readonly expiresIn?: number;
}

export function register(program: Command, context: Context): void {
  const offers = commandOf(program, "offers").description(
    "An offer lets others use what you own without seeing it, on your terms and with your consent policy.",
  );
  registerPublish(offers, context);
  registerViews(offers, context);
  offers
    .command("revoke")
    .summary("end an offer, now or from a moment on")
    .description(
      "End an offer: from then on no order can be opened on it, and no key is released for it. It cannot be undone; the earliest moment counts.",
    )
    .argument("<offer>", "the offer's id, or its beginning")
    .requiredOption("--as <account>", "its owner")
    .option("--at <time>", "from when on, in UTC (default: now)", parseTime)
    .option("--passphrase-file <file>", "the account's passphrase")
    .action((id: string, options: RevokeOptions) => revoke(context, id, options));
  registerSwitch(offers, context, "disable", "let no orders be opened on an offer for the time being");
  registerSwitch(offers, context, "enable", "let orders be opened on it again");
}

function registerPublish(offers: Command, context: Context): void {
  offers
    .command("publish")
    .summary("seal a file, upload it, and offer it")
    .description(
      "Seal a file to the network's key-release group in your name, upload the ciphertext and the consent policy, and " +
        "publish the offer on chain. Data and models name the engines that may read them, by digest.",
    )
    .argument("<file>", "the engine (WebAssembly), table or model")
    .requiredOption("--as <account>", "whose offer it is")
    .addOption(
      new Option("--kind <kind>", "what it is").choices(["engine", "data", "model"]).makeOptionMandatory(),
    )
    .option("--price <amount>", "fixed price for each order that succeeds", parsePrice, 0n)
    .option(
      "--price-per-hour <amount>",
      "price of the time that it is used for, counted by the second",
      parseHourly,
    )
    .option("--booking <amount>", "what you keep of the fixed price when an order fails", parsePrice)
    .option("--share <percent>", "your share of the pool that an order sets aside for revenue", parsePercent)
    .option("--pool-min <amount>", "the least that this pool must be", parsePrice)
    .option("--time-min <time>", "the shortest time that it is let for", parseDuration)
    .option("--time-max <time>", "the longest time that it is let for", parseDuration)
    .option("--name <text>", "what it is called; for all to read, as are the next two")
    .option("--revision <text>", "the content's own version (default: 1)")
    .option("--download", "whoever pays may also keep a copy; otherwise it is only leased")
    .option("--replaces <offer>", "the offer of yours whose place it takes: a new version of it")
    .option("--from <time>", "from when on it does, in UTC (default: now)", parseTime)
    .option(
      "--allow-engine <digest>",
      "an engine that may read it; may be given several times",
      collectDigests,
    )
    .option(
      "--consent <file>",
      "the consent, as `consent draft` or `consent sign` wrote it, instead of the options below",
    )
    .option("--sealed <file>", "the file as you sealed it with `seal --owner`, instead of sealing it now")
    .option(
      "--purpose <word>",
      "a purpose it may be used for; may be given several times (default: train)",
      collectValues,
    )
    .option("--runs <count>", "how many orders may use it in all (default: 100)", parseCount)
    .option("--output-max <size>", "the most that a result may take", parseBytes)
    .option("--expires-in <time>", "after how long the offer ends, such as 30d", parseDuration)
    .option("--passphrase-file <file>", "the account's passphrase")
    .addHelpText(
      "after",
      examples(
        ["cloister offers publish train.wasm --kind engine --as author", "offer an engine for nothing"],
        [
          "cloister offers publish birds.csv --kind data --as clinic --price 0.5 --allow-engine sha256:…",
          "offer a table to that engine alone",
        ],
        [
          "cloister offers publish model.bin --kind model --as lab --price-per-hour 2 --allow-engine sha256:…",
          "let a model by the hour",
        ],
        [
          "cloister offers publish birds.csv --kind data --as clinic --price 0.5 --consent consent.json",
          "on terms that you wrote down and read over before",
        ],
      ),
    )
    .action((file: string, options: PublishOptions) => publish(context, file, options));
}

function registerSwitch(
  offers: Command,
  context: Context,
  name: "enable" | "disable",
  summary: string,
): void {
  offers
    .command(name)
    .summary(summary)
    .description(`${summary.replace(/^l/, "L")}. Orders that were opened before go on.`)
    .argument("<offer>", "the offer's id, or its beginning")
    .requiredOption("--as <account>", "its owner")
    .option("--passphrase-file <file>", "the account's passphrase")
    .action((id: string, options: RevokeOptions) => enable(context, id, options, name === "enable"));
}

async function publish(context: Context, file: string, options: PublishOptions): Promise<void> {
  const lease = leaseOf(options);
  const details = detailsOf(options);
  const terms = await termsOf(context, options);
  const { Client } = await import("../network/client.ts");
  const { offer } = await import("../network/market.ts");
  const source = await readStream(file);
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const signed = terms.signed;
  if (signed !== undefined) await requireGrant(signed, account.address, options.sealed, client);
  if (terms.policy !== undefined) requireMarket(terms.policy, client);
  const replaced =
    options.replaces === undefined ? undefined : await ownOffer(client, account, options.replaces, "replace");
  const fromSeconds = Math.floor((options.from ?? 0) / 1000);
  const doing = options.sealed === undefined ? "Sealing" : "Storing";
  const progress = context.output.progress(`${doing} ${file}`, source.sizeBytes);
  try {
    const made = await offer(client, account, {
      kind: options.kind,
      content: counted(source.chunks, progress),
      fixedWei: options.price,
      terms: lease,
      ...(details === undefined ? {} : { details }),
      ...terms,
      ...(replaced === undefined ? {} : { replaces: { offer: replaced, fromSeconds } }),
      ...(options.sealed === undefined ? {} : { sealedFile: options.sealed }),
    });
    progress.end();
    await client.durable();
    context.output.result(made, () =>
      formatFields([
        ["offer", made.offerId],
        ["content", `${made.contentDigest} (${formatBytes(made.sizeBytes)})`],
        ["sealed as", made.sealedDigest],
        ["consent", made.consentDigest],
      ]),
    );
  } finally {
    progress.end();
  }
}

interface Terms extends Pick<
  OfferPlan,
  "engines" | "purposes" | "runsMax" | "outputBytesMax" | "expiresAtMs" | "policy"
> {
  readonly signed?: SignedConsent;
}

/** What the owner allows: by a consent written beforehand, or by the options. */
async function termsOf(context: Context, options: PublishOptions): Promise<Terms> {
  const { allowEngine, purpose, runs, outputMax, expiresIn } = options;
  if (options.consent === undefined) {
    if (options.kind !== "engine" && allowEngine === undefined) {
      throw usageError(
        "USAGE_ENGINE_MISSING",
        "The consent would name no engine, so nothing could ever read the file.",
        "Name an engine with --allow-engine sha256:…, or bring a --consent; `cloister digest FILE` prints an engine's.",
      );
    }
    return {
      engines: allowEngine ?? [],
      purposes: purpose ?? ["train"],
      runsMax: runs ?? RUNS_DEFAULT,
      ...(outputMax === undefined ? {} : { outputBytesMax: outputMax }),
      ...(expiresIn === undefined ? {} : { expiresAtMs: context.nowMs() + expiresIn }),
    };
  }
  if ([allowEngine, purpose, runs, outputMax, expiresIn].some((one) => one !== undefined)) {
    throw usageError(
      "USAGE_CONFLICT",
      "The consent is given twice: as a file and by options.",
      "Write everything into the file, or leave out --consent.",
    );
  }
  const { readConsent } = await import("../network/consents.ts");
  const { policy, signed } = await readConsent(options.consent);
  const { engines, purposes, runsMax, expiresAtMs } = policy;
  return {
    ...{ policy, engines, purposes, runsMax },
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(signed === undefined ? {} : { signed }),
  };
}

/** A signed consent goes with the account that signed it and with the one sealed file that it names. */
async function requireGrant(
  signed: SignedConsent,
  account: Address,
  sealed: string | undefined,
  client: Client,
): Promise<void> {
  const { requireSigned } = await import("../network/consents.ts");
  const { requireObject } = await import("./consent-signing.ts");
  await requireSigned(signed, client.network.rpcUrl);
  if (signed.owner !== account) {
    throw new CloisterError(
      "CONSENT_SIGNER_NOT_OWNER",
      `${signed.owner} signed the consent; the offer would be ${account}'s.`,
      { hint: "Publish as the account that signed." },
    );
  }
  if (sealed === undefined) {
    throw usageError(
      "USAGE_SEALED_MISSING",
      "The signed consent is for a file that was sealed already.",
      "Name that file with --sealed.",
    );
  }
  requireObject(signed.grant.sealedDigest, await digestOfFile(sealed));
}

function requireMarket({ market }: ConsentPolicy, client: Client): void {
  const { chainId, market: contract } = client.network;
  if (market === undefined || (market.chainId === chainId && market.contract === contract)) return;
  throw new CloisterError(
    "CONSENT_OTHER_MARKET",
    `The consent counts on chain ${market.chainId}, contract ${market.contract} only; this market is ${contract} on chain ${chainId}.`,
    { hint: "Draft one for this market." },
  );
}

/** What an offer says of itself: nothing without a name, since a file's own name may say too much. */
function detailsOf({ name, revision, download }: PublishOptions): OfferPlan["details"] {
  if (name === undefined && (revision !== undefined || download !== undefined)) {
    throw usageError("USAGE_CONFLICT", "An offer without a name has no details.", "Give it a --name.");
  }
  if (name === undefined) return undefined;
  return { name, revision: revision ?? "1", ...(download === undefined ? {} : { download }) };
}

/** What an offer costs beside its fixed price, and for how long it is let. */
function leaseOf(options: PublishOptions): Partial<OfferTerms> {
  const { pricePerHour, booking, share, poolMin, timeMin, timeMax } = options;
  if (booking !== undefined && booking > options.price) {
    throw usageError(
      "USAGE_CONFLICT",
      "More would be kept of a failed order than a successful one costs.",
      "Lower --booking, or raise --price.",
    );
  }
  if (options.from !== undefined && options.replaces === undefined) {
    throw usageError(
      "USAGE_CONFLICT",
      "An offer of its own holds from when it is published.",
      "Name the offer that it replaces from then on with --replaces, or leave out --from.",
    );
  }
  if (timeMin !== undefined && timeMax !== undefined && timeMin > timeMax) {
    throw usageError(
      "USAGE_CONFLICT",
      "The shortest time is longer than the longest.",
      "Swap --time-min and --time-max.",
    );
  }
  return {
    ...(pricePerHour === undefined ? {} : { perSecondWei: pricePerHour }),
    ...(booking === undefined ? {} : { bookingWei: booking }),
    ...(share === undefined ? {} : { shareBps: share }),
    ...(poolMin === undefined ? {} : { poolMinWei: poolMin }),
    ...(timeMin === undefined ? {} : { secondsMin: Math.ceil(timeMin / 1000) }),
    ...(timeMax === undefined ? {} : { secondsMax: Math.ceil(timeMax / 1000) }),
  };
}

interface RevokeOptions extends PassphraseOptions {
  readonly as: string;
  readonly at?: number;
}

async function revoke(context: Context, text: string, options: RevokeOptions): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { offerId, revokeOffer } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const offer = await ownOffer(client, account, text, "end");
  const id = offerId(client.chain.deployment, offer);
  const from = Math.max(options.at ?? 0, context.nowMs());
  const fromSeconds = Math.floor(from / 1000);
  await client.chain.send(revokeOffer(client.chain.deployment, offer, fromSeconds), account.secret);
  await client.durable();
  const effectiveAt = new Date(from).toISOString();
  context.output.result({ offerId: id, revoked: true, effectiveAt }, () =>
    options.at === undefined ? `The offer ${id} is ended.` : `The offer ${id} ends at ${effectiveAt}.`,
  );
}

async function enable(
  context: Context,
  text: string,
  options: RevokeOptions,
  enabled: boolean,
): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { enableOffer, offerId } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const offer = await ownOffer(client, account, text, enabled ? "enable" : "disable");
  const id = offerId(client.chain.deployment, offer);
  await client.chain.send(enableOffer(client.chain.deployment, offer, enabled), account.secret);
  await client.durable();
  context.output.result({ offerId: id, enabled }, () =>
    enabled ? `Orders can be opened on ${id} again.` : `No order can be opened on ${id} until it is enabled.`,
  );
}

/** @throws {CloisterError} `OFFER_UNKNOWN`, `OFFER_NOT_YOURS` */
async function ownOffer(client: Client, account: Account, text: string, what: string): Promise<Offer> {
  const { findOffer } = await import("../network/market.ts");
  const id = findOffer(client, text);
  const offer = client.chain.view()?.state.offers.get(id)?.offer;
  if (offer?.owner === account.address) return offer;
  throw new CloisterError("OFFER_NOT_YOURS", `The offer ${id} is not one of ${account.name}'s.`, {
    hint: `Only its owner can ${what} it.`,
  });
}
