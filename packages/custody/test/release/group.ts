import { randomBytes } from "node:crypto";
import { ed25519PublicKey, ed25519Signer, x25519PublicKey, type Entropy } from "@cloister/core";
import {
  createCeremony,
  shareOf,
  stepCeremony,
  type Ceremony,
  type CeremonyInput,
  type CeremonyKeys,
  type CeremonyPlan,
  type GroupKey,
  type GroupMember,
  type GroupShare,
} from "../../src/index.ts";

export const entropy: Entropy = (length) => new Uint8Array(randomBytes(length));

/** A node that takes part in ceremonies. */
export interface TestNode {
  readonly member: GroupMember;
  readonly keys: CeremonyKeys;
}

export function createNode(index: number): TestNode {
  const [seed, wrapSecret] = [entropy(32), entropy(32)];
  return {
    member: {
      id: `node-${index}`,
      index,
      identityKey: ed25519PublicKey(seed),
      wrapKey: x25519PublicKey(wrapSecret),
    },
    keys: { sign: ed25519Signer(seed), wrapSecret },
  };
}

export function createNodes(count: number): TestNode[] {
  return Array.from({ length: count }, (_, i) => createNode(i + 1));
}

export function planFor(nodes: readonly TestNode[], threshold: number): CeremonyPlan {
  return { name: "first", epoch: 1, threshold, members: nodes.map((node) => node.member) };
}

/** What a participant sends, possibly changed for one receiver; undefined drops it. */
export type Interference = (from: string, to: string, bytes: Uint8Array) => Uint8Array | undefined;

/** Ceremonies of several participants, and the wires between them: first sent, first delivered. */
export class CeremonyRoom {
  readonly states = new Map<string, Ceremony>();
  readonly #wire: [from: string, to: string, bytes: Uint8Array][] = [];
  readonly nodes: Map<string, TestNode>;
  readonly interfere: Interference;

  constructor(
    plan: CeremonyPlan,
    nodes: readonly TestNode[],
    interfere: Interference = (_f, _t, bytes) => bytes,
  ) {
    this.nodes = new Map(nodes.map((node) => [node.member.id, node]));
    this.interfere = interfere;
    for (const id of this.nodes.keys()) {
      this.states.set(id, createCeremony(plan, id));
    }
  }

  all(input: CeremonyInput): void {
    for (const id of this.nodes.keys()) this.#apply(id, input);
    this.#deliver();
  }

  step(id: string, input: CeremonyInput): void {
    this.#apply(id, input);
    this.#deliver();
  }

  #apply(id: string, input: CeremonyInput): void {
    const node = this.nodes.get(id) as TestNode;
    const { state, effects } = stepCeremony(this.states.get(id) as Ceremony, input, node.keys, entropy);
    this.states.set(id, state);
    for (const effect of effects) {
      if (effect.kind !== "broadcast") continue;
      for (const to of this.nodes.keys()) if (to !== id) this.#wire.push([id, to, effect.bytes]);
    }
  }

  #deliver(): void {
    for (let next = this.#wire.shift(); next !== undefined; next = this.#wire.shift()) {
      const [from, to, sent] = next;
      const bytes = this.interfere(from, to, sent);
      if (bytes !== undefined) this.#apply(to, { kind: "message", bytes });
    }
  }

  group(): GroupKey {
    for (const { outcome } of this.states.values()) if (outcome.kind === "done") return outcome.group;
    throw new Error("no participant is done");
  }

  shares(): GroupShare[] {
    const group = this.group();
    return [...this.states]
      .filter(([id]) => group.members.some((member) => member.id === id))
      .map(([id, state]) => shareOf(state, (this.nodes.get(id) as TestNode).keys.wrapSecret));
  }
}

/** Generates a group without trouble. */
export function generateGroup(nodes: readonly TestNode[], threshold: number): CeremonyRoom {
  const room = new CeremonyRoom(planFor(nodes, threshold), nodes);
  room.all({ kind: "start" });
  return room;
}
