import {
  authorityReportData,
  certifyReportData,
  ChallengeBook,
  encodeEndorsements,
  encodeLogEntry,
  endorsementsDigest,
  issueCaCertificate,
  issueNodeCertificate,
  judgeIssuance,
  nodeKeysDigest,
  TransparencyLog,
  verifyAuthorityCertificate,
  type AuthorityStatement,
  type CertificateRequest,
  type NodeStatement,
  type Realm,
} from "@cloister/certification";
import {
  codeOf,
  decodeCanonical,
  digestFrom,
  digestOf,
  encodeCanonical,
  parseAddress,
  type Cbor,
  type Clock,
  type Entropy,
  type Log,
  type RecordStore,
} from "@cloister/core";
import {
  anchorRoot,
  isMeasurementApproved,
  NODE_ROLES,
  signStatement,
  type Chain,
  type NodeCertificate,
} from "@cloister/market";
import { evidenceOf, measurementOf, type Cvm } from "./cvm.ts";
import { MessageFields, refusalsBody } from "./message.ts";
import type { Handler, Peer, Timers } from "./ports.ts";
import type { Verifier } from "./verifier.ts";

const AUTHORITY_LIFETIME_MS = 365 * 86_400_000;
const NODE_LIFETIME_MS = 24 * 3_600_000;
const ANCHOR_PERIOD_MS = 2_000;
const RECORD = "authority";

export interface AuthorityPorts {
  readonly cvm: Cvm;
  readonly verifier: Verifier;
  readonly chain: Chain;
  readonly records: RecordStore;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly log: Log;
  /** Pays for anchoring the log's roots. */
  readonly operatorSecret: Uint8Array;
}

/**
 * The certification authority and transparency log of a network, in one CVM: its key was made in it and
 * never left. It certifies CVMs on fresh evidence, and keeps the log in which their statements stand.
 */
export class AuthorityNode {
  readonly certificate: Uint8Array;
  readonly #endorsements: Uint8Array;
  readonly #ports: AuthorityPorts;
  readonly #realm: Realm;
  readonly #challenges = new ChallengeBook();
  readonly #log: TransparencyLog;
  #stopped = false;

  private constructor(ports: AuthorityPorts, realm: Realm, own: OwnCertificate, log: TransparencyLog) {
    this.#ports = ports;
    this.#realm = realm;
    this.certificate = own.certificate;
    this.#endorsements = own.endorsements;
    this.#log = log;
  }

  static async start(ports: AuthorityPorts): Promise<AuthorityNode> {
    const { chainId, market, registry } = ports.chain.deployment;
    const realm: Realm = { chainId, contract: market, registry };
    const { keys, sign } = ports.cvm;
    const logKey = { name: `cloister.local/${chainId}/${market.slice(2, 10)}`, key: keys.identity };
    const log = await TransparencyLog.open(ports.records, logKey, sign);
    const own = await loadOrIssue(ports, realm, logKey.name);
    const node = new AuthorityNode(ports, realm, own, log);
    await log.record(encodeLogEntry({ kind: "certificate", statement: own.certificate }));
    void node.#anchorForever();
    return node;
  }

  /** Entries in the log. */
  get logSize(): number {
    return this.#log.size;
  }

  /**
   * What anybody may read of the log, by its C2SP path (`checkpoint`, `tile/…`), and the certificate that names
   * the log's key (`authority`). Undefined for everything else.
   */
  async resource(path: string): Promise<Uint8Array | undefined> {
    return path === "authority" ? this.certificate : this.#log.resource(path);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** What CVMs ask an authority. Every asker has proven itself on its channel. */
  readonly handler: Handler = async (peer, method, body) => {
    const { entropy, clock } = this.#ports;
    switch (method) {
      case "certify.challenge":
        return { challenge: this.#challenges.issue(entropy, clock.nowMs()) };
      case "certify":
        return this.#certify(peer, new MessageFields(body));
      case "log.record":
        return this.#record(new MessageFields(body).bytes("entry"));
      default:
        return undefined;
    }
  };

  async #record(entry: Uint8Array): Promise<Cbor> {
    const { index, path, checkpoint } = await this.#log.record(entry);
    return { index, path: [...path], checkpoint };
  }

  async #certify(peer: Peer, fields: MessageFields): Promise<Cbor> {
    const { verifier, clock, chain, cvm, entropy, log } = this.#ports;
    const challenge = fields.bytes("challenge", 32);
    const redeemed = this.#challenges.redeem(challenge, clock.nowMs());
    const keys = { identity: peer.identity, settlement: peer.id, wrap: peer.wrap };
    const evidence = { tee: peer.tee, bytes: fields.bytes("evidence") } as CertificateRequest["evidence"];
    const request: CertificateRequest = { keys, challenge, evidence };
    const judged = await verifier.judge(evidence, certifyReportData(challenge, keys));
    if (judged.result === undefined) return refusalsBody(judged.refusals);
    const { state } = await chain.refresh();
    const verdict = judgeIssuance({
      request,
      challenge: redeemed,
      result: judged.result,
      endorsements: judged.endorsements,
      realm: this.#realm,
      isApproved: (measurement) => isMeasurementApproved(state, measurement, clock.nowMs()),
    });
    if (!verdict.ok) {
      log.warn("certificate-refused", { node: peer.id, codes: verdict.refusals.map(({ code }) => code) });
      return refusalsBody(verdict.refusals);
    }
    const operator = parseAddress(fields.text("operator"));
    const statement: NodeStatement = verdict.value;
    const options = { nowMs: clock.nowMs(), lifetimeMs: NODE_LIFETIME_MS, serial: entropy(16) };
    const certificate = issueNodeCertificate(
      { ...options, authorityKey: cvm.keys.identity, identity: peer.identity, statement, evidence },
      cvm.sign,
    );
    await this.#log.record(encodeLogEntry({ kind: "certificate", statement: certificate }));
    const issuedAtSeconds = Math.floor(options.nowMs / 1000);
    const registration: NodeCertificate = {
      node: peer.id,
      operator,
      keysDigest: nodeKeysDigest(keys),
      certificateDigest: digestOf(certificate),
      measurement: statement.measurement,
      roles: NODE_ROLES.voter | NODE_ROLES.runner | NODE_ROLES.keyRelease,
      issuedAtSeconds,
      notAfterSeconds: Math.floor((options.nowMs + NODE_LIFETIME_MS) / 1000),
    };
    log.info("certificate-issued", { node: peer.id, measurement: statement.measurement });
    return {
      certificate,
      certificateEndorsements: encodeEndorsements(judged.endorsements),
      authority: this.certificate,
      authorityEndorsements: this.#endorsements,
      issuedAtSeconds,
      notAfterSeconds: registration.notAfterSeconds,
      signature: signStatement(chain.deployment, "NodeCertificate", registration, cvm.keys.settlementSecret),
    };
  }

