import {
  appraise,
  bindReportData,
  vendorRoots,
  verify,
  type AppraisalPolicy,
  type Claims,
  type Evidence,
  type TcbStatus,
  type TrustRoots,
} from "@cloister/attestation";
import {
  CloisterError,
  codeOf,
  digestBytes,
  digestOf,
  fromHex,
  type Address,
  type Digest,
  type Hex32,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { decodeEndorsements, decodeEvidence } from "../certificates/cmw.ts";
import { verifyAuthorityCertificate, verifyNodeCertificate } from "../certificates/verify.ts";
import type { AuthorityCertificate, NodeCertificate, Realm } from "../certificates/types.ts";
import { CERTIFICATE_SKEW_MS } from "../certificates/issue.ts";
import { decodeBlockHeader, proveAccount, proveSlot, type BlockHeader } from "../chain/block.ts";
import {
  authoritySlot,
  CHAIN_LAYOUT,
  isInForce,
  measurementApprovalSlot,
  measurementIndexSlot,
  reportAnchorSlot,
  reportAnchorWord,
  type ChainLayout,
} from "../chain/layout.ts";
import { TrieNodes } from "../chain/trie.ts";
import { encodeLogEntry } from "../log/entries.ts";
import { judgeInclusion, leafHash } from "../log/merkle.ts";
import { parseCheckpoint, verifyCheckpoint } from "../log/note.ts";
import { cosignaturesOf, judgeWitnessed, type Cosignature } from "../log/witness.ts";
import { integrityDigest, openOrderReport, verifyOrderReport } from "../reports/codec.ts";
import type { OrderReport, SignedOrderReport } from "../reports/types.ts";
import { decodeProof, type ProofParts } from "./file.ts";
import { openVouch } from "./vouch.ts";

/** Clocks of nodes and of block producers differ. */
const CLOCK_TOLERANCE_MS = 15 * 60_000;
/** Statuses under which a vendor still vouches for the platform; what is left to do is the software's part. */
const TCB_STATUSES: readonly TcbStatus[] = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
];

/** What a reader brings along; everything else is in the file. */
export interface ProofOptions {
  /** Trust anchors. Default: the vendors'. Simulated ones must be named to be accepted. */
  readonly roots?: readonly TrustRoots[] | undefined;
  /** When given, nothing in the proof may lie in its future. */
  readonly nowMs?: number | undefined;
  /** Digest of a result in the reader's hands, plain or sealed; it must be one that the report names. */
  readonly outputDigest?: Digest | undefined;
  /** The deployment that the reader knows; without it, compare the one that the result names. */
  readonly realm?: Realm | undefined;
  /** A block hash that the reader got from the chain. */
  readonly blockHash?: Hex32 | undefined;
  readonly tcbStatuses?: readonly TcbStatus[] | undefined;
  /** How many witnesses the reader asks for, where that is more than the authority does. */
  readonly witnessesMin?: number | undefined;
  readonly layout?: ChainLayout | undefined;
}

/** The links of the chain of reasons, from the maker of the processor to the digest of the output. */
export type ProofLinkId =
  | "file"
  | "hardware"
  | "measurement"
  | "authority"
  | "certificate"
  | "report"
  | "log"
  | "anchor"
  | "block"
  | "output"
  | "whole";

/** One step of the argument, in words. */
export interface ProofLink {
  readonly id: ProofLinkId;
  /** What this link shows, when it holds. */
  readonly title: string;
  readonly ok: boolean;
  /** What was found, with the digests that a reader can compare; or why the link does not hold. */
  readonly detail: string;
}

