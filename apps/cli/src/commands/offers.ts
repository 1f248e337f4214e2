import { CloisterError, formatBytes, formatEther, parseDigest } from "@cloister/core";
import { Option, type Command } from "commander";
import { accountFor } from "../cli/account.ts";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readStream } from "../cli/files.ts";
import { formatFields, formatTable } from "../cli/output.ts";
import { parseBytes, parseCount, parseDuration, parsePrice } from "../cli/parse.ts";
import type { PassphraseOptions } from "../cli/passphrase.ts";
import { counted } from "../cli/streams.ts";
import { usageError } from "../cli/usage.ts";

interface PublishOptions extends PassphraseOptions {
  readonly as: string;
  readonly kind: "engine" | "data" | "model";
  readonly price: bigint;
  readonly allowEngine?: string[];
  readonly purpose?: string[];
  readonly runs: number;
  readonly outputMax?: number;
  readonly expiresIn?: number;
}

export function register(program: Command, context: Context): void {
  const offers = commandOf(program, "offers").description(
    "An offer lets others use what you own without seeing it, on your terms and with your consent policy.",
  );
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
      "--allow-engine <digest>",
      "an engine that may read it; may be given several times",
      collectValues,
    )
    .option(
      "--purpose <word>",
      "a purpose it may be used for; may be given several times (default: train)",
      collectValues,
    )
    .option("--runs <count>", "how many orders may use it in all", parseCount, 100)
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
      ),
    )
    .action((file: string, options: PublishOptions) => publish(context, file, options));
  offers
    .command("list")
    .summary("list what is offered")
    .description("List the offers of this market.")
    .action(() => list(context));
  offers
    .command("revoke")
    .summary("end an offer now")
    .description("End an offer now: no order can be opened on it any more, and no key is released for it.")
    .argument("<offer>", "the offer's id, or its beginning")
    .requiredOption("--as <account>", "its owner")
    .option("--passphrase-file <file>", "the account's passphrase")
    .action((id: string, options: PassphraseOptions & { as: string }) => revoke(context, id, options));
}

async function publish(context: Context, file: string, options: PublishOptions): Promise<void> {
  const engines = (options.allowEngine ?? []).map(parseDigest);
  if (options.kind !== "engine" && engines.length === 0) {
    throw usageError(
      "USAGE_ENGINE_MISSING",
      "The consent would name no engine, so nothing could ever read the file.",
      "Name an engine with --allow-engine sha256:…; `cloister digest FILE` prints it.",
    );
  }
  const { Client } = await import("../network/client.ts");
  const { offer } = await import("../network/market.ts");
  const source = await readStream(file);
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const progress = context.output.progress(`Sealing ${file}`, source.sizeBytes);
  try {
    const made = await offer(client, account, {
      kind: options.kind,
      content: counted(source.chunks, progress),
      fixedWei: options.price,
      engines,
      purposes: options.purpose ?? ["train"],
      runsMax: options.runs,
      ...(options.outputMax === undefined ? {} : { outputBytesMax: options.outputMax }),
      ...(options.expiresIn === undefined ? {} : { expiresAtMs: context.nowMs() + options.expiresIn }),
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

async function list(context: Context): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const client = await Client.open(context.home);
  const { state } = await client.chain.refresh();
  const offers = [...state.offers].flatMap(([id, { offer, runs, revokedFromSeconds }]) => {
    if (offer === undefined) return [];
    const { owner, kind, terms, content } = offer;
    const revoked = revokedFromSeconds !== undefined && revokedFromSeconds * 1000 <= context.nowMs();
    return [
      {
        id,
        kind,
        owner,
        priceWei: terms.fixedWei,
        runs,
        runsMax: terms.runsMax,
        content: content.contentDigest,
        revoked,
      },
    ];
  });
  context.output.result({ offers }, () =>
    formatTable(
      context.output.style,
      ["offer", "kind", "price", "runs", "owner", "content"],
      offers.map((one) => [
        ...[
          `${one.id.slice(0, 14)}…`,
          one.revoked ? `${one.kind} (ended)` : one.kind,
          formatEther(one.priceWei),
        ],
        ...[
          `${one.runs}/${one.runsMax === 0 ? "∞" : one.runsMax}`,
          one.owner,
          `${one.content.slice(0, 19)}…`,
        ],
      ]),
    ),
  );
}

async function revoke(
  context: Context,
  text: string,
  options: PassphraseOptions & { readonly as: string },
): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { findOffer } = await import("../network/market.ts");
  const { revokeOffer } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const id = findOffer(client, text);
  const offer = client.chain.view()?.state.offers.get(id)?.offer;
  if (offer === undefined || offer.owner !== account.address) {
    throw new CloisterError("OFFER_NOT_YOURS", `The offer ${id} is not one of ${account.name}'s.`, {
      hint: "Only its owner can end it.",
    });
  }
  await client.chain.send(revokeOffer(client.chain.deployment, offer), account.secret);
  await client.durable();
  context.output.result({ offerId: id, revoked: true }, () => `The offer ${id} is ended.`);
}
