import { utf8 } from "@cloister/core";
import {
  formatIdentityFile,
  generateIdentity,
  hybridIdentity,
  passphraseRecipient,
  seal,
} from "@cloister/custody";
import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { writeWhole } from "../cli/files.ts";
import { entropy } from "../cli/identities.ts";
import { readPassphrase, type PassphraseOptions } from "../cli/passphrase.ts";

interface KeygenOptions extends PassphraseOptions {
  readonly output: string;
  readonly passphrase?: boolean;
  readonly postQuantum?: boolean;
  readonly force?: boolean;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "keygen")
    .description(
      "Make a key pair. Others seal to its recipient (age1…); only the identity file opens what they sealed. The file is the one that `age-keygen` writes.",
    )
    .requiredOption("-o, --output <file>", "where to write the identity, or - for standard output")
    .option("--post-quantum", "make a hybrid key, for what must stay secret for decades")
    .option("-p, --passphrase", "protect the identity with a passphrase, asked for in the terminal")
    .option("--passphrase-file <file>", "protect it with the passphrase on the first line of this file")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        ["cloister keygen -o clinic.key", "make clinic.key, readable by you alone, and print its recipient"],
        ["cloister keygen -o clinic.key -p", "the same, protected with a passphrase"],
      ),
    )
    .action((options: KeygenOptions) => makeKey(options, context));
}

async function makeKey(options: KeygenOptions, context: Context): Promise<void> {
  const identity = options.postQuantum === true ? hybridIdentity(entropy(32)) : generateIdentity(entropy);
  const createdAt = new Date(context.nowMs()).toISOString();
  const text = utf8(formatIdentityFile(identity, createdAt));
  const isProtected = options.passphrase === true || options.passphraseFile !== undefined;
  const content = isProtected
    ? seal(
        [text],
        [passphraseRecipient(await readPassphrase(context, options, "the new identity", "new"))],
        entropy,
      )
    : [text];
  await writeWhole(options.output, content, { secret: true, force: options.force === true });
  if (options.output === "-") return context.output.note(`recipient ${identity.recipient.text}`);
  context.output.result(
    { file: options.output, recipient: identity.recipient.text, protected: isProtected },
    () => identity.recipient.text,
  );
}
