/** Passphrases: from a file for scripts, from the terminal for people, never from the command line. */
import { CloisterError } from "@cloister/core";
import type { Context } from "./context.ts";
import { readText } from "./files.ts";

const PASSPHRASE_BYTES_MAX = 64 * 1024;

export interface PassphraseOptions {
  readonly passphraseFile?: string;
}

/**
 * The passphrase for a purpose, `new` when it is being chosen and so is asked for twice.
 * @throws {CloisterError} `USAGE_PASSPHRASE_MISSING`, `PASSPHRASE_EMPTY`, `PASSPHRASE_CANCELED`, `FILE_NOT_TEXT`
 */
export async function readPassphrase(
  context: Context,
  options: PassphraseOptions,
  purpose: string,
  kind: "new" | "known" = "known",
): Promise<string> {
  const text =
    options.passphraseFile === undefined
      ? await askPassphrase(context, purpose, kind)
      : firstLine(await readText(options.passphraseFile, PASSPHRASE_BYTES_MAX));
  if (text !== "") return text;
  throw new CloisterError("PASSPHRASE_EMPTY", `The passphrase for ${purpose} is empty.`, {
    hint: "Put it on the first line of the file.",
  });
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? "";
}

async function askPassphrase(context: Context, purpose: string, kind: "new" | "known"): Promise<string> {
  if (!context.interactive) {
    throw new CloisterError("USAGE_PASSPHRASE_MISSING", `A passphrase is needed for ${purpose}.`, {
      hint: "Give it with --passphrase-file FILE, or run the command in a terminal.",
    });
  }
  const first = await ask(`Passphrase for ${purpose}`);
  if (kind === "new" && (await ask("The same once more")) !== first) {
    throw new CloisterError("PASSPHRASE_DIFFERS", "The two passphrases are not the same.", {
      hint: "Try again.",
    });
  }
  return first;
}

async function ask(message: string): Promise<string> {
  const { isCancel, password } = await import("@clack/prompts");
  const answer = await password({ message, output: process.stderr });
  if (isCancel(answer)) throw new CloisterError("PASSPHRASE_CANCELED", "No passphrase was given.");
  return answer;
}
