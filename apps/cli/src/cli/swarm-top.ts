/** The picture of `cloister swarm top`: pure, so that it can be looked at without a terminal. */
import { stripVTControlCharacters } from "node:util";
import { formatBytes, type NodeId } from "@cloister/core";
import type { Member, SwarmSnapshot } from "../network/swarm-view.ts";
import { formatTable, visibleWidth, type Style } from "./output.ts";
import {
  formatRtt,
  formatSpan,
  nameOf,
  namesOf,
  paintState,
  renderMatrix,
  withoutName,
} from "./swarm-text.ts";

const SAMPLES_MAX = 60;
const BARS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] as const;
const EVENTS_MIN = 4;
const EVENTS_OFF_SCREEN = 12;
/** Below this many columns the less telling ones are left out. */
const WIDE_COLUMNS = 104;

interface MemberHistory {
  readonly rttMs: (number | undefined)[];
  cpuShare: number | undefined;
  bytesPerSecond: number | undefined;
}

/** What earlier looks showed: rates and sparklines come from it. */
export class History {
  readonly #members = new Map<NodeId, MemberHistory>();
  last: SwarmSnapshot | undefined;

  add(view: SwarmSnapshot): void {
    for (const member of view.members) {
      const known = this.#members.get(member.id) ?? {
        ...{ rttMs: [], cpuShare: undefined, bytesPerSecond: undefined },
      };
      this.#members.set(member.id, known);
      known.rttMs.push(member.state === "alive" ? member.rttMs : undefined);
      if (known.rttMs.length > SAMPLES_MAX) known.rttMs.shift();
      const before = this.last?.members.find(({ id }) => id === member.id);
      Object.assign(known, ratesOf(before, member, view.atMs - (this.last?.atMs ?? view.atMs)));
    }
    this.last = view;
  }

  of(id: NodeId): MemberHistory | undefined {
    return this.#members.get(id);
  }
}

function ratesOf(
  before: Member | undefined,
  now: Member,
  spanMs: number,
): Pick<MemberHistory, "cpuShare" | "bytesPerSecond"> {
  const same = before?.process?.pid !== undefined && before.process.pid === now.process?.pid;
  if (!same || spanMs <= 0) return { cpuShare: undefined, bytesPerSecond: undefined };
  const cpuSeconds = (now.process?.cpuSeconds ?? 0) - (before.process?.cpuSeconds ?? 0);
  const bytes = trafficOf(now) - trafficOf(before);
  return { cpuShare: (1000 * cpuSeconds) / spanMs, bytesPerSecond: (1000 * bytes) / spanMs };
}

function trafficOf({ traffic }: Member): number {
  return (traffic?.sentBytes ?? 0) + (traffic?.receivedBytes ?? 0);
}

export interface TopLayout {
  readonly columns: number;
  readonly rows: number;
  readonly style: Style;
  readonly matrix: boolean;
  /** Why the picture is an old one. */
  readonly trouble?: string | undefined;
}

/** Draws one picture, no wider and no higher than the terminal. */
export function renderTop(view: SwarmSnapshot, history: History, layout: TopLayout): string[] {
  const { columns, rows, style, matrix } = layout;
  const head = headLines(view, layout);
  const members = memberLines(view, history, layout);
  const extra = matrix ? ["", ...renderMatrix(view, style)] : [];
  const body = [...head, "", ...members, ...extra, "", ...groupLines(view, style)];
  const room = Number.isFinite(rows) ? rows - body.length - 3 : EVENTS_OFF_SCREEN;
  const events = eventLines(view, style, Math.max(EVENTS_MIN, room));
  const foot = Number.isFinite(rows) ? ["", style.dim("q end   p pause   m matrix of round trips")] : [];
  const lines = [...body, style.dim("what happened"), ...events];
  const kept = Number.isFinite(rows) ? lines.slice(0, rows - foot.length) : lines;
  return [...kept, ...foot].map((line) => clip(line, columns));
}

function headLines(view: SwarmSnapshot, { style, columns, trouble }: TopLayout): string[] {
  const alive = view.members.filter(({ state }) => state === "alive").length;
  const leader = `${style.bold("leader")} ${nameOf(view, view.leader)}`;
  const clock = new Date(view.atMs).toISOString().slice(11, 19);
  const left = [
    leader,
    `${style.bold("term")} ${view.term}`,
    `${style.bold("members")} ${alive}/${view.members.length} alive`,
    `${style.bold("quorum")} ${view.quorum}/${view.voters}`,
    `${style.bold("block")} ${view.block}`,
    ...(view.openOrders > 0 ? [`${style.bold("orders")} ${view.openOrders}`] : []),
  ].join("   ");
  const gap = " ".repeat(Math.max(2, columns - visibleWidth(left) - clock.length));
  const lines = [`${left}${gap}${style.dim(clock)}`];
  if (view.simulated) lines.push(style.warn("SIMULATED TEEs"));
  if (alive < view.quorum) lines.push(style.bad("Too few voters are alive to elect a leader."));
  if (trouble !== undefined) lines.push(style.bad(`This is an old picture: ${trouble}`));
  return lines;
}

