import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { Fleet, OrderBook, withHome, type FleetNode, type HostEvent } from "@cloister/test/hosts";
import { atMost, exactly } from "@cloister/tools/report";
import type { PartResult } from "./swarm-parts.ts";
import { SerfCluster } from "./swarm-serf.ts";
import { loadAverage, median, worst } from "./swarm-statistics.ts";

const NODES = 5;
const GRACE_MS = 2_000;
const WITHIN_MS = 30_000;
const DETECTION_SHARE_MAX = 0.1;
/** Three round trips, none of which takes time here, and a second. */
const BEYOND_GRACE_MS_MAX = 1_000;
/** What Kubernetes takes by default: 40 s until a silent node is not ready, then 300 s of toleration. */
const KUBERNETES_DEFAULT_MS = 340_000;

const GOALS = [
  { id: "key-release", kind: "key-release", size: { min: 3, max: 3 } },
  ...[1, 2].map((n) => ({
    ...{ id: `compute-${n}`, kind: "compute" as const, size: { min: 2, max: 2 }, shared: false },
    failedGraceMs: GRACE_MS,
  })),
] as const;

interface Loss {
  readonly firstMs: number;
  readonly lastMs: number;
  /** From the end of the grace, which begins when the leader gives the member up. */
  readonly acceptedMs: number;
  readonly runningMs: number;
}

/**
 * Part (b): a member is killed just as it takes an order on. When is it given up, beside serf; and how long after
 * its grace does the order's engine run elsewhere.
 */
export function benchMemberLost(rounds: number, say: (text: string) => void): Promise<PartResult> {
  return withHome("bench-member", (home) => benchIn(home, rounds, say));
}

async function benchIn(home: string, rounds: number, say: (text: string) => void): Promise<PartResult> {
  const loadBefore = loadAverage();
  const fleet = await Fleet.start({ home, nodes: NODES, rttMs: 0, goals: GOALS });
  const serf = await SerfCluster.start(join(home, "serf"));
  try {
    await fleet.settled();
    const orders = await OrderBook.open(fleet);
    const ours: Loss[] = [];
    const theirs: { readonly firstMs: number; readonly lastMs: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      const loss = await loseMember(fleet, orders);
      const lost = await serf.lose(round);
      ours.push(loss);
      theirs.push(lost);
      const figures = Object.entries(loss).map(([name, ms]) => `${name} ${Math.round(ms)}`);
      say(
        `member lost: ours ${figures.join(", ")}; serf first ${Math.round(lost.firstMs)}, last ${Math.round(lost.lastMs)}`,
      );
    }
    const notDone = [...(await orders.ends()).values()].filter((status) => status !== "succeeded").length;
    return resultOf(ours, theirs, notDone, `${loadBefore}; ${loadAverage()}`);
  } finally {
    await Promise.all([fleet.stop(), serf.stop()]);
  }
}

function resultOf(
  ours: readonly Loss[],
  theirs: readonly { readonly firstMs: number; readonly lastMs: number }[],
  notDone: number,
  load: string,
): PartResult {
  const firsts = ours.map(({ firstMs }) => firstMs);
  const serfs = theirs.map(({ firstMs }) => firstMs);
  const running = ours.map(({ runningMs }) => runningMs);
  const rounded = (values: readonly number[]): string =>
    `p50 ${Math.round(median(values))}, worst ${Math.round(worst(values))}`;
  return {
    figures: {
      ...{ load, losses: ours.length, graceMs: GRACE_MS, kubernetesDefaultMs: KUBERNETES_DEFAULT_MS },
      detectedFirstMs: rounded(firsts),
      detectedByAllMs: rounded(ours.map(({ lastMs }) => lastMs)),
      serfFirstMs: rounded(serfs),
      serfByAllMs: rounded(theirs.map(({ lastMs }) => lastMs)),
      ratioWorst: Math.round((1_000 * worst(firsts)) / worst(serfs)) / 1_000,
      acceptedElsewhereBeyondGraceMs: rounded(ours.map(({ acceptedMs }) => acceptedMs)),
      runningElsewhereBeyondGraceMs: rounded(running),
    },
    goals: [
      atMost(
        "member killed: p50 until detected, ours : serf",
        median(firsts) / median(serfs),
        DETECTION_SHARE_MAX,
      ),
      atMost("order running elsewhere: worst ms beyond the grace", worst(running), BEYOND_GRACE_MS_MAX),
      exactly("orders of killed members that did not succeed", notDone, 0),
    ],
  };
}

async function loseMember(fleet: Fleet, orders: OrderBook): Promise<Loss> {
  const leader = await fleet.settled();
  const order = await orders.prepare(await goalWithout(orders, leader));
  const openedMs = performance.now();
  await order.open();
  const isFor = (event: HostEvent, name: string): boolean =>
    event.event === name && event.fields["order"] === order.id;
  const accepted = await fleet.events.first(openedMs, WITHIN_MS, (event) => isFor(event, "order-accepted"));
  const member = fleet.nodes.find(({ name }) => name === accepted?.host) as FleetNode;
  const atMs = performance.now();
  member.process.kill();
  const elsewhere = (name: string) =>
    fleet.events.first(atMs, WITHIN_MS, (event) => event.host !== member.name && isFor(event, name));
  const again = await elsewhere("order-accepted");
  const running = await elsewhere("engine-started");
  const dead = fleet.events
    .since(atMs)
    .filter(({ event, fields }) => event === "member-dead" && fields["member"] === member.id);
  const byLeader = dead.find(({ host }) => host === leader.name);
  const graceEndsMs = (byLeader?.atMs ?? Number.NaN) + GRACE_MS;
  const times = dead.map((event) => event.atMs - atMs);
  member.process.start();
  await wait(500);
  await fleet.settled();
  return {
    firstMs: Math.min(...times),
    lastMs: Math.max(...times),
    acceptedMs: (again?.atMs ?? Number.POSITIVE_INFINITY) - graceEndsMs,
    runningMs: (running?.atMs ?? Number.POSITIVE_INFINITY) - graceEndsMs,
  };
}

async function goalWithout(orders: OrderBook, leader: FleetNode): Promise<string> {
  for (;;) {
    const [goal] = await orders.goalsWithout("compute", [leader.id]);
    if (goal !== undefined) return goal;
    await wait(200);
  }
}
