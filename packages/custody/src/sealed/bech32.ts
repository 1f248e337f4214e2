/** Bech32 (BIP 173) without its limit of 90 characters, as age uses it for recipients and identities. */

const ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const CHECKSUM_LENGTH = 6;

/** Encodes bytes in lower case under a human-readable prefix. */
export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const words = regroup(bytes, 8, 5, true) as number[];
  const checksum = checksumOf(prefix, words);
  return `${prefix}1${[...words, ...checksum].map((word) => ALPHABET[word]).join("")}`;
}

/** Decodes a text of one case; undefined when the checksum, the case, a character or the padding is wrong. */
export function decodeBech32(text: string): { prefix: string; bytes: Uint8Array } | undefined {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) return undefined;
  const split = lower.lastIndexOf("1");
  if (split < 1 || lower.length - split - 1 < CHECKSUM_LENGTH) return undefined;
  const prefix = lower.slice(0, split);
  if (!/^[!-~]+$/.test(prefix)) return undefined;
  const words = [...lower.slice(split + 1)].map((char) => ALPHABET.indexOf(char));
  if (words.includes(-1) || polymod([...expand(prefix), ...words]) !== 1) return undefined;
  const bytes = regroup(words.slice(0, -CHECKSUM_LENGTH), 5, 8, false);
  return bytes === undefined ? undefined : { prefix, bytes: Uint8Array.from(bytes) };
}

function checksumOf(prefix: string, words: readonly number[]): number[] {
  const value = polymod([...expand(prefix), ...words, 0, 0, 0, 0, 0, 0]) ^ 1;
  return Array.from({ length: CHECKSUM_LENGTH }, (_, i) => (value >> (5 * (5 - i))) & 31);
}

function expand(prefix: string): number[] {
  const codes = [...prefix].map((char) => char.charCodeAt(0));
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
}

function polymod(words: readonly number[]): number {
  let checksum = 1;
  for (const word of words) {
    const top = checksum >> 25;
    checksum = ((checksum & 0x1ffffff) << 5) ^ word;
    for (let i = 0; i < 5; i++) if ((top >> i) & 1) checksum ^= GENERATOR[i] as number;
  }
  return checksum;
}

function regroup(values: Iterable<number>, from: number, to: number, pad: boolean): number[] | undefined {
  const groups: number[] = [];
  let buffer = 0;
  let bits = 0;
  for (const value of values) {
    buffer = ((buffer << from) | value) & 0xfff;
    for (bits += from; bits >= to;) groups.push((buffer >> (bits -= to)) & ((1 << to) - 1));
  }
  const rest = (buffer << (to - bits)) & ((1 << to) - 1);
  if (pad && bits > 0) groups.push(rest);
  if (!pad && (bits >= from || rest !== 0)) return undefined;
  return groups;
}
