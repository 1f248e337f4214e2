import {
  assembleProof,
  decodeBlockHeader,
  decodeEndorsements,
  decodeEvidence,
  decodeProof,
  encodeLogEntry,
  verifyProof,
  type Receipt,
} from "@cloister/certification";
import type { TrustRoots } from "@cloister/attestation";
import { CloisterError, type Hex32 } from "@cloister/core";
import type { Chain } from "@cloister/market";
import type { OrderEnd } from "@cloister/workload";
import type { Cvm } from "./cvm.ts";

/** What a certification authority gave this node, with the endorsements that both evidences were judged by. */
export interface NodeCertificates {
  readonly authority: Uint8Array;
  readonly authorityEndorsements: Uint8Array;
  readonly certificate: Uint8Array;
  readonly certificateEndorsements: Uint8Array;
}

/** A proof, and the block that it rests on. */
export interface MadeProof {
  readonly bytes: Uint8Array;
  readonly block: number;
  readonly blockHash: Hex32;
}

export interface ProofPorts {
  readonly cvm: Cvm;
  readonly chain: Chain;
  readonly roots: TrustRoots;
  /** Proves a log entry against a checkpoint that the log's witnesses co-signed. */
  proveEntry(entry: Uint8Array): Promise<Receipt>;
}

/**
 * Puts together the proof of an order that this node settled, from what it kept and what the chain shows, and
 * verifies it as every reader will.
 * @throws {CloisterError} `PROOF_NOT_READY` while a piece is missing or the chain does not show the anchor yet.
 */
export async function makeProof(
  end: OrderEnd,
  certificates: NodeCertificates,
  { cvm, chain, roots, proveEntry }: ProofPorts,
): Promise<MadeProof> {
  const { evidence, endorsements, receipt } = end;
  if (evidence === undefined || endorsements === undefined || receipt === undefined) {
    throw notReady("the order ended without a report");
  }
  const { authority, certificate, authorityEndorsements, certificateEndorsements } = certificates;
  const distinct = [endorsements, authorityEndorsements, certificateEndorsements];
  const bytes = await assembleProof(
    {
      ...{ authority, certificate, report: end.statement },
      evidence: [decodeEvidence(evidence)],
      endorsements: distinct.map(decodeEndorsements),
      receipt: await proveEntry(encodeLogEntry({ kind: "order-report", statement: end.statement })),
      vouchWith: { identity: cvm.keys.identity, sign: cvm.sign },
    },
    {
      latestBlock: async () => {
        const block = await chain.header("latest");
        if (block === undefined) throw notReady("the chain has no block");
        return block;
      },
      stateProof: (address, slots, block) => chain.getProof(address, slots, block),
    },
  );
  const [refusal] = verifyProof(bytes, { roots: [roots] }).refusals;
  if (refusal !== undefined) throw notReady(refusal.reason);
  const { number, hash } = decodeBlockHeader(decodeProof(bytes).block.header);
  return { bytes, block: number, blockHash: hash };
}

function notReady(why: string): CloisterError {
  return new CloisterError("PROOF_NOT_READY", `The proof cannot be made yet: ${why}`);
}
