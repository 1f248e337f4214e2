import { CloisterError, formatEther, type Address } from "@cloister/core";
import type { Command } from "commander";
import { accountFor } from "../cli/account.ts";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatCoins, formatFields, formatTable } from "../cli/output.ts";
import { parsePrice } from "../cli/parse.ts";
import { tokenText } from "../cli/prices.ts";
import { readPassphrase, type PassphraseOptions } from "../cli/passphrase.ts";

export function register(program: Command, context: Context): void {
  const account = commandOf(program, "account").description(
    "An account offers, orders, pays and is paid; the key that results are sealed to belongs to it. It lies in --home.",
  );
  account
    .command("new")
    .summary("make an account")
    .description("Make an account. On a local network it is given 10 coins to play with.")
    .argument("<name>", "lower-case letters, digits and dashes")
    .option("--passphrase", "protect it with a passphrase, asked for in the terminal")
    .option("--passphrase-file <file>", "protect it with the passphrase on the first line of this file")
    .addHelpText("after", examples(["cloister account new clinic", "make the account `clinic`"]))
    .action((name: string, options: PassphraseOptions & { passphrase?: boolean }) =>
      create(context, name, options),
    );
  account
    .command("list")
    .summary("list the accounts of this home")
    .description("List the accounts of this home with their balances.")
    .action(() => list(context));
  account
    .command("show")
    .summary("show what one account has, and where")
    .description(
      "Show what one account has: in its wallet, in the market, in the escrow of its open orders; and what it offers and ordered.",
    )
    .argument("<account>", "an account of this home, or an address")
    .action((name: string) => show(context, name));
  account
    .command("withdraw")
    .summary("take what the account earned out of the market")
    .description("Take what the account earned out of the market's contract into its wallet.")
    .requiredOption("--as <account>", "the account")
    .option("--amount <amount>", "how much (default: all)", parsePrice)
    .option(
      "--to <account>",
      "whose wallet it goes to: an account of this home, or an address (default: its own)",
    )
    .option("--passphrase-file <file>", "its passphrase")
    .action((options: WithdrawOptions) => withdrawAll(context, options));
  account
    .command("deposit")
    .summary("put money of the wallet into the market, for orders to come")
    .description("Put money of the wallet into the market; `orders open --from-balance` pays with it.")
    .argument("<amount>", "how much", parsePrice)
    .requiredOption("--as <account>", "the account")
    .option("--passphrase-file <file>", "its passphrase")
    .action((amountWei: bigint, options: PassphraseOptions & { as: string }) =>
      depositSome(context, amountWei, options),
    );
}

interface WithdrawOptions extends PassphraseOptions {
  readonly as: string;
  readonly amount?: bigint;
  readonly to?: string;
}

async function create(
  context: Context,
  name: string,
  options: PassphraseOptions & { readonly passphrase?: boolean },
): Promise<void> {
  const { createAccount, fundLocally } = await import("../network/accounts.ts");
  const { Client } = await import("../network/client.ts");
  // Asked first: an account that could not be funded would be left behind half-made.
  const { layout, network } = await Client.open(context.home);
  const wanted = options.passphrase === true || options.passphraseFile !== undefined;
  const passphrase = wanted
    ? await readPassphrase(context, options, `the account "${name}"`, "new")
    : undefined;
  const made = await createAccount(layout, name, passphrase);
  await fundLocally(network, made.address);
  const recipient = made.identity.recipient.text;
  context.output.result({ name, address: made.address, recipient }, () =>
    formatFields([
      ["account", name],
      ["address", made.address],
      ["recipient", recipient],
    ]),
  );
}

async function list(context: Context): Promise<void> {
  const { listAccounts } = await import("../network/accounts.ts");
  const { Client } = await import("../network/client.ts");
  const { balanceOf, NATIVE_TOKEN } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const { state } = await client.chain.refresh();
  const accounts = await Promise.all(
    listAccounts(client.layout).map(async (one) => ({
      ...one,
      walletWei: await client.chain.coinOf(one.address),
      earnedWei: balanceOf(state, NATIVE_TOKEN, one.address),
    })),
  );
  context.output.result({ accounts }, () =>
    formatTable(
      context.output.style,
      ["account", "address", "wallet", "in the market"],
      accounts.map(({ name, address, walletWei, earnedWei }) => [
        ...[name, address, formatCoins(walletWei), formatCoins(earnedWei)],
      ]),
    ),
  );
}

