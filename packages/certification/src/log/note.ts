import {
  assertInvariant,
  CloisterError,
  concat,
  ed25519Verify,
  equalBytes,
  fromBase64,
  fromUtf8,
  sha256,
  toBase64,
  toHex,
  utf8,
} from "@cloister/core";

/**
 * Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature): a text that
 * people can read and programs can verify. spec/transparency-log.md §3
 */

const NOTE_BYTES_MAX = 16_384;
const SIGNATURES_MAX = 16;
const ORIGIN = /^[\x21-\x2a\x2c-\x7e]{1,120}$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const NOTE_KEY = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{44})$/;
const SIGNATURE_LINE = /^— (\S+) (\S+)$/;
/** Signature type Ed25519 of a log, and Ed25519 with a time of a witness. */
const TYPE_ED25519 = 1;
const TYPE_COSIGNATURE = 4;

/** The state of a log at one size. */
export interface Checkpoint {
  /** The log's name, a URL without scheme. */
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** Name and Ed25519 key of who signs notes: a log or a witness. */
export interface NoteKey {
  readonly name: string;
  readonly key: Uint8Array;
}

/** One line of signature as it stands in a note. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: Uint8Array;
  /** 64 bytes of a log; 8 bytes of time and 64 of signature of a witness. */
  readonly signature: Uint8Array;
}

/** A checkpoint with its signatures, opened for form and judged by nobody. */
export interface SignedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** The signed text, with its last newline. */
  readonly body: Uint8Array;
  readonly signatures: readonly NoteSignature[];
}

/** Signs with a secret that stays where it is. */
export type Signer = (message: Uint8Array) => Uint8Array;

/** Writes the text that a checkpoint's signatures cover. @throws {CloisterError} `CHECKPOINT_MALFORMED` */
export function checkpointBody(checkpoint: Checkpoint): Uint8Array {
  const { origin, size, root } = checkpoint;
  if (!ORIGIN.test(origin)) throw malformed("its origin is not a name without spaces and plus signs");
  if (!Number.isSafeInteger(size) || size < 0) throw malformed("its size is not a count");
  if (root.length !== 32) throw malformed("its root is not 32 bytes");
  return utf8(`${origin}\n${size}\n${toBase64(root)}\n`);
}

/** Signs a checkpoint as the log itself. */
export function signCheckpoint(checkpoint: Checkpoint, log: NoteKey, sign: Signer): Uint8Array {
  const body = checkpointBody(checkpoint);
  const line = signatureLine(log.name, keyIdOf(log, TYPE_ED25519), sign(body));
  return concat(body, utf8("\n"), line);
}

/**
 * Adds a witness's signature, which says that it saw this checkpoint at this time and nothing that
 * contradicts it. C2SP tlog-cosignature, type 0x04.
 */
export function cosignCheckpoint(
  note: Uint8Array,
  witness: NoteKey,
  timeMs: number,
  sign: Signer,
): Uint8Array {
  const { body } = parseCheckpoint(note);
  const seconds = Math.floor(timeMs / 1000);
  const signature = concat(uint64(seconds), sign(cosignedMessage(body, seconds)));
  return concat(note, signatureLine(witness.name, keyIdOf(witness, TYPE_COSIGNATURE), signature));
}

/**
 * The same checkpoint with the log's own signatures and one good one of each of these witnesses: nothing that its
 * readers could not check.
 */
export function withCosignaturesOf(note: Uint8Array, witnesses: readonly NoteKey[]): Uint8Array {
  const { checkpoint, body, signatures } = parseCheckpoint(note);
  const own = signatures.filter(({ name }) => name === checkpoint.origin);
  const others = witnesses.flatMap(
    (witness) => signatures.find((line) => timeOfLine(line, body, witness) !== undefined) ?? [],
  );
  const lines = [...own, ...others].map((line) => signatureLine(line.name, line.keyId, line.signature));
  return concat(body, utf8("\n"), ...lines);
}

/** Opens a signed checkpoint. @throws {CloisterError} `CHECKPOINT_MALFORMED` */
export function parseCheckpoint(note: Uint8Array): SignedCheckpoint {
  if (note.length > NOTE_BYTES_MAX) throw malformed("it is too long");
  const text = textOf(note);
  const end = text.indexOf("\n\n");
  if (end < 0) throw malformed("it has no signatures");
  const body = text.slice(0, end + 1);
  const lines = text.slice(end + 2).split("\n");
  if (lines.pop() !== "") throw malformed("its last line does not end");
  if (lines.length === 0 || lines.length > SIGNATURES_MAX)
    throw malformed("it has no or too many signatures");
  return { checkpoint: parseBody(body), body: utf8(body), signatures: lines.map(parseSignature) };
}

/** Tells whether the log signed this checkpoint under its own name. */
export function verifyCheckpoint(signed: SignedCheckpoint, log: NoteKey): boolean {
  if (signed.checkpoint.origin !== log.name) return false;
  const keyId = keyIdOf(log, TYPE_ED25519);
  return signed.signatures.some(
    (line) =>
      line.name === log.name &&
      equalBytes(line.keyId, keyId) &&
      ed25519Verify(log.key, signed.body, line.signature),
  );
}

