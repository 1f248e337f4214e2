import { accept, type Address, type NodeId, type OrderId } from "@cloister/core";
import {
  hashText,
  init,
  nextWakeMs,
  step,
  type Body,
  type DurableRecord,
  type Effect,
  type Goal,
  type Input,
  type MemberRecord,
  type OpenOrder,
  type RegistryView,
  type Signatures,
  type SwarmConfig,
  type SwarmState,
} from "../src/index.ts";

export const CHAIN_ID = 31_337;
export const CONTRACT = `0x${"ab".repeat(20)}` as Address;
export const FACTS = { tee: "tdx", simulated: true, cpus: 4, memoryBytes: 2 ** 33, gpus: 0 };

export function nodeId(index: number): NodeId {
  return `0x${(index + 1).toString(16).padStart(40, "0")}` as NodeId;
}

export function orderId(index: number): OrderId {
  return `0x${(index + 1).toString(16).padStart(64, "0")}` as OrderId;
}

export function memberList(count: number): MemberRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    id: nodeId(index),
    operator: `0x${index.toString(16).padStart(40, "f")}` as Address,
    voter: true,
    facts: FACTS,
  }));
}

/** A keyed hash in place of secp256k1: every port checks it, only a node's own port makes it. */
export function signaturesOf(self: NodeId): Signatures {
  const mark = (text: string): Uint8Array => {
    const hash = hashText(text, 7);
    return Uint8Array.of(hash >>> 24, (hash >>> 16) & 255, (hash >>> 8) & 255, hash & 255);
  };
  return {
    sign: (statement) => mark(self + JSON.stringify(statement)),
    verify: (statement, signer, signature) =>
      mark(signer + JSON.stringify(statement)).join() === signature.join(),
  };
}

export function configOf(index: number, nowMs = 0, record?: DurableRecord): SwarmConfig {
  const self = nodeId(index);
  const signatures = signaturesOf(self);
  return {
    self,
    chainId: CHAIN_ID,
    contract: CONTRACT,
    facts: FACTS,
    signatures,
    seed: index + 1,
    nowMs,
    record,
  };
}

/** A message as it would arrive, envelope and all. */
export function messageOf(body: Body): unknown {
  return { chainId: CHAIN_ID, swarm: CONTRACT.slice(2, 10), ...body };
}

export const ORIGIN = { point: [0, 0, 0, 0], heightMs: 1, error: 1 };

/** One node that was admitted, and has channels to everyone. */
export function readyNode(index: number, count: number, view?: Partial<RegistryView>): SwarmState {
  const state = init(configOf(index));
  const members = memberList(count);
  const whole = { blockNumber: 1, members, term: 0, leader: undefined, groups: [], ...view };
  step(state, { kind: "registry", nowMs: 0, view: whole });
  for (const member of whole.members) {
    if (member.id === nodeId(index)) continue;
    step(state, { kind: "peer-up", nowMs: 0, id: member.id, verdict: accept({ facts: FACTS }) });
  }
  return state;
}

export function receive(state: SwarmState, from: NodeId, body: Body, nowMs = state.nowMs): readonly Effect[] {
  return step(state, { kind: "received", nowMs, from, message: messageOf(body) }).effects;
}

