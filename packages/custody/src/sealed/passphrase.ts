import { concat, utf8 } from "@cloister/core";
import { scrypt } from "#primitives";
import { aeadOpen, aeadSeal } from "./small.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { sealedError } from "./errors.ts";
import type { Stanza } from "./header.ts";
import { malformedStanza, ZERO_NONCE, type Identity, type Recipient } from "./recipients.ts";

const LABEL = utf8("age-encryption.org/v1/scrypt");
const SALT_BYTES = 16;
const WRAPPED_KEY_BYTES = 32;
/** About a second on current hardware, as age chooses it. */
const WORK_FACTOR_LOG2 = 18;
/** 4 GiB of memory: what a hostile header may at most ask for, as in age. */
const WORK_FACTOR_LOG2_MAX = 22;

/** A passphrase as the only recipient. `workFactorLog2` is scrypt's log2(N). */
export function passphraseRecipient(passphrase: string, workFactorLog2 = WORK_FACTOR_LOG2): Recipient {
  return {
    text: "passphrase",
    alone: true,
    wrap: (fileKey, entropy) => {
      const salt = entropy(SALT_BYTES);
      const key = scrypt(utf8(passphrase), concat(LABEL, salt), workFactorLog2);
      return [
        {
          args: ["scrypt", encodeBase64(salt), String(workFactorLog2)],
          body: aeadSeal(key, ZERO_NONCE, fileKey),
        },
      ];
    },
  };
}

/** A passphrase as an identity; refuses to spend more than `workFactorLog2Max` asks for. */
export function passphraseIdentity(passphrase: string, workFactorLog2Max = WORK_FACTOR_LOG2_MAX): Identity {
  return { unwrap: (stanzas) => unwrapScrypt(stanzas, passphrase, workFactorLog2Max) };
}

function unwrapScrypt(
  stanzas: readonly Stanza[],
  passphrase: string,
  workFactorLog2Max: number,
): Uint8Array | undefined {
  const [stanza] = stanzas.filter((candidate) => candidate.args[0] === "scrypt");
  if (stanza === undefined) return undefined;
  if (stanzas.length > 1) throw malformedStanza("scrypt", "it must be the only one");
  const [, saltText = "", workText = ""] = stanza.args;
  const salt = decodeBase64(saltText);
  if (stanza.args.length !== 3 || salt?.length !== SALT_BYTES)
    throw malformedStanza("scrypt", "it needs a salt of 16 bytes and a work factor");
  if (!/^[1-9][0-9]?$/.test(workText))
    throw malformedStanza("scrypt", "its work factor is not a number from 1 to 99");
  if (stanza.body.length !== WRAPPED_KEY_BYTES) throw malformedStanza("scrypt", "its body is not 32 bytes");
  const workFactorLog2 = Number(workText);
  if (workFactorLog2 > workFactorLog2Max) {
    throw sealedError(
      "SEALED_WORK_FACTOR_TOO_LARGE",
      `The file asks for scrypt work of 2^${workFactorLog2}; at most 2^${workFactorLog2Max} is spent.`,
    );
  }
  const key = scrypt(utf8(passphrase), concat(LABEL, salt), workFactorLog2);
  const fileKey = aeadOpen(key, ZERO_NONCE, stanza.body);
  if (fileKey === undefined)
    throw sealedError("SEALED_PASSPHRASE_WRONG", "The passphrase does not open this file.");
  return fileKey;
}
