import { accept, refuse, type NodeId, type OrderId } from "@cloister/core";
import {
  decodeRecord,
  encodeRecord,
  init,
  nextBelow,
  nextFraction,
  nextWakeMs,
  nextWord,
  seedRandom,
  step,
  TIMING_DEFAULT,
  viewOf,
  type Assignment,
  type DurableRecord,
  type Effect,
  type Goal,
  type HardwareFacts,
  type Input,
  type MemberRecord,
  type Message,
  type OpenOrder,
  type Random,
  type RegistryView,
  type Signatures,
  type SwarmConfig,
  type SwarmState,
  type Timing,
} from "@cloister/swarm";
import { SimulatedChain, type ChainState } from "./chain.ts";
import { broken, Checker, InvariantError } from "./checker.ts";
import { noDrills, type DrillFigure } from "./drills/drill.ts";
import { noHarm, type HarmFigure } from "./faults.ts";
import { EventQueue } from "./event-queue.ts";
import { FACTS, memberRecords, nodeIdOf, type Scenario } from "./scenario.ts";
import { simulatedSignatures } from "./signatures.ts";

const CHAIN_ID = 31_337;
const CONTRACT = `0x${"c0ffee00".padEnd(40, "1")}` as NodeId;

/** Ticks that a node may ask for in a second; one that wakes again and again for what is overdue takes a thousand. */
const TICKS_PER_SECOND_MAX = 500;
/** How often a run is asked whether it is done, in virtual time. */
const DONE_ASKED_EVERY_MS = 20;

const EVENT = {
  wake: 0,
  deliver: 1,
  block: 2,
  view: 3,
  peerUp: 4,
  peerDown: 5,
  loader: 6,
  thaw: 7,
  call: 8,
} as const;

/** One machine: what is lost in a crash, and what is not. */
export interface SimNode {
  readonly id: NodeId;
  readonly index: number;
  /** Its clock: `localMs = offsetMs + rate * worldMs`; the offset may jump, but never back. */
  offsetMs: number;
  readonly rate: number;
  state: SwarmState | undefined;
  /** Counts lives; events meant for an earlier one are void. */
  life: number;
  frozen: boolean;
  wakeMs: number;
  /** Ticks that it had in the second that began then. */
  readonly ticks: { sinceMs: number; count: number };
  disk: Uint8Array | undefined;
  record: DurableRecord | undefined;
  forgot: boolean;
  drained: boolean;
  /** Whether its evidence appraises well; peers refuse it otherwise. */
  genuine: boolean;
  view: RegistryView;
  readonly loader: Map<OrderId, LoaderEntry>;
  /** When each voter last renewed the lease of a term here, by voter and term. */
  readonly renewals: Map<string, number>;
  readonly backlog: Input[];
  readonly refusedPeers: Set<NodeId>;
  stepsInLife: number;
  viewLagMs: number;
}

/** Marks a message on the wire that no node may take. */
class Hostile {
  readonly message: unknown;

  constructor(message: unknown) {
    this.message = message;
  }
}

interface LoaderEntry {
  assignment: Assignment;
  doneMs: number;
  done: boolean;
  submittedMs: number;
}

/** Counts of what a run went through. */
export interface RunFigures extends Record<HarmFigure | DrillFigure, number> {
  steps: number;
  messages: number;
  lost: number;
  duplicated: number;
  overtaken: number;
  refused: number;
  elections: number;
  crashes: number;
  forgeries: number;
  garbage: number;
  epochs: number;
  settled: number;
  moved: number;
  deaths: number;
}

/** The part of the swarm's package that a world runs. */
export type Core = Pick<typeof import("@cloister/swarm"), "init" | "step" | "nextWakeMs" | "viewOf">;

/** Machines and a network that somebody describes, in place of those that the seed draws. */
export interface WorldOptions {
  readonly members?: readonly MemberRecord[];
  /** Round trips without queueing; they must not change. */
  readonly rttMsOf?: (from: number, to: number) => number;
}

