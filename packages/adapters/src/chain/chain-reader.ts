import { setTimeout as wait } from "node:timers/promises";
import { CloisterError, type Address, type Hex32, type Log } from "@cloister/core";
import {
  decodeLog,
  REORG_BLOCKS_MAX,
  type BlockMark,
  type Deployment,
  type EventLedger,
  type MarketEvent,
} from "@cloister/market";
import { JsonRpcError, type JsonRpc } from "./json-rpc.ts";
import { isSilent } from "./silence.ts";

/** Blocks asked for at once; halved when a node finds that too many, fewer when they hold too much. */
const RANGE_BLOCKS_MAX = 5_000;
/** Nothing is known yet of how much the blocks hold. */
const RANGE_BLOCKS_FIRST = 128;
/** Logs that one range should hold: each range is one transaction of a database. */
const RANGE_LOGS = 8_000;
/** A chain that changes under the reader's eyes this often in a row is not read further. */
const ATTEMPTS_MAX = 20;
const ATTEMPT_WAIT_MS = 20;

/** What a reader works with. */
export interface ReaderOptions {
  readonly rpc: JsonRpc;
  readonly deployment: Deployment;
  readonly ledger: EventLedger;
  readonly log?: Log | undefined;
  /** Told after each stretch. */
  readonly onProgress?: ((progress: ReadProgress) => void) | undefined;
  /** Told when the ledger went back, because the chain had: to which block, or undefined for before the first. */
  readonly onGoBack?: ((from: BlockMark | undefined, to: BlockMark | undefined) => void) | undefined;
  /** Refuses, instead of emptying the ledger, when the node's chain ends before all that could be gone back to. */
  readonly keepWhenBehind?: boolean | undefined;
  /** Ends a reading between two stretches. */
  readonly signal?: AbortSignal | undefined;
}

/** How far a reading has come. */
export interface ReadProgress {
  readonly block: number;
  readonly newestBlock: number;
  /** Events of the last stretch. */
  readonly events: number;
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
  readonly removed?: boolean;
}

/** Reads a deployment's logs into a ledger, going back first where the chain did. */
export class ChainReader {
  readonly #options: ReaderOptions;
  #rangeBlocks = RANGE_BLOCKS_FIRST;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /**
   * Reads on to the newest block, or until the signal. Nothing is lost when it throws: read again.
   * @throws {CloisterError} `CHAIN_UNREACHABLE`, `CHAIN_BEHIND`, `CHAIN_LOGS_MALFORMED`, and what the ledger throws
   */
  async read(): Promise<BlockMark | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (attempt > 0) await wait(attempt * ATTEMPT_WAIT_MS);
      try {
        // Both are asked at once; what is read after them is held against both again.
        const [newest, head] = await Promise.all([this.#block("latest"), this.#returnToChain()]);
        if (newest === undefined) continue;
        const reached = await this.#readUpTo(newest, head);
        if (reached !== "changed") return reached;
      } catch (error) {
        if (!(error instanceof CloisterError) || error.code !== "INDEX_OUT_OF_STEP") throw error;
      }
    }
    throw new CloisterError("CHAIN_UNREACHABLE", "The chain kept changing while it was read.", {
      hint: "Check that the JSON-RPC endpoint is one node, not several that disagree.",
    });
  }

  /** Goes back to the newest kept block that is still part of the chain. */
  async #returnToChain(): Promise<BlockMark | undefined> {
    const marks = await this.#options.ledger.marks();
    for (const mark of marks) {
      const block = await this.#block(mark.number);
      if (block?.hash !== mark.hash) continue;
      if (mark !== marks[0]) await this.#goBack(marks[0], mark);
      return mark;
    }
    const deepest = marks.at(-1);
    if (deepest === undefined) return undefined;
    if (this.#options.keepWhenBehind === true) await this.#requireReach(deepest);
    await this.#goBack(marks[0], undefined);
    return undefined;
  }

