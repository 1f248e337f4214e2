import { setTimeout as wait } from "node:timers/promises";
import { CloisterError, formatEther, toHex, type Address, type Hex32 } from "@cloister/core";
import { addressOfSecret, decodeContractError, type SendResult } from "@cloister/market";
import { privateKeyToAccount } from "viem/accounts";
import { keccak256 } from "viem/utils";
import { hex } from "./chain-reader.ts";
import { JsonRpcError, type JsonRpc } from "./json-rpc.ts";

/** Between two looks for a receipt: a local chain mines at once, others take their time. */
const RECEIPT_POLL_MS_MIN = 5;
const RECEIPT_POLL_MS_MAX = 100;
/** How long a transaction may stay unmined before the chain is taken to have lost it. */
const MINED_WITHIN_MS = 30_000;
/** Polls in which the node must not know a transaction before it counts as lost. */
const LOST_POLLS = 20;
const ATTEMPTS_MAX = 5;
const TIP_WEI = 1_000_000_000n;

/** A transaction before it is signed; `to` is absent when it creates a contract. */
export interface Outgoing {
  readonly name: string;
  readonly to?: Address | undefined;
  readonly data: `0x${string}`;
  readonly valueWei: bigint;
  /** Given for a creation, whose address depends on it. */
  readonly nonce?: number | undefined;
}

interface Receipt {
  readonly status: `0x${string}`;
  readonly blockNumber: `0x${string}`;
  readonly gasUsed: `0x${string}`;
}

/** Sends transactions of any number of accounts, one at a time for each account. */
export class Sender {
  readonly #rpc: JsonRpc;
  readonly #chainId: number;
  readonly #queues = new Map<Address, Promise<unknown>>();

  constructor(rpc: JsonRpc, chainId: number) {
    this.#rpc = rpc;
    this.#chainId = chainId;
  }

  /**
   * Sends until it is mined. `isDone` is asked before each attempt and after each failure; `onSent` is told each time
   * that the chain's node took it.
   * @throws {CloisterError} `CHAIN_REVERTED`, `INSUFFICIENT_FUNDS`, `CHAIN_TIMEOUT`, `CHAIN_UNREACHABLE`
   */
  send(
    outgoing: Outgoing,
    secret: Uint8Array,
    isDone: () => Promise<boolean>,
    onSent: () => void = () => undefined,
  ): Promise<SendResult> {
    const account = addressOfSecret(secret);
    const before = this.#queues.get(account) ?? Promise.resolve();
    const result = before.then(() => this.#sendNow(outgoing, secret, isDone, onSent));
    this.#queues.set(
      account,
      result.catch(() => undefined),
    );
    return result;
  }

