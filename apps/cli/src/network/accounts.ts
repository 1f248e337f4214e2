import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connectJsonRpc } from "@cloister/adapters/chain";
import { systemEntropy } from "@cloister/adapters/platform";
import {
  CloisterError,
  codeOf,
  fromHex,
  fromUtf8,
  parseAddress,
  toHex,
  utf8,
  type Address,
} from "@cloister/core";
import {
  collect,
  generateIdentity,
  open,
  parseIdentity,
  passphraseIdentity,
  passphraseRecipient,
  seal,
  type KeyIdentity,
} from "@cloister/custody";
import { addressOfSecret } from "@cloister/market";
import { parseJsonFile, writeJsonFile, type Layout, type NetworkFile } from "./layout.ts";

const NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;
/** What the local chain gives a new account to play with. */
const GIFT_WEI = 10n * 10n ** 18n;

/** A user of the market: an account that pays and is paid, and a key that results are sealed to. */
export interface Account {
  readonly name: string;
  readonly address: Address;
  readonly secret: Uint8Array;
  readonly identity: KeyIdentity;
}

/** What lies on disk: in the clear, or sealed with a passphrase. */
interface AccountFile {
  readonly name: string;
  readonly address: Address;
  readonly recipient: string;
  readonly secrets: AccountSecrets | { readonly sealed: string };
}

interface AccountSecrets {
  /** Hex. */
  readonly account: string;
  /** As age writes identities. */
  readonly identity: string;
}

/** @throws {CloisterError} `ACCOUNT_NAME_MALFORMED`, `ACCOUNT_EXISTS` */
export async function createAccount(layout: Layout, name: string, passphrase?: string): Promise<Account> {
  if (!NAME.test(name)) {
    throw new CloisterError("ACCOUNT_NAME_MALFORMED", `"${name.slice(0, 60)}" cannot name an account.`, {
      hint: "Use lower-case letters, digits and dashes, at most 40.",
    });
  }
  const file = fileOf(layout, name);
  if (existsSync(file)) {
    throw new CloisterError("ACCOUNT_EXISTS", `There is an account "${name}" in ${layout.home}.`, {
      hint: "Choose another name; an account's keys are never replaced.",
    });
  }
  const identity = generateIdentity(systemEntropy);
  const secret = systemEntropy(32);
  const secrets: AccountSecrets = { account: toHex(secret), identity: identity.text };
  const address = addressOfSecret(secret);
  const stored: AccountFile = {
    ...{ name, address, recipient: identity.recipient.text },
    secrets: passphrase === undefined ? secrets : { sealed: await sealSecrets(secrets, passphrase) },
  };
  writeJsonFile(file, stored, 0o600);
  return { name, address, secret, identity };
}

/**
 * Opens an account.
 * @throws {CloisterError} `ACCOUNT_NOT_FOUND`, `ACCOUNT_MALFORMED`, `PASSPHRASE_NEEDED`, `PASSPHRASE_WRONG`
 */
export async function openAccount(layout: Layout, name: string, passphrase?: string): Promise<Account> {
  const stored = readAccount(layout, name);
  const secrets = "sealed" in stored.secrets ? await openSecrets(stored, passphrase) : stored.secrets;
  try {
    const secret = fromHex(secrets.account);
    return { name, address: addressOfSecret(secret), secret, identity: parseIdentity(secrets.identity) };
  } catch (cause) {
    throw malformed(name, cause);
  }
}

/** Accounts of this home, without their secrets. */
export function listAccounts(layout: Layout): Pick<AccountFile, "name" | "address" | "recipient">[] {
  if (!existsSync(layout.accounts)) return [];
  const names = readdirSync(layout.accounts).flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? []);
  return names.toSorted().map((name) => {
    const { address, recipient } = readAccount(layout, name);
    return { name, address, recipient };
  });
}

/**
 * The address that an account of this host has, or that was given as one.
 * @throws {CloisterError} `ACCOUNT_NOT_FOUND`, `ADDRESS_MALFORMED`
 */
export function addressNamed(layout: Layout, text: string): Address {
  if (text.startsWith("0x")) return parseAddress(text);
  const found = listAccounts(layout).find(({ name }) => name === text);
  if (found !== undefined) return found.address;
  throw new CloisterError(
    "ACCOUNT_NOT_FOUND",
    `There is no account "${text.slice(0, 60)}" in ${layout.home}.`,
    {
      hint: "Name one of `cloister account list`, or an address.",
    },
  );
}

/** Addresses for people: the names of this host's accounts, and the others' beginnings. */
export function namesOf(layout: Layout): (address: Address) => string {
  const names = new Map(listAccounts(layout).map(({ name, address }) => [address, name]));
  return (address) => names.get(address) ?? `${address.slice(0, 10)}…`;
}

/** Gives an account coin of the local chain, which has no other worth. */
export async function fundLocally(
  network: NetworkFile,
  address: Address,
  amountWei = GIFT_WEI,
): Promise<void> {
  await connectJsonRpc(network.rpcUrl).request("anvil_setBalance", [address, `0x${amountWei.toString(16)}`]);
}

function readAccount(layout: Layout, name: string): AccountFile {
  const file = fileOf(layout, name);
  if (!NAME.test(name) || !existsSync(file)) {
    const known = existsSync(layout.accounts) ? listAccountNames(layout) : [];
    throw new CloisterError(
      "ACCOUNT_NOT_FOUND",
      `There is no account "${name.slice(0, 60)}" in ${layout.home}.`,
      {
        hint:
          known.length === 0
            ? "Make one with `cloister account new NAME`."
            : `There are ${known.join(", ")}; make another with \`cloister account new NAME\`.`,
      },
    );
  }
  return parseJsonFile<AccountFile>(readFileSync(file, "utf8"), file, "ACCOUNT_MALFORMED");
}

function listAccountNames(layout: Layout): string[] {
  return readdirSync(layout.accounts).flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? []);
}

async function sealSecrets(secrets: AccountSecrets, passphrase: string): Promise<string> {
  const sealing = seal([utf8(JSON.stringify(secrets))], [passphraseRecipient(passphrase)], systemEntropy);
  return toHex(await collect(sealing));
}

async function openSecrets(stored: AccountFile, passphrase: string | undefined): Promise<AccountSecrets> {
  const { sealed } = stored.secrets as { readonly sealed: string };
  if (passphrase === undefined) {
    throw new CloisterError(
      "PASSPHRASE_NEEDED",
      `The account "${stored.name}" is protected by a passphrase.`,
      {
        hint: "Give it with --passphrase-file FILE.",
      },
    );
  }
  try {
    const flow = await open([fromHex(sealed)], [passphraseIdentity(passphrase)]);
    return JSON.parse(fromUtf8(await collect(flow))) as AccountSecrets;
  } catch (cause) {
    if (codeOf(cause).startsWith("SEALED_")) {
      throw new CloisterError(
        "PASSPHRASE_WRONG",
        `The passphrase does not open the account "${stored.name}".`,
        {
          hint: "Check the passphrase; nothing was changed.",
          cause,
        },
      );
    }
    throw malformed(stored.name, cause);
  }
}

function fileOf(layout: Layout, name: string): string {
  return join(layout.accounts, `${name}.json`);
}

function malformed(name: string, cause: unknown): CloisterError {
  return new CloisterError("ACCOUNT_MALFORMED", `The file of the account "${name}" is damaged.`, {
    hint: "Restore it from a copy.",
    cause,
  });
}
