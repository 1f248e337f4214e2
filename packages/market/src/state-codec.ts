import { CloisterError, decodeCanonical, encodeCanonical, type Cbor } from "@cloister/core";
import { emptyMarket, type MarketState } from "./state.ts";

const VERSION = 1;

/** Copies a state, so that one can change and the other stay. Records are copied as deep as they change. */
export function copyMarket(state: MarketState): MarketState {
  return {
    ...state,
    offers: copyRecords(state.offers),
    orders: copyRecords(state.orders),
    openOrders: new Set(state.openOrders),
    nodes: copyRecords(state.nodes),
    measurements: copyRecords(state.measurements),
    authorities: copyRecords(state.authorities),
    announced: new Map(state.announced),
    goals: new Map(state.goals),
    groups: new Map(state.groups),
    balances: new Map(state.balances),
    rewards: new Map(state.rewards),
    channels: copyRecords(state.channels),
  };
}

/** Encodes a state canonically: equal states give equal bytes, whatever the sequence of their records. */
export function encodeMarket(state: MarketState): Uint8Array {
  const parts = Object.fromEntries(
    Object.entries(state).map(([name, part]) => [
      name,
      part instanceof Map ? toPlain([...part].toSorted(byKey)) : toPlain(part),
    ]),
  );
  return encodeCanonical({ version: VERSION, ...parts });
}

/** Reads a state. @throws {CloisterError} `MARKET_STATE_MALFORMED`; `CborError` */
export function decodeMarket(bytes: Uint8Array): MarketState {
  const document = decodeCanonical(bytes);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new CloisterError("MARKET_STATE_MALFORMED", "The saved market state is not a document.");
  }
  const { version, ...parts } = document as Readonly<Record<string, Cbor>>;
  const state = emptyMarket() as unknown as Record<string, unknown>;
  if (version !== VERSION) {
    throw new CloisterError("MARKET_STATE_MALFORMED", "The saved market state has another version.");
  }
  for (const [name, part] of Object.entries(parts)) {
    const empty = state[name];
    const value = fromPlain(part);
    if (empty instanceof Map) state[name] = new Map(value as [unknown, unknown][]);
    else if (empty instanceof Set) state[name] = new Set(value as unknown[]);
    else state[name] = value;
  }
  return state as unknown as MarketState;
}

function copyRecords<K, V extends object>(records: ReadonlyMap<K, V>): Map<K, V> {
  return new Map([...records].map(([key, record]) => [key, { ...record }]));
}

function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return byText(a, b);
}

function byText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Amounts become text: canonical CBOR gives small numbers and bigints the same bytes. */
function toPlain(value: unknown): unknown {
  if (typeof value === "bigint") return { wei: value.toString() };
  if (value instanceof Set) return [...(value as Set<string>)].toSorted(byText).map(toPlain);
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]) => [name, toPlain(member)]),
  );
}

function fromPlain(value: Cbor): unknown {
  if (Array.isArray(value)) return value.map((member) => fromPlain(member as Cbor));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first?.[0] === "wei") return BigInt(String(first[1]));
  return Object.fromEntries(entries.map(([name, member]) => [name, fromPlain(member as Cbor)]));
}
