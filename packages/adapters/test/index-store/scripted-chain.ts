import { keccak256 } from "viem/utils";
import { utf8, type Hex32 } from "@cloister/core";
import {
  emptyMarket,
  reduceMarket,
  type BlockMark,
  type MarketEvent,
  type MarketState,
} from "@cloister/market";
import { encodeLog, MarketHistory } from "../../../market/test/market-history.ts";
import { JsonRpcError, type JsonRpc } from "../../src/chain/index.ts";

/** A block of a scripted chain. */
export interface ScriptedBlock {
  readonly mark: BlockMark;
  readonly events: readonly MarketEvent[];
}

/** A chain that grows and reorganises as it is told, and answers JSON-RPC as a good or a bad node would. */
export class ScriptedChain {
  blocks: ScriptedBlock[] = [];
  #branch = 0;

  /** Takes back the last blocks and puts others there. */
  reorganise(depth: number, transactions: readonly number[], seed: number): void {
    this.blocks = this.blocks.slice(0, Math.max(0, this.blocks.length - depth));
    this.#branch++;
    // Histories of one seed would open orders of the same ids, which no chain does.
    const history = new MarketHistory((seed % 2 ** 19) * 4_096 + this.#branch, this.state());
    for (const count of transactions) {
      const number = this.blocks.length;
      const first = number === 0 ? history.opening(3, 6) : [];
      const hash = keccak256(utf8(`block ${number} of branch ${this.#branch} of ${seed}`)) as Hex32;
      const mark = { number, hash, timestampMs: 1_800_000_000_000 + number * 1000 };
      this.blocks.push({ mark, events: history.block(number, count, first) });
    }
  }

  events(): MarketEvent[] {
    return this.blocks.flatMap((block) => block.events);
  }

  /** What a straight replay gives. */
  state(): MarketState {
    const state = emptyMarket();
    for (const event of this.events()) reduceMarket(state, event);
    return state;
  }

  /** A node of this chain that gives so many blocks at once; `trouble` says what is wrong with the answer to come. */
  rpc(trouble: () => Trouble | undefined = () => undefined, blocksMax = Number.POSITIVE_INFINITY): JsonRpc {
    let waiting: Trouble | undefined;
    const next = (fits: (one: Trouble) => boolean): Trouble | undefined => {
      waiting ??= trouble();
      const now = waiting !== undefined && fits(waiting) ? waiting : undefined;
      if (now !== undefined) waiting = undefined;
      return now;
    };
    return {
      url: "scripted",
      request: async <T>(method: string, params: readonly unknown[]): Promise<T> => {
        if (method === "eth_getBlockByNumber")
          return this.#block(
            params[0] as string,
            next((one) => one === "null" || one === "other hash"),
          ) as T;
        if (method === "eth_getBlockByHash")
          return this.#blockOf(
            params[0] as Hex32,
            next((one) => one === "null"),
          ) as T;
        const { blockHash } = params[0] as { blockHash?: Hex32 };
        if (blockHash !== undefined) return this.#logsOf(blockHash) as T;
        const { fromBlock, toBlock } = params[0] as { fromBlock: string; toBlock: string };
        const [from, to, wrong] = [Number(fromBlock), Number(toBlock), next(() => true)];
        if (to - from >= (wrong === "range too large" ? 1 : blocksMax))
          throw new JsonRpcError(method, "too many blocks", undefined);
        return this.#logs(from, to, wrong) as T;
      },
    };
  }

  #logs(from: number, to: number, trouble: Trouble | undefined): unknown {
    if (trouble === "null") return null;
    const logs = this.blocks.slice(from, to + 1).flatMap(({ mark, events }) =>
      events.map((event) => {
        const log = encodeLog(event, mark.hash);
        const blockHash = trouble === "other hash" ? keccak256(utf8("elsewhere")) : log.blockHash;
        const [blockNumber, logIndex] = [hex(log.blockNumber), hex(log.logIndex)];
        return { ...log, blockNumber, logIndex, blockHash, transactionHash: log.txHash };
      }),
    );
    if (trouble === "duplicates") return [...logs, ...logs];
    // Of a block of the same number on another branch, where less happened.
    if (trouble === "other hash") return logs.slice(1);
    if (trouble === "out of order") return logs.toReversed();
    // What a reorganisation took away, still there in the node's answer.
    if (trouble === "removed") return [...logs, ...logs.map(takenAway)];
    return logs;
  }

  #logsOf(hash: Hex32): unknown {
    const number = this.blocks.findIndex(({ mark }) => mark.hash === hash);
    if (number < 0) throw new JsonRpcError("eth_getLogs", "unknown block", undefined);
    return this.#logs(number, number, undefined);
  }

  /** Its filter shuts nothing out, so that whoever asks must look at the logs. */
  #blockOf(hash: Hex32, trouble: Trouble | undefined): unknown {
    const number = this.blocks.findIndex(({ mark }) => mark.hash === hash);
    if (number < 0 || trouble === "null") return null;
    const parentHash = this.blocks[number - 1]?.mark.hash ?? keccak256(utf8("nothing"));
    return { hash, parentHash, logsBloom: `0x${"ff".repeat(256)}` };
  }

  #block(tag: string, trouble: Trouble | undefined): unknown {
    const number = tag === "latest" ? this.blocks.length - 1 : Number(tag);
    const block = this.blocks[number];
    if (block === undefined || trouble === "null") return null;
    const hash = trouble === "other hash" ? keccak256(utf8("elsewhere")) : block.mark.hash;
    return { number: hex(number), hash, timestamp: hex(block.mark.timestampMs / 1000) };
  }
}

/** What can be wrong with a node's answer. */
export const TROUBLES = [
  "null",
  "other hash",
  "duplicates",
  "out of order",
  "removed",
  "range too large",
] as const;
export type Trouble = (typeof TROUBLES)[number];

function takenAway<T extends object>(log: T): T {
  return { ...log, logIndex: "0xffff", removed: true };
}

function hex(value: number): `0x${string}` {
  return `0x${value.toString(16)}`;
}

/** The chain that a process reads while it is killed: the same each time. */
export function killChain(): ScriptedChain {
  const chain = new ScriptedChain();
  const transactions = Array.from({ length: 60 }, (_, number) => number % 20);
  chain.reorganise(0, transactions, 5);
  return chain;
}
