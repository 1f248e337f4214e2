/** `npm run test:namespaces [-- --only NAME] [--json]`: real nodes in network namespaces, by hand and as root. */
import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { readFlags } from "@cloister/tools/flags";
import { exactly, printReport, type GoalOutcome } from "@cloister/tools/report";
import { Fleet, type FleetNode, type FleetOptions } from "./hosts/fleet.ts";
import { HEALING_GOAL, Mishaps, type Cut } from "./hosts/healing.ts";
import { withHome } from "./hosts/home.ts";
import { Namespaces } from "./hosts/namespaces.ts";
import { OrderBook } from "./hosts/orders.ts";

const NODES = 5;
const RTT_MS = 20;
const HOURS_MS = 3_600_000;
const GOALS = [{ id: "key-release", kind: "key-release", size: { min: 3, max: 3 } }, HEALING_GOAL] as const;

const values = readFlags("npm run test:namespaces -- [--only NAME] [--json]", {
  json: { type: "boolean", default: false },
  only: { type: "string" },
});
const figures: Record<string, unknown> = {};
const goals: GoalOutcome[] = [];
const lacking = Namespaces.lacking();
if (lacking === undefined) {
  await withFleet("partition", {}, partition);
  await withFleet("flood", { flooding: [1] }, flood);
  await withFleet("clocks", { clockOffsetsMs: { 1: 3 * HOURS_MS, 2: -3 * HOURS_MS } }, clocks);
  await withFleet("identity", {}, identity);
} else {
  process.stderr.write(`test:namespaces: skipped, ${lacking}\n`);
  figures["skipped"] = lacking;
}
printReport({ name: "test:namespaces", figures, goals }, values.json);
process.exit();

type Scene = (fleet: Fleet, namespaces: Namespaces) => Promise<Record<string, unknown>>;

async function withFleet(name: string, options: Partial<FleetOptions>, scene: Scene): Promise<void> {
  if (values.only !== undefined && values.only !== name) return;
  await withHome(name, async (home) => {
    const namespaces = Namespaces.make(NODES);
    const common = { home, nodes: NODES, rttMs: RTT_MS, goals: GOALS, ground: namespaces };
    const fleet = await Fleet.start({ ...common, ...options });
    try {
      figures[name] = await scene(fleet, namespaces);
      process.stderr.write(`${name}: ${JSON.stringify(figures[name])}\n`);
    } finally {
      await fleet.stop();
      namespaces.remove();
    }
  });
}

function expected(what: string, figure: number | string, goal: number | string): void {
  goals.push(exactly(what, figure, goal));
}

async function ordersDone(orders: OrderBook, what: string): Promise<void> {
  const ends = [...(await orders.ends()).values()];
  expected(`${what}: orders that did not succeed`, ends.filter((status) => status !== "succeeded").length, 0);
}

/** Packets are dropped between the leader's side and the others; then a node's only link goes down and up. */
async function partition(fleet: Fleet, namespaces: Namespaces): Promise<Record<string, unknown>> {
  const orders = await OrderBook.open(fleet);
  const cut: Cut = async (some, others, isCut) => namespaces.cut(some, others, isCut);
  const healing = await new Mishaps(fleet, orders, cut, RTT_MS).partitioned();
  expected(
    "partition: effects on the side of the leader that was cut off",
    healing["minorityEffects"] ?? -1,
    0,
  );
  expected("partition: the majority went on", Number.isFinite(healing["acceptedMs"]) ? "yes" : "no", "yes");
  const leader = await fleet.settled();
  const lost = fleet.nodes.find((node) => node !== leader) as FleetNode;
  const downMs = performance.now();
  namespaces.link(lost.index, "down");
  const dead = await fleet.events.first(downMs, 30_000, ({ event, fields, host }) => {
    return event === "member-dead" && fields["member"] === lost.id && host !== lost.name;
  });
  namespaces.link(lost.index, "up");
  const upMs = performance.now();
  await fleet.settled();
  expected("link down: the others noticed", dead === undefined ? "no" : "yes", "yes");
  await ordersDone(orders, "partition");
  return {
    ...healing,
    linkDownNoticedMs: dead === undefined ? null : Math.round(dead.atMs - downMs),
    linkUpWholeMs: Math.round(performance.now() - upMs),
  };
}

/** One member sends the others thousands of messages a second over channels that it holds by right. */
async function flood(fleet: Fleet): Promise<Record<string, unknown>> {
  const flooder = fleet.nodes[1] as FleetNode;
  const rest = fleet.nodes.filter((node) => node !== flooder);
  await fleet.settled();
  const orders = await OrderBook.open(fleet);
  await wait(20_000);
  const { term } = (await fleet.chain.refresh()).state.term;
  await (await orders.prepare(HEALING_GOAL.id)).open();
  await ordersDone(orders, "flood");
  let counted = 0;
  let blamedOthers = 0;
  for (const node of rest) {
    const refusals = (await fleet.view(node))?.refusals ?? {};
    for (const [member, codes] of Object.entries(refusals)) {
      const floods = codes["SWARM_FLOOD"] ?? 0;
      if (member === flooder.id) counted += floods;
      else blamedOthers += floods;
    }
  }
  expected("flood: counted against its sender", counted > 0 ? "yes" : "no", "yes");
  expected("flood: counted against anybody else", blamedOthers, 0);
  expected("flood: nodes that ended", fleet.nodes.filter(({ process }) => !process.runs).length, 0);
  return { counted, electionsDuring: (await fleet.chain.refresh()).state.term.term - term };
}

/** Two nodes' clocks are hours off, one each way: the swarm elects, groups and works all the same. */
async function clocks(fleet: Fleet): Promise<Record<string, unknown>> {
  const leader = await fleet.settled();
  const orders = await OrderBook.open(fleet);
  for (let order = 0; order < 3; order++) await (await orders.prepare(HEALING_GOAL.id)).open();
  await ordersDone(orders, "clocks");
  expected("clocks: nodes that ended", fleet.nodes.filter(({ process }) => !process.runs).length, 0);
  return { leader: leader.name, term: (await fleet.chain.refresh()).state.term.term };
}

/** A second process with one node's keys and records runs beside it. */
async function identity(fleet: Fleet): Promise<Record<string, unknown>> {
  await fleet.settled();
  const orders = await OrderBook.open(fleet);
  const [original] = fleet.nodes as [FleetNode];
  const twin = fleet.twinOf(original, 1);
  twin.start();
  await wait(15_000);
  const rest = fleet.nodes.filter((node) => node !== original);
  const counters = (await fleet.view(original))?.counters ?? {};
  expected(
    "identity: counted by the node that has a twin",
    (counters["identity.forgotten"] ?? 0) > 0 ? "yes" : "no",
    "yes",
  );
  await (await orders.prepare(HEALING_GOAL.id)).open();
  await ordersDone(orders, "identity");
  const ended = fleet.nodes.filter(({ process }) => !process.runs).length;
  expected("identity: nodes that ended", ended, 0);
  await twin.stop("SIGKILL");
  await fleet.settled();
  const views = await Promise.all(rest.map((node) => fleet.view(node)));
  const counted = counters["identity.forgotten"];
  return { counted, termsAlike: new Set(views.map((view) => view?.term)).size === 1, twin: twin.name };
}