function memberLines(view: SwarmSnapshot, history: History, { style, columns, rows }: TopLayout): string[] {
  const wide = columns >= WIDE_COLUMNS;
  const most = Number.isFinite(rows) ? Math.max(3, rows - 14) : Infinity;
  const sorted = [...view.members].sort(byRank(view));
  const width = Math.min(SAMPLES_MAX, Math.max(10, columns - (wide ? 92 : 68)));
  const head = wide
    ? ["member", "state", "rtt", "over time", "cpu", "traffic", "memory", "up", "TCB", "runs", "groups"]
    : ["member", "state", "rtt", "over time", "cpu", "traffic", "runs", "groups"];
  const cells = sorted.slice(0, most).map((member) => {
    const past = history.of(member.id);
    const { process, evidence } = member;
    const few = [
      member.id === view.leader ? style.bold(`★ ${member.name}`) : `  ${member.name}`,
      paintState(member, style),
      formatRtt(member.rttMs),
      style.dim(sparkline(past?.rttMs.slice(-width) ?? [], width)),
      past?.cpuShare === undefined ? "" : `${Math.round(100 * past.cpuShare)} %`,
      past?.bytesPerSecond === undefined ? "" : `${formatBytes(Math.round(past.bytesPerSecond))}/s`,
    ];
    const more = [
      process === undefined ? "" : formatBytes(process.memoryBytes),
      process === undefined ? "" : formatSpan(1000 * process.upSeconds),
      evidence?.tcbStatus ?? "",
    ];
    const last = [member.running > 0 ? String(member.running) : "", member.groups.join(" ")];
    return wide ? [...few, ...more, ...last] : [...few, ...last];
  });
  const hidden = sorted.length - cells.length;
  const lines = formatTable(style, head, cells);
  return hidden > 0 ? [...lines, style.dim(`and ${hidden} more`)] : lines;
}

/** The leader first, then who is well; by name, for a row that moves cannot be followed. */
function byRank(view: SwarmSnapshot): (a: Member, b: Member) => number {
  const rank = ({ id, state }: Member): number => (id === view.leader ? 0 : state === "alive" ? 1 : 2);
  return (a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, "en", { numeric: true });
}

/** Bars against the greatest of the row; a gap where the member was not heard. */
export function sparkline(values: readonly (number | undefined)[], width: number): string {
  const greatest = Math.max(...values.map((value) => value ?? 0), Number.EPSILON);
  return values
    .slice(-width)
    .map((value) => (value === undefined ? " " : BARS[Math.min(7, Math.floor((8 * value) / greatest))]))
    .join("")
    .padStart(Math.min(width, values.length));
}

function groupLines(view: SwarmSnapshot, style: Style): string[] {
  const lines = view.groups.map(({ goalId, epoch, members }) => {
    const names = namesOf(view, members).join(" ");
    return `${style.bold(goalId)} ${style.dim(`epoch ${epoch}`)}  ${names}`;
  });
  const unmet = Object.entries(view.unmet).map(
    ([goal, why]) => `${style.bad(goal)} not met: ${withoutName(why, goal)}`,
  );
  return [...lines, ...unmet, ""];
}

function eventLines(view: SwarmSnapshot, style: Style, most: number): string[] {
  return view.events.slice(-most).map(({ atMs, node, level, event, fields }) => {
    const at = style.dim(new Date(atMs).toISOString().slice(11, 23));
    const what = level === "warn" ? style.warn(event) : event;
    return `${at}  ${node.padEnd(8)} ${what} ${style.dim(fieldsText(view, fields))}`;
  });
}

/** Fields in a line, members by their names: an address says nothing to a person. */
function fieldsText(view: SwarmSnapshot, fields: Readonly<Record<string, unknown>>): string {
  const words = Object.entries(fields).flatMap(([name, value]) => {
    const text = textOf(view, value);
    return text === undefined ? [] : [`${name}=${text}`];
  });
  return stripVTControlCharacters(words.join(" "));
}

function textOf(view: SwarmSnapshot, value: unknown): string | undefined {
  if (Array.isArray(value)) return value.map((one) => textOf(view, one) ?? "").join(",");
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (typeof value === "boolean") return String(value);
  if (typeof value !== "string") return undefined;
  const member = view.members.find(({ id }) => id === value);
  return member?.name ?? (/^(0x|sha256:)[0-9a-f]{32,}/.test(value) ? `${value.slice(0, 12)}…` : value);
}

/** Cuts a line at the terminal's edge without counting or breaking its colors. */
function clip(line: string, columns: number): string {
  if (visibleWidth(line) <= columns) return line;
  let shown = 0;
  let end = 0;
  const parts = line.split(/(\u001B\[\d+m)/);
  const kept: string[] = [];
  for (const part of parts) {
    if (part.startsWith("\u001B[")) {
      kept.push(part);
      continue;
    }
    const room = columns - 1 - shown;
    const letters = [...part].slice(0, Math.max(0, room));
    shown += letters.length;
    if (room > 0) end = kept.length;
    kept.push(letters.join(""));
  }
  kept[end] += "…";
  return kept.join("");
}
