import { CloisterError } from "@cloister/core";

/**
 * Reads a binary format front to back. Every read is bounded: past the end it throws a `CloisterError`
 * with the code that the format gave, so that a verifier can turn it into a refusal.
 */
export class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #code: string;
  at = 0;

  constructor(bytes: Uint8Array, code: string) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#code = code;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  /** Takes the next bytes as a view, not a copy. */
  take(length: number): Uint8Array {
    const from = this.#advance(length);
    return this.bytes.subarray(from, from + length);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16le(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u16be(): number {
    return this.#view.getUint16(this.#advance(2), false);
  }

  u24le(): number {
    const from = this.#advance(3);
    return this.#view.getUint16(from, true) + 0x10000 * this.#view.getUint8(from + 2);
  }

  u32le(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u32be(): number {
    return this.#view.getUint32(this.#advance(4), false);
  }

  u64le(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  u64be(): bigint {
    return this.#view.getBigUint64(this.#advance(8), false);
  }

  /** @throws {CloisterError} the format's code, when bytes are left over. */
  end(): void {
    if (this.left !== 0) throw this.malformed(`${this.left} bytes follow its end`);
  }

  malformed(why: string): CloisterError {
    return new CloisterError(this.#code, `It cannot be read at byte ${this.at}: ${why}.`, {
      hint: "Check that the file is whole, and of the kind that it is read as.",
    });
  }

  #advance(length: number): number {
    const from = this.at;
    if (length < 0 || from + length > this.bytes.length) throw this.malformed("it is cut off");
    this.at = from + length;
    return from;
  }
}
