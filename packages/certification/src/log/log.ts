import {
  assertInvariant,
  CloisterError,
  concat,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  toHex,
  type RecordStore,
} from "@cloister/core";
import { consistencyPath, inclusionPath, leafHash, nodeHash, rootOf, type HashReader } from "./merkle.ts";
import { parseCheckpoint, signCheckpoint, verifyCheckpoint, type NoteKey, type Signer } from "./note.ts";
import { foldHashes, HASH_BYTES, parseTilePath, TILE_LEVELS, TILE_WIDTH } from "./tiles.ts";

/** An entry's length is two bytes in an entry bundle. C2SP tlog-tiles */
const ENTRY_BYTES_MAX = 65_535;
const APPEND_MAX = 4096;
const TILES_CACHED_MAX = 512;

/** Where one entry stands in the log, provable against the checkpoint. */
export interface Receipt {
  readonly index: number;
  /** RFC 9162 inclusion path from the entry's leaf to the checkpoint's root. */
  readonly path: readonly Uint8Array[];
  /** C2SP checkpoint, signed. */
  readonly checkpoint: Uint8Array;
}

/**
 * An append-only Merkle log on durable records. Only hashes of complete subtrees are kept, in tiles of
 * 256; an append writes the entry, the last tile of each level it completes, and the checkpoint last:
 * the checkpoint is the moment of commitment, and what a crash left behind it is overwritten.
 * One process at a time may append. spec/transparency-log.md
 */
