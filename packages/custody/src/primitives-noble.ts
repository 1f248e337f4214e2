/**
 * What sealing needs besides core's primitives, in portable code. `#primitives` resolves to this file
 * in the browser and to `native/primitives.ts` (OpenSSL behind the same names) in Node.
 */
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { scrypt as nobleScrypt } from "@noble/hashes/scrypt.js";
import { sha256 } from "@noble/hashes/sha2.js";

/** A SHA-256 over bytes that arrive in pieces. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The 32 bytes. Ends the hasher. */
  digest(): Uint8Array;
}

export function sha256Hasher(): Hasher {
  const state = sha256.create();
  return { update: (bytes) => void state.update(bytes), digest: () => state.digest() };
}

/** ChaCha20-Poly1305 (RFC 8439) without additional data, under one key. */
export interface Aead {
  /** The ciphertext and its tag, apart: joining them would copy every byte once more. */
  seal(nonce: Uint8Array, plaintext: Uint8Array): { readonly body: Uint8Array; readonly tag: Uint8Array };
  /** The plaintext of a ciphertext with its tag behind it, or undefined when the tag does not fit. */
  open(nonce: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
}

const TAG_BYTES = 16;

export function createAead(key: Uint8Array): Aead {
  return {
    seal: (nonce, plaintext) => {
      const sealed = chacha20poly1305(key, nonce).encrypt(plaintext);
      return { body: sealed.subarray(0, -TAG_BYTES), tag: sealed.subarray(-TAG_BYTES) };
    },
    open: (nonce, sealed) => {
      try {
        return chacha20poly1305(key, nonce).decrypt(sealed);
      } catch {
        return undefined;
      }
    },
  };
}

/** scrypt (RFC 7914) with r = 8, p = 1 and 32 bytes of output. */
export function scrypt(passphrase: Uint8Array, salt: Uint8Array, workFactorLog2: number): Uint8Array {
  return nobleScrypt(passphrase, salt, { N: 2 ** workFactorLog2, r: 8, p: 1, dkLen: 32 });
}
