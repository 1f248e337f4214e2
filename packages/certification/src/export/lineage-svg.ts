import type { Digest } from "@cloister/core";
import type { Lineage, LineageRun } from "./lineage.ts";

const COLUMN = 250;
const ROW = 66;
const BOX = { width: 190, height: 44 };
const MARGIN = 24;

interface Box {
  readonly column: number;
  readonly lines: readonly [string, string];
  readonly kind: "artifact" | "run" | "broken";
}

interface Placed extends Box {
  readonly x: number;
  readonly y: number;
}

interface Arrow {
  readonly from: string;
  readonly to: string;
}

/**
 * Draws the whole graph as one SVG, from left to right: artifacts as boxes, runs as rounded ones, a run whose
 * proof does not hold in red. It holds no script, no link and no font of its own.
 */
export function lineageToSvg(lineage: Lineage): string {
  const placed = place(boxesOf(lineage));
  const all = [...placed.values()];
  const width = 2 * MARGIN + Math.max(0, ...all.map(({ x }) => x + BOX.width));
  const height = 2 * MARGIN + Math.max(0, ...all.map(({ y }) => y + BOX.height));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${-MARGIN} ${-MARGIN} ${width} ${height}" width="${width}" height="${height}" font-family="monospace" font-size="12" role="img" aria-label="Lineage of ${lineage.artifacts.length} artifacts through ${lineage.runs.length} runs">`,
    ...arrowsOf(lineage).map((arrow) => drawArrow(arrow, placed)),
    ...all.map(drawBox),
    "</svg>",
    "",
  ].join("\n");
}

function boxesOf({ runs, artifacts }: Lineage): Map<string, Box> {
  const columns = columnsOf(runs, artifacts);
  const names = new Map<Digest, string>();
  for (const { inputs, outputs } of runs) {
    for (const { role, content } of inputs) if (!names.has(content)) names.set(content, role);
    for (const { name, content } of outputs) names.set(content, name);
  }
  const boxes = new Map<string, Box>();
  for (const digest of artifacts) {
    const lines = [names.get(digest) ?? "", short(digest)] as const;
    boxes.set(digest, { column: columns.get(digest) ?? 0, lines, kind: "artifact" });
  }
  for (const run of runs) {
    const state = run.verified ? (run.simulated ? "SIMULATED" : "verified") : "NOT VERIFIED";
    const lines = [`order ${run.orderId.slice(0, 10)}…`, state] as const;
    boxes.set(run.orderId, {
      column: columns.get(run.orderId) ?? 1,
      lines,
      kind: run.verified ? "run" : "broken",
    });
  }
  return boxes;
}

/** The longest way to each box. An engine may give back what it was given: as many rounds as boxes end every circle. */
function columnsOf(runs: readonly LineageRun[], artifacts: readonly Digest[]): Map<string, number> {
  const columns = new Map<string, number>(artifacts.map((digest) => [digest, 0]));
  const most = runs.length * 2;
  for (let round = 0; round <= runs.length; round++) {
    for (const { orderId, inputs, outputs } of runs) {
      const at = Math.min(most, 1 + Math.max(0, ...inputs.map(({ content }) => columns.get(content) ?? 0)));
      columns.set(orderId, at);
      for (const { content } of outputs) columns.set(content, Math.max(columns.get(content) ?? 0, at + 1));
    }
  }
  return columns;
}

function place(boxes: ReadonlyMap<string, Box>): Map<string, Placed> {
  const rows = new Map<number, number>();
  const placed = new Map<string, Placed>();
  for (const [id, box] of boxes) {
    const row = rows.get(box.column) ?? 0;
    rows.set(box.column, row + 1);
    placed.set(id, { ...box, x: box.column * COLUMN, y: row * ROW });
  }
  return placed;
}

function arrowsOf({ runs }: Lineage): Arrow[] {
  return runs.flatMap(({ orderId, inputs, outputs }) => [
    ...inputs.map(({ content }) => ({ from: content, to: orderId })),
    ...outputs.map(({ content }) => ({ from: orderId, to: content })),
  ]);
}

function drawArrow({ from, to }: Arrow, placed: ReadonlyMap<string, Placed>): string {
  const [a, b] = [placed.get(from), placed.get(to)];
  if (a === undefined || b === undefined) return "";
  const [x1, y1, x2, y2] = [a.x + BOX.width, a.y + BOX.height / 2, b.x, b.y + BOX.height / 2];
  const bend = (x1 + x2) / 2;
  return `<path d="M${x1} ${y1} C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}" fill="none" stroke="#888"/>`;
}

function drawBox({ x, y, lines, kind }: Placed): string {
  const round = kind === "artifact" ? 2 : 22;
  const stroke = kind === "broken" ? "#c00" : kind === "run" ? "#05a" : "#444";
  const middle = x + BOX.width / 2;
  const [first, second] = lines.map(escaped);
  return (
    `<g><rect x="${x}" y="${y}" width="${BOX.width}" height="${BOX.height}" rx="${round}" fill="#fff" stroke="${stroke}"/>` +
    `<text x="${middle}" y="${y + 18}" text-anchor="middle" fill="#000">${first}</text>` +
    `<text x="${middle}" y="${y + 35}" text-anchor="middle" fill="${kind === "broken" ? "#c00" : "#555"}">${second}</text></g>`
  );
}

function escaped(text: string): string {
  const cut = text.length > 25 ? `${text.slice(0, 24)}…` : text;
  return cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

function short(digest: Digest): string {
  return `${digest.slice(0, 19)}…`;
}