export class TransparencyLog {
  readonly #records: RecordStore;
  readonly #key: NoteKey;
  readonly #sign: Signer;
  readonly #tiles = new Map<string, Uint8Array>();
  #size: number;
  #root: Uint8Array;
  #checkpoint: Uint8Array;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(records: RecordStore, key: NoteKey, sign: Signer, state: State) {
    this.#records = records;
    this.#key = key;
    this.#sign = sign;
    this.#size = state.size;
    this.#root = state.root;
    this.#checkpoint = state.checkpoint;
  }

  /**
   * Opens the log that the records hold, or starts one.
   * @throws {CloisterError} `LOG_RECORDS_BROKEN` when the checkpoint is not this log's own or the tree is not the one it signed
   */
  static async open(records: RecordStore, key: NoteKey, sign: Signer): Promise<TransparencyLog> {
    const note = await records.read("checkpoint");
    const state = note === undefined ? await newState(key, sign) : openState(note, key);
    const log = new TransparencyLog(records, key, sign, state);
    await log.#checkRoot();
    if (note === undefined) await records.write("checkpoint", state.checkpoint);
    return log;
  }

  /** Number of committed entries. */
  get size(): number {
    return this.#size;
  }

  get root(): Uint8Array {
    return this.#root;
  }

  /** The latest signed checkpoint. */
  get checkpoint(): Uint8Array {
    return this.#checkpoint;
  }

  /**
   * Appends entries and returns their indexes once they are durable under a new checkpoint. An entry
   * that the log already holds keeps its index, so that asking again after a crash changes nothing.
   * @throws {CloisterError} `LOG_ENTRY_TOO_LARGE`
   */
  append(entries: readonly Uint8Array[]): Promise<number[]> {
    const done = this.#last.then(() => this.#append(entries));
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Appends one entry and returns the receipt for it. */
  async record(entry: Uint8Array): Promise<Receipt> {
    const [index] = await this.append([entry]);
    assertInvariant(index !== undefined, "an appended entry has an index");
    return await this.receipt(index);
  }

  /** The index of an entry by its leaf hash; undefined when the log does not hold it. */
  async find(leaf: Uint8Array): Promise<number | undefined> {
    const record = await this.#records.read(leafRecord(leaf));
    const index = record === undefined ? undefined : decodeCanonical(record);
    if (typeof index !== "number" || index >= this.#size) return undefined;
    // A crash may have left the name of an entry whose place another entry then took.
    return equalBytes(await this.#hashAt(0, index), leaf) ? index : undefined;
  }

  /** An entry's bytes. @throws {CloisterError} `LOG_INDEX_UNKNOWN` */
  async entry(index: number): Promise<Uint8Array> {
    this.#requireIndex(index);
    const entry = await this.#records.read(entryRecord(index));
    if (entry === undefined) throw broken(`entry ${index} is missing`);
    return entry;
  }

  /**
   * Proves an entry against the latest checkpoint, or against the tree of an earlier size, whose checkpoint the caller
   * kept. @throws {CloisterError} `LOG_INDEX_UNKNOWN`
   */
  async receipt(index: number, size = this.#size): Promise<Receipt> {
    this.#requireIndex(index);
    if (!Number.isSafeInteger(size) || index >= size || size > this.#size) throw unknown(index, size);
    const checkpoint = this.#checkpoint;
    return { index, path: await inclusionPath(index, size, this.#reader), checkpoint };
  }

  /** Proves that the tree of `oldSize` entries is a prefix of the present one. @throws {CloisterError} `LOG_INDEX_UNKNOWN` */
  async consistency(oldSize: number, size = this.#size): Promise<Uint8Array[]> {
    if (!Number.isSafeInteger(oldSize) || oldSize < 0 || oldSize > size || size > this.#size)
      throw unknown(oldSize, this.#size);
    return await consistencyPath(oldSize, size, this.#reader);
  }

  /**
   * Serves what a C2SP tlog-tiles client asks for: `checkpoint`, `tile/L/N[.p/W]`,
   * `tile/entries/N[.p/W]`. Undefined for any other path and for tiles that are not there yet.
   */
  async resource(path: string): Promise<Uint8Array | undefined> {
    if (path === "checkpoint") return this.#checkpoint;
    const tile = parseTilePath(path);
    if (tile === undefined) return undefined;
    const available = this.#hashesInTile(tile.level === "entries" ? 0 : tile.level, tile.index);
    if (tile.width > available) return undefined;
    if (tile.level !== "entries") {
      return (await this.#tile(tile.level, tile.index)).slice(0, tile.width * HASH_BYTES);
    }
    const first = tile.index * TILE_WIDTH;
    const entries = Array.from({ length: tile.width }, (_, offset) => this.entry(first + offset));
    return concat(...(await Promise.all(entries)).flatMap((entry) => [uint16(entry.length), entry]));
  }

  readonly #reader: HashReader = (level, index) => this.#hashAt(level, index);

  async #append(entries: readonly Uint8Array[]): Promise<number[]> {
    if (entries.length > APPEND_MAX) throw tooLarge(`At most ${APPEND_MAX} entries can be appended at once.`);
    const fresh = new Map<string, number>();
    const dirty = new Map<string, Uint8Array>();
    const indexes: number[] = [];
    let size = this.#size;
    for (const entry of entries) {
      if (entry.length > ENTRY_BYTES_MAX) throw tooLarge(`An entry has at most ${ENTRY_BYTES_MAX} bytes.`);
      const leaf = leafHash(entry);
      const known = fresh.get(toHex(leaf)) ?? (await this.find(leaf));
      indexes.push(known ?? size);
      if (known !== undefined) continue;
      fresh.set(toHex(leaf), size);
      await this.#records.write(entryRecord(size), entry);
      await this.#records.write(leafRecord(leaf), encodeCanonical(size));
      await this.#push(size, leaf, dirty);
      size++;
    }
    if (size > this.#size) await this.#commit(size, dirty);
    return indexes;
  }

  /** Adds a leaf and every subtree that it completes to the tiles they belong to. */
  async #push(index: number, leaf: Uint8Array, dirty: Map<string, Uint8Array>): Promise<void> {
    const hashes: Uint8Array[] = [leaf];
    let [hash, at] = [leaf, index];
    while (at % 2 === 1) {
      const left: Uint8Array = await this.#hashOf(hashes.length - 1, at - 1, dirty);
      hash = nodeHash(left, hash);
      hashes.push(hash);
      at = (at - 1) / 2;
    }
    for (let level = 0; level < hashes.length; level += TILE_LEVELS) {
      const place = Math.floor((index + 1) / 2 ** level) - 1;
      const name = tileRecord(level / TILE_LEVELS, Math.floor(place / TILE_WIDTH));
      const before = dirty.get(name) ?? (await this.#readTile(name)) ?? new Uint8Array(0);
      const kept = before.subarray(0, (place % TILE_WIDTH) * HASH_BYTES);
      dirty.set(name, concat(kept, hashes[level] as Uint8Array));
    }
  }

  async #commit(size: number, dirty: ReadonlyMap<string, Uint8Array>): Promise<void> {
    for (const [name, tile] of dirty) await this.#records.write(name, tile);
    for (const name of dirty.keys()) this.#tiles.delete(name);
    const root = await rootOf(size, this.#reader);
    const checkpoint = signCheckpoint({ origin: this.#key.name, size, root }, this.#key, this.#sign);
    await this.#records.write("checkpoint", checkpoint);
    [this.#size, this.#root, this.#checkpoint] = [size, root, checkpoint];
  }

  async #checkRoot(): Promise<void> {
    const root = await rootOf(this.#size, this.#reader);
    if (!equalBytes(root, this.#root))
      throw broken("its tiles do not have the root that its checkpoint names");
  }

  #hashAt(level: number, index: number): Promise<Uint8Array> {
    return this.#hashOf(level, index, new Map());
  }

  /** The hash of a complete subtree: read from its tile when its level is stored, else computed within one tile. */
  async #hashOf(level: number, index: number, dirty: ReadonlyMap<string, Uint8Array>): Promise<Uint8Array> {
    const tileLevel = Math.floor(level / TILE_LEVELS);
    const width = 2 ** (level - tileLevel * TILE_LEVELS);
    const first = index * width;
    const name = tileRecord(tileLevel, Math.floor(first / TILE_WIDTH));
    const tile = dirty.get(name) ?? (await this.#readTile(name));
    const start = (first % TILE_WIDTH) * HASH_BYTES;
    if (tile === undefined || tile.length < start + width * HASH_BYTES)
      throw broken(`${name} is missing or short`);
    return foldHashes(tile.subarray(start, start + width * HASH_BYTES));
  }

  #tile(level: number, index: number): Promise<Uint8Array> {
    const name = tileRecord(level, index);
    return this.#readTile(name).then((tile) => {
      if (tile === undefined) throw broken(`${name} is missing`);
      return tile;
    });
  }

  async #readTile(name: string): Promise<Uint8Array | undefined> {
    const cached = this.#tiles.get(name);
    if (cached !== undefined) return cached;
    const tile = await this.#records.read(name);
    if (tile === undefined) return undefined;
    if (this.#tiles.size >= TILES_CACHED_MAX) this.#tiles.delete(this.#tiles.keys().next().value as string);
    this.#tiles.set(name, tile);
    return tile;
  }

  /** How many hashes a tile has in the committed tree. */
  #hashesInTile(level: number, index: number): number {
    const hashes = Math.floor(this.#size / TILE_WIDTH ** level) - index * TILE_WIDTH;
    return Math.max(0, Math.min(TILE_WIDTH, hashes));
  }

  #requireIndex(index: number): void {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.#size) throw unknown(index, this.#size);
  }
}

interface State {
  readonly size: number;
  readonly root: Uint8Array;
  readonly checkpoint: Uint8Array;
}

async function newState(key: NoteKey, sign: Signer): Promise<State> {
  const root = await rootOf(0, () => Promise.reject(new Error("the empty tree has no hashes")));
  return { size: 0, root, checkpoint: signCheckpoint({ origin: key.name, size: 0, root }, key, sign) };
}

function openState(note: Uint8Array, key: NoteKey): State {
  const signed = parseCheckpoint(note);
  if (!verifyCheckpoint(signed, key)) throw broken("its checkpoint is not signed by this log's key");
  return { size: signed.checkpoint.size, root: signed.checkpoint.root, checkpoint: note };
}

function entryRecord(index: number): string {
  return `entry-${index}`;
}

function leafRecord(leaf: Uint8Array): string {
  return `leaf-${toHex(leaf)}`;
}

function tileRecord(level: number, index: number): string {
  return `tile-${level}-${index}`;
}

function uint16(value: number): Uint8Array {
  return new Uint8Array([value >> 8, value & 255]);
}

function broken(why: string): CloisterError {
  return new CloisterError("LOG_RECORDS_BROKEN", `The log's records are broken: ${why}.`, {
    hint: "Restore the log's folder from a copy; a log that starts anew under the same name is a fork.",
  });
}

function unknown(index: number, size: number): CloisterError {
  return new CloisterError("LOG_INDEX_UNKNOWN", `The log has ${size} entries; there is nothing at ${index}.`);
}

function tooLarge(message: string): CloisterError {
  return new CloisterError("LOG_ENTRY_TOO_LARGE", message);
}
