import {
  CloisterError,
  codeOf,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  type Digest,
} from "@cloister/core";
import { parseRecipient } from "@cloister/custody";
import { isEngineFileName } from "./sandbox.ts";

const VERSION = 1;
const DOCUMENT_BYTES_MAX = 256 * 1024;
const INPUTS_MAX = 31;
const MEMBERS = [
  "version",
  "purpose",
  "recipient",
  "outputBytesMax",
  "inputs",
  "memoryBytes",
  "runMs",
  "engine",
];

/**
 * What a client asks of an order beyond what the contract counts. Its digest is in the order; the
 * document itself lies in the store, readable by all: nothing secret belongs here. spec/engine.md §6
 */
export interface OrderArguments {
  readonly version: typeof VERSION;
  /** One of the purposes that every consent must list, e.g. `train`. */
  readonly purpose: string;
  /** The age recipient that alone can open the result. */
  readonly recipient: string;
  /** The most that all outputs may take together. */
  readonly outputBytesMax: number;
  /** What the engine finds its inputs named, in the order's sequence; absent: `input-0`, `input-1`, … */
  readonly inputs?: readonly string[];
  /** Memory and time that the engine needs; absent: what the node allows. */
  readonly memoryBytes?: number;
  readonly runMs?: number;
  /** The content of `/args.json`, word for word; absent: no such file. */
  readonly engine?: string;
}

/** Encodes arguments canonically. @throws {CloisterError} `ARGUMENTS_MALFORMED` */
export function encodeArguments(args: OrderArguments): Uint8Array {
  return encodeCanonical(readArguments(args));
}

/** The digest that an order carries. */
export function argumentsDigest(args: OrderArguments): Digest {
  return digestOf(encodeArguments(args));
}

/** Reads arguments strictly. @throws {CloisterError} `ARGUMENTS_MALFORMED` naming the member. */
export function decodeArguments(bytes: Uint8Array): OrderArguments {
  if (bytes.length > DOCUMENT_BYTES_MAX) throw malformed("document", `at most ${DOCUMENT_BYTES_MAX} bytes`);
  try {
    return readArguments(decodeCanonical(bytes));
  } catch (cause) {
    if (codeOf(cause) === "ARGUMENTS_MALFORMED") throw cause;
    throw malformed("document", "canonical CBOR", cause);
  }
}

function readArguments(value: unknown): OrderArguments {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Map) {
    throw malformed("document", "a map");
  }
  const document = value as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(document).find((name) => !MEMBERS.includes(name));
  if (unknown !== undefined) throw malformed(unknown.slice(0, 40), "a member of an order's arguments");
  const { version, purpose, recipient, inputs, engine, memoryBytes, runMs } = document;
  if (version !== VERSION) throw malformed("version", `${VERSION}, the only version this software knows`);
  if (typeof purpose !== "string" || !/^[a-z0-9][a-z0-9.:-]{0,63}$/.test(purpose)) {
    throw malformed("purpose", "a word of lower-case letters, digits, dots and dashes");
  }
  if (engine !== undefined && typeof engine !== "string") throw malformed("engine", "a text");
  return {
    version,
    purpose,
    recipient: readRecipient(recipient),
    outputBytesMax: readCount("outputBytesMax", document["outputBytesMax"]),
    ...(inputs === undefined ? {} : { inputs: readNames(inputs) }),
    ...(memoryBytes === undefined ? {} : { memoryBytes: readCount("memoryBytes", memoryBytes) }),
    ...(runMs === undefined ? {} : { runMs: readCount("runMs", runMs) }),
    ...(engine === undefined ? {} : { engine }),
  };
}

function readRecipient(value: unknown): string {
  try {
    return parseRecipient(String(value)).text;
  } catch (cause) {
    throw malformed("recipient", "an age recipient", cause);
  }
}

function readNames(value: unknown): readonly string[] {
  const names = Array.isArray(value) && value.length <= INPUTS_MAX ? (value as unknown[]) : [undefined];
  const valid = names.every((name) => typeof name === "string" && isEngineFileName(name));
  if (!valid || new Set(names).size !== names.length) {
    throw malformed("inputs", `a list of at most ${INPUTS_MAX} distinct file names`);
  }
  return names as readonly string[];
}

function readCount(name: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
  throw malformed(name, "a positive whole number");
}

function malformed(member: string, expected: string, cause?: unknown): CloisterError {
  return new CloisterError(
    "ARGUMENTS_MALFORMED",
    `In the order's arguments, "${member}" is not ${expected}.`,
    {
      details: { member, expected },
      ...(cause === undefined ? {} : { cause }),
    },
  );
}
