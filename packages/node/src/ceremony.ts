import {
  createCeremony,
  decodeGroupKey,
  decodeGroupShare,
  encodeCeremony,
  encodeGroupKey,
  encodeGroupShare,
  restoreCeremony,
  shareOf,
  stepCeremony,
  type Ceremony,
  type CeremonyInput,
  type CeremonyPlan,
  type GroupKey,
  type GroupMember,
  type GroupShare,
} from "@cloister/custody";
import {
  codeOf,
  decodeCanonical,
  encodeCanonical,
  type Entropy,
  type Log,
  type NodeId,
} from "@cloister/core";
import type { Cvm } from "./cvm.ts";
import type { MessageFields } from "./message.ts";

const GROUP_RECORD = "release-group";
const CEREMONY_RECORD = "release-ceremony";
/** How long a phase of the ceremony may take before whoever is silent is named. */
const PHASE_MS = 15_000;
const RESEND_MS = 1_000;

/** A finished key-release group, and this CVM's share of its key. */
export interface HeldGroup {
  readonly group: GroupKey;
  readonly share: GroupShare;
}

interface Attempt {
  readonly number: number;
  readonly startedMs: number;
  readonly ceremony: Ceremony;
}

export interface CeremonyPorts {
  readonly cvm: Cvm;
  readonly entropy: Entropy;
  readonly log: Log;
  /** Sends to one member; lost messages are sent again. */
  send(to: NodeId, body: { readonly attempt: number; readonly bytes: Uint8Array }): void;
}

/**
 * Makes the key of a key-release group together with its other members, once. An attempt that fails names
 * who was at fault and the next one begins; members follow the highest attempt that they hear of.
 */
export class GroupCeremony {
  readonly #ports: CeremonyPorts;
  readonly #queue: (() => Promise<void>)[] = [];
  #busy = false;
  #members: readonly GroupMember[] = [];
  #attempt: Attempt | undefined;
  #resentMs = 0;
  held: HeldGroup | undefined;

  private constructor(ports: CeremonyPorts, held: HeldGroup | undefined) {
    this.#ports = ports;
    this.held = held;
  }

  static async open(ports: CeremonyPorts): Promise<GroupCeremony> {
    const record = await ports.cvm.sealed.read(GROUP_RECORD);
    if (record === undefined) return new GroupCeremony(ports, undefined);
    const { group, share } = decodeCanonical(record) as unknown as { group: Uint8Array; share: Uint8Array };
    return new GroupCeremony(ports, { group: decodeGroupKey(group), share: decodeGroupShare(share) });
  }

  /** Says who the group consists of and what time it is; call it again and again. */
  look(members: readonly GroupMember[], nowMs: number): void {
    if (members.length === 0) return;
    this.#members = members;
    this.#enqueue(() => this.#progress(nowMs));
  }

  /** A ceremony message of another member. */
  received(from: NodeId, fields: MessageFields, nowMs: number): void {
    if (!this.#members.some((member) => member.id === from)) return;
    const attempt = fields.count("attempt");
    const bytes = fields.bytes("bytes");
    this.#enqueue(async () => {
      if (attempt > (this.#attempt?.number ?? -1)) await this.#begin(attempt, nowMs);
      if (attempt === this.#attempt?.number) await this.#step({ kind: "message", bytes });
    });
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue.push(work);
    if (!this.#busy) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    for (let work = this.#queue.shift(); work !== undefined; work = this.#queue.shift()) {
      await work().catch((error: unknown) =>
        this.#ports.log.warn("ceremony-failed", { code: codeOf(error), reason: (error as Error).message }),
      );
    }
    this.#busy = false;
  }

  async #progress(nowMs: number): Promise<void> {
    const attempt = this.#attempt;
    if (attempt === undefined) {
      if (this.held === undefined) await this.#begin(0, nowMs);
      return;
    }
    if (
      nowMs - this.#resentMs > RESEND_MS &&
      (this.held === undefined || nowMs - attempt.startedMs < PHASE_MS)
    ) {
      this.#resentMs = nowMs;
      await this.#step({ kind: "resend" });
    }
    if (this.held !== undefined) return;
    const ageMs = nowMs - attempt.startedMs;
    if (ageMs > 2 * PHASE_MS) await this.#begin(attempt.number + 1, nowMs);
    else if (ageMs > PHASE_MS) await this.#step({ kind: "timeout" });
  }

  /** Begins an attempt, or goes on with the one that a crash interrupted. */
  async #begin(number: number, nowMs: number): Promise<void> {
    if (this.held !== undefined && this.#attempt === undefined && number === 0) return;
    const plan = this.#plan(number);
    const { cvm } = this.#ports;
    const record = await cvm.sealed.read(`${CEREMONY_RECORD}-${number}`);
    const ceremony =
      record === undefined ? createCeremony(plan, cvm.keys.settlement) : restoreCeremony(plan, record);
    this.#attempt = { number, startedMs: nowMs, ceremony };
    this.#ports.log.info("ceremony-begun", { attempt: number, members: plan.members.length });
    await this.#step({ kind: "start" });
  }

  #plan(number: number): CeremonyPlan {
    return {
      name: `key-release/attempt-${number}`,
      epoch: 1,
      threshold: Math.floor(this.#members.length / 2) + 1,
      members: this.#members,
    };
  }

  async #step(input: CeremonyInput): Promise<void> {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    const { cvm, entropy, log } = this.#ports;
    const keys = { sign: cvm.sign, wrapSecret: cvm.keys.wrapSecret };
    const { state, effects } = stepCeremony(attempt.ceremony, input, keys, entropy);
    this.#attempt = { ...attempt, ceremony: state };
    for (const effect of effects) {
      if (effect.kind === "persist") {
        await cvm.sealed.write(`${CEREMONY_RECORD}-${attempt.number}`, encodeCeremony(state));
      } else if (effect.kind === "broadcast") {
        this.#broadcast(attempt.number, effect.bytes);
      } else if (effect.kind === "done") {
        await this.#hold(effect.group, state);
      } else if (effect.kind === "failed") {
        log.warn("ceremony-attempt-failed", { faults: effect.faults.map(({ reason }) => reason) });
      }
    }
    if (state.outcome.kind === "done" && this.held === undefined)
      await this.#hold(state.outcome.group, state);
  }

  #broadcast(attempt: number, bytes: Uint8Array): void {
    for (const { id } of this.#members) {
      if (id !== this.#ports.cvm.keys.settlement) this.#ports.send(id as NodeId, { attempt, bytes });
    }
  }

  async #hold(group: GroupKey, state: Ceremony): Promise<void> {
    if (this.held !== undefined) return;
    const { cvm, log } = this.#ports;
    const share = shareOf(state, cvm.keys.wrapSecret);
    const record = encodeCanonical({ group: encodeGroupKey(group), share: encodeGroupShare(share) });
    await cvm.sealed.write(GROUP_RECORD, record);
    this.held = { group, share };
    log.info("release-group-made", { group: group.groupId, threshold: group.threshold });
  }
}
