import {
  CloisterError,
  codeOf,
  decodeCanonical,
  encodeCanonical,
  type Log,
  type RecordStore,
} from "@cloister/core";
import {
  decodeMarket,
  encodeMarket,
  follow,
  goBack,
  marksOf,
  startFollower,
  type BlockMark,
  type ChainView,
  type Deployment,
  type EventLedger,
  type Follower,
  type Stretch,
} from "@cloister/market";
import { ChainReader } from "./chain-reader.ts";
import type { JsonRpc } from "./json-rpc.ts";

/** Events after which the base is saved again. */
const SAVE_EVENTS = 500;

/** Reads a deployment's logs into the read model in memory. */
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

/** Starts an indexer where its record left off, if the chain still knows that block. */
export async function openIndexer(options: IndexerOptions): Promise<Indexer> {
  const ledger = new FollowerLedger(options, await loadFollower(options));
  return new FollowingIndexer(new ChainReader({ ...options, ledger }), ledger);
}

class FollowingIndexer implements Indexer {
  readonly #reader: ChainReader;
  readonly #ledger: FollowerLedger;
  #running: Promise<ChainView> | undefined;

  constructor(reader: ChainReader, ledger: FollowerLedger) {
    this.#reader = reader;
    this.#ledger = ledger;
  }

  view(): ChainView | undefined {
    return this.#ledger.view();
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
    await this.#reader.read();
    const view = this.view();
    if (view !== undefined) return view;
    throw new CloisterError("CHAIN_UNREACHABLE", "The chain ends before the contracts' first block.", {
      hint: "Point to the chain that the contracts were deployed on.",
    });
  }
}

/** The read model in memory, with a record of its base. */
class FollowerLedger implements EventLedger {
  readonly #options: IndexerOptions;
  readonly #follower: Follower;
  #unsavedEvents = 0;

  constructor(options: IndexerOptions, follower: Follower) {
    this.#options = options;
    this.#follower = follower;
  }

  view(): ChainView | undefined {
    const { head, state } = this.#follower;
    return head === undefined ? undefined : { block: head, state };
  }

  async marks(): Promise<readonly BlockMark[]> {
    return marksOf(this.#follower);
  }

  async apply({ mark, events }: Stretch): Promise<"applied"> {
    follow(this.#follower, mark, events);
    this.#unsavedEvents += events.length;
    if (this.#unsavedEvents >= SAVE_EVENTS) await this.#save();
    return "applied";
  }

  async rollBack(to: BlockMark | undefined): Promise<void> {
    goBack(this.#follower, to);
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
