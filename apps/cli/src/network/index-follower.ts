/** Keeps an index of a market in a database of the user's: reads on, goes back with the chain, compares. */
import { setTimeout as wait } from "node:timers/promises";
import { ChainReader, connectChain, type JsonRpc } from "@cloister/adapters/chain";
import { openIndexStore } from "@cloister/adapters/index-store";
import { CloisterError, codeOf } from "@cloister/core";
import type { BlockMark, Deployment, IndexStore } from "@cloister/market";
import { layoutOf, readNetwork } from "./layout.ts";
import { deploymentOf } from "./local-network.ts";

/** A chain that grows while two readings are compared is read this often. */
const COMPARISONS_MAX = 10;

/** What goes by when the chain's node or the database's server is back. */
const PASSING: ReadonlySet<string> = new Set([
  "CHAIN_UNREACHABLE",
  "CHAIN_BEHIND",
  "CHAIN_RPC_ERROR",
  "INDEX_DATABASE_UNREACHABLE",
]);

/** What a follower tells while it reads. */
export type IndexStep =
  | {
      readonly what: "read";
      readonly block: number;
      readonly newestBlock: number;
      readonly events: number;
    }
  | {
      readonly what: "reorganised";
      readonly from: number | undefined;
      /** The block that was gone back to; undefined: before the first. */
      readonly to: number | undefined;
    }
  | { readonly what: "waiting"; readonly code: string; readonly reason: string };

/** A market on a chain, and the database that its index is kept in. */
export interface IndexPlace {
  readonly rpc: JsonRpc;
  readonly deployment: Deployment;
  readonly store: IndexStore;
}

/** Which market, through which of the chain's nodes, in which database. */
export interface IndexChoice {
  readonly home: string;
  /** Absent: the node that the network's file names. */
  readonly rpcUrl?: string | undefined;
  readonly databaseUrl: string;
}

/**
 * Opens the database for the market of a network.
 * @throws {CloisterError} `NETWORK_MISSING`, `CHAIN_UNREACHABLE`, `CHAIN_ID_MISMATCH`, and what `openIndexStore` throws
 */
export async function openPlace({ home, rpcUrl, databaseUrl }: IndexChoice): Promise<IndexPlace> {
  const network = readNetwork(layoutOf(home));
  const deployment = deploymentOf(network);
  const rpc = await connectChain(rpcUrl ?? network.rpcUrl, deployment.chainId);
  return { rpc, deployment, store: await openIndexStore(databaseUrl, deployment) };
}

/** Opens the database alone: what it holds can be read while the chain does not answer. */
export function openIndex(home: string, databaseUrl: string): Promise<IndexStore> {
  return openIndexStore(databaseUrl, deploymentOf(readNetwork(layoutOf(home))));
}

/** Reads on to the newest block, or until the signal; tells each step. */
export async function readOn(
  { rpc, deployment, store }: IndexPlace,
  tell: (step: IndexStep) => void,
  signal?: AbortSignal,
): Promise<BlockMark | undefined> {
  const reader = new ChainReader({
    ...{ rpc, deployment, ledger: store, keepWhenBehind: true, signal },
    onProgress: (progress) => tell({ what: "read", ...progress }),
    onGoBack: (from, to) => tell({ what: "reorganised", from: from?.number, to: to?.number }),
  });
  return reader.read();
}

/** Follows until the signal. A chain or a database that does not answer is asked again. */
export async function followOn(
  place: IndexPlace,
  tell: (step: IndexStep) => void,
  everyMs: number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await readOn(place, tell, signal);
    } catch (error) {
      if (!PASSING.has(codeOf(error)) || !(error instanceof Error)) throw error;
      tell({ what: "waiting", code: codeOf(error), reason: error.message });
    }
    await wait(everyMs, undefined, { signal }).catch(() => undefined);
  }
}

/** A table that an index and a fresh reading of the chain have differently, or the same. */
export interface ComparedTable {
  readonly table: string;
  readonly rows: number;
  readonly digest: string;
  readonly freshRows: number;
  readonly freshDigest: string;
}

/**
 * Reads the whole chain afresh, in memory, and holds the index against it, table by table.
 * @throws {CloisterError} `CHAIN_UNREACHABLE` when the chain never stands still
 */
export async function compareWithFresh(
  place: IndexPlace,
): Promise<{ readonly block: number | undefined; readonly tables: readonly ComparedTable[] }> {
  const store = await openIndexStore("sqlite::memory:", place.deployment);
  try {
    for (let round = 0; round < COMPARISONS_MAX; round++) {
      const fresh = await readOn({ ...place, store }, () => undefined);
      const kept = await readOn(place, () => undefined);
      if (fresh?.hash !== kept?.hash) continue;
      return { block: kept?.number, tables: await compareTables(place.store, store) };
    }
  } finally {
    await store.close();
  }
  throw new CloisterError("CHAIN_UNREACHABLE", "The chain kept growing while two readings were compared.", {
    hint: "Run it again.",
  });
}

async function compareTables(kept: IndexStore, fresh: IndexStore): Promise<ComparedTable[]> {
  const [mine, expected] = await Promise.all([kept.digests(), fresh.digests()]);
  return [...mine].map(([table, { rows, digest }]) => {
    const other = expected.get(table);
    return { table, rows, digest, freshRows: other?.rows ?? 0, freshDigest: other?.digest ?? "" };
  });
}

/** An id by an unambiguous beginning of it. @throws {CloisterError} `INDEX_SUBJECT_NOT_FOUND` */
export async function findSubject(store: IndexStore, beginning: string): Promise<string> {
  const [only, ...more] = beginning.length < 4 ? [] : await store.subjects(beginning, 2);
  if (only !== undefined && more.length === 0) return only;
  const why = only === undefined ? "Nothing happened to" : "More than one id begins with";
  throw new CloisterError("INDEX_SUBJECT_NOT_FOUND", `${why} "${beginning.slice(0, 80)}".`, {
    hint: "Give an order's, offer's, node's or account's id, or at least the first four characters of it.",
  });
}