/** The simulated world: production nodes on a virtual clock, network, disks, chain and hardware roots. */
export class World {
  readonly scenario: Scenario;
  readonly random: Random;
  readonly queue = new EventQueue(4096);
  readonly checker = new Checker();
  readonly chain: SimulatedChain;
  readonly nodes: SimNode[];
  readonly figures: RunFigures;
  readonly trace: { atMs: number; node: number; event: string; fields: unknown }[] = [];
  readonly #payloads: unknown[] = [];
  readonly #freePayloads: number[] = [];
  readonly #timing: Timing;
  readonly #worldKey: number;
  readonly #signatures: Signatures;
  /** Cut links by `from * nodes + to`. */
  readonly cuts: Uint8Array;
  readonly extraDelayMs: Float64Array;
  readonly #connected: Uint8Array;
  readonly replayable: { from: number; to: number; message: Message }[] = [];
  chainUp = true;
  healed = false;
  /** A node that is gone for good. */
  lost: number | undefined;
  /** The membership that the registry was last told to have. */
  wantedMembers: readonly MemberRecord[];
  readonly firstMembers: readonly MemberRecord[];
  loss: number;
  /** Share of messages that are overtaken by later ones. */
  reorder: number;
  duplicate: number;
  /** The goals that every node is given. */
  goals: readonly Goal[];
  /** Nodes whose settlements never reach the chain: their hosts hold them back. */
  readonly withheld = new Set<number>();
  /** Sees each message before the node it is for; true when it took it. */
  tap: ((to: number, input: Input) => boolean) | undefined;
  /** Says which messages are lost on their way. */
  drops: ((from: number, to: number, message: unknown) => boolean) | undefined;
  /** How long an order takes on a loader, about. */
  workMs = 500;
  nowMs = 0;
  reorganised = false;
  lastBlock: ChainState;
  traceHash = 0;
  recordTrace = false;
  /** Sees every message that a node sends; for counting. */
  onSend: ((message: Message) => void) | undefined;
  /** Nodes that ever ran each order. */
  readonly runners = new Map<OrderId, Set<number>>();
  /** Hardware of each node. */
  factsOf: (index: number) => HardwareFacts = () => FACTS;
  /** What every message of this swarm begins with. */
  readonly envelope = { chainId: CHAIN_ID, swarm: CONTRACT.slice(2, 10) };
  /** Set by tests: a core with seeded faults in place of the production one. */
  core: Core = { init, step, nextWakeMs, viewOf };

  readonly #rttMsOf: ((from: number, to: number) => number) | undefined;

