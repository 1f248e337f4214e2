import { nextBelow, nextFraction, nextWord, type MemberRecord, type OpenOrder } from "@cloister/swarm";
import { FACTS, nodeIdOf, orderIdOf, type FaultKind } from "./scenario.ts";
import type { SimNode, World } from "./world.ts";

/** Harms a world at random times until its fault time is over. */
export function injectFaults(world: World): void {
  const { scenario, random } = world;
  if (scenario.faults.length === 0) return;
  const next = (): void => {
    if (world.nowMs >= scenario.faultMs) return;
    harm(world, scenario.faults[nextBelow(random, scenario.faults.length)] as FaultKind);
    world.schedule(world.nowMs + nextFraction(random) * 2 * scenario.faultEveryMs, next);
  };
  world.schedule(nextFraction(random) * 2_000, next);
}

/** Opens the orders of a run, most of them while things go wrong. */
export function openOrders(world: World): void {
  const { scenario, random } = world;
  for (let index = 0; index < scenario.orders; index++) {
    const order: OpenOrder = {
      orderId: orderIdOf(index),
      goalId: "compute",
      deadlineMs: Number.MAX_SAFE_INTEGER,
    };
    world.schedule(nextFraction(random) * scenario.faultMs, () =>
      world.chain.submit({ kind: "open", order }),
    );
  }
}

/** Ends all harm: links, clocks, machines and memberships are as at the start. */
export function heal(world: World): void {
  world.cuts.fill(0);
  world.extraDelayMs.fill(0);
  world.loss = Math.min(world.scenario.loss, 0.01);
  world.chainUp = true;
  world.healed = true;
  for (const node of world.nodes) {
    node.genuine = true;
    world.thaw(node);
    if (node.drained) world.crash(node);
    world.start(node);
  }
  admitAll(world);
}

/** What each kind of harm is counted as. */
const HARM_FIGURES = {
  crash: "plainCrashes",
  "crash-torn-disk": "tornWrites",
  "crash-lost-disk": "lostDisks",
  freeze: "freezes",
  partition: "partitions",
  "one-way-cut": "oneWayCuts",
  "loss-burst": "lossBursts",
  "slow-link": "slowLinks",
  "chain-outage": "chainOutages",
  "chain-reorganisation": "reorganisations",
  revoke: "revocations",
  expel: "expulsions",
  "forge-evidence": "forgedEvidence",
  garbage: "garbageBursts",
  replay: "replays",
  "wrong-chain": "wrongChains",
  flood: "floods",
  twin: "twins",
  "stale-orders": "staleOrders",
  "mass-restart": "massRestarts",
  drain: "drains",
  "evidence-revoked": "evidenceRevoked",
  "clock-jump": "clockJumps",
} as const satisfies { readonly [Kind in FaultKind]: string };

export type HarmFigure = (typeof HARM_FIGURES)[FaultKind];

/** A count of nothing for every kind of harm. */
export function noHarm(): { [Name in HarmFigure]: number } {
  return Object.fromEntries(Object.values(HARM_FIGURES).map((name) => [name, 0])) as ReturnType<
    typeof noHarm
  >;
}

type Harm = (world: World, node: SimNode) => void;

function harm(world: World, kind: FaultKind): void {
  const node = world.nodes[nextBelow(world.random, world.nodes.length)] as SimNode;
  world.note(node, kind);
  world.figures[HARM_FIGURES[kind]]++;
  HARMS[kind](world, node);
}

