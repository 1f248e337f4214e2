import { setTimeout as wait } from "node:timers/promises";
import { atMost, exactly, type GoalOutcome } from "@cloister/tools/report";
import { Fleet, type FleetNode } from "./fleet.ts";
import { HEALING_GOAL, Mishaps, type Cut, type Healing } from "./healing.ts";
import { withHome } from "./home.ts";
import { Namespaces } from "./namespaces.ts";
import { OrderBook } from "./orders.ts";

const NODES = 5;
const OTHER_IMAGE = 3;
const OLD_FIRMWARE = 4;
const NAMESPACES_RTT_MS = 20;
/** Time enough for a loaded machine; what it takes on an idle one is in docs/measurements.md. */
const HEALED_MS_MAX = 30_000;
const RELEASE_GOAL = { id: "key-release", kind: "key-release", size: { min: 3, max: 3 } } as const;

export type GroundKind = "loopback" | "namespaces";

/** What a scene is measured by. */
interface Scene {
  run(mishaps: Mishaps, fleet: Fleet): Promise<Healing>;
  /** Figures that are times to heal, and figures that must be exactly so much. */
  readonly healed: readonly string[];
  readonly exact?: Readonly<Record<string, number>>;
}

const EVICTION = { healed: ["regroupedMs", "workMovedMs", "wholeMs"] } as const;
const EVICTED = { heldByEvicted: 1, acceptedByEvicted: 0 } as const;

/** What may go wrong with leaders, members, links, hosts and hardware; each scene leaves a whole fleet to the next. */
export const SCENES: Readonly<Record<string, Scene>> = {
  leaderKilled: {
    run: (mishaps) => mishaps.leaderLost("killed"),
    healed: ["newLeaderMs", "orderAcceptedMs", "wholeAfterMs"],
  },
  leaderFrozen: {
    run: (mishaps) => mishaps.leaderLost("frozen"),
    healed: ["newLeaderMs", "orderAcceptedMs", "wholeAfterMs"],
  },
  memberLost: {
    run: (mishaps) => mishaps.memberLost(),
    healed: ["detectedMs", "runningBeyondGraceMs", "wholeAfterMs"],
  },
  memberDegraded: { run: (mishaps) => mishaps.degraded(), healed: ["beyondGraceMs", "wholeAfterMs"] },
  partition: {
    run: (mishaps) => mishaps.partitioned(),
    healed: ["newLeaderMs", "acceptedMs", "wholeAfterMs"],
    exact: { minorityEffects: 0 },
  },
  rollingRestart: { run: (mishaps) => mishaps.rollingRestart(), healed: ["wholeAfterWorstMs"] },
  massRestart: { run: (mishaps) => mishaps.massRestart(), healed: ["leaderMs", "wholeMs", "orderDoneMs"] },
  tcbRevoked: {
    run: (mishaps, { nodes }) => mishaps.tcbDropped(nodes[OLD_FIRMWARE] as FleetNode),
    healed: [...EVICTION.healed, "backAfterUpdateMs"],
    exact: EVICTED,
  },
  // The last one: a member that was put out for its image does not come back.
  imageRevoked: {
    run: (mishaps, { nodes }) => mishaps.imageRevoked(nodes[OTHER_IMAGE] as FleetNode),
    ...EVICTION,
    exact: EVICTED,
  },
};

/** What healing came to: a scene's figures by its name, and its goals. */
export interface HealingResult {
  readonly figures: Readonly<Record<string, Healing>>;
  readonly goals: readonly GoalOutcome[];
}

/**
 * Starts five real nodes, lets one mishap after the other happen to them, and measures how long until they are whole
 * again. Every order that was opened must succeed: the chain has acknowledged it.
 */
export async function runHealing(
  ground: GroundKind,
  scenes: readonly string[],
  say: (text: string) => void,
): Promise<HealingResult> {
  return withHome("healing", async (home) => {
    const namespaces = ground === "namespaces" ? Namespaces.make(NODES) : undefined;
    const rttMs = namespaces === undefined ? 0 : NAMESPACES_RTT_MS;
    const fleet = await Fleet.start({
      ...{ home, nodes: NODES, rttMs, goals: [RELEASE_GOAL] },
      ...{ otherImage: [OTHER_IMAGE], oldFirmware: [OLD_FIRMWARE] },
      ...(namespaces === undefined ? {} : { ground: namespaces }),
    });
    try {
      return await playScenes(fleet, cutOf(fleet, rttMs, namespaces), rttMs, scenes, say);
    } finally {
      await fleet.stop();
      namespaces?.remove();
    }
  });
}

async function playScenes(
  fleet: Fleet,
  cut: Cut,
  rttMs: number,
  scenes: readonly string[],
  say: (text: string) => void,
): Promise<HealingResult> {
  await fleet.settled();
  await fleet.declare(HEALING_GOAL);
  await fleet.settled();
  const orders = await OrderBook.open(fleet);
  const mishaps = new Mishaps(fleet, orders, cut, rttMs);
  const figures: Record<string, Healing> = {};
  const goals: GoalOutcome[] = [];
  for (const [name, scene] of Object.entries(SCENES)) {
    if (!scenes.includes(name)) continue;
    const before = orders.opened.length;
    const healing = await scene.run(mishaps, fleet);
    const opened = orders.opened.slice(before);
    const ends = [...(await orders.ends(opened)).values()];
    const lost = ends.filter((status) => status !== "succeeded").length;
    figures[name] = { ...rounded(healing), orders: opened.length, ordersLost: lost };
    goals.push(...goalsOf(name, scene, figures[name]));
    say(`${name}: ${JSON.stringify(figures[name])}`);
    await wait(1_000);
  }
  return { figures, goals };
}

function goalsOf(name: string, { healed, exact = {} }: Scene, figures: Healing): GoalOutcome[] {
  const of = (figure: string): number => figures[figure] ?? Number.NaN;
  return [
    ...healed.map((figure) => atMost(`${name}: ${figure}`, of(figure), HEALED_MS_MAX)),
    ...Object.entries(exact).map(([figure, goal]) => exactly(`${name}: ${figure}`, of(figure), goal)),
    exactly(`${name}: ordersLost`, of("ordersLost"), 0),
  ];
}

function cutOf(fleet: Fleet, rttMs: number, namespaces: Namespaces | undefined): Cut {
  return async (some, others, isCut) => {
    if (namespaces !== undefined) namespaces.cut(some, others, isCut);
    else await fleet.treat(fleet.linksBetween(some, others), { delayMs: rttMs / 2, cut: isCut });
  };
}

function rounded(healing: Healing): Healing {
  return Object.fromEntries(Object.entries(healing).map(([name, value]) => [name, Math.round(value)]));
}
