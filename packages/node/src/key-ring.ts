import { nodeKeysDigest } from "@cloister/certification";
import type { GroupKey } from "@cloister/custody";
import { codeOf, type Cbor, type Digest, type Entropy, type Log, type NodeId } from "@cloister/core";
import type { MarketState } from "@cloister/market";
import type { Cvm } from "./cvm.ts";
import { keyGoals } from "./key-goals.ts";
import type { Held } from "./key-group-record.ts";
import { KeyGroup, type Roster, type RosterMember } from "./key-group.ts";
import type { MessageFields } from "./message.ts";
import type { Peer } from "./ports.ts";

export interface KeyRingPorts {
  readonly cvm: Cvm;
  readonly entropy: Entropy;
  readonly log: Log;
  send(to: NodeId, body: Cbor): void;
  isReachable(id: NodeId): boolean;
  /** The keys that a node proved on a channel. */
  peerKeys(id: NodeId): Pick<Peer, "identity" | "wrap"> | undefined;
}

/** One key of the ring as status pages show it. */
export interface KeyView {
  readonly goalId: string;
  readonly groupId: Digest;
  readonly epoch: number;
  /** The epoch of the group on chain whose members hold it. */
  readonly groupEpoch: number;
  readonly threshold: number;
  readonly members: readonly string[];
  /** False while shares are on their way to the members that the chain lists now. */
  readonly settled: boolean;
}

/** This CVM's part in all keys of the network's key-release: the one that owners seal to, and those before it. */
export class KeyRing {
  readonly #ports: KeyRingPorts;
  readonly #keys = new Map<string, KeyGroup>();
  readonly #opening = new Set<string>();
  /** Why a key's record cannot be read, as it was told; it is tried again, but told once. */
  readonly #unreadable = new Map<string, string>();

  constructor(ports: KeyRingPorts) {
    this.#ports = ports;
  }

  /** Follows the chain: which keys there are, and who is to hold them. Call it again and again. */
  look(state: MarketState, nowMs: number): void {
    for (const { goalId, retired } of keyGoals(state)) {
      const key = this.#keys.get(goalId);
      if (key === undefined) this.#open(goalId);
      else if (retired) this.#forget(goalId, key);
      else {
        const roster = this.#rosterOf(goalId, state);
        if (roster !== undefined) key.look(roster, nowMs);
      }
    }
  }

  /** A message of another participant about one of the keys. */
  received(from: NodeId, fields: MessageFields, nowMs: number): void {
    this.#keys.get(fields.text("name"))?.received(from, fields, nowMs);
  }

  /** What this CVM holds a share of, oldest key first. */
  held(): (Held & { readonly goalId: string })[] {
    return [...this.#keys].flatMap(([goalId, key]) =>
      key.held === undefined ? [] : [{ ...key.held, goalId }],
    );
  }

  /** This CVM's share of one key in one epoch. */
  heldOf(groupId: Digest, epoch: number): Held | undefined {
    for (const key of this.#keys.values()) {
      const held = key.heldIn(epoch);
      if (held?.group.groupId === groupId) return held;
    }
    return undefined;
  }

  views(): KeyView[] {
    return [...this.#keys].flatMap(([goalId, key]): KeyView[] => {
      if (key.held === undefined) return [];
      const { group, rosterEpoch } = key.held;
      const { groupId, epoch, threshold } = group;
      const members = (group satisfies GroupKey).members.map(({ id }) => id);
      return [{ goalId, groupId, epoch, groupEpoch: rosterEpoch, threshold, members, settled: key.settled }];
    });
  }

  #open(goalId: string): void {
    if (this.#opening.has(goalId)) return;
    this.#opening.add(goalId);
    const { cvm, entropy, log } = this.#ports;
    const ports = {
      ...{ name: goalId, cvm, entropy, log },
      send: (to: NodeId, body: Cbor) => this.#ports.send(to, body),
      isReachable: (id: NodeId) => this.#ports.isReachable(id),
    };
    KeyGroup.open(ports).then(
      (key) => void this.#keys.set(goalId, key),
      (error: unknown) => {
        const code = codeOf(error);
        if (this.#unreadable.get(goalId) !== code)
          log.warn("key-unreadable", { key: goalId, code, reason: (error as Error).message });
        this.#unreadable.set(goalId, code);
        this.#opening.delete(goalId);
      },
    );
  }

  #forget(goalId: string, key: KeyGroup): void {
    if (key.held === undefined) return;
    void key.drop().then(() => this.#ports.log.info("key-retired", { key: goalId }));
  }

  /** The members on chain, with the keys that each proved on a channel and the chain lists; undefined until all did. */
  #rosterOf(goalId: string, state: MarketState): Roster | undefined {
    const group = [...state.groups.values()].find((one) => one.goalId === goalId);
    if (group === undefined) return undefined;
    const { cvm, peerKeys } = this.#ports;
    const members = group.members.flatMap((id): RosterMember[] => {
      const keys = id === cvm.keys.settlement ? cvm.keys : peerKeys(id);
      if (keys === undefined) return [];
      const { identity, wrap } = keys;
      const listed = state.nodes.get(id)?.certificate.keysDigest;
      if (listed !== nodeKeysDigest({ identity, settlement: id, wrap })) return [];
      return [{ id, identityKey: identity, wrapKey: wrap }];
    });
    return members.length === group.members.length ? { epoch: group.epoch, members } : undefined;
  }
}
