import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { Fleet, OrderBook, withHome, type FleetNode, type HostEvent } from "@cloister/test/hosts";
import { atMost, exactly, type GoalOutcome } from "@cloister/tools/report";
import { EtcdCluster, put } from "./swarm-etcd.ts";
import type { PartResult } from "./swarm-parts.ts";
import { loadAverage, median, worst } from "./swarm-statistics.ts";

const NODES = 5;
const RTTS_MS = [0, 100] as const;
const POLL_MS = 10;
const EFFECT_WITHIN_MS = 30_000;
const SHARE_MAX = 0.2;
const STRIKES = ["killed", "frozen"] as const;
type Strike = (typeof STRIKES)[number];

/**
 * Goals whose groups cannot overlap, so that one of them is always without the leader: an order for it waits
 * for nothing but a new leader.
 */
const GOALS = [
  { id: "key-release", kind: "key-release", size: { min: 3, max: 3 } },
  ...[1, 2].map((n) => ({
    ...{ id: `compute-${n}`, kind: "compute" as const, size: { min: 2, max: 2 }, shared: false },
    failedGraceMs: 10_000,
  })),
] as const;

/** What one strike at our leader came to, in milliseconds from the strike. */
interface Failover {
  readonly effectMs: number;
  readonly steps: Readonly<Record<string, number>>;
  readonly staleAccepted: number;
}

/**
 * Part (a): the leader is killed or frozen; how long until the next one has its first effect. Ours: a member's
 * order desk accepts an assignment of the new term, of an order that was opened at the moment of the strike.
 * etcd's: the first put through a survivor. Both are looked for every 10 ms, one strike here, one there.
 */
export function benchFailover(rounds: number, say: (text: string) => void): Promise<PartResult> {
  return withHome("bench-failover", (home) => benchIn(home, rounds, say));
}

async function benchIn(home: string, rounds: number, say: (text: string) => void): Promise<PartResult> {
  const loadBefore = loadAverage();
  const fleet = await Fleet.start({ home, nodes: NODES, rttMs: 0, goals: GOALS });
  const etcd = await EtcdCluster.start(join(home, "etcd"));
  try {
    await fleet.settled();
    const bench = new FailoverBench(fleet, etcd, await OrderBook.open(fleet), say);
    await bench.run(rounds);
    return await bench.result({ loadBefore, loadAfter: loadAverage() });
  } finally {
    await Promise.all([fleet.stop(), etcd.stop()]);
  }
}

class FailoverBench {
  readonly #fleet: Fleet;
  readonly #etcd: EtcdCluster;
  readonly #orders: OrderBook;
  readonly #say: (text: string) => void;
  readonly #ours = new Map<string, Failover[]>();
  readonly #theirs = new Map<string, number[]>();

  constructor(fleet: Fleet, etcd: EtcdCluster, orders: OrderBook, say: (text: string) => void) {
    this.#fleet = fleet;
    this.#etcd = etcd;
    this.#orders = orders;
    this.#say = say;
  }

  async run(rounds: number): Promise<void> {
    for (const rttMs of RTTS_MS) {
      await Promise.all([this.#fleet.delay(rttMs), this.#etcd.delay(rttMs)]);
      await wait(3_000);
      for (let round = 0; round < rounds; round++) {
        for (const strike of STRIKES) {
          const ours = await this.#strikeOurs(strike);
          const theirs = await this.#strikeTheirs(strike);
          this.#note(`${strike}_rtt${rttMs}`, ours, theirs);
        }
      }
    }
  }

  #note(key: string, ours: Failover, theirs: number): void {
    this.#ours.set(key, [...(this.#ours.get(key) ?? []), ours]);
    this.#theirs.set(key, [...(this.#theirs.get(key) ?? []), theirs]);
    const steps = Object.entries(ours.steps).map(([name, ms]) => `${name} ${Math.round(ms)}`);
    this.#say(
      `${key}: ours ${Math.round(ours.effectMs)} ms (${steps.join(", ")}), etcd ${Math.round(theirs)} ms`,
    );
  }

  async #strikeOurs(strike: Strike): Promise<Failover> {
    const leader = await this.#fleet.settled();
    const order = await this.#orders.prepare(await this.#goalWithout(leader));
    await wait(Math.random() * 200);
    const { term } = (await this.#fleet.chain.refresh()).state.term;
    const atMs = performance.now();
    strikeAt(leader, strike);
    void order.open();
    const isEffect = ({ event, fields }: HostEvent): boolean =>
      event === "order-accepted" && fields["order"] === order.id && Number(fields["term"]) > term;
    const effectMs = await pollUntil(atMs, () => this.#fleet.events.since(atMs).some(isEffect));
    await wait(500);
    await this.#restore(leader, strike);
    const events = this.#fleet.events.since(atMs);
    return { effectMs, steps: stepsOf(events, atMs, order.id), staleAccepted: staleIn(events, term) };
  }

  async #goalWithout(leader: FleetNode): Promise<string> {
    for (;;) {
      const [goal] = await this.#orders.goalsWithout("compute", [leader.id]);
      if (goal !== undefined) return goal;
      await wait(200);
    }
  }

