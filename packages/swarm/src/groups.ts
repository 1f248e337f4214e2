import type { NodeId, Refusal } from "@cloister/core";
import {
  DEGRADED_SHARE,
  EXPLAIN_EVERY_MS,
  EXPLAIN_GOALS,
  EXPLORE_EVERY_MS,
  EXPLORE_GOAL_LINKS,
  EXPLORE_GOAL_ROUNDS,
  EXPLORE_LATER_EVERY_MS,
  EXPLORE_LINKS,
  EXPLORE_ROUNDS,
  GOALS_MAX,
  GROW_EVERY_MS,
  GROW_GOALS,
  JUDGE_EVERY_MS,
  LOAD_EVERY_MS,
  MEASURE_REPEAT_MS,
  MESH_MEMBERS_MAX,
  PLAN_EVERY_MS,
  PLAN_PER_NODE_MS,
  PUBLISH_REPEAT_MS,
  TARGETS_PER_MEASURE_MAX,
} from "./bounds.ts";
import { byWeight, growGroup, planGroups } from "./grouping/plan.ts";
import { suitable, type GroupingNode, type GroupingProblem, type Plan } from "./grouping/problem.ts";
import { distrusted, linkOf } from "./links.ts";
import { placeOf, type Place } from "./measurement/embedding.ts";
import { LinkBook } from "./measurement/explore.ts";
import { isUnattested, isUsable } from "./membership.ts";
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

/** Brings groups and goals together. Called only while this node may act as leader. */
export function pursueGoals(state: SwarmState, leadership: Leadership): void {
  if (state.nowMs < leadership.planDueMs) return;
  const large = Math.max(0, state.directory.members.length - 100);
  leadership.planDueMs = state.nowMs + PLAN_EVERY_MS + large * PLAN_PER_NODE_MS;
  const goals = state.goals.slice(0, GOALS_MAX);
  leadership.holders = holdersOf(state, goals);
  if (state.nowMs >= leadership.judgeDueMs) judgeReports(state, leadership);
  const unsettled = goals.filter((goal) => !republish(state, leadership, goal));
  const wanting = unsettled.filter((goal) => wantsChange(state, leadership, goal));
  if (!enoughReported(state, leadership)) return;
  if (wanting.length > 0) formAnew(state, leadership, goals, wanting);
  const settled = unsettled.filter((goal) => !wanting.includes(goal));
  for (const { id } of settled) leadership.unmetSinceMs.delete(id);
  growGroups(state, leadership, goals, settled);
}

function formAnew(
  state: SwarmState,
  leadership: Leadership,
  goals: readonly Goal[],
  wanting: readonly Goal[],
): void {
  const problem = {
    ...problemOf(state, leadership, goals),
    wanting: new Set(wanting.map(({ id }) => id)),
    starving: new Set(wanting.filter((goal) => isStarving(state, leadership, goal)).map(({ id }) => id)),
    explaining: dueExplanations(state, leadership, wanting),
  };
  const plan = planGroups(problem);
  for (const goal of wanting) {
    const members = namesOf(problem, plan.groups.get(goal.id));
    if (members === undefined) noteUnmet(state, leadership, goal, plan.unmet.get(goal.id) ?? []);
    else if (confirmLinks(state, leadership, goal, members)) propose(state, leadership, goal, members);
  }
  for (const yields of plan.yields.values()) giveWay(state, leadership, problem, goals, yields);
}

function namesOf(problem: GroupingProblem, members: readonly number[] | undefined): NodeId[] | undefined {
  return members?.map((index) => (problem.nodes[index] as GroupingNode).id);
}

/** Members that an exclusive group holds; of two that claim one, the weightier. */
function holdersOf(state: SwarmState, goals: readonly Goal[]): ReadonlyMap<NodeId, string> {
  const holders = new Map<NodeId, string>();
  const exclusive = goals.filter((goal) => goal.shared === false);
  if (exclusive.length === 0) return holders;
  const groups = new Map(state.view.groups.map((group) => [group.goalId, group]));
  for (const goal of exclusive.sort(byWeight)) {
    for (const id of groups.get(goal.id)?.members ?? []) if (!holders.has(id)) holders.set(id, goal.id);
  }
  return holders;
}

/** An exclusive goal that was unmet for longer than its grace may take nodes from others. */
function isStarving(state: SwarmState, leadership: Leadership, goal: Goal): boolean {
  const sinceMs = leadership.unmetSinceMs.get(goal.id);
  if (goal.shared !== false || sinceMs === undefined) return false;
  return state.nowMs >= sinceMs + (goal.failedGraceMs ?? state.timing.failedGraceMs);
}

/** Makes groups smaller for a goal that starves; it takes the nodes once the chain shows them free. */
function giveWay(
  state: SwarmState,
  leadership: Leadership,
  problem: GroupingProblem,
  goals: readonly Goal[],
  yields: NonNullable<ReturnType<Plan["yields"]["get"]>>,
): void {
  for (const [goalId, members] of yields) {
    const goal = goals.find(({ id }) => id === goalId);
    if (goal === undefined || leadership.proposed.has(goalId)) continue;
    count(state, "groups.gave-way");
    log(state, "info", "group-gives-way", { goalId, members: members.length });
    propose(state, leadership, goal, namesOf(problem, members) ?? []);
  }
}

