import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import type { NodeId, OrderId } from "@cloister/core";
import type { PreparedOrder } from "../../apps/cli/src/network/market.ts";
import type { HostEvent } from "./events.ts";
import type { Fleet, FleetNode } from "./fleet.ts";
import type { Effort, OrderBook } from "./orders.ts";

const GRACE_MS = 2_000;
const WITHIN_MS = 120_000;
const LONELY_TRIES = 5;

/** What one mishap came to, in milliseconds from when it began or, where it says so, from when it was mended. */
export type Healing = Readonly<Record<string, number>>;

/** The goal that the mishaps work on: one group of four of five, which keeps its members near to one another. */
export const HEALING_GOAL = {
  id: "compute",
  kind: "compute",
  size: { min: 3, max: 4 },
  latencyMsMax: 100,
  failedGraceMs: GRACE_MS,
  degradedGraceMs: GRACE_MS,
} as const;

/** Drops everything between some nodes and others, or lets it pass again. */
export type Cut = (some: readonly number[], others: readonly number[], isCut: boolean) => Promise<void>;

/** Mishaps that happen to a fleet of five, each followed by waiting until the fleet is whole again. */
export class Mishaps {
  readonly #fleet: Fleet;
  readonly #orders: OrderBook;
  readonly #cut: Cut;
  readonly #rttMs: number;

  /** @param rttMs Between any two nodes while nothing is amiss. */
  constructor(fleet: Fleet, orders: OrderBook, cut: Cut, rttMs: number) {
    this.#fleet = fleet;
    this.#orders = orders;
    this.#cut = cut;
    this.#rttMs = rttMs;
  }