  constructor(scenario: Scenario, { members: given, rttMsOf }: WorldOptions = {}) {
    this.scenario = scenario;
    this.#rttMsOf = rttMsOf;
    this.random = seedRandom(scenario.seed ^ 0x5eed);
    this.#worldKey = nextWord(this.random);
    this.#timing = {
      ...TIMING_DEFAULT,
      probeIntervalMs: scenario.probeIntervalMs,
      confirmMs: 3_000 + 4 * scenario.blockMs,
    };
    this.loss = scenario.loss;
    this.reorder = scenario.reorder;
    this.duplicate = scenario.duplicate;
    this.goals = scenario.goals;
    const members = given ?? memberRecords(scenario.nodes, scenario.voters);
    this.firstMembers = members;
    this.wantedMembers = members;
    this.#signatures = simulatedSignatures(nodeIdOf(0), this.#worldKey);
    this.chain = new SimulatedChain(members, this.#signatures);
    this.lastBlock = this.chain.head;
    const links = scenario.nodes * scenario.nodes;
    this.#connected = new Uint8Array(links);
    this.cuts = new Uint8Array(links);
    this.extraDelayMs = new Float64Array(links);
    this.nodes = members.map((_, index) => this.#createNode(index));
    this.figures = {
      steps: 0,
      messages: 0,
      lost: 0,
      duplicated: 0,
      overtaken: 0,
      refused: 0,
      elections: 0,
      crashes: 0,
      forgeries: 0,
      garbage: 0,
      epochs: 0,
      settled: 0,
      moved: 0,
      deaths: 0,
      ...noHarm(),
      ...noDrills(),
    };
  }

  #createNode(index: number): SimNode {
    const hours = 3_600_000;
    return {
      id: nodeIdOf(index),
      index,
      offsetMs: Math.floor((nextFraction(this.random) - 0.5) * 12 * hours) + 12 * hours,
      rate: 1 + (nextFraction(this.random) - 0.5) * 0.02,
      state: undefined,
      life: 0,
      frozen: false,
      wakeMs: Infinity,
      ticks: { sinceMs: 0, count: 0 },
      disk: undefined,
      record: undefined,
      forgot: false,
      drained: false,
      genuine: true,
      view: { blockNumber: -1, members: [], term: 0, leader: undefined, groups: [] },
      loader: new Map(),
      renewals: new Map(),
      backlog: [],
      refusedPeers: new Set(),
      stepsInLife: 0,
      viewLagMs: 1 + nextFraction(this.random) * this.scenario.viewLagMsMax,
    };
  }