/** What a proof proves, link by link. */
export interface ProofResult {
  /** True when every link holds. */
  readonly verified: boolean;
  /** True when any of it rests on a simulated TEE: then it proves nothing about hardware. */
  readonly simulated: boolean;
  readonly links: readonly ProofLink[];
  readonly refusals: readonly Refusal[];
  /** What nobody can know from the file alone, as sentences. */
  readonly unknown: readonly string[];
  readonly report: OrderReport | undefined;
  /** The nodes that co-signed the log's checkpoint, each by its own clock. */
  readonly witnesses: readonly Cosignature[];
  readonly block: { readonly hash: Hex32; readonly number: number; readonly timestampMs: number } | undefined;
}

const TITLES: Readonly<Record<ProofLinkId, string>> = {
  file: "The file is whole and is a proof of one order.",
  hardware: "The processor's maker vouches for the machine, and the machine for what it was about to run.",
  measurement: "The software in that machine is software that the builders had approved on the chain.",
  authority:
    "The certification authority's key was made inside approved machines and is approved on the chain.",
  certificate: "That authority certified the node's keys, on evidence from the node's own machine.",
  report: "The certified node signed what it ran, on what, and with which result.",
  log: "The report stands in the public log, where it cannot be taken back unnoticed.",
  anchor: "The chain's state holds the report's digest under this order, and so the order was paid by it.",
  block: "The state belongs to one block, whose hash is to be compared with the chain's.",
  output: "The result is the one that the report names.",
  whole: "Nothing in the file was left unchecked.",
};

/** What the link of the result shows to a reader who brought none. */
const NOT_COMPARED = "The report names what came out; no result was given to compare with it.";

/**
 * Verifies a proof file without asking anybody: from the silicon vendor's root key to the digest of the
 * output. Opens no socket, reads no clock. Never throws on what the file holds. spec/proof-file.md
 *
 * @example
 * const { verified, simulated, links } = verifyProof(bytes, { roots: [vendorRoots] });
 */
export function verifyProof(bytes: Uint8Array, options: ProofOptions = {}): ProofResult {
  const trail = new Trail();
  const opened = trail.link("file", () => openProof(bytes));
  if (opened === undefined) return trail.result(undefined);
  const proof = new Proof(opened, options);
  const authority = trail.link("authority", () => proof.authority());
  const node = trail.link("certificate", () => proof.certificate(authority));
  trail.link("hardware", () => proof.hardware());
  trail.link("measurement", () => proof.measurement());
  trail.link("report", () => proof.report(node));
  trail.link("log", () => proof.log(authority));
  trail.link("anchor", () => proof.anchor());
  trail.link("block", () => proof.block(node));
  trail.link("output", () => proof.output());
  trail.link("whole", () => proof.whole());
  return trail.result(proof);
}

/** What a link found: words for the reader, and what the links after it build on. */
interface Found<T> {
  /** Instead of the link's own title, where less was shown than that says. */
  readonly title?: string;
  readonly detail: string;
  readonly value: T;
}

/** Collects links. A link that fails does not stop the others, so that the reader sees all that is wrong. */
class Trail {
  readonly #links = new Map<ProofLinkId, ProofLink>();
  readonly #refusals: Refusal[] = [];

  link<T>(id: ProofLinkId, find: () => Found<T>): T | undefined {
    try {
      const { detail, value, title = TITLES[id] } = find();
      this.#links.set(id, { id, title, ok: true, detail });
      return value;
    } catch (error) {
      const refusals = refusalsOf(error);
      this.#refusals.push(...refusals);
      const detail = refusals.map(({ reason }) => reason).join(" ");
      this.#links.set(id, { id, title: TITLES[id], ok: false, detail });
      return undefined;
    }
  }

