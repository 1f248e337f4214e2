import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import type { NodeId, OrderId } from "@cloister/core";
import type { Fleet, FleetNode } from "./fleet.ts";
import type { OrderBook } from "./orders.ts";

const GRACE_MS = 2_000;
const WITHIN_MS = 60_000;

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

/** Mishaps that happen to a fleet of five, each followed by waiting until the fleet is whole again. */
export class Mishaps {
  readonly #fleet: Fleet;
  readonly #orders: OrderBook;

  constructor(fleet: Fleet, orders: OrderBook) {
    this.#fleet = fleet;
    this.#orders = orders;
  }

  /** A member's links become slower than the goal allows; after its grace the group does without it. */
  async degraded(): Promise<Healing> {
    const leader = await this.#fleet.settled();
    const [id] = (await this.#orders.membersOf(HEALING_GOAL.id)).filter((member) => member !== leader.id);
    const member = this.#fleet.nodeOf(id) as FleetNode;
    const links = this.#fleet.linksBetween([member.index], this.#others(member.index));
    const atMs = performance.now();
    await this.#fleet.treat(links, { delayMs: 80, cut: false });
    const leftMs = await this.#untilGroup((members) => !members.includes(member.id as NodeId), atMs);
    await this.#fleet.treat(links, { delayMs: 0, cut: false });
    const mendedMs = performance.now();
    await this.#fleet.settled();
    return {
      graceMs: GRACE_MS,
      beyondGraceMs: leftMs - GRACE_MS,
      wholeAfterMs: performance.now() - mendedMs,
    };
  }

  /** The leader and one more are cut off: nothing may happen on their side, and the others go on. */
  async partitioned(
    cut: (some: number[], others: number[], isCut: boolean) => Promise<void>,
  ): Promise<Healing> {
    const leader = await this.#fleet.settled();
    const [second] = this.#others(leader.index) as [number];
    const minority = [leader.index, second];
    const majority = this.#others(...minority);
    const { term } = (await this.#fleet.chain.refresh()).state.term;
    const atMs = performance.now();
    await cut(minority, majority, true);
    const confirmed = await this.#fleet.events.first(atMs, WITHIN_MS, ({ event, host }) => {
      return event === "term-confirmed" && majority.some((index) => this.#nameOf(index) === host);
    });
    const order = await this.#orders.prepare(HEALING_GOAL.id);
    await order.open();
    const accepted = await this.#firstAcceptance(atMs, order.id, term);
    await wait(3_000);
    const healedMs = performance.now();
    await cut(minority, majority, false);
    await this.#fleet.settled();
    const wholeAfterMs = performance.now() - healedMs;
    return {
      newLeaderMs: (confirmed?.atMs ?? Number.POSITIVE_INFINITY) - atMs,
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
    const leads = await this.#fleet.events.first(atMs, WITHIN_MS, ({ event }) => event === "term-confirmed");
    await this.#fleet.settled();
    const wholeMs = performance.now() - atMs;
    await this.#orders.ends([order.id]);
    return {
      leaderMs: (leads?.atMs ?? Number.POSITIVE_INFINITY) - atMs,
      wholeMs,
      orderDoneMs: performance.now() - atMs,
    };
  }

  /** The image of one member is no longer approved: it is put out, and the group goes on without it. */
  async revoked(member: FleetNode): Promise<Healing> {
    await this.#fleet.settled();
    const id = member.id as NodeId;
    const atMs = performance.now();
    await this.#fleet.revokeOtherImage();
    const regroupedMs = await this.#untilGroup((members) => !members.includes(id), atMs);
    const others = this.#fleet.nodes.filter((node) => node !== member);
    await this.#fleet.settled(others);
    const order = await this.#orders.prepare(HEALING_GOAL.id);
    await order.open();
    await this.#orders.ends([order.id]);
    const events = this.#fleet.events.since(atMs + regroupedMs);
    const accepted = events.filter(({ event, host }) => event === "order-accepted" && host === member.name);
    return { regroupedMs, acceptedByRevoked: accepted.length };
  }

  #others(...indices: number[]): number[] {
    return this.#fleet.nodes.map(({ index }) => index).filter((index) => !indices.includes(index));
  }

  #nameOf(index: number): string {
    return (this.#fleet.nodes[index] as FleetNode).name;
  }

  async #firstAcceptance(sinceMs: number, order: OrderId, term: number): Promise<number> {
    const found = await this.#fleet.events.first(sinceMs, WITHIN_MS, ({ event, fields }) => {
      return event === "order-accepted" && fields["order"] === order && Number(fields["term"]) > term;
    });
    return found?.atMs ?? Number.POSITIVE_INFINITY;
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

  /** Milliseconds from `sinceMs` until the chain holds a group of the goal that is as wanted. */
  async #untilGroup(isWanted: (members: readonly NodeId[]) => boolean, sinceMs: number): Promise<number> {
    while (performance.now() - sinceMs < WITHIN_MS) {
      const members = await this.#orders.membersOf(HEALING_GOAL.id);
      if (members.length > 0 && isWanted(members)) return performance.now() - sinceMs;
      await wait(20);
    }
    return Number.POSITIVE_INFINITY;
  }
}
