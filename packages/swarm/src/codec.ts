import { decodeCanonical, encodeCanonical, type NodeId, type OrderId } from "@cloister/core";
import {
  INCARNATION_MAX,
  LOAD_PIECES,
  LOAD_PIECE_BYTES,
  MESSAGE_BYTES_MAX,
  ORDERS_MAX,
  RTT_MS_MAX,
  SAMPLES_PER_REPORT_MAX,
  SUCCESSION_MAX,
  TARGETS_PER_MEASURE_MAX,
  UPDATES_PER_MESSAGE_MAX,
  WORK_PER_REPORT_MAX,
} from "./bounds.ts";
import { DIMENSIONS } from "./coordinate.ts";
import { UPDATE_STATUSES, type Body, type Coordinate, type Message, type WireUpdate } from "./messages.ts";
import type { Assignment, DurableRecord, LinkSample } from "./types.ts";

/** Encodes a message for the wire: canonical CBOR. */
export function encodeMessage(message: Message): Uint8Array {
  return encodeCanonical(message);
}

/**
 * Decodes and checks a message.
 * @throws {SwarmMessageError} `SWARM_MESSAGE_TOO_LARGE`, `SWARM_MESSAGE_MALFORMED`
 */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw new SwarmMessageError("SWARM_MESSAGE_TOO_LARGE", `it has ${bytes.length} bytes`);
  }
  let document: unknown;
  try {
    document = decodeCanonical(bytes);
  } catch (cause) {
    throw new SwarmMessageError("SWARM_MESSAGE_MALFORMED", "it is not canonical CBOR", { cause });
  }
  return parseMessage(document);
}

/**
 * Checks a decoded message member by member; unknown members are refused.
 * @throws {SwarmMessageError} `SWARM_MESSAGE_MALFORMED`
 */
export function parseMessage(document: unknown): Message {
  const fields = new Fields(document, "message");
  const envelope = { chainId: fields.count("chainId"), swarm: fields.text("swarm", 8) };
  const kind = fields.text("kind", 16);
  const parse = PARSERS[kind as Body["kind"]];
  if (!Object.hasOwn(PARSERS, kind)) throw malformed(`there is no kind "${kind}"`);
  const body = parse(fields);
  fields.end();
  return { ...envelope, ...body };
}

const PARSERS: { readonly [Kind in Body["kind"]]: (fields: Fields) => Extract<Body, { kind: Kind }> } = {
  ping: (f) => ({
    kind: "ping",
    nonce: f.count("nonce"),
    incarnation: f.count("incarnation", INCARNATION_MAX),
    term: f.count("term"),
    lease: f.flag("lease"),
    coordinate: parseCoordinate(f.member("coordinate")),
    updates: f.list("updates", UPDATES_PER_MESSAGE_MAX, parseUpdate),
  }),
  ack: (f) => {
    const succession = f.optionalList("succession", SUCCESSION_MAX, parseNodeId);
    return {
      kind: "ack",
      nonce: f.count("nonce"),
      incarnation: f.count("incarnation", INCARNATION_MAX),
      term: f.count("term"),
      coordinate: parseCoordinate(f.member("coordinate")),
      updates: f.list("updates", UPDATES_PER_MESSAGE_MAX, parseUpdate),
      ...(succession === undefined ? {} : { succession }),
    };
  },
  "ping-for": (f) => ({ kind: "ping-for", nonce: f.count("nonce"), target: parseNodeId(f.member("target")) }),
  "ack-for": (f) => ({
    kind: "ack-for",
    nonce: f.count("nonce"),
    target: parseNodeId(f.member("target")),
    heard: f.flag("heard"),
  }),
  doubt: (f) => ({ kind: "doubt", term: f.count("term"), standing: f.flag("standing") }),
  vote: (f) => ({
    kind: "vote",
    term: f.count("term"),
    candidate: parseNodeId(f.member("candidate")),
    signature: f.bytes("signature", 65),
  }),
  assignment: (f) => ({
    kind: "assignment",
    assignment: parseAssignment(f.member("assignment")),
    signature: f.bytes("signature", 65),
  }),
  withdrawal: (f) => ({
    kind: "withdrawal",
    orderId: parseOrderId(f.member("orderId")),
    term: f.count("term"),
  }),
  report: (f) => ({
    kind: "report",
    sequence: f.count("sequence"),
    term: f.count("term"),
    draining: f.flag("draining"),
    coordinate: parseCoordinate(f.member("coordinate")),
    samples: f.list("samples", SAMPLES_PER_REPORT_MAX, parseSample),
    work: f.list("work", WORK_PER_REPORT_MAX, parseWork),
    signature: f.bytes("signature", 65),
  }),
  measure: (f) => ({
    kind: "measure",
    term: f.count("term"),
    targets: f.list("targets", TARGETS_PER_MEASURE_MAX, parseNodeId),
    load: f.flag("load"),
  }),
  load: (f) => ({
    kind: "load",
    nonce: f.count("nonce"),
    piece: f.count("piece", LOAD_PIECES - 1),
    payload: f.bytes("payload", LOAD_PIECE_BYTES),
  }),
  "load-ack": (f) => ({ kind: "load-ack", nonce: f.count("nonce") }),
};

