import { parseCertificate } from "@cloister/attestation";
import {
  certifyReportData,
  nodeKeysDigest,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
  type AuthorityStatement,
  type Realm,
} from "@cloister/certification";
import {
  CloisterError,
  codeOf,
  valueOf,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  equalBytes,
  type Address,
  type Clock,
  type Log,
  type RecordStore,
} from "@cloister/core";
import {
  isNodeActive,
  NODE_ROLES,
  registerNode,
  setEndpoint,
  type Chain,
  type MarketState,
  type NodeCertificate,
} from "@cloister/market";
import { evidenceOf, type Cvm } from "./cvm.ts";
import { operatorMessage } from "./issuer.ts";
import { MessageFields } from "./message.ts";
import type { Channel, Peer } from "./ports.ts";
import type { NodeCertificates } from "./proof-desk.ts";

const RECORD = "certificates";
const ASK_MS = 15_000;

/** Certificates, when they hold, and what registers the node with them. */
export interface Certified extends NodeCertificates {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly registration: NodeCertificate;
  readonly registrationSignature: Uint8Array;
}

export interface CertificationPorts {
  readonly cvm: Cvm;
  readonly chain: Chain;
  readonly realm: Realm;
  readonly records: RecordStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly operator: Address;
  readonly operatorSecret: Uint8Array;
  readonly endpoint: string;
  readonly stakeWei: bigint;
  /** A channel to a certification authority that the chain approves. */
  authority(): Promise<Channel>;
}

/** Keeps this node certified and registered: asks anew when half of a certificate's time is over. */
export class Certification {
  readonly #ports: CertificationPorts;
  #current: Certified | undefined;

  private constructor(ports: CertificationPorts, current: Certified | undefined) {
    this.#ports = ports;
    this.#current = current;
  }

  static async open(ports: CertificationPorts): Promise<Certification> {
    const record = await ports.records.read(RECORD);
    return new Certification(ports, record === undefined ? undefined : readCertified(record, ports));
  }

  get current(): Certified | undefined {
    return this.#current;
  }

  /** Does what is missing: a certificate, its registration, the endpoint. */
  async ensure(): Promise<void> {
    const { chain, clock, cvm, operatorSecret, endpoint, stakeWei } = this.#ports;
    const nowMs = clock.nowMs();
    const { state } = await chain.refresh();
    const certified = await this.#certified(state, nowMs);
    const node = cvm.keys.settlement;
    const record = state.nodes.get(node);
    const { registration, registrationSignature } = certified;
    const registered = (record?.certificate.issuedAtSeconds ?? 0) >= registration.issuedAtSeconds;
    if (!registered || !isNodeActive(state, node, nowMs)) {
      const stake = record === undefined ? stakeWei : 0n;
      await chain.send(
        registerNode(chain.deployment, registration, registrationSignature, endpoint, stake),
        operatorSecret,
      );
    } else if (record?.endpoint !== endpoint) {
      await chain.send(setEndpoint(chain.deployment, node, endpoint), operatorSecret);
    }
  }