function dueExplanations(
  state: SwarmState,
  leadership: Leadership,
  wanting: readonly Goal[],
): ReadonlySet<string> {
  const due = wanting.filter(({ id }) => {
    return state.nowMs >= (leadership.explainedMs.get(id) ?? -Infinity) + EXPLAIN_EVERY_MS;
  });
  return new Set(due.slice(0, EXPLAIN_GOALS).map(({ id }) => id));
}

/**
 * Gives free nodes to groups that have room, a few groups at a time: members that joined after a group
 * was formed, or that another group let go. Who has just come back waits for as long as it may be away.
 */
function growGroups(
  state: SwarmState,
  leadership: Leadership,
  goals: readonly Goal[],
  settled: readonly Goal[],
): void {
  if (state.nowMs < leadership.growDueMs) return;
  leadership.growDueMs = state.nowMs + GROW_EVERY_MS;
  const short = goals.some((goal) => goal.shared === false && leadership.unmetSinceMs.has(goal.id));
  const roomy = settled.filter((goal) => {
    const size = groupOf(state, goal.id)?.members.length ?? 0;
    return size < goal.size.max && !(short && goal.shared === false);
  });
  if (roomy.length === 0) return;
  const problem = problemOf(state, leadership, goals);
  const current = new Map(problem.current);
  for (let turn = 0; turn < Math.min(GROW_GOALS, roomy.length); turn++) {
    const goal = roomy[(leadership.growCursor + turn) % roomy.length] as Goal;
    grow(state, leadership, goal, { ...problem, current }, current);
  }
  leadership.growCursor = (leadership.growCursor + GROW_GOALS) % roomy.length;
}

function grow(
  state: SwarmState,
  leadership: Leadership,
  goal: Goal,
  problem: GroupingProblem,
  current: Map<string, readonly number[]>,
): void {
  const grown = growGroup(problem, goal, (id) => isRipe(state, goal, id));
  const members = namesOf(problem, grown);
  if (grown === undefined || members === undefined) return;
  if (!confirmLinks(state, leadership, goal, members)) return;
  current.set(goal.id, grown);
  count(state, "groups.grown");
  propose(state, leadership, goal, members);
}

function isRipe(state: SwarmState, goal: Goal, id: NodeId): boolean {
  if (id === state.config.self) return true;
  const sinceMs = state.table.sinceMs[indexOf(state, id)] as number;
  return state.nowMs >= sinceMs + (goal.failedGraceMs ?? state.timing.failedGraceMs);
}

/**
 * In a swarm too large for everyone to measure everyone, asks members for the links that are likely
 * to be short: by where they are held to be, because near ones of near ones are near, and those around
 * which a goal that is unmet may yet find its group. spec/swarm.md §3.5
 */
