import { stat } from "node:fs/promises";
import { isAbsolute, relative, resolve } from "node:path";
import { formatBytes, parseAddress } from "@cloister/core";
import {
  armor,
  groupRecipient,
  passphraseRecipient,
  seal,
  type ObjectDigests,
  type Recipient,
} from "@cloister/custody";
import type { Command } from "commander";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { fromFileToFile, readStream, refuseOverlap, writeWhole } from "../cli/files.ts";
import { entropy, readRecipients } from "../cli/identities.ts";
import { formatFields } from "../cli/output.ts";
import { readPassphrase, type PassphraseOptions } from "../cli/passphrase.ts";
import { counted } from "../cli/streams.ts";
import { usageError } from "../cli/usage.ts";

interface SealOptions extends PassphraseOptions {
  readonly to?: string[];
  readonly recipientsFile?: string[];
  readonly owner?: string;
  readonly group?: string;
  readonly armor?: boolean;
  readonly output?: string;
  readonly passphrase?: boolean;
  readonly force?: boolean;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "seal")
    .description(
      "Encrypt a file so that only its recipients can open it, and print the digests that an offer needs. The result is an age file, which stock `age` opens too. With --owner it is sealed to the network's key-release group, which opens it only for orders that this owner consented to.",
    )
    .argument("<file>", "the file or folder to seal, or - for standard input")
    .option("-t, --to <recipient>", "an age recipient (age1…); may be given several times", collectValues)
    .option("-R, --recipients-file <file>", "a file with one recipient a line", collectValues)
    .option("--owner <address>", "the account that will offer the file: seal it to the key-release group")
    .option("--group <recipient>", "the group's recipient (default: that of the network in --home)")
    .option("-p, --passphrase", "seal with a passphrase instead, asked for in the terminal")
    .option("--passphrase-file <file>", "seal with the passphrase on the first line of this file")
    .option("-o, --output <file>", "where to write the result, or - (default: FILE.age; FOLDER.tar.age)")
    .option("-a, --armor", "write text instead of bytes")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        ["cloister seal birds.csv --to age1…", "write birds.csv.age for one recipient"],
        ["cloister seal birds.csv --owner 0x…", "for a job on this network, to be offered by 0x…"],
        ["cloister seal scans --to age1…", "pack a folder and write scans.tar.age"],
        ["cloister seal model.bin -R team.txt -o model.age", "for everybody listed in team.txt"],
      ),
    )
    .action((file: string, options: SealOptions) => sealOne(file, options, context));
}

async function sealOne(file: string, options: SealOptions, context: Context): Promise<void> {
  const recipients = await recipientsOf(options, context);
  const isFolder = file !== "-" && (await stat(file)).isDirectory();
  const output = options.output ?? defaultOutput(file, isFolder);
  const digests = await sealTo(file, output, recipients, options, context);
  if (digests === undefined) return;
  const names = recipients.map((recipient) => recipient.text);
  context.output.result({ file: output, recipients: names, ...digests }, () =>
    formatFields([
      ["sealed", `${output} (${formatBytes(digests.sealedBytes)})`],
      ["content digest", digests.contentDigest],
      ["sealed digest", digests.sealedDigest],
      ["header digest", digests.headerDigest],
      ["recipients", names.join(", ")],
    ]),
  );
}

/** Beside what is sealed: `scans/` and `.` become `scans.tar.age` beside the folder, not in it. */
function defaultOutput(file: string, isFolder: boolean): string {
  if (file === "-") return "-";
  if (!isFolder) return `${file}.age`;
  const beside = `${resolve(file)}.tar.age`;
  return isAbsolute(file) ? beside : relative(process.cwd(), beside);
}

/** Seals past the streams where it can; undefined when it went to standard output. */
async function sealTo(
  file: string,
  output: string,
  recipients: readonly Recipient[],
  options: SealOptions,
  context: Context,
): Promise<ObjectDigests | undefined> {
  await refuseOverlap(file, output);
  const { packFolder, sealFile } = await import("@cloister/adapters/store");
  const isFolder = file !== "-" && (await stat(file)).isDirectory();
  const source = isFolder ? { chunks: packFolder(file), sizeBytes: undefined } : await readStream(file);
  const progress = context.output.progress(`Sealing ${file}`, source.sizeBytes);
  const write = { force: options.force === true };
  try {
    if (options.armor !== true) {
      const digests = await fromFileToFile(file, output, write, progress, (whole) =>
        sealFile(file, output, recipients, entropy, { ...whole, mode: 0o644 }),
      );
      if (digests !== undefined) return digests;
    }
    const sealing = seal(counted(source.chunks, progress), recipients, entropy);
    await writeWhole(output, options.armor === true ? armor(sealing) : sealing, write);
    return output === "-" ? undefined : sealing.digests();
  } finally {
    progress.end();
  }
}

async function recipientsOf(options: SealOptions, context: Context): Promise<Recipient[]> {
  const named = await readRecipients(options.to ?? [], options.recipientsFile ?? []);
  const recipients =
    options.owner === undefined ? named : [...named, await groupOf(options.owner, options, context)];
  const byPassphrase = options.passphrase === true || options.passphraseFile !== undefined;
  if (options.group !== undefined && options.owner === undefined) {
    throw usageError(
      "USAGE_OWNER_MISSING",
      "The group opens nothing that names no owner.",
      "Name the owner's account with --owner 0x….",
    );
  }
  if (byPassphrase && recipients.length > 0) {
    throw usageError(
      "USAGE_CONFLICT",
      "A passphrase is the only recipient of a file.",
      "Leave out --to or the passphrase.",
    );
  }
  if (byPassphrase)
    return [passphraseRecipient(await readPassphrase(context, options, "the sealed file", "new"))];
  if (recipients.length > 0) return recipients;
  throw usageError(
    "USAGE_RECIPIENT_MISSING",
    "Nobody is named who may open the file.",
    "Name a recipient with --to age1…, or use --passphrase.",
  );
}

/** The key-release group, bound to the owner: a bare recipient would let anyone offer the file as his own. */
async function groupOf(owner: string, options: SealOptions, context: Context): Promise<Recipient> {
  const address = parseAddress(owner);
  return groupRecipient(options.group ?? (await networkGroup(context)), address);
}

/** The group of the network in `--home`, vouched for by enough of its members. */
async function networkGroup(context: Context): Promise<string> {
  const { Client } = await import("../network/client.ts");
  const client = await Client.open(context.home);
  return (await client.releaseGroup()).recipient;
}
