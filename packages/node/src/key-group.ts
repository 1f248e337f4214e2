import {
  ceremonyId,
  checkPlan,
  createCeremony,
  dealersOf,
  decodeGroupKey,
  decodePlan,
  encodeCeremony,
  encodeGroupKey,
  encodePlan,
  groupDigest,
  restoreCeremony,
  shareOf,
  stepCeremony,
  type Ceremony,
  type CeremonyEffect,
  type CeremonyInput,
  type CeremonyKeys,
  type CeremonyPlan,
  type GroupKey,
  type GroupMember,
} from "@cloister/custody";
import {
  CloisterError,
  codeOf,
  digestOf,
  equalBytes,
  type Cbor,
  type Entropy,
  type Log,
  type NodeId,
} from "@cloister/core";
import type { Cvm } from "./cvm.ts";
import type { MessageFields } from "./message.ts";
import { KeyGroupRecord, type Held, type KeyGroupState, type Round } from "./key-group-record.ts";

/** How long a phase of a ceremony may take before whoever is silent is named. */
const PHASE_MS = 12_000;
const RESEND_MS = 1_000;
/** So long a later roster without a key waits for members of an earlier one to hand theirs on. */
const HEIRLESS_MS = 60_000;
const DECODED_MAX = 32;
/** Messages of one sender that may wait; a ceremony of the largest group needs a few dozen. */
const MESSAGES_WAITING_MAX = 256;

/** A member as the chain lists it and its channel proved it; its index is the group's affair. */
export type RosterMember = Omit<GroupMember, "index">;

/** Who is to hold shares. The epoch grows whenever the members change. */
export interface Roster {
  readonly epoch: number;
  readonly members: readonly RosterMember[];
}

export interface KeyGroupPorts {
  /** What the key is for. It is part of every ceremony's name, so that no message serves two keys. */
  readonly name: string;
  readonly cvm: Cvm;
  readonly entropy: Entropy;
  readonly log: Log;
  /** Sends to one participant; lost messages are sent again. */
  send(to: NodeId, body: Cbor): void;
  isReachable(id: NodeId): boolean;
}

/** What one participant says in a ceremony, of which all have to follow the same plan. */
interface CeremonyMessage {
  readonly plan: CeremonyPlan;
  readonly id: string;
  readonly round: Round;
  readonly bytes: Uint8Array;
}

interface Running {
  readonly plan: CeremonyPlan;
  readonly round: Round;
  /** Deadlines that have passed. */
  readonly phase: number;
  readonly phaseMs: number;
  readonly ceremony: Ceremony;
}

/**
 * One key that exists as shares among the members of a roster: generated once, handed on whenever the roster
 * changes, without the key changing. spec/key-release.md §9
 *
 * An epoch is used once all of its members have said that they hold their shares on disk; only then is the epoch
 * before it wiped. So at any moment, and after a crash at any moment, enough members hold shares of one epoch.
 */
