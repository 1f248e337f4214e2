import {
  CloisterError,
  codeOf,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  isDigest,
  type Digest,
} from "@cloister/core";

export const DETAILS_VERSION = 1;

/** The most that an offer's details take, encoded. */
export const DETAILS_BYTES_MAX = 16 * 1024;
const TEXT_CHARACTERS_MAX = 200;
const OPTIONS_MAX = 64;

/** One kind of compute or storage slot that an offer has, and what is in it. */
export interface SlotOption {
  readonly name: string;
  /** How many such slots there are; each is another node's. */
  readonly slots: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly gpus: number;
  readonly gpuMemoryBytes: number;
  readonly bandwidthBitsPerSecond: number;
  /** What one slot costs for each attested second, in the token's smallest unit. */
  readonly perSecondWei: bigint;
}

/** What an offer says of itself beside its terms: its `detailsDigest` is this document's. spec/market.md §10 */
export interface OfferDetails {
  readonly version: typeof DETAILS_VERSION;
  readonly name: string;
  /** The content's own version, in its maker's words, such as `2.1.0`. */
  readonly revision: string;
  /** The content that this one takes the place of. */
  readonly replaces?: Digest | undefined;
  /** Absent or false: the content is leased. True: whoever pays may also keep a copy. */
  readonly download?: boolean | undefined;
  /** Of compute and storage; absent: none. */
  readonly options?: readonly SlotOption[] | undefined;
}

type Reader<T> = (value: unknown, path: string) => T;
type Shape = Readonly<Record<string, readonly [Reader<unknown>, "needed" | "optional"]>>;

/**
 * Encodes details as their digest covers them: canonical CBOR.
 * @throws {CloisterError} `OFFER_DETAILS_MALFORMED` naming the member.
 */
export function encodeDetails(details: OfferDetails): Uint8Array {
  return encodeCanonical(readMembers(details, "document", DETAILS));
}

/** The digest that an offer carries. */
export function detailsDigest(details: OfferDetails): Digest {
  return digestOf(encodeDetails(details));
}

/**
 * Reads details from canonical CBOR, refusing unknown members.
 * @throws {CloisterError} `OFFER_DETAILS_MALFORMED` naming the member.
 */
export function decodeDetails(bytes: Uint8Array): OfferDetails {
  if (bytes.length > DETAILS_BYTES_MAX) throw malformed("document", `at most ${DETAILS_BYTES_MAX} bytes`);
  try {
    return readMembers(decodeCanonical(bytes), "document", DETAILS) as unknown as OfferDetails;
  } catch (cause) {
    if (codeOf(cause) === "OFFER_DETAILS_MALFORMED") throw cause;
    throw malformed("document", "canonical CBOR (RFC 8949 §4.2)", cause);
  }
}

/** What an hour costs at a price per second: prices are kept per second and shown per hour. */
export function perHourWei(perSecondWei: bigint): bigint {
  return perSecondWei * 3600n;
}

/** Tells whether an option has at least what is asked for; what is absent is not asked for. */
export function optionMeets(
  option: SlotOption,
  wanted: Partial<Omit<SlotOption, "name" | "perSecondWei">>,
): boolean {
  return Object.entries(wanted).every(
    ([name, least]) => least === undefined || option[name as keyof typeof wanted] >= least,
  );
}

const text: Reader<string> = (value, path) => {
  // Control characters would let a name write over what stands around it.
  if (typeof value === "string" && /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$/u.test(value))
    if (value.length <= TEXT_CHARACTERS_MAX) return value;
  throw malformed(path, `a text of 1 to ${TEXT_CHARACTERS_MAX} characters on one line`);
};

const count: Reader<number> = (value, path) => {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(path, "a whole number");
};

const slots: Reader<number> = (value, path) => {
  if (count(value, path) > 0) return value as number;
  throw malformed(path, "at least 1");
};

const amount: Reader<bigint> = (value, path) => {
  const wei = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof wei === "bigint" && wei >= 0n && wei < 1n << 96n) return wei;
  throw malformed(path, "an amount of at most 96 bits");
};

const digest: Reader<Digest> = (value, path) => {
  if (typeof value === "string" && isDigest(value)) return value;
  throw malformed(path, "a digest (sha256: and 64 hex digits)");
};

const flag: Reader<boolean> = (value, path) => {
  if (typeof value === "boolean") return value;
  throw malformed(path, "true or false");
};

const version: Reader<typeof DETAILS_VERSION> = (value, path) => {
  if (value === DETAILS_VERSION) return value;
  throw malformed(path, `${DETAILS_VERSION}, the only version this software knows`);
};

const OPTION: Shape = {
  name: [text, "needed"],
  slots: [slots, "needed"],
  cpus: [count, "needed"],
  memoryBytes: [count, "needed"],
  diskBytes: [count, "needed"],
  gpus: [count, "needed"],
  gpuMemoryBytes: [count, "needed"],
  bandwidthBitsPerSecond: [count, "needed"],
  perSecondWei: [amount, "needed"],
};

const options: Reader<unknown[]> = (value, path) => {
  if (!Array.isArray(value) || value.length === 0 || value.length > OPTIONS_MAX)
    throw malformed(path, `a list of 1 to ${OPTIONS_MAX} options`);
  const read = value.map((option, i) => readMembers(option, `${path}[${i}]`, OPTION));
  if (new Set(read.map((option) => option["name"])).size !== read.length)
    throw malformed(path, "a list of options with names of their own");
  return read;
};

const DETAILS: Shape = {
  version: [version, "needed"],
  name: [text, "needed"],
  revision: [text, "needed"],
  replaces: [digest, "optional"],
  download: [flag, "optional"],
  options: [options, "optional"],
};

function readMembers(document: unknown, path: string, shape: Shape): Record<string, unknown> {
  if (typeof document !== "object" || document === null || Array.isArray(document) || document instanceof Map)
    throw malformed(path, "a map");
  const given = document as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(shape, name));
  if (unknown !== undefined)
    throw malformed(unknown.slice(0, TEXT_CHARACTERS_MAX), "a member of an offer's details");
  const members: Record<string, unknown> = {};
  for (const [name, [read, need]] of Object.entries(shape)) {
    const inner = path === "document" ? name : `${path}.${name}`;
    if (given[name] === undefined && need === "needed") throw malformed(inner, "given");
    if (given[name] !== undefined) members[name] = read(given[name], inner);
  }
  return members;
}

function malformed(path: string, expected: string, cause?: unknown): CloisterError {
  return new CloisterError(
    "OFFER_DETAILS_MALFORMED",
    `In the offer's details, "${path}" is not ${expected}.`,
    {
      ...(cause === undefined ? {} : { cause }),
      hint: "Write the details anew; spec/market.md lists their members.",
      details: { path, expected },
    },
  );
}
