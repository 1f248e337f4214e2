import { digestOf, encodeCanonical, equalBytes, sha256, type Digest } from "@cloister/core";
import { Shape } from "../shape.ts";

/** Version 2 added the witnesses' signatures on the log's checkpoint. */
export type ProofFormat = "cloister-proof/1" | "cloister-proof/2";

/** Everything that one proof holds, as bytes; nothing in it was judged yet. spec/proof-file.md §2 */
export interface ProofParts {
  /** Version 2 where it is not said. */
  readonly format?: ProofFormat | undefined;
  /** DER of the certification authority's certificate. */
  readonly authority: Uint8Array;
  /** DER of the node's certificate. */
  readonly certificate: Uint8Array;
  /** The signed order report, COSE_Sign1. */
  readonly report: Uint8Array;
  /** Canonical evidence, in the sequence of the report's. */
  readonly evidence: readonly Uint8Array[];
  /** Canonical endorsements, each once, sorted by digest. */
  readonly endorsements: readonly Uint8Array[];
  readonly log: {
    readonly index: number;
    readonly path: readonly Uint8Array[];
    /** C2SP checkpoint, signed by the log and, from version 2 on, by its witnesses. */
    readonly checkpoint: Uint8Array;
  };
  readonly block: {
    /** RLP of the header. */
    readonly header: Uint8Array;
    /** Nodes of the state and storage tries, each once, sorted by hash. */
    readonly nodes: readonly Uint8Array[];
    /** The node's signed word that it saw this block, COSE_Sign1. */
    readonly vouch?: Uint8Array | undefined;
  };
}

/** What is written. What was written before goes on to be read. */
const FORMAT: ProofFormat = "cloister-proof/2";
/** The largest proof that is read. What we write is at most a quarter of it. */
export const PROOF_BYTES_MAX = 262_144;
const EVIDENCE_MAX = 9;
const ENDORSEMENTS_MAX = 16;
const NODES_MAX = 512;
const PATH_MAX = 53;
const FORMATS = /^cloister-proof\/[12]$/;
const shape = new Shape("PROOF_MALFORMED", "proof file");

/** Encodes a proof canonically and closes it with its own digest. @throws {CloisterError} `PROOF_MALFORMED` */
export function encodeProof(parts: ProofParts): Uint8Array {
  const endorsements = byDigest(parts.endorsements);
  const document = { ...parts, format: parts.format ?? FORMAT, endorsements };
  const body = encodeCanonical(document);
  const proof = encodeCanonical([body, sha256(body)]);
  decodeProof(proof);
  return proof;
}

/**
 * Decodes a proof. Its digest tells damage from forgery: a file that was damaged says so before
 * anything else is said about it.
 * @throws {CloisterError} `PROOF_MALFORMED`
 */
export function decodeProof(bytes: Uint8Array): ProofParts {
  const [body, digest, ...rest] = shape.list(shape.decode(bytes, PROOF_BYTES_MAX), "", 2, (item, path) =>
    shape.bytes(item, path, PROOF_BYTES_MAX),
  );
  if (body === undefined || digest === undefined || rest.length > 0)
    throw shape.wrong("", "it is not a pair");
  shape.check(
    equalBytes(sha256(body), digest),
    "",
    "it was damaged: it does not have the digest it ends with",
  );
  const names = ["format", "authority", "certificate", "report", "evidence", "endorsements", "log", "block"];
  const document = shape.record(shape.decode(body, PROOF_BYTES_MAX), "", names);
  const log = shape.record(document.log, "log", ["index", "path", "checkpoint"]);
  const block = shape.record(document.block, "block", ["header", "nodes"], ["vouch"]);
  const piece = (value: unknown, path: string): Uint8Array => shape.bytes(value, path, PROOF_BYTES_MAX);
  const endorsements = shape.list(document.endorsements, "endorsements", ENDORSEMENTS_MAX, piece);
  shape.check(isSorted(endorsements), "endorsements", "they are not sorted, or one is there twice");
  return {
    format: shape.text(document.format, "format", 16, FORMATS) as ProofFormat,
    authority: piece(document.authority, "authority"),
    certificate: piece(document.certificate, "certificate"),
    report: piece(document.report, "report"),
    evidence: shape.list(document.evidence, "evidence", EVIDENCE_MAX, piece),
    endorsements,
    log: {
      index: shape.count(log.index, "log.index"),
      path: shape.list(log.path, "log.path", PATH_MAX, (hash, path) => shape.fixed(hash, path, 32)),
      checkpoint: piece(log.checkpoint, "log.checkpoint"),
    },
    block: {
      header: piece(block.header, "block.header"),
      nodes: shape.list(block.nodes, "block.nodes", NODES_MAX, piece),
      ...(block.vouch === undefined ? {} : { vouch: piece(block.vouch, "block.vouch") }),
    },
  };
}

function byDigest(pieces: readonly Uint8Array[]): Uint8Array[] {
  const known = new Map<Digest, Uint8Array>(pieces.map((piece) => [digestOf(piece), piece]));
  return [...known].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, piece]) => piece);
}

function isSorted(pieces: readonly Uint8Array[]): boolean {
  const digests = pieces.map(digestOf);
  return digests.every((digest, i) => i === 0 || (digests[i - 1] as Digest) < digest);
}