export function exploreLinks(state: SwarmState, leadership: Leadership): void {
  if (state.directory.members.length <= MESH_MEMBERS_MAX || state.nowMs < leadership.exploreDueMs) return;
  leadership.explored++;
  const { ids, book } = bookOf(state, leadership);
  const wanted = ids.map(() => new Set<number>());
  const forGoal = linksForGoal(state, leadership, ids, book);
  const eager = leadership.explored <= (forGoal.length === 0 ? EXPLORE_ROUNDS : EXPLORE_GOAL_ROUNDS);
  leadership.exploreDueMs = state.nowMs + (eager ? EXPLORE_EVERY_MS : EXPLORE_LATER_EVERY_MS);
  const links = [
    ...forGoal,
    ...book.nearestByNeighbors(EXPLORE_LINKS),
    ...book.nearestByPlaces(EXPLORE_LINKS),
  ];
  for (const [a, b] of links) {
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

/** All links that were reported, with members moved to where these say that they are. */
function bookOf(state: SwarmState, leadership: Leadership): { ids: readonly NodeId[]; book: LinkBook } {
  const ids = [...leadership.reports.keys()];
  const index = new Map(ids.map((id, place) => [id, place]));
  const reports = [...leadership.reports.values()];
  const places = reports.map(({ coordinate }, node) => {
    return leadership.places.get(ids[node] as NodeId) ?? placeOf(coordinate, state.random);
  });
  const book = new LinkBook(places);
  for (const [from, { samples }] of reports.entries()) {
    for (const { peer, rttMs } of samples.values()) {
      const to = index.get(peer);
      if (to !== undefined) book.note(from, to, rttMs);
    }
  }
  book.fit(state.random);
  leadership.places = new Map(ids.map((id, node) => [id, places[node] as Place]));
  return { ids, book };
}

/** Links to measure for the weightiest goal with a latency limit that is unmet although enough nodes would do. */
function linksForGoal(
  state: SwarmState,
  leadership: Leadership,
  ids: readonly NodeId[],
  book: LinkBook,
): readonly [number, number][] {
  const unmet = state.goals.filter(({ id, latencyMsMax }) => {
    return latencyMsMax !== undefined && leadership.unmetSinceMs.has(id);
  });
  const [goal] = unmet.sort(byWeight);
  if (goal === undefined) return [];
  const problem = problemOf(state, leadership, [goal]);
  const place = new Map(ids.map((id, index) => [id, index]));
  const nodes = suitable(problem, goal).flatMap((node) => {
    const index = place.get((problem.nodes[node] as GroupingNode).id);
    return index === undefined || isHeld(leadership, goal, ids[index] as NodeId) ? [] : [index];
  });
  if (nodes.length < goal.size.min) return [];
  return book.nearestByGoal(nodes, goal.latencyMsMax ?? Infinity, EXPLORE_GOAL_LINKS);
}

function isHeld(leadership: Leadership, goal: Goal, id: NodeId): boolean {
  return goal.shared === false && (leadership.holders.get(id) ?? goal.id) !== goal.id;
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
  const hopeless = (id: NodeId): boolean => !isUsable(state, id) || isHeld(leadership, goal, id);
  if (overtaken || proposal.group.members.some(hopeless)) {
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
  const { length } = group.members;
  return kept.length < length || length < goal.size.min || length > goal.size.max;
}

/** The members of a group that stay: usable, or within their grace. */
function keptMembers(state: SwarmState, leadership: Leadership, goal: Goal, group: GroupRecord): NodeId[] {
  return group.members.filter((id) => {
    if (goal.shared === false && (leadership.holders.get(id) ?? goal.id) !== goal.id) return false;
    return !isFailed(state, leadership, goal, id) && !isDegraded(state, leadership, goal, group, id);
  });
}

function isFailed(state: SwarmState, leadership: Leadership, goal: Goal, id: NodeId): boolean {
  if (!isEligible(state, id) || leadership.draining.has(id) || isUnattested(state, id)) return true;
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

/** Marks members whose measurements contradict those of most others, and says so when that changes. */
function judgeReports(state: SwarmState, leadership: Leadership): ReadonlySet<NodeId> {
  const before = leadership.distrusted;
  const found = distrusted(leadership);
  for (const member of found) {
    if (before.has(member)) continue;
    count(state, "members.distrusted");
    log(state, "warn", "member-distrusted", { member, code: "SWARM_MEASUREMENTS_DISPUTED" });
  }
  for (const member of before) if (!found.has(member)) log(state, "info", "member-trusted", { member });
  leadership.distrusted = found;
  leadership.judgeDueMs = state.nowMs + JUDGE_EVERY_MS;
  return found;
}

function problemOf(state: SwarmState, leadership: Leadership, goals: readonly Goal[]): GroupingProblem {
  const untrusted = judgeReports(state, leadership);
  const usable = state.directory.members.filter(({ id }) => {
    if (!isUsable(state, id) || statusOf(state, id) === STATUS.suspect) return false;
    return !leadership.draining.has(id) && !untrusted.has(id);
  });
  const nodes = usable.map((member): GroupingNode => {
    const facts = factsOf(state, member.id);
    return {
      id: member.id,
      operator: member.operator,
      region: facts?.region ?? member.region,
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
  const leaving = new Map<string, readonly number[]>();
  for (const goal of goals) {
    const group = groupOf(state, goal.id);
    const stay = group === undefined ? [] : keptMembers(state, leadership, goal, group);
    // What is on its way to the chain is no more to be had than what is there.
    const coming = goal.shared === false ? (leadership.proposed.get(goal.id)?.group.members ?? []) : [];
    const current = new Set([...stay, ...coming]);
    kept.set(goal.id, indexes([...current]));
    if (goal.shared !== false || group === undefined) continue;
    const rest = group.members.filter((id) => !current.has(id) && !isHeld(leadership, goal, id));
    leaving.set(goal.id, indexes(rest));
  }
  const linkBetween = (a: number, b: number): ReturnType<typeof linkOf> => {
    return linkOf(leadership, (nodes[a] as GroupingNode).id, (nodes[b] as GroupingNode).id);
  };
  return {
    nodes,
    goals,
    current: kept,
    leaving,
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
  leadership.unmetSinceMs.delete(goal.id);
  count(state, "groups.proposed");
  log(state, "info", "group-proposed", { goalId: goal.id, epoch: group.epoch, members: sorted.length });
  state.effects.push({ kind: "publish-group", group });
}

function sameMembers(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index]);
}

function noteUnmet(state: SwarmState, leadership: Leadership, goal: Goal, reasons: readonly Refusal[]): void {
  if (!leadership.unmetSinceMs.has(goal.id)) leadership.unmetSinceMs.set(goal.id, state.nowMs);
  if (reasons.length === 0) return;
  leadership.explainedMs.set(goal.id, state.nowMs);
  const reason = reasons
    .flatMap((refusal) => (refusal.hint === undefined ? [refusal.reason] : [refusal.reason, refusal.hint]))
    .join(" ");
  if (leadership.unmet.get(goal.id) === reason) return;
  leadership.unmet.set(goal.id, reason);
  log(state, "warn", "goal-unmet", { goalId: goal.id, reason });
}
