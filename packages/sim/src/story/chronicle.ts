import type { Goal } from "@cloister/swarm";
import type { Story } from "./story.ts";

/** One thing that happened, in words. */
export interface Happening {
  readonly atMs: number;
  readonly kind: "script" | "leader" | "group" | "unmet" | "order";
  readonly text: string;
  /** For groups: whose. */
  readonly goalId?: string;
}

/** One configuration of a group, from its block to the next one's. */
export interface GroupSpan {
  readonly goalId: string;
  readonly epoch: number;
  readonly members: readonly number[];
  readonly fromMs: number;
  readonly toMs: number;
}

/** One node leads, from the block that says so to the next one's. */
export interface LeaderSpan {
  readonly node: number;
  readonly term: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** How long it took to get over one action of the script. */
export interface Recovery {
  readonly text: string;
  readonly atMs: number;
  /** Until the chain named another leader, where the leader was hit. */
  readonly leaderMs?: number | undefined;
  readonly leaderHit: boolean;
  /** The script took it back; what was not repaired by then did not need to be. */
  readonly undone: boolean;
  /** For each group that was hit: until one without the nodes that were hit stood. */
  readonly groups: readonly { readonly goalId: string; readonly repairedMs: number | undefined }[];
}

/** How one goal stands at the end. */
export interface Outcome {
  readonly goalId: string;
  readonly met: boolean;
  readonly epoch: number | undefined;
  readonly members: readonly number[];
  readonly slowestMs: number | undefined;
  readonly limitMs: number | undefined;
  readonly reason: string | undefined;
}

/** What a story tells: derived from its trace, the same for the text and for the page. */
export interface Chronicle {
  readonly happenings: readonly Happening[];
  readonly leaders: readonly LeaderSpan[];
  readonly groups: readonly GroupSpan[];
  readonly recoveries: readonly Recovery[];
  readonly outcomes: readonly Outcome[];
}

/** Puts together what happened in a story that has ended. */
export function chronicleOf(story: Story): Chronicle {
  const leaders = leaderSpans(story);
  const groups = groupSpans(story);
  const happenings = [
    ...story.marks.map(({ atMs, step, nodes }): Happening => {
      const named = nodes.length > 0 && /\bleader\b|region:|group:/.test(step.text);
      const which = named ? ` (${nodeList(nodes)})` : "";
      return { atMs, kind: "script", text: `${step.text}${which}` };
    }),
    ...leaders.map(({ node, term, fromMs }): Happening => {
      const text = `node ${node} in ${story.topology.regionOf(node)} leads, term ${term}`;
      return { atMs: fromMs, kind: "leader", text };
    }),
    ...groups.map((span, place) => groupHappening(span, groups.slice(0, place))),
    ...told(story.world.trace),
  ].toSorted((a, b) => a.atMs - b.atMs);
  return {
    ...{ happenings, leaders, groups },
    recoveries: recoveriesOf(story, leaders, groups),
    outcomes: outcomesOf(story, groups),
  };
}

/** The numbers of some nodes, runs of them as ranges. */
export function nodeList(nodes: readonly number[]): string {
  const sorted = [...nodes].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const node of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && node === last[1] + 1) last[1] = node;
    else runs.push([node, node]);
  }
  const words = runs.slice(0, 12).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  const more = runs.length > 12 ? " …" : "";
  return `${sorted.length === 1 ? "node" : "nodes"} ${words.join(", ")}${more}`;
}

function leaderSpans({ world }: Story): LeaderSpan[] {
  const changes = world.trace.filter(({ event }) => event === "leads");
  return changes.map(({ atMs, node, fields }, place) => {
    const toMs = changes[place + 1]?.atMs ?? world.nowMs;
    return { node, term: (fields as { term: number }).term, fromMs: atMs, toMs };
  });
}

