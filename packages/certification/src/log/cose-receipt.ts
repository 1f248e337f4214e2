import { ed25519Verify, encodeCanonical, equalBytes, sha256 } from "@cloister/core";
import { Shape } from "../shape.ts";
import { leafHash, rootFromInclusion } from "./merkle.ts";
import type { Signer } from "./note.ts";

/** Header parameters of receipts: the tree's algorithm, and the proofs. RFC 9942 §2, §4 */
const HEADER_ALG = 1;
const HEADER_KID = 4;
const HEADER_VDS = 395;
const HEADER_VDP = 396;
const ALG_EDDSA = -8;
const VDS_RFC9162_SHA256 = 1;
const PROOF_INCLUSION = -1;
const RECEIPT_BYTES_MAX = 4096;
const shape = new Shape("RECEIPT_MALFORMED", "COSE receipt");

/** Where an entry stands in a tree, with what proves it. */
export interface Inclusion {
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
}

/**
 * Makes a COSE receipt of inclusion: a COSE_Sign1 whose payload is the tree's root and is left out, for
 * the reader computes it from the entry. It stands on its own where no checkpoint is at hand.
 */
export function makeCoseReceipt(
  entry: Uint8Array,
  inclusion: Inclusion,
  log: { readonly key: Uint8Array; readonly sign: Signer },
): Uint8Array {
  const root = rootFromInclusion(leafHash(entry), inclusion.index, inclusion.size, inclusion.path);
  if (root === undefined) throw shape.wrong("", "the path does not lead from this entry to a root");
  const header = encodeCanonical(
    new Map<number, unknown>([
      [HEADER_ALG, ALG_EDDSA],
      [HEADER_KID, sha256(log.key)],
      [HEADER_VDS, VDS_RFC9162_SHA256],
    ]),
  );
  const proof = encodeCanonical([inclusion.size, inclusion.index, inclusion.path]);
  const unprotected = new Map([[HEADER_VDP, new Map([[PROOF_INCLUSION, [proof]]])]]);
  return encodeCanonical([header, unprotected, null, log.sign(toBeSigned(header, root))]);
}

/**
 * Tells whether the receipt's log vouches that the entry is in its tree. The signature covers the root
 * alone: index and size in a receipt only say how to compute it, and prove nothing (a checkpoint does).
 * @throws {CloisterError} `RECEIPT_MALFORMED`
 */
export function verifyCoseReceipt(bytes: Uint8Array, entry: Uint8Array, logKey: Uint8Array): boolean {
  const [protectedHeader, unprotected, payload, signature] = shape.list(
    shape.decode(bytes, RECEIPT_BYTES_MAX),
    "",
    4,
    (part) => part,
  );
  const header = shape.bytes(protectedHeader, "protected", 256);
  const fields = shape.decode(header, 256);
  const kid = fields instanceof Map ? (fields as Map<number, unknown>).get(HEADER_KID) : undefined;
  const ours =
    fields instanceof Map &&
    fields.size === 3 &&
    fields.get(HEADER_ALG) === ALG_EDDSA &&
    fields.get(HEADER_VDS) === VDS_RFC9162_SHA256;
  shape.check(ours, "protected", "it is not of an RFC 9162 log that signs with Ed25519");
  shape.check(payload === null, "payload", "it is not left out");
  const inclusion = readProof(unprotected);
  const root = rootFromInclusion(leafHash(entry), inclusion.index, inclusion.size, inclusion.path);
  if (root === undefined || !(kid instanceof Uint8Array) || !equalBytes(kid, sha256(logKey))) return false;
  return ed25519Verify(logKey, toBeSigned(header, root), shape.fixed(signature, "signature", 64));
}

function readProof(unprotected: unknown): Inclusion {
  const proofs =
    unprotected instanceof Map && unprotected.size === 1 ? unprotected.get(HEADER_VDP) : undefined;
  const list: unknown = proofs instanceof Map && proofs.size === 1 ? proofs.get(PROOF_INCLUSION) : undefined;
  const [proof] = shape.list(list, "proofs", 1, (item, path) => shape.bytes(item, path, 2048));
  if (proof === undefined) throw shape.wrong("proofs", "there is none");
  const [size, index, path] = shape.list(shape.decode(proof, 2048), "proof", 3, (part) => part);
  return {
    size: shape.count(size, "proof[0]"),
    index: shape.count(index, "proof[1]"),
    path: shape.list(path, "proof[2]", 53, (hash, where) => shape.fixed(hash, where, 32)),
  };
}

function toBeSigned(header: Uint8Array, root: Uint8Array): Uint8Array {
  return encodeCanonical(["Signature1", header, new Uint8Array(0), root]);
}
