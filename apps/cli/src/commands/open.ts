import { open } from "node:fs/promises";
import { formatBytes } from "@cloister/core";
import {
  openWithFileKey,
  passphraseIdentity,
  readSealed,
  unarmor,
  unwrapFileKey,
  type Header,
  type Identity,
  type ObjectDigests,
} from "@cloister/custody";
import type { Command } from "commander";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { fromFileToFile, readStream, refuseOverlap, writeWhole } from "../cli/files.ts";
import { readIdentities } from "../cli/identities.ts";
import { formatFields } from "../cli/output.ts";
import { readPassphrase, type PassphraseOptions } from "../cli/passphrase.ts";
import { checked, counted } from "../cli/streams.ts";
import { interruptible } from "../cli/interrupts.ts";
import { usageError } from "../cli/usage.ts";

interface OpenOptions extends PassphraseOptions {
  readonly identity?: string[];
  readonly output?: string;
  readonly unpack?: string;
  readonly force?: boolean;
}

/** No archive of ours is larger; one that unpacks without end stops here. */
const UNPACK_LIMITS = { entriesMax: 1_000_000, bytesMax: 2 ** 44 };

export function register(program: Command, context: Context): void {
  commandOf(program, "open")
    .description(
      "Decrypt what was sealed to you. A file that was changed on its way is refused, and nothing of it is written.",
    )
    .argument("<file>", "the sealed file, or - for standard input")
    .option("-i, --identity <file>", "an identity file of yours; may be given several times", collectValues)
    .option("--passphrase-file <file>", "the passphrase of the file, or of the identity, on its first line")
    .option("-o, --output <file>", "where to write the content, or - (default: FILE without .age)")
    .option("--unpack <folder>", "unpack a sealed folder into a new folder instead")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        ["cloister open model.bin.age -i author.key", "write model.bin"],
        ["cloister open scans.tar.age -i clinic.key --unpack scans", "a folder again"],
        ["cloister open result.age -i author.key -o - | less", "look at it without writing it"],
      ),
    )
    .action((file: string, options: OpenOptions) => openOne(file, options, context));
}

async function openOne(file: string, options: OpenOptions, context: Context): Promise<void> {
  if (options.unpack !== undefined && options.output !== undefined) {
    throw usageError("USAGE_CONFLICT", "The content can only go to one place.", "Use --output or --unpack.");
  }
  const output = options.unpack ?? options.output ?? defaultOutput(file);
  const digests = await openTo(file, output, options, context);
  if (output === "-") return;
  context.output.result({ file: output, ...digests }, () =>
    formatFields([
      ["opened", `${output} (${formatBytes(digests.contentBytes)})`],
      ["content digest", digests.contentDigest],
    ]),
  );
}

/** Opens past the streams where it can. */
async function openTo(
  file: string,
  output: string,
  options: OpenOptions,
  context: Context,
): Promise<ObjectDigests> {
  await refuseOverlap(file, output);
  const { openFile, unpackFolder } = await import("@cloister/adapters/store");
  const source = await readStream(file);
  const progress = context.output.progress(`Opening ${file}`, source.sizeBytes);
  const write = { force: options.force === true, secret: true };
  const unwrap = async (header: Header): Promise<Uint8Array> =>
    unwrapFileKey(header, await identitiesFor(header, options, context));
  try {
    if (options.unpack === undefined && !(await isArmored(file))) {
      const digests = await fromFileToFile(file, output, write, progress, (whole) =>
        openFile(file, output, unwrap, whole),
      );
      if (digests !== undefined) return digests;
    }
    const reader = await readSealed(unarmor(counted(source.chunks, progress)));
    const flow = openWithFileKey(reader, await unwrap(reader.header));
    if (options.unpack === undefined) await writeWhole(output, flow, write);
    else await interruptible((check) => unpackFolder(checked(flow, check), output, UNPACK_LIMITS));
    return flow.digests();
  } finally {
    progress.end();
  }
}

/** Armored files begin with a dash, or with the space before it. */
async function isArmored(file: string): Promise<boolean> {
  if (file === "-") return false;
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, 0);
    return bytesRead === 1 && /[-\s]/.test(buffer.toString("latin1"));
  } finally {
    await handle.close();
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
