import { decodeErrorResult } from "viem/utils";
import { marketAbi } from "./generated/market.ts";
import { registryAbi } from "./generated/registry.ts";
import { transparencyLogAbi } from "./generated/transparency-log.ts";

/** Why a contract refused, by the name and the arguments of its error. */
export interface ContractError {
  readonly name: string;
  readonly args: readonly unknown[];
}

/** Reads what a call reverted with; undefined when it is none of our contracts' errors. */
export function decodeContractError(data: `0x${string}`): ContractError | undefined {
  for (const abi of [marketAbi, registryAbi, transparencyLogAbi]) {
    try {
      const { errorName, args } = decodeErrorResult({ abi, data });
      return { name: errorName, args: args ?? [] };
    } catch {
      // Not an error of this contract: ask the next.
    }
  }
  return undefined;
}