  /** The leader ends without warning, or stands still and goes on later, just as an order is opened. */
  async leaderLost(how: "killed" | "frozen"): Promise<Healing> {
    const leader = await this.#fleet.settled();
    const order = await this.#orders.prepare(HEALING_GOAL.id);
    const { term } = (await this.#fleet.chain.refresh()).state.term;
    const atMs = performance.now();
    if (how === "killed") leader.process.kill();
    else leader.process.freeze();
    await order.open();
    const next = await this.#first(atMs, ({ event, host }) => {
      return event === "term-confirmed" && host !== leader.name;
    });
    const acceptedAtMs = await this.#firstAcceptance(atMs, order.id, term);
    if (how === "killed") leader.process.start();
    else leader.process.thaw();
    return {
      newLeaderMs: next - atMs,
      orderAcceptedMs: acceptedAtMs - atMs,
      wholeAfterMs: await this.#wholeAfter(),
    };
  }

  /** A member that leads nothing is killed while it works on an order. */
  async memberLost(): Promise<Healing> {
    const leader = await this.#fleet.settled();
    const { order, member } = await this.#orderOnOtherThan(leader);
    const atMs = performance.now();
    member.process.kill();
    const elsewhere = ({ event, host, fields }: HostEvent, name: string): boolean =>
      event === name && host !== member.name && fields["order"] === order.id;
    const acceptedAtMs = await this.#first(atMs, (event) => elsewhere(event, "order-accepted"));
    const runningAtMs = await this.#first(atMs, (event) => elsewhere(event, "engine-started"));
    const deaths = this.#fleet.events
      .since(atMs)
      .filter(({ event, fields }) => event === "member-dead" && fields["member"] === member.id);
    const graceEndsMs = (deaths.find(({ host }) => host === leader.name)?.atMs ?? Number.NaN) + GRACE_MS;
    member.process.start();
    return {
      detectedMs: Math.min(...deaths.map((event) => event.atMs)) - atMs,
      graceMs: GRACE_MS,
      acceptedBeyondGraceMs: acceptedAtMs - graceEndsMs,
      runningBeyondGraceMs: runningAtMs - graceEndsMs,
      wholeAfterMs: await this.#wholeAfter(),
    };
  }

  /** A member's links become slower than the goal allows; after its grace the group does without it. */
  async degraded(): Promise<Healing> {
    const leader = await this.#fleet.settled();
    const [id] = (await this.#orders.membersOf(HEALING_GOAL.id)).filter((member) => member !== leader.id);
    const member = this.#fleet.nodeOf(id) as FleetNode;
    const links = this.#fleet.linksBetween([member.index], this.#others(member.index));
    const atMs = performance.now();
    await this.#fleet.treat(links, { delayMs: 80, cut: false });
    await (await this.#orders.prepare(HEALING_GOAL.id)).open();
    const leftMs = await this.#untilGroup(HEALING_GOAL.id, member.id as NodeId, atMs);
    await this.#fleet.treat(links, { delayMs: this.#rttMs / 2, cut: false });
    return { graceMs: GRACE_MS, beyondGraceMs: leftMs - GRACE_MS, wholeAfterMs: await this.#wholeAfter() };
  }

  /** The leader and one more are cut off: nothing may happen on their side, and the others go on. */
  async partitioned(): Promise<Healing> {
    const leader = await this.#fleet.settled();
    const [second] = this.#others(leader.index) as [number];
    const minority = [leader.index, second];
    const majority = this.#others(...minority);
    const { term } = (await this.#fleet.chain.refresh()).state.term;
    const atMs = performance.now();
    await this.#cut(minority, majority, true);
    const confirmed = await this.#first(atMs, ({ event, host }) => {
      return event === "term-confirmed" && majority.some((index) => this.#nameOf(index) === host);
    });
    const order = await this.#orders.prepare(HEALING_GOAL.id);
    await order.open();
    const accepted = await this.#firstAcceptance(atMs, order.id, term);
    await wait(3_000);
    const healedMs = performance.now();
    await this.#cut(minority, majority, false);
    const wholeAfterMs = await this.#wholeAfter();
    return {
      newLeaderMs: confirmed - atMs,
      acceptedMs: accepted - atMs,
      wholeAfterMs,
      minorityEffects: this.#effectsOf(minority, atMs, healedMs, order.id),
    };
  }

  /** Every node ends in good order and starts again, one after the other. */
  async rollingRestart(): Promise<Healing> {
    const times: number[] = [];
    for (const node of this.#fleet.nodes) {
      await this.#fleet.settled();
      await (await this.#orders.prepare(HEALING_GOAL.id)).open();
      const atMs = performance.now();
      await node.process.stop();
      node.process.start();
      await wait(500);
      await this.#fleet.settled();
      times.push(performance.now() - atMs);
    }
    return { restarts: times.length, wholeAfterWorstMs: Math.max(...times) };
  }

  /** Every node is killed at once, right after one of them took an order on. */
  async massRestart(): Promise<Healing> {
    await this.#fleet.settled();
    const order = await this.#orders.prepare(HEALING_GOAL.id);
    const openedMs = performance.now();
    await order.open();
    await this.#firstAcceptance(openedMs, order.id, -1);
    const atMs = performance.now();
    for (const { process } of this.#fleet.nodes) process.kill();
    for (const { process } of this.#fleet.nodes) process.start();
    const leads = await this.#first(atMs, ({ event }) => event === "term-confirmed");
    await this.#fleet.settled();
    const wholeMs = performance.now() - atMs;
    await this.#orders.ends([order.id]);
    return {
      leaderMs: leads - atMs,
      wholeMs,
      orderDoneMs: performance.now() - atMs,
    };
  }

  /**
   * The vendor calls a member's firmware out of date while it works on an order: its peers put it out, its group
   * goes on without it, and it is let in again once its machine has later firmware.
   */
  async tcbDropped(member: FleetNode): Promise<Healing> {
    const figures = await this.#evicted(member, async () => this.#fleet.rateOldFirmwareDown());
    const updatedMs = performance.now();
    await this.#fleet.updateFirmware(member);
    await this.#fleet.settled();
    return { ...figures, backAfterUpdateMs: performance.now() - updatedMs };
  }

  /** The image of a member is no longer approved while it works on an order: it is put out for good. */
  imageRevoked(member: FleetNode): Promise<Healing> {
    return this.#evicted(member, () => this.#fleet.revokeOtherImage());
  }

  async #evicted(member: FleetNode, evict: () => Promise<void>): Promise<Healing> {
    const others = this.#fleet.nodes.filter((node) => node !== member);
    await this.#fleet.settled();
    const goal = await this.#lonelyGoal(member);
    const { order, host } = await this.#taken(goal, "slow");
    const atMs = performance.now();
    await evict();
    const regroupedMs = await this.#untilGroup(goal, member.id as NodeId, atMs);
    const movedAtMs = await this.#first(atMs, ({ event, host: by, fields }) => {
      return event === "order-accepted" && by !== member.name && fields["order"] === order.id;
    });
    await this.#fleet.settled(others);
    const wholeMs = performance.now() - atMs;
    await (await this.#orders.prepare(goal)).open();
    await this.#orders.ends();
    const late = this.#fleet.events.since(atMs + regroupedMs).filter((event) => {
      return event.event === "order-accepted" && event.host === member.name;
    });
    return {
      heldByEvicted: host === member.name ? 1 : 0,
      regroupedMs,
      workMovedMs: movedAtMs - atMs,
      wholeMs,
      acceptedByEvicted: late.length,
    };
  }

  /**
   * A new goal that one node holds alone, for as long as it is fit for it. Affinity is a wish: a member that was
   * suspected at that very moment is passed over, and asked again.
   */
  async #lonelyGoal({ name, id }: FleetNode): Promise<string> {
    const graces = { failedGraceMs: GRACE_MS, degradedGraceMs: GRACE_MS };
    const size = { min: 1, max: 1 };
    for (let attempt = 1; ; attempt++) {
      const goal = `held-by-${name}-${attempt}`;
      await this.#fleet.declare({ id: goal, kind: "compute", size, affinity: [id as NodeId], ...graces });
      await this.#fleet.settled();
      const members = await this.#orders.membersOf(goal);
      if (members.includes(id as NodeId) || attempt === LONELY_TRIES) return goal;
    }
  }

  /** An order that some node has begun to work on. */
  async #taken(goal: string, effort: Effort): Promise<{ order: PreparedOrder; host: string | undefined }> {
    const order = await this.#orders.prepare(goal, effort);
    const openedMs = performance.now();
    await order.open();
    const started = await this.#fleet.events.first(openedMs, WITHIN_MS, ({ event, fields }) => {
      return event === "engine-started" && fields["order"] === order.id;
    });
    return { order, host: started?.host };
  }

  /** Orders go to whoever has the fewest: the second at the latest is not the leader's. */
  async #orderOnOtherThan(leader: FleetNode): Promise<{ order: PreparedOrder; member: FleetNode }> {
    for (;;) {
      const { order, host } = await this.#taken(HEALING_GOAL.id, "slow");
      const member = this.#fleet.nodes.find(({ name }) => name === host);
      if (member === undefined) throw new Error(`nobody took order ${order.id} on`);
      if (member !== leader) return { order, member };
    }
  }

  async #wholeAfter(): Promise<number> {
    const sinceMs = performance.now();
    // Whoever was away must have been noticed before the fleet can look whole again.
    await wait(200);
    await this.#fleet.settled();
    return performance.now() - sinceMs;
  }

  async #first(sinceMs: number, matches: (event: HostEvent) => boolean): Promise<number> {
    return (await this.#fleet.events.first(sinceMs, WITHIN_MS, matches))?.atMs ?? Number.POSITIVE_INFINITY;
  }

  #others(...indices: number[]): number[] {
    return this.#fleet.nodes.map(({ index }) => index).filter((index) => !indices.includes(index));
  }

  #nameOf(index: number): string {
    return (this.#fleet.nodes[index] as FleetNode).name;
  }

  #firstAcceptance(sinceMs: number, order: OrderId, term: number): Promise<number> {
    return this.#first(sinceMs, ({ event, fields }) => {
      return event === "order-accepted" && fields["order"] === order && Number(fields["term"]) > term;
    });
  }

  /** Assignments that a cut-off side made or took while it was cut off. */
  #effectsOf(indices: readonly number[], fromMs: number, untilMs: number, order: OrderId): number {
    const names = indices.map((index) => this.#nameOf(index));
    return this.#fleet.events.since(fromMs).filter(({ event, host, atMs, fields }) => {
      const isEffect =
        event === "order-accepted" || event === "order-assigned" || event === "group-published";
      const isLate = fields["order"] === order || fields["orderId"] === order || event === "group-published";
      return names.includes(host) && atMs < untilMs && isEffect && isLate;
    }).length;
  }

  /** Milliseconds from `sinceMs` until the chain holds a group of the goal without this node. */
  async #untilGroup(goal: string, without: NodeId, sinceMs: number): Promise<number> {
    while (performance.now() - sinceMs < WITHIN_MS) {
      const members = await this.#orders.membersOf(goal);
      if (members.length > 0 && !members.includes(without)) return performance.now() - sinceMs;
      await wait(20);
    }
    return Number.POSITIVE_INFINITY;
  }
}
