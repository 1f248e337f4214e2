import { concat, fromBase64, fromUtf8, toBase64, utf8 } from "@cloister/core";
import { sealedError } from "./errors.ts";
import type { Chunks } from "./stream.ts";

/** PEM around an age file, strict as RFC 7468 figure 3. C2SP age, "ASCII armor". */
const BEGIN = "-----BEGIN AGE ENCRYPTED FILE-----";
const END = "-----END AGE ENCRYPTED FILE-----";
const COLUMNS = 64;
const LINE_BYTES = 48;
/** Blank lines that are tolerated around the armor, in bytes. */
const BLANK_BYTES_MAX = 1024;
const ENCODE_BYTES = LINE_BYTES * 1024;

/** Writes a sealed object as text, for channels that carry text only. */
export async function* armor(sealed: Chunks): AsyncGenerator<Uint8Array> {
  yield utf8(`${BEGIN}\n`);
  let rest: Uint8Array = new Uint8Array(0);
  for await (const piece of sealed) {
    rest = concat(rest, piece);
    const whole = rest.length - (rest.length % LINE_BYTES);
    for (let at = 0; at < whole; at += ENCODE_BYTES) {
      yield utf8(linesOf(rest.subarray(at, Math.min(whole, at + ENCODE_BYTES))));
    }
    rest = rest.slice(whole);
  }
  yield utf8(`${rest.length === 0 ? "" : linesOf(rest)}${END}\n`);
}

/**
 * Gives the binary form of a sealed object that may be armored; one that is not passes through.
 * @throws {CloisterError} `SEALED_ARMOR_MALFORMED`
 */
export async function* unarmor(pieces: Chunks): AsyncGenerator<Uint8Array> {
  let reader: ArmorReader | undefined;
  let head: Uint8Array = new Uint8Array(0);
  let isBinary = false;
  for await (const piece of pieces) {
    if (isBinary) {
      yield piece;
    } else if (reader !== undefined) {
      yield reader.read(piece);
    } else {
      head = concat(head, piece);
      const start = firstMark(head);
      if (start === undefined) continue;
      if (head[start] === DASH) {
        reader = new ArmorReader();
        yield reader.read(head.subarray(start));
      } else {
        isBinary = true;
        yield head;
      }
    }
  }
  if (reader !== undefined) reader.finish();
  else if (!isBinary) yield head;
}

const DASH = 45;

/** Where the first byte lies that is not blank; undefined while all are. */
function firstMark(head: Uint8Array): number | undefined {
  const index = head.findIndex((byte) => ![9, 10, 13, 32].includes(byte));
  if ((index === -1 ? head.length : index) > BLANK_BYTES_MAX)
    throw malformed("it begins with too many blanks");
  return index === -1 ? undefined : index;
}

/** Reads armor line by line and holds at most one line. */
class ArmorReader {
  #line = "";
  #count = 0;
  #isShort = false;
  #hasEnded = false;
  #blanks = 0;

  read(piece: Uint8Array): Uint8Array {
    const decoded: Uint8Array[] = [];
    let text: string;
    try {
      text = this.#line + fromUtf8(piece);
    } catch {
      throw malformed("it holds bytes that are not text");
    }
    const lines = text.split("\n");
    this.#line = lines.pop() as string;
    for (const line of lines) decoded.push(this.#take(line.endsWith("\r") ? line.slice(0, -1) : line));
    if (this.#line.length > BLANK_BYTES_MAX) throw malformed("a line is too long");
    return concat(...decoded);
  }

  finish(): void {
    if (this.#line !== "") this.#take(this.#line.endsWith("\r") ? this.#line.slice(0, -1) : this.#line);
    if (!this.#hasEnded) throw malformed("its last line is missing");
  }

  #take(line: string): Uint8Array {
    const none = new Uint8Array(0);
    this.#count++;
    if (this.#hasEnded) {
      this.#blanks += line.length + 1;
      if (line.trim() !== "" || this.#blanks > BLANK_BYTES_MAX)
        throw malformed("something follows its last line");
      return none;
    }
    if (this.#count === 1) {
      if (line !== BEGIN) throw malformed(`its first line is not ${BEGIN}`);
      return none;
    }
    if (line === END) {
      this.#hasEnded = true;
      return none;
    }
    if (this.#isShort) throw malformed(`line ${this.#count} follows a short one`);
    this.#isShort = line.length < COLUMNS;
    return this.#decode(line);
  }

  #decode(line: string): Uint8Array {
    const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(line) && line.length % 4 === 0 && line.length <= COLUMNS;
    const bytes = isBase64 ? fromBase64(line) : undefined;
    if (bytes === undefined || toBase64(bytes) !== line)
      throw malformed(`line ${this.#count} is not canonical base64 of at most ${COLUMNS} characters`);
    if (line.endsWith("=")) this.#isShort = true;
    return bytes;
  }
}

function linesOf(bytes: Uint8Array): string {
  return toBase64(bytes).replace(/.{1,64}/g, "$&\n");
}

function malformed(why: string): Error {
  return sealedError("SEALED_ARMOR_MALFORMED", `The file's armor is malformed: ${why}.`);
}
