import { formatBytes } from "@cloister/core";
import {
  openWithFileKey,
  passphraseIdentity,
  readSealed,
  unarmor,
  unwrapFileKey,
  type Header,
  type Identity,
} from "@cloister/custody";
import type { Command } from "commander";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readStream, writeWhole } from "../cli/files.ts";
import { readIdentities } from "../cli/identities.ts";
import { formatFields } from "../cli/output.ts";
import { readPassphrase, type PassphraseOptions } from "../cli/passphrase.ts";
import { counted } from "../cli/streams.ts";
import { usageError } from "../cli/usage.ts";

interface OpenOptions extends PassphraseOptions {
  readonly identity?: string[];
  readonly output?: string;
  readonly force?: boolean;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "open")
    .description(
      "Decrypt what was sealed to you. A file that was changed on its way is refused, and nothing of it is written.",
    )
    .argument("<file>", "the sealed file, or - for standard input")
    .option("-i, --identity <file>", "an identity file of yours; may be given several times", collectValues)
    .option("--passphrase-file <file>", "the passphrase of the file, or of the identity, on its first line")
    .option("-o, --output <file>", "where to write the content, or - (default: FILE without .age)")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        ["cloister open model.bin.age -i author.key", "write model.bin"],
        ["cloister open result.age -i author.key -o - | less", "look at it without writing it"],
      ),
    )
    .action((file: string, options: OpenOptions) => openFile(file, options, context));
}

async function openFile(file: string, options: OpenOptions, context: Context): Promise<void> {
  const output = options.output ?? defaultOutput(file);
  const source = await readStream(file);
  const progress = context.output.progress(`Opening ${file}`, source.sizeBytes);
  try {
    const reader = await readSealed(unarmor(counted(source.chunks, progress)));
    const fileKey = unwrapFileKey(reader.header, await identitiesFor(reader.header, options, context));
    const flow = openWithFileKey(reader, fileKey);
    await writeWhole(output, flow, { force: options.force === true, secret: true });
    progress.end();
    if (output === "-") return;
    const digests = flow.digests();
    context.output.result({ file: output, ...digests }, () =>
      formatFields([
        ["opened", `${output} (${formatBytes(digests.contentBytes)})`],
        ["content digest", digests.contentDigest],
      ]),
    );
  } finally {
    progress.end();
  }
}

async function identitiesFor(header: Header, options: OpenOptions, context: Context): Promise<Identity[]> {
  if (header.stanzas.some((stanza) => stanza.args[0] === "scrypt")) {
    return [passphraseIdentity(await readPassphrase(context, options, "the sealed file"))];
  }
  if (options.identity === undefined) {
    throw usageError(
      "USAGE_IDENTITY_MISSING",
      "No identity is given to open the file with.",
      "Name your identity file with -i FILE.",
    );
  }
  return readIdentities(context, options.identity, options);
}

function defaultOutput(file: string): string {
  if (file === "-") return "-";
  if (file.endsWith(".age") && file !== ".age") return file.slice(0, -".age".length);
  throw usageError(
    "USAGE_OUTPUT_MISSING",
    `${file} does not end in .age, so the name of the content is not known.`,
    "Name it with -o FILE.",
  );
}
