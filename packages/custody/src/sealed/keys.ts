import { decodeBech32 } from "./bech32.ts";
import { sealedError } from "./errors.ts";
import { HYBRID_PUBLIC_KEY_BYTES, hybridIdentity, hybridRecipient, type HybridIdentity } from "./hybrid.ts";
import { x25519Identity, x25519Recipient, type Recipient, type X25519Identity } from "./recipients.ts";

const LINES_MAX = 10_000;

/** An identity that can be written down, with the recipient that belongs to it. */
export type KeyIdentity = X25519Identity | HybridIdentity;

/**
 * Reads a recipient as age writes it: `age1…`, or `age1pq1…` for a hybrid post-quantum one.
 * @throws {CloisterError} `SEALED_RECIPIENT_MALFORMED`
 */
export function parseRecipient(text: string): Recipient {
  const decoded = decodeBech32(text);
  if (decoded?.prefix === "age" && decoded.bytes.length === 32 && text.startsWith("age1")) {
    return x25519Recipient(decoded.bytes);
  }
  if (
    decoded?.prefix === "age1pq" &&
    decoded.bytes.length === HYBRID_PUBLIC_KEY_BYTES &&
    text.startsWith("age1pq1")
  ) {
    return hybridRecipient(decoded.bytes);
  }
  throw malformedRecipient(`"${text.slice(0, 80)}" is ${foreignKind(text) ?? "not an age recipient"}.`);
}

/**
 * Reads an identity as age-keygen writes it: `AGE-SECRET-KEY-1…`, or `AGE-SECRET-KEY-PQ-1…`.
 * @throws {CloisterError} `SEALED_IDENTITY_MALFORMED`; the message never holds the key.
 */
export function parseIdentity(text: string): KeyIdentity {
  const decoded = decodeBech32(text);
  if (decoded?.bytes.length === 32 && text === text.toUpperCase()) {
    if (decoded.prefix === "age-secret-key-") return x25519Identity(decoded.bytes);
    if (decoded.prefix === "age-secret-key-pq-") return hybridIdentity(decoded.bytes);
  }
  throw malformedIdentity("The text is not an age identity.");
}

/**
 * Reads an identity file as age-keygen writes it: comments (`#`), empty lines, one identity a line.
 * @throws {CloisterError} `SEALED_IDENTITY_MALFORMED` naming the line.
 */
export function parseIdentityFile(text: string): [KeyIdentity, ...KeyIdentity[]] {
  const [first, ...rest] = keyLines(text).map(({ line, number }) => {
    try {
      return parseIdentity(line);
    } catch {
      const what = foreignKind(line) ?? "not an age identity";
      throw malformedIdentity(`Line ${number} of the identity file is ${what}.`);
    }
  });
  if (first === undefined) throw malformedIdentity("The identity file holds no identity.");
  return [first, ...rest];
}

/**
 * Reads a recipients file: comments (`#`), empty lines, one recipient a line.
 * @throws {CloisterError} `SEALED_RECIPIENT_MALFORMED` naming the line.
 */
export function parseRecipientFile(text: string): [Recipient, ...Recipient[]] {
  const [first, ...rest] = keyLines(text).map(({ line, number }) => {
    try {
      return parseRecipient(line);
    } catch (cause) {
      const what = foreignKind(line) ?? "not an age recipient";
      throw malformedRecipient(`Line ${number} of the recipients file is ${what}.`, cause);
    }
  });
  if (first === undefined) throw malformedRecipient("The recipients file holds no recipient.");
  return [first, ...rest];
}

/** Writes an identity file as age-keygen does. `createdAt` is an RFC 3339 time. */
export function formatIdentityFile(identity: KeyIdentity, createdAt: string): string {
  return `# created: ${createdAt}\n# public key: ${identity.recipient.text}\n${identity.text}\n`;
}

function keyLines(text: string): { line: string; number: number }[] {
  const lines = text.split(/\r?\n/);
  if (lines.length > LINES_MAX) throw malformedIdentity(`The file has more than ${LINES_MAX} lines.`);
  return lines
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => line !== "" && !line.startsWith("#"));
}

/** What stock age takes and we do not: keys that were made for something else, and programs that hold them. */
function foreignKind(line: string): string | undefined {
  if (/^(ssh-|ecdsa-|sk-|-----BEGIN )/.test(line)) return "an SSH key, which is not taken here";
  if (line.startsWith("AGE-PLUGIN-") || decodeBech32(line)?.prefix.startsWith("age1"))
    return "for a plugin of age, and plugins are not taken here";
  return undefined;
}

function malformedRecipient(message: string, cause?: unknown): Error {
  return sealedError("SEALED_RECIPIENT_MALFORMED", message, {
    hint: "A recipient is the age1… line that `cloister keygen` or `age-keygen` prints; mind the whole line and its case.",
    cause,
  });
}

function malformedIdentity(message: string): Error {
  return sealedError("SEALED_IDENTITY_MALFORMED", message, {
    hint: "An identity file holds AGE-SECRET-KEY-1… lines, as `cloister keygen` or `age-keygen` writes them.",
  });
}