  result(proof: Proof | undefined): ProofResult {
    const ids = Object.keys(TITLES) as ProofLinkId[];
    const links = ids.map((id) => this.#links.get(id) ?? unreached(id));
    return {
      verified: links.every((link) => link.ok),
      simulated: proof?.simulated ?? false,
      links,
      refusals: this.#refusals,
      unknown: proof === undefined ? [] : unknowable(proof),
      report: proof?.opened.signed.report,
      witnesses: proof?.witnesses ?? [],
      block: proof?.blockSummary,
    };
  }
}

interface Opened {
  readonly parts: ProofParts;
  readonly signed: SignedOrderReport;
  readonly header: BlockHeader;
  readonly nodes: TrieNodes;
}

function openProof(bytes: Uint8Array): Found<Opened> {
  const parts = decodeProof(bytes);
  const signed = openOrderReport(parts.report);
  const value = {
    parts,
    signed,
    header: decodeBlockHeader(parts.block.header),
    nodes: new TrieNodes(parts.block.nodes),
  };
  const { orderId, chainId } = signed.report.integrity;
  return { value, detail: `Proof of order ${orderId} on chain ${chainId}, ${bytes.length} bytes.` };
}

/** One opened proof and the reader's options; each method is one link. */
class Proof {
  readonly opened: Opened;
  readonly #options: ProofOptions;
  readonly #layout: ChainLayout;
  readonly #endorsements: ReadonlyMap<Digest, Uint8Array>;
  readonly #used = new Set<Digest>();
  /** Set by the authority's certificate; the node's certificate and the report are held to the same one. */
  #realm: Realm | undefined;
  /** The certified machine's hardware identity, once its certificate holds. */
  #machine: string | undefined;
  #simulated = false;
  #vouched = false;
  #witnesses: readonly Cosignature[] = [];

  constructor(opened: Opened, options: ProofOptions) {
    this.opened = opened;
    this.#options = options;
    this.#layout = options.layout ?? CHAIN_LAYOUT;
    this.#endorsements = new Map(opened.parts.endorsements.map((piece) => [digestOf(piece), piece]));
    this.#simulated = opened.signed.report.evidence.some((part) => part.simulated);
  }

  get simulated(): boolean {
    return this.#simulated;
  }

  get vouched(): boolean {
    return this.#vouched;
  }

  get witnesses(): readonly Cosignature[] {
    return this.#witnesses;
  }

  get blockSummary(): { hash: Hex32; number: number; timestampMs: number } {
    const { hash, number, timestampMs } = this.opened.header;
    return { hash, number, timestampMs };
  }

  get #report(): OrderReport {
    return this.opened.signed.report;
  }

