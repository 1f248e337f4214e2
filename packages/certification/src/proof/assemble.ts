import type { Endorsements, Evidence } from "@cloister/attestation";
import { CloisterError, fromHex, type Address, type Digest, type Hex32, type Verdict } from "@cloister/core";
import { encodeEndorsements, encodeEvidence } from "../certificates/cmw.ts";
import { verifyAuthorityCertificate, verifyNodeCertificate } from "../certificates/verify.ts";
import { decodeBlockHeader, encodeBlockHeader } from "../chain/block.ts";
import {
  authoritySlot,
  CHAIN_LAYOUT,
  measurementApprovalSlot,
  measurementIndexSlot,
  reportAnchorSlot,
  type ChainLayout,
} from "../chain/layout.ts";
import { mergeNodes } from "../chain/trie.ts";
import type { Receipt } from "../log/log.ts";
import { withCosignaturesOf } from "../log/note.ts";
import { witnessKeyOf } from "../log/witness.ts";
import { openOrderReport } from "../reports/codec.ts";
import { encodeProof } from "./file.ts";
import { vouchBlock } from "./vouch.ts";

/** What `eth_getProof` answers. */
export interface StateProof {
  readonly accountProof: readonly string[];
  readonly storageProof: readonly { readonly value: string; readonly proof: readonly string[] }[];
}

/** The two questions that a proof asks a chain's server; no answer of it is trusted. */
export interface ProofChain {
  /** `eth_getBlockByNumber("latest", false)`: the block must already hold the report's anchor. */
  latestBlock(): Promise<Readonly<Record<string, unknown>>>;
  /** `eth_getProof(address, slots, blockNumber)` */
  stateProof(address: Address, slots: readonly Hex32[], blockNumber: number): Promise<StateProof>;
}

/** What a proof is put together from; the chain gives the rest. */
export interface ProofPieces {
  /** DER */
  readonly authority: Uint8Array;
  /** DER */
  readonly certificate: Uint8Array;
  /** The signed order report. */
  readonly report: Uint8Array;
  /** In the sequence of the report's. */
  readonly evidence: readonly Evidence[];
  /** All that the report and both certificates name; one that several name may be given once. */
  readonly endorsements: readonly Endorsements[];
  readonly receipt: Receipt;
  /** The node's own key, when the node itself puts the proof together: it then vouches for the block. */
  readonly vouchWith?: { readonly identity: Uint8Array; readonly sign: (message: Uint8Array) => Uint8Array };
  readonly layout?: ChainLayout;
}

/**
 * Puts a proof file together. It is not verified here: call `verifyProof` on the result.
 * @throws {CloisterError} the code of the piece that cannot be read
 */
export async function assembleProof(pieces: ProofPieces, chain: ProofChain): Promise<Uint8Array> {
  const layout = pieces.layout ?? CHAIN_LAYOUT;
  const { report, digest } = openOrderReport(pieces.report);
  const { integrity } = report;
  const nowMs = report.wipe.wipedAtMs;
  const authority = opened(verifyAuthorityCertificate(pieces.authority, { nowMs }));
  const node = opened(verifyNodeCertificate(pieces.certificate, { nowMs, authorityKey: authority.key }));
  const header = encodeBlockHeader(await chain.latestBlock());
  const { number, hash } = decodeBlockHeader(header);
  const measurements = new Set<Digest>([
    report.evidence[0].measurement,
    node.statement.measurement,
    authority.statement.measurement,
  ]);
  const { registry } = authority.statement;
  const indexSlots = [...measurements].map((measurement) => measurementIndexSlot(measurement, layout));
  const signerSlots = authority.evidence.map(({ member }) => authoritySlot(member.signer, layout));
  const indexes = await chain.stateProof(registry, [...indexSlots, ...signerSlots], number);
  const found = indexes.storageProof.slice(0, indexSlots.length).map(({ value }) => Number(BigInt(value)));
  const approvalSlots = found
    .filter((index) => index > 0)
    .map((index) => measurementApprovalSlot(index, layout));
  const approvals = await chain.stateProof(registry, approvalSlots, number);
  const anchor = await chain.stateProof(
    integrity.contract,
    [reportAnchorSlot(integrity.orderId, layout)],
    number,
  );
  const nodes = mergeNodes([indexes, approvals, anchor].flatMap(nodesOf));
  const { vouchWith } = pieces;
  const witnesses = (authority.statement.log.witnesses?.members ?? []).map(witnessKeyOf);
  const vouch = { chainId: integrity.chainId, blockHash: hash, report: digest };
  return encodeProof({
    authority: pieces.authority,
    certificate: pieces.certificate,
    report: pieces.report,
    evidence: pieces.evidence.map(encodeEvidence),
    endorsements: pieces.endorsements.map(encodeEndorsements),
    log: { ...pieces.receipt, checkpoint: withCosignaturesOf(pieces.receipt.checkpoint, witnesses) },
    block:
      vouchWith === undefined ? { header, nodes } : { header, nodes, vouch: vouchBlock(vouch, vouchWith) },
  });
}

function nodesOf(proof: StateProof): Uint8Array[][] {
  return [proof.accountProof, ...proof.storageProof.map((slot) => slot.proof)].map((nodes) =>
    nodes.map(fromHex),
  );
}

function opened<T>(verdict: Verdict<T>): T {
  if (!verdict.ok) throw CloisterError.fromRefusals(verdict.refusals);
  return verdict.value;
}
