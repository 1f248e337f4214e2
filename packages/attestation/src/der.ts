/**
 * DER (ITU-T X.690 §8–11), read strictly and written minimally. The reader is not recursive: it gives
 * one element at a time, so that hostile nesting costs nothing.
 */
import { concat, toHex } from "@cloister/core";

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element: its tag byte, its content, and the whole of it with tag and length. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly whole: Uint8Array;
}

/**
 * Reads the one element that fills `bytes`.
 * @throws {DerError} `DER_MALFORMED`
 */
export function readDer(bytes: Uint8Array, tag?: number): DerElement {
  const element = readAt(bytes, 0);
  if (element.whole.length !== bytes.length) throw new DerError("bytes follow the element");
  return tag === undefined ? element : expectTag(element, tag);
}

/** Reads the element at the start of `bytes`; more may follow. @throws {DerError} */
export function readDerPrefix(bytes: Uint8Array): DerElement {
  return readAt(bytes, 0);
}

/** Reads the elements that fill an element's content. @throws {DerError} */
export function childrenOf(element: DerElement): DerElement[] {
  const children: DerElement[] = [];
  for (let at = 0; at < element.content.length;) {
    const child = readAt(element.content, at);
    children.push(child);
    at += child.whole.length;
  }
  return children;
}

/** @throws {DerError} when the element is missing or of another tag. */
export function expectTag(element: DerElement | undefined, tag: number): DerElement {
  if (element === undefined) throw new DerError("an element is missing");
  if (element.tag !== tag) throw new DerError(`tag ${element.tag} stands where ${tag} is due`);
  return element;
}

/** Reads an object identifier as dotted text. @throws {DerError} */
export function readOid(element: DerElement | undefined): string {
  const { content } = expectTag(element, TAG.oid);
  if (content.length === 0 || content.length > 64)
    throw new DerError("an object identifier has no sane length");
  const arcs: number[] = [];
  let value = 0;
  let fresh = true;
  for (const byte of content) {
    if (fresh && byte === 0x80) throw new DerError("an object identifier is padded");
    value = value * 128 + (byte & 0x7f);
    if (value > Number.MAX_SAFE_INTEGER / 256) throw new DerError("an object identifier is too large");
    fresh = (byte & 0x80) === 0;
    if (fresh) {
      arcs.push(value);
      value = 0;
    }
  }
  if (!fresh) throw new DerError("an object identifier is cut off");
  const [head = 0, ...rest] = arcs;
  const first = Math.min(Math.floor(head / 40), 2);
  return [first, head - 40 * first, ...rest].join(".");
}

/** Reads a non-negative integer of any size as minimal big-endian bytes. @throws {DerError} */
export function readUnsigned(element: DerElement | undefined): Uint8Array {
  const { content } = expectTag(element, TAG.integer);
  const [first, second = 0] = content;
  if (first === undefined || first >= 0x80) throw new DerError("an integer is empty or negative");
  if (content.length > 1 && first === 0 && second < 0x80) throw new DerError("an integer is padded");
  return first === 0 && content.length > 1 ? content.subarray(1) : content;
}

/** Reads a small non-negative integer. @throws {DerError} */
export function readSmallInteger(element: DerElement | undefined): number {
  const bytes = readUnsigned(element);
  if (bytes.length > 6) throw new DerError("an integer is too large");
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}

/** Reads a bit string of whole bytes. @throws {DerError} */
export function readBitString(element: DerElement | undefined): Uint8Array {
  const { content } = expectTag(element, TAG.bitString);
  if (content[0] !== 0) throw new DerError("a bit string does not end at a byte");
  return content.subarray(1);
}

/** Reads UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 allows them, in milliseconds since 1970. @throws {DerError} */
export function readTime(element: DerElement | undefined): number {
  if (element === undefined) throw new DerError("a time is missing");
  const { tag, content } = element;
  const yearDigits = tag === TAG.utcTime ? 2 : tag === TAG.generalizedTime ? 4 : 0;
  if (yearDigits === 0 || content.length !== yearDigits + 11 || content[yearDigits + 10] !== ZULU) {
    throw new DerError("a time has no form of RFC 5280");
  }
  const shortYear = readDigits(content, 0, yearDigits);
  const year = yearDigits === 4 ? shortYear : shortYear + (shortYear < 50 ? 2000 : 1900);
  const two = (field: number): number => readDigits(content, yearDigits + 2 * field, 2);
  const [month, day, hour, minute, second] = [two(0), two(1), two(2), two(3), two(4)];
  const timeMs = Date.UTC(year, month - 1, day, hour, minute, second);
  // What overflows a field would silently be another time; years below 100 are others to Date as well.
  const overflows = month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59;
  if (overflows || year < 100 || (day > 28 && new Date(timeMs).getUTCDate() !== day)) {
    throw new DerError("a time is no date");
  }
  return timeMs;
}

