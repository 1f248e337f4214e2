import { concat } from "@cloister/core";
import { createAead } from "#primitives";

/** Seals a short message under a key that is used once or with distinct nonces: the ciphertext, then the tag. */
export function aeadSeal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const { body, tag } = createAead(key).seal(nonce, plaintext);
  return concat(body, tag);
}

/** Opens a short message; undefined when the tag does not fit. */
export function aeadOpen(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  return createAead(key).open(nonce, sealed);
}