  #hold(payload: unknown): number {
    const slot = this.#freePayloads.pop() ?? this.#payloads.length;
    this.#payloads[slot] = payload;
    return slot;
  }

  #release(slot: number): unknown {
    const payload = this.#payloads[slot];
    this.#payloads[slot] = undefined;
    this.#freePayloads.push(slot);
    return payload;
  }

  /** Calls back at a time: faults and probes of the world, not of nodes. */
  schedule(atMs: number, call: () => void): void {
    this.queue.push(atMs, EVENT.call, this.#hold(call), 0, 0);
  }

  /** How long a voter waits for the chain to confirm whom it saw elected. */
  get confirmMs(): number {
    return this.#timing.confirmMs;
  }

  localMs(node: SimNode): number {
    return node.offsetMs + node.rate * this.nowMs;
  }

  /** Starts every node a little after one another, and the chain. */
  begin(): void {
    this.queue.push(this.scenario.blockMs, EVENT.block, 0, 0, 0);
    for (const node of this.nodes) {
      this.schedule(nextFraction(this.random) * 200, () => this.start(node));
    }
  }

  /** Boots a node from whatever its disk holds. */
  start(node: SimNode): void {
    if (node.state !== undefined) return;
    node.life++;
    node.frozen = false;
    node.record = this.#readDisk(node);
    const nowMs = this.localMs(node);
    node.state = this.core.init({
      ...this.configOf(node),
      ...{ seed: nextWord(this.random), nowMs, record: node.record },
    });
    node.wakeMs = Infinity;
    node.drained = false;
    this.note(node, "started");
    this.feed(node, { kind: "goals", nowMs, goals: this.goals });
    this.#sendView(node);
    this.queue.push(this.nowMs + 50, EVENT.loader, node.index, node.life, 0);
  }

  /** What a node is started with, whatever its disk holds. */
  configOf(node: SimNode): Omit<SwarmConfig, "seed" | "nowMs" | "record"> {
    return {
      ...{ self: node.id, chainId: CHAIN_ID, contract: CONTRACT },
      ...{ facts: this.factsOf(node.index), signatures: this.signaturesOf(node), timing: this.#timing },
    };
  }

  /** A node's own key; the checker hears of every assignment that is signed with it. */
  signaturesOf(node: SimNode): Signatures {
    const { checker } = this;
    const { sign, verify } = simulatedSignatures(node.id, this.#worldKey);
    return {
      sign: (statement) => {
        if (statement.kind === "assignment") {
          const { kind: _, ...assignment } = statement;
          checker.signedAssignment(assignment);
        }
        return sign(statement);
      },
      verify,
    };
  }

  #readDisk(node: SimNode): DurableRecord | undefined {
    if (node.disk === undefined) return undefined;
    try {
      return decodeRecord(node.disk);
    } catch {
      node.forgot = true;
      node.disk = undefined;
      return undefined;
    }
  }

  /** Stops a node at once. What was not durable is gone. */
  crash(node: SimNode): void {
    if (node.state === undefined) return;
    this.note(node, "stopped");
    node.state = undefined;
    node.life++;
    node.wakeMs = Infinity;
    node.backlog.length = 0;
    node.loader.clear();
    node.renewals.clear();
    node.refusedPeers.clear();
    node.stepsInLife = 0;
    for (const peer of this.nodes) this.#hangUp(node.index, peer.index);
  }

  #hangUp(a: number, b: number): void {
    const { nodes } = this.scenario;
    if (this.#connected[a * nodes + b] === 0) return;
    this.#connected[a * nodes + b] = 0;
    this.#connected[b * nodes + a] = 0;
    // Whoever hangs up knows at once. A reset crosses the network like anything else; across a cut it never comes.
    this.queue.push(this.nowMs, EVENT.peerDown, a, b, 0);
    if (this.cuts[a * nodes + b] === 0) {
      this.queue.push(this.nowMs + this.#delayMs(a, b), EVENT.peerDown, b, a, 0);
    }
  }

  /** Tells one node one thing and carries out what it wants done. */
  feed(node: SimNode, input: Input): void {
    if (node.state === undefined) return;
    if (node.frozen) {
      node.backlog.push(input);
      return;
    }
    if (input.kind === "peer-up") {
      if (input.verdict.ok) node.refusedPeers.delete(input.id);
      else node.refusedPeers.add(input.id);
    }
    this.figures.steps++;
    node.stepsInLife++;
    const result = this.core.step(node.state, input);
    node.state = result.state;
    if (input.kind === "registry" && result.state.election.certificate !== undefined)
      this.checker.role(node.id, this.core.viewOf(result.state).role, input.view, this.nowMs);
    const { life } = node;
    for (const effect of result.effects) {
      this.#mix(node.index, effect.kind);
      if (node.life !== life) return;
      this.#checked(node, effect);
      this.#carryOut(node, effect);
    }
    if (node.life === life) this.#planWake(node);
  }

  /** A clock that jumped makes timers due at once. */
  rewake(node: SimNode): void {
    if (node.state !== undefined && !node.frozen)
      this.feed(node, { kind: "tick", nowMs: this.localMs(node) });
  }

  #planWake(node: SimNode): void {
    const localMs = this.core.nextWakeMs(node.state as SwarmState);
    const atMs = Math.max(this.nowMs + 1, (localMs - node.offsetMs) / node.rate + 0.01);
    if (atMs >= node.wakeMs && node.wakeMs > this.nowMs) return;
    node.wakeMs = atMs;
    if (atMs < Infinity) this.queue.push(atMs, EVENT.wake, node.index, node.life, 0);
  }

  #countTick(node: SimNode): void {
    const { ticks } = node;
    if (this.nowMs >= ticks.sinceMs + 1_000) [ticks.sinceMs, ticks.count] = [this.nowMs, 0];
    if (++ticks.count > TICKS_PER_SECOND_MAX) broken("STEPS_BOUNDED", this.nowMs, `${node.id} spins`);
  }

  #checked(node: SimNode, effect: Effect): void {
    const { record, renewals, forgot, drained, view } = node;
    if (effect.kind === "log" || effect.kind === "connect" || effect.kind === "persist") return;
    if (effect.kind === "send" && (effect.message.kind === "ping" || effect.message.kind === "ack")) {
      this.checker.probe(effect.message, this.nowMs);
      if (!node.refusedPeers.has(effect.to)) return;
    }
    this.checker.effect(effect, {
      node: node.id,
      atMs: this.nowMs,
      localMs: this.localMs(node),
      view,
      ...{ timing: this.#timing, goals: this.goals },
      durableVotedTerm: record?.votedTerm ?? -1,
      durableOrders: new Set(record?.assignments.map(({ assignment }) => assignment.orderId)),
      forgot,
      drained,
      resuming: node.stepsInLife === 1,
      refusedPeers: node.refusedPeers,
      verifies: this.#signatures.verify,
      renewals,
    });
  }

  /** Folds what happened into one number, so that two runs can be told apart. */
  #mix(node: number, kind: string): void {
    let hash = this.traceHash ^ Math.imul(node + 1, 0x9e3779b1) ^ Math.imul(kind.length, 0x85ebca6b);
    hash = Math.imul(hash ^ Math.floor(this.nowMs * 1024), 0xc2b2ae35);
    this.traceHash = (hash ^ (hash >>> 15)) >>> 0;
  }

  #carryOut(node: SimNode, effect: Effect): void {
    switch (effect.kind) {
      case "send":
        return this.#transmit(node.index, this.indexOf(effect.to), effect.message);
      case "persist":
        node.record = effect.record;
        node.disk = encodeRecord(effect.record);
        return;
      case "publish-term":
        return this.#submit(() => this.chain.submit({ kind: "term", certificate: effect.certificate }));
      case "publish-group":
        return this.#submit(() => this.chain.submit({ kind: "group", group: effect.group, sender: node.id }));
      case "run":
        return this.#load(node, effect.assignment);
      case "abandon":
        node.loader.delete(effect.orderId);
        return;
      case "connect":
        return this.#dial(node.index, this.indexOf(effect.peer));
      case "disconnect":
        return this.#hangUp(node.index, this.indexOf(effect.peer));
      case "assign":
        return;
      case "log":
        this.#noteLog(node, effect);
    }
  }

  #noteLog(node: SimNode, effect: Extract<Effect, { kind: "log" }>): void {
    if (effect.event === "member-dead") this.figures.deaths++;
    if (effect.event === "order-moved") this.figures.moved++;
    this.note(node, effect.event, effect.fields);
  }

  /** Writes a line of the story, when somebody reads it. */
  note(node: SimNode, event: string, fields: unknown = {}): void {
    if (this.recordTrace) this.trace.push({ atMs: this.nowMs, node: node.index, event, fields });
  }

  indexOf(id: NodeId): number {
    return Number.parseInt(id.slice(2), 16) - 1;
  }

  #submit(call: () => void): void {
    if (!this.chainUp || nextFraction(this.random) < this.loss / 2) return;
    this.schedule(this.nowMs + 1 + nextFraction(this.random) * 20, call);
  }

  #load(node: SimNode, assignment: Assignment): void {
    const runners = this.runners.get(assignment.orderId) ?? new Set();
    this.runners.set(assignment.orderId, runners.add(node.index));
    const entry = node.loader.get(assignment.orderId);
    if (entry !== undefined) entry.assignment = assignment;
    else {
      const doneMs = this.nowMs + this.workMs * (0.2 + nextFraction(this.random));
      node.loader.set(assignment.orderId, { assignment, doneMs, done: false, submittedMs: -Infinity });
    }
  }

  /** The loader works, settles on chain, and says how far it is. */
  #runLoader(node: SimNode): void {
    let changed = false;
    for (const entry of node.loader.values()) {
      if (!entry.done && this.nowMs >= entry.doneMs) {
        entry.done = true;
        changed = true;
      }
      if (!entry.done || this.nowMs < entry.submittedMs + 500 || this.withheld.has(node.index)) continue;
      entry.submittedMs = this.nowMs;
      const { assignment } = entry;
      this.#submit(() => this.chain.submit({ kind: "settle", assignment, sender: node.id }));
    }
    if (!changed) return;
    const work = [...node.loader].map(([orderId, { done }]) => {
      return { orderId, state: done ? ("done" as const) : ("running" as const) };
    });
    this.feed(node, { kind: "work", nowMs: this.localMs(node), work });
  }

  /** One-way delay: half of a round trip that the pair's places give, and a little queueing. */
  #delayMs(from: number, to: number): number {
    const { nodes, rttMsMax, seed } = this.scenario;
    const low = Math.min(from, to);
    const high = Math.max(from, to);
    const place = Math.imul(low * 131 + high + seed, 0x9e3779b1) >>> 0;
    const drawnMs = (rttMsMax / 2) * (0.2 + 0.8 * (place / 4294967296));
    const baseMs = this.#rttMsOf === undefined ? drawnMs : this.#rttMsOf(from, to) / 2;
    const jitterMs = nextFraction(this.random) * Math.min(2, baseMs * 0.1 + 0.1);
    return baseMs + jitterMs + (this.extraDelayMs[from * nodes + to] as number);
  }

  #transmit(from: number, to: number, message: Message): void {
    const { nodes } = this.scenario;
    this.figures.messages++;
    this.onSend?.(message);
    if (this.#connected[from * nodes + to] === 0) return;
    this.#remember(from, to, message);
    this.post(from, to, message, this.reorder);
    if (nextFraction(this.random) < this.duplicate) {
      this.figures.duplicated++;
      this.post(from, to, message, 1);
    }
  }

  /** Keeps a sample of what was sent, to be replayed: rare kinds more often than probes. */
  #remember(from: number, to: number, message: Message): void {
    const common = message.kind === "ping" || message.kind === "ack";
    if (this.replayable.length < 64) this.replayable.push({ from, to, message });
    else if (nextBelow(this.random, common ? 200 : 3) === 0) {
      this.replayable[nextBelow(this.random, 64)] = { from, to, message };
    }
  }

  /** Puts one message on the wire; also used to inject what no node sent. */
  post(from: number, to: number, message: unknown, reorder = 0): void {
    if (this.cuts[from * this.scenario.nodes + to] !== 0) return;
    if (this.drops?.(from, to, message) === true) {
      this.figures.lost++;
      return;
    }
    if (nextFraction(this.random) < this.loss) {
      this.figures.lost++;
      return;
    }
    const lateMs = nextFraction(this.random) < reorder ? nextFraction(this.random) * 60 : 0;
    if (lateMs > 0) this.figures.overtaken++;
    this.queue.push(
      this.nowMs + this.#delayMs(from, to) + lateMs,
      EVENT.deliver,
      to,
      from,
      this.#hold(message),
    );
  }

  /** Posts what must be refused and counted against its sender, whoever gets it. */
  postHostile(from: number, to: number, message: unknown): void {
    this.post(from, to, new Hostile(message));
  }

  #deliverHostile(node: SimNode, from: number, message: unknown): void {
    const refused = (): number => {
      let sum = 0;
      for (const times of node.state?.refusals.get(nodeIdOf(from))?.values() ?? []) sum += times;
      return sum;
    };
    if (node.frozen) return;
    const before = refused();
    this.feed(node, { kind: "received", nowMs: this.localMs(node), from: nodeIdOf(from), message });
    if (node.state !== undefined && refused() <= before) {
      broken("HOSTILE_REFUSED", this.nowMs, `${node.id} took ${JSON.stringify(message)}`);
    }
  }

  #deliver(to: number, from: number, message: unknown): void {
    const node = this.nodes[to] as SimNode;
    if (node.state === undefined) return;
    if (message instanceof Hostile) return this.#deliverHostile(node, from, message.message);
    const input: Input = { kind: "received", nowMs: this.localMs(node), from: nodeIdOf(from), message };
    if (this.tap?.(to, input) === true) return;
    if (!node.frozen) this.#noteRenewal(node, input);
    this.feed(node, input);
  }

  /** A handshake: two round trips, evidence both ways. A cut link or a dead peer gives nothing. */
  #dial(from: number, to: number): void {
    const { nodes } = this.scenario;
    const peer = this.nodes[to] as SimNode;
    if (this.#connected[from * nodes + to] === 1 || peer.state === undefined || peer.frozen) return;
    if (this.cuts[from * nodes + to] !== 0 || this.cuts[to * nodes + from] !== 0) return;
    const readyMs = this.nowMs + 4 * this.#delayMs(from, to);
    const dialer = this.nodes[from] as SimNode;
    this.queue.push(readyMs, EVENT.peerUp, from, to, (dialer.life & 0xffff) | ((peer.life & 0x7fff) << 16));
  }

  #channelUp(a: number, b: number, lives: number): void {
    const { nodes } = this.scenario;
    const [nodeA, nodeB] = [this.nodes[a] as SimNode, this.nodes[b] as SimNode];
    if ((nodeA.life & 0xffff) !== (lives & 0xffff) || (nodeB.life & 0x7fff) !== lives >>> 16) return;
    if (nodeA.state === undefined || nodeB.state === undefined) return;
    if (this.#connected[a * nodes + b] === 1 || this.cuts[a * nodes + b] !== 0) return;
    const good = nodeA.genuine && nodeB.genuine;
    if (good) {
      this.#connected[a * nodes + b] = 1;
      this.#connected[b * nodes + a] = 1;
    }
    this.#tellUp(nodeA, nodeB);
    this.#tellUp(nodeB, nodeA);
  }

  #tellUp(node: SimNode, peer: SimNode): void {
    const verdict = peer.genuine
      ? accept({ facts: this.factsOf(peer.index) })
      : refuse("TDX_SIGNATURE_INVALID", "The quote is not signed by the simulation root.");
    if (peer.genuine && !node.genuine) return;
    this.feed(node, { kind: "peer-up", nowMs: this.localMs(node), id: peer.id, verdict });
  }

  /** Everyone with a channel to a node appraises it again, some time within a second. */
  appraiseAnew(node: SimNode): void {
    for (const peer of this.nodes) {
      if (this.#connected[peer.index * this.scenario.nodes + node.index] === 0) continue;
      this.schedule(this.nowMs + nextFraction(this.random) * 1_000, () => {
        const open = this.#connected[peer.index * this.scenario.nodes + node.index] === 1;
        if (open && peer.state !== undefined && !node.genuine) this.#tellUp(peer, node);
      });
    }
  }

  #mineBlock(): void {
    this.queue.push(this.nowMs + this.scenario.blockMs, EVENT.block, 0, 0, 0);
    if (!this.chainUp) return;
    const before = this.lastBlock;
    const after = this.chain.mine();
    this.lastBlock = after;
    this.checker.block(after.view, this.reorganised, this.nowMs);
    if (after.view.term > before.view.term) this.figures.elections++;
    if (after.view.groups !== before.view.groups) this.figures.epochs++;
    this.#noteBlock(before.view, after.view);
    for (const [orderId, { node, term }] of after.settled) {
      if (before.settled.has(orderId)) continue;
      this.figures.settled++;
      this.checker.settlement(orderId, `${node} in term ${term}`, this.reorganised, this.nowMs);
    }
    for (const node of this.nodes) {
      this.queue.push(
        this.nowMs + node.viewLagMs * nextFraction(this.random),
        EVENT.view,
        node.index,
        node.life,
        0,
      );
    }
  }

  /** Leaders and groups as the chain shows them, told of the nodes they concern. */
  #noteBlock(before: RegistryView, after: RegistryView): void {
    const { leader, term } = after;
    if (leader !== undefined && (leader !== before.leader || term !== before.term)) {
      this.note(this.nodes[this.indexOf(leader)] as SimNode, "leads", { term });
    }
    for (const group of after.groups) {
      if (before.groups.includes(group)) continue;
      for (const member of group.members) {
        const { goalId, epoch } = group;
        this.note(this.nodes[this.indexOf(member)] as SimNode, "joins", { goalId, epoch });
      }
    }
  }

  #sendView(node: SimNode): void {
    if (!this.chainUp || node.state === undefined) return;
    const { view, orders } = this.chain.head;
    if (view === node.view && node.state !== undefined && node.frozen) return;
    const nowMs = this.localMs(node);
    if (!node.frozen) node.view = view;
    this.#tell(node, { kind: "registry", nowMs, view, orders: [...orders.values()] as OpenOrder[] });
  }

  #tell(node: SimNode, input: Input): void {
    if (this.tap?.(node.index, input) !== true) this.feed(node, input);
  }

  /** Wakes a frozen node: everything that arrived meanwhile arrives now. */
  thaw(node: SimNode): void {
    if (!node.frozen) return;
    node.frozen = false;
    const backlog = node.backlog.splice(0);
    for (const input of backlog) {
      if (input.kind === "registry") node.view = input.view;
      this.#noteRenewal(node, input);
      this.feed(node, { ...input, nowMs: this.localMs(node) });
    }
    if (node.state !== undefined) this.feed(node, { kind: "tick", nowMs: this.localMs(node) });
  }

  #noteRenewal(node: SimNode, input: Input): void {
    if (input.kind !== "received") return;
    const message = input.message as Readonly<Record<string, unknown>> | null;
    const key = `${input.from} ${String(message?.["term"])}`;
    // Its vote is a voter's first word to the leader of the term.
    const votes = message?.["kind"] === "vote" && message["candidate"] === node.id;
    const renews = message?.["kind"] === "ping" && message["lease"] === true;
    if (votes || renews) node.renewals.set(key, this.localMs(node));
  }

  /** Runs until `untilMs`, or until `done` says so (asked now and then). */
  run(untilMs: number, done?: () => boolean): void {
    let askMs = this.nowMs;
    while (this.queue.nextMs() <= untilMs && this.queue.pop()) {
      const { timeMs, kind, a, b, c } = this.queue;
      this.nowMs = Math.max(this.nowMs, timeMs);
      this.#dispatch(kind, a, b, c);
      if (done === undefined || this.nowMs < askMs) continue;
      if (done()) return;
      askMs = this.nowMs + DONE_ASKED_EVERY_MS;
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  #dispatch(kind: number, a: number, b: number, c: number): void {
    const node = this.nodes[a] as SimNode;
    switch (kind) {
      case EVENT.wake:
        if (node.life !== b || node.wakeMs > this.nowMs) return;
        node.wakeMs = Infinity;
        this.#countTick(node);
        if (!node.frozen) this.feed(node, { kind: "tick", nowMs: this.localMs(node) });
        return;
      case EVENT.deliver:
        return this.#deliver(a, b, this.#release(c));
      case EVENT.block:
        return this.#mineBlock();
      case EVENT.view:
        if (node.life === b) this.#sendView(node);
        return;
      case EVENT.peerUp:
        return this.#channelUp(a, b, c);
      case EVENT.peerDown:
        if (this.#connected[a * this.scenario.nodes + b] === 1) return;
        this.feed(node, { kind: "peer-down", nowMs: this.localMs(node), id: nodeIdOf(b) });
        return;
      case EVENT.loader:
        if (node.life !== b) return;
        if (!node.frozen) this.#runLoader(node);
        this.queue.push(this.nowMs + 50, EVENT.loader, a, b, 0);
        return;
      case EVENT.call:
        return (this.#release(a) as () => void)();
    }
  }
}

/** Stops a run that throws from within the core: `step` never may. */
export function guarded(world: World, run: () => void): void {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof InvariantError) throw thrown;
    broken(
      "STEP_NEVER_THROWS",
      world.nowMs,
      thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
    );
  }
}
