import { CloisterError } from "@cloister/core";
import { consistencyPath, inclusionPath, rootOf, type HashReader } from "./merkle.ts";
import { foldHashes, HASH_BYTES, TILE_LEVELS, tilePath, TILE_WIDTH } from "./tiles.ts";
import type { LogSource } from "./monitor.ts";

/** Asks whoever serves a log for one of its C2SP resources; undefined when there is none of that path. */
export type FetchResource = (path: string) => Promise<Uint8Array | undefined>;

const TILES_KEPT_MAX = 256;
const BUNDLES_KEPT_MAX = 4;

/**
 * Reads a log through its tiles, as of one size. It computes proofs from hashes that the server gives and
 * believes none of them: what it returns is worth as much as its check against a signed checkpoint.
 * C2SP tlog-tiles; spec/transparency-log.md §6
 */
export class TileReader implements LogSource {
  readonly size: number;
  readonly #fetch: FetchResource;
  readonly #tiles = new Map<string, Promise<Uint8Array>>();
  readonly #bundles = new Map<number, Promise<readonly Uint8Array[]>>();

  constructor(fetch: FetchResource, size: number) {
    this.#fetch = fetch;
    this.size = size;
  }

  /** An entry's bytes. @throws {CloisterError} `LOG_INDEX_UNKNOWN`, `LOG_TILE_MISSING`, `LOG_TILE_MALFORMED` */
  async entry(index: number): Promise<Uint8Array> {
    this.#requireBelow(index, this.size);
    const number = Math.floor(index / TILE_WIDTH);
    const bundle = await remember(this.#bundles, number, BUNDLES_KEPT_MAX, () => this.#readBundle(number));
    return bundle[index % TILE_WIDTH] as Uint8Array;
  }

  /** The path from an entry to the root of this size. @throws {CloisterError} as `entry` */
  async inclusion(index: number): Promise<Uint8Array[]> {
    this.#requireBelow(index, this.size);
    return inclusionPath(index, this.size, this.#hashAt);
  }

  /** The proof that the tree of `oldSize` entries is a prefix of this one. @throws {CloisterError} as `entry` */
  async consistency(oldSize: number): Promise<Uint8Array[]> {
    this.#requireBelow(oldSize, this.size + 1);
    return consistencyPath(oldSize, this.size, this.#hashAt);
  }

  /** The root of the first `size` entries, as the server's hashes have it. @throws {CloisterError} as `entry` */
  async root(size = this.size): Promise<Uint8Array> {
    this.#requireBelow(size, this.size + 1);
    return rootOf(size, this.#hashAt);
  }

  readonly #hashAt: HashReader = async (level, index) => {
    const tileLevel = Math.floor(level / TILE_LEVELS);
    const width = 2 ** (level - tileLevel * TILE_LEVELS);
    const first = index * width;
    const tile = await this.#tile(tileLevel, Math.floor(first / TILE_WIDTH));
    const start = (first % TILE_WIDTH) * HASH_BYTES;
    return foldHashes(tile.subarray(start, start + width * HASH_BYTES));
  };

  #tile(level: number, index: number): Promise<Uint8Array> {
    const hashes = Math.floor(this.size / TILE_WIDTH ** level) - index * TILE_WIDTH;
    const path = tilePath(level, index, Math.min(TILE_WIDTH, hashes));
    return remember(this.#tiles, path, TILES_KEPT_MAX, async () => {
      const tile = await this.#resource(path);
      if (tile.length !== Math.min(TILE_WIDTH, hashes) * HASH_BYTES) throw malformed(path);
      return tile;
    });
  }

  async #readBundle(number: number): Promise<readonly Uint8Array[]> {
    const width = Math.min(TILE_WIDTH, this.size - number * TILE_WIDTH);
    const path = tilePath("entries", number, width);
    const bytes = await this.#resource(path);
    const entries: Uint8Array[] = [];
    let at = 0;
    while (at + 2 <= bytes.length && entries.length < width) {
      const end = at + 2 + (bytes[at] as number) * 256 + (bytes[at + 1] as number);
      if (end > bytes.length) throw malformed(path);
      entries.push(bytes.subarray(at + 2, end));
      at = end;
    }
    if (entries.length !== width || at !== bytes.length) throw malformed(path);
    return entries;
  }

  async #resource(path: string): Promise<Uint8Array> {
    const bytes = await this.#fetch(path);
    if (bytes !== undefined) return bytes;
    throw new CloisterError("LOG_TILE_MISSING", `The log's server does not have ${path}.`, {
      hint: "A log that signed this size has it. Ask another server of this log, and keep the checkpoint.",
    });
  }

  #requireBelow(index: number, end: number): void {
    if (Number.isSafeInteger(index) && index >= 0 && index < end) return;
    throw new CloisterError(
      "LOG_INDEX_UNKNOWN",
      `The log has ${this.size} entries; there is nothing at ${index}.`,
    );
  }
}

/** What was asked before; the oldest answers are forgotten first, and failures at once. */
function remember<K, V>(
  known: Map<K, Promise<V>>,
  key: K,
  keptMax: number,
  make: () => Promise<V>,
): Promise<V> {
  const before = known.get(key);
  if (before !== undefined) return before;
  const made = make();
  known.set(key, made);
  made.catch(() => known.delete(key));
  if (known.size > keptMax) known.delete(known.keys().next().value as K);
  return made;
}

function malformed(path: string): CloisterError {
  return new CloisterError(
    "LOG_TILE_MALFORMED",
    `What the log's server gives as ${path} is not of that size.`,
  );
}
