import type { NodeId } from "@cloister/core";
import {
  EXPLORE_EVERY_MS,
  EXPLORE_LATER_EVERY_MS,
  EXPLORE_LINKS,
  EXPLORE_ROUNDS,
  GOALS_MAX,
  LOAD_EVERY_MS,
  MESH_MEMBERS_MAX,
  TARGETS_PER_MEASURE_MAX,
} from "./bounds.ts";
import { planGroups } from "./grouping/plan.ts";
import type { GroupingNode, GroupingProblem } from "./grouping/problem.ts";
import { distrusted, linkOf } from "./links.ts";
import { LinkBook } from "./measurement/explore.ts";
import { isUsable } from "./membership.ts";
import { factsOf } from "./placement.ts";
import {
  count,
  indexOf,
  isEligible,
  log,
  send,
  STATUS,
  statusOf,
  type Leadership,
  type SwarmState,
} from "./state.ts";
import type { Goal, GroupRecord } from "./types.ts";

/**
 * Groups for goals. The leader compares each confirmed group with its goal, gives failed and degraded
 * members their grace, and forms anew only what must change. A new configuration is a new epoch and
 * exists once the chain holds it.
 */

const PLAN_EVERY_MS = 300;
/** Each node beyond a hundred makes plans so much rarer: planning must not fill the leader's time. */
const PLAN_PER_NODE_MS = 3;
const PUBLISH_REPEAT_MS = 1_000;
const MEASURE_REPEAT_MS = 1_000;
/** A degraded member must be over the limit by this share, so that jitter at the limit is no failure. */
const DEGRADED_SHARE = 1.1;

/** Brings groups and goals together. Called only while this node may act as leader. */
export function pursueGoals(state: SwarmState, leadership: Leadership): void {
  if (state.nowMs < leadership.planDueMs) return;
  const large = Math.max(0, state.directory.members.length - 100);
  leadership.planDueMs = state.nowMs + PLAN_EVERY_MS + large * PLAN_PER_NODE_MS;
  const goals = state.goals.slice(0, GOALS_MAX);
  const unsettled = goals.filter((goal) => !republish(state, leadership, goal));
  const wanting = unsettled.filter((goal) => wantsChange(state, leadership, goal));
  if (wanting.length === 0 || !enoughReported(state, leadership)) return;
  const problem = problemOf(state, leadership, goals, wanting);
  const plan = planGroups(problem);
  for (const goal of wanting) {
    const members = plan.groups.get(goal.id)?.map((index) => (problem.nodes[index] as GroupingNode).id);
    if (members === undefined) noteUnmet(state, leadership, goal, plan.unmet.get(goal.id) ?? []);
    else if (confirmLinks(state, leadership, goal, members)) propose(state, leadership, goal, members);
  }
}

/**
 * In a swarm too large for everyone to measure everyone, asks members for the links that are likely
 * to be short: by coordinates, and because near ones of near ones are near. spec/swarm.md §3.5
 */
export function exploreLinks(state: SwarmState, leadership: Leadership): void {
  if (state.directory.members.length <= MESH_MEMBERS_MAX || state.nowMs < leadership.exploreDueMs) return;
  leadership.explored++;
  const eager = leadership.explored <= EXPLORE_ROUNDS;
  leadership.exploreDueMs = state.nowMs + (eager ? EXPLORE_EVERY_MS : EXPLORE_LATER_EVERY_MS);
  const ids = [...leadership.reports.keys()];
  const place = new Map(ids.map((id, index) => [id, index]));
  const book = new LinkBook([...leadership.reports.values()].map(({ coordinate }) => coordinate));
  for (const [from, { samples }] of [...leadership.reports.values()].entries()) {
    for (const { peer, rttMs } of samples.values()) {
      const to = place.get(peer);
      if (to !== undefined) book.note(from, to, rttMs);
    }
  }
  const wanted = ids.map(() => new Set<number>());
  for (const [a, b] of [
    ...book.nearestByNeighbors(EXPLORE_LINKS),
    ...book.nearestByCoordinates(EXPLORE_LINKS),
  ]) {
    // Both ends measure: one alone confirms nothing.
    wanted[a]?.add(b);
    wanted[b]?.add(a);
  }
  for (const [index, targets] of wanted.entries()) {
    if (targets.size === 0) continue;
    const names = [...targets].map((target) => ids[target] as NodeId);
    askToMeasure(state, leadership, ids[index] as NodeId, names, false);
  }
  count(state, "links.explored", wanted.length);
}

function groupOf(state: SwarmState, goalId: string): GroupRecord | undefined {
  return state.view.groups.find((group) => group.goalId === goalId);
}

