import {
  authoritySlot,
  encodeBlockHeader,
  encodeProof,
  measurementApprovalSlot,
  measurementIndexSlot,
  mergeNodes,
  reportAnchorSlot,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
  vouchBlock,
  type ProofParts,
} from "@cloister/certification";
import {
  CloisterError,
  decodeCanonical,
  fromHex,
  type Address,
  type Clock,
  type Digest,
  type Hex32,
  valueOf,
} from "@cloister/core";
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
  readonly clock: Clock;
}

/**
 * Puts together the proof of an order that this node settled, from what it kept and what the chain shows.
 * Every piece is checked by whoever reads the proof, so nobody needs to trust who made it.
 * @throws {CloisterError} `PROOF_NOT_READY` while a piece is missing.
 */
export async function makeProof(
  end: OrderEnd,
  certificates: NodeCertificates,
  { cvm, chain, clock }: ProofPorts,
): Promise<MadeProof> {
  const { evidence, endorsements, receipt } = end;
  if (evidence === undefined || endorsements === undefined || receipt === undefined) {
    throw notReady("the order ended without a report");
  }
  const header = await chain.header("latest");
  if (header === undefined) throw notReady("the chain has no block");
  const blockHash = header["hash"] as Hex32;
  const block = Number(header["number"]);
  const slots = slotsOf(certificates, clock.nowMs());
  const nodes = await proofNodes(chain, block, reportAnchorSlot(end.orderId), slots);
  const report = { chainId: chain.deployment.chainId, blockHash, report: end.statementDigest };
  const { authority, certificate, authorityEndorsements, certificateEndorsements } = certificates;
  const parts: ProofParts = {
    authority,
    certificate,
    report: end.statement,
    evidence: [evidence],
    endorsements: [endorsements, authorityEndorsements, certificateEndorsements],
    log: decodeCanonical(receipt) as unknown as ProofParts["log"],
    block: {
      header: encodeBlockHeader(header),
      nodes,
      vouch: vouchBlock(report, { identity: cvm.keys.identity, sign: cvm.sign }),
    },
  };
  return { bytes: encodeProof(parts), block, blockHash };
}

interface RegistrySlots {
  readonly signers: readonly Address[];
  readonly measurements: readonly Digest[];
}

/** Whose approval in the registry the proof has to show. */
function slotsOf(certificates: NodeCertificates, nowMs: number): RegistrySlots {
  const authority = valueOf(verifyAuthorityCertificate(certificates.authority, { nowMs }));
  const options = { authorityKey: authority.key, nowMs };
  const node = valueOf(verifyNodeCertificate(certificates.certificate, options));
  const measurements = new Set([authority.statement.measurement, node.statement.measurement]);
  return {
    signers: authority.statement.members.map(({ signer }) => signer),
    measurements: [...measurements],
  };
}

/** Nodes of the state and storage tries: the report's anchor, and the approvals in the registry. */
async function proofNodes(
  chain: Chain,
  block: number,
  anchor: Hex32,
  { signers, measurements }: RegistrySlots,
): Promise<Uint8Array[]> {
  const { market, registry } = chain.deployment;
  const anchored = await chain.getProof(market, [anchor], block);
  if (BigInt(anchored.storageProof[0]?.value ?? "0x0") < 3n)
    throw notReady("the chain does not show the report");
  const indexes = await chain.getProof(
    registry,
    measurements.map((one) => measurementIndexSlot(one)),
    block,
  );
  const approvals = indexes.storageProof.map(({ value }) => measurementApprovalSlot(Number(BigInt(value))));
  const slots = [...signers.map((signer) => authoritySlot(signer)), ...approvals];
  const approved = await chain.getProof(registry, slots, block);
  const proofs = [anchored, indexes, approved];
  const lists = proofs.flatMap(({ accountProof, storageProof }) => [
    accountProof,
    ...storageProof.map(({ proof }) => proof),
  ]);
  return mergeNodes(lists.map((nodes) => nodes.map(fromHex)));
}

function notReady(why: string): CloisterError {
  return new CloisterError("PROOF_NOT_READY", `The proof cannot be made yet: ${why}.`);
}