  async #sendNow(
    outgoing: Outgoing,
    secret: Uint8Array,
    isDone: () => Promise<boolean>,
    onSent: () => void,
  ): Promise<SendResult> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (await isDone()) return { kind: "already" };
      try {
        const result = await this.#attempt(outgoing, secret, onSent);
        if (result !== undefined) return result;
      } catch (error) {
        // Somebody else may have done the same a moment earlier, which makes ours revert.
        if (await isDone()) return { kind: "already" };
        throw this.#explained(outgoing, error);
      }
    }
    throw new CloisterError("CHAIN_TIMEOUT", `The transaction "${outgoing.name}" was not mined in time.`, {
      hint: "Try again: what did get through is not sent twice.",
    });
  }

  /** Undefined when the transaction was lost or its nonce taken: to be tried again. */
  async #attempt(
    outgoing: Outgoing,
    secret: Uint8Array,
    onSent: () => void,
  ): Promise<SendResult | undefined> {
    const from = addressOfSecret(secret);
    const request = {
      from,
      ...(outgoing.to === undefined ? {} : { to: outgoing.to }),
      data: outgoing.data,
      value: hex(outgoing.valueWei),
    };
    // Asked at once, since each is a round trip; too little coin is the better explanation of a failed estimate.
    const estimated = this.#rpc.request<`0x${string}`>("eth_estimateGas", [request]);
    const feeWei = this.#feePerGasWei();
    const usable = outgoing.nonce ?? this.#nonceOf(from);
    const asked = Promise.all([estimated, feeWei, usable]);
    asked.catch(() => undefined);
    await this.#requireFunds(outgoing, from);
    const [estimate, maxFeePerGas, nonce] = await asked;
    const gas = (BigInt(estimate) * 12n) / 10n;
    const raw = await sign(this.#chainId, outgoing, secret, { gas, nonce, maxFeePerGas });
    const txHash = keccak256(raw) as Hex32;
    try {
      await this.#rpc.request("eth_sendRawTransaction", [raw]);
    } catch (error) {
      if (!(error instanceof JsonRpcError)) throw error;
      if (/nonce too low|replacement/i.test(error.message)) return undefined;
      if (!/already (known|imported)/i.test(error.message)) throw error;
    }
    onSent();
    const receipt = await this.#receipt(txHash);
    if (receipt === undefined) return undefined;
    if (BigInt(receipt.status) !== 1n) throw await this.#revertOf(outgoing, request);
    return {
      kind: "mined",
      txHash,
      block: Number(receipt.blockNumber),
      gasUsed: BigInt(receipt.gasUsed),
    };
  }

  async #feePerGasWei(): Promise<bigint> {
    const block = await this.#rpc.request<{ baseFeePerGas?: `0x${string}` }>("eth_getBlockByNumber", [
      "latest",
      false,
    ]);
    return BigInt(block.baseFeePerGas ?? 0) * 2n + TIP_WEI;
  }

  async #receipt(txHash: Hex32): Promise<Receipt | undefined> {
    let unknown = 0;
    let pollMs = RECEIPT_POLL_MS_MIN;
    for (let waitedMs = 0; waitedMs < MINED_WITHIN_MS; waitedMs += pollMs) {
      const receipt = await this.#rpc.request<Receipt | null>("eth_getTransactionReceipt", [txHash]);
      if (receipt !== null) return receipt;
      const known = await this.#rpc.request<object | null>("eth_getTransactionByHash", [txHash]);
      unknown = known === null ? unknown + 1 : 0;
      if (unknown >= LOST_POLLS) return undefined;
      await wait(pollMs);
      pollMs = Math.min(2 * pollMs, RECEIPT_POLL_MS_MAX);
    }
    return undefined;
  }

  async #nonceOf(account: Address): Promise<number> {
    return Number(await this.#rpc.request<`0x${string}`>("eth_getTransactionCount", [account, "pending"]));
  }

  async #requireFunds(outgoing: Outgoing, account: Address): Promise<void> {
    const coinWei = BigInt(await this.#rpc.request<`0x${string}`>("eth_getBalance", [account, "latest"]));
    if (coinWei === 0n || coinWei < outgoing.valueWei) throw insufficientFunds(outgoing, account, coinWei);
  }

  /** Runs the call again without sending it, for the reason that a receipt does not carry. */
  async #revertOf(outgoing: Outgoing, request: object): Promise<unknown> {
    try {
      await this.#rpc.request("eth_call", [request, "latest"]);
    } catch (error) {
      return error;
    }
    return new CloisterError("CHAIN_REVERTED", `"${outgoing.name}" was refused when it was mined.`, {
      hint: "The state changed in between: look at it, then try again.",
      details: { call: outgoing.name },
    });
  }

  #explained(outgoing: Outgoing, error: unknown): unknown {
    if (!(error instanceof JsonRpcError)) return error;
    if (/insufficient funds/i.test(error.message)) return insufficientFunds(outgoing, undefined, undefined);
    const known = error.data === undefined ? undefined : decodeContractError(error.data);
    const why = known === undefined ? error.message : `${known.name}(${known.args.map(String).join(", ")})`;
    return new CloisterError("CHAIN_REVERTED", `The contracts refused "${outgoing.name}": ${why}.`, {
      hint: "contracts/src/interfaces says what each error means.",
      cause: error,
      details: { call: outgoing.name, error: known?.name, args: known?.args.map(String) },
    });
  }
}

function sign(
  chainId: number,
  outgoing: Outgoing,
  secret: Uint8Array,
  cost: { readonly gas: bigint; readonly nonce: number; readonly maxFeePerGas: bigint },
): Promise<`0x${string}`> {
  return privateKeyToAccount(`0x${toHex(secret)}`).signTransaction({
    type: "eip1559",
    chainId,
    ...cost,
    maxPriorityFeePerGas: TIP_WEI,
    data: outgoing.data,
    value: outgoing.valueWei,
    ...(outgoing.to === undefined ? {} : { to: outgoing.to }),
  });
}

/**
 * Signs a transaction that nobody will see. The first signature of a process takes twenty times as long as any
 * later one, and it may be the one that a failover waits for.
 */
export async function rehearseSigning(chainId: number): Promise<void> {
  const outgoing = { name: "rehearsal", data: "0x", valueWei: 0n } as const;
  await sign(chainId, outgoing, new Uint8Array(32).fill(1), { gas: 0n, nonce: 0, maxFeePerGas: TIP_WEI });
}

function insufficientFunds(
  outgoing: Outgoing,
  account: Address | undefined,
  coinWei: bigint | undefined,
): CloisterError {
  const has = coinWei === undefined ? "too little" : formatEther(coinWei);
  const needs = formatEther(outgoing.valueWei);
  const message = `${account ?? "The account"} has ${has} of the native coin; "${outgoing.name}" takes ${needs} and gas.`;
  return new CloisterError("INSUFFICIENT_FUNDS", message, {
    hint: "Send it some coin, then try again.",
    details: { call: outgoing.name },
  });
}
