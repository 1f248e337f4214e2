import { keccak256 } from "viem/utils";
import type { Address, Hex32 } from "@cloister/core";
import { JsonRpcError, type JsonRpc } from "./json-rpc.ts";

interface Header {
  readonly hash: Hex32;
  readonly parentHash: Hex32;
  readonly logsBloom?: `0x${string}`;
}

/** Blocks that an answer to `eth_getLogs` said nothing of: all after `since`, up to `newest`. */
export interface Silence {
  readonly since: { readonly number: number; readonly hash: Hex32 | undefined };
  readonly newest: { readonly number: number; readonly hash: Hex32 };
}

/**
 * Tells whether these blocks really hold no logs of the addresses. An empty answer does not say which chain it is
 * from: a node that lags behind, or is on another branch, gives it too. Headers do: each names the one before it.
 */
export async function isSilent(
  rpc: JsonRpc,
  addresses: readonly Address[],
  { since, newest }: Silence,
): Promise<boolean> {
  let { hash } = newest;
  for (let { number } = newest; number > since.number; number--) {
    const header = await rpc.request<Header | null>("eth_getBlockByHash", [hash, false]);
    if (header?.hash !== hash) return false;
    const mayHold = addresses.some((address) => inBloom(header.logsBloom, address));
    if (mayHold && !(await holdsNone(rpc, addresses, hash))) return false;
    hash = header.parentHash;
  }
  return since.hash === undefined || since.hash === hash;
}

/** Asked by its hash, a node that does not have the block says so. */
async function holdsNone(rpc: JsonRpc, address: readonly Address[], blockHash: Hex32): Promise<boolean> {
  try {
    const logs = await rpc.request<unknown>("eth_getLogs", [{ address, blockHash }]);
    return Array.isArray(logs) && logs.length === 0;
  } catch (error) {
    if (error instanceof JsonRpcError) return false;
    throw error;
  }
}

/** Tells whether a header's filter of 2,048 bits may hold an address; without a filter, anything may. Yellow Paper, 4.4.3. */
export function inBloom(bloom: `0x${string}` | undefined, address: Address): boolean {
  if (bloom?.length !== 514) return true;
  const bits = Buffer.from(bloom.slice(2), "hex");
  const digest = keccak256(address, "bytes");
  return [0, 2, 4].every((place) => {
    const bit = (((digest[place] as number) << 8) | (digest[place + 1] as number)) & 2047;
    return ((bits[255 - (bit >> 3)] as number) >> (bit & 7)) & 1;
  });
}
