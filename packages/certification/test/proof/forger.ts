import {
  bindReportData,
  createSimulatedPlatform,
  simulatedTdxQuote,
  simulationEndorsements,
  simulationRoots,
  verify,
  type Evidence,
  type SimulatedPlatform,
} from "@cloister/attestation";
import {
  digestBytes,
  digestToHex,
  fromHex,
  parseAddress,
  sha256,
  toHex,
  utf8,
  type Digest,
  type Hex32,
} from "@cloister/core";
import {
  authorityReportData,
  authoritySlot,
  certifyReportData,
  cosignCheckpoint,
  decodeBlockHeader,
  encodeEndorsements,
  encodeEvidence,
  encodeLogEntry,
  encodeProof,
  encodeRlp,
  endorsementsDigest,
  evidenceDigest,
  integrityDigest,
  issueCaCertificate,
  issueNodeCertificate,
  measurementApprovalSlot,
  measurementIndexSlot,
  mergeNodes,
  publicKeyOf,
  reportAnchorSlot,
  reportAnchorWord,
  signOrderReport,
  TransparencyLog,
  vouchBlock,
  witnessKeyOf,
  type AuthorityStatement,
  type IntegrityReport,
  type KeyShare,
  type LogStatement,
  type LogWitness,
  type OrderReport,
  type ProofParts,
} from "../../src/index.ts";
import { MemoryRecords } from "../memory-records.ts";
import { signWith } from "../threshold/hall.ts";
import { sampleIntegrity, sampleReport } from "../sample.ts";
import { buildState } from "../trie-builder.ts";
import { authorityStatement, HOUR_MS, key, node, NOW_MS, realm, serial, signer } from "../world.ts";

const platforms = new Map<string, SimulatedPlatform>();
function platformOf(name: string): SimulatedPlatform {
  const platform = platforms.get(name) ?? createSimulatedPlatform(sha256(utf8(name)));
  platforms.set(name, platform);
  return platform;
}

export const endorsements = simulationEndorsements(NOW_MS);

/** A quote of a simulated TD whose software is named by a text. */
export function quote(
  reportData: Uint8Array,
  software = "software",
  debug = false,
  machine = "platform",
): Evidence {
  const mrTd = new Uint8Array(48).fill(sha256(utf8(software))[0] as number);
  const zero = new Uint8Array(48);
  return {
    tee: "tdx",
    bytes: simulatedTdxQuote(platformOf(machine), {
      mrTd,
      rtmrs: [zero, zero, zero, zero],
      reportData,
      debug,
    }),
  };
}

export function measurementOf(evidence: Evidence): Digest {
  const verdict = verify(evidence, endorsements, { nowMs: NOW_MS, roots: simulationRoots });
  if (!verdict.ok) throw new Error(verdict.refusals[0].reason);
  return verdict.value.measurement;
}

export const measurement = measurementOf(quote(new Uint8Array(64)));

/** What one wants to be different from a flawless proof. */
export interface Twist {
  readonly integrity?: Partial<IntegrityReport>;
  readonly report?: Partial<OrderReport>;
  readonly authority?: Partial<AuthorityStatement>;
  readonly reportSigner?: string;
  readonly nodeSigner?: string;
  readonly logSigner?: string;
  /** Names of the witnesses' keys: whom the authority names, and who co-signs, by default all of them. */
  readonly witnesses?: readonly string[];
  readonly cosigners?: readonly string[];
  readonly witnessesMin?: number;
  readonly cosignedAtMs?: number;
  readonly orderEvidence?: (reportData: Uint8Array) => Evidence;
  readonly nodeEvidence?: (reportData: Uint8Array) => Evidence;
  readonly authorityEvidence?: (reportData: Uint8Array) => Evidence;
  readonly approvals?: readonly [seconds: number, revoked: boolean];
  readonly authorityApproval?: readonly [seconds: number, revoked: boolean];
  readonly anchored?: boolean;
  readonly blockMs?: number;
  readonly vouch?: boolean;
  readonly entriesBefore?: number;
  readonly parts?: (parts: ProofParts) => ProofParts;
  /** Shares of an authority that signs together; without them, one key signs alone. */
  readonly shares?: readonly KeyShare[];
}

