/** Identity and recipient files as stock age reads and writes them, passphrase-protected ones too. */
import { CloisterError, fromUtf8, type Entropy } from "@cloister/core";
import {
  collect,
  open,
  parseIdentityFile,
  parseRecipient,
  parseRecipientFile,
  passphraseIdentity,
  unarmor,
  type Identity,
  type Recipient,
} from "@cloister/custody";
import { randomFillSync } from "node:crypto";
import type { Context } from "./context.ts";
import { readDocument } from "./files.ts";
import { readPassphrase, type PassphraseOptions } from "./passphrase.ts";

const KEY_FILE_BYTES_MAX = 1024 * 1024;
const SEALED_STARTS = ["age-encryption.org/v1", "-----BEGIN AGE ENCRYPTED FILE-----"];

/** The platform's generator. */
export const entropy: Entropy = (length) => randomFillSync(new Uint8Array(length));

/** Reads identities; a file that is itself sealed under a passphrase is opened with it. */
export async function readIdentities(
  context: Context,
  files: readonly string[],
  options: PassphraseOptions,
): Promise<Identity[]> {
  const identities: Identity[] = [];
  for (const file of files) {
    const bytes = await readDocument(file, KEY_FILE_BYTES_MAX);
    const plain = isSealed(bytes) ? await openKeyFile(context, file, bytes, options) : bytes;
    identities.push(...parseIdentityFile(textOf(plain, file)));
  }
  return identities;
}

async function openKeyFile(
  context: Context,
  file: string,
  bytes: Uint8Array,
  options: PassphraseOptions,
): Promise<Uint8Array> {
  const passphrase = await readPassphrase(context, options, `the identity ${file}`);
  return collect(await open(unarmor([bytes]), [passphraseIdentity(passphrase)]));
}

/** @throws {CloisterError} `KEY_FILE_NOT_TEXT` */
function textOf(bytes: Uint8Array, file: string): string {
  try {
    return fromUtf8(bytes);
  } catch (cause) {
    throw new CloisterError(
      "KEY_FILE_NOT_TEXT",
      `${file} is not a text file, as files of identities and recipients are.`,
      {
        hint: "Name the file that `cloister keygen` or `age-keygen` wrote.",
        cause,
      },
    );
  }
}

function isSealed(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.subarray(0, 64)).toString("latin1").trimStart();
  return SEALED_STARTS.some((text) => start.startsWith(text));
}

/** Reads recipients from the command line and from files of them. */
export async function readRecipients(
  texts: readonly string[],
  files: readonly string[],
): Promise<Recipient[]> {
  const recipients = texts.map(parseRecipient);
  for (const file of files) {
    recipients.push(...parseRecipientFile(textOf(await readDocument(file, KEY_FILE_BYTES_MAX), file)));
  }
  return recipients;
}