/** The trace tells every member of its group; the members of one epoch are told at one moment. */
function groupSpans({ world }: Story): GroupSpan[] {
  const spans = new Map<string, { goalId: string; epoch: number; members: number[]; fromMs: number }>();
  for (const { atMs, node, event, fields } of world.trace) {
    if (event !== "joins") continue;
    const { goalId, epoch } = fields as { goalId: string; epoch: number };
    const key = `${goalId} ${epoch} ${atMs}`;
    const span = spans.get(key) ?? { goalId, epoch, members: [], fromMs: atMs };
    span.members.push(node);
    spans.set(key, span);
  }
  const all = [...spans.values()];
  return all.map((span, place) => {
    const next = all.slice(place + 1).find(({ goalId }) => goalId === span.goalId);
    return { ...span, toMs: next?.fromMs ?? world.nowMs };
  });
}

function groupHappening(
  { goalId, epoch, members, fromMs }: GroupSpan,
  before: readonly GroupSpan[],
): Happening {
  const last = before.findLast((span) => span.goalId === goalId);
  const base = { atMs: fromMs, kind: "group" as const, goalId };
  if (last === undefined) return { ...base, text: `${goalId} is met by ${nodeList(members)}` };
  const came = members.filter((node) => !last.members.includes(node));
  const left = last.members.filter((node) => !members.includes(node));
  const changes = [
    ...(left.length > 0 ? [`${nodeList(left)} out`] : []),
    ...(came.length > 0 ? [`${nodeList(came)} in`] : []),
  ];
  return { ...base, text: `${goalId}, epoch ${epoch}: ${changes.join(", ") || "formed again"}` };
}

/** What leaders logged about goals and orders. */
function told(trace: Story["world"]["trace"]): Happening[] {
  let last = "";
  return trace.flatMap(({ atMs, event, fields }): Happening[] => {
    if (event === "goal-unmet") {
      const { goalId, reason } = fields as { goalId: string; reason: string };
      const text = reason.replace(`Goal ${goalId}: `, `${goalId} is not met: `);
      if (text === last) return [];
      last = text;
      return [{ atMs, kind: "unmet", goalId, text }];
    }
    return event === "order-moved"
      ? [{ atMs, kind: "order", text: "an order was moved to another node" }]
      : [];
  });
}

const HARMFUL: ReadonlySet<string> = new Set([
  "kill",
  "freeze",
  "partition",
  "revoke",
  "expel",
  "forge",
  "drain",
  "slow",
]);

/** What undoes an action before anybody got over it. */
const UNDONE_BY: Readonly<Record<string, string>> = { slow: "restore", partition: "heal" };

function recoveriesOf(
  { marks, options }: Story,
  leaders: readonly LeaderSpan[],
  groups: readonly GroupSpan[],
): Recovery[] {
  const harmed = marks.filter(({ step, nodes }) => HARMFUL.has(step.action.verb) && nodes.length > 0);
  return harmed.map(({ atMs, step, nodes }) => {
    const hit = new Set(nodes);
    const undoing = UNDONE_BY[step.action.verb];
    const undone = marks.find((mark) => mark.atMs > atMs && mark.step.action.verb === undoing);
    const untilMs = undone?.atMs ?? Infinity;
    const leader = leaders.find(({ fromMs, toMs }) => fromMs <= atMs && atMs < toMs);
    const leaderHit = leader !== undefined && hit.has(leader.node);
    const next = leaders.find(({ fromMs, node }) => fromMs > atMs && fromMs < untilMs && !hit.has(node));
    const standing = groups.filter(({ goalId, fromMs, toMs, members }) => {
      if (step.action.verb === "slow" && !hasLimit(options.goals, goalId)) return false;
      return fromMs <= atMs && atMs < toMs && members.some((node) => hit.has(node));
    });
    return {
      ...{ text: step.text, atMs, leaderHit, undone: undone !== undefined },
      leaderMs: leaderHit && next !== undefined ? next.fromMs - atMs : undefined,
      groups: standing.map(({ goalId }) => {
        const repaired = groups.find((span) => {
          const { fromMs, members } = span;
          if (span.goalId !== goalId || fromMs <= atMs || fromMs >= untilMs) return false;
          return !members.some((node) => hit.has(node));
        });
        return { goalId, repairedMs: repaired === undefined ? undefined : repaired.fromMs - atMs };
      }),
    };
  });
}

