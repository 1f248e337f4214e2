import { nodeHash } from "./merkle.ts";

export const HASH_BYTES = 32;
/** Hashes in a full tile; C2SP tlog-tiles fixes the height of a tile at 8 levels. */
export const TILE_WIDTH = 256;
export const TILE_LEVELS = 8;

/** Hashes a power of two of neighbouring hashes into the one above them. */
export function foldHashes(hashes: Uint8Array): Uint8Array {
  if (hashes.length === HASH_BYTES) return hashes;
  const middle = hashes.length / 2;
  return nodeHash(foldHashes(hashes.subarray(0, middle)), foldHashes(hashes.subarray(middle)));
}

const TILE_PATH =
  /^tile\/(entries|[0-9]|[1-5][0-9]|6[0-3])\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;

/** What a path of a tile names; undefined when it is not one, written in its one way. */
export function parseTilePath(path: string) {
  const [, level, number, partial] = TILE_PATH.exec(path) ?? [];
  if (level === undefined || number === undefined) return undefined;
  const index = Number(number.replace(/x|\//g, ""));
  const width = partial === undefined ? TILE_WIDTH : Number(partial);
  const canonical = tilePath(level, index) === `tile/${level}/${number}`;
  if (!Number.isSafeInteger(index) || !canonical || (partial !== undefined && width >= TILE_WIDTH))
    return undefined;
  return { level: level === "entries" ? ("entries" as const) : Number(level), index, width };
}

/** The path of a tile: its number in groups of three digits, all but the last with an x. C2SP tlog-tiles */
export function tilePath(level: number | string, index: number, width = TILE_WIDTH): string {
  const digits = String(index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, "0");
  const groups = padded.match(/.{3}/g) ?? [];
  const number = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
  return `tile/${level}/${number}${width === TILE_WIDTH ? "" : `.p/${width}`}`;
}
