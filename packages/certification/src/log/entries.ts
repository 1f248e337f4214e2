import { encodeCanonical } from "@cloister/core";
import { Shape } from "../shape.ts";

/** What the log holds: one statement of one kind, as it was signed. */
export interface LogEntry {
  readonly kind:
    | "certificate"
    | "order-report"
    | "order-refusal"
    | "key-release"
    | "revocation"
    | "key-group";
  /** DER of a certificate or revocation list; COSE_Sign1 of everything else. */
  readonly statement: Uint8Array;
}

const KINDS = /^(certificate|order-report|order-refusal|key-release|revocation|key-group)$/;
const shape = new Shape("LOG_ENTRY_MALFORMED", "log entry");

/** Encodes an entry canonically; the leaf hashes these bytes. @throws {CloisterError} `LOG_ENTRY_MALFORMED` */
export function encodeLogEntry(entry: LogEntry): Uint8Array {
  return encodeCanonical([shape.text(entry.kind, "kind", 20, KINDS), entry.statement]);
}

/** Decodes an entry. @throws {CloisterError} `LOG_ENTRY_MALFORMED` */
export function decodeLogEntry(bytes: Uint8Array): LogEntry {
  const parts = shape.list(shape.decode(bytes, 65_535), "", 2, (part) => part);
  const kind = shape.text(parts[0], "kind", 20, KINDS) as LogEntry["kind"];
  return { kind, statement: shape.bytes(parts[1], "statement", 65_535) };
}
