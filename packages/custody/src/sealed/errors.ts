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

/** Builds the error of a sealed object, recipient or identity that cannot be used. */
export function sealedError(
  code: SealedErrorCode,
  message: string,
  options: { hint?: string; cause?: unknown } = {},
): CloisterError {
  return new CloisterError(code, message, options);
}
