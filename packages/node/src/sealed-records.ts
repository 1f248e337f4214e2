import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { CloisterError, concat, utf8, type Entropy, type RecordStore } from "@cloister/core";

const NONCE_BYTES = 24;

/**
 * Encrypts a CVM's records with a key that only the same measurement on the same hardware has again.
 * A record opens only under its own name. The host can still put back an older record of that name:
 * what must not roll back is fenced on the chain (SECURITY.md, "Rollback").
 */
export class SealedRecords implements RecordStore {
  readonly #inner: RecordStore;
  readonly #key: Uint8Array;
  readonly #entropy: Entropy;

  constructor(inner: RecordStore, key: Uint8Array, entropy: Entropy) {
    this.#inner = inner;
    this.#key = key;
    this.#entropy = entropy;
  }

  /** @throws {CloisterError} `SEALED_RECORD_UNREADABLE` */
  async read(name: string): Promise<Uint8Array | undefined> {
    const sealed = await this.#inner.read(name);
    if (sealed === undefined) return undefined;
    try {
      const nonce = sealed.subarray(0, NONCE_BYTES);
      return xchacha20poly1305(this.#key, nonce, utf8(name)).decrypt(sealed.subarray(NONCE_BYTES));
    } catch (cause) {
      throw new CloisterError(
        "SEALED_RECORD_UNREADABLE",
        `The sealed record "${name}" does not open in this CVM.`,
        {
          hint: "It was sealed by other code or other hardware, or was changed. Remove the node's records and let it join anew.",
          cause,
        },
      );
    }
  }

  write(name: string, record: Uint8Array): Promise<void> {
    const nonce = this.#entropy(NONCE_BYTES);
    const sealed = xchacha20poly1305(this.#key, nonce, utf8(name)).encrypt(record);
    return this.#inner.write(name, concat(nonce, sealed));
  }

  delete(name: string): Promise<void> {
    return this.#inner.delete(name);
  }

  list(prefix: string): Promise<string[]> {
    return this.#inner.list(prefix);
  }
}
