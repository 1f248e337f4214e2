import type { Cbor, Clock, Log, NodeId, RecordStore, Verdict } from "@cloister/core";
import { accept, CloisterError, codeOf, type Refusal } from "@cloister/core";
import {
  awaitsChain,
  decodeRecord,
  encodeRecord,
  init,
  nextWakeMs,
  step,
  viewOf,
  type Assignment,
  type Effect,
  type Input,
  type Message,
  type PeerFacts,
  type SwarmConfig,
  type SwarmState,
  type SwarmView,
} from "@cloister/swarm";
import { InputQueue, isGossip } from "./input-queue.ts";
import type { HistogramView } from "./metrics.ts";
import type { Channel, Peer, Timers, Transport } from "./ports.ts";
import { ProbeTimes } from "./probe-times.ts";
import { steadyClock } from "./steady-clock.ts";

const RECORD = "swarm";
const REDIAL_MS = 500;
/** A peer that stays unreachable is told of this often. */
const TELL_UNREACHABLE_MS = 60_000;
/** Between two tries to make a record durable that the disk did not take. */
const WRITE_AGAIN_MS = 500;
/** The core may want to wake sooner than it said before its last input. */
const TICK_MS_MAX = 25;

/** What the swarm asks of the rest of the node. */
export interface SwarmDuties {
  publishTerm(certificate: Extract<Effect, { kind: "publish-term" }>["certificate"]): Promise<void>;
  publishGroup(group: Extract<Effect, { kind: "publish-group" }>["group"]): Promise<void>;
  run(assignment: Assignment, signature: Uint8Array): void;
  abandon(orderId: Assignment["orderId"], reason: string): void;
  /** Something is about to be on the chain that this node does not see there yet. */
  awaitChain(): void;
}

export interface SwarmPorts {
  readonly transport: Transport;
  readonly records: RecordStore;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  /** Where members listen; looked up each time, since the chain may name new ones. */
  endpointOf(id: NodeId): string | undefined;
  /** A peer proved itself on a channel that this node opened. */
  met(peer: Peer): void;
}

/**
 * Runs the pure swarm core over attested channels: one input at a time, effects in their order,
 * what must be durable written before what depends on it is sent.
 */
export class SwarmRuntime {
  readonly #ports: SwarmPorts;
  readonly #duties: SwarmDuties;
  readonly #channels = new Map<NodeId, Channel>();
  readonly #dialing = new Set<NodeId>();
  /** Whom it cannot reach, why, and when that was last told. */
  readonly #unreachable = new Map<NodeId, { readonly code: string; readonly atMs: number }>();
  readonly #queue = new InputQueue();
  readonly #probes = new ProbeTimes();
  #state: SwarmState;
  #busy = false;
  #stopped = false;
  #trouble: Refusal | undefined;

  private constructor(state: SwarmState, ports: SwarmPorts, duties: SwarmDuties) {
    this.#state = state;
    this.#ports = ports;
    this.#duties = duties;
  }

  /** Restores what this node has promised before, then starts. */
  static async start(
    config: Omit<SwarmConfig, "record" | "nowMs">,
    ports: SwarmPorts,
    duties: SwarmDuties,
  ): Promise<SwarmRuntime> {
    const record = await readRecord(ports);
    const clock = steadyClock(ports.clock);
    const state = init({ ...config, nowMs: clock.nowMs(), record });
    const runtime = new SwarmRuntime(state, { ...ports, clock }, duties);
    void runtime.#tickForever();
    return runtime;
  }