  authority(): Found<AuthorityCertificate> {
    const { authority } = this.opened.parts;
    const atMs = this.#report.wipe.wipedAtMs;
    const certificate = accepted(
      verifyAuthorityCertificate(authority, { nowMs: atMs, realm: this.#options.realm }),
    );
    const { statement, evidence, notBeforeMs } = certificate;
    this.#realm = statement;
    for (const { member, evidence: one, reportData } of evidence) {
      const endorsements = member.endorsements as Digest;
      const expected = { measurement: statement.measurement, simulated: statement.simulated };
      this.#attest(one, endorsements, reportData, notBeforeMs + CERTIFICATE_SKEW_MS, expected);
      this.#requireInForce(
        this.#registry(authoritySlot(member.signer, this.#layout)),
        member.signer,
        "authority",
      );
    }
    this.#requireApproved(statement.measurement);
    const { length: size } = statement.members;
    const detail =
      `${evidence.length} of ${size} machines that hold shares of the key prove themselves; ` +
      `${statement.threshold} must act together to sign. Certificate ${digestOf(authority)}.`;
    return { value: certificate, detail };
  }

  certificate(authority: AuthorityCertificate | undefined): Found<NodeCertificate> {
    const { certificate: der } = this.opened.parts;
    const issuer = required(authority);
    // The report is signed when the wipe is done: a long run may outlive the certificate it began with.
    const options = { authorityKey: issuer.key, nowMs: this.#report.wipe.wipedAtMs, realm: issuer.statement };
    const certificate = accepted(verifyNodeCertificate(der, options));
    const { statement, evidence, reportData, notBeforeMs, notAfterMs } = certificate;
    const { measurement, simulated, tcbStatus } = statement;
    const expected = { measurement, simulated, tcbStatus };
    const issuedMs = notBeforeMs + CERTIFICATE_SKEW_MS;
    const claims = this.#attest(evidence, statement.endorsements, reportData, issuedMs, expected);
    this.#machine = claims.hardwareId;
    this.#requireApproved(measurement);
    if (simulated !== issuer.statement.simulated) {
      throw broken("PROOF_SIMULATION_MIXED", "Node and authority are not both simulated or both real.");
    }
    const detail = `Node ${statement.settlement}, certificate number ${certificate.serial}, good until ${day(notAfterMs)}.`;
    return { value: certificate, detail };
  }

  hardware(): Found<readonly Claims[]> {
    const { evidence: pieces } = this.opened.parts;
    const { integrity, evidence: parts } = this.#report;
    if (pieces.length !== parts.length) {
      throw broken("PROOF_EVIDENCE_MISMATCH", "The file does not hold the evidence that the report names.");
    }
    const digest = integrityDigest(integrity);
    const reportData = bindReportData("cloister/order/v1", fromHex(integrity.orderId), digestBytes(digest));
    const claims = parts.map((part, i) => {
      const piece = pieces[i] as Uint8Array;
      const evidence = decodeEvidence(piece);
      if (digestOf(piece) !== part.evidence || evidence.tee !== part.tee) {
        throw broken("PROOF_EVIDENCE_MISMATCH", `Evidence ${i + 1} is not the one that the report names.`);
      }
      return this.#attest(evidence, part.endorsements, reportData, integrity.preparedAtMs, part);
    });
    const [first] = claims;
    // Some kinds of evidence do not tell machines apart; then the identity is empty.
    const [machine, certified] = [first?.hardwareId ?? "", this.#machine ?? ""];
    if (machine !== "" && certified !== "" && machine !== certified) {
      throw broken(
        "PROOF_MACHINE_MISMATCH",
        "The order's evidence is of another machine than the certificate's.",
      );
    }
    const detail =
      `${first?.simulated === true ? "SIMULATED " : ""}${first?.tee} evidence chains up to the root key ` +
      `${first?.rootFingerprint}; the state of the platform was ${first?.tcb.status}; it binds the plan ${digest}.`;
    return { value: claims, detail };
  }

  measurement(): Found<null> {
    const measurements = new Set(this.#report.evidence.map((part) => part.measurement));
    const [measurement] = measurements;
    // Accelerators are approved with their vendor's own reference values, the CVM by the chain.
    this.#requireApproved(measurement as Digest);
    const { number } = this.opened.header;
    return { value: null, detail: `Measurement ${measurement} is approved in the state of block ${number}.` };
  }

  report(node: NodeCertificate | undefined): Found<null> {
    const { signed } = this.opened;
    const { keys, statement } = required(node);
    const { integrity, exit } = this.#report;
    if (!verifyOrderReport(signed, keys.identity)) {
      throw broken(
        "PROOF_REPORT_SIGNATURE_INVALID",
        "The report was not signed by the certified node's key.",
      );
    }
    if (integrity.node !== keys.settlement) {
      throw broken(
        "PROOF_NODE_MISMATCH",
        `The report names node ${integrity.node}, the certificate ${keys.settlement}.`,
      );
    }
    if (integrity.chainId !== statement.chainId || integrity.contract !== statement.contract) {
      throw broken("PROOF_REALM_MISMATCH", "Report and certificate belong to different contracts or chains.");
    }
    if (this.#simulatedDiffers(statement.simulated)) {
      throw broken("PROOF_SIMULATION_MIXED", "Simulated and real evidence are mixed in one proof.");
    }
    const inputs = integrity.inputs.map((input) => `${input.role} ${input.content}`).join(", ");
    const detail = `Report ${signed.digest}: ${inputs}; ended with ${exit.code} (${exit.reason}); wiped ${this.#report.wipe.wiped.join(", ")}.`;
    return { value: null, detail };
  }

  log(authority: AuthorityCertificate | undefined): Found<null> {
    const { origin, key, witnesses } = required(authority).statement.log;
    const { log, report, format } = this.opened.parts;
    const checkpoint = parseCheckpoint(log.checkpoint);
    const known = format === "cloister-proof/1" ? [] : (witnesses?.members ?? []);
    const found = cosignaturesOf(checkpoint, known);
    const signed = verifyCheckpoint(checkpoint, { name: origin, key });
    if (!signed || checkpoint.signatures.length !== 1 + found.length) {
      const reason = `The checkpoint is not signed by the log ${origin} and its witnesses alone.`;
      throw broken("PROOF_CHECKPOINT_INVALID", reason);
    }
    const due = Math.max(witnesses?.countMin ?? 0, this.#options.witnessesMin ?? 0);
    const missing = judgeWitnessed(found, due, origin);
    if (missing !== undefined) throw new ProofError([missing]);
    this.#requireTimes(found);
    this.#witnesses = found;
    const { size, root } = checkpoint.checkpoint;
    const leaf = leafHash(encodeLogEntry({ kind: "order-report", statement: report }));
    const refusals = judgeInclusion({ leaf, index: log.index, size, root, path: log.path });
    if (refusals.length > 0) throw new ProofError(refusals);
    const place = `Entry ${log.index} of ${size} in the log ${origin}.`;
    return { value: null, detail: `${place} ${witnessedBy(found, witnesses?.members.length ?? 0, due)}` };
  }

  /** Who co-signs a tree with the report in it does so after the report, and not in the reader's future. */
  #requireTimes(found: readonly Cosignature[]): void {
    const { nowMs = Number.POSITIVE_INFINITY } = this.#options;
    const { wipedAtMs } = this.#report.wipe;
    const wrong = found.find(
      ({ atMs }) => atMs + CLOCK_TOLERANCE_MS < wipedAtMs || atMs > nowMs + CLOCK_TOLERANCE_MS,
    );
    if (wrong === undefined) return;
    const reason = `The witness ${wrong.node} co-signed at ${day(wrong.atMs)}, which cannot be.`;
    throw broken("PROOF_TIME_MISMATCH", reason);
  }

  anchor(): Found<null> {
    const { orderId, contract } = this.#report.integrity;
    const { digest } = this.opened.signed;
    const word = this.#storage(contract, reportAnchorSlot(orderId, this.#layout));
    if (digestOf(word) !== digestOf(reportAnchorWord(orderId, digest))) {
      throw broken(
        "PROOF_ANCHOR_MISMATCH",
        `The contract ${contract} does not hold this report for order ${orderId}.`,
      );
    }
    return { value: null, detail: `Contract ${contract} holds report ${digest} for order ${orderId}.` };
  }

  block(node: NodeCertificate | undefined): Found<null> {
    const { header, parts, signed } = this.opened;
    const { blockHash, nowMs } = this.#options;
    const { wipe, integrity } = this.#report;
    if (blockHash !== undefined && blockHash !== header.hash) {
      throw broken("PROOF_BLOCK_MISMATCH", `The proof's block is ${header.hash}, not ${blockHash}.`);
    }
    if (header.timestampMs + CLOCK_TOLERANCE_MS < wipe.wipedAtMs) {
      throw broken("PROOF_TIME_MISMATCH", "The block is older than the report that it holds.");
    }
    if (nowMs !== undefined && header.timestampMs > nowMs + CLOCK_TOLERANCE_MS) {
      throw broken("PROOF_TIME_MISMATCH", "The block lies in the future.");
    }
    if (parts.block.vouch !== undefined) {
      const vouch = openVouch(parts.block.vouch, required(node).keys.identity);
      const same = vouch.blockHash === header.hash && vouch.report === signed.digest;
      if (!same || vouch.chainId !== integrity.chainId) {
        throw broken("PROOF_BLOCK_MISMATCH", "The node's word is about another block, chain or report.");
      }
      this.#vouched = true;
    }
    const detail = `Block ${header.number} of chain ${integrity.chainId}, ${day(header.timestampMs)}, hash ${header.hash}.`;
    return { value: null, detail };
  }

  output(): Found<null> {
    const { outputs } = this.#report;
    const { outputDigest } = this.#options;
    const known = outputs.some(({ content, sealed }) => outputDigest === content || outputDigest === sealed);
    if (outputDigest !== undefined && !known) {
      throw broken("PROOF_OUTPUT_MISMATCH", `The report names no output ${outputDigest}.`);
    }
    const list = outputs
      .map(({ name, content, sealed }) => `${name} ${content}, sealed as ${sealed}`)
      .join("; ");
    const detail = list === "" ? "The run failed and has no output." : `${list}.`;
    return outputDigest === undefined
      ? { value: null, detail, title: NOT_COMPARED }
      : { value: null, detail };
  }

  whole(): Found<null> {
    const left = [...this.#endorsements.keys()].filter((digest) => !this.#used.has(digest));
    if (left.length > 0 || !this.opened.nodes.allUsed) {
      throw broken("PROOF_SURPLUS", "The file holds something that no check needed.");
    }
    return { value: null, detail: "Every piece was used by a check." };
  }

  #simulatedDiffers(simulated: boolean): boolean {
    return this.#report.evidence.some((part) => part.simulated !== simulated);
  }

  /** Verifies and appraises evidence by the endorsements that a signed statement names, as of its time. */
  #attest(
    evidence: Evidence,
    endorsements: Digest,
    reportData: Uint8Array,
    nowMs: number,
    expected: { measurement: Digest; simulated: boolean; tcbStatus?: string },
  ): Claims {
    const piece = this.#endorsements.get(endorsements);
    if (piece === undefined) {
      throw broken("PROOF_ENDORSEMENTS_MISSING", `The endorsements ${endorsements} are not in the file.`);
    }
    this.#used.add(endorsements);
    this.#simulated ||= expected.simulated;
    const roots = this.#rootsFor(expected.simulated);
    const challenge = challengeFor(evidence, reportData);
    const claims = accepted(verify(evidence, decodeEndorsements(piece), { challenge, nowMs, roots }));
    const same = claims.measurement === expected.measurement && claims.simulated === expected.simulated;
    if (!same || (expected.tcbStatus !== undefined && claims.tcb.status !== expected.tcbStatus)) {
      throw broken("PROOF_EVIDENCE_MISMATCH", "The evidence does not say what the statement about it says.");
    }
    const result = appraise(
      claims,
      [{ measurement: expected.measurement }],
      this.#policy(evidence, expected.simulated),
    );
    if (result.status !== "affirming") throw new ProofError(result.refusals);
    return claims;
  }

  #rootsFor(simulated: boolean): TrustRoots {
    const roots = (this.#options.roots ?? [vendorRoots]).find((one) => one.simulated === simulated);
    if (roots !== undefined) return roots;
    throw simulated
      ? broken(
          "PROOF_SIMULATED",
          "The evidence is SIMULATED, and no simulated root is trusted here.",
          "Name the simulation's root to check a proof of a local network; it proves nothing about hardware.",
        )
      : broken(
          "PROOF_ROOTS_MISSING",
          "The evidence is of real hardware, and no vendor's root is trusted here.",
        );
  }

  #policy(evidence: Evidence, simulated: boolean): AppraisalPolicy {
    return {
      tees: [evidence.tee],
      tcbStatuses: this.#options.tcbStatuses ?? TCB_STATUSES,
      simulated: simulated ? "require" : "refuse",
    };
  }

  #requireApproved(measurement: Digest): void {
    const word = this.#registry(measurementIndexSlot(measurement, this.#layout));
    const index = new DataView(word.buffer, word.byteOffset, 32).getUint32(28);
    const approval = index === 0 ? word : this.#registry(measurementApprovalSlot(index, this.#layout));
    if (index === 0) {
      throw broken("MEASUREMENT_NOT_APPROVED", `The chain never approved the measurement ${measurement}.`);
    }
    this.#requireInForce(approval, measurement, "measurement");
  }

  #requireInForce(word: Uint8Array, subject: string, kind: "measurement" | "authority"): void {
    if (isInForce(word, this.opened.header.timestampMs)) return;
    const code = kind === "measurement" ? "MEASUREMENT_NOT_APPROVED" : "AUTHORITY_NOT_APPROVED";
    throw broken(code, `The approval of the ${kind} ${subject} is not in force in this block.`);
  }