/** Repeats a proposal that the chain does not show yet. True while one is on its way. */
function republish(state: SwarmState, leadership: Leadership, goal: Goal): boolean {
  const proposal = leadership.proposed.get(goal.id);
  if (proposal === undefined) return false;
  const confirmed = groupOf(state, goal.id);
  // Not the next epoch any more: it is on chain, or a reorganisation took the last one back.
  const overtaken = (confirmed?.epoch ?? 0) + 1 !== proposal.group.epoch;
  if (overtaken || proposal.group.members.some((id) => !isUsable(state, id))) {
    leadership.proposed.delete(goal.id);
    return false;
  }
  if (state.nowMs >= proposal.sentMs + PUBLISH_REPEAT_MS) {
    proposal.sentMs = state.nowMs;
    state.effects.push({ kind: "publish-group", group: proposal.group });
  }
  return true;
}

/** Everyone usable has reported once, or has had the time to. */
function enoughReported(state: SwarmState, leadership: Leadership): boolean {
  const waitedMs = state.nowMs - state.election.takeoverUntilMs;
  if (waitedMs >= 2 * state.timing.reportMs) return true;
  return state.directory.members.every(({ id, eligible }) => {
    const expected = statusOf(state, id) !== STATUS.unknown || waitedMs < state.timing.reportMs;
    return eligible === false || !expected || !isUsable(state, id) || leadership.reported.has(id);
  });
}

function wantsChange(state: SwarmState, leadership: Leadership, goal: Goal): boolean {
  const group = groupOf(state, goal.id);
  if (group === undefined) return true;
  const kept = keptMembers(state, leadership, goal, group);
  return kept.length < group.members.length || group.members.length < goal.size.min;
}

/** The members of a group that stay: usable, or within their grace. */
function keptMembers(state: SwarmState, leadership: Leadership, goal: Goal, group: GroupRecord): NodeId[] {
  return group.members.filter((id) => {
    return !isFailed(state, leadership, goal, id) && !isDegraded(state, leadership, goal, group, id);
  });
}

function isFailed(state: SwarmState, leadership: Leadership, goal: Goal, id: NodeId): boolean {
  if (!isEligible(state, id) || leadership.draining.has(id)) return true;
  if (id === state.config.self) return false;
  const status = statusOf(state, id);
  if (status === STATUS.left) return true;
  if (status === STATUS.alive || status === STATUS.suspect) return false;
  const sinceMs = state.table.sinceMs[indexOf(state, id)] as number;
  // A member nobody heard of since this leader took over counts as failed from then on.
  const fromMs = Math.max(sinceMs, state.election.takeoverUntilMs - state.timing.takeoverMs);
  const graceMs = goal.failedGraceMs ?? state.timing.failedGraceMs;
  leadership.planDueMs = Math.min(leadership.planDueMs, Math.max(state.nowMs + 1, fromMs + graceMs));
  return state.nowMs >= fromMs + graceMs;
}

/** A member is degraded when most of its confirmed links in the group are over the goal's limit. */
function isDegraded(
  state: SwarmState,
  leadership: Leadership,
  goal: Goal,
  group: GroupRecord,
  id: NodeId,
): boolean {
  const key = `${goal.id}/${id}`;
  const limited = goal.latencyMsMax !== undefined || goal.bandwidthMbpsMin !== undefined;
  if (!limited || !isWorst(state, leadership, goal, group, id)) {
    leadership.degradedSinceMs.delete(key);
    return false;
  }
  const sinceMs = leadership.degradedSinceMs.get(key) ?? state.nowMs;
  leadership.degradedSinceMs.set(key, sinceMs);
  const graceMs = goal.degradedGraceMs ?? state.timing.degradedGraceMs;
  return state.nowMs >= sinceMs + graceMs;
}

/** Of the members with links over the limit, the one with the most of them is the one to replace. */
function isWorst(
  state: SwarmState,
  leadership: Leadership,
  goal: Goal,
  group: GroupRecord,
  id: NodeId,
): boolean {
  const own = linksOver(leadership, goal, group, id);
  if (own === 0) return false;
  for (const other of group.members) {
    if (other === id) continue;
    const theirs = linksOver(leadership, goal, group, other);
    if (theirs > own || (theirs === own && other > id)) return false;
  }
  count(state, "members.degraded");
  return true;
}

function linksOver(leadership: Leadership, goal: Goal, group: GroupRecord, id: NodeId): number {
  const limit = (goal.latencyMsMax ?? Infinity) * DEGRADED_SHARE;
  let over = 0;
  for (const other of group.members) {
    if (other === id) continue;
    const link = linkOf(leadership, id, other);
    if (link === undefined || !(link.confirmed || link.disputed)) continue;
    const slow = (link.bandwidthMbps ?? Infinity) * DEGRADED_SHARE < (goal.bandwidthMbpsMin ?? 0);
    if (link.rttMs > limit || slow) over++;
  }
  return over;
}