/** The authority's key, how it signs, and its members. */
function authorityOf({ shares }: Twist) {
  const [alone] = authorityStatement.members;
  const named = { ...alone, endorsements: endorsementsDigest(endorsements) };
  const [first] = shares ?? [];
  if (shares === undefined || first === undefined) {
    return { key: key("authority"), sign: signer("authority"), threshold: 1, members: [named] as const };
  }
  const { threshold, size } = first.group;
  const members = shares.map(({ index }) => {
    const member = { index, signer: parseAddress(`0x${index.toString(16).padStart(40, "a")}`) };
    return index <= size - threshold + 1 ? { ...named, ...member } : member;
  });
  const sign = (message: Uint8Array): Uint8Array => {
    const outcome = signWith(shares.slice(-threshold), message);
    if (!outcome.ok) throw new Error("no signature");
    return outcome.signature;
  };
  return {
    key: publicKeyOf(first.group),
    sign,
    threshold,
    members: members as unknown as AuthorityStatement["members"],
  };
}

/** Makes a whole proof of an order on a simulated TEE and a state trie of its own, with one thing twisted. */
export async function forgeProof(twist: Twist = {}) {
  const authority = forgeAuthority(twist);
  const certificate = forgeCertificate(twist);
  const integrity = sampleIntegrity({ ...REALM, node, preparedAtMs: NOW_MS + 60_000, ...twist.integrity });
  const orderData = bindReportData(
    "cloister/order/v1",
    fromHex(integrity.orderId),
    digestBytes(integrityDigest(integrity)),
  );
  const evidence = (twist.orderEvidence ?? quote)(orderData);
  const base = sampleReport({ integrity });
  const part = {
    ...base.evidence[0],
    evidence: evidenceDigest(evidence),
    endorsements: endorsementsDigest(endorsements),
    measurement,
  };
  const who = twist.reportSigner ?? "identity";
  const signed = signOrderReport(
    { ...base, evidence: [part], ...twist.report },
    { identity: key(who), sign: signer(who) },
  );
  const block = forgeBlock(twist, integrity, signed.digest);
  const blockHash = decodeBlockHeader(block.header).hash;
  const vouch = vouchBlock(
    { chainId: integrity.chainId, blockHash, report: signed.digest },
    { identity: key("identity"), sign: signer("identity") },
  );
  const parts: ProofParts = {
    authority,
    certificate,
    report: signed.bytes,
    evidence: [encodeEvidence(evidence)],
    endorsements: [encodeEndorsements(endorsements)],
    log: await forgeReceipt(twist, signed.bytes),
    block: twist.vouch === false ? block : { ...block, vouch },
  };
  const twisted = (twist.parts ?? ((same) => same))(parts);
  return { parts: twisted, bytes: encodeProof(twisted), signed, blockHash, evidence };
}

/** The witness whose key is made of a name; names of one letter ascend as their nodes do. */
export function witnessOf(name: string): LogWitness {
  return { node: parseAddress(`0x${toHex(utf8(name)).padEnd(40, "0")}`), key: key(name) };
}

function logOf({ witnesses, witnessesMin }: Twist): LogStatement {
  const { log } = authorityStatement;
  if (witnesses === undefined) return log;
  const countMin = witnessesMin ?? Math.floor(witnesses.length / 2) + 1;
  return { ...log, witnesses: { countMin, members: witnesses.map(witnessOf) } };
}

const REALM = { chainId: realm.chainId, contract: realm.contract };

function forgeAuthority(twist: Twist): Uint8Array {
  const { key: authorityKey, sign, threshold, members } = authorityOf(twist);
  const statement: AuthorityStatement = {
    ...authorityStatement,
    measurement,
    threshold,
    members,
    log: logOf(twist),
    ...twist.authority,
  };
  const proven = statement.members.filter((member) => member.endorsements !== undefined);
  const evidence = proven.map(({ index }) => {
    const reportData = authorityReportData(authorityKey, statement, index);
    return [index, (twist.authorityEvidence ?? quote)(reportData)] as const;
  });
  return issueCaCertificate(
    {
      nowMs: NOW_MS,
      lifetimeMs: 24 * HOUR_MS,
      serial: serial("authority"),
      key: authorityKey,
      statement,
      evidence: Object.fromEntries(evidence),
    },
    sign,
  );
}