  feed(input: Input): void {
    this.#queue.push(input);
    if (!this.#busy) void this.#work();
  }

  /** The time that inputs carry. */
  nowMs(): number {
    return this.#ports.clock.nowMs();
  }

  /** A message that arrived on `from`'s channel. */
  received(from: NodeId, message: unknown): void {
    const nowMs = this.#ports.clock.nowMs();
    this.#probes.received(from, message, nowMs);
    // Whoever speaks has proven itself on a channel of its own; one that left and came back is not dialed otherwise.
    if (!this.#channels.has(from)) void this.#dial(from);
    this.feed({ kind: "received", nowMs, from, message });
  }

  /** Leaves in good order: takes no more work, gives up the lead, and says so. */
  drain(): void {
    this.feed({ kind: "drain", nowMs: this.#ports.clock.nowMs() });
  }

  /** What waits for the core and what was dropped, and how long probes took. */
  load(): {
    readonly queued: number;
    readonly droppedInputs: Readonly<Record<string, number>>;
    readonly probeSeconds: HistogramView;
  } {
    return {
      queued: this.#queue.length,
      droppedInputs: this.#queue.dropped(),
      probeSeconds: this.#probes.view(),
    };
  }

  view(): SwarmView {
    return viewOf(this.#state);
  }

  /** Why this node keeps silent, where it does: it cannot make durable what it would promise. */
  get trouble(): Refusal | undefined {
    return this.#trouble;
  }

  /** Tells whether the core waits for a block: what the chain says now is not what it will. */
  get awaitsChain(): boolean {
    return awaitsChain(this.#state) > 0;
  }

  /** Sends a notice to a member on the open channel, if there is one. */
  notify(id: NodeId, method: string, body: Cbor): void {
    this.#channels.get(id)?.notify(method, body);
  }

  isConnected(id: NodeId): boolean {
    return this.#channels.has(id);
  }

  /** The open channel to a member, dialling when there is none. */
  async channelTo(id: NodeId): Promise<Channel> {
    const open = this.#channels.get(id);
    if (open !== undefined) return open;
    const endpoint = this.#ports.endpointOf(id);
    if (endpoint === undefined)
      throw new CloisterError("PEER_UNREACHABLE", `The chain lists no endpoint of ${id}.`);
    const channel = await this.#ports.transport.connect(endpoint, id);
    this.#adopt(channel);
    return channel;
  }

  stop(): void {
    this.#stopped = true;
    for (const channel of this.#channels.values()) channel.close();
  }

  async #tickForever(): Promise<void> {
    while (!this.#stopped) {
      const nowMs = this.#ports.clock.nowMs();
      const waitMs = Math.min(Math.max(nextWakeMs(this.#state) - nowMs, 1), TICK_MS_MAX);
      await this.#ports.timers.wait(waitMs);
      this.feed({ kind: "tick", nowMs: this.#ports.clock.nowMs() });
    }
  }

  async #work(): Promise<void> {
    this.#busy = true;
    for (
      let input = this.#queue.shift();
      input !== undefined && !this.#stopped;
      input = this.#queue.shift()
    ) {
      const waited = awaitsChain(this.#state);
      const { state, effects } = step(this.#state, input);
      this.#state = state;
      for (const effect of effects) if (!this.#stopped) await this.#carryOut(effect);
      // Whoever publishes looks once that is done; a look before it would only be in the way.
      const publishes = effects.some(({ kind }) => kind === "publish-term");
      if (awaitsChain(this.#state) > waited && !publishes) this.#duties.awaitChain();
    }
    this.#busy = false;
  }

  async #carryOut(effect: Effect): Promise<void> {
    switch (effect.kind) {
      case "persist":
        return this.#makeDurable(encodeRecord(effect.record));
      case "send":
        return this.#send(effect.to, effect.message);
      case "connect":
        return void this.#dial(effect.peer);
      case "disconnect":
        return this.#hangUp(effect.peer, effect.code, effect.reason);
      case "publish-term":
        return this.#inBackground("publish-term", this.#duties.publishTerm(effect.certificate));
      case "publish-group":
        return this.#inBackground("publish-group", this.#duties.publishGroup(effect.group));
      case "run":
        return this.#duties.run(effect.assignment, effect.signature);
      case "abandon":
        return this.#duties.abandon(effect.orderId, effect.reason);
      case "assign":
        return this.#ports.log.info("order-assigned", { ...effect.assignment });
      case "log":
        return this.#ports.log[effect.level](effect.event, effect.fields);
    }
  }

  /**
   * What follows a record in its step is a promise that rests on it. While the disk does not take it nothing is
   * said or done, and to its peers this node is gone: that is safe, and it ends by itself once there is room.
   */
  async #makeDurable(record: Uint8Array): Promise<void> {
    const { records, log, timers } = this.#ports;
    while (!this.#stopped) {
      try {
        await records.write(RECORD, record);
        if (this.#trouble !== undefined) log.info("swarm-record-kept", {});
        this.#trouble = undefined;
        return;
      } catch (error) {
        const trouble = { code: codeOf(error), reason: (error as Error).message };
        if (this.#trouble?.code !== trouble.code) log.warn("swarm-record-not-kept", trouble);
        this.#trouble = trouble;
        await timers.wait(WRITE_AGAIN_MS);
      }
    }
  }

  #send(to: NodeId, message: Message): void {
    this.#probes.sent(to, message, this.#ports.clock.nowMs());
    const lane = isGossip(message) ? "gossip" : "urgent";
    this.#channels.get(to)?.notify("swarm", message as unknown as Cbor, lane);
  }

  #inBackground(what: string, work: Promise<void>): void {
    work.catch((error: unknown) =>
      this.#ports.log.warn(`${what}-failed`, { code: codeOf(error), reason: (error as Error).message }),
    );
  }

  async #dial(id: NodeId): Promise<void> {
    if (this.#channels.has(id) || this.#dialing.has(id)) return;
    const endpoint = this.#ports.endpointOf(id);
    if (endpoint === undefined) return;
    this.#dialing.add(id);
    try {
      this.#adopt(await this.#ports.transport.connect(endpoint, id));
    } catch (error) {
      this.#tellUnreachable(id, codeOf(error), (error as Error).message);
      await this.#ports.timers.wait(REDIAL_MS);
    } finally {
      this.#dialing.delete(id);
    }
  }

  #tellUnreachable(peer: NodeId, code: string, reason: string): void {
    const nowMs = this.#ports.clock.nowMs();
    const told = this.#unreachable.get(peer);
    if (told?.code === code && nowMs < told.atMs + TELL_UNREACHABLE_MS) return;
    this.#unreachable.set(peer, { code, atMs: nowMs });
    this.#ports.log.warn("peer-unreachable", { peer, code, reason });
  }

  #adopt(channel: Channel): void {
    this.#ports.met(channel.peer);
    const { id, tee, simulated, machine } = channel.peer;
    this.#unreachable.delete(id);
    this.#channels.get(id)?.close();
    this.#channels.set(id, channel);
    const verdict: Verdict<PeerFacts> = accept({ facts: { tee, simulated, ...machine } });
    this.feed({ kind: "peer-up", nowMs: this.#ports.clock.nowMs(), id, verdict });
    void channel.closed.then(() => {
      if (this.#channels.get(id) !== channel) return;
      this.#channels.delete(id);
      this.feed(lossOf(channel, this.#ports.clock.nowMs()));
    });
  }

  #hangUp(id: NodeId, code: string, reason: string): void {
    this.#ports.log.warn("peer-disconnected", { peer: id, code, reason });
    this.#channels.get(id)?.close();
  }
}

/** A channel that just ended says nothing about its peer; one that was cut off for the peer's evidence does. */
function lossOf({ peer: { id }, refusal }: Channel, nowMs: number): Input {
  if (refusal === undefined) return { kind: "peer-down", nowMs, id };
  return { kind: "peer-up", nowMs, id, verdict: { ok: false, refusals: [refusal] } };
}

/** A record that the disk tore, or that somebody changed, counts as lost: the core knows what a node without one may not do. */
async function readRecord({
  records,
  log,
}: Pick<SwarmPorts, "records" | "log">): Promise<SwarmConfig["record"]> {
  try {
    const bytes = await records.read(RECORD);
    return bytes === undefined ? undefined : decodeRecord(bytes);
  } catch (error) {
    log.warn("swarm-record-lost", { code: codeOf(error) });
    return undefined;
  }
}