/** Nodes joined by a network without delay and a chain without blocks: for transcripts. */
export class Cluster {
  readonly members: readonly MemberRecord[];
  readonly states: (SwarmState | undefined)[];
  readonly records: (DurableRecord | undefined)[];
  readonly log: { readonly atMs: number; readonly node: number; readonly effect: Effect }[] = [];
  readonly cut = new Set<number>();
  /** Pairs that hear nothing of one another, as `low-high`. */
  readonly blocked = new Set<string>();
  readonly goals: readonly Goal[];
  view: RegistryView;
  orders: OpenOrder[] = [];
  nowMs = 0;
  /** Certificates and groups reach the chain only while this is set. */
  chainUp = true;
  /** One-way delay that a node's links have on top. */
  readonly slowMs: Map<number, number>;
  #wires: {
    readonly dueMs: number;
    readonly from: number;
    readonly to: number;
    readonly message: unknown;
  }[] = [];

  constructor(count: number, goals: readonly Goal[] = [], slowMs = new Map<number, number>()) {
    this.goals = goals;
    this.slowMs = slowMs;
    this.members = memberList(count);
    this.view = { blockNumber: 0, members: this.members, term: 0, leader: undefined, groups: [] };
    this.states = Array.from({ length: count });
    this.records = Array.from({ length: count });
    for (let node = 0; node < count; node++) this.start(node);
  }

  start(node: number): void {
    this.states[node] = init(configOf(node, this.nowMs, this.records[node]));
    this.feed(node, { kind: "goals", nowMs: this.nowMs, goals: this.goals });
    this.feed(node, { kind: "registry", nowMs: this.nowMs, view: this.view });
    this.feed(node, { kind: "orders", nowMs: this.nowMs, orders: this.orders });
    for (let peer = 0; peer < this.states.length; peer++) {
      if (peer === node || this.states[peer] === undefined) continue;
      this.feed(node, this.peerUp(peer));
      this.feed(peer, this.peerUp(node));
    }
  }

  peerUp(peer: number): Input {
    return { kind: "peer-up", nowMs: this.nowMs, id: nodeId(peer), verdict: accept({ facts: FACTS }) };
  }

  /** Kills a node; its channels break, its disk stays. */
  stop(node: number): void {
    this.states[node] = undefined;
    for (let peer = 0; peer < this.states.length; peer++) {
      this.feed(peer, { kind: "peer-down", nowMs: this.nowMs, id: nodeId(node) });
    }
  }

  feed(node: number, input: Input): void {
    const state = this.states[node];
    if (state === undefined) return;
    for (const effect of step(state, input).effects) {
      this.log.push({ atMs: this.nowMs, node, effect });
      this.#carryOut(node, effect);
    }
  }

  #carryOut(node: number, effect: Effect): void {
    if (effect.kind === "persist") this.records[node] = effect.record;
    if (effect.kind === "send") {
      const to = this.indexOf(effect.to);
      const dueMs = this.nowMs + (this.slowMs.get(node) ?? 0) + (this.slowMs.get(to) ?? 0);
      this.#wires.push({ dueMs, from: node, to, message: effect.message });
    }
    if (!this.chainUp) return;
    if (effect.kind === "publish-term" && effect.certificate.term > this.view.term) {
      this.setView({ term: effect.certificate.term, leader: effect.certificate.leader });
    }
    if (effect.kind === "publish-group" && effect.group.term === this.view.term) {
      const others = this.view.groups.filter(({ goalId }) => goalId !== effect.group.goalId);
      this.setView({ groups: [...others, effect.group] });
    }
  }

  indexOf(id: NodeId): number {
    return Number.parseInt(id, 16) - 1;
  }

  setView(change: Partial<RegistryView>): void {
    this.view = { ...this.view, ...change, blockNumber: this.view.blockNumber + 1 };
    const { view } = this;
    this.#later.push(() => {
      for (let node = 0; node < this.states.length; node++) {
        this.feed(node, { kind: "registry", nowMs: this.nowMs, view });
      }
    });
  }

  setOrders(orders: OpenOrder[]): void {
    this.orders = orders;
    for (let node = 0; node < this.states.length; node++) {
      this.feed(node, { kind: "orders", nowMs: this.nowMs, orders });
    }
  }

  readonly #later: (() => void)[] = [];

  run(forMs: number): void {
    const untilMs = this.nowMs + forMs;
    while (this.nowMs < untilMs) {
      this.nowMs += 1;
      for (const [node, state] of this.states.entries()) {
        if (state === undefined || nextWakeMs(state) > this.nowMs) continue;
        this.feed(node, { kind: "tick", nowMs: this.nowMs });
      }
      const due = this.#wires.filter(({ dueMs }) => dueMs <= this.nowMs);
      this.#wires = this.#wires.filter(({ dueMs }) => dueMs > this.nowMs);
      for (const { from, to, message } of due) {
        if (this.cut.has(from) !== this.cut.has(to)) continue;
        if (this.blocked.has(`${Math.min(from, to)}-${Math.max(from, to)}`)) continue;
        this.feed(to, { kind: "received", nowMs: this.nowMs, from: nodeId(from), message });
      }
      for (const call of this.#later.splice(0)) call();
    }
  }

  effects<Kind extends Effect["kind"]>(kind: Kind): Extract<Effect, { kind: Kind }>[] {
    return this.log.map(({ effect }) => effect).filter((effect) => effect.kind === kind) as never;
  }
}
