import type { Address, Hex32 } from "@cloister/core";
import type { AbiEvent, AbiParameter, DecodeEventLogReturnType } from "viem";
import { decodeAbiParameters, toEventSelector } from "viem/utils";
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

interface EventShape {
  readonly name: string;
  /** One word each: in the topics behind the selector. None of ours is of a type that is hashed there. */
  readonly indexed: readonly AbiParameter[];
  readonly plain: readonly AbiParameter[];
  /** Names in the ABI's sequence. */
  readonly names: readonly string[];
}

/** By contract and event selector: a general decoder hashes the event's signature anew for every log. */
const EVENTS: ReadonlyMap<string, EventShape> = new Map(
  CONTRACTS.flatMap((contract) =>
    (ABIS[contract] as readonly { readonly type: string }[])
      .filter((entry): entry is AbiEvent => entry.type === "event")
      .map((entry) => [`${contract}:${toEventSelector(entry)}`, shapeOf(entry)] as const),
  ),
);

function shapeOf({ name, inputs }: AbiEvent): EventShape {
  const names = inputs.map((input) => input.name as string);
  const indexed = inputs.filter((input) => input.indexed === true);
  return { name, names, indexed, plain: inputs.filter((input) => input.indexed !== true) };
}

/** Reads a log of our contracts; undefined for any other, and for one that does not decode. */
export function decodeLog(deployment: Deployment, log: RawLog): MarketEvent | undefined {
  const contract = CONTRACTS.find((name) => deployment[name] === log.address);
  const event = EVENTS.get(`${contract}:${log.topics[0]}`);
  if (contract === undefined || event === undefined) return undefined;
  try {
    const { blockNumber, logIndex, txHash } = log;
    return {
      eventName: event.name,
      args: argsOf(event, log.topics.slice(1), log.data),
      blockNumber,
      logIndex,
      txHash,
    } as unknown as MarketEvent;
  } catch {
    return undefined;
  }
}

/** @throws {Error} when a topic is missing or the data is torn. */
function argsOf(event: EventShape, topics: readonly Hex32[], data: `0x${string}`): unknown {
  const values = new Map<string, unknown>();
  event.indexed.forEach((input, i) => {
    const [value] = decodeAbiParameters([input], topics[i] as Hex32);
    values.set(input.name as string, lower(input, value));
  });
  const decoded: readonly unknown[] = event.plain.length === 0 ? [] : decodeAbiParameters(event.plain, data);
  event.plain.forEach((input, i) => values.set(input.name as string, lower(input, decoded[i])));
  return Object.fromEntries(event.names.map((name) => [name, values.get(name)]));
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