function parseCoordinate(value: unknown): Coordinate {
  const fields = new Fields(value, "coordinate");
  const point = fields.list("point", DIMENSIONS, (axis) => finite(axis, RTT_MS_MAX));
  if (point.length !== DIMENSIONS) throw malformed("a coordinate has too few dimensions");
  const heightMs = finite(fields.member("heightMs"), RTT_MS_MAX);
  const error = finite(fields.member("error"), 10);
  fields.end();
  if (heightMs < 0 || error < 0) throw malformed("a coordinate's height or error is negative");
  return { point, heightMs, error };
}

function parseUpdate(value: unknown): WireUpdate {
  if (!Array.isArray(value) || value.length !== 3) throw malformed("an update is not a triple");
  const [id, rank, incarnation] = value as unknown[];
  return [parseNodeId(id), integer(rank, UPDATE_STATUSES.length - 1), integer(incarnation, INCARNATION_MAX)];
}

function parseSample(value: unknown): LinkSample {
  const fields = new Fields(value, "sample");
  const peer = parseNodeId(fields.member("peer"));
  const rttMs = finite(fields.member("rttMs"), RTT_MS_MAX);
  const deviationMs = finite(fields.member("deviationMs"), RTT_MS_MAX);
  const probes = fields.count("probes");
  const raw = fields.optional("bandwidthMbps");
  fields.end();
  if (rttMs < 0 || deviationMs < 0) throw malformed("a round trip is negative");
  const bandwidth = raw === undefined ? {} : { bandwidthMbps: Math.abs(finite(raw, 1e7)) };
  return { peer, rttMs, deviationMs, probes, ...bandwidth };
}

const WORK_STATES = ["accepted", "running", "done", "failed"] as const;

function parseWork(value: unknown): {
  orderId: OrderId;
  term: number;
  state: (typeof WORK_STATES)[number];
} {
  const fields = new Fields(value, "work");
  const work = {
    orderId: parseOrderId(fields.member("orderId")),
    term: fields.count("term"),
    state: oneOf(fields.member("state"), WORK_STATES),
  };
  fields.end();
  return work;
}

function parseAssignment(value: unknown): Assignment {
  const fields = new Fields(value, "assignment");
  const assignment = {
    orderId: parseOrderId(fields.member("orderId")),
    node: parseNodeId(fields.member("node")),
    term: fields.count("term"),
    epoch: fields.count("epoch"),
    goalId: fields.text("goalId", 64),
  };
  fields.end();
  return assignment;
}

/** Encodes the durable record. */
export function encodeRecord(record: DurableRecord): Uint8Array {
  return encodeCanonical({ version: 1, ...record });
}

/**
 * Decodes the durable record. A torn or foreign one is refused; the node then starts as one that forgot.
 * @throws {SwarmMessageError} `SWARM_RECORD_MALFORMED`
 */
export function decodeRecord(bytes: Uint8Array): DurableRecord {
  try {
    const fields = new Fields(decodeCanonical(bytes), "record");
    if (fields.count("version") !== 1) throw malformed("its version is not 1");
    const votedFor = fields.optional("votedFor");
    const record = {
      votedTerm: fields.count("votedTerm"),
      ...(votedFor === undefined ? {} : { votedFor: parseNodeId(votedFor) }),
      incarnation: fields.count("incarnation", INCARNATION_MAX),
      assignments: fields.list("assignments", ORDERS_MAX, parseAccepted),
    };
    fields.end();
    return record;
  } catch (cause) {
    throw new SwarmMessageError("SWARM_RECORD_MALFORMED", "the durable record does not decode", { cause });
  }
}

