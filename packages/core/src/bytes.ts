/** Byte strings and their textual forms. Everything here is pure and allocation-light. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Encodes bytes as lower-case hex without a prefix. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/**
 * Decodes hex, with or without `0x`, in either case.
 * @throws {BytesError} `BYTES_HEX_MALFORMED` on an odd length or a foreign character.
 */
export function fromHex(text: string): Uint8Array {
  const digits = text.startsWith("0x") ? text.slice(2) : text;
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) {
    throw new BytesError("BYTES_HEX_MALFORMED", "The text is not hexadecimal.", text.slice(0, 80));
  }
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Encodes bytes as base64 without line breaks (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(binary);
}

/**
 * Decodes base64 or base64url, padded or not.
 * @throws {BytesError} `BYTES_BASE64_MALFORMED`
 */
export function fromBase64(text: string): Uint8Array {
  try {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    const bytes = new Uint8Array(binary.length);
    // `Uint8Array.from` walks the text as an iterable, which is twenty times slower.
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  } catch (cause) {
    throw new BytesError("BYTES_BASE64_MALFORMED", "The text is not base64.", text.slice(0, 80), { cause });
  }
}

/** Joins byte strings into one new array. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Compares two byte strings in time that depends on their lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}

/** Encodes text as UTF-8. */
export function utf8(text: string): Uint8Array {
  return utf8Encoder.encode(text);
}

/**
 * Decodes UTF-8 strictly.
 * @throws {BytesError} `BYTES_UTF8_MALFORMED`
 */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return utf8Decoder.decode(bytes);
  } catch (cause) {
    throw new BytesError(
      "BYTES_UTF8_MALFORMED",
      "The bytes are not UTF-8 text.",
      toHex(bytes.subarray(0, 32)),
      {
        cause,
      },
    );
  }
}

/** Text or hex that does not decode. */
export class BytesError extends Error {
  override readonly name = "BytesError";
  readonly code: "BYTES_HEX_MALFORMED" | "BYTES_BASE64_MALFORMED" | "BYTES_UTF8_MALFORMED";
  readonly got: string;

  constructor(code: BytesError["code"], message: string, got: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.got = got;
  }
}
