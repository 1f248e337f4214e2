import { encodeLogEntry, type Realm, type Receipt } from "@cloister/certification";
import {
  codeOf,
  decodeCanonical,
  encodeCanonical,
  openSign1,
  CloisterError,
  toHex,
  type Address,
  type Cbor,
  type Clock,
  type Digest,
  type Entropy,
  type Log,
  type NodeId,
  type ObjectStore,
  type OrderId,
  type RecordStore,
  type Refusal,
} from "@cloister/core";
import {
  endSeconds,
  formGroup,
  refundOrder,
  signStatement,
  startTerm,
  unpackHead,
  type BlockMark,
  type Chain,
  type MarketState,
} from "@cloister/market";
import type { GroupRecord, SwarmView, TermCertificate } from "@cloister/swarm";
import {
  endOfOrder,
  loaderChain,
  openOrderRefusal,
  REFUSAL_TYPE,
  type LoaderPorts,
  type NodeLimits,
  type Sandbox,
} from "@cloister/workload";
import { AuthorityMember } from "./authority-member.ts";
import { Certification } from "./certification.ts";
import { ChainWatch } from "./chain-watch.ts";
import { attesterOf, measurementOf, type Cvm } from "./cvm.ts";
import { goalsOf } from "./goals.ts";
import { KeyReleaseMember } from "./key-release.ts";
import { KeyRing } from "./key-ring.ts";
import { MessageFields, methodUnknown } from "./message.ts";
import { OrderDesk } from "./order-desk.ts";
import type { Metric } from "./metrics.ts";
import { nodeMetrics } from "./node-metrics.ts";
import { PolicyWatch } from "./policy-watch.ts";
import type { Channel, Handler, Machine, Peer, Timers, Transport } from "./ports.ts";
import { makeProof, type MadeProof } from "./proof-desk.ts";
import { openOrders, registryView, swarmSignatures } from "./swarm-chain.ts";
import { RevocationWatch } from "./revocation.ts";
import { SwarmRuntime } from "./swarm-runtime.ts";
import type { Verifier } from "./verifier.ts";

const LOOK_MS = 200;
const CERTIFY_MS = 5_000;
const LOG_MS = 10_000;
/** An order is refunded by the leader this long after its deadline, so that a late block does not refuse it. */
const REFUND_AFTER_MS = 2_000;
/** How long a node that leaves waits for its order, for a new leader, and for its word to get around. */
const DRAIN_MS_MAX = 120_000;
const HAND_OVER_MS_MAX = 5_000;
const TELL_MS = 400;

export interface CvmNodePorts {
  readonly cvm: Cvm;
  readonly verifier: Verifier;
  readonly chain: Chain;
  /** Where the host keeps records; the node reads and writes them sealed. */
  readonly records: RecordStore;
  readonly store: ObjectStore;
  readonly sandbox: Sandbox;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly log: Log;
  readonly machine: Machine;
  readonly limits: NodeLimits;
  /** The host's account: it pays gas and stake, and earns what the node works. It is not trusted with anything else. */
  readonly operator: Address;
  readonly operatorSecret: Uint8Array;
  readonly stakeWei: bigint;
  /** A network that has had no term elects nobody before so many voters are registered. */
  readonly votersMin: number;
  /** Where others reach this node, and where the certification authority listens. */
  readonly endpoint: string;
  readonly authorityEndpoint: string;
  /** Where the nodes listen that make the certification authority's key together. */
  readonly founders: readonly string[];
  openTransport(handler: Handler): Promise<Transport>;
}

/**
 * One CVM node: certified and registered, a member of the swarm and of the key-release group, and the trusted
 * loader of the orders that it is given. Everything it does follows from looking at the chain and at its own
 * records again and again, so that it can be killed at any moment.
 */
