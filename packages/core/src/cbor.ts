import { cdeDecodeOptions, cdeEncodeOptions, decode, encode } from "cbor2";
import { equalBytes, toHex } from "./bytes.ts";

/** What canonical documents are made of. Maps with integer keys (COSE headers) are `Map`s. */
export type Cbor =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Cbor[]
  | { readonly [key: string]: Cbor }
  | ReadonlyMap<number | string, Cbor>;

/** Encodes deterministically: RFC 8949 §4.2 core deterministic encoding. Absent members are left out. */
export function encodeCanonical(document: unknown): Uint8Array {
  return encode(plain(document), { ...cdeEncodeOptions, ignoreOriginalEncoding: true });
}

/** Drops absent members and reduces subclasses of `Uint8Array`, so that equal documents encode equally. */
function plain(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return new Uint8Array(value.buffer, value.byteOffset, value.length);
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return new Map([...value].map(([key, member]) => [key, plain(member)]));
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([key, member]) => [key, plain(member)]));
}

/**
 * Decodes a canonical document and refuses every other encoding of the same value,
 * so that one document has one byte string.
 * @throws {CborError} `CBOR_MALFORMED`, `CBOR_NOT_CANONICAL`
 */
export function decodeCanonical(bytes: Uint8Array): Cbor {
  let document: Cbor;
  try {
    document = decode(bytes, cdeDecodeOptions) as Cbor;
  } catch (cause) {
    throw new CborError("CBOR_MALFORMED", "The bytes are not deterministic CBOR (RFC 8949 §4.2).", bytes, {
      cause,
    });
  }
  if (!equalBytes(encodeCanonical(document), bytes)) {
    throw new CborError("CBOR_NOT_CANONICAL", "The CBOR is not in its one canonical form.", bytes);
  }
  return document;
}

/** Bytes that are not canonical CBOR. */
export class CborError extends Error {
  override readonly name = "CborError";
  readonly code: "CBOR_MALFORMED" | "CBOR_NOT_CANONICAL";
  readonly got: string;

  constructor(code: CborError["code"], message: string, bytes: Uint8Array, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.got = toHex(bytes.subarray(0, 32));
  }
}
