import {
  concat,
  digestOf,
  equalBytes,
  fromUtf8,
  hkdfSha256,
  hmacSha256,
  utf8,
  type Digest,
} from "@cloister/core";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { sealedError } from "./errors.ts";

const VERSION_LINE = "age-encryption.org/v1";
const COLUMNS = 64;
const MAC_BYTES = 32;
const HEADER_BYTES_MAX = 1 << 20;
const LINE_FEED = 10;
const NONE = new Uint8Array(0);

/** One wrapped copy of the file key. `args[0]` is its type. */
export interface Stanza {
  readonly args: readonly string[];
  readonly body: Uint8Array;
}

/** An age v1 header, read but not yet authenticated: that takes the file key. */
export interface Header {
  readonly stanzas: readonly Stanza[];
  readonly mac: Uint8Array;
  /** What the MAC covers: the header up to and including `---`. */
  readonly macInput: Uint8Array;
  /** The whole header with its MAC line: what `headerDigest` is taken over. */
  readonly headerBytes: Uint8Array;
}

/** SHA-256 of the header with its MAC line: what an offer and every key release are bound to. */
export function headerDigest(header: Header): Digest {
  return digestOf(header.headerBytes);
}

/** Writes a header for these stanzas, authenticated under the file key. */
export function buildHeader(stanzas: readonly Stanza[], fileKey: Uint8Array): Header {
  const macInput = utf8(`${VERSION_LINE}\n${stanzas.map(encodeStanza).join("")}---`);
  const mac = headerMac(fileKey, macInput);
  const headerBytes = concat(macInput, utf8(` ${encodeBase64(mac)}\n`));
  return { stanzas, mac, macInput, headerBytes };
}

/**
 * Reads the header at the start of `bytes`; the payload follows at `headerBytes.length`.
 * Strict as the specification asks: one encoding per header. C2SP age §"Header".
 * @throws {CloisterError} `SEALED_NOT_AGE`, `SEALED_HEADER_MALFORMED`, `SEALED_HEADER_TOO_LARGE`, `SEALED_TRUNCATED`
 */
export function parseHeader(bytes: Uint8Array): Header {
  const length = findHeaderEnd(bytes);
  if (length === undefined) throw sealedError("SEALED_TRUNCATED", "The file ends inside its header.");
  return readHeader(bytes.slice(0, length));
}

/**
 * The header's length once `bytes` holds all of it, undefined while more is needed.
 * @throws {CloisterError} `SEALED_NOT_AGE`, `SEALED_HEADER_TOO_LARGE`
 */
export function findHeaderEnd(bytes: Uint8Array): number | undefined {
  const opening = utf8(`${VERSION_LINE}\n`);
  const seen = Math.min(opening.length, bytes.length);
  if (!equalBytes(bytes.subarray(0, seen), opening.subarray(0, seen))) {
    throw sealedError("SEALED_NOT_AGE", `The file does not start with "${VERSION_LINE}".`, {
      hint: "Only files sealed in the age v1 format can be opened.",
    });
  }
  for (let start = opening.length; ;) {
    const end = bytes.indexOf(LINE_FEED, start);
    if ((end === -1 ? bytes.length : end + 1) > HEADER_BYTES_MAX) {
      throw sealedError("SEALED_HEADER_TOO_LARGE", `The header is larger than ${HEADER_BYTES_MAX} bytes.`);
    }
    if (end === -1) return undefined;
    if (bytes[start] === 45 && bytes[start + 1] === 45 && bytes[start + 2] === 45) return end + 1;
    start = end + 1;
  }
}

/**
 * Checks the header's MAC under the file key.
 * @throws {CloisterError} `SEALED_HEADER_MAC_WRONG`
 */
export function authenticateHeader(header: Header, fileKey: Uint8Array): void {
  if (!equalBytes(headerMac(fileKey, header.macInput), header.mac)) {
    throw sealedError("SEALED_HEADER_MAC_WRONG", "The header was changed after it was sealed.");
  }
}

function headerMac(fileKey: Uint8Array, macInput: Uint8Array): Uint8Array {
  return hmacSha256(hkdfSha256(fileKey, NONE, utf8("header"), 32), macInput);
}

function encodeStanza(stanza: Stanza): string {
  const body = encodeBase64(stanza.body);
  const lines: string[] = [];
  // A body whose last line is full is followed by an empty one: the short line ends the stanza.
  for (let i = 0; i <= body.length; i += COLUMNS) lines.push(body.slice(i, i + COLUMNS));
  return `-> ${stanza.args.join(" ")}\n${lines.join("\n")}\n`;
}

function readHeader(headerBytes: Uint8Array): Header {
  let text: string;
  try {
    text = fromUtf8(headerBytes);
  } catch (cause) {
    throw sealedError("SEALED_HEADER_MALFORMED", "The header is not text.", { cause });
  }
  const lines = text.slice(0, -1).split("\n");
  const stanzas: Stanza[] = [];
  let next = 1;
  while (lines[next]?.startsWith("-> ") === true) {
    const stanza = readStanza(lines, next);
    stanzas.push(stanza.stanza);
    next = stanza.next;
  }
  const last = lines[next] ?? "";
  const mac = last.startsWith("--- ") ? decodeBase64(last.slice(4)) : undefined;
  if (next !== lines.length - 1 || mac?.length !== MAC_BYTES) throw malformed(next, "the MAC line");
  if (stanzas.length === 0) throw malformed(1, "a recipient stanza");
  return {
    stanzas,
    mac,
    macInput: headerBytes.subarray(0, headerBytes.length - last.length - 1 + 3),
    headerBytes,
  };
}

function readStanza(lines: readonly string[], start: number): { stanza: Stanza; next: number } {
  const args = (lines[start] as string).slice(3).split(" ");
  if (!args.every((arg) => /^[!-~]+$/.test(arg))) throw malformed(start, "stanza arguments");
  let body = "";
  for (let next = start + 1; ; next++) {
    const line = lines[next];
    if (line === undefined || line.length > COLUMNS) throw malformed(next, "a stanza body");
    body += line;
    if (line.length === COLUMNS) continue;
    const bytes = decodeBase64(body);
    if (bytes === undefined) throw malformed(next, "canonical base64");
    return { stanza: { args, body: bytes }, next: next + 1 };
  }
}

function malformed(line: number, expected: string): Error {
  return sealedError("SEALED_HEADER_MALFORMED", `Line ${line + 1} of the header is not ${expected}.`);
}
