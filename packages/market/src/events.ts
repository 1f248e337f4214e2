import type { Address, Hex32 } from "@cloister/core";
import type { AbiEvent, AbiParameter, DecodeEventLogReturnType } from "viem";
import { decodeEventLog, toEventSelector } from "viem/utils";
import { marketAbi } from "./generated/market.ts";
import { registryAbi } from "./generated/registry.ts";
import { transparencyLogAbi } from "./generated/transparency-log.ts";
import type { Deployment } from "./types.ts";

/** A log as JSON-RPC gives it, with its numbers read. */
export interface RawLog {
  readonly address: Address;
  readonly topics: readonly Hex32[];
  readonly data: `0x${string}`;
  readonly blockNumber: number;
  readonly blockHash: Hex32;
  readonly logIndex: number;
  readonly txHash: Hex32;
}

type Decoded =
  | DecodeEventLogReturnType<typeof registryAbi>
  | DecodeEventLogReturnType<typeof marketAbi>
  | DecodeEventLogReturnType<typeof transparencyLogAbi>;

/** One event of our contracts and where it happened. */
export type MarketEvent = Decoded & {
  readonly blockNumber: number;
  readonly logIndex: number;
  readonly txHash: Hex32;
};

const ABIS = { registry: registryAbi, market: marketAbi, log: transparencyLogAbi } as const;
const CONTRACTS = ["registry", "market", "log"] as const;

/** By contract and event selector: given the whole ABI, the decoder would hash all of it for every log. */
const EVENTS: ReadonlyMap<string, AbiEvent> = new Map(
  CONTRACTS.flatMap((contract) =>
    (ABIS[contract] as readonly { readonly type: string }[])
      .filter((entry): entry is AbiEvent => entry.type === "event")
      .map((entry) => [`${contract}:${toEventSelector(entry)}`, entry] as const),
  ),
);

/** Reads a log of our contracts; undefined for any other, and for one that does not decode. */
export function decodeLog(deployment: Deployment, log: RawLog): MarketEvent | undefined {
  const contract = CONTRACTS.find((name) => deployment[name] === log.address);
  const event = EVENTS.get(`${contract}:${log.topics[0]}`);
  if (contract === undefined || event === undefined) return undefined;
  try {
    const { eventName, args } = decodeEventLog({
      abi: [event],
      topics: log.topics as unknown as [Hex32, ...Hex32[]],
      data: log.data,
      strict: true,
    });
    const { blockNumber, logIndex, txHash } = log;
    return {
      eventName,
      args: lowered(event.inputs, args),
      blockNumber,
      logIndex,
      txHash,
    } as unknown as MarketEvent;
  } catch {
    return undefined;
  }
}

function lowered(inputs: readonly AbiParameter[], args: unknown): unknown {
  const values = args as Readonly<Record<string, unknown>>;
  return Object.fromEntries(inputs.map((input) => [input.name, lower(input, values[input.name as string])]));
}

function lower(input: AbiParameter, value: unknown): unknown {
  if (input.type === "address") return String(value).toLowerCase();
  if (input.type === "address[]") return (value as readonly string[]).map((address) => address.toLowerCase());
  if (input.type === "tuple" && "components" in input) return lowered(input.components, value);
  return value;
}