  /** @throws {CloisterError} `CHAIN_BEHIND` */
  async #requireReach(deepest: BlockMark): Promise<void> {
    const newest = await this.#block("latest");
    if (newest !== undefined && newest.number < deepest.number) throw behind(newest, deepest);
  }

  async #goBack(from: BlockMark | undefined, to: BlockMark | undefined): Promise<void> {
    this.#options.log?.warn("chain-reorganised", { from: from?.number, to: to?.number ?? null });
    await this.#options.ledger.rollBack(to);
    this.#options.onGoBack?.(from, to);
  }

  async #readUpTo(
    newest: BlockMark,
    start: BlockMark | undefined,
  ): Promise<BlockMark | undefined | "changed"> {
    const { deployment, ledger, signal, onProgress } = this.#options;
    for (let head = start; ;) {
      const from = (head?.number ?? deployment.fromBlock - 1) + 1;
      if (from > newest.number || signal?.aborted === true) return head;
      const settled = newest.number - REORG_BLOCKS_MAX;
      const last = from <= settled ? settled : newest.number;
      const to = Math.min(last, from + this.#rangeBlocks - 1);
      const mark = to === newest.number ? newest : await this.#block(to);
      const logs = mark && (await this.#logs(from, mark));
      if (logs === "narrower") continue;
      if (mark === undefined || logs === undefined || !(await this.#isChain(mark, head))) return "changed";
      if (to > settled && !(await this.#isWhole(logs, head, mark))) return "changed";
      const events = logs
        .map((log) => decodeLog(deployment, log))
        .filter((event): event is MarketEvent => event !== undefined);
      await ledger.apply({ parent: head, mark, events, isFinal: to <= settled });
      head = mark;
      this.#adaptRange(logs.length);
      onProgress?.({ block: to, newestBlock: newest.number, events: events.length });
    }
  }

  /** The newest log tells the chain that an answer is from; the blocks after it must really hold none. */
  #isWhole(logs: readonly RawLog[], head: BlockMark | undefined, newest: BlockMark): Promise<boolean> {
    const { rpc, deployment } = this.#options;
    const last = logs.at(-1);
    const since =
      last === undefined
        ? { number: head?.number ?? deployment.fromBlock - 1, hash: head?.hash }
        : { number: last.blockNumber, hash: last.blockHash };
    return isSilent(rpc, addressesOf(deployment), { since, newest });
  }

  async #isChain(...marks: readonly (BlockMark | undefined)[]): Promise<boolean> {
    const there = marks.map(
      async (mark) => mark === undefined || (await this.#block(mark.number))?.hash === mark.hash,
    );
    return (await Promise.all(there)).every(Boolean);
  }

  #adaptRange(logs: number): void {
    if (logs > RANGE_LOGS)
      this.#rangeBlocks = Math.max(1, Math.floor((this.#rangeBlocks * RANGE_LOGS) / logs));
    else if (logs < RANGE_LOGS / 4) this.#rangeBlocks = Math.min(RANGE_BLOCKS_MAX, this.#rangeBlocks * 2);
  }

  #block(tag: number | "latest"): Promise<BlockMark | undefined> {
    return blockMark(this.#options.rpc, tag);
  }

  /** Undefined when the answer is of another chain than `to` is on; "narrower" when the node wants fewer blocks. */
  async #logs(from: number, to: BlockMark): Promise<RawLog[] | undefined | "narrower"> {
    const address = addressesOf(this.#options.deployment);
    const filter = { address, fromBlock: hex(from), toBlock: hex(to.number) };
    try {
      return judgeLogs(await this.#options.rpc.request<unknown>("eth_getLogs", [filter]), from, to);
    } catch (error) {
      if (!(error instanceof JsonRpcError) || this.#rangeBlocks === 1) throw error;
      this.#rangeBlocks = Math.max(1, this.#rangeBlocks >> 1);
      return "narrower";
    }
  }
}

function addressesOf({ registry, market, log }: Deployment): readonly Address[] {
  return [registry, market, log];
}

type RawLog = Parameters<typeof decodeLog>[1];

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

/**
 * Puts logs into the chain's sequence, each once. Undefined when they are not of one chain that ends in `to`.
 * @throws {CloisterError} `CHAIN_LOGS_MALFORMED`
 */
function judgeLogs(answer: unknown, from: number, to: BlockMark): RawLog[] | undefined {
  if (answer === null) return undefined;
  if (!Array.isArray(answer)) throw malformed("not a list");
  const hashes = new Map([[to.number, to.hash]]);
  const places = new Map<string, RawLog>();
  for (const entry of answer as readonly RpcLog[]) {
    const log = readLog(entry);
    if (entry.removed === true) return undefined;
    const hash = hashes.get(log.blockNumber) ?? log.blockHash;
    if (hash !== log.blockHash || log.blockNumber < from || log.blockNumber > to.number) return undefined;
    hashes.set(log.blockNumber, hash);
    places.set(`${log.blockNumber}:${log.logIndex}`, log);
  }
  return [...places.values()].toSorted(inChainOrder);
}

function readLog(log: RpcLog): RawLog {
  const numbers = [log?.blockNumber, log?.logIndex];
  const isWhole =
    numbers.every((number) => /^0x[0-9a-f]{1,13}$/i.test(number)) &&
    [log.address, log.data, log.blockHash, log.transactionHash].every((part) => typeof part === "string") &&
    Array.isArray(log.topics);
  if (!isWhole) throw malformed("a log without its parts");
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

function behind(newest: BlockMark, deepest: BlockMark): CloisterError {
  return new CloisterError(
    "CHAIN_BEHIND",
    `The chain's node is at block ${newest.number}, the index at ${deepest.number} and beyond.`,
    {
      hint: "Wait until the node has caught up. If the chain was started afresh, build the index in an empty database.",
      details: { newest: newest.number, kept: deepest.number },
    },
  );
}

function malformed(what: string): CloisterError {
  return new CloisterError("CHAIN_LOGS_MALFORMED", `The chain's node answered eth_getLogs with ${what}.`, {
    hint: "Check that the address is that of a chain's JSON-RPC endpoint.",
  });
}

function inChainOrder(a: RawLog, b: RawLog): number {
  return a.blockNumber - b.blockNumber || a.logIndex - b.logIndex;
}