/** Whether a goal minds that its members are far apart. */
function hasLimit(goals: readonly Goal[], goalId: string): boolean {
  const goal = goals.find(({ id }) => id === goalId);
  return goal?.latencyMsMax !== undefined || goal?.bandwidthMbpsMin !== undefined;
}

/** How long something took, or why that is not known. */
export function after(tookMs: number | undefined, undone: boolean): string {
  if (tookMs !== undefined) return seconds(tookMs);
  return undone ? "not while it lasted" : "not by the end";
}

function outcomesOf(story: Story, groups: readonly GroupSpan[]): Outcome[] {
  const unmet = story.unmet();
  return story.options.goals.map(({ id, latencyMsMax }) => {
    const span = groups.findLast(({ goalId }) => goalId === id);
    const members = span?.members ?? [];
    const well = members.length > 0 && members.every((node) => isWell(story, node));
    return {
      ...{ goalId: id, met: well && unmet[id] === undefined, epoch: span?.epoch, members },
      slowestMs: slowest(story, members),
      limitMs: latencyMsMax,
      reason: unmet[id] ?? (well || span === undefined ? undefined : "a member is away"),
    };
  });
}

function isWell({ world }: Story, index: number): boolean {
  const node = world.nodes[index];
  return node?.state !== undefined && !node.frozen;
}

function slowest({ topology }: Pick<Story, "topology">, members: readonly number[]): number | undefined {
  const pairs = members.flatMap((a, place) => members.slice(place + 1).map((b) => topology.rttMsOf(a, b)));
  return pairs.length === 0 ? undefined : Math.max(...pairs);
}

/** A story in a page of text: what happened, how fast it was got over, how the goals stand. */
export function storyText({ happenings, recoveries, outcomes }: Chronicle): string[] {
  return [
    ...happenings.map(({ atMs, kind, text }) => `${seconds(atMs).padStart(9)}  ${MARK[kind]} ${text}`),
    ...(recoveries.length === 0
      ? []
      : ["", "How fast it was got over", ...recoveries.flatMap(recoveryLines)]),
    "",
    "How the goals stand",
    ...outcomes.map(outcomeLine),
  ];
}

const MARK: Readonly<Record<Happening["kind"], string>> = {
  script: "▶",
  leader: "★",
  group: "●",
  unmet: "✗",
  order: "→",
};

function recoveryLines({ text, atMs, leaderHit, leaderMs, groups, undone }: Recovery): string[] {
  const said = (what: string, tookMs: number | undefined): string =>
    `${what}${tookMs === undefined ? ":" : " after"} ${after(tookMs, undone)}`;
  const parts = [
    ...(leaderHit ? [said("a new leader", leaderMs)] : []),
    ...groups.map(({ goalId, repairedMs }) => said(`${goalId} whole`, repairedMs)),
  ];
  return [`${seconds(atMs).padStart(9)}  ${text}: ${parts.join(", ") || "nobody's leader or group was hit"}`];
}

function outcomeLine({ goalId, met, epoch, members, slowestMs, limitMs, reason }: Outcome): string {
  const limit = limitMs === undefined ? "" : ` of ${limitMs} ms`;
  const pair = slowestMs === undefined ? "" : `, slowest pair ${slowestMs.toFixed(1)} ms${limit}`;
  const group = members.length === 0 ? "no group" : `epoch ${epoch}, ${nodeList(members)}${pair}`;
  const why = reason === undefined ? "" : `. ${reason.replace(`Goal ${goalId}: `, "")}`;
  return `  ${met ? "met    " : "not met"}  ${goalId}: ${group}${why}`;
}

/** A time in seconds, as fine as it matters. */
export function seconds(timeMs: number): string {
  return timeMs < 10_000 ? `${(timeMs / 1000).toFixed(2)} s` : `${(timeMs / 1000).toFixed(1)} s`;
}
