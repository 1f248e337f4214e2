import { CloisterError } from "@cloister/core";

/** Why bytes are not a sealed object that opens. */
export type SealedErrorCode =
  | "SEALED_NOT_AGE"
  | "SEALED_ARMOR_MALFORMED"
  | "SEALED_HEADER_MALFORMED"
  | "SEALED_HEADER_TOO_LARGE"
  | "SEALED_HEADER_MAC_WRONG"
  | "SEALED_NO_IDENTITY_MATCHES"
  | "SEALED_STANZA_MALFORMED"
  | "SEALED_PASSPHRASE_WRONG"
  | "SEALED_WORK_FACTOR_TOO_LARGE"
  | "SEALED_CHUNK_FORGED"
  | "SEALED_TRUNCATED"
  | "SEALED_TRAILING_BYTES"
  | "SEALED_CHUNK_EMPTY"
  | "SEALED_RANGE_OUTSIDE"
  | "SEALED_RECIPIENTS_MALFORMED"
  | "SEALED_RECIPIENT_MALFORMED"
  | "SEALED_IDENTITY_MALFORMED"
  | "SEALED_NOT_FINISHED";

const GET_AGAIN = "Get the file again from where it came from; `sha256sum` tells whether a copy is whole.";

/** What to do where the place that found it knows nothing better. */
const HINTS: Partial<Record<SealedErrorCode, string>> = {
  SEALED_ARMOR_MALFORMED: "Copy all of it, from its first dash to its last, and nothing else.",
  SEALED_HEADER_MALFORMED: GET_AGAIN,
  SEALED_HEADER_TOO_LARGE: GET_AGAIN,
  SEALED_HEADER_MAC_WRONG: GET_AGAIN,
  SEALED_STANZA_MALFORMED: GET_AGAIN,
  SEALED_CHUNK_FORGED: GET_AGAIN,
  SEALED_TRUNCATED: GET_AGAIN,
  SEALED_TRAILING_BYTES: GET_AGAIN,
  SEALED_CHUNK_EMPTY: GET_AGAIN,
  SEALED_PASSPHRASE_WRONG: "Try again; case and spaces count.",
  SEALED_WORK_FACTOR_TOO_LARGE: "Ask for it sealed with less work, or to a key.",
  SEALED_RECIPIENTS_MALFORMED: "Name recipients of one kind, and seal it once for each kind.",
};

/** Builds the error of a sealed object, recipient or identity that cannot be used. */
export function sealedError(
  code: SealedErrorCode,
  message: string,
  options: { hint?: string; cause?: unknown } = {},
): CloisterError {
  const hint = options.hint ?? HINTS[code];
  return new CloisterError(code, message, { ...options, ...(hint === undefined ? {} : { hint }) });
}
