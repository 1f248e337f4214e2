import {
  decodeLogEntry,
  encodeLogEntry,
  leafHash,
  TransparencyLog,
  type CertificateRequest,
  type Realm,
} from "@cloister/certification";
import {
  assertInvariant,
  CloisterError,
  codeOf,
  digestFrom,
  parseAddress,
  type Cbor,
  type Clock,
  type Entropy,
  type Log,
  type RecordStore,
} from "@cloister/core";
import { anchorRoot, type Chain } from "@cloister/market";
import { logOriginOf } from "./authority-member.ts";
import type { Cvm } from "./cvm.ts";
import { GroupIssuer } from "./group-issuer.ts";
import { IssuedCertificates } from "./issued-certificates.ts";
import { LogPublisher } from "./log-publisher.ts";
import { MessageFields, methodUnknown, refusalsBody } from "./message.ts";
import type { Metric } from "./metrics.ts";
import { transportMetrics } from "./node-metrics.ts";
import type { Handler, Peer, Timers, Transport } from "./ports.ts";
import { barredNodes, HEARTBEAT_MS, revokedBody, type Revoked } from "./revocation.ts";
import { PolicyWatch } from "./policy-watch.ts";
import type { Verifier } from "./verifier.ts";

const ANCHOR_PERIOD_MS = 2_000;
const FOUND_MS = 250;
const LIST_MS = 500;
const RENEW_MS = 2_000;

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
  /** Where the nodes listen that found the authority. */
  readonly founders: readonly string[];
  openTransport(handler: Handler): Promise<Transport>;
}

/**
 * Keeps the transparency log of a network, and is whom CVMs ask for certificates. It brings those together that the
 * chain approves as authorities and that hold the certifying key as shares; by itself it can certify nothing.
 */
export class AuthorityNode {
  readonly #ports: AuthorityPorts;
  readonly #log: TransparencyLog;
  #issuer: GroupIssuer | undefined;
  #publisher: LogPublisher | undefined;
  #list:
    | { readonly der: Uint8Array; readonly revoked: readonly Revoked[]; readonly signedMs: number }
    | undefined;
  readonly #issued: IssuedCertificates;
  #transport: Transport | undefined;
  #stopped = false;

  private constructor(ports: AuthorityPorts, log: TransparencyLog) {
    this.#ports = ports;
    this.#log = log;
    this.#issued = new IssuedCertificates(ports.records);
  }