function forgeCertificate(twist: Twist): Uint8Array {
  const challenge = sha256(utf8("challenge"));
  const keys = { identity: key("identity"), settlement: node, wrap: key("wrap") };
  return issueNodeCertificate(
    {
      nowMs: NOW_MS,
      lifetimeMs: HOUR_MS,
      serial: serial("node"),
      authorityKey: authorityOf(twist).key,
      identity: keys.identity,
      statement: {
        version: 1,
        ...realm,
        settlement: node,
        wrap: keys.wrap,
        challenge,
        endorsements: endorsementsDigest(endorsements),
        measurement,
        tcbStatus: "UpToDate",
        simulated: true,
      },
      evidence: (twist.nodeEvidence ?? quote)(certifyReportData(challenge, keys)),
    },
    twist.nodeSigner === undefined ? authorityOf(twist).sign : signer(twist.nodeSigner),
  );
}

async function forgeReceipt(twist: Twist, report: Uint8Array) {
  const who = twist.logSigner ?? "log";
  const name = authorityStatement.log.origin;
  const log = await TransparencyLog.open(new MemoryRecords(), { name, key: key(who) }, signer(who));
  const before = Array.from({ length: twist.entriesBefore ?? 11 }, (_, n) => utf8(`entry ${n}`));
  if (before.length > 0) await log.append(before);
  const receipt = await log.record(encodeLogEntry({ kind: "order-report", statement: report }));
  const atMs = twist.cosignedAtMs ?? NOW_MS + 90_000;
  const checkpoint = (twist.cosigners ?? twist.witnesses ?? []).reduce(
    (note, one) => cosignCheckpoint(note, witnessKeyOf(witnessOf(one)), atMs, signer(one)),
    receipt.checkpoint,
  );
  return { ...receipt, checkpoint };
}

function forgeBlock(twist: Twist, integrity: IntegrityReport, report: Digest) {
  const anchor = reportAnchorSlot(integrity.orderId);
  const proven = authorityOf(twist).members.filter((member) => member.endorsements !== undefined);
  const slots = [
    measurementIndexSlot(measurement),
    measurementApprovalSlot(1),
    ...proven.map((member) => authoritySlot(member.signer)),
  ];
  const words = [
    word(1n),
    approvalWord(twist.approvals ?? [1000, false]),
    ...proven.map(() => approvalWord(twist.authorityApproval ?? [1000, false])),
  ];
  const registry = Object.fromEntries(slots.map((slot, i) => [slot, words[i] as Uint8Array]));
  const state = buildState([
    {
      address: integrity.contract,
      storage: { [anchor]: anchorWord(twist, integrity, report), ...noise("market") },
    },
    { address: realm.registry, storage: { ...nonZero(registry), ...noise("registry") } },
    ...Array.from({ length: 30 }, (_, n) => ({
      address: `0x${String(n).padStart(40, "0")}` as typeof node,
      storage: {},
    })),
  ]);
  const nodes = mergeNodes([
    state.accountNodes(integrity.contract),
    state.accountNodes(realm.registry),
    state.slotNodes(integrity.contract, anchor),
    ...slots.map((slot) => state.slotNodes(realm.registry, slot)),
  ]);
  const seconds = BigInt(Math.floor((twist.blockMs ?? NOW_MS + 120_000) / 1000));
  const fields = Array.from({ length: 20 }, (_, i) => sha256(utf8(`field ${i}`)));
  fields[3] = state.stateRoot;
  fields[8] = new Uint8Array([42]);
  fields[11] = word(seconds).subarray(28);
  return { header: encodeRlp(fields), nodes };
}

function anchorWord(twist: Twist, integrity: IntegrityReport, report: Digest): Uint8Array {
  return twist.anchored === false
    ? fromHex(digestToHex(report))
    : reportAnchorWord(integrity.orderId, report);
}

/** Other slots, so that paths have branches. */
function noise(name: string): Record<Hex32, Uint8Array> {
  const slots = Array.from({ length: 40 }, (_, n) => digestBytes(`sha256:${hex(`${name} ${n}`)}` as Digest));
  return Object.fromEntries(slots.map((slot) => [`0x${Buffer.from(slot).toString("hex")}`, slot]));
}

function hex(text: string): string {
  return Buffer.from(sha256(utf8(text))).toString("hex");
}

function nonZero(storage: Record<string, Uint8Array>): Record<string, Uint8Array> {
  return Object.fromEntries(Object.entries(storage).filter(([, value]) => value.some((byte) => byte !== 0)));
}

function word(value: bigint): Uint8Array {
  return fromHex(value.toString(16).padStart(64, "0"));
}

function approvalWord([seconds, revoked]: readonly [number, boolean]): Uint8Array {
  return word((revoked ? 1n << 64n : 0n) | BigInt(seconds));
}