  /**
   * A certificate whose authority lost a member is good until it ends, but a proof that rests on it is not: another
   * is asked for, and this one kept where there is none yet.
   */
  async #certified(state: MarketState, nowMs: number): Promise<Certified> {
    const current = this.#isFresh(nowMs) ? this.#current : undefined;
    if (current === undefined) return this.#certify();
    const { realm, log } = this.#ports;
    const authority = verifyAuthorityCertificate(current.authority, { nowMs, realm });
    if (authority.ok && otherThanApproved(authority.value.statement, state) === undefined) return current;
    try {
      return await this.#certify();
    } catch (error) {
      log.warn("certification-delayed", { code: codeOf(error), reason: (error as Error).message });
      return current;
    }
  }

  #isFresh(nowMs: number): boolean {
    const current = this.#current;
    if (current === undefined) return false;
    return nowMs >= current.notBeforeMs && nowMs < (current.notBeforeMs + current.notAfterMs) / 2;
  }

  async #certify(): Promise<Certified> {
    const { cvm, operator, realm, clock, records, log } = this.#ports;
    const channel = await this.#ports.authority();
    const challenge = new MessageFields(await channel.request("certify.challenge", {}, ASK_MS)).bytes(
      "challenge",
      32,
    );
    const keys = { identity: cvm.keys.identity, settlement: cvm.keys.settlement, wrap: cvm.keys.wrap };
    const { bytes } = await evidenceOf(cvm, certifyReportData(challenge, keys));
    const operatorSignature = cvm.sign(operatorMessage(challenge, operator));
    const asked = { challenge, evidence: bytes, operator, operatorSignature };
    const answer = new MessageFields(await channel.request("certify", asked, ASK_MS));
    const [first, ...rest] = answer.refusals();
    if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
    const authority = answer.bytes("authority");
    const certificate = answer.bytes("certificate");
    const nowMs = clock.nowMs();
    const { key, statement } = valueOf(verifyAuthorityCertificate(authority, { nowMs, realm }));
    requireApproved(statement, (await this.#ports.chain.refresh()).state);
    requireKeeper(statement, channel.peer);
    const node = valueOf(verifyNodeCertificate(certificate, { authorityKey: key, nowMs, realm }));
    const certified: Certified = {
      authority,
      authorityEndorsements: answer.bytes("authorityEndorsements"),
      certificate,
      certificateEndorsements: answer.bytes("certificateEndorsements"),
      notBeforeMs: node.notBeforeMs,
      notAfterMs: node.notAfterMs,
      registration: {
        node: keys.settlement,
        operator,
        keysDigest: nodeKeysDigest(keys),
        certificateDigest: digestOf(certificate),
        measurement: node.statement.measurement,
        roles: NODE_ROLES.voter | NODE_ROLES.runner | NODE_ROLES.keyRelease,
        issuedAtSeconds: answer.count("issuedAtSeconds"),
        notAfterSeconds: answer.count("notAfterSeconds"),
      },
      registrationSignature: answer.bytes("signature", 65),
    };
    await records.write(RECORD, encodeCanonical(certified));
    this.#current = certified;
    log.info("certified", { node: keys.settlement, measurement: node.statement.measurement });
    return certified;
  }
}

/** What was kept, or undefined where the host spoiled it: it is no secret, and another is had by attesting again. */
function readCertified(record: Uint8Array, { cvm, log }: CertificationPorts): Certified | undefined {
  try {
    const kept = decodeCanonical(record) as unknown as Certified;
    const identity = parseCertificate(kept.certificate).publicKey.raw;
    if (
      equalBytes(identity, cvm.keys.identity) &&
      digestOf(kept.certificate) === kept.registration.certificateDigest
    )
      return kept;
    throw new CloisterError("CERTIFICATE_MALFORMED", "The kept certificate is not of this node.");
  } catch (error) {
    log.warn("certificate-unreadable", { code: codeOf(error), reason: (error as Error).message });
    return undefined;
  }
}

/** Evidence inside the certificate is for its readers; that its members may certify at all is the chain's word. */
function requireApproved(statement: AuthorityStatement, state: MarketState): void {
  const other = otherThanApproved(statement, state);
  if (other === undefined) return;
  throw new CloisterError(
    "AUTHORITY_NOT_APPROVED",
    `The chain does not approve ${other.signer} as an authority.`,
  );
}

function otherThanApproved({ members }: AuthorityStatement, { authorities }: MarketState) {
  return members.find(({ signer }) => authorities.get(signer)?.revoked !== false);
}

function requireKeeper({ log }: AuthorityStatement, { id, identity }: Peer): void {
  if (equalBytes(log.key, identity)) return;
  throw new CloisterError("AUTHORITY_OTHER", `The authority's certificate does not name the log of ${id}.`);
}