function problemOf(
  state: SwarmState,
  leadership: Leadership,
  goals: readonly Goal[],
  wanting: readonly Goal[],
): GroupingProblem {
  const untrusted = distrusted(leadership);
  if (untrusted.size > 0) count(state, "members.distrusted", untrusted.size);
  const usable = state.directory.members.filter(({ id }) => {
    if (!isUsable(state, id) || statusOf(state, id) === STATUS.suspect) return false;
    return !leadership.draining.has(id) && !untrusted.has(id);
  });
  const nodes = usable.map((member): GroupingNode => {
    const facts = factsOf(state, member.id);
    return {
      id: member.id,
      operator: member.operator,
      region: member.region,
      tee: facts?.tee,
      cpus: facts?.cpus ?? 0,
      memoryBytes: facts?.memoryBytes ?? 0,
      gpus: facts?.gpus ?? 0,
    };
  });
  const place = new Map(nodes.map((node, index) => [node.id, index]));
  const indexes = (members: readonly NodeId[]): number[] => {
    return members.flatMap((id) => (place.has(id) ? [place.get(id) as number] : []));
  };
  const kept = new Map<string, readonly number[]>();
  for (const goal of goals) {
    const group = groupOf(state, goal.id);
    if (group !== undefined) kept.set(goal.id, indexes(keptMembers(state, leadership, goal, group)));
  }
  const linkBetween = (a: number, b: number): ReturnType<typeof linkOf> => {
    return linkOf(leadership, (nodes[a] as GroupingNode).id, (nodes[b] as GroupingNode).id);
  };
  return {
    nodes,
    goals,
    wanting: new Set(wanting.map(({ id }) => id)),
    current: kept,
    rttMs: (a, b) => linkBetween(a, b)?.rttMs ?? 0,
    // Unmeasured links are taken to be good until the group is confirmed: then they are measured.
    bandwidthMbps: (a, b) => linkBetween(a, b)?.bandwidthMbps ?? Infinity,
  };
}

/**
 * Every pair of a group with a latency limit must be measured by both ends before the group is
 * proposed; what is missing is asked for. Coordinates choose, direct probes confirm.
 */
function confirmLinks(
  state: SwarmState,
  leadership: Leadership,
  goal: Goal,
  members: readonly NodeId[],
): boolean {
  const needsLoad = goal.bandwidthMbpsMin !== undefined;
  if (goal.latencyMsMax === undefined && !needsLoad) return true;
  let confirmed = true;
  for (const id of members) {
    const missing = members.filter((other) => {
      const sample = leadership.reports.get(id)?.samples.get(other);
      return other !== id && (sample === undefined || (needsLoad && sample.bandwidthMbps === undefined));
    });
    if (missing.length === 0) continue;
    confirmed = false;
    askToMeasure(state, leadership, id, missing, needsLoad);
  }
  return confirmed;
}

function askToMeasure(
  state: SwarmState,
  leadership: Leadership,
  id: NodeId,
  missing: readonly NodeId[],
  load: boolean,
): void {
  const askedMs = leadership.measureAskedMs.get(id) ?? -Infinity;
  // Bandwidth takes a second per link: it is not asked for anew while it is being measured.
  const repeatMs = load ? (missing.length + 1) * LOAD_EVERY_MS : MEASURE_REPEAT_MS;
  if (state.nowMs < askedMs + repeatMs) return;
  leadership.measureAskedMs.set(id, state.nowMs);
  const targets = missing.slice(0, TARGETS_PER_MEASURE_MAX);
  if (id !== state.config.self) {
    send(state, id, { kind: "measure", term: state.view.term, targets, load });
    return;
  }
  state.asked.splice(0, state.asked.length, ...targets);
  if (load) state.loadAsked.splice(0, state.loadAsked.length, ...targets);
  for (const target of targets) state.reportedSamples.delete(target);
}

function propose(state: SwarmState, leadership: Leadership, goal: Goal, members: readonly NodeId[]): void {
  const before = groupOf(state, goal.id);
  const sorted = [...members].sort();
  if (before !== undefined && sameMembers(before.members, sorted)) return;
  const group: GroupRecord = {
    goalId: goal.id,
    epoch: (before?.epoch ?? 0) + 1,
    term: state.view.term,
    members: sorted,
  };
  leadership.proposed.set(goal.id, { group, sentMs: state.nowMs });
  leadership.unmet.delete(goal.id);
  count(state, "groups.proposed");
  log(state, "info", "group-proposed", { goalId: goal.id, epoch: group.epoch, members: sorted.length });
  state.effects.push({ kind: "publish-group", group });
}

function sameMembers(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index]);
}

function noteUnmet(
  state: SwarmState,
  leadership: Leadership,
  goal: Goal,
  reasons: readonly { readonly reason: string }[],
): void {
  const reason = reasons.map((refusal) => refusal.reason).join(" ");
  if (leadership.unmet.get(goal.id) === reason) return;
  leadership.unmet.set(goal.id, reason);
  log(state, "warn", "goal-unmet", { goalId: goal.id, reason });
}