const HARMS: { readonly [Kind in FaultKind]: Harm } = {
  crash: (world, node) => crashFor(world, node, () => undefined),
  "crash-torn-disk": (world, node) =>
    crashFor(world, node, () => {
      if (node.disk !== undefined) node.disk = node.disk.subarray(0, node.disk.length >> 1);
    }),
  "crash-lost-disk": (world, node) =>
    crashFor(world, node, () => {
      node.disk = undefined;
      node.record = undefined;
      node.forgot = true;
    }),
  freeze: (world, node) => {
    if (node.state === undefined || node.frozen) return;
    node.frozen = true;
    world.schedule(world.nowMs + 50 + nextFraction(world.random) * 3_000, () => world.thaw(node));
  },
  partition: (world) => {
    const side = world.nodes.map(() => nextBelow(world.random, 2));
    cutFor(world, (from, to) => side[from] !== side[to]);
  },
  "one-way-cut": (world, node) => {
    const other = nextBelow(world.random, world.nodes.length);
    cutFor(world, (from, to) => from === node.index && (to === other || nextBelow(world.random, 3) === 0));
  },
  "loss-burst": (world) => {
    world.loss = 0.3 + nextFraction(world.random) * 0.4;
    later(world, 200, 1_500, () => (world.loss = world.scenario.loss));
  },
  "slow-link": (world, node) => {
    const { nodes } = world.scenario;
    const byMs = 50 + nextFraction(world.random) * 800;
    for (let peer = 0; peer < nodes; peer++) world.extraDelayMs[node.index * nodes + peer] = byMs;
    later(world, 500, 4_000, () => {
      for (let peer = 0; peer < nodes; peer++) world.extraDelayMs[node.index * nodes + peer] = 0;
    });
  },
  "chain-outage": (world) => {
    world.chainUp = false;
    later(world, 500, 4_000, () => (world.chainUp = true));
  },
  "chain-reorganisation": (world) => {
    world.reorganised = true;
    world.chain.reorganise(1 + nextBelow(world.random, 3), nextBelow(world.random, 2) === 0);
  },
  revoke: (world, node) => {
    setMembers(world, (record) => (record.id === node.id ? { ...record, eligible: false } : record));
    later(world, 1_000, 4_000, () => {
      setMembers(world, (record) => (record.id === node.id ? { ...record, eligible: true } : record));
    });
  },
  expel: (world, node) => {
    expelMember(world, node);
    later(world, 1_000, 4_000, () => setMembers(world, (record) => record, true));
  },
  "forge-evidence": (world, node) => {
    world.figures.forgeries++;
    node.genuine = false;
    world.crash(node);
    world.start(node);
    later(world, 500, 4_000, () => (node.genuine = true));
  },
  garbage: (world, node) => {
    for (let i = 0; i < 8; i++) {
      world.figures.garbage++;
      const from = nextBelow(world.random, world.nodes.length);
      if (from !== node.index) world.postHostile(from, node.index, garbageMessage(world));
    }
  },
  replay: (world) => {
    for (const { from, to, message } of world.replayable) {
      world.figures.garbage++;
      world.post(from, to, message);
    }
  },
  "wrong-chain": (world) => {
    for (const { from, to, message } of world.replayable) {
      world.figures.garbage++;
      world.postHostile(from, to, { ...message, chainId: message.chainId + 1 });
    }
  },
  flood: (world, node) => {
    const from = nextBelow(world.random, world.nodes.length);
    if (from === node.index) return;
    for (let i = 0; i < 1_500; i++) {
      const sample = world.replayable[i % Math.max(1, world.replayable.length)];
      if (sample !== undefined) world.post(from, node.index, sample.message);
    }
    world.figures.garbage += 1_500;
  },
  twin: (world, node) => {
    // Somebody with a copy of the node's keys: its channel claims the node's own id.
    const sample = world.replayable.find(({ from }) => from === node.index);
    if (sample === undefined) return;
    world.figures.forgeries++;
    world.postHostile(node.index, node.index, sample.message);
    forgeVotes(world, node);
    forgeAssignment(world, node);
  },
  "stale-orders": (world, node) => {
    const localMs = world.localMs(node);
    world.feed(node, { kind: "orders", nowMs: localMs, orders: [] });
  },
  "mass-restart": (world) => {
    for (const node of world.nodes) {
      world.figures.crashes++;
      world.crash(node);
      later(world, 50, 1_000, () => world.start(node));
    }
  },
  drain: (world, node) => {
    if (node.state === undefined || node.frozen) return;
    world.feed(node, { kind: "drain", nowMs: world.localMs(node) });
    node.drained = true;
    later(world, 1_000, 3_000, () => {
      world.crash(node);
      world.start(node);
    });
  },
  "evidence-revoked": (world, node) => {
    if (node.state === undefined || !node.genuine) return;
    world.figures.forgeries++;
    node.genuine = false;
    world.appraiseAnew(node);
    later(world, 500, 4_000, () => (node.genuine = true));
  },
  "clock-jump": (world, node) => {
    node.offsetMs += nextFraction(world.random) * (nextBelow(world.random, 2) === 0 ? 500 : 3_600_000);
    world.rewake(node);
  },
};

/** Votes for a node on everyone's channels that nobody signed. */
function forgeVotes(world: World, node: SimNode): void {
  const { chainId, swarm } = world.replayable[0]?.message ?? { chainId: 0, swarm: "" };
  const term = world.chain.head.view.term + 1;
  const vote = { chainId, swarm, kind: "vote", term, candidate: node.id, signature: new Uint8Array(8) };
  for (const peer of world.nodes) if (peer !== node) world.post(peer.index, node.index, vote);
}

