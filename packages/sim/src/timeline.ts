import {
  after,
  nodeList,
  seconds,
  type Chronicle,
  type GroupSpan,
  type Happening,
} from "./story/chronicle.ts";
import type { Story } from "./story/story.ts";

/** Drawn to this width; the page scales it to the window. */
const WIDTH = 1_160;
const LEFT = 132;
const RIGHT = 16;
const LANE = 26;
const ROW = 15;
const CHART = 64;
/** Rows of single nodes: those that led, were in a group, or were hit. */
const ROWS_MAX = 60;
const LABEL_LANES = 4;

const COLORS = [
  "#2563eb",
  "#059669",
  "#d97706",
  "#db2777",
  "#7c3aed",
  "#0891b2",
  "#65a30d",
  "#dc2626",
] as const;

const MARKS: Readonly<Record<string, string>> = {
  "leader-doubted": "#f59e0b",
  "vote-cast": "#8b5cf6",
  "member-dead": "#ef4444",
  "member-back": "#22c55e",
};

/** Draws a story as one HTML page that needs nothing else: no script, no font, no network. */
export function timelineHtml(story: Story, chronicle: Chronicle): string {
  const { world, topology, options } = story;
  const { happenings } = chronicle;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>A swarm of ${topology.nodes}, seed ${options.seed}</title>
<style>${STYLE}</style></head>
<body><main>
<header><h1>A swarm of ${topology.nodes.toLocaleString("en")} nodes</h1>
<p>${seconds(world.nowMs)} of simulated time, seed ${options.seed}. The nodes run the production core; clocks, network, disks and the chain are simulated, and the same input gives this page again, byte for byte.</p></header>
<section class="figures">${figures(story, chronicle)}</section>
<section><h2>What happened</h2>
<p class="legend">Time runs to the right; dashed lines are the script's. On top: who leads, and for each goal its group, as epoch and nodes. Below, a row for each node${topology.nodes > ROWS_MAX ? " that led, was in a group or was hit" : ""}: gray while it is up, with gold while it leads, the goals' colors while it is in their groups, and a tick for what it noticed. Whatever the pointer rests on says what it is.</p>
${picture(story, chronicle)}
<p class="legend"><span class="dot gold"></span>leads <span class="dot open"></span>goal not met ${goalLegend(options.goals)} ${legend()}</p></section>
<section class="two"><div><h2>How the goals stand</h2>${outcomes(chronicle)}</div>
<div><h2>How fast it was got over</h2>${recoveries(chronicle)}</div></section>
<section><h2>Where the nodes are</h2>${map(story, chronicle)}</section>
<section><details open><summary><h2>In words</h2></summary>${words(happenings)}</details></section>
</main></body></html>
`;
}

const STYLE = `
:root{--ink:#111827;--soft:#6b7280;--line:#e5e7eb;--paper:#ffffff;--page:#f6f7f9;--life:#cbd5e1;--gold:#f5b301;--met:#10b981;--open:#f87171}
@media(prefers-color-scheme:dark){:root{--ink:#e5e7eb;--soft:#9ca3af;--line:#2b3341;--paper:#161b24;--page:#0d1117;--life:#3b4556;--gold:#fbbf24;--met:#34d399;--open:#f87171}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:32px 20px 64px}h1{font-size:28px;margin:0 0 4px;letter-spacing:-.02em}h2{font-size:16px;margin:0 0 12px;display:inline-block}
header p{color:var(--soft);margin:0 0 20px;max-width:75ch}section{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:20px;margin:0 0 16px;overflow-x:auto}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:16px}.figures b{display:block;font-size:24px;font-weight:600;font-variant-numeric:tabular-nums}.figures span{color:var(--soft);font-size:13px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:32px}svg{display:block;width:100%;min-width:820px;height:auto}svg text{fill:var(--ink);font:11px system-ui,sans-serif}svg .soft{fill:var(--soft)}svg .on{fill:#fff;font-weight:600;pointer-events:none}
svg .grid{stroke:var(--line)}svg .script{stroke:var(--soft);stroke-dasharray:3 3}svg .life{fill:var(--life)}svg .gold{fill:var(--gold)}svg .ongold{fill:#422006;font-weight:600;pointer-events:none}svg .met{fill:var(--met)}svg .open{fill:var(--open);opacity:.35}
svg .area{fill:#3b82f6;opacity:.25}svg .edge{fill:none;stroke:#3b82f6;stroke-width:1.5}svg .rate{fill:none;stroke:#8b5cf6;stroke-width:1.5}
table{border-collapse:collapse;width:100%;font-size:14px}td,th{text-align:left;padding:6px 12px 6px 0;border-top:1px solid var(--line);vertical-align:top}tr:first-child>*{border-top:0}th{color:var(--soft);font-weight:500}td.time{white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--soft);text-align:right}
.tag{display:inline-block;border-radius:6px;padding:0 8px;font-size:12px;font-weight:600;color:#fff}.tag.met{background:#059669}.tag.open{background:#dc2626}.tag.script{background:#475569}.tag.leader{background:#b45309}.tag.group{background:#2563eb}.tag.unmet{background:#dc2626}.tag.order{background:#7c3aed}
.legend{color:var(--soft);font-size:13px;margin:12px 0 0}.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin:0 5px 0 14px}.dot.gold{background:var(--gold)}.dot.met{background:var(--met)}.dot.open{background:var(--open);opacity:.5}
summary{cursor:pointer}summary::marker{color:var(--soft)}`;

function figures({ world, topology, endMs, options }: Story, chronicle: Chronicle): string {
  const { figures: counted } = world;
  const met = chronicle.outcomes.filter((outcome) => outcome.met).length;
  const rate = (1000 * counted.messages) / endMs / topology.nodes;
  const cells: [string, string][] = [
    [`${met} of ${options.goals.length}`, "goals met at the end"],
    [String(world.chain.head.view.term), "terms"],
    [String(chronicle.groups.length), "group configurations"],
    [rate.toFixed(0), "messages per node and second"],
    [counted.messages.toLocaleString("en"), "messages"],
    [world.checker.checks.toLocaleString("en"), "checks of invariants, none broken"],
    [world.traceHash.toString(16).padStart(8, "0"), "trace"],
  ];
  return cells.map(([value, name]) => `<div><b>${escapeText(value)}</b><span>${name}</span></div>`).join("");
}

interface Scale {
  readonly endMs: number;
  x(atMs: number): number;
}

function picture(story: Story, chronicle: Chronicle): string {
  const endMs = Math.max(1, story.world.nowMs);
  const scale: Scale = { endMs, x: (atMs) => LEFT + (atMs / endMs) * (WIDTH - LEFT - RIGHT) };
  const parts: string[] = [];
  const top = 18 + LABEL_LANES * 14;
  let y = top + 8;
  const lane = (draw: (at: number) => string[], height: number): void => {
    parts.push(...draw(y));
    y += height;
  };
  lane((at) => leaderLane(chronicle, scale, at), LANE);
  for (const [index, { id }] of story.options.goals.entries()) {
    lane((at) => goalLane(id, COLORS[index % COLORS.length] as string, chronicle, scale, at), LANE);
  }
  lane((at) => aliveChart(story, scale, at), CHART);
  lane((at) => trafficChart(story, scale, at), CHART);
  const rows = rowsOf(story, chronicle);
  lane((at) => nodeRows(story, chronicle, rows, scale, at), ROW * rows.length + 8);
  const body = [...axis(scale, top, y), ...scriptMarks(story, scale, y), ...parts];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 4}" role="img" aria-label="Timeline">${body.join("\n")}</svg>`;
}

function axis({ endMs, x }: Scale, top: number, bottom: number): string[] {
  const raw = endMs / 10;
  const power = 10 ** Math.floor(Math.log10(raw));
  const stepMs = ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power;
  const parts: string[] = [];
  for (let atMs = 0; atMs <= endMs; atMs += stepMs) {
    const at = x(atMs).toFixed(1);
    parts.push(`<line class="grid" x1="${at}" x2="${at}" y1="${top}" y2="${bottom}"/>`);
    parts.push(`<text class="soft" x="${at}" y="11" text-anchor="middle">${atMs / 1000} s</text>`);
  }
  return parts;
}

/** The script's lines, on the lowest lane where they do not cover one another. */
function scriptMarks({ marks }: Story, { x }: Scale, bottom: number): string[] {
  const ends: number[] = Array.from({ length: LABEL_LANES }, () => 0);
  return marks.flatMap(({ atMs, step, nodes }) => {
    const at = x(atMs);
    const text = step.text.length > 34 ? `${step.text.slice(0, 33)}…` : step.text;
    const width = 6.2 * text.length + 10;
    const from = Math.min(at + 3, WIDTH - width);
    const free = ends.findIndex((end) => end <= from);
    const row = free < 0 ? LABEL_LANES - 1 : free;
    ends[row] = from + width;
    const y = 26 + row * 14;
    const title = tip(
      `${seconds(atMs)}, line ${step.line}: ${step.text}. ${nodes.length > 0 ? nodeList(nodes) : ""}`,
    );
    return [
      `<line class="script" x1="${at.toFixed(1)}" x2="${at.toFixed(1)}" y1="${y - 9}" y2="${bottom}"/>`,
      `<text x="${from.toFixed(1)}" y="${y}">${escapeText(text)}${title}</text>`,
    ];
  });
}

function laneName(name: string, y: number): string {
  const text = name.length > 19 ? `${name.slice(0, 18)}…` : name;
  return `<text x="${LEFT - 10}" y="${y + 14}" text-anchor="end">${escapeText(text)}</text>`;
}

function bar(
  scale: Scale,
  span: { fromMs: number; toMs: number },
  y: number,
  height: number,
  look: string,
  title: string,
): string {
  const width = Math.max(1, scale.x(span.toMs) - scale.x(span.fromMs) - 1);
  return `<rect x="${scale.x(span.fromMs).toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${height}" rx="3" ${look}>${tip(title)}</rect>`;
}

/** A label on a bar, where there is room for it. */
function label(
  scale: Scale,
  span: { fromMs: number; toMs: number },
  y: number,
  text: string,
  look: string,
): string[] {
  const room = scale.x(span.toMs) - scale.x(span.fromMs) - 10;
  const letters = Math.floor(room / 6.2);
  if (letters < 3) return [];
  const shown = text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
  return [
    `<text class="${look}" x="${(scale.x(span.fromMs) + 6).toFixed(1)}" y="${y}">${escapeText(shown)}</text>`,
  ];
}

function leaderLane({ leaders }: Chronicle, scale: Scale, y: number): string[] {
  return [
    laneName("leader", y),
    ...leaders.flatMap((span) => [
      bar(
        scale,
        span,
        y + 2,
        18,
        'class="gold"',
        `node ${span.node} leads in term ${span.term} from ${seconds(span.fromMs)}`,
      ),
      ...label(scale, span, y + 15, `node ${span.node}, term ${span.term}`, "ongold"),
    ]),
  ];
}

function goalLane(id: string, color: string, { groups }: Chronicle, scale: Scale, y: number): string[] {
  const own = groups.filter(({ goalId }) => goalId === id);
  const openUntilMs = own[0]?.fromMs ?? scale.endMs;
  const open = bar(scale, { fromMs: 0, toMs: openUntilMs }, y + 2, 18, 'class="open"', `${id} has no group`);
  return [
    laneName(id, y),
    open,
    ...own.flatMap((span) => [
      bar(scale, span, y + 2, 18, `fill="${color}"`, spanTitle(span)),
      ...label(scale, span, y + 15, `${span.epoch}: ${span.members.join(" ")}`, "on"),
    ]),
  ];
}

function spanTitle({ goalId, epoch, members, fromMs }: GroupSpan): string {
  return `${goalId}, epoch ${epoch} from ${seconds(fromMs)}: ${nodeList(members)}`;
}

function aliveChart({ samples, topology }: Story, scale: Scale, y: number): string[] {
  const height = CHART - 16;
  const at = (alive: number): number => y + 6 + height * (1 - alive / topology.nodes);
  const points = samples.map(({ atMs, alive }) => `${scale.x(atMs).toFixed(1)},${at(alive).toFixed(1)}`);
  const [first, last] = [scale.x(samples[0]?.atMs ?? 0), scale.x(samples.at(-1)?.atMs ?? 0)];
  const floor = (y + 6 + height).toFixed(1);
  return [
    laneName("nodes up", y + 10),
    `<text class="soft" x="${LEFT - 10}" y="${y + 38}" text-anchor="end">of ${topology.nodes}</text>`,
    `<polygon class="area" points="${first.toFixed(1)},${floor} ${points.join(" ")} ${last.toFixed(1)},${floor}"/>`,
    `<polyline class="edge" points="${points.join(" ")}"/>`,
  ];
}

function trafficChart({ samples, topology }: Story, scale: Scale, y: number): string[] {
  const rates = samples.slice(1).map(({ atMs, messages }, place) => {
    const before = samples[place] as (typeof samples)[number];
    return { atMs, rate: (1000 * (messages - before.messages)) / (atMs - before.atMs || 1) / topology.nodes };
  });
  const most = Math.max(1, ...rates.map(({ rate }) => rate));
  const height = CHART - 16;
  const points = rates.map(({ atMs, rate }) => {
    return `${scale.x(atMs).toFixed(1)},${(y + 6 + height * (1 - rate / most)).toFixed(1)}`;
  });
  return [
    laneName("messages", y + 10),
    `<text class="soft" x="${LEFT - 10}" y="${y + 38}" text-anchor="end">≤ ${most.toFixed(0)} /s per node</text>`,
    `<polyline class="rate" points="${points.join(" ")}"/>`,
  ];
}

/** Nodes worth a row: who led, who was in a group, who was hit; in a small swarm all. */
function rowsOf({ topology, marks }: Story, { leaders, groups }: Chronicle): number[] {
  if (topology.nodes <= ROWS_MAX) return Array.from({ length: topology.nodes }, (_, index) => index);
  const told = [
    ...leaders.map(({ node }) => node),
    ...groups.flatMap(({ members }) => members),
    ...marks.flatMap(({ nodes }) => nodes.slice(0, 8)),
  ];
  return [...new Set(told)].slice(0, ROWS_MAX).sort((a, b) => a - b);
}

function nodeRows(
  story: Story,
  chronicle: Chronicle,
  rows: readonly number[],
  scale: Scale,
  top: number,
): string[] {
  const { trace, nowMs } = story.world;
  const place = new Map(rows.map((node, row) => [node, top + row * ROW]));
  const colorOf = new Map(
    story.options.goals.map(({ id }, index) => [id, COLORS[index % COLORS.length] as string]),
  );
  const parts = rows.map((node) => {
    const name = `${node} ${story.topology.regionOf(node)}`;
    return `<text class="soft" x="${LEFT - 10}" y="${(place.get(node) ?? 0) + 10}" text-anchor="end">${escapeText(name)}</text>`;
  });
  parts.push(...lives(rows, trace, nowMs, scale, place));
  for (const span of chronicle.groups) {
    for (const node of span.members) {
      const y = place.get(node);
      if (y !== undefined)
        parts.push(bar(scale, span, y + 8, 3, `fill="${colorOf.get(span.goalId)}"`, spanTitle(span)));
    }
  }
  for (const span of chronicle.leaders) {
    const y = place.get(span.node);
    if (y !== undefined)
      parts.push(bar(scale, span, y + 2, 5, 'class="gold"', `node ${span.node} leads in term ${span.term}`));
  }
  for (const { atMs, node, event, fields } of trace) {
    const [color, y] = [MARKS[event], place.get(node)];
    if (color === undefined || y === undefined) continue;
    const title = tip(`${seconds(atMs)}, node ${node}: ${event} ${JSON.stringify(fields)}`);
    parts.push(
      `<rect x="${scale.x(atMs).toFixed(1)}" y="${y}" width="2" height="11" fill="${color}">${title}</rect>`,
    );
  }
  return parts;
}

type Trace = Story["world"]["trace"];

/** A bar for each life of a node. */
function lives(
  rows: readonly number[],
  trace: Trace,
  nowMs: number,
  scale: Scale,
  place: ReadonlyMap<number, number>,
): string[] {
  const since = new Map<number, number>();
  const parts: string[] = [];
  const close = (node: number, toMs: number): void => {
    const fromMs = since.get(node);
    if (fromMs === undefined) return;
    parts.push(
      bar(scale, { fromMs, toMs }, (place.get(node) ?? 0) + 2, 9, 'class="life"', `node ${node} is up`),
    );
    since.delete(node);
  };
  for (const { atMs, node, event } of trace) {
    if (!place.has(node)) continue;
    if (event === "started") since.set(node, atMs);
    if (event === "stopped") close(node, atMs);
  }
  for (const node of rows) close(node, nowMs);
  return parts;
}

const BOX = 250;
/** Dots of a swarm up to so many nodes are large. */
const LARGE_DOTS_MAX = 240;

/** Each region as a field of dots: gray is down, the colors are those of the goals. */
function map(story: Story, chronicle: Chronicle): string {
  const { topology, world, options } = story;
  const leader = chronicle.leaders.at(-1)?.node;
  const colorOf = new Map<number, string>();
  for (const [index, { id }] of options.goals.entries()) {
    const last = chronicle.groups.findLast(({ goalId }) => goalId === id);
    for (const node of last?.members ?? []) colorOf.set(node, COLORS[index % COLORS.length] as string);
  }
  const pitch = topology.nodes <= LARGE_DOTS_MAX ? 18 : 9;
  const perRow = Math.floor((BOX - 20) / pitch);
  const boxes = topology.regions.map((region) => {
    const inside = world.nodes.filter(({ index }) => topology.regionOf(index) === region);
    const dots = inside.map(({ index, state, frozen }, at) => {
      const [x, y] = [((at % perRow) + 0.5) * pitch, (Math.floor(at / perRow) + 0.5) * pitch];
      const color = colorOf.get(index);
      const up = state !== undefined && !frozen;
      const look =
        index === leader ? 'class="gold"' : color === undefined ? `class="life"` : `fill="${color}"`;
      const title = tip(`node ${index}${index === leader ? ", leads" : ""}${up ? "" : ", down"}`);
      const radius = pitch * (index === leader || color !== undefined ? 0.46 : 0.33);
      return `<circle cx="${x}" cy="${y}" r="${radius}" ${look} opacity="${up ? 1 : 0.25}">${title}</circle>`;
    });
    const height = Math.max(1, Math.ceil(inside.length / perRow)) * pitch + 4;
    return `<div><b>${escapeText(region)}</b> <span class="legend">${inside.length}</span><svg style="min-width:0;width:${BOX}px" viewBox="0 0 ${BOX} ${height}">${dots.join("")}</svg></div>`;
  });
  return `<div style="display:flex;flex-wrap:wrap;gap:24px">${boxes.join("")}</div><p class="legend"><span class="dot gold"></span>leads ${goalLegend(options.goals)}</p>`;
}

function goalLegend(goals: Story["options"]["goals"]): string {
  const names = goals.map(({ id }, index) => {
    return `<span class="dot" style="background:${COLORS[index % COLORS.length]}"></span>${escapeText(id)}`;
  });
  return names.join(" ");
}

function outcomes(chronicle: Chronicle): string {
  const rows = chronicle.outcomes.map(({ goalId, met, epoch, members, slowestMs, limitMs, reason }) => {
    const tag = `<span class="tag ${met ? "met" : "open"}">${met ? "met" : "not met"}</span>`;
    const limit = limitMs === undefined ? "" : ` of ${limitMs} ms`;
    const pair = slowestMs === undefined ? "" : `, slowest pair ${slowestMs.toFixed(1)} ms${limit}`;
    const group = members.length === 0 ? "no group" : `epoch ${epoch}: ${nodeList(members)}${pair}`;
    const why = reason === undefined ? "" : `<br>${escapeText(reason.replace(`Goal ${goalId}: `, ""))}`;
    return `<tr><td><b>${escapeText(goalId)}</b></td><td>${tag}</td><td>${escapeText(group)}${why}</td></tr>`;
  });
  return `<table>${rows.join("")}</table>`;
}

function recoveries(chronicle: Chronicle): string {
  if (chronicle.recoveries.length === 0) return "<p>The script did no harm.</p>";
  const rows = chronicle.recoveries.map(({ text, atMs, leaderHit, leaderMs, groups, undone }) => {
    const parts = [
      ...(leaderHit ? [`new leader: <b>${after(leaderMs, undone)}</b>`] : []),
      ...groups.map(({ goalId, repairedMs }) => `${escapeText(goalId)}: <b>${after(repairedMs, undone)}</b>`),
    ];
    const said = parts.join("<br>") || "nobody's leader or group was hit";
    return `<tr><td class="time">${seconds(atMs)}</td><td>${escapeText(text)}</td><td>${said}</td></tr>`;
  });
  return `<table>${rows.join("")}</table>`;
}

function words(happenings: readonly Happening[]): string {
  const rows = happenings.map(({ atMs, kind, text }) => {
    return `<tr><td class="time">${seconds(atMs)}</td><td><span class="tag ${kind}">${kind}</span></td><td>${escapeText(text)}</td></tr>`;
  });
  return `<table>${rows.join("")}</table>`;
}

function legend(): string {
  return Object.entries(MARKS)
    .map(([name, color]) => `<span class="dot" style="background:${color}"></span>${name}`)
    .join(" ");
}

function tip(text: string): string {
  return `<title>${escapeText(text)}</title>`;
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