const ZULU = 0x5a;

function readDigits(bytes: Uint8Array, from: number, count: number): number {
  let value = 0;
  for (let i = from; i < from + count; i++) {
    const digit = (bytes[i] as number) - 0x30;
    if (digit < 0 || digit > 9) throw new DerError("a time has no form of RFC 5280");
    value = value * 10 + digit;
  }
  return value;
}

function readAt(bytes: Uint8Array, at: number): DerElement {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) throw new DerError("the bytes end within an element");
  if ((tag & 0x1f) === 0x1f) throw new DerError("a tag has more than one byte");
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw new DerError("a length is indefinite or too long");
    length = 0;
    if (start + count > bytes.length) throw new DerError("the bytes end within an element");
    for (const end = start + count; start < end; start++) length = length * 256 + (bytes[start] as number);
    if (length < 0x80 || length < 2 ** (8 * (count - 1))) {
      throw new DerError("a length is not minimal");
    }
  }
  if (start + length > bytes.length) throw new DerError("the bytes end within an element");
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) };
}

/** Writes one element. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  if (content.length < 0x80) return concat(new Uint8Array([tag, content.length]), content);
  const length: number[] = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest & 0xff);
  return concat(new Uint8Array([tag, 0x80 | length.length, ...length]), content);
}

export function derSequence(...children: readonly Uint8Array[]): Uint8Array {
  return der(TAG.sequence, ...children);
}

/** Writes a non-negative integer, given big-endian. */
export function derUnsigned(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const magnitude = bytes.subarray(start);
  const padded = magnitude.length === 0 || (magnitude[0] as number) >= 0x80;
  return der(TAG.integer, padded ? concat(new Uint8Array(1), magnitude) : magnitude);
}

export function derInteger(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest & 0xff);
  return derUnsigned(new Uint8Array(bytes.length === 0 ? [0] : bytes));
}

export function derOid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return der(TAG.oid, new Uint8Array([40 * first + second, ...rest].flatMap(base128)));
}

export function derOctets(bytes: Uint8Array): Uint8Array {
  return der(TAG.octetString, bytes);
}

export function derBits(bytes: Uint8Array): Uint8Array {
  return der(TAG.bitString, new Uint8Array(1), bytes);
}

export function derBoolean(value: boolean): Uint8Array {
  return der(TAG.boolean, new Uint8Array([value ? 0xff : 0]));
}

/** Writes a context-specific element, constructed: `[n] EXPLICIT`. */
export function derExplicit(number: number, child: Uint8Array): Uint8Array {
  return der(0xa0 | number, child);
}

/** Writes a time as RFC 5280 wants it: UTCTime through 2049, GeneralizedTime after. Seconds are the finest unit. */
export function derTime(timeMs: number): Uint8Array {
  const digits = new Date(timeMs)
    .toISOString()
    .replace(/\.\d+Z$/, "")
    .replaceAll(/[-:T]/g, "");
  const utc = digits.slice(0, 4) < "2050" && digits.slice(0, 4) >= "1950";
  const text = `${utc ? digits.slice(2) : digits}Z`;
  return der(
    utc ? TAG.utcTime : TAG.generalizedTime,
    Uint8Array.from(text, (char) => char.charCodeAt(0)),
  );
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    bytes.unshift((rest & 0x7f) | 0x80);
  }
  return bytes;
}

/** Bytes that are not DER, or not the DER that is due. */
export class DerError extends Error {
  override readonly name = "DerError";
  readonly code = "DER_MALFORMED";

  constructor(why: string, bytes?: Uint8Array) {
    super(
      `The bytes are not the DER that is due: ${why}${bytes === undefined ? "" : ` (${toHex(bytes.subarray(0, 16))})`}.`,
    );
  }
}