  #registry(slot: Hex32): Uint8Array {
    return this.#storage(required(this.#realm).registry, slot);
  }

  #storage(address: Address, slot: Hex32): Uint8Array {
    const { nodes, header } = this.opened;
    return proveSlot(proveAccount(header.stateRoot, address, nodes).storageRoot, slot, nodes);
  }
}

/** Who saw the log's tree, in words. */
function witnessedBy(found: readonly Cosignature[], all: number, due: number): string {
  if (all === 0)
    return "Its authority names no witnesses: nobody else vouches that others are shown the same log.";
  const lastMs = Math.max(...found.map(({ atMs }) => atMs));
  const names = found.map(({ node }) => node).join(", ");
  return `${found.length} of its ${all} witnesses co-signed that tree by ${day(lastMs)}, ${due} are due: ${names}.`;
}

/** Accelerators bind 32 bytes, CPUs 64. spec/order-report.md §4 */
function challengeFor(evidence: Evidence, reportData: Uint8Array): Uint8Array {
  return evidence.tee === "nvidia" ? reportData.subarray(0, 32) : reportData;
}

function unreached(id: ProofLinkId): ProofLink {
  return { id, title: TITLES[id], ok: false, detail: "Not reached." };
}

function unknowable(proof: Proof): string[] {
  const { integrity } = proof.opened.signed.report;
  const { hash, number } = proof.opened.header;
  const seen = proof.vouched
    ? "The node's machine vouches that it saw that block; its operator chose the chain's server it asked."
    : "Nobody in this file vouches for that block.";
  return [
    `Whether chain ${integrity.chainId} has block ${number} with hash ${hash}: compare it with a source you trust. ${seen}`,
    `Whether ${integrity.contract} is the contract you mean: compare the address.`,
    "Whether anything was revoked after that block.",
    ...(proof.simulated
      ? ["The evidence is SIMULATED: its root key is public, so none of this is about hardware."]
      : []),
  ];
}