  /** A thawed leader goes on where it was: it gets the time to do harm before anything is looked at. */
  async #restore(leader: FleetNode, strike: Strike): Promise<void> {
    if (strike === "killed") leader.process.start();
    else leader.process.thaw();
    await wait(500);
    await this.#fleet.settled();
  }

  async #strikeTheirs(strike: Strike): Promise<number> {
    const leader = await this.#etcd.settled();
    const survivors = this.#etcd.members.filter((member) => member !== leader);
    await wait(Math.random() * 200);
    const atMs = performance.now();
    strikeAt(leader, strike);
    let done = false;
    let turn = 0;
    const effectMs = await pollUntil(atMs, () => {
      const member = survivors[turn++ % survivors.length] as (typeof survivors)[number];
      // Each attempt is on its own: one that hangs on the lost leader must not hide one that succeeds.
      void put(member).then((committed) => (done ||= committed));
      return done;
    });
    await wait(500);
    if (strike === "killed") leader.process.start();
    else leader.process.thaw();
    return effectMs;
  }

  async result(load: { loadBefore: string; loadAfter: string }): Promise<PartResult> {
    const figures: Record<string, unknown> = { ...load };
    const goals: GoalOutcome[] = [];
    for (const [key, ours] of this.#ours) {
      const effects = ours.map(({ effectMs }) => effectMs);
      const theirs = this.#theirs.get(key) ?? [];
      const ratio = median(effects) / median(theirs);
      figures[key] = {
        strikes: effects.length,
        oursP50Ms: Math.round(median(effects)),
        oursWorstMs: Math.round(worst(effects)),
        etcdP50Ms: Math.round(median(theirs)),
        etcdWorstMs: Math.round(worst(theirs)),
        ratioP50: Math.round(1_000 * ratio) / 1_000,
        ratioWorst: Math.round((1_000 * worst(effects)) / worst(theirs)) / 1_000,
        stepsP50Ms: mediansOf(ours.map(({ steps }) => steps)),
      };
      goals.push(
        atMost(
          `leader ${key.replace("_rtt", ", round trip ")} ms: p50 of the first effect, ours : etcd`,
          ratio,
          SHARE_MAX,
        ),
      );
    }
    const stale = [...this.#ours.values()].flat().reduce((sum, { staleAccepted }) => sum + staleAccepted, 0);
    figures["staleAssignments"] = { accepted: stale, refused: await this.#staleRefused() };
    goals.push(exactly("assignments of a leader of the past that a member accepted", stale, 0));
    const ends = await this.#orders.ends();
    const lost = [...ends.values()].filter((status) => status !== "succeeded").length;
    figures["orders"] = ends.size;
    goals.push(exactly("orders opened at the moment of a strike that did not succeed", lost, 0));
    return { figures, goals };
  }

  /** What members refused as coming from a leader that is none any more, in their present lives. */
  async #staleRefused(): Promise<number> {
    const views = await Promise.all(this.#fleet.nodes.map((node) => this.#fleet.view(node)));
    const codes = ["SWARM_TERM_STALE", "SWARM_NOT_LEADER"];
    let refused = 0;
    for (const view of views) {
      for (const code of codes) refused += view?.counters[`refused.${code}`] ?? 0;
    }
    return refused;
  }
}

function strikeAt({ process }: Pick<FleetNode, "process">, strike: Strike): void {
  if (strike === "killed") process.kill();
  else process.freeze();
}

/** Milliseconds from `atMs` until `attempt` says so; both systems are asked equally often. */
async function pollUntil(atMs: number, attempt: () => boolean): Promise<number> {
  while (!attempt()) {
    const elapsedMs = performance.now() - atMs;
    if (elapsedMs > EFFECT_WITHIN_MS) return Number.POSITIVE_INFINITY;
    await wait(POLL_MS);
  }
  return performance.now() - atMs;
}

/** When each step of the failover was first taken; a quorum of five doubts with its third doubter. */
function stepsOf(events: readonly HostEvent[], atMs: number, order: string): Record<string, number> {
  const when = (matches: (event: HostEvent) => boolean, nth = 0): number =>
    (events.filter(matches)[nth]?.atMs ?? Number.NaN) - atMs;
  const named = (name: string) => (event: HostEvent) => event.event === name;
  const ofOrder = (name: string) => (event: HostEvent) => {
    const { order: one, orderId } = event.fields;
    return event.event === name && (one === order || orderId === order);
  };
  return {
    doubted: when(named("leader-doubted")),
    quorumDoubts: when(named("leader-doubted"), 2),
    voted: when(named("vote-cast")),
    won: when(named("term-won")),
    onChain: when(named("term-published")),
    confirmed: when(named("term-confirmed")),
    assigned: when(ofOrder("order-assigned")),
    accepted: when(ofOrder("order-accepted")),
    checked: when(ofOrder("order-checked")),
  };
}

/** Assignments of `term` or before that a member accepted after it knew of a later one. */
function staleIn(events: readonly HostEvent[], term: number): number {
  const won = events.find(({ event }) => event === "term-confirmed")?.atMs ?? Number.POSITIVE_INFINITY;
  return events.filter(
    ({ event, atMs, fields }) =>
      event === "order-accepted" && Number(fields["term"]) <= term && atMs > won + 100,
  ).length;
}

function mediansOf(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = Object.keys(all[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [name, Math.round(median(all.map((one) => one[name] ?? Number.NaN)))]),
  );
}