/** An assignment on the leader's own channel whose order was swapped under its signature. */
function forgeAssignment(world: World, node: SimNode): void {
  const { view, orders } = world.chain.head;
  const [group] = view.groups;
  const [order] = orders.keys();
  if (view.leader === undefined || group === undefined || order === undefined) return;
  const { chainId, swarm } = world.replayable[0]?.message ?? { chainId: 0, swarm: "" };
  const { goalId, epoch } = group;
  const assignment = { orderId: order, node: node.id, term: view.term, epoch, goalId };
  const from = world.indexOf(view.leader);
  if (from === node.index) return;
  const signature = new Uint8Array(8);
  world.postHostile(from, node.index, { chainId, swarm, kind: "assignment", assignment, signature });
}

function later(world: World, leastMs: number, mostMs: number, call: () => void): void {
  world.schedule(world.nowMs + leastMs + nextFraction(world.random) * (mostMs - leastMs), () => {
    if (!world.healed) call();
  });
}

function crashFor(world: World, node: SimNode, spoil: () => void): void {
  if (node.state === undefined) return;
  world.figures.crashes++;
  world.crash(node);
  spoil();
  later(world, 50, 3_000, () => world.start(node));
}

function cutFor(world: World, cuts: (from: number, to: number) => boolean): void {
  const { nodes } = world.scenario;
  for (let from = 0; from < nodes; from++) {
    for (let to = 0; to < nodes; to++) if (cuts(from, to)) world.cuts[from * nodes + to] = 1;
  }
  later(world, 300, 4_000, () => world.cuts.fill(0));
}

/** Takes one member's eligibility away, as the revocation of its TCB does. */
export function revokeMember(world: World, node: SimNode): void {
  world.figures.revocations++;
  setMembers(world, (record) => (record.id === node.id ? { ...record, eligible: false } : record));
}

/** Takes one member out of the registry. */
export function expelMember(world: World, node: SimNode): void {
  setMembers(world, (record) => record, false, node);
}

/** Takes everybody in that was there at first. */
export function admitAll(world: World): void {
  setMembers(world, (record) => ({ ...record, eligible: true }), true);
}

/** Changes the registry through its own transactions, as an administrator would. */
function setMembers(
  world: World,
  change: (record: MemberRecord) => MemberRecord,
  whole = false,
  without?: SimNode,
): void {
  const { voters } = world.scenario;
  const present = new Map(world.wantedMembers.map((record) => [record.id, record]));
  const records = world.nodes.map((node): MemberRecord | undefined => {
    const usual = {
      ...world.firstMembers[node.index],
      id: node.id,
      voter: node.index < voters,
      facts: FACTS,
    };
    return whole ? (usual as MemberRecord) : present.get(node.id);
  });
  const members = records
    .filter((record) => record !== undefined && record.id !== without?.id)
    .map((record) => change(record as MemberRecord));
  world.wantedMembers = members;
  world.chain.submit({ kind: "members", members });
}

/** What no honest node sends: wrong types, wrong sizes, foreign members, deep nesting, raw bytes. */
function garbageMessage(world: World): unknown {
  const { random, replayable } = world;
  const sample = replayable[nextBelow(random, Math.max(1, replayable.length))]?.message as
    | Record<string, unknown>
    | undefined;
  switch (nextBelow(random, 8)) {
    case 0:
      return Uint8Array.from({ length: nextBelow(random, 200) }, () => nextWord(random) & 255);
    case 1:
      return null;
    case 2:
      return [sample, sample];
    case 3:
      return { ...sample, chainId: -1 };
    case 4:
      return { ...sample, extra: 1 };
    case 5:
      return { ...sample, kind: "constructor" };
    case 6:
      return {
        ...sample,
        updates: Array.from({ length: 10_000 }, () => [nodeIdOf(0), 2, 1]),
      };
    default:
      return spoilOne(world, sample ?? {});
  }
}

function spoilOne(world: World, sample: Record<string, unknown>): Record<string, unknown> {
  const names = Object.keys(sample);
  const name = names[nextBelow(world.random, Math.max(1, names.length))] ?? "kind";
  // An empty list or an absent member may be well formed; what is listed here never is.
  const values: unknown[] = [NaN, "x".repeat(1000), new Uint8Array(100), 2 ** 60, -0.5];
  return { ...sample, [name]: values[nextBelow(world.random, values.length)] };
}