async function show(context: Context, name: string): Promise<void> {
  const { addressNamed, namesOf } = await import("../network/accounts.ts");
  const { Client } = await import("../network/client.ts");
  const { NATIVE_TOKEN, unpackHead } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const address = addressNamed(client.layout, name);
  const { state } = await client.chain.refresh();
  const balances = [...state.balances].flatMap(([key, amountWei]) => {
    const [token = "", account] = key.split(":");
    return account === address && amountWei > 0n ? [{ token, amountWei }] : [];
  });
  const ordered = [...state.orders.values()].filter((one) => one.client === address);
  const open = ordered.filter(({ status }) => status === "open");
  const offers = [...state.offers.values()].filter(({ offer }) => offer?.owner === address);
  const document = {
    account: namesOf(client.layout)(address),
    address,
    walletWei: await client.chain.coinOf(address),
    balances,
    escrowWei: open
      .filter(({ token }) => token === NATIVE_TOKEN)
      .reduce((sum, { depositWei, escrow }) => sum + depositWei - unpackHead(escrow.head).paidWei, 0n),
    rewardsWei: state.rewards.get(address) ?? 0n,
    offers: offers.length,
    runs: offers.reduce((sum, { runs }) => sum + runs, 0),
    orders: { open: open.length, all: ordered.length },
  };
  context.output.result(document, () =>
    formatFields([
      ["account", document.account],
      ["address", address],
      ["in the wallet", formatEther(document.walletWei)],
      ["in the market", marketText(balances)],
      ["in escrow", formatEther(document.escrowWei)],
      ...(document.rewardsWei === 0n ? [] : [["rewards", formatEther(document.rewardsWei)] as const]),
      ["offers", `${offers.length}, used ${document.runs} times`],
      ["orders", `${ordered.length}, of which ${open.length} open`],
    ]),
  );
}

function marketText(balances: readonly { readonly token: string; readonly amountWei: bigint }[]): string {
  const texts = balances.map(({ token, amountWei }) => formatEther(amountWei) + tokenText(token as Address));
  return texts.join(", ") || "0";
}

async function withdrawAll(context: Context, options: WithdrawOptions): Promise<void> {
  const { addressNamed } = await import("../network/accounts.ts");
  const { Client } = await import("../network/client.ts");
  const { balanceOf, NATIVE_TOKEN, withdraw } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const to = options.to === undefined ? account.address : addressNamed(client.layout, options.to);
  const { state } = await client.chain.refresh();
  const hasWei = balanceOf(state, NATIVE_TOKEN, account.address);
  const amountWei = options.amount ?? hasWei;
  if (amountWei > hasWei) {
    throw new CloisterError(
      "BALANCE_SHORT",
      `${account.name} has ${formatEther(hasWei)} in the market, not ${formatEther(amountWei)}.`,
      { hint: "Leave out --amount to take all of it." },
    );
  }
  if (amountWei > 0n) {
    const call = withdraw(client.chain.deployment, NATIVE_TOKEN, to, amountWei);
    await client.chain.send(call, account.secret);
    await client.durable();
  }
  context.output.result({ account: account.name, to, withdrawnWei: amountWei }, () =>
    amountWei === 0n ? "There is nothing to withdraw." : `Withdrew ${formatEther(amountWei)} to ${to}.`,
  );
}

async function depositSome(
  context: Context,
  amountWei: bigint,
  options: PassphraseOptions & { readonly as: string },
): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { balanceOf, deposit, NATIVE_TOKEN } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const call = deposit(client.chain.deployment, NATIVE_TOKEN, account.address, amountWei);
  await client.chain.send(call, account.secret);
  await client.durable();
  const { state } = await client.chain.refresh();
  const balanceWei = balanceOf(state, NATIVE_TOKEN, account.address);
  context.output.result(
    { account: account.name, depositedWei: amountWei, balanceWei },
    () => `${account.name} has ${formatEther(balanceWei)} in the market now.`,
  );
}