function parseAccepted(value: unknown): { assignment: Assignment; signature: Uint8Array } {
  const fields = new Fields(value, "accepted assignment");
  const accepted = {
    assignment: parseAssignment(fields.member("assignment")),
    signature: fields.bytes("signature", 65),
  };
  fields.end();
  return accepted;
}

const NODE_ID = /^0x[0-9a-f]{40}$/;
const ORDER_ID = /^0x[0-9a-f]{64}$/;

function parseNodeId(value: unknown): NodeId {
  if (typeof value !== "string" || !NODE_ID.test(value)) throw malformed("an id is not a node's");
  return value as NodeId;
}

function parseOrderId(value: unknown): OrderId {
  if (typeof value !== "string" || !ORDER_ID.test(value)) throw malformed("an id is not an order's");
  return value as OrderId;
}

function finite(value: unknown, max: number): number {
  if (typeof value !== "number" || !(Math.abs(value) <= max)) throw malformed("a number is out of range");
  return value;
}

function integer(value: unknown, max: number): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > max) {
    throw malformed("a number is not a count");
  }
  return value as number;
}

function oneOf<Name extends string>(value: unknown, names: readonly Name[]): Name {
  const name = names.find((known) => known === value);
  if (name === undefined) throw malformed("a name is not one of those defined");
  return name;
}

/** Reads a record's members one by one and refuses the ones nobody asked for. */
class Fields {
  readonly #record: Readonly<Record<string, unknown>>;
  readonly #what: string;
  #read = 0;

  constructor(value: unknown, what: string) {
    if (
      typeof value !== "object" ||
      value === null ||
      Array.isArray(value) ||
      value instanceof Uint8Array ||
      value instanceof Map
    ) {
      throw malformed(`a ${what} is not a record`);
    }
    this.#record = value as Record<string, unknown>;
    this.#what = what;
  }

  optional(name: string): unknown {
    const value = Object.hasOwn(this.#record, name) ? this.#record[name] : undefined;
    if (value !== undefined) this.#read++;
    return value;
  }

  member(name: string): unknown {
    const value = this.optional(name);
    if (value === undefined) throw malformed(`a ${this.#what} lacks "${name}"`);
    return value;
  }

  count(name: string, max: number = Number.MAX_SAFE_INTEGER): number {
    return integer(this.member(name), max);
  }

  flag(name: string): boolean {
    const value = this.member(name);
    if (typeof value !== "boolean") throw malformed(`"${name}" is not a flag`);
    return value;
  }

  text(name: string, lengthMax: number): string {
    const value = this.member(name);
    if (typeof value !== "string" || value.length > lengthMax) throw malformed(`"${name}" is not a name`);
    return value;
  }

  bytes(name: string, lengthMax: number): Uint8Array {
    const value = this.member(name);
    if (!(value instanceof Uint8Array) || value.length > lengthMax) throw malformed(`"${name}" is not bytes`);
    return value;
  }

  list<Item>(name: string, lengthMax: number, parse: (item: unknown) => Item): Item[] {
    const value = this.member(name);
    if (!Array.isArray(value) || value.length > lengthMax) throw malformed(`"${name}" is not a short list`);
    return value.map(parse);
  }

  optionalList<Item>(name: string, lengthMax: number, parse: (item: unknown) => Item): Item[] | undefined {
    return Object.hasOwn(this.#record, name) ? this.list(name, lengthMax, parse) : undefined;
  }

  /** Members whose value is absent do not count: encoding leaves them out. */
  end(): void {
    let present = 0;
    for (const name in this.#record) if (this.#record[name] !== undefined) present++;
    if (present !== this.#read) throw malformed(`a ${this.#what} has members that are not defined`);
  }
}

function malformed(why: string): SwarmMessageError {
  return new SwarmMessageError("SWARM_MESSAGE_MALFORMED", why);
}

/** A message or a record that does not decode. */
export class SwarmMessageError extends Error {
  override readonly name = "SwarmMessageError";
  readonly code: "SWARM_MESSAGE_TOO_LARGE" | "SWARM_MESSAGE_MALFORMED" | "SWARM_RECORD_MALFORMED";

  constructor(code: SwarmMessageError["code"], why: string, options?: ErrorOptions) {
    super(`The swarm message is refused: ${why}.`, options);
    this.code = code;
  }
}
