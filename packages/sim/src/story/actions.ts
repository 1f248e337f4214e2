import type { NodeId, OrderId } from "@cloister/core";
import type { MemberRecord } from "@cloister/swarm";
import { orderIdOf } from "../scenario.ts";
import type { SimNode, World } from "../world.ts";
import type { Action, NodeSet, NodeVerb } from "./script.ts";
import type { Topology } from "./topology.ts";

const FLOOD_MESSAGES = 1_500;

/** Does what a line of the script says, now. Gives the nodes it concerned. */
export function perform(
  world: World,
  topology: Topology,
  action: Action,
  orders: { next: number },
): number[] {
  switch (action.verb) {
    case "heal":
      world.cuts.fill(0);
      return [];
    case "restore":
      world.extraDelayMs.fill(0);
      return [];
    case "loss":
      world.loss = action.share;
      return [];
    case "chain-down":
      world.chainUp = false;
      return [];
    case "chain-up":
      world.chainUp = true;
      return [];
    case "reorganise":
      world.reorganised = true;
      world.chain.reorganise(action.blocks, false);
      return [];
    case "order":
      openOrders(world, action, orders);
      return [];
    case "slow":
      return slow(world, resolve(world, topology, action.nodes), action.byMs);
    case "cut":
      return cut(world, resolve(world, topology, action.nodes), resolve(world, topology, action.others));
    case "flood":
      return flood(world, resolve(world, topology, action.nodes), resolve(world, topology, action.others));
    default:
      return each(world, resolve(world, topology, action.nodes), action.verb);
  }
}

/** Which nodes a set names at this moment. */
function resolve(world: World, topology: Topology, set: NodeSet): number[] {
  const { view } = world.chain.head;
  switch (set.kind) {
    case "indexes":
      return [...set.indexes];
    case "leader":
      return view.leader === undefined ? [] : [world.indexOf(view.leader)];
    case "region":
      return world.nodes.flatMap(({ index }) => (topology.regionOf(index) === set.name ? [index] : []));
    case "group": {
      const group = view.groups.find(({ goalId }) => goalId === set.name);
      return (group?.members ?? []).map((id) => world.indexOf(id));
    }
  }
}

function each(world: World, indexes: readonly number[], verb: NodeVerb): number[] {
  const nodes = indexes.map((index) => world.nodes[index] as SimNode);
  if (verb === "partition") {
    const inside = new Set(indexes);
    cutWhere(world, (from, to) => inside.has(from) !== inside.has(to));
    return [...indexes];
  }
  if (verb === "revoke" || verb === "reinstate") {
    changeMembers(world, nodes, (record) => ({ ...record, eligible: verb === "reinstate" }));
  } else if (verb === "expel" || verb === "admit") {
    changeMembers(world, nodes, (record) => (verb === "admit" ? record : undefined));
  } else {
    for (const node of nodes) EACH[verb](world, node);
  }
  return [...indexes];
}

type OneByOne = Exclude<NodeVerb, "partition" | "revoke" | "reinstate" | "expel" | "admit">;

const EACH: { readonly [Verb in OneByOne]: (world: World, node: SimNode) => void } = {
  kill: (world, node) => world.crash(node),
  start: (world, node) => world.start(node),
  freeze: (_, node) => void (node.frozen = node.state !== undefined),
  thaw: (world, node) => world.thaw(node),
  forge: (world, node) => {
    node.genuine = false;
    world.crash(node);
    world.start(node);
  },
  mend: (world, node) => {
    node.genuine = true;
    world.crash(node);
    world.start(node);
  },
  drain: (world, node) => {
    if (node.state === undefined || node.frozen) return;
    world.feed(node, { kind: "drain", nowMs: world.localMs(node) });
    node.drained = true;
  },
};

/** The registry is told as an administrator would tell it: by a transaction that takes its time. */
function changeMembers(
  world: World,
  nodes: readonly SimNode[],
  change: (record: MemberRecord) => MemberRecord | undefined,
): void {
  const concerned = new Set<NodeId>(nodes.map(({ id }) => id));
  const present = new Map(world.wantedMembers.map((record) => [record.id, record]));
  const members = world.firstMembers.flatMap((first): MemberRecord[] => {
    const record = present.get(first.id);
    if (!concerned.has(first.id)) return record === undefined ? [] : [record];
    const changed = change(record ?? first);
    return changed === undefined ? [] : [changed];
  });
  world.wantedMembers = members;
  world.chain.submit({ kind: "members", members });
}

function slow(world: World, indexes: readonly number[], byMs: number): number[] {
  const { nodes } = world.scenario;
  for (const index of indexes) {
    for (let peer = 0; peer < nodes; peer++) {
      world.extraDelayMs[index * nodes + peer] = byMs / 2;
      world.extraDelayMs[peer * nodes + index] = byMs / 2;
    }
  }
  return [...indexes];
}

function cut(world: World, from: readonly number[], to: readonly number[]): number[] {
  const [sources, targets] = [new Set(from), new Set(to)];
  cutWhere(world, (a, b) => sources.has(a) && targets.has(b));
  return [...from];
}

function cutWhere(world: World, cuts: (from: number, to: number) => boolean): void {
  const { nodes } = world.scenario;
  for (let from = 0; from < nodes; from++) {
    for (let to = 0; to < nodes; to++) if (cuts(from, to)) world.cuts[from * nodes + to] = 1;
  }
}

function flood(world: World, from: readonly number[], to: readonly number[]): number[] {
  const samples = world.replayable;
  for (const source of from) {
    for (const target of to) {
      if (source === target || samples.length === 0) continue;
      for (let sent = 0; sent < FLOOD_MESSAGES; sent++) {
        world.post(source, target, (samples[sent % samples.length] as (typeof samples)[number]).message);
      }
      world.figures.garbage += FLOOD_MESSAGES;
    }
  }
  return [...from];
}

function openOrders(
  world: World,
  { count, goalId }: Extract<Action, { verb: "order" }>,
  orders: { next: number },
): void {
  for (let place = 0; place < count; place++) {
    const orderId: OrderId = orderIdOf(orders.next++);
    const order = {
      orderId,
      deadlineMs: Number.MAX_SAFE_INTEGER,
      ...(goalId === undefined ? {} : { goalId }),
    };
    world.chain.submit({ kind: "open", order });
  }
}
