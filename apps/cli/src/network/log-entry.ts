/** What stands in a log entry, in words, and whom it is about. */
import { basicConstraintsOf, parseCertificate, parseCrl } from "@cloister/attestation";
import {
  nodeKeysDigest,
  openOrderReport,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
  type LogEntry,
} from "@cloister/certification";
import { codeOf, decodeCanonical, digestOf, openSign1, toHex, type Digest } from "@cloister/core";
import { openOrderRefusal } from "@cloister/workload";

/** One entry as people read it. What its signer says is shown, not judged, unless `problem` says otherwise. */
export interface EntryView {
  readonly kind: LogEntry["kind"] | "unknown";
  /** One sentence. */
  readonly what: string;
  readonly atMs?: number;
  /** Why the statement does not hold, where that can be told from the log alone. */
  readonly problem?: string;
  readonly statement: Readonly<Record<string, unknown>>;
  /** Everything by which it can be found: addresses, ids, digests, keys, in lower case. */
  readonly mentions: readonly string[];
  /** Of a node's certificate: the node, and the digest of all keys that it certifies for it. */
  readonly certifies?: { readonly node: string; readonly keysDigest: Digest };
}

/** Tells whether an entry is about something, named by its id, digest, address or key or a beginning of it. */
export function isAbout(view: EntryView, subject: string): boolean {
  return view.mentions.some((mention) => mention.startsWith(subject.toLowerCase()));
}

/** Reads one entry. Never throws on what the entry holds. */
export function viewEntry(entry: LogEntry | undefined, authorityKey?: Uint8Array): EntryView {
  if (entry === undefined) {
    return { kind: "unknown", what: "Of no kind that this version knows.", statement: {}, mentions: [] };
  }
  try {
    const view = READERS[entry.kind](entry.statement, authorityKey);
    return { kind: entry.kind, ...view, mentions: mentionsIn(view.statement) };
  } catch (error) {
    const problem = `It cannot be read (${codeOf(error)}): ${(error as Error).message}`;
    return { kind: entry.kind, what: "Damaged.", problem, statement: {}, mentions: [] };
  }
}

type View = Omit<EntryView, "kind" | "mentions">;
type Reader = (statement: Uint8Array, authorityKey?: Uint8Array) => View;

const READERS: Readonly<Record<LogEntry["kind"], Reader>> = {
  certificate: readCertificate,
  "order-report": readReport,
  "order-refusal": readRefusal,
  "key-release": readRelease,
  revocation: readRevocation,
  "key-group": readGroup,
};

function readCertificate(der: Uint8Array, authorityKey?: Uint8Array): View {
  const certificate = parseCertificate(der);
  const { subjectCommonName: name, serial, notBeforeMs, notAfterMs, publicKey } = certificate;
  const facts = {
    digest: digestOf(der),
    ...{ name, serial, identity: toHex(publicKey.raw) },
    notBefore: time(notBeforeMs),
    notAfter: time(notAfterMs),
  };
  if (basicConstraintsOf(certificate).isAuthority) {
    const verdict = verifyAuthorityCertificate(der, { nowMs: notBeforeMs });
    if (!verdict.ok) return { ...damaged(verdict.refusals), statement: facts, atMs: notBeforeMs };
    const { statement } = verdict.value;
    const what = `Certificate of the authority: ${statement.threshold} of ${statement.members.length} members sign.`;
    return { what, atMs: notBeforeMs, statement: { ...facts, ...statement } };
  }
  if (authorityKey === undefined) {
    return { what: `Certificate for ${name}.`, atMs: notBeforeMs, statement: facts };
  }
  const verdict = verifyNodeCertificate(der, { authorityKey, nowMs: notBeforeMs });
  if (!verdict.ok) return { ...damaged(verdict.refusals), statement: facts, atMs: notBeforeMs };
  const { statement, keys } = verdict.value;
  return {
    what: `Certificate for node ${statement.settlement}, good until ${time(notAfterMs)}.`,
    atMs: notBeforeMs,
    statement: { ...facts, ...statement },
    certifies: { node: statement.settlement, keysDigest: nodeKeysDigest(keys) },
  };
}

function damaged(refusals: readonly { readonly reason: string }[]): { what: string; problem: string } {
  return { what: "Certificate that does not hold.", problem: refusals.map(({ reason }) => reason).join(" ") };
}

function readReport(bytes: Uint8Array): View {
  const { report, digest, kid } = openOrderReport(bytes);
  const { integrity, exit, outputs } = report;
  const ended = exit.code === 0 ? `${outputs.length} outputs` : `exit code ${exit.code} (${exit.reason})`;
  return {
    what: `Node ${integrity.node} ran order ${integrity.orderId}: ${ended}.`,
    atMs: report.endedAtMs,
    statement: { digest, signedBy: digestOfKey(kid), ...report },
  };
}

function readRefusal(bytes: Uint8Array): View {
  const { refusal, digest, kid } = openOrderRefusal(bytes);
  return {
    what: `Node ${refusal.node} refused order ${refusal.orderId}: ${refusal.refusals.map(({ code }) => code).join(", ")}.`,
    atMs: refusal.refusedAtMs,
    statement: { digest, signedBy: digestOfKey(kid), ...refusal },
  };
}

function readRelease(bytes: Uint8Array): View {
  const { payload, kid } = openSign1(bytes);
  const statement = recordOf(payload);
  const { to, orderId, offerId, atMs } = statement;
  return {
    what: `A member gave node ${String(to)} its part of the key of offer ${String(offerId)} for order ${String(orderId)}.`,
    ...(typeof atMs === "number" ? { atMs } : {}),
    statement: { digest: digestOf(bytes), signedBy: digestOfKey(kid), ...statement },
  };
}

function readRevocation(der: Uint8Array): View {
  const { revoked, thisUpdateMs, nextUpdateMs } = parseCrl(der);
  return {
    what: `Revocation list: ${revoked.size} certificates.`,
    atMs: thisUpdateMs,
    statement: {
      digest: digestOf(der),
      serials: [...revoked.keys()],
      nextUpdate: nextUpdateMs === undefined ? undefined : time(nextUpdateMs),
    },
  };
}

function readGroup(bytes: Uint8Array): View {
  const { payload, kid } = openSign1(bytes);
  const statement = recordOf(payload);
  return {
    what: "A member's word about a group's key.",
    statement: { digest: digestOf(bytes), signedBy: digestOfKey(kid), ...statement },
  };
}

function recordOf(payload: Uint8Array): Record<string, unknown> {
  const document = decodeCanonical(payload);
  const isRecord = typeof document === "object" && document !== null && !Array.isArray(document);
  return isRecord && !(document instanceof Uint8Array) ? { ...document } : {};
}

/** A COSE key id is the SHA-256 of the signer's identity key. */
function digestOfKey(kid: Uint8Array): string {
  return `sha256:${toHex(kid)}`;
}

/** Every id, digest, address and key anywhere in a statement. */
function mentionsIn(value: unknown): string[] {
  if (typeof value === "string") return /^(0x|sha256:)?[0-9a-f]{16,}$|^age1/.test(value) ? [value] : [];
  if (value instanceof Uint8Array) return [toHex(value), `0x${toHex(value)}`];
  if (typeof value !== "object" || value === null) return [];
  return [...new Set(Object.values(value).flatMap(mentionsIn))];
}

function time(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