  static async start(ports: AuthorityPorts): Promise<AuthorityNode> {
    const { cvm, records, chain } = ports;
    const { chainId, market, registry } = chain.deployment;
    const realm: Realm = { chainId, contract: market, registry };
    const origin = logOriginOf(realm);
    const log = await TransparencyLog.open(records, { name: origin, key: cvm.keys.identity }, cvm.sign);
    const node = new AuthorityNode(ports, log);
    const transport = await ports.openTransport(node.handler);
    node.#transport = transport;
    const consistency = (seen: number, size: number) => node.#consistency(seen, size);
    const publish = (certificate: Uint8Array) =>
      log.record(encodeLogEntry({ kind: "certificate", statement: certificate }));
    node.#issuer = await GroupIssuer.open({ ...ports, realm, origin, transport, consistency, publish });
    const issuer = node.#issuer;
    node.#publisher = await LogPublisher.open({
      ...{ log, records },
      witnesses: () => issuer.witnesses,
      gather: (note, size) => issuer.witness(note, size),
    });
    void node.#foundForever(issuer);
    void node.#anchorForever(node.#publisher);
    void node.#listForever(issuer, transport);
    return node;
  }

  /** Entries in the log. */
  get logSize(): number {
    return this.#log.size;
  }

  /** Everything that the log's keeper counts. */
  metrics(): Metric[] {
    const transport = this.#transport?.view();
    const entries = {
      name: "cloister_log_entries",
      type: "gauge",
      help: "Entries of the transparency log.",
    } as const;
    return [
      { ...entries, samples: [{ value: this.logSize }] },
      ...(transport === undefined ? [] : transportMetrics(transport, this.#ports.clock.nowMs())),
    ];
  }

  /**
   * What anybody may read of the log, by its C2SP path (`checkpoint`, as its witnesses co-signed it, and `tile/…`), and
   * the certificate that names the log's key (`authority`), and the revocation list of the last heartbeat (`crl`).
   * Undefined for everything else.
   */
  async resource(path: string): Promise<Uint8Array | undefined> {
    if (path === "authority") return this.#issuer?.papers?.certificate;
    if (path === "crl") return this.#list?.der;
    if (path === "checkpoint") return this.#publisher?.published?.note;
    return this.#log.resource(path);
  }

  stop(): void {
    this.#stopped = true;
    this.#issuer?.close();
  }

  /** What CVMs ask an authority. Every asker has proven itself on its channel. */
  readonly handler: Handler = async (peer, method, body) => {
    switch (method) {
      case "certify.challenge":
        return { challenge: await this.#ready().challenge() };
      case "certify":
        return this.#certify(peer, new MessageFields(body));
      case "revocation.list":
        return this.#revocations();
      case "log.record":
        return this.#record(new MessageFields(body).bytes("entry"));
      case "log.prove":
        return this.#prove(new MessageFields(body).bytes("entry"));
      default:
        throw methodUnknown(method);
    }
  };

  /** Proves an entry against a checkpoint that the log's witnesses co-signed. */
  async #prove(entry: Uint8Array): Promise<Cbor> {
    const known = await this.#log.find(leafHash(entry));
    if (known === undefined || this.#publisher === undefined) {
      throw new CloisterError("LOG_INDEX_UNKNOWN", "The log does not hold this entry.");
    }
    const { index, path, checkpoint } = await this.#publisher.receipt(known);
    return { index, path: [...path], checkpoint };
  }

  #ready(): GroupIssuer {
    if (this.#issuer !== undefined) return this.#issuer;
    throw new CloisterError("NODE_NOT_READY", "The certification authority has only just started.");
  }

  /** Founds the authority, and keeps its certificate fresh and true to who its members are. */
  async #foundForever(issuer: GroupIssuer): Promise<void> {
    const { timers, log } = this.#ports;
    let said = "";
    while (!this.#stopped) {
      try {
        await issuer.found();
        said = "";
      } catch (error) {
        const reason = (error as Error).message;
        if (reason !== said) log.warn("founding-delayed", { code: codeOf(error), reason });
        said = reason;
      }
      await timers.wait(issuer.papers === undefined ? FOUND_MS : RENEW_MS);
    }
  }

  async #record(entry: Uint8Array): Promise<Cbor> {
    // What nobody can read proves nothing to anybody, and the log never forgets.
    decodeLogEntry(entry);
    const { index, path, checkpoint } = await this.#log.record(entry);
    return { index, path: [...path], checkpoint };
  }

  async #certify(peer: Peer, fields: MessageFields): Promise<Cbor> {
    const { log } = this.#ports;
    const issuer = this.#ready();
    const keys = { identity: peer.identity, settlement: peer.id, wrap: peer.wrap };
    const evidence = { tee: peer.tee, bytes: fields.bytes("evidence") } as CertificateRequest["evidence"];
    const request = { keys, challenge: fields.bytes("challenge", 32), evidence };
    const operator = parseAddress(fields.text("operator"));
    const word = { operator, signature: fields.bytes("operatorSignature", 64) };
    const verdict = await issuer.issue(request, word);
    if (!verdict.ok) {
      log.warn("certificate-refused", { node: peer.id, codes: verdict.refusals.map(({ code }) => code) });
      return refusalsBody(verdict.refusals);
    }
    const { certificate, endorsements, registration, signature } = verdict.value;
    await this.#issued.note(peer.id, certificate);
    await this.#log.record(encodeLogEntry({ kind: "certificate", statement: certificate }));
    log.info("certificate-issued", { node: peer.id, measurement: registration.measurement });
    const { issuedAtSeconds, notAfterSeconds } = registration;
    const papers = issuer.papers;
    if (papers === undefined) throw new CloisterError("AUTHORITY_NOT_FOUNDED", "There is no authority.");
    return {
      ...{ certificate, certificateEndorsements: endorsements, issuedAtSeconds, notAfterSeconds, signature },
      ...{ authority: papers.certificate, authorityEndorsements: papers.endorsements },
    };
  }

  async #consistency(seen: number, size: number): Promise<readonly Uint8Array[]> {
    return seen === 0 || seen >= size ? [] : this.#log.consistency(seen, size);
  }

  #revocations(): Cbor {
    if (this.#list !== undefined) return { list: this.#list.der, revoked: revokedBody(this.#list.revoked) };
    throw new CloisterError("REVOCATION_UNKNOWN", "The authority has signed no revocation list yet.", {
      hint: "There is one within a heartbeat of its founding.",
    });
  }

  /** Has the members sign what is revoked, with every heartbeat and at once when it is more, and cuts off who is. */
  async #listForever(issuer: GroupIssuer, transport: Transport): Promise<void> {
    const { timers, log, verifier } = this.#ports;
    const policy = new PolicyWatch(verifier);
    let said = "";
    while (!this.#stopped) {
      try {
        if (issuer.papers !== undefined) await this.#keepList(issuer);
        policy.look(transport);
        said = "";
      } catch (error) {
        const code = codeOf(error);
        if (code !== said) log.warn("revocations-delayed", { code, reason: (error as Error).message });
        said = code;
      }
      await timers.wait(issuer.papers === undefined ? FOUND_MS : LIST_MS);
    }
  }

  async #keepList(issuer: GroupIssuer): Promise<void> {
    const { chain, clock, log } = this.#ports;
    const nowMs = clock.nowMs();
    const { state } = await chain.refresh();
    const revoked = await this.#issued.of(barredNodes(state), nowMs);
    const isDue = this.#list === undefined || nowMs >= this.#list.signedMs + HEARTBEAT_MS;
    if (!isDue && revoked.length === this.#list?.revoked.length) return;
    const der = await issuer.revocationList(revoked);
    if (revoked.length !== (this.#list?.revoked.length ?? 0)) {
      await this.#log.record(encodeLogEntry({ kind: "revocation", statement: der }));
      log.info("certificates-revoked", { certificates: revoked.length });
    }
    this.#list = { der, revoked, signedMs: nowMs };
  }

  /** Brings the log's root onto the chain whenever it has grown, so that it cannot be forked afterwards. */
  async #anchorForever(publisher: LogPublisher): Promise<void> {
    const { timers, log } = this.#ports;
    while (!this.#stopped) {
      await this.#anchor(publisher).catch((error: unknown) =>
        log.warn("anchor-failed", { code: codeOf(error), reason: (error as Error).message }),
      );
      await timers.wait(ANCHOR_PERIOD_MS);
    }
  }

  async #anchor(publisher: LogPublisher): Promise<void> {
    const { chain, operatorSecret, log } = this.#ports;
    if (this.#issuer?.papers === undefined) return;
    const { state } = await chain.refresh();
    const anchored = state.logRoot?.size ?? 0;
    if (this.#log.size <= anchored) return;
    const { size, root, anchors } = await publisher.publish();
    const proof = anchored === 0 ? [] : await this.#log.consistency(anchored, size);
    const checkpoint = { size, root: digestFrom(root) };
    const [signature] = anchors;
    assertInvariant(signature !== undefined, "each witness of a published checkpoint signed its root");
    await chain.send(
      anchorRoot(chain.deployment, checkpoint, proof.map(digestFrom), signature),
      operatorSecret,
    );
    log.info("log-anchored", { size });
  }
}
