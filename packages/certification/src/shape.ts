import {
  CloisterError,
  decodeCanonical,
  digestFrom,
  toHex,
  type Address,
  type Cbor,
  type Digest,
  type Hex32,
} from "@cloister/core";

/**
 * Reads documents from outside member by member. Everything that is not exactly as the specification
 * says throws with one code and the path to the member that was wrong.
 */
export class Shape {
  readonly #code: string;
  readonly #what: string;

  constructor(code: string, what: string) {
    this.#code = code;
    this.#what = what;
  }

  /** Decodes canonical CBOR. */
  decode(bytes: Uint8Array, sizeBytesMax: number): Cbor {
    if (bytes.length > sizeBytesMax) throw this.wrong("", `it is longer than ${sizeBytesMax} bytes`);
    try {
      return decodeCanonical(bytes);
    } catch (cause) {
      throw this.wrong("", "it is not deterministic CBOR (RFC 8949 §4.2)", cause);
    }
  }

  /** A map with exactly the required members and possibly the optional ones. */
  record(value: unknown, path: string, required: readonly string[], optional: readonly string[] = []) {
    if (!isRecord(value)) throw this.wrong(path, "it is not a map");
    const names = Object.keys(value);
    const missing = required.find((name) => !names.includes(name));
    if (missing !== undefined) throw this.wrong(join(path, missing), "it is missing");
    const foreign = names.find((name) => !required.includes(name) && !optional.includes(name));
    if (foreign !== undefined) throw this.wrong(join(path, foreign.slice(0, 40)), "no such member exists");
    return value;
  }

  list<T>(value: unknown, path: string, lengthMax: number, read: (item: unknown, path: string) => T): T[] {
    if (!Array.isArray(value)) throw this.wrong(path, "it is not a list");
    if (value.length > lengthMax) throw this.wrong(path, `it has more than ${lengthMax} members`);
    return value.map((item, index) => read(item, `${path}[${index}]`));
  }

  /** An integer from 0 to `max`. */
  count(value: unknown, path: string, max = Number.MAX_SAFE_INTEGER): number {
    const whole = typeof value === "number" && Number.isSafeInteger(value) && !Object.is(value, -0);
    if (!whole || value < 0 || value > max) throw this.wrong(path, `it is not an integer from 0 to ${max}`);
    return value;
  }

  text(value: unknown, path: string, lengthMax: number, pattern = PRINTABLE): string {
    const fits = typeof value === "string" && value.length <= lengthMax && pattern.test(value);
    if (!fits) throw this.wrong(path, `it is not a text of at most ${lengthMax} allowed characters`);
    return value;
  }

  flag(value: unknown, path: string): boolean {
    if (typeof value !== "boolean") throw this.wrong(path, "it is not true or false");
    return value;
  }

  bytes(value: unknown, path: string, lengthMax: number): Uint8Array {
    if (!(value instanceof Uint8Array)) throw this.wrong(path, "it is not a byte string");
    if (value.length > lengthMax) throw this.wrong(path, `it is longer than ${lengthMax} bytes`);
    return value;
  }

  fixed(value: unknown, path: string, length: number): Uint8Array {
    const bytes = this.bytes(value, path, length);
    if (bytes.length !== length) throw this.wrong(path, `it is not ${length} bytes long`);
    return bytes;
  }

  digest(value: unknown, path: string): Digest {
    return digestFrom(this.fixed(value, path, 32));
  }

  hex32<T extends Hex32>(value: unknown, path: string): T {
    return `0x${toHex(this.fixed(value, path, 32))}` as T;
  }

  address<T extends Address>(value: unknown, path: string): T {
    return `0x${toHex(this.fixed(value, path, 20))}` as T;
  }

  /** Requires one exact value, such as a version. */
  exactly<T extends string | number>(value: unknown, path: string, expected: T): T {
    if (value !== expected) throw this.wrong(path, `it is not ${JSON.stringify(expected)}`);
    return expected;
  }

  check(condition: boolean, path: string, why: string): void {
    if (!condition) throw this.wrong(path, why);
  }

  wrong(path: string, why: string, cause?: unknown): CloisterError {
    const where = path === "" ? "" : ` at ${path}`;
    return new CloisterError(this.#code, `The ${this.#what} is malformed${where}: ${why}.`, {
      cause,
      details: { path },
    });
  }
}

const PRINTABLE = /^[^\p{C}]*$/u;

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  return !Array.isArray(value) && !(value instanceof Uint8Array) && !(value instanceof Map);
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
