/** `consent sign`, `consent verify` and `consent revoke`. */
import {
  CloisterError,
  parseAddress,
  parseDigest,
  type Address,
  type Digest,
  type OfferId,
} from "@cloister/core";
import {
  consentDigest,
  consentSigningDigest,
  consentTypedData,
  explainConsent,
  formatSignedConsent,
  type ConsentPolicy,
  type ConsentStatement,
  type SignedConsent,
} from "@cloister/custody";
import type { Command } from "commander";
import type { Account } from "../network/accounts.ts";
import type { Client } from "../network/client.ts";
import { accountFor } from "../cli/account.ts";
import { examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { digestOfFile, isSealed, writeWhole } from "../cli/files.ts";
import { formatFields, toJson } from "../cli/output.ts";
import { parseTime } from "../cli/parse.ts";
import type { PassphraseOptions } from "../cli/passphrase.ts";
import { usageError } from "../cli/usage.ts";
import { parseSignature, readConsent, requireSigned } from "../network/consents.ts";

export function registerSigning(consent: Command, context: Context): void {
  registerSign(consent, context);
  registerVerify(consent, context);
  registerRevoke(consent, context);
}

interface SignOptions extends PassphraseOptions {
  readonly object: string;
  readonly as?: string;
  readonly owner?: string;
  readonly signature?: string;
  readonly typedData?: boolean;
  readonly output?: string;
  readonly force?: boolean;
}

function registerSign(consent: Command, context: Context): void {
  consent
    .command("sign")
    .summary("sign a policy for one sealed object")
    .description(
      "Sign a policy for one sealed object on the market of --home, with an account's key or with a wallet of your own (EIP-712). The signed consent goes with the object: `offers publish --consent`, `consent verify`.",
    )
    .argument("<file>", "the policy")
    .requiredOption("--object <file|digest>", "the sealed file that it is for, or its sealed digest")
    .option("--as <account>", "sign with this account's key")
    .option("--owner <address>", "the wallet that signs, or has signed, elsewhere")
    .option("--typed-data", "print what the wallet must sign (eth_signTypedData_v4), and sign nothing")
    .option("--signature <0x…>", "what the wallet signed; a contract wallet is asked on the chain (EIP-1271)")
    .option("-o, --output <file>", "where to write the signed consent, or - for standard output", "-")
    .option("-f, --force", "replace a file that is there")
    .option("--passphrase-file <file>", "the account's passphrase")
    .addHelpText(
      "after",
      examples(
        [
          "cloister consent sign consent.json --object birds.csv.age --as clinic -o consent.signed.json",
          "with an account of this home",
        ],
        [
          "cloister consent sign consent.json --object birds.csv.age --owner 0x… --typed-data",
          "for a wallet to sign",
        ],
      ),
    )
    .action((file: string, options: SignOptions) => sign(file, options, context));
}

async function sign(file: string, options: SignOptions, context: Context): Promise<void> {
  requireOneSigner(options);
  const { policy } = await readConsent(file);
  const sealedDigest = await digestOfSealed(options.object);
  const { Client } = await import("../network/client.ts");
  const client = await Client.open(context.home);
  const grant = {
    kind: "grant" as const,
    market: { chainId: client.network.chainId, contract: client.network.market },
    consentDigest: consentDigest(policy),
    sealedDigest,
  };
  if (options.typedData === true) return printTypedData(grant, policy, context);
  const signer = await signatureFor(grant, options, client, context);
  const signed: SignedConsent = { policy, grant, ...signer };
  await requireSigned(signed, client.network.rpcUrl);
  const text = formatSignedConsent(signed);
  const output = options.output ?? "-";
  if (output === "-") return context.output.result(JSON.parse(text), () => text.trimEnd());
  await writeWhole(output, [Buffer.from(text)], { force: options.force === true });
  context.output.result(
    { file: output, owner: signed.owner, digest: grant.consentDigest, object: sealedDigest },
    () =>
      formatFields([
        ["signed", output],
        ["owner", signed.owner],
        ["consent", grant.consentDigest],
        ["object", sealedDigest],
      ]),
  );
}

/** An account's own key, or a wallet's signature that was made elsewhere. */
async function signatureFor(
  statement: ConsentStatement,
  options: PassphraseOptions & Pick<SignOptions, "as" | "owner" | "signature">,
  client: Client,
  context: Context,
): Promise<{ readonly owner: Address; readonly signature: Uint8Array }> {
  const { as, owner, signature } = options;
  if (owner !== undefined && signature !== undefined) {
    return { owner: parseAddress(owner), signature: parseSignature(signature) };
  }
  const { signDigest } = await import("@cloister/market");
  const account = await accountFor(context, client.layout, { ...options, as: as ?? "" });
  return { owner: account.address, signature: signDigest(consentSigningDigest(statement), account.secret) };
}

function requireOneSigner({ as, owner, signature, typedData }: SignOptions): void {
  const [account, wallet] = [as !== undefined, owner !== undefined];
  const signedElsewhere = signature !== undefined;
  if (typedData === true && !signedElsewhere) return;
  if (typedData !== true && account && !wallet && !signedElsewhere) return;
  if (typedData !== true && wallet && signedElsewhere && !account) return;
  throw usageError(
    "USAGE_SIGNER",
    "It is not clear who signs.",
    "Name an account with --as; or print --typed-data for a wallet, and bring its --signature back with --owner.",
  );
}

/**
 * The digest of what a consent is signed for. A signature over the plain file would be for nothing.
 * @throws {CloisterError} `SEALED_NOT_AGE`
 */
async function digestOfSealed(text: string): Promise<Digest> {
  const isFile = !text.startsWith("sha256:") && text !== "-";
  if (isFile && !(await isSealed(text))) {
    throw new CloisterError("SEALED_NOT_AGE", `${text} is not a sealed file, and a consent is for one.`, {
      hint: "Seal it with `cloister seal --owner 0x…`, and name the file that it wrote.",
    });
  }
  return digestOfObject(text);
}

async function digestOfObject(text: string): Promise<Digest> {
  return text.startsWith("sha256:") ? parseDigest(text) : digestOfFile(text);
}

function printTypedData(statement: ConsentStatement, policy: ConsentPolicy, context: Context): void {
  for (const line of explainConsent(policy)) context.output.note(line);
  const typed = consentTypedData(statement);
  context.output.result(typed, () => toJson(typed));
}

function registerVerify(consent: Command, context: Context): void {
  consent
    .command("verify")
    .summary("check who signed a consent, and say what it allows")
    .description(
      "Check that the owner named in a signed consent signed it, for its object and its market, and say what it allows. An owner that is a contract is asked on the chain of --home.",
    )
    .argument("<file>", "the signed consent")
    .option("--object <file|digest>", "the sealed file in your hands: it must be the one that is meant")
    .action((file: string, options: { object?: string }) => verifySigned(file, options, context));
}

async function verifySigned(file: string, options: { object?: string }, context: Context): Promise<void> {
  const { signed } = await readConsent(file);
  if (signed === undefined) throw unsigned(file);
  await requireSigned(signed, await rpcUrlOf(context));
  const { policy, grant, owner } = signed;
  if (options.object !== undefined) requireObject(grant.sealedDigest, await digestOfObject(options.object));
  const explanation = explainConsent(policy);
  const { market, sealedDigest: object } = grant;
  const document = { valid: true, owner, digest: grant.consentDigest, object, market, policy, explanation };
  context.output.result(document, () => [
    ...formatFields([
      ["signed by", owner],
      ["object", object],
      ["market", `chain ${market.chainId}, contract ${market.contract}`],
      ["digest", grant.consentDigest],
    ]),
    ...explanation,
  ]);
}

/** The chain of --home, where there is a network: an ordinary account's signature needs none. */
async function rpcUrlOf(context: Context): Promise<string | undefined> {
  const { layoutOf, readNetwork } = await import("../network/layout.ts");
  const { codeOf } = await import("@cloister/core");
  try {
    return readNetwork(layoutOf(context.home)).rpcUrl;
  } catch (error) {
    if (codeOf(error) === "NETWORK_MISSING") return undefined;
    throw error;
  }
}

function unsigned(file: string): CloisterError {
  return new CloisterError("CONSENT_UNSIGNED", `${file} is a policy that nobody signed.`, {
    hint: "Sign it with `cloister consent sign`.",
  });
}

/** @throws {CloisterError} `CONSENT_OTHER_OBJECT` */
export function requireObject(meant: Digest, given: Digest): void {
  if (meant === given) return;
  throw new CloisterError("CONSENT_OTHER_OBJECT", `The consent is for the object ${meant}, not ${given}.`, {
    hint: "Sign one for this object, or take the object that was meant.",
  });
}

interface RevokeOptions extends PassphraseOptions {
  readonly as: string;
  readonly at?: number;
}

function registerRevoke(consent: Command, context: Context): void {
  consent
    .command("revoke")
    .summary("take a consent back, now or from a moment on")
    .description(
      "Take a consent back: on the chain, for every offer of the account that carries it. From that moment on no order can be opened on them and no key is released. It cannot be undone; the earliest moment counts. A run that has its keys by then goes on.",
    )
    .argument("<file>", "the consent, signed or not")
    .requiredOption("--as <account>", "its owner")
    .option("--at <time>", "from when on, in UTC (default: now)", parseTime)
    .option("--passphrase-file <file>", "the account's passphrase")
    .addHelpText(
      "after",
      examples(["cloister consent revoke consent.json --as clinic --at 2027-01-31", "end it with the month"]),
    )
    .action((file: string, options: RevokeOptions) => revoke(file, options, context));
}

async function revoke(file: string, options: RevokeOptions, context: Context): Promise<void> {
  const { policy } = await readConsent(file);
  const digest = consentDigest(policy);
  const { Client } = await import("../network/client.ts");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const nowMs = context.nowMs();
  const revoked = await revokeOffers(client, account, digest, Math.max(options.at ?? nowMs, nowMs));
  if (revoked.length === 0) {
    throw new CloisterError(
      "OFFER_NOT_FOUND",
      `No offer of ${account.name}'s carries the consent ${digest}.`,
      {
        hint: "`cloister offers list` shows what is offered.",
      },
    );
  }
  const offers = revoked.map(({ id, fromSeconds }) => ({
    id,
    effectiveAt: new Date(fromSeconds * 1000).toISOString(),
  }));
  context.output.result({ digest, offers }, () => [
    `The consent ${digest} is revoked.`,
    ...offers.map(({ id, effectiveAt }) => `  offer ${id} from ${effectiveAt} on`),
  ]);
}

interface RevokedOffer {
  readonly id: OfferId;
  readonly fromSeconds: number;
}

/** Ends every offer of the account under this consent; one that ends earlier already stays as it is. */
async function revokeOffers(
  client: Client,
  account: Account,
  digest: Digest,
  fromMs: number,
): Promise<readonly RevokedOffer[]> {
  const { revokeOffer } = await import("@cloister/market");
  const { state } = await client.chain.refresh();
  const fromSeconds = Math.floor(fromMs / 1000);
  const ids: OfferId[] = [];
  for (const [id, { offer, revokedFromSeconds = Infinity }] of state.offers) {
    if (offer?.owner !== account.address || offer.content.consentDigest !== digest) continue;
    if (revokedFromSeconds > fromSeconds)
      await client.chain.send(revokeOffer(client.chain.deployment, offer, fromSeconds), account.secret);
    ids.push(id);
  }
  if (ids.length === 0) return [];
  await client.durable();
  // The chain's clock decides, which may be ahead of ours.
  const { offers } = (await client.chain.refresh()).state;
  return ids.map((id) => ({ id, fromSeconds: offers.get(id)?.revokedFromSeconds ?? fromSeconds }));
}