/** A moment as people write it: `2026-11-21 02:18:33 UTC`. */
function day(timeMs: number): string {
  return new Date(timeMs)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, " UTC");
}

function accepted<T>(verdict: Verdict<T>): T {
  if (!verdict.ok) throw new ProofError(verdict.refusals);
  return verdict.value;
}

function required<T>(value: T | undefined): T {
  if (value === undefined) {
    throw broken("PROOF_LINK_BROKEN", "This link hangs on another one that does not hold.");
  }
  return value;
}

function broken(code: string, reason: string, hint?: string): ProofError {
  return new ProofError([hint === undefined ? { code, reason } : { code, reason, hint }]);
}

function refusalsOf(error: unknown): readonly Refusal[] {
  if (error instanceof ProofError) return error.refusals;
  const reason = error instanceof Error ? error.message : "The bytes cannot be read.";
  const hint = error instanceof CloisterError && error.hint !== undefined ? { hint: error.hint } : {};
  return [{ code: codeOf(error, "PROOF_MALFORMED"), reason, ...hint }];
}

/** Carries refusals from a check to its link; never leaves this module. */
class ProofError extends Error {
  readonly refusals: readonly Refusal[];

  constructor(refusals: readonly Refusal[]) {
    super(refusals[0]?.reason);
    this.refusals = refusals;
  }
}
