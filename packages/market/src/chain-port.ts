import type { Address, Hex32 } from "@cloister/core";
import type { Call } from "./call.ts";
import type { DeploymentConfig } from "./deployment.ts";
import type { BlockMark } from "./follower.ts";
import type { MarketState } from "./state.ts";
import type { Deployment } from "./types.ts";

/** The state of our contracts as of one block. The state is the reader's to look at, not to change. */
export interface ChainView {
  readonly block: BlockMark;
  readonly state: MarketState;
}

/** How a call came into effect. `already` means that nothing needed to be sent. */
export type SendResult =
  | { readonly kind: "mined"; readonly txHash: Hex32; readonly block: number; readonly gasUsed: bigint }
  | { readonly kind: "already" };

/** A block's header, as `eth_getBlockByNumber` answers it: all members as JSON-RPC's hex texts. */
export type RawHeader = Readonly<Record<string, unknown>>;

/** An account and slots of its storage with their Merkle-Patricia proofs, as `eth_getProof` answers them. */
export interface RawProof {
  readonly address: Address;
  readonly accountProof: readonly `0x${string}`[];
  readonly balance: `0x${string}`;
  readonly codeHash: Hex32;
  readonly nonce: `0x${string}`;
  readonly storageHash: Hex32;
  readonly storageProof: readonly {
    readonly key: `0x${string}`;
    readonly value: `0x${string}`;
    readonly proof: readonly `0x${string}`[];
  }[];
}

/**
 * One chain with our contracts on it. Everything may be asked again after any failure: what was lost
 * with a block is sent again, and what is there already is not.
 *
 * All methods throw {CloisterError} with `CHAIN_UNREACHABLE` when the node of the chain does not answer and
 * `CHAIN_ID_MISMATCH` when it is another chain.
 */
export interface Chain {
  readonly deployment: Deployment;
  /** Reads on to the newest block, going back first when the chain reorganised. */
  refresh(): Promise<ChainView>;
  /** What the last `refresh` saw; undefined before the first. */
  view(): ChainView | undefined;
  /**
   * Brings a call into effect, signed by `secret`: looks whether it is in effect already, sends it, waits
   * for it to be mined, and sends it again when the chain lost it.
   * @throws {CloisterError} `CHAIN_REVERTED` (details: `error`, `args`), `INSUFFICIENT_FUNDS`,
   *   `CHAIN_TIMEOUT` when it was not mined in time: call again.
   */
  send(call: Call, secret: Uint8Array): Promise<SendResult>;
  /**
   * Like `send`, but the first attempt goes by the last view instead of a new one: for a call that is urgent and
   * does no harm when it is sent twice. `onSent` hears of each time that the chain's node took it, before it is
   * known to be mined: a look at the chain from then on may see it.
   */
  sendAtOnce(call: Call, secret: Uint8Array, onSent?: () => void): Promise<SendResult>;
  /** Native coin of an account. */
  coinOf(account: Address): Promise<bigint>;
  /** Sends native coin. Not repeatable: each call sends once more. */
  transfer(to: Address, amountWei: bigint, secret: Uint8Array): Promise<SendResult>;
  /** Proves storage of a contract as of a block. */
  getProof(address: Address, slots: readonly Hex32[], block: number): Promise<RawProof>;
  /** Undefined when the chain has no such block. */
  header(block: number | "latest"): Promise<RawHeader | undefined>;
}

/** Deploys the contracts; sent again after a crash it finds what is there and goes on. */
export type Deploy = (config: DeploymentConfig, secret: Uint8Array) => Promise<Deployment>;