export class KeyGroup {
  readonly #ports: KeyGroupPorts;
  readonly #record: KeyGroupRecord;
  readonly #queue: (() => Promise<void>)[] = [];
  readonly #plans = new Decoded((bytes) => {
    const plan = decodePlan(bytes);
    return { plan, id: ceremonyId(plan) };
  });
  readonly #groups = new Decoded(decodeGroupKey);
  readonly #confirmed = new Set<string>();
  readonly #empty = new Map<NodeId, number>();
  /** Messages of each sender that wait for their turn. */
  readonly #waiting = new Map<NodeId, number>();
  readonly #faulty = new Map<string, { readonly epoch: number; readonly proven: boolean }>();
  #busy = false;
  #roster: Roster | undefined;
  #rosterSinceMs = 0;
  #running: Running | undefined;
  #saidMs = 0;
  #state: KeyGroupState;

  private constructor(ports: KeyGroupPorts, record: KeyGroupRecord, state: KeyGroupState) {
    this.#ports = ports;
    this.#record = record;
    this.#state = state;
  }

  static async open(ports: KeyGroupPorts): Promise<KeyGroup> {
    const record = new KeyGroupRecord(ports.cvm.sealed, ports.name);
    const state = await record.read();
    const group = new KeyGroup(ports, record, state);
    if (state.ceremony !== undefined) {
      const { plan, round, bytes } = state.ceremony;
      group.#running = { plan, round, phase: 0, phaseMs: 0, ceremony: restoreCeremony(plan, bytes) };
    }
    return group;
  }

  /** The key in use with this CVM's share; undefined while there is none here. */
  get held(): Held | undefined {
    return this.#state.committed;
  }

  /** The share of one epoch, also of one that not all members have confirmed yet: another member may know more. */
  heldIn(epoch: number): Held | undefined {
    return [this.#state.committed, this.#state.candidate].find((one) => one?.group.epoch === epoch);
  }

  /** Whether everything is as the roster wants it. */
  get settled(): boolean {
    const { committed } = this.#state;
    const roster = this.#roster;
    if (committed === undefined || roster === undefined) return false;
    const wanted = roster.members.filter(({ id }) => !this.#cheated(id, roster.epoch));
    const ids = new Set(committed.group.members.map(({ id }) => id));
    return ids.size === wanted.length && wanted.every(({ id }) => ids.has(id));
  }

  /** Says who is to hold shares and what time it is; call it again and again. */
  look(roster: Roster, nowMs: number): void {
    if (roster.members.length === 0) return;
    if (this.#roster?.epoch !== roster.epoch) {
      this.#rosterSinceMs = nowMs;
      this.#empty.clear();
    }
    this.#roster = roster;
    this.#enqueue(() => this.#progress(nowMs));
  }

  /**
   * A message of another participant, proven to be its by the channel. One that is none is refused at once, so that
   * whoever carries messages can hold it against its sender.
   * @throws {CloisterError} `REQUEST_MALFORMED`, `CEREMONY_PLAN_MALFORMED`, `PEER_BUSY`, codes of group documents
   */
  received(from: NodeId, fields: MessageFields, nowMs: number): void {
    const work = this.#readMessage(from, fields, nowMs);
    const waiting = this.#waiting.get(from) ?? 0;
    if (waiting >= MESSAGES_WAITING_MAX)
      throw new CloisterError("PEER_BUSY", "Too many messages about keys wait.");
    this.#waiting.set(from, waiting + 1);
    this.#enqueue(async () => {
      const left = (this.#waiting.get(from) ?? 1) - 1;
      if (left > 0) this.#waiting.set(from, left);
      else this.#waiting.delete(from);
      await work();
    });
  }

  #readMessage(from: NodeId, fields: MessageFields, nowMs: number): () => Promise<void> {
    switch (fields.text("kind")) {
      case "ceremony": {
        const round = { rosterEpoch: fields.count("rosterEpoch"), attempt: fields.count("attempt") };
        const message = { ...this.#plans.get(fields.bytes("plan")), round, bytes: fields.bytes("bytes") };
        return () => this.#receiveCeremony(message, nowMs);
      }
      case "held": {
        const group = this.#groups.get(fields.bytes("group"));
        const isCommitted = fields.flag("committed");
        return () => this.#receiveHeld(from, group, isCommitted);
      }
      case "empty": {
        const epoch = fields.count("epoch");
        return async () => {
          if (this.#roster?.members.some(({ id }) => id === from) === true) this.#empty.set(from, epoch);
        };
      }
      default:
        throw new CloisterError("REQUEST_MALFORMED", "A CVM's message about a key is of no known kind.");
    }
  }

  /** Forgets the key: its shares are wiped, and what was sealed to it alone stays closed for good. */
  async drop(): Promise<void> {
    await this.#keep({});
    this.#running = undefined;
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue.push(work);
    if (!this.#busy) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    for (let work = this.#queue.shift(); work !== undefined; work = this.#queue.shift()) {
      await work().catch((error: unknown) =>
        this.#ports.log.warn("ceremony-failed", {
          key: this.#ports.name,
          code: codeOf(error),
          reason: (error as Error).message,
        }),
      );
    }
    this.#busy = false;
  }

  async #progress(nowMs: number): Promise<void> {
    const isTime = nowMs - this.#saidMs >= RESEND_MS;
    if (isTime) this.#saidMs = nowMs;
    if (isTime && this.#isOpen()) await this.#sayAgain();
    await this.#letGo();
    if (this.settled || this.#state.candidate?.rosterEpoch === this.#roster?.epoch) return;
    const running = this.#running;
    if (running === undefined || running.round.rosterEpoch !== this.#roster?.epoch) {
      return this.#propose(0, nowMs);
    }
    if (isTime && this.#hasProof(running.ceremony)) return this.#propose(running.round.attempt + 1, nowMs);
    // What a restart restored is given its time from the first look on.
    if (running.phaseMs === 0) this.#running = { ...running, phaseMs: nowMs };
    else if (nowMs - running.phaseMs > PHASE_MS) await this.#passPhase(running, nowMs);
  }

  /** The first deadline is for deals, the second for ballots; after that the next attempt begins. */
  async #passPhase(running: Running, nowMs: number): Promise<void> {
    if (running.phase > 1) return this.#propose(running.round.attempt + 1, nowMs);
    this.#running = { ...running, phase: running.phase + 1, phaseMs: nowMs };
    await this.#step({ kind: "timeout" });
  }

  /**
   * A key that was generated for an earlier roster and that one of its members does not hold was never used:
   * its members confirm only what they hold on disk.
   */
  async #letGo(): Promise<void> {
    const { committed, candidate } = this.#state;
    if (candidate === undefined || committed !== undefined) return;
    const epoch = this.#roster?.epoch ?? 0;
    const lacking = candidate.group.members.some(({ id }) => this.#empty.get(id as NodeId) === epoch);
    if (lacking && candidate.rosterEpoch < epoch) await this.drop();
  }

  /** Something is not finished here or with somebody else. */
  #isOpen(): boolean {
    return !this.settled || this.#state.candidate !== undefined || this.#running !== undefined;
  }

  async #sayAgain(): Promise<void> {
    const { committed, candidate } = this.#state;
    if (this.#running !== undefined) await this.#step({ kind: "resend" });
    const own = candidate ?? committed;
    if (own !== undefined) this.#sayHeld(own, this.#partners());
    else if (this.#isMember())
      this.#tell(this.#partners(), { kind: "empty", epoch: this.#roster?.epoch ?? 0 });
  }

  #isMember(): boolean {
    return this.#roster?.members.some(({ id }) => id === this.#self) ?? false;
  }

  /** Everybody whom the key concerns: the roster, the members before it, and who takes part in the ceremony. */
  #partners(): NodeId[] {
    const { committed, candidate } = this.#state;
    const plan = this.#running?.plan;
    const ids = [
      ...(this.#roster?.members ?? []),
      ...(committed?.group.members ?? []),
      ...(candidate?.group.members ?? []),
      ...(plan === undefined ? [] : [...plan.members, ...dealersOf(plan)]),
    ].map(({ id }) => id as NodeId);
    return [...new Set(ids)].filter((id) => id !== this.#self);
  }

  get #self(): NodeId {
    return this.#ports.cvm.keys.settlement;
  }

  #tell(to: readonly NodeId[], body: Readonly<Record<string, Cbor>>): void {
    for (const id of to) this.#ports.send(id, { ...body, name: this.#ports.name });
  }

  #sayHeld(own: Held, to: readonly NodeId[]): void {
    const committed = own === this.#state.committed;
    this.#tell(to, { kind: "held", group: encodeGroupKey(own.group), committed });
  }

  /** Begins an attempt of this participant's own making, where it can make one. */
  async #propose(attempt: number, nowMs: number): Promise<void> {
    const roster = this.#roster as Roster;
    const plan = this.#planOf(roster, attempt, nowMs);
    if (plan === undefined) return;
    await this.#adopt(plan, { rosterEpoch: roster.epoch, attempt }, nowMs);
  }

  #planOf(roster: Roster, attempt: number, nowMs: number): CeremonyPlan | undefined {
    const { committed, candidate } = this.#state;
    const previous = committed ?? candidate;
    if (previous === undefined && !this.#mayGenerate(roster, nowMs)) return undefined;
    const members = this.#membersOf(roster, previous?.group);
    const base = {
      name: nameOf(this.#ports.name, { rosterEpoch: roster.epoch, attempt }),
      epoch: (previous?.group.epoch ?? 0) + 1 + attempt,
      threshold: thresholdOf(roster),
      members,
    };
    if (previous === undefined) return base;
    const dealers = this.#dealersOf(previous.group, roster.epoch);
    return dealers === undefined ? undefined : { ...base, previous: { group: previous.group, dealers } };
  }

  /** A key is made only where none is: all of the roster say so, and nobody of an earlier one came to hand one on. */
  #mayGenerate(roster: Roster, nowMs: number): boolean {
    const all = roster.members.every(
      ({ id }) => id === this.#self || this.#empty.get(id as NodeId) === roster.epoch,
    );
    return all && this.#isMember() && (roster.epoch <= 1 || nowMs - this.#rosterSinceMs > HEIRLESS_MS);
  }

  /** The roster without those who are proven to have cheated in it; members keep their index for good. */
  #membersOf(roster: Roster, previous: GroupKey | undefined): GroupMember[] {
    const known = new Map(previous?.members.map((member) => [member.id, member.index]));
    let next = Math.max(0, ...known.values());
    return roster.members
      .filter(({ id }) => !this.#cheated(id, roster.epoch))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, identityKey, wrapKey }) => ({ id, index: known.get(id) ?? ++next, identityKey, wrapKey }));
  }

  #cheated(id: string, epoch: number): boolean {
    const fault = this.#faulty.get(id);
    return fault?.epoch === epoch && fault.proven;
  }

  /** Old members that can be reached and were not silent lately; undefined when they are too few. */
  #dealersOf(group: GroupKey, epoch: number): number[] | undefined {
    const present = group.members.filter(
      ({ id }) => id === this.#self || this.#ports.isReachable(id as NodeId),
    );
    const fresh = present.filter(({ id }) => this.#faulty.get(id)?.epoch !== epoch);
    const honest = present.filter(({ id }) => !this.#cheated(id, epoch));
    const dealers = [fresh, honest].find((some) => some.length >= group.threshold);
    return dealers?.map(({ index }) => index);
  }

  async #receiveCeremony({ plan, id, round, bytes }: CeremonyMessage, nowMs: number): Promise<void> {
    const roster = this.#roster;
    if (roster === undefined) return;
    if (
      this.#running?.ceremony.id !== id &&
      this.#isNewer(plan, round) &&
      this.#agrees(plan, round, roster)
    ) {
      await this.#adopt(plan, round, nowMs);
    }
    const running = this.#running;
    // A proven fault ends an attempt: what else there is to know of it is of no use.
    if (running?.ceremony.id !== id || this.#hasProof(running.ceremony)) return;
    await this.#step({ kind: "message", bytes });
  }

  /** Attempts only go forward; of two plans for one attempt, all follow the same. */
  #isNewer(plan: CeremonyPlan, { rosterEpoch, attempt }: Round): boolean {
    const running = this.#running;
    if (running === undefined || rosterEpoch !== running.round.rosterEpoch) {
      return rosterEpoch > (running?.round.rosterEpoch ?? -1);
    }
    if (attempt !== running.round.attempt) return attempt > running.round.attempt;
    return ceremonyId(plan) > running.ceremony.id;
  }

  /** Whether this participant would have made such a plan: the chain's members, the key it knows, real dealers. */
  #agrees(plan: CeremonyPlan, round: Round, roster: Roster): boolean {
    const { previous } = plan;
    const { committed, candidate } = this.#state;
    if (this.settled || round.rosterEpoch !== roster.epoch || plan.name !== nameOf(this.#ports.name, round))
      return false;
    if (plan.threshold !== thresholdOf(roster) || !checkPlan(plan).ok) return false;
    if (!sameMembers(plan.members, this.#membersOf(roster, previous?.group))) return false;
    if (plan.epoch !== (previous?.group.epoch ?? 0) + 1 + round.attempt) return false;
    if (committed === undefined && candidate === undefined) return true;
    const digest = previous === undefined ? undefined : groupDigest(previous.group);
    return [committed, candidate].some((one) => one !== undefined && groupDigest(one.group) === digest);
  }

  /** Begins an attempt, and lets go of the one before: what is not finished by then never will be. */
  async #adopt(plan: CeremonyPlan, round: Round, nowMs: number): Promise<void> {
    const participants = [...plan.members, ...dealersOf(plan)];
    if (!participants.some(({ id }) => id === this.#self)) return;
    this.#confirmed.clear();
    this.#running = { plan, round, phase: 0, phaseMs: nowMs, ceremony: createCeremony(plan, this.#self) };
    this.#ports.log.info("ceremony-begun", {
      key: this.#ports.name,
      kind: plan.previous === undefined ? "generation" : "resharing",
      ...round,
      members: plan.members.map(({ id }) => id),
    });
    await this.#step({ kind: "start" });
  }

  #keys(plan: CeremonyPlan): CeremonyKeys {
    const { cvm } = this.#ports;
    const keys = { sign: cvm.sign, wrapSecret: cvm.keys.wrapSecret };
    const digest = plan.previous === undefined ? undefined : groupDigest(plan.previous.group);
    const { committed, candidate } = this.#state;
    const held = [committed, candidate].find((one) => one !== undefined && groupDigest(one.group) === digest);
    return held === undefined ? keys : { ...keys, previousShare: held.share };
  }

  async #step(input: CeremonyInput): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    const { plan, round } = running;
    const { state, effects } = stepCeremony(running.ceremony, input, this.#keys(plan), this.#ports.entropy);
    this.#running = { ...running, ceremony: state };
    for (const effect of effects) await this.#carryOut(effect, plan, round, state);
    // Not on the effect: a crash may have come between the ceremony's record and the share's.
    if (state.outcome.kind === "done") await this.#finish(state.outcome.group, plan, round, state);
  }

  async #carryOut(effect: CeremonyEffect, plan: CeremonyPlan, round: Round, state: Ceremony): Promise<void> {
    switch (effect.kind) {
      case "persist":
        return this.#keep({ ...this.#state, ceremony: { plan, round, bytes: encodeCeremony(state) } });
      case "broadcast": {
        const others = [...new Set([...plan.members, ...dealersOf(plan)].map(({ id }) => id as NodeId))];
        const body = { kind: "ceremony", plan: encodePlan(plan), ...round, bytes: effect.bytes };
        return this.#tell(
          others.filter((id) => id !== this.#self),
          body,
        );
      }
      case "failed":
        for (const { participant, proven } of effect.faults) {
          if (this.#cheated(participant, round.rosterEpoch)) continue;
          this.#faulty.set(participant, { epoch: round.rosterEpoch, proven });
        }
        return this.#ports.log.warn("ceremony-attempt-failed", {
          key: this.#ports.name,
          ...round,
          faults: effect.faults.map(({ reason }) => reason),
        });
      case "done":
      case "reject":
    }
  }

  #hasProof({ outcome }: Ceremony): boolean {
    return outcome.kind === "failed" && outcome.faults.some(({ proven }) => proven);
  }

  /** The share is on disk before anybody hears that it is held. */
  async #finish(group: GroupKey, plan: CeremonyPlan, round: Round, state: Ceremony): Promise<void> {
    const known = this.#state.candidate;
    if (!plan.members.some(({ id }) => id === this.#self)) return;
    if (known !== undefined && groupDigest(known.group) === groupDigest(group)) return;
    const share = shareOf(state, this.#ports.cvm.keys.wrapSecret);
    const candidate = { group, share, rosterEpoch: round.rosterEpoch };
    await this.#keep({ ...this.#state, candidate });
    this.#sayHeld(candidate, this.#partners());
    await this.#commitWhenConfirmed();
  }

  async #receiveHeld(from: NodeId, group: GroupKey, isCommitted: boolean): Promise<void> {
    if (!group.members.some(({ id }) => id === from)) return;
    const { committed, candidate } = this.#state;
    const digest = groupDigest(group);
    if (candidate !== undefined && digest === groupDigest(candidate.group)) {
      this.#confirmed.add(from);
      // Whoever uses it has heard all of its members say so.
      if (isCommitted) return this.#commit(candidate);
      return this.#commitWhenConfirmed();
    }
    if (committed === undefined) return;
    if (digest === groupDigest(committed.group)) {
      if (!isCommitted) this.#sayHeld(committed, [from]);
    } else if (
      group.groupId === committed.group.groupId &&
      isCommitted &&
      group.epoch > committed.group.epoch
    ) {
      await this.#leave(from, group);
    } else if (group.epoch < committed.group.epoch) this.#sayHeld(committed, [from]);
  }

  async #commitWhenConfirmed(): Promise<void> {
    const { candidate } = this.#state;
    if (candidate === undefined) return;
    const others = candidate.group.members.filter(({ id }) => id !== this.#self);
    if (others.every(({ id }) => this.#confirmed.has(id))) await this.#commit(candidate);
  }

  /** From here on the new epoch is the key; the shares of the one before are gone from this CVM. */
  async #commit(committed: Held): Promise<void> {
    await this.#keep({ committed });
    this.#running = undefined;
    this.#confirmed.clear();
    this.#sayHeld(committed, this.#partners());
    const { groupId, epoch, threshold, members } = committed.group;
    this.#ports.log.info("key-group-made", {
      ...{ key: this.#ports.name, group: groupId, epoch, threshold, rosterEpoch: committed.rosterEpoch },
      members: members.map(({ id }) => id),
    });
  }

  /** Wipes the share of a member that was left out, once enough of those who follow it use the later epoch. */
  async #leave(from: NodeId, group: GroupKey): Promise<void> {
    if (group.members.some(({ id }) => id === this.#self)) return;
    this.#confirmed.add(`${groupDigest(group)} ${from}`);
    const sure = group.members.filter(({ id }) => this.#confirmed.has(`${groupDigest(group)} ${id}`));
    if (sure.length < group.threshold) return;
    await this.drop();
    this.#ports.log.info("key-group-left", {
      key: this.#ports.name,
      group: group.groupId,
      epoch: group.epoch,
    });
  }

  async #keep(state: KeyGroupState): Promise<void> {
    await this.#record.write(state);
    this.#state = state;
  }
}

/** Documents that arrive again and again, read once: checking points of the curve takes its time. */
class Decoded<T> {
  readonly #decode: (bytes: Uint8Array) => T;
  readonly #known = new Map<string, T>();

  constructor(decode: (bytes: Uint8Array) => T) {
    this.#decode = decode;
  }

  get(bytes: Uint8Array): T {
    const digest = digestOf(bytes);
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const value = this.#decode(bytes);
    if (this.#known.size >= DECODED_MAX) this.#known.delete(this.#known.keys().next().value as string);
    this.#known.set(digest, value);
    return value;
  }
}

function thresholdOf({ members }: Roster): number {
  return Math.floor(members.length / 2) + 1;
}

function nameOf(key: string, { rosterEpoch, attempt }: Round): string {
  return `${key}/roster-${rosterEpoch}/attempt-${attempt}`;
}

function sameMembers(one: readonly GroupMember[], other: readonly GroupMember[]): boolean {
  if (one.length !== other.length) return false;
  return one.every((member) => {
    const same = other.find(({ id }) => id === member.id);
    return (
      same?.index === member.index &&
      equalBytes(same.identityKey, member.identityKey) &&
      equalBytes(same.wrapKey, member.wrapKey)
    );
  });
}
