import {
  CloisterError,
  codeOf,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  isDigest,
  parseUtc,
  type Address,
  type Digest,
} from "@cloister/core";
import { parseRecipient } from "../sealed/keys.ts";
import { CONSENT_VERSION, TIME_MS_MAX, type ConsentPolicy } from "./policy.ts";

const DOCUMENT_BYTES_MAX = 64 * 1024;
const ITEMS_MAX = 256;
const TEXT_MAX = 64;

/** Checks one member and gives its value, or throws with the member's name. */
type Reader<T> = (value: unknown, path: string) => T;

/** Encodes a policy as the owner's digest covers it: canonical CBOR. spec/consent.md §3 */
export function encodeConsent(policy: ConsentPolicy): Uint8Array {
  return encodeCanonical(readPolicy(policy));
}

/** The digest that an offer carries. */
export function consentDigest(policy: ConsentPolicy): Digest {
  return digestOf(encodeConsent(policy));
}

/**
 * Reads a policy from canonical CBOR, refusing unknown members.
 * @throws {CloisterError} `CONSENT_MALFORMED` naming the member.
 */
export function decodeConsent(bytes: Uint8Array): ConsentPolicy {
  if (bytes.length > DOCUMENT_BYTES_MAX) throw malformed("document", `at most ${DOCUMENT_BYTES_MAX} bytes`);
  try {
    return readPolicy(decodeCanonical(bytes));
  } catch (cause) {
    if (codeOf(cause) === "CONSENT_MALFORMED") throw cause;
    throw malformed("document", "JSON or canonical CBOR (RFC 8949 §4.2)", cause);
  }
}

/** Writes a policy as people read and edit it. */
export function formatConsent(policy: ConsentPolicy): string {
  const { expiresAtMs, ...rest } = readPolicy(policy);
  const readable =
    expiresAtMs === undefined ? rest : { ...rest, expiresAt: new Date(expiresAtMs).toISOString() };
  return `${JSON.stringify(readable, null, 2)}\n`;
}

/**
 * Reads a policy in its readable form: the same members in JSON; the end may be written `expiresAt`, as RFC 3339.
 * @throws {CloisterError} `CONSENT_MALFORMED` naming the member.
 */
export function parseConsent(text: string): ConsentPolicy {
  if (text.length > DOCUMENT_BYTES_MAX)
    throw malformed("document", `at most ${DOCUMENT_BYTES_MAX} characters`);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw malformed("document", "JSON", cause);
  }
  if (!isRecord(document) || document["expiresAt"] === undefined) return readPolicy(document);
  const { expiresAt, ...rest } = document;
  if ("expiresAtMs" in rest) throw malformed("expiresAt", "the only end that is given");
  return readPolicy({ ...rest, expiresAtMs: timeOf(expiresAt) });
}

function readPolicy(document: unknown): ConsentPolicy {
  const members = readMembers(document, "document", POLICY);
  return members as unknown as ConsentPolicy;
}

const digest: Reader<Digest> = (value, path) => {
  if (typeof value === "string" && isDigest(value)) return value;
  throw malformed(path, "a digest (sha256: and 64 hex digits)");
};

const address: Reader<Address> = (value, path) => {
  if (typeof value === "string" && /^0x[0-9a-f]{40}$/.test(value)) return value as Address;
  throw malformed(path, "an address (0x and 40 lower-case hex digits)");
};

const word: Reader<string> = (value, path) => {
  if (typeof value === "string" && /^[a-z0-9][a-z0-9.:-]*$/.test(value) && value.length <= TEXT_MAX)
    return value;
  throw malformed(path, "a word of lower-case letters, digits, dots and dashes");
};

const recipient: Reader<string> = (value, path) => {
  try {
    return parseRecipient(String(value)).text;
  } catch (cause) {
    throw malformed(path, "an age recipient", cause);
  }
};

const count: Reader<number> = (value, path) => {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(path, "a whole number");
};

const time: Reader<number> = (value, path) => {
  const timeMs = count(value, path);
  if (timeMs <= TIME_MS_MAX) return timeMs;
  throw malformed(path, "a time in milliseconds");
};

const version: Reader<typeof CONSENT_VERSION> = (value, path) => {
  if (value === CONSENT_VERSION) return value;
  throw malformed(path, `${CONSENT_VERSION}, the only version this software knows`);
};

const egress: Reader<"none" | string[]> = (value, path) =>
  value === "none" ? value : listOf(word)(value, path);

const market: Reader<NonNullable<ConsentPolicy["market"]>> = (value, path) =>
  readMembers(value, path, { chainId: [count, "needed"], contract: [address, "needed"] }) as never;

const POLICY: Readonly<Record<string, readonly [Reader<unknown>, "needed" | "optional"]>> = {
  version: [version, "needed"],
  engines: [listOf(digest), "needed"],
  purposes: [listOf(word), "needed"],
  runsMax: [count, "needed"],
  expiresAtMs: [time, "optional"],
  outputBytesMax: [count, "needed"],
  recipients: [listOf(recipient), "optional"],
  egress: [egress, "needed"],
  tees: [listOf(word), "optional"],
  measurements: [listOf(digest), "optional"],
  nodes: [listOf(address), "optional"],
  market: [market, "optional"],
};

function readMembers(
  document: unknown,
  path: string,
  shape: Readonly<Record<string, readonly [Reader<unknown>, "needed" | "optional"]>>,
): Record<string, unknown> {
  if (!isRecord(document)) throw malformed(path, "a map");
  const unknown = Object.keys(document).find((name) => !Object.hasOwn(shape, name));
  if (unknown !== undefined) throw malformed(unknown.slice(0, TEXT_MAX), "a member of a consent policy");
  const members: Record<string, unknown> = {};
  for (const [name, [read, need]] of Object.entries(shape)) {
    const value = document[name];
    if (value === undefined && need === "needed") throw malformed(name, "given");
    if (value !== undefined) members[name] = read(value, name);
  }
  return members;
}

/** A non-empty list without repetitions, sorted: one policy has one encoding whatever the order it was typed in. */
function listOf<T extends string>(read: Reader<T>): Reader<T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length === 0 || value.length > ITEMS_MAX)
      throw malformed(path, `a list of 1 to ${ITEMS_MAX} items`);
    const items = value.map((item, index) => read(item, `${path}[${index}]`));
    const distinct = [...new Set(items)].toSorted();
    if (distinct.length !== items.length) throw malformed(path, "a list without repetitions");
    return distinct;
  };
}

function timeOf(text: unknown): number {
  const timeMs = typeof text === "string" ? parseUtc(text) : undefined;
  if (timeMs === undefined) throw malformed("expiresAt", "a UTC time such as 2027-01-31T00:00:00Z");
  return timeMs;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Map);
}

function malformed(path: string, expected: string, cause?: unknown): CloisterError {
  const where = path === "document" ? "The consent policy" : `In the consent policy, "${path}"`;
  return new CloisterError("CONSENT_MALFORMED", `${where} is not ${expected}.`, {
    hint: "`cloister consent draft` writes one; spec/consent.md §2 lists its members.",
    ...(cause === undefined ? {} : { cause }),
    details: { path, expected },
  });
}