/** When a witness co-signed this checkpoint, in milliseconds; undefined when it did not. */
export function cosignatureTime(signed: SignedCheckpoint, witness: NoteKey): number | undefined {
  for (const line of signed.signatures) {
    const timeMs = timeOfLine(line, signed.body, witness);
    if (timeMs !== undefined) return timeMs;
  }
  return undefined;
}

function timeOfLine(line: NoteSignature, body: Uint8Array, witness: NoteKey): number | undefined {
  const { name, keyId, signature } = line;
  if (name !== witness.name || signature.length !== 72) return undefined;
  if (!equalBytes(keyId, keyIdOf(witness, TYPE_COSIGNATURE))) return undefined;
  const seconds = readUint64(signature.subarray(0, 8));
  if (seconds === undefined) return undefined;
  const good = ed25519Verify(witness.key, cosignedMessage(body, seconds), signature.subarray(8));
  return good ? seconds * 1000 : undefined;
}

/**
 * Writes a log's key as people hand it on: name, key id and key, joined by plus signs. C2SP signed-note,
 * "verifier keys".
 */
export function formatNoteKey(log: NoteKey): string {
  const id = toHex(keyIdOf(log, TYPE_ED25519));
  return `${log.name}+${id}+${toBase64(concat(new Uint8Array([TYPE_ED25519]), log.key))}`;
}

/** Reads a log's key as `formatNoteKey` writes it. @throws {CloisterError} `LOG_KEY_MALFORMED` */
export function parseNoteKey(text: string): NoteKey {
  const [, name = "", id = "", encoded = ""] = NOTE_KEY.exec(text) ?? [];
  const bytes = BASE64.test(encoded) ? fromBase64(encoded) : new Uint8Array(0);
  const log = { name, key: bytes.subarray(1) };
  const right = bytes.length === 33 && bytes[0] === TYPE_ED25519 && ORIGIN.test(name);
  if (right && toHex(keyIdOf(log, TYPE_ED25519)) === id && toBase64(bytes) === encoded) return log;
  throw new CloisterError("LOG_KEY_MALFORMED", "The text is not the key of a log (NAME+ID+KEY).", {
    hint: "`cloister log head` prints the key of a network's log.",
  });
}

/** The four bytes by which a note names a key. C2SP signed-note */
function keyIdOf(key: NoteKey, type: number): Uint8Array {
  return sha256(concat(utf8(`${key.name}\n`), new Uint8Array([type]), key.key)).subarray(0, 4);
}

function cosignedMessage(body: Uint8Array, seconds: number): Uint8Array {
  return concat(utf8(`cosignature/v1\ntime ${seconds}\n`), body);
}

function signatureLine(name: string, keyId: Uint8Array, signature: Uint8Array): Uint8Array {
  if (!ORIGIN.test(name)) throw malformed("a signer's name has spaces or plus signs");
  return utf8(`— ${name} ${toBase64(concat(keyId, signature))}\n`);
}

function parseBody(body: string): Checkpoint {
  const [origin, size, root, ...rest] = body.split("\n");
  if (
    origin === undefined ||
    size === undefined ||
    root === undefined ||
    rest.length !== 1 ||
    rest[0] !== ""
  ) {
    throw malformed("it does not have exactly the three lines origin, size and root");
  }
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size)) throw malformed("its size is not a plain decimal number");
  const checkpoint = { origin, size: Number(size), root: strictBase64(root) };
  assertInvariant(body === fromUtf8(checkpointBody(checkpoint)), "a checkpoint is written in one way only");
  return checkpoint;
}

function parseSignature(line: string): NoteSignature {
  const [, name, encoded] = SIGNATURE_LINE.exec(line) ?? [];
  if (name === undefined || encoded === undefined || !ORIGIN.test(name))
    throw malformed("a signature line is not one");
  const raw = strictBase64(encoded);
  if (raw.length < 5) throw malformed("a signature is too short");
  return { name, keyId: raw.subarray(0, 4), signature: raw.subarray(4) };
}

/** Base64 in its one canonical form: the unused bits of the last digit are zero. */
function strictBase64(text: string): Uint8Array {
  if (!BASE64.test(text) || text.length % 4 !== 0) throw malformed("it holds something that is not base64");
  const bytes = fromBase64(text);
  if (toBase64(bytes) !== text) throw malformed("it holds base64 that is not in its canonical form");
  return bytes;
}

function textOf(note: Uint8Array): string {
  try {
    return fromUtf8(note);
  } catch (cause) {
    throw malformed("it is not UTF-8", cause);
  }
}

function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

function readUint64(bytes: Uint8Array): number | undefined {
  const value = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

function malformed(why: string, cause?: unknown): CloisterError {
  return new CloisterError("CHECKPOINT_MALFORMED", `The text is not a signed checkpoint: ${why}.`, { cause });
}
