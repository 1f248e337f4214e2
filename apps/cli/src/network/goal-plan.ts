import { formatBytes, type NodeId, type Refusal } from "@cloister/core";
import { planGroups, type Goal, type GroupingNode, type GroupingProblem } from "@cloister/swarm";
import { UNKNOWN_MACHINE, type Member, type SwarmSnapshot } from "./swarm-view.ts";

/** What would become of a goal if it were declared now. */
export interface GoalForecast {
  readonly goal: Goal;
  /** The group that would be formed; undefined when none meets the goal. */
  readonly members: readonly Member[] | undefined;
  /** The slowest pair of that group, where it was measured. */
  readonly slowest: Link | undefined;
  /** Pairs of it whose round trip nobody measured, and those whose bandwidth the goal limits and nobody measured. */
  readonly unmeasured: number;
  readonly unmeasuredBandwidths: number;
  /** Why there is no group, and what would make one. */
  readonly refusals: readonly Refusal[];
  /** Members that cannot be in any group of this goal, each with its reasons. */
  readonly misfits: readonly { readonly member: Member; readonly reasons: readonly string[] }[];
}

/** Two members and the round trip between them. */
export interface Link {
  readonly a: Member;
  readonly b: Member;
  readonly rttMs: number;
}

/**
 * Plans as the leader would, over what the nodes' status pages say at this moment. The leader itself plans over
 * signed measurements of both ends: this is a forecast, not a promise.
 */
export function forecast(snapshot: SwarmSnapshot, goals: readonly Goal[]): GoalForecast[] {
  const members = snapshot.members.filter(isUsable);
  const wanting = new Set(goals.map(({ id }) => id));
  const others = snapshot.goals.flatMap(({ goal }) => {
    return goal === undefined || wanting.has(goal.id) ? [] : [goal];
  });
  const problem: GroupingProblem = {
    nodes: members.map(groupingNode),
    goals: [...others, ...goals],
    wanting,
    current: currentGroups(snapshot, members, others),
    rttMs: (a, b) => linkMs(snapshot, members[a] as Member, members[b] as Member) ?? 0,
    bandwidthMbps: (a, b) => linkMbps(snapshot, members[a] as Member, members[b] as Member) ?? Infinity,
  };
  const plan = planGroups(problem);
  return goals.map((goal) => {
    const group = plan.groups.get(goal.id)?.map((index) => members[index] as Member);
    const pairs = group === undefined ? [] : pairsOf(snapshot, group);
    const measured = pairs.filter((pair): pair is Link => pair.rttMs !== undefined);
    return {
      goal,
      members: group,
      slowest: measured.toSorted((x, y) => y.rttMs - x.rttMs)[0],
      unmeasured: pairs.length - measured.length,
      unmeasuredBandwidths:
        goal.bandwidthMbpsMin === undefined
          ? 0
          : pairs.filter(({ a, b }) => linkMbps(snapshot, a, b) === undefined).length,
      refusals: plan.unmet.get(goal.id) ?? [],
      misfits: snapshot.members.flatMap((member) => {
        const reasons = misfit(goal, member);
        return reasons.length === 0 ? [] : [{ member, reasons }];
      }),
    };
  });
}

/** The slowest measured pair of a group that exists. */
export function slowestPair(snapshot: SwarmSnapshot, ids: readonly NodeId[]): Link | undefined {
  const members = snapshot.members.filter(({ id }) => ids.includes(id));
  const measured = pairsOf(snapshot, members).filter((pair): pair is Link => pair.rttMs !== undefined);
  return measured.toSorted((x, y) => y.rttMs - x.rttMs)[0];
}

function isUsable(member: Member): boolean {
  const { registered, state, draining, distrusted } = member;
  return registered === "active" && state === "alive" && !draining && !distrusted;
}

function groupingNode({ id, operator, evidence }: Member): GroupingNode {
  const machine = evidence?.machine ?? UNKNOWN_MACHINE;
  return { id, operator, tee: evidence?.tee, ...machine, region: machine.region };
}

function currentGroups(
  snapshot: SwarmSnapshot,
  members: readonly Member[],
  goals: readonly Goal[],
): Map<string, readonly number[]> {
  const place = new Map(members.map(({ id }, index) => [id, index]));
  const kept = new Map<string, readonly number[]>();
  for (const { id } of goals) {
    const group = snapshot.groups.find(({ goalId }) => goalId === id);
    if (group === undefined) continue;
    kept.set(
      id,
      group.members.flatMap((member) => place.get(member) ?? []),
    );
  }
  return kept;
}

/** As the leader joins the two ends of a link: the greater of what they measured. */
function linkMs(snapshot: SwarmSnapshot, a: Member, b: Member): number | undefined {
  const [there, back] = [snapshot.rttMs(a.id, b.id), snapshot.rttMs(b.id, a.id)];
  return there === undefined ? back : Math.max(there, back ?? 0);
}

/** Of a link's two ends the lesser counts, and a link that one end has not measured has none. */
function linkMbps(snapshot: SwarmSnapshot, a: Member, b: Member): number | undefined {
  const [there, back] = [snapshot.bandwidthMbps(a.id, b.id), snapshot.bandwidthMbps(b.id, a.id)];
  return there === undefined || back === undefined ? undefined : Math.min(there, back);
}

function pairsOf(
  snapshot: SwarmSnapshot,
  group: readonly Member[],
): { readonly a: Member; readonly b: Member; readonly rttMs: number | undefined }[] {
  return group.flatMap((a, place) =>
    group.slice(place + 1).map((b) => ({ a, b, rttMs: linkMs(snapshot, a, b) })),
  );
}

/** Why one member can be in no group of a goal. */
function misfit(goal: Goal, member: Member): string[] {
  const reasons: string[] = [];
  if (member.registered !== "active") reasons.push(`the registry says: ${member.registered}`);
  else if (member.draining) reasons.push("it is leaving");
  else if (member.state !== "alive") reasons.push(`it is ${member.state}`);
  else if (member.distrusted) reasons.push("what it measured contradicts what most others did");
  const { tee } = member.evidence ?? {};
  const { cpus, memoryBytes, gpus, region } = member.evidence?.machine ?? UNKNOWN_MACHINE;
  if (goal.tees !== undefined && (tee === undefined || !goal.tees.includes(tee))) {
    reasons.push(`its TEE is ${tee ?? "unknown"}, ${goal.tees.join(" or ")} is wanted`);
  }
  if (goal.regions !== undefined && (region === undefined || !goal.regions.includes(region))) {
    reasons.push(`its region is ${region ?? "unknown"}, ${goal.regions.join(" or ")} is wanted`);
  }
  if (cpus < (goal.cpusMin ?? 0)) reasons.push(`it has ${cpus} CPUs of at least ${goal.cpusMin}`);
  if (memoryBytes < (goal.memoryBytesMin ?? 0)) {
    reasons.push(
      `it has ${formatBytes(memoryBytes)} of memory of at least ${formatBytes(goal.memoryBytesMin ?? 0)}`,
    );
  }
  if (gpus < (goal.gpusMin ?? 0)) reasons.push(`it has ${gpus} GPUs of at least ${goal.gpusMin}`);
  return reasons;
}