  /** Brings the log's root onto the chain whenever it has grown, so that it cannot be forked afterwards. */
  async #anchorForever(): Promise<void> {
    const { timers, log } = this.#ports;
    while (!this.#stopped) {
      await this.#anchor().catch((error: unknown) =>
        log.warn("anchor-failed", { code: codeOf(error), reason: (error as Error).message }),
      );
      await timers.wait(ANCHOR_PERIOD_MS);
    }
  }

  async #anchor(): Promise<void> {
    const { chain, cvm, operatorSecret, log } = this.#ports;
    const { state } = await chain.refresh();
    const anchored = state.logRoot?.size ?? 0;
    if (this.#log.size <= anchored) return;
    const { size, root } = this.#log;
    const proof = anchored === 0 ? [] : await this.#log.consistency(anchored);
    const checkpoint = { size, root: digestFrom(root) };
    const signature = signStatement(chain.deployment, "Checkpoint", checkpoint, cvm.keys.settlementSecret);
    await chain.send(
      anchorRoot(chain.deployment, checkpoint, proof.map(digestFrom), signature),
      operatorSecret,
    );
    log.info("log-anchored", { size });
  }
}

/** The authority's own certificate, and the endorsements that its evidence was judged by. */
interface OwnCertificate {
  readonly certificate: Uint8Array;
  readonly endorsements: Uint8Array;
}

/** The certificate that was issued before while it is good, else a new one. */
async function loadOrIssue(ports: AuthorityPorts, realm: Realm, origin: string): Promise<OwnCertificate> {
  const { records, clock } = ports;
  const record = await records.read(RECORD);
  if (record !== undefined) {
    const own = decodeCanonical(record) as unknown as OwnCertificate;
    if (verifyAuthorityCertificate(own.certificate, { nowMs: clock.nowMs(), realm }).ok) return own;
  }
  const own = await issueOwn(ports, realm, origin);
  await records.write(RECORD, encodeCanonical(own));
  return own;
}

async function issueOwn(ports: AuthorityPorts, realm: Realm, origin: string): Promise<OwnCertificate> {
  const { cvm, verifier, clock, entropy } = ports;
  const { identity, settlement } = cvm.keys;
  const measurement = await measurementOf(cvm, verifier);
  const base = {
    version: 1 as const,
    ...realm,
    challenge: entropy(32),
    measurement,
    simulated: cvm.tee.simulated,
    threshold: 1,
    log: { origin, key: identity },
  };
  const member = { index: 1, signer: settlement };
  const unsealed: AuthorityStatement = { ...base, members: [member] };
  const reportData = authorityReportData(identity, unsealed, 1);
  const evidence = await evidenceOf(cvm, reportData);
  const { endorsements } = await verifier.judge(evidence, reportData);
  const statement: AuthorityStatement = {
    ...base,
    members: [{ ...member, endorsements: endorsementsDigest(endorsements) }],
  };
  const options = { nowMs: clock.nowMs(), lifetimeMs: AUTHORITY_LIFETIME_MS, serial: entropy(16) };
  const fields = { ...options, key: identity, statement, evidence: { 1: evidence } };
  return {
    certificate: issueCaCertificate(fields, cvm.sign),
    endorsements: encodeEndorsements(endorsements),
  };
}
