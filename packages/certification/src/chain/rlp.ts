import { CloisterError, concat } from "@cloister/core";

/** An RLP item: a byte string or a list of items. Ethereum Yellow Paper, appendix B */
export type Rlp = Uint8Array | readonly Rlp[];

const DEPTH_MAX = 8;
const ITEMS_MAX = 4096;

/** Encodes an item. */
export function encodeRlp(item: Rlp): Uint8Array {
  if (item instanceof Uint8Array) {
    if (item.length === 1 && (item[0] as number) < 0x80) return item;
    return concat(header(0x80, item.length), item);
  }
  const body = concat(...item.map(encodeRlp));
  return concat(header(0xc0, body.length), body);
}

/**
 * Decodes the one item that the bytes are, and refuses every encoding but the shortest.
 * @throws {CloisterError} `RLP_MALFORMED`
 */
export function decodeRlp(bytes: Uint8Array): Rlp {
  const budget = { items: ITEMS_MAX };
  const { item, end } = readItem(bytes, 0, 0, budget);
  if (end !== bytes.length) throw malformed("bytes follow the item");
  return item;
}

function header(base: number, length: number): Uint8Array {
  if (length < 56) return new Uint8Array([base + length]);
  const digits: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return new Uint8Array([base + 55 + digits.length, ...digits]);
}

function readItem(
  bytes: Uint8Array,
  at: number,
  depth: number,
  budget: { items: number },
): { item: Rlp; end: number } {
  if (depth > DEPTH_MAX || --budget.items < 0)
    throw malformed("it is nested too deeply or has too many items");
  const first = bytes[at];
  if (first === undefined) throw malformed("it ends early");
  if (first < 0x80) return { item: bytes.subarray(at, at + 1), end: at + 1 };
  const isList = first >= 0xc0;
  const { start, length } = readLength(bytes, at, first - (isList ? 0xc0 : 0x80));
  const end = start + length;
  if (end > bytes.length) throw malformed("it ends early");
  if (isList) return { item: readList(bytes, start, end, depth, budget), end };
  if (length === 1 && (bytes[start] as number) < 0x80)
    throw malformed("a small byte has a length in front of it");
  return { item: bytes.subarray(start, end), end };
}

function readLength(bytes: Uint8Array, at: number, code: number): { start: number; length: number } {
  if (code < 56) return { start: at + 1, length: code };
  const width = code - 55;
  const start = at + 1 + width;
  if (width > 4 || start > bytes.length) throw malformed("it ends early");
  let length = 0;
  for (const digit of bytes.subarray(at + 1, start)) length = length * 256 + digit;
  if (bytes[at + 1] === 0 || length < 56) throw malformed("a length is not in its shortest form");
  return { start, length };
}

function readList(
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
  budget: { items: number },
): Rlp[] {
  const items: Rlp[] = [];
  const body = bytes.subarray(0, end);
  for (let at = start; at < end;) {
    const next = readItem(body, at, depth + 1, budget);
    items.push(next.item);
    at = next.end;
  }
  return items;
}

function malformed(why: string): CloisterError {
  return new CloisterError("RLP_MALFORMED", `The bytes are not RLP in its canonical form: ${why}.`);
}
