/**
 * A bounded CBOR reader (RFC 8949) for what devices emit: unlike canonical documents, tokens come with any
 * key order, lengths of any width and indefinite lengths. Maps become `Map`s; no key stands twice.
 */
import { CloisterError, fromUtf8 } from "@cloister/core";
import { Reader } from "../reader.ts";

export type CborKey = number | bigint | string;
export type CborItem =
  | null
  | undefined
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | CborItem[]
  | Map<CborKey, CborItem>
  | CborTag;

/** A tagged item. */
export class CborTag {
  readonly tag: number;
  readonly item: CborItem;

  constructor(tag: number, item: CborItem) {
    this.tag = tag;
    this.item = item;
  }
}

const BYTES_MAX = 256 * 1024;
const DEPTH_MAX = 16;
const ITEMS_MAX = 10_000;
const CODE = "CBOR_MALFORMED";
const BREAK = Symbol("break");

/**
 * Decodes the one item that fills the bytes.
 * @throws {CloisterError} `CBOR_MALFORMED`; floating-point numbers count as malformed: no token has any.
 */
export function decodeCbor(bytes: Uint8Array): CborItem {
  if (bytes.length > BYTES_MAX) throw new CloisterError(CODE, "The CBOR is larger than any token.");
  const decoder = new Decoder(bytes);
  const item = decoder.item(0);
  decoder.end();
  return item;
}

class Decoder {
  readonly #reader: Reader;
  #items = 0;

  constructor(bytes: Uint8Array) {
    this.#reader = new Reader(bytes, CODE);
  }

  end(): void {
    this.#reader.end();
  }

  item(depth: number): CborItem {
    const item = this.#itemOrBreak(depth);
    if (item === BREAK) throw this.#reader.malformed("a break stands alone");
    return item;
  }

  #itemOrBreak(depth: number): CborItem | typeof BREAK {
    if (depth > DEPTH_MAX) throw this.#reader.malformed("it is nested too deep");
    if (++this.#items > ITEMS_MAX) throw this.#reader.malformed("it has too many items");
    const initial = this.#reader.u8();
    const major = initial >> 5;
    if (major === 7) return this.#simple(initial & 31);
    const indefinite = (initial & 31) === 31;
    if (indefinite && (major < 2 || major === 6)) throw this.#reader.malformed("a length is reserved");
    const argument = indefinite ? undefined : this.#argument(initial & 31);
    switch (major) {
      case 0:
        return argument;
      case 1:
        return typeof argument === "bigint" ? -1n - argument : -1 - (argument as number);
      case 2:
      case 3:
        return this.#string(major, argument);
      case 4:
        return this.#array(argument, depth);
      case 5:
        return this.#map(argument, depth);
      default:
        return new CborTag(this.#size(argument), this.item(depth + 1));
    }
  }

  #simple(info: number): CborItem | typeof BREAK {
    switch (info) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
        return null;
      case 23:
        return undefined;
      case 31:
        return BREAK;
      default:
        throw this.#reader.malformed("a value is neither a boolean nor null");
    }
  }

  #argument(info: number): number | bigint {
    if (info < 24) return info;
    switch (info) {
      case 24:
        return this.#reader.u8();
      case 25:
        return this.#reader.u16be();
      case 26:
        return this.#reader.u32be();
      case 27: {
        const value = this.#reader.u64be();
        return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
      }
      default:
        throw this.#reader.malformed("a length is reserved");
    }
  }

  #size(argument: number | bigint | undefined): number {
    if (typeof argument !== "number") throw this.#reader.malformed("a length is too large");
    return argument;
  }

  #string(major: number, length: number | bigint | undefined): Uint8Array | string {
    const bytes = length === undefined ? this.#chunks(major) : this.#reader.take(this.#size(length));
    if (major === 2) return bytes;
    try {
      return fromUtf8(bytes);
    } catch {
      throw this.#reader.malformed("a text is not UTF-8");
    }
  }

  #chunks(major: number): Uint8Array {
    const chunks: number[] = [];
    for (;;) {
      const initial = this.#reader.u8();
      if (initial === 0xff) return new Uint8Array(chunks);
      if (initial >> 5 !== major || (initial & 31) === 31)
        throw this.#reader.malformed("a chunk is of another type");
      for (const byte of this.#reader.take(this.#size(this.#argument(initial & 31)))) chunks.push(byte);
    }
  }

  #array(length: number | bigint | undefined, depth: number): CborItem[] {
    const items: CborItem[] = [];
    const count = length === undefined ? Number.POSITIVE_INFINITY : this.#size(length);
    while (items.length < count) {
      const item = this.#itemOrBreak(depth + 1);
      if (item === BREAK) {
        if (length === undefined) break;
        throw this.#reader.malformed("a break stands in an array of known length");
      }
      items.push(item);
    }
    return items;
  }

  #map(length: number | bigint | undefined, depth: number): Map<CborKey, CborItem> {
    const map = new Map<CborKey, CborItem>();
    const count = length === undefined ? Number.POSITIVE_INFINITY : this.#size(length);
    while (map.size < count) {
      const key = this.#itemOrBreak(depth + 1);
      if (key === BREAK && length === undefined) break;
      if (typeof key !== "number" && typeof key !== "bigint" && typeof key !== "string") {
        throw this.#reader.malformed("a key is neither a number nor a text");
      }
      if (map.has(key)) throw this.#reader.malformed("a key stands twice");
      map.set(key, this.item(depth + 1));
    }
    return map;
  }
}

/** Typed access to the claims of a map. */
export class CborClaims {
  readonly #map: ReadonlyMap<CborKey, CborItem>;
  readonly #code: string;

  /** @throws {CloisterError} `code`, when the item is not a map. */
  constructor(item: CborItem, code: string) {
    if (!(item instanceof Map)) throw new CloisterError(code, "The claims are not a map.");
    this.#map = item;
    this.#code = code;
  }

  has(key: CborKey): boolean {
    return this.#map.has(key);
  }

  /** Byte string, of one of the given lengths where any are given. */
  bytes(key: CborKey, ...lengths: readonly number[]): Uint8Array {
    const value = this.#map.get(key);
    if (!(value instanceof Uint8Array) || (lengths.length > 0 && !lengths.includes(value.length))) {
      throw this.wrong(key);
    }
    return value;
  }

  text(key: CborKey): string {
    const value = this.#map.get(key);
    if (typeof value !== "string" || value.length > 1024) throw this.wrong(key);
    return value;
  }

  integer(key: CborKey): number {
    const value = this.#map.get(key);
    if (typeof value !== "number") throw this.wrong(key);
    return value;
  }

  array(key: CborKey): readonly CborItem[] {
    const value = this.#map.get(key);
    if (!Array.isArray(value)) throw this.wrong(key);
    return value;
  }

  map(key: CborKey): ReadonlyMap<CborKey, CborItem> {
    const value = this.#map.get(key);
    if (!(value instanceof Map)) throw this.wrong(key);
    return value;
  }

  wrong(key: CborKey): CloisterError {
    return new CloisterError(this.#code, `The claim ${key} is missing or of a wrong form.`);
  }
}
