/** What `cloister swarm` says, in tables and in sentences. */
import { formatBytes, type NodeId } from "@cloister/core";
import type { Goal } from "@cloister/swarm";
import { findGoal } from "../network/goals.ts";
import { slowestPair, type GoalForecast, type Link, forecast } from "../network/goal-plan.ts";
import type { Member, SwarmSnapshot } from "../network/swarm-view.ts";
import { formatFields, formatTable, type Style } from "./output.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** A matrix of more members than this says nothing to an eye. */
const MATRIX_MEMBERS_MAX = 16;

/** The name of a member, else the beginning of its address. */
export function nameOf(view: SwarmSnapshot, id: NodeId | undefined): string {
  if (id === undefined) return "none";
  return view.members.find((member) => member.id === id)?.name ?? `${id.slice(0, 10)}…`;
}

/** Names of members, in the order that people count in. */
export function namesOf(view: SwarmSnapshot, ids: readonly NodeId[]): string[] {
  return ids.map((id) => nameOf(view, id)).toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

/** A round trip in as few characters as it needs. */
export function formatRtt(rttMs: number | undefined): string {
  if (rttMs === undefined) return "";
  return rttMs < 10 ? `${rttMs.toFixed(1)} ms` : `${Math.round(rttMs)} ms`;
}

/** How long something lasts yet, or is ago, in one unit: `23 h`. */
export function formatSpan(spanMs: number): string {
  if (spanMs < MINUTE_MS) return `${Math.max(0, Math.round(spanMs / SECOND_MS))} s`;
  if (spanMs < HOUR_MS) return `${Math.floor(spanMs / MINUTE_MS)} min`;
  return spanMs < 3 * DAY_MS ? `${Math.floor(spanMs / HOUR_MS)} h` : `${Math.floor(spanMs / DAY_MS)} d`;
}

/** The state of a member in one word, colored: what is well, what is being waited for, what is lost. */
export function paintState(member: Member, style: Style): string {
  if (member.registered !== "active") return style.bad(member.registered);
  if (member.draining) return style.warn("leaving");
  if (member.state === "alive") return member.distrusted ? style.warn("distrusted") : style.good("alive");
  return member.state === "dead" ? style.bad("dead") : style.warn(member.state);
}

/** What `swarm status --json` prints. */
export function statusDocument(view: SwarmSnapshot): Readonly<Record<string, unknown>> {
  const { members, goals: _, rttMs, bandwidthMbps, events: __, ...rest } = view;
  const links = members.flatMap(({ id: from }) =>
    members.flatMap(({ id: to }) => {
      const measured = from === to ? undefined : rttMs(from, to);
      const mbps = bandwidthMbps(from, to);
      const bandwidth = mbps === undefined ? {} : { bandwidthMbps: mbps };
      return measured === undefined ? [] : [{ from, to, rttMs: measured, ...bandwidth }];
    }),
  );
  return { ...rest, members, links };
}

/** Below this many columns members go without their addresses. */
const WIDE_COLUMNS = 100;

/** What `swarm status` prints. */
export function renderStatus(
  view: SwarmSnapshot,
  style: Style,
  { matrix = false, columns = Infinity }: { readonly matrix?: boolean; readonly columns?: number } = {},
): string[] {
  const wide = columns >= WIDE_COLUMNS;
  const lines = [
    ...formatFields(headFields(view, style)),
    "",
    ...formatTable(
      style,
      wide
        ? ["member", "address", "state", "rtt", "incarnation", "TCB", "evidence", "certified", "groups"]
        : ["member", "state", "rtt", "inc", "TCB", "proof", "cert", "groups"],
      view.members.map((member) => memberCells(view, member, style, wide)),
    ),
  ];
  if (view.groups.length > 0) lines.push("", ...renderGroups(view, style));
  if (matrix) lines.push("", ...renderMatrix(view, style));
  return lines;
}

function headFields(view: SwarmSnapshot, style: Style): (readonly [string, string])[] {
  const alive = view.members.filter(({ state, voter }) => voter && state === "alive").length;
  const short = alive < view.quorum ? style.bad(", too few to elect anybody") : "";
  const unmet = Object.entries(view.unmet).map(
    ([goal, why]) => ["unmet", `${goal}: ${withoutName(why, goal)}`] as const,
  );
  return [
    ["chain", `${view.chainId}, block ${view.block}${view.simulated ? ", SIMULATED TEEs" : ""}`],
    ["leader", `${style.bold(nameOf(view, view.leader))} (term ${view.term})`],
    ["quorum", `${view.quorum} of ${view.voters} voters; ${alive} alive${short}`],
    ["seen by", view.observer === undefined ? style.bad("nobody: no node answers") : observer(view)],
    ...unmet,
  ];
}

function observer(view: SwarmSnapshot): string {
  const name = nameOf(view, view.observer);
  return view.observer === view.leader ? `${name}, the leader` : `${name}; the leader does not answer`;
}

/** Evidence by its age, the certificate by the time it has left. */
function memberCells(view: SwarmSnapshot, member: Member, style: Style, wide: boolean): string[] {
  const { evidence, incarnation } = member;
  return [
    member.id === view.leader ? style.bold(`${member.name}*`) : member.name,
    ...(wide ? [`${member.id.slice(0, 10)}…`] : []),
    paintState(member, style),
    formatRtt(member.rttMs),
    incarnation === undefined ? "" : String(incarnation),
    evidence?.tcbStatus ?? "",
    evidence === undefined ? "" : formatSpan(view.atMs - evidence.attestedMs),
    formatSpan(member.certifiedUntilMs - view.atMs),
    member.groups.join(" "),
  ];
}

function renderGroups(view: SwarmSnapshot, style: Style): string[] {
  return formatTable(
    style,
    ["group", "epoch", "term", "slowest pair", "members"],
    view.groups.map(({ goalId, epoch, term, members }) => [
      ...[goalId, String(epoch), String(term), formatRtt(slowestPair(view, members)?.rttMs)],
      namesOf(view, members).join(" "),
    ]),
  );
}

/** Round trips between all members, as the one of the row measured them. */
export function renderMatrix(view: SwarmSnapshot, style: Style): string[] {
  const shown = view.members.slice(0, MATRIX_MEMBERS_MAX);
  return formatTable(
    style,
    ["ms", ...shown.map(({ name }) => shortName(name))],
    shown.map((from) => [
      from.name,
      ...shown.map((to) => {
        const rttMs = from === to ? undefined : view.rttMs(from.id, to.id);
        return from === to
          ? "·"
          : rttMs === undefined
            ? "?"
            : rttMs < 10
              ? rttMs.toFixed(1)
              : rttMs.toFixed(0);
      }),
    ]),
  );
}

function shortName(name: string): string {
  return name.replace(/^node-/, "n");
}

/** What `swarm goals --json` prints. */
export function goalsDocument(view: SwarmSnapshot): Readonly<Record<string, unknown>> {
  return {
    goals: view.goals.map((goal) => ({
      ...goal,
      standing: standingOf(view, goal),
      group: view.groups.find(({ goalId }) => goalId === goal.goalId),
      unmet: view.unmet[goal.goalId],
    })),
  };
}

type Standing = "met" | "not met" | "degraded" | "retired" | "unreadable";

function standingOf(view: SwarmSnapshot, { goalId, goal, state }: SwarmSnapshot["goals"][number]): Standing {
  if (goal === undefined) return state === "retired" ? "retired" : "unreadable";
  const group = view.groups.find((one) => one.goalId === goalId);
  if (group === undefined) return "not met";
  const lost = group.members.some((id) => view.members.find((member) => member.id === id)?.state !== "alive");
  return lost || view.unmet[goalId] !== undefined ? "degraded" : "met";
}

/** What `swarm goals` prints. */
export function renderGoals(view: SwarmSnapshot, style: Style): string[] {
  if (view.goals.length === 0) return ["No goal is declared. `cloister swarm goals declare` declares one."];
  return formatTable(
    style,
    ["goal", "standing", "kind", "wants", "group"],
    view.goals.map((declared) => {
      const standing = standingOf(view, declared);
      const group = view.groups.find(({ goalId }) => goalId === declared.goalId);
      const members = namesOf(view, group?.members ?? []).join(" ");
      return [
        ...[declared.goalId, paintStanding(standing, style), declared.goal?.kind ?? ""],
        ...[declared.goal === undefined ? "" : wishes(declared.goal).join(", ")],
        group === undefined || declared.goal === undefined ? "" : `${members} (epoch ${group.epoch})`,
      ];
    }),
  );
}

function paintStanding(standing: Standing, style: Style): string {
  if (standing === "met") return style.good(standing);
  return standing === "not met" ? style.bad(standing) : style.warn(standing);
}

/** A goal's limits in words. */
function wishes(goal: Goal): string[] {
  const { size } = goal;
  const some = (value: unknown, text: string): string[] => (value === undefined ? [] : [text]);
  return [
    size.min === size.max
      ? `${size.min} ${size.min === 1 ? "node" : "nodes"}`
      : `${size.min}-${size.max} nodes`,
    ...some(goal.latencyMsMax, `≤ ${goal.latencyMsMax} ms`),
    ...some(goal.bandwidthMbpsMin, `≥ ${goal.bandwidthMbpsMin} Mbit/s`),
    ...some(goal.tees, goal.tees?.join(" or ") ?? ""),
    ...some(goal.cpusMin, `≥ ${goal.cpusMin} CPUs each`),
    ...some(goal.memoryBytesMin, `≥ ${formatBytes(goal.memoryBytesMin ?? 0)} each`),
    ...some(goal.gpusMin, `≥ ${goal.gpusMin} GPUs each`),
    ...some(goal.groupGpusMin, `≥ ${goal.groupGpusMin} GPUs in all`),
    ...some(goal.operatorsMin, `≥ ${goal.operatorsMin} operators`),
    ...some(goal.regionsMin, `≥ ${goal.regionsMin} regions`),
    ...some(goal.regions, `in ${goal.regions?.join(" or ") ?? ""}`),
    ...(goal.shared === false ? ["alone"] : []),
  ];
}

/** What `swarm goals check --json` prints for one goal. */
export function forecastDocument(one: GoalForecast): Readonly<Record<string, unknown>> {
  const { goal, members, slowest, unmeasured, unmeasuredBandwidths, refusals, misfits } = one;
  return {
    goal: goal.id,
    met: members !== undefined,
    members: members?.map(({ id, name }) => ({ id, name })),
    slowestPairMs: slowest?.rttMs,
    unmeasuredPairs: unmeasured,
    unmeasuredBandwidths,
    refusals,
    misfits: misfits.map(({ member, reasons }) => ({ id: member.id, name: member.name, reasons })),
  };
}

/** What `swarm goals check` prints for one goal. */
export function renderForecast(one: GoalForecast, style: Style): string[] {
  const { goal, members } = one;
  const head = `${style.bold(goal.id)} (${goal.kind}: ${wishes(goal).join(", ")})`;
  if (members === undefined) {
    return [head, `  ${style.bad("would not be met")}`, ...sentencesWhyNot(one).map((line) => `  ${line}`)];
  }
  return [
    head,
    `  ${style.good("would be met")} by ${members.map(({ name }) => name).join(", ")}.`,
    ...roomSentences(goal, one.slowest).map((line) => `  ${line}`),
    ...unmeasuredSentences(one).map((line) => `  ${line}`),
    ...misfitSentences(one).map((line) => `  ${line}`),
  ];
}

/** What a forecast takes for granted, and the leader will not. */
function unmeasuredSentences({ goal, unmeasured, unmeasuredBandwidths }: GoalForecast): string[] {
  const pairs = (count: number): string => (count === 1 ? "one pair" : `${count} pairs`);
  const lines: string[] = [];
  if (unmeasured > 0) lines.push(`The round trip of ${pairs(unmeasured)} is not measured yet.`);
  if (unmeasuredBandwidths > 0) {
    const wanted = `${goal.bandwidthMbpsMin} Mbit/s`;
    lines.push(
      `Whether ${pairs(unmeasuredBandwidths)} ${unmeasuredBandwidths === 1 ? "reaches" : "reach"} ${wanted} is not known: nobody has measured it yet.`,
    );
  }
  return lines.length === 0 ? [] : [...lines, "The leader measures that before it forms the group."];
}

/** Says how a declared goal stands and why. @throws {CloisterError} `GOAL_UNKNOWN` */
export function explainGoal(
  view: SwarmSnapshot,
  goalId: string,
): { readonly document: Readonly<Record<string, unknown>>; readonly lines: readonly string[] } {
  const declared = findGoal(view.goals, goalId);
  const { goal, owner } = declared;
  const standing = standingOf(view, declared);
  if (goal === undefined) {
    const why =
      standing === "retired"
        ? `Its owner ${owner} has retired it: nobody forms a group for it.`
        : "Its document cannot be read: it binds nobody.";
    return {
      document: { goal: goalId, standing, why },
      lines: [`The goal ${goalId} is ${standing}. ${why}`],
    };
  }
  const group = view.groups.find((one) => one.goalId === goalId);
  const [ahead] = forecast(view, [goal]);
  const sentences = [
    `The goal ${goalId} wants ${wishes(goal).join(", ")} (${goal.kind}).`,
    ...(group === undefined ? [] : groupSentences(view, goal, group.members, group.epoch)),
    ...(group === undefined && ahead?.members === undefined
      ? ["It is not met: no group can be formed."]
      : []),
    ...(group === undefined && ahead?.members !== undefined
      ? [
          `It has no group yet, though ${ahead.members.map(({ name }) => name).join(", ")} would meet it.`,
          ...unmeasuredSentences(ahead),
        ]
      : []),
    ...(group === undefined && ahead !== undefined ? sentencesWhyNot(ahead) : misfitSentences(ahead)),
    ...(view.unmet[goalId] === undefined
      ? []
      : [`The leader says: ${withoutName(view.unmet[goalId] ?? "", goalId)}`]),
  ];
  const forecasted = ahead === undefined ? undefined : forecastDocument(ahead);
  return { document: { goal: goalId, standing, group, forecast: forecasted, sentences }, lines: sentences };
}

function groupSentences(
  view: SwarmSnapshot,
  goal: Goal,
  members: readonly NodeId[],
  epoch: number,
): string[] {
  const lost = view.members.filter(({ id, state }) => members.includes(id) && state !== "alive");
  const names = namesOf(view, members).join(", ");
  const grace = goal.failedGraceMs === undefined ? "its grace" : formatSpan(goal.failedGraceMs);
  return [
    `${names} meet it (epoch ${epoch}).`,
    ...lost.map(({ name, state }) => `${name} is ${state}: after ${grace} it is replaced, if somebody fits.`),
    ...roomSentences(goal, slowestPair(view, members)),
  ];
}

function roomSentences(goal: Goal, slowest: Link | undefined): string[] {
  if (slowest === undefined) return [];
  const pair = `${slowest.a.name} and ${slowest.b.name}`;
  const limit = goal.latencyMsMax === undefined ? "" : ` of ${goal.latencyMsMax} ms allowed`;
  return [`Its slowest pair, ${pair}, takes ${formatRtt(slowest.rttMs)}${limit}.`];
}

function sentencesWhyNot(one: GoalForecast): string[] {
  const reasons = one.refusals.map(({ reason }) => withoutName(reason, one.goal.id));
  const hints = one.refusals.flatMap(({ hint }) => (hint === undefined ? [] : [`What would help: ${hint}`]));
  return [...reasons, ...misfitSentences(one), ...hints];
}

/** The planner names the goal in each of its sentences; here it stands before them. */
export function withoutName(reason: string, goalId: string): string {
  const rest = reason.replace(`Goal ${goalId}: `, "");
  return `${rest.charAt(0).toUpperCase()}${rest.slice(1)}`;
}

const MISFITS_SHOWN_MAX = 8;

function misfitSentences(one: GoalForecast | undefined): string[] {
  const misfits = one?.misfits ?? [];
  const lines = misfits
    .slice(0, MISFITS_SHOWN_MAX)
    .map(({ member, reasons }) => `${member.name} cannot be in it: ${reasons.join("; ")}.`);
  const more = misfits.length - lines.length;
  return more > 0 ? [...lines, `So cannot ${more} more.`] : lines;
}
