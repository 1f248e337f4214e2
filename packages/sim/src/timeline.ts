import type { World } from "./world.ts";

const ROWS_MAX = 120;
const ROW_PX = 14;
const WIDTH_PX = 1200;
const LEFT_PX = 60;

const MARKS: Readonly<Record<string, { readonly color: string; readonly shape: "tick" | "dot" }>> = {
  "leader-doubted": { color: "#d97706", shape: "tick" },
  "vote-cast": { color: "#7c3aed", shape: "tick" },
  "term-won": { color: "#7c3aed", shape: "dot" },
  "member-dead": { color: "#dc2626", shape: "tick" },
  "member-back": { color: "#16a34a", shape: "tick" },
  "group-proposed": { color: "#0891b2", shape: "dot" },
  joins: { color: "#0891b2", shape: "tick" },
  "order-moved": { color: "#db2777", shape: "dot" },
};

/** Draws what happened in a run as one HTML page: a row per node, time from left to right. */
export function timelineHtml(world: World): string {
  const rows = Math.min(world.nodes.length, ROWS_MAX);
  const endMs = Math.max(1, world.nowMs);
  const x = (atMs: number): number => LEFT_PX + (atMs / endMs) * (WIDTH_PX - LEFT_PX - 10);
  const y = (row: number): number => 24 + row * ROW_PX;
  const parts = [...axis(endMs, x, y(rows)), ...lives(world, rows, x, y), ...leaders(world, rows, x, y)];
  for (const { atMs, node, event, fields } of world.trace) {
    const mark = MARKS[event];
    if (mark === undefined || node >= rows) continue;
    const title = `<title>${escapeText(`${(atMs / 1000).toFixed(3)} s, node ${node}: ${event} ${JSON.stringify(fields)}`)}</title>`;
    parts.push(
      mark.shape === "dot"
        ? `<circle cx="${x(atMs).toFixed(1)}" cy="${y(node) + 5}" r="4" fill="${mark.color}">${title}</circle>`
        : `<rect x="${x(atMs).toFixed(1)}" y="${y(node)}" width="2" height="10" fill="${mark.color}">${title}</rect>`,
    );
  }
  return page(world, y(rows) + 24, parts);
}

function axis(endMs: number, x: (atMs: number) => number, bottom: number): string[] {
  const parts: string[] = [];
  const stepMs = 1000 * Math.max(1, Math.round(endMs / 10_000));
  for (let atMs = 0; atMs <= endMs; atMs += stepMs) {
    const at = x(atMs).toFixed(1);
    parts.push(`<line x1="${at}" x2="${at}" y1="18" y2="${bottom}" stroke="#e5e7eb"/>`);
    parts.push(`<text x="${at}" y="12" font-size="10">${atMs / 1000} s</text>`);
  }
  return parts;
}

/** A bar for each life of a node. */
function lives(
  world: World,
  rows: number,
  x: (atMs: number) => number,
  y: (row: number) => number,
): string[] {
  const parts: string[] = [];
  for (let row = 0; row < rows; row++) {
    let fromMs: number | undefined;
    const bar = (toMs: number): void => {
      if (fromMs === undefined) return;
      const width = (x(toMs) - x(fromMs)).toFixed(1);
      parts.push(
        `<rect x="${x(fromMs).toFixed(1)}" y="${y(row) + 2}" width="${width}" height="6" fill="#d1d5db"/>`,
      );
      fromMs = undefined;
    };
    for (const { atMs, node, event } of world.trace) {
      if (node === row && event === "started") fromMs = atMs;
      if (node === row && event === "stopped") bar(atMs);
    }
    bar(world.nowMs);
    parts.push(`<text x="4" y="${y(row) + 9}" font-size="10">node ${row}</text>`);
  }
  return parts;
}

/** A golden bar while the chain names a node as leader. */
function leaders(
  world: World,
  rows: number,
  x: (atMs: number) => number,
  y: (row: number) => number,
): string[] {
  const changes = world.trace.filter(({ event }) => event === "leads");
  return changes.flatMap(({ atMs, node, fields }, place) => {
    if (node >= rows) return [];
    const untilMs = changes[place + 1]?.atMs ?? world.nowMs;
    const title = `<title>${escapeText(`leader ${JSON.stringify(fields)}`)}</title>`;
    const width = (x(untilMs) - x(atMs)).toFixed(1);
    return [
      `<rect x="${x(atMs).toFixed(1)}" y="${y(node) + 1}" width="${width}" height="8" fill="#fbbf24">${title}</rect>`,
    ];
  });
}

function page(world: World, height: number, parts: readonly string[]): string {
  const { view } = world.chain.head;
  const groups = view.groups.map(({ goalId, epoch, members }) => {
    const names = members.map((member) => world.indexOf(member)).join(", ");
    return `<li>${escapeText(goalId)}, epoch ${epoch}: nodes ${names}</li>`;
  });
  const legend = Object.entries(MARKS).map(
    ([name, { color }]) => `<span style="color:${color}">&#9632; ${name}</span>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Swarm, seed ${world.scenario.seed}</title>
<style>body{font:14px system-ui;margin:24px}svg{max-width:100%;height:auto}span{margin-right:12px}</style></head>
<body><h1>Swarm of ${world.nodes.length}, seed ${world.scenario.seed}</h1>
<p>${(world.nowMs / 1000).toFixed(1)} s of simulated time, ${world.figures.messages} messages, term ${view.term}, trace ${world.traceHash.toString(16)}. The golden bar is the leader that the chain names.</p>
<p>${legend.join("")}</p>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH_PX} ${height}" width="${WIDTH_PX}" height="${height}">${parts.join("\n")}</svg>
<h2>Groups</h2><ul>${groups.join("") || "<li>none</li>"}</ul></body></html>
`;
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
