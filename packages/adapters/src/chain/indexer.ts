import {
  codeOf,
  CloisterError,
  decodeCanonical,
  encodeCanonical,
  type Hex32,
  type Log,
  type RecordStore,
} from "@cloister/core";
import {
  decodeLog,
  decodeMarket,
  encodeMarket,
  follow,
  goBack,
  marksOf,
  startFollower,
  type BlockMark,
  type ChainView,
  type Deployment,
  type Follower,
  type MarketEvent,
  type RawLog,
} from "@cloister/market";
import type { Address } from "@cloister/core";
import { JsonRpcError, type JsonRpc } from "./json-rpc.ts";

/** Blocks asked for at once; halved when a node finds that too many. */
const RANGE_BLOCKS_MAX = 5_000;
/** Events after which the base is saved again. */
const SAVE_EVENTS = 500;
/** A chain that changes under the reader's eyes this often in a row is not read further. */
const ATTEMPTS_MAX = 20;

/** Reads a deployment's logs into the read model. */
export interface Indexer {
  refresh(): Promise<ChainView>;
  view(): ChainView | undefined;
}

/** What an indexer works with. Without `records` it reads from the first block after each start. */
export interface IndexerOptions {
  readonly rpc: JsonRpc;
  readonly deployment: Deployment;
  readonly records?: RecordStore | undefined;
  readonly log?: Log | undefined;
}

interface RpcBlock {
  readonly number: `0x${string}`;
  readonly hash: Hex32;
  readonly timestamp: `0x${string}`;
}

interface RpcLog {
  readonly address: string;
  readonly topics: readonly Hex32[];
  readonly data: `0x${string}`;
  readonly blockNumber: `0x${string}`;
  readonly blockHash: Hex32;
  readonly logIndex: `0x${string}`;
  readonly transactionHash: Hex32;
}

/** Starts an indexer where its record left off, if the chain still knows that block. */
export async function openIndexer(options: IndexerOptions): Promise<Indexer> {
  return new FollowingIndexer(options, await loadFollower(options));
}

class FollowingIndexer implements Indexer {
  readonly #options: IndexerOptions;
  readonly #follower: Follower;
  #rangeBlocks = RANGE_BLOCKS_MAX;
  #unsavedEvents = 0;
  #running: Promise<ChainView> | undefined;

  constructor(options: IndexerOptions, follower: Follower) {
    this.#options = options;
    this.#follower = follower;
  }

  view(): ChainView | undefined {
    const { head, state } = this.#follower;
    return head === undefined ? undefined : { block: head, state };
  }