export class CvmNode {
  readonly #ports: CvmNodePorts;
  readonly #realm: Realm;
  readonly #measurement: Digest;
  readonly #peerKeys = new Map<NodeId, Pick<Peer, "identity" | "wrap">>();
  readonly #proofs = new Map<OrderId, MadeProof>();
  readonly #policy: PolicyWatch;
  readonly #revocations: RevocationWatch;
  #transport: Transport | undefined;
  #authority: Channel | undefined;
  #member: AuthorityMember | undefined;
  #certification: Certification | undefined;
  #keys: KeyRing | undefined;
  #release: KeyReleaseMember | undefined;
  #swarm: SwarmRuntime | undefined;
  #watch: ChainWatch | undefined;
  #desk: OrderDesk | undefined;
  /** What of this node's work fails at present, by what it is, and when that was last told. */
  readonly #troubles = new Map<string, Refusal & { readonly toldMs: number }>();
  #fedBlock = "";
  #stopped = false;
  #draining = false;

  private constructor(ports: CvmNodePorts, measurement: Digest) {
    const { chainId, market, registry } = ports.chain.deployment;
    this.#ports = ports;
    this.#realm = { chainId, contract: market, registry };
    this.#measurement = measurement;
    this.#policy = new PolicyWatch(ports.verifier);
    this.#revocations = new RevocationWatch({
      ...{ realm: this.#realm, clock: ports.clock, timers: ports.timers, log: ports.log },
      authority: () => this.#certification?.current?.authority,
      ask: async () => {
        const channel = await this.#authorityChannel();
        return new MessageFields(await channel.request("revocation.list", {}, LOG_MS));
      },
      bar: (node) => ports.verifier.bar(node),
    });
  }

  static async start(given: CvmNodePorts): Promise<CvmNode> {
    // The host keeps this CVM's records; what it changes in them must not pass for what the CVM wrote.
    const ports = { ...given, records: given.cvm.sealed };
    const node = new CvmNode(ports, await measurementOf(ports.cvm, ports.verifier));
    await ports.chain.refresh();
    node.#transport = await ports.openTransport(node.#handler);
    node.#member = await AuthorityMember.open({
      ...ports,
      realm: node.#realm,
      transport: node.#transport,
      met: (peer) => node.#peerKeys.set(peer.id, peer),
      peerKeys: (id) => node.#peerKeys.get(id),
    });
    void node.#member.run();
    node.#certification = await Certification.open({
      ...ports,
      realm: node.#realm,
      authority: () => node.#authorityChannel(),
    });
    void node.#live();
    void node.#revocations.run();
    return node;
  }

  get id(): NodeId {
    return this.#ports.cvm.keys.settlement;
  }

  get measurement(): Digest {
    return this.#measurement;
  }

  /** What a person or a program sees of the node. Nothing secret. */
  status(): Readonly<Record<string, unknown>> {
    const certified = this.#certification?.current;
    return {
      id: this.id,
      operator: this.#ports.operator,
      endpoint: this.#ports.endpoint,
      measurement: this.#measurement,
      tee: this.#ports.cvm.tee.kind,
      simulated: this.#ports.cvm.tee.simulated,
      certifiedUntilMs: certified?.notAfterMs,
      revocationsHeardMs: this.#revocations.heardMs,
      refusal: this.#trouble(),
      draining: this.#draining,
      swarm: this.#swarm?.view(),
      peers: this.#peers(),
      traffic: this.#traffic(),
      work: this.#desk?.work() ?? [],
      keys: this.#keys?.views() ?? [],
      authority: this.#member?.view(),
      keyStatements: this.#release?.statements().map(toHex) ?? [],
    };
  }

  swarmView(): SwarmView | undefined {
    return this.#swarm?.view();
  }

  /** Everything that this node counts. */
  metrics(): Metric[] {
    const transport = this.#transport?.view();
    if (transport === undefined) return [];
    const { queued, droppedInputs, probeSeconds } = this.#swarm?.load() ?? { queued: 0, droppedInputs: {} };
    return nodeMetrics({
      ...{ transport, queued, droppedInputs, probeSeconds },
      nowMs: this.#ports.clock.nowMs(),
      swarm: this.#swarm?.view(),
      work: this.#desk?.work() ?? [],
      certifiedUntilMs: this.#certification?.current?.notAfterMs,
      draining: this.#draining,
    });
  }

  /**
   * Leaves in good order: takes no more work, hands the lead over, lets its order end or be taken over, and
   * stops. Whatever is not done within the time is left as it would be after a crash: nothing is lost.
   */
  async drain(withinMs = DRAIN_MS_MAX): Promise<void> {
    const { clock, timers, log } = this.#ports;
    this.#draining = true;
    this.#swarm?.drain();
    const startedMs = clock.nowMs();
    const runs = (): boolean => this.#desk?.work().some(({ state }) => state === "running") ?? false;
    const leads = (): boolean => {
      const role = this.#swarm?.view().role;
      return (role === "leader" || role === "elected") && clock.nowMs() < startedMs + HAND_OVER_MS_MAX;
    };
    const told = (): boolean => this.#swarm === undefined || clock.nowMs() >= startedMs + TELL_MS;
    while (clock.nowMs() < startedMs + withinMs && (runs() || leads() || !told())) await timers.wait(20);
    log.info("drained", { tookMs: clock.nowMs() - startedMs, unfinished: runs() });
    await this.stop();
  }

  /** The proof of an order that this node settled; undefined while there is none. */
  proof(orderId: OrderId): Uint8Array | undefined {
    return this.#proofs.get(orderId)?.bytes;
  }

  /** How an order ended on this node, with every reason where it was refused; undefined while it has not. */
  async orderEnd(orderId: OrderId): Promise<Readonly<Record<string, unknown>> | undefined> {
    const end = await endOfOrder(this.#ports.records, orderId);
    if (end === undefined) return undefined;
    const { kind, succeeded, reason, exitCode, statementDigest } = end;
    const refusals = kind === "refusal" ? openOrderRefusal(end.statement).refusal.refusals : [];
    return { orderId, kind, succeeded, reason, exitCode, statementDigest, refusals };
  }

  /** The peers that this node has channels with, as their evidence last showed them. */
  #peers() {
    const channels = this.#transport?.view().channels ?? [];
    return channels.map(({ peer, dialed, openedMs, queuedFrames, received, sent }) => ({
      ...{ id: peer.id, tee: peer.tee, simulated: peer.simulated, measurement: peer.measurement },
      ...{ tcbStatus: peer.tcbStatus, attestedMs: peer.attestedMs, machine: peer.machine },
      ...{ dialed, openedMs, queuedFrames, droppedFrames: sent.dropped },
      ...{ receivedBytes: received.bytes, sentBytes: sent.bytes },
    }));
  }

  /** All bytes of this node's channels, open and closed. */
  #traffic(): { readonly receivedBytes: number; readonly sentBytes: number } {
    const { channels = [], closedChannels = {} } = this.#transport?.view() ?? {};
    const closed = Object.values(closedChannels);
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    return {
      receivedBytes: sum([
        ...channels.map(({ received }) => received.bytes),
        ...closed.map((one) => one.receivedBytes),
      ]),
      sentBytes: sum([...channels.map(({ sent }) => sent.bytes), ...closed.map((one) => one.sentBytes)]),
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watch?.stop();
    this.#swarm?.stop();
    this.#desk?.stop();
    this.#authority?.close();
    this.#member?.stop();
    this.#revocations.stop();
    await this.#transport?.close();
  }

  readonly #handler: Handler = async (peer, method, body) => {
    this.#peerKeys.set(peer.id, peer);
    if (method === "swarm") this.#swarm?.received(peer.id, body);
    else if (method === "key") this.#receiveKey(peer.id, body);
    else if (method.startsWith("release")) return this.#answerRelease(peer, method, body);
    else if (/^(?:authority|log)\./.test(method)) return this.#answerAuthority(peer, method, body);
    else throw methodUnknown(method);
    return undefined;
  };

  async #answerAuthority(peer: Peer, method: string, body: Cbor): Promise<Cbor | undefined> {
    if (this.#member === undefined)
      throw new CloisterError("NODE_NOT_READY", "This node has only just started.");
    return this.#member.answer(peer, method, body);
  }

  async #answerRelease(peer: Peer, method: string, body: Cbor): Promise<Cbor> {
    if (this.#release === undefined)
      throw new CloisterError("NODE_NOT_READY", "This node has only just started.");
    return this.#release.answer(peer, method, body);
  }

  #receiveKey(from: NodeId, body: Cbor): void {
    this.#keys?.received(from, new MessageFields(body), this.#ports.clock.nowMs());
  }

  /** First certified and registered, then a member; after that, looks again and again. */
  async #live(): Promise<void> {
    const { timers } = this.#ports;
    while (!this.#stopped && this.#swarm === undefined) {
      await this.#guarded("start-delayed", () => this.#join());
      if (this.#swarm === undefined) await timers.wait(LOOK_MS);
    }
    this.#watch = new ChainWatch({
      timers,
      look: () => this.#guarded("look-failed", () => this.#look()),
      expecting: () => this.#swarm?.awaitsChain === true,
    });
    void this.#watch.run();
    let certifyAtMs = this.#ports.clock.nowMs() + CERTIFY_MS;
    while (!this.#stopped) {
      await this.#guarded("chores-failed", () => this.#doChores());
      if (this.#ports.clock.nowMs() >= certifyAtMs) {
        certifyAtMs = this.#ports.clock.nowMs() + CERTIFY_MS;
        await this.#guarded("certification-failed", async () => this.#certification?.ensure());
      }
      await timers.wait(LOOK_MS);
    }
  }

  async #guarded(event: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#troubles.delete(event);
    } catch (error) {
      const refusal = innermost(error);
      const nowMs = this.#ports.clock.nowMs();
      const before = this.#troubles.get(event);
      const isNews = before?.code !== refusal.code || nowMs >= before.toldMs + LOG_MS;
      this.#troubles.set(event, { ...refusal, toldMs: isNews ? nowMs : before.toldMs });
      if (isNews) this.#ports.log.warn(event, { ...refusal });
    }
  }

  /** Of what fails at present, the first. */
  #trouble(): Refusal | undefined {
    const own = this.#ports.chain.view()?.state.nodes.get(this.id);
    if (own !== undefined && own.status !== "active") {
      return { code: "NODE_REVOKED", reason: `The chain's registry says of this node: ${own.status}.` };
    }
    const [first] = this.#troubles.values();
    if (first === undefined) return this.#swarm?.trouble;
    const { toldMs: _, ...refusal } = first;
    return refusal;
  }

  async #join(): Promise<void> {
    const { cvm, chain, clock, timers, entropy, log, records, machine, verifier } = this.#ports;
    const transport = this.#transport as Transport;
    await this.#certification?.ensure();
    const keys = (this.#keys ??= new KeyRing({
      ...{ cvm, entropy, log },
      send: (to, body) => this.#swarm?.notify(to, "key", body),
      isReachable: (id) => this.#swarm?.isConnected(id) ?? false,
      peerKeys: (id) => this.#peerKeys.get(id),
    }));
    this.#release ??= new KeyReleaseMember({
      ...{ cvm, verifier, chain, clock, entropy, log, keys, realm: this.#realm },
      channelTo: (id) => (this.#swarm as SwarmRuntime).channelTo(id),
      record: (entry) => this.#askLog("log.record", entry),
    });
    this.#desk ??= new OrderDesk({
      ...{ cvm, chain, clock, timers, log, operatorSecret: this.#ports.operatorSecret },
      loader: () => this.#loaderPorts(),
      changed: () => this.#feedWork(),
    });
    this.#swarm = await SwarmRuntime.start(
      {
        self: this.id,
        chainId: this.#realm.chainId,
        contract: this.#realm.contract,
        facts: { tee: cvm.tee.kind, simulated: cvm.tee.simulated, ...machine },
        signatures: swarmSignatures(chain.deployment, cvm.keys.settlementSecret),
        seed: new DataView(entropy(4).buffer).getUint32(0),
      },
      {
        ...{ transport, records, clock, timers, log },
        endpointOf: (id) => chain.view()?.state.nodes.get(id)?.endpoint,
        met: (peer) => this.#peerKeys.set(peer.id, peer),
      },
      {
        publishTerm: (certificate) => this.#publishTerm(certificate),
        publishGroup: (group) => this.#publishGroup(group),
        run: (assignment, signature) => this.#desk?.run(assignment, signature),
        abandon: (orderId) => this.#desk?.abandon(orderId),
        awaitChain: () => this.#watch?.hasten(),
      },
    );
    log.info("joined", { node: this.id, measurement: this.#measurement });
  }

  /** What the swarm goes by waits for nothing else: a failover is as slow as this. */
  async #look(): Promise<void> {
    const { state, block } = await this.#ports.chain.refresh();
    this.#policy.look(this.#transport);
    if (this.#fedBlock !== block.hash && this.#mayElect(state)) {
      this.#fedBlock = block.hash;
      this.#feed(state, block);
      this.#desk?.reconcile(state);
    }
  }

  async #doChores(): Promise<void> {
    const seen = this.#ports.chain.view();
    if (seen === undefined) return;
    const { state, block } = seen;
    const nowMs = this.#ports.clock.nowMs();
    this.#keys?.look(state, nowMs);
    await this.#refundOverdue(state, nowMs);
    await this.#makeProofs(state, block.number);
  }

  /** The first voters to come must not elect themselves while the others are on their way. */
  #mayElect(state: MarketState): boolean {
    return state.term.term > 0 || state.nodes.size >= this.#ports.votersMin;
  }

  #feed(state: MarketState, block: BlockMark): void {
    const swarm = this.#swarm;
    if (swarm === undefined) return;
    const nowMs = swarm.nowMs();
    swarm.feed({ kind: "goals", nowMs, goals: goalsOf(state) });
    const orders = openOrders(state, block, nowMs);
    swarm.feed({ kind: "registry", nowMs, view: registryView(state, block), orders });
  }

  #feedWork(): void {
    const swarm = this.#swarm;
    swarm?.feed({ kind: "work", nowMs: swarm.nowMs(), work: this.#desk?.work() ?? [] });
  }

  async #publishTerm({ term, leader, votes }: TermCertificate): Promise<void> {
    const { chain, operatorSecret, log } = this.#ports;
    const signatures = votes.map(({ signature }) => signature);
    const call = startTerm(chain.deployment, term, leader, signatures);
    // A chain that mines at once shows it before the receipt has been asked for.
    await chain.sendAtOnce(call, operatorSecret, () => this.#watch?.hasten());
    this.#watch?.hasten();
    log.info("term-published", { term, leader });
  }

  async #publishGroup(group: GroupRecord): Promise<void> {
    const { chain, cvm, operatorSecret, log } = this.#ports;
    const signature = signStatement(chain.deployment, "Group", group, cvm.keys.settlementSecret);
    await chain.send(formGroup(chain.deployment, group, signature), operatorSecret);
    this.#watch?.hasten();
    log.info("group-published", { goal: group.goalId, epoch: group.epoch, members: group.members });
  }

  async #makeProofs(state: MarketState, blockNumber: number): Promise<void> {
    const certificates = this.#certification?.current;
    if (certificates === undefined) return;
    for (const order of state.orders.values()) {
      if (order.settlement?.node !== this.id || order.status !== "succeeded") continue;
      const made = this.#proofs.get(order.id) ?? (await this.#readProof(order.id));
      // A proof that rests on a block which the chain took back is made again.
      if (made !== undefined && made.block <= blockNumber) continue;
      const end = await endOfOrder(this.#ports.records, order.id);
      if (end === undefined) continue;
      const { roots } = this.#ports.verifier;
      const proveEntry = (entry: Uint8Array) => this.#askLog("log.prove", entry);
      const proof = await makeProof(end, certificates, { ...this.#ports, roots, proveEntry });
      await this.#ports.records.write(`proof-${order.id.slice(2)}`, encodeCanonical({ ...proof }));
      this.#proofs.set(order.id, proof);
      this.#ports.log.info("proof-made", {
        order: order.id,
        sizeBytes: proof.bytes.length,
        block: proof.block,
      });
    }
  }

  async #readProof(orderId: OrderId): Promise<MadeProof | undefined> {
    const record = await this.#readQuietly(`proof-${orderId.slice(2)}`);
    if (record === undefined) return undefined;
    const proof = decodeCanonical(record) as unknown as MadeProof;
    this.#proofs.set(orderId, proof);
    return proof;
  }

  /** A record that can be made anew: one that does not open any more is made anew. */
  async #readQuietly(name: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#ports.records.read(name);
    } catch (error) {
      this.#ports.log.warn("record-lost", { record: name, code: codeOf(error) });
      return undefined;
    }
  }

  /** The leader, so that not everybody does, brings overdue orders' money back to their clients. */
  async #refundOverdue(state: MarketState, nowMs: number): Promise<void> {
    if (this.#swarm?.view().role !== "leader") return;
    const { chain, operatorSecret, log } = this.#ports;
    for (const orderId of state.openOrders) {
      const order = state.orders.get(orderId);
      if (order === undefined) continue;
      const endMs = endSeconds(unpackHead(order.escrow.head)) * 1000;
      if (nowMs < endMs + REFUND_AFTER_MS) continue;
      await chain.send(refundOrder(chain.deployment, orderId, order.escrow), operatorSecret);
      log.info("order-refunded", { order: orderId });
    }
  }

  #loaderPorts(): LoaderPorts {
    const { cvm, verifier, chain, records, store, sandbox, clock, entropy, log, limits } = this.#ports;
    const certified = this.#certification?.current;
    if (certified === undefined) throw new CloisterError("NODE_NOT_READY", "This node is not certified yet.");
    return {
      self: {
        node: this.id,
        identity: cvm.keys.identity,
        sign: cvm.sign,
        tee: cvm.tee.kind,
        measurement: this.#measurement,
        certificate: certified,
      },
      ...{ limits, store, sandbox, records, clock, entropy, log },
      chain: loaderChain(chain, clock),
      release: this.#release as KeyReleaseMember,
      attester: attesterOf(cvm, verifier),
      statements: {
        append: async (statement) => {
          const kind = openSign1(statement).contentType === REFUSAL_TYPE ? "order-refusal" : "order-report";
          const receipt = await this.#askLog("log.record", encodeLogEntry({ kind, statement }));
          return encodeCanonical({ ...receipt, path: [...receipt.path] });
        },
      },
    };
  }

  async #askLog(method: "log.record" | "log.prove", entry: Uint8Array): Promise<Receipt> {
    const channel = await this.#authorityChannel();
    const answer = new MessageFields(await channel.request(method, { entry }, LOG_MS));
    return {
      index: answer.count("index"),
      path: answer.byteList("path"),
      checkpoint: answer.bytes("checkpoint"),
    };
  }

  async #authorityChannel(): Promise<Channel> {
    if (this.#authority !== undefined) return this.#authority;
    const channel = await (this.#transport as Transport).connect(this.#ports.authorityEndpoint);
    this.#authority = channel;
    void channel.closed.then(() => (this.#authority = undefined));
    return channel;
  }
}

/** What a peer gave as its reason, where it refused this node; else what was thrown. */
function innermost(error: unknown): Refusal {
  const listed =
    error instanceof CloisterError ? (error.details["refusals"] as Refusal[] | undefined) : undefined;
  return (
    listed?.[0] ?? { code: codeOf(error), reason: error instanceof Error ? error.message : String(error) }
  );
}
