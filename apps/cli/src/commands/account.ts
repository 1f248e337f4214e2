import { formatEther } from "@cloister/core";
import type { Command } from "commander";
import { accountFor } from "../cli/account.ts";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatCoins, formatFields, formatTable } from "../cli/output.ts";
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
    .command("withdraw")
    .summary("take what the account earned out of the market")
    .description("Take what the account earned out of the market's contract into its wallet.")
    .requiredOption("--as <account>", "the account")
    .option("--passphrase-file <file>", "its passphrase")
    .action((options: PassphraseOptions & { as: string }) => withdrawAll(context, options));
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

async function withdrawAll(
  context: Context,
  options: PassphraseOptions & { readonly as: string },
): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { balanceOf, NATIVE_TOKEN, withdraw } = await import("@cloister/market");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const { state } = await client.chain.refresh();
  const amountWei = balanceOf(state, NATIVE_TOKEN, account.address);
  if (amountWei > 0n) {
    const call = withdraw(client.chain.deployment, NATIVE_TOKEN, account.address, amountWei);
    await client.chain.send(call, account.secret);
  }
  context.output.result({ account: account.name, withdrawnWei: amountWei }, () =>
    amountWei === 0n
      ? "There is nothing to withdraw."
      : `Withdrew ${formatEther(amountWei)} to ${account.address}.`,
  );
}