  /** Callers that come while a reading is under way wait for the next one: they may have just sent something. */
  async refresh(): Promise<ChainView> {
    await this.#running?.catch(() => undefined);
    this.#running ??= this.#read().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #read(): Promise<ChainView> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      // Both are asked at once; what is read after them is held against both again.
      const [newest] = await Promise.all([this.#block("latest"), this.#returnToChain()]);
      if (newest !== undefined && (await this.#readUpTo(newest))) return this.view() as ChainView;
    }
    throw new CloisterError("CHAIN_UNREACHABLE", "The chain kept changing while it was read.", {
      hint: "Check that the JSON-RPC endpoint is one node, not several that disagree.",
    });
  }

  /** Goes back to the newest kept block that is still part of the chain. */
  async #returnToChain(): Promise<void> {
    const marks = marksOf(this.#follower);
    for (const mark of marks) {
      const block = await this.#block(mark.number);
      if (block?.hash !== mark.hash) continue;
      if (mark !== marks[0]) this.#goBack(mark);
      return;
    }
    if (marks.length > 0) this.#goBack(undefined);
  }

  #goBack(mark: BlockMark | undefined): void {
    const from = this.#follower.head?.number;
    this.#options.log?.warn("chain-reorganised", { from, to: mark?.number ?? null });
    goBack(this.#follower, mark);
  }

  /** Tells whether everything up to `newest` was read before the chain changed again. */
  async #readUpTo(newest: BlockMark): Promise<boolean> {
    const { deployment } = this.#options;
    for (;;) {
      const from = (this.#follower.head?.number ?? deployment.fromBlock - 1) + 1;
      if (from > newest.number) return this.#follower.head !== undefined;
      const to = Math.min(newest.number, from + this.#rangeBlocks - 1);
      const mark = to === newest.number ? newest : await this.#block(to);
      const logs = mark && (await this.#logs(from, to));
      if (logs === undefined) continue;
      const head = this.#follower.head;
      const [last, kept] = await Promise.all([this.#block(to), head && this.#block(head.number)]);
      if (last?.hash !== mark?.hash || kept?.hash !== head?.hash) return false;
      await this.#take(mark as BlockMark, logs);
    }
  }

  async #take(mark: BlockMark, logs: readonly RawLog[]): Promise<void> {
    const events = logs
      .map((log) => decodeLog(this.#options.deployment, log))
      .filter((event): event is MarketEvent => event !== undefined);
    follow(this.#follower, mark, events);
    this.#unsavedEvents += events.length;
    if (this.#unsavedEvents >= SAVE_EVENTS) await this.#save();
  }

  async #save(): Promise<void> {
    const { records, deployment } = this.#options;
    const { base, baseMark } = this.#follower;
    if (records === undefined || baseMark === undefined) return;
    this.#unsavedEvents = 0;
    await records.write(
      recordName(deployment),
      encodeCanonical({ mark: baseMark, state: encodeMarket(base) }),
    );
  }

  async #block(tag: number | "latest"): Promise<BlockMark | undefined> {
    return blockMark(this.#options.rpc, tag);
  }

  /** Undefined when the node wants a smaller range. */
  async #logs(from: number, to: number): Promise<RawLog[] | undefined> {
    const { market, registry, log } = this.#options.deployment;
    const filter = { address: [registry, market, log], fromBlock: hex(from), toBlock: hex(to) };
    try {
      const logs = await this.#options.rpc.request<readonly RpcLog[]>("eth_getLogs", [filter]);
      return logs.map(readLog).toSorted(inChainOrder);
    } catch (error) {
      if (!(error instanceof JsonRpcError) || this.#rangeBlocks === 1) throw error;
      this.#rangeBlocks = Math.max(1, this.#rangeBlocks >> 1);
      return undefined;
    }
  }
}

/** Number, hash and time of a block; undefined when the chain has none such. */
export async function blockMark(rpc: JsonRpc, tag: number | "latest"): Promise<BlockMark | undefined> {
  const name = tag === "latest" ? tag : hex(tag);
  const block = await rpc.request<RpcBlock | null>("eth_getBlockByNumber", [name, false]);
  if (block === null) return undefined;
  return { number: Number(block.number), hash: block.hash, timestampMs: Number(block.timestamp) * 1000 };
}

export function hex(value: number | bigint): `0x${string}` {
  return `0x${value.toString(16)}`;
}

async function loadFollower(options: IndexerOptions): Promise<Follower> {
  const record = await options.records?.read(recordName(options.deployment));
  if (record === undefined) return startFollower();
  try {
    const saved = decodeCanonical(record) as unknown as { mark: BlockMark; state: Uint8Array };
    return startFollower({ mark: saved.mark, state: decodeMarket(saved.state) });
  } catch (error) {
    // The record only saves time: everything in it can be read from the chain again.
    options.log?.warn("index-record-unreadable", { code: codeOf(error) });
    return startFollower();
  }
}

function recordName(deployment: Deployment): string {
  return `index-${deployment.chainId}-${deployment.market.slice(2)}`;
}

function readLog(log: RpcLog): RawLog {
  return {
    address: log.address.toLowerCase() as Address,
    topics: log.topics,
    data: log.data,
    blockNumber: Number(log.blockNumber),
    blockHash: log.blockHash,
    logIndex: Number(log.logIndex),
    txHash: log.transactionHash,
  };
}

function inChainOrder(a: RawLog, b: RawLog): number {
  return a.blockNumber - b.blockNumber || a.logIndex - b.logIndex;
}
