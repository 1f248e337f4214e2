import { simulationRoots, vendorRoots } from "@cloister/attestation";
import { encodeCanonical, sha256 } from "@cloister/core";
import { verifyProof } from "../../src/index.ts";
import { forgeProof } from "../proof/forger.ts";

/** One changed byte of the body, with the file's own digest mended, as a forger would. */
export interface ProofCase {
  readonly name: string;
  readonly section: string;
  /** Offset into the body. */
  readonly at: number;
  readonly xor: number;
  readonly links: readonly string[];
  readonly code: string;
}

/** The body of a proof file: what stands between the four bytes of headers and the digest. */
export function bodyOf(proof: Uint8Array): Uint8Array {
  return proof.subarray(4, proof.length - 34);
}

export function changeProof(proof: Uint8Array, { at, xor }: Pick<ProofCase, "at" | "xor">): Uint8Array {
  const body = bodyOf(proof);
  const changed = body.with(at, (body[at] as number) ^ xor);
  return encodeCanonical([changed, sha256(changed)]);
}

/** One proof on a simulated TEE whose log was witnessed, and changes of one byte in each of its parts. */
export async function proofVectors(): Promise<{ proof: Uint8Array; cases: ProofCase[] }> {
  const { bytes, parts } = await forgeProof({ witnesses: ["a", "b", "c"], cosigners: ["a", "c"] });
  const body = bodyOf(bytes);
  const pieces: [string, Uint8Array, readonly number[]][] = [
    ["the authority's certificate", parts.authority, [3, 60, 900, 3000, -1]],
    ["the node's certificate", parts.certificate, [3, 60, 900, 3000, -1]],
    ["the report", parts.report, [2, 200, 700, -1]],
    ["the evidence", parts.evidence[0] as Uint8Array, [2, 100, 700, 2000, -1]],
    ["the endorsements", parts.endorsements[0] as Uint8Array, [2, 100, 2500, -1]],
    ["the inclusion path", parts.log.path[0] as Uint8Array, [0, -1]],
    ["the checkpoint with its witnesses", parts.log.checkpoint, [0, 20, 60, 180, 320, -2]],
    ["the block header", parts.block.header, [3, 100, 300, -1]],
    ["a trie node", parts.block.nodes[1] as Uint8Array, [3, 300, -1]],
    ["the node's word about the block", parts.block.vouch as Uint8Array, [3, 100, -1]],
  ];
  const cases = pieces.flatMap(([what, piece, offsets]) => {
    const start = find(body, piece);
    return offsets.map((offset) => caseAt(bytes, what, start, offset < 0 ? piece.length + offset : offset));
  });
  return { proof: bytes, cases };
}

function caseAt(proof: Uint8Array, what: string, start: number, offset: number): ProofCase {
  const change = { at: start + offset, xor: 1 };
  const result = verifyProof(changeProof(proof, change), { roots: [vendorRoots, simulationRoots] });
  const links = result.links.filter((link) => !link.ok).map((link) => link.id);
  return {
    name: `byte ${offset} of ${what}`,
    section: "§3",
    ...change,
    links,
    code: result.refusals[0]?.code ?? "",
  };
}

function find(body: Uint8Array, piece: Uint8Array): number {
  return Buffer.from(body).indexOf(Buffer.from(piece));
}
