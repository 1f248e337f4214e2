/** A chain's worth of logs on disk, and a JSON-RPC node that answers from them. */
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { JsonRpc } from "@cloister/adapters/chain";
import { digestOf, digestToHex, utf8, type Hex32 } from "@cloister/core";
import { encodeLog, MarketHistory } from "../packages/market/test/market-history.ts";

/** What a history holds. */
export interface HistoryFacts {
  readonly blocks: number;
  readonly events: number;
  readonly orders: number;
  readonly bytes: number;
  /** Events by name. */
  readonly byName: Readonly<Record<string, number>>;
}

interface BlockEntry {
  readonly hash: Hex32;
  readonly offset: number;
  readonly length: number;
}

const TRANSACTIONS_PER_BLOCK = 40;
const FIRST_TIME_SECONDS = 1_800_000_000;

const hex = (value: number): string => `0x${value.toString(16)}`;

/** Writes blocks until so many orders were opened: each log as a chain's node answers it, ABI-encoded. */
export function writeHistory(folder: string, orders: number, seed: number): HistoryFacts {
  const history = new MarketHistory(seed);
  const blocks: BlockEntry[] = [];
  const byName: Record<string, number> = {};
  const file = openSync(join(folder, "logs"), "w");
  let offset = 0;
  while ((byName["OrderOpened"] ?? 0) < orders) {
    const number = blocks.length;
    const hash = digestToHex(digestOf(utf8(`block ${number} of ${seed}`))) as Hex32;
    const events = history.block(number, TRANSACTIONS_PER_BLOCK, number === 0 ? history.opening(8, 40) : []);
    const logs = events.map((event) => {
      byName[event.eventName] = (byName[event.eventName] ?? 0) + 1;
      const { txHash, ...log } = encodeLog(event, hash);
      const [blockNumber, logIndex] = [hex(log.blockNumber), hex(log.logIndex)];
      return JSON.stringify({ ...log, blockNumber, logIndex, transactionHash: txHash });
    });
    const length = writeSync(file, logs.join(","));
    blocks.push({ hash, offset, length });
    offset += length;
  }
  closeSync(file);
  writeFileSync(join(folder, "blocks.json"), JSON.stringify(blocks));
  const events = Object.values(byName).reduce((sum, count) => sum + count, 0);
  return { blocks: blocks.length, events, orders: byName["OrderOpened"] ?? 0, bytes: offset, byName };
}

/** A filter that shuts nothing out. */
const EVERYTHING = `0x${"ff".repeat(256)}`;

/** A node of the chain in a folder: it reads what it is asked for, and parses it as a client parses an answer. */
export function historyRpc(folder: string): JsonRpc {
  const blocks = JSON.parse(readFileSync(join(folder, "blocks.json"), "utf8")) as readonly BlockEntry[];
  const file = openSync(join(folder, "logs"), "r");
  const block = (tag: string): unknown => {
    const number = tag === "latest" ? blocks.length - 1 : Number(tag);
    const entry = blocks[number];
    if (entry === undefined) return null;
    return { number: hex(number), hash: entry.hash, timestamp: hex(FIRST_TIME_SECONDS + number) };
  };
  const places = new Map(blocks.map(({ hash }, number) => [hash as string, number]));
  const header = (hash: string): unknown => {
    const number = places.get(hash) as number;
    return { hash, parentHash: blocks[number - 1]?.hash ?? hash, logsBloom: EVERYTHING };
  };
  const logs = (from: number, to: number): unknown => {
    const texts = blocks
      .slice(from, to + 1)
      .filter(({ length }) => length > 0)
      .map(({ offset, length }) => {
        const bytes = Buffer.alloc(length);
        readSync(file, bytes, 0, length, offset);
        return bytes.toString();
      });
    return JSON.parse(`[${texts.join(",")}]`);
  };
  return {
    url: folder,
    request: async <T>(method: string, params: readonly unknown[]): Promise<T> => {
      if (method === "eth_getBlockByNumber") return block(params[0] as string) as T;
      if (method === "eth_getBlockByHash") return header(params[0] as string) as T;
      const { blockHash, fromBlock, toBlock } = params[0] as Record<string, string>;
      const only = blockHash === undefined ? undefined : places.get(blockHash);
      return logs(only ?? Number(fromBlock), only ?? Number(toBlock)) as T;
    },
  };
}
