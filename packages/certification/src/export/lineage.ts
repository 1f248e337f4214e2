import type { Digest, OrderId } from "@cloister/core";
import type { ProofResult } from "../proof/verify.ts";

/** One run that made things out of things, and whether its proof holds. */
export interface LineageRun {
  readonly orderId: OrderId;
  readonly verified: boolean;
  readonly simulated: boolean;
  readonly endedAtMs: number;
  readonly inputs: readonly { readonly role: string; readonly content: Digest }[];
  readonly outputs: readonly { readonly name: string; readonly content: Digest }[];
}

/** Artifacts by digest, and the runs between them: data → training → model → inference. */
export interface Lineage {
  readonly runs: readonly LineageRun[];
  /** All digests that occur, in the order of first occurrence. */
  readonly artifacts: readonly Digest[];
}

/** Puts proofs together into one graph. Proofs without a readable report are left out; order does not matter. */
export function buildLineage(proofs: readonly ProofResult[]): Lineage {
  const runs = new Map<string, LineageRun>();
  for (const { report, verified, simulated } of proofs) {
    if (report === undefined) continue;
    const { orderId, chainId, contract, inputs } = report.integrity;
    const run = { orderId, verified, simulated, endedAtMs: report.endedAtMs };
    const { outputs } = report;
    runs.set(`${chainId} ${contract} ${orderId}`, {
      ...run,
      inputs: inputs.map(({ role, content }) => ({ role, content })),
      outputs: outputs.map(({ name, content }) => ({ name, content })),
    });
  }
  const sorted = [...runs.values()].toSorted((a, b) => a.endedAtMs - b.endedAtMs);
  const artifacts = sorted.flatMap(({ inputs, outputs }) =>
    [...inputs, ...outputs].map(({ content }) => content),
  );
  return { runs: sorted, artifacts: [...new Set(artifacts)] };
}

/** Every run that had a part in an artifact, the latest first. */
export function ancestorsOf(lineage: Lineage, artifact: Digest): LineageRun[] {
  const wanted = [artifact];
  const seen = new Set<Digest>(wanted);
  const found = new Set<LineageRun>();
  for (let next = wanted.pop(); next !== undefined; next = wanted.pop()) {
    for (const run of lineage.runs.filter((one) => makes(one, next))) {
      found.add(run);
      const more = run.inputs.map(({ content }) => content).filter((content) => !seen.has(content));
      for (const content of more) seen.add(content);
      wanted.push(...more);
    }
  }
  return [...found].toSorted((a, b) => b.endedAtMs - a.endedAtMs);
}

/** What was made and went into nothing else: where one starts to read. */
export function resultsOf({ runs }: Lineage): Digest[] {
  const used = new Set(runs.flatMap(({ inputs }) => inputs.map(({ content }) => content)));
  const made = runs.flatMap(({ outputs }) => outputs.map(({ content }) => content));
  return [...new Set(made)].filter((digest) => !used.has(digest));
}

/** Models that went into a run and that no run of the graph made: the proof of whoever made them is missing. */
export function unexplainedModels({ runs }: Lineage): Digest[] {
  const made = new Set(runs.flatMap(({ outputs }) => outputs.map(({ content }) => content)));
  const models = runs.flatMap(({ inputs }) => inputs.filter(({ role }) => role === "model"));
  return [...new Set(models.map(({ content }) => content))].filter((digest) => !made.has(digest));
}

/** Draws where an artifact comes from, as an indented tree for a terminal. */
export function drawLineage(lineage: Lineage, artifact: Digest): string {
  const lines: string[] = [];
  const made = lineage.runs.flatMap(({ outputs }) => outputs).find(({ content }) => content === artifact);
  draw(lineage, { label: made?.name ?? "", content: artifact }, "", "", new Set(), lines);
  return lines.join("\n");
}

/** Writes the whole graph in the language of Graphviz. */
export function lineageToDot(lineage: Lineage): string {
  const lines = ["digraph lineage {", "  rankdir=LR;", '  node [fontname="monospace"];'];
  for (const digest of lineage.artifacts) lines.push(`  "${digest}" [shape=box, label="${short(digest)}"];`);
  for (const run of lineage.runs) {
    lines.push(`  "${run.orderId}" [shape=ellipse, label="${labelOf(run)}"];`);
    for (const { role, content } of run.inputs) {
      lines.push(`  "${content}" -> "${run.orderId}" [label="${role}"];`);
    }
    for (const { name, content } of run.outputs) {
      lines.push(`  "${run.orderId}" -> "${content}" [label="${name}"];`);
    }
  }
  return [...lines, "}", ""].join("\n");
}

function draw(
  lineage: Lineage,
  { label, content }: { label: string; content: Digest },
  head: string,
  tail: string,
  drawn: Set<Digest>,
  lines: string[],
): void {
  const name = label === "" ? short(content) : `${label} ${short(content)}`;
  const runs = lineage.runs.filter((run) => makes(run, content));
  // Each artifact is drawn out once: many runs share one, and an engine may give back what it was given.
  if (runs.length > 0 && drawn.has(content)) return void lines.push(`${head}${name} (see above)`);
  drawn.add(content);
  lines.push(`${head}${name}`);
  runs.forEach((run, i) => {
    const last = i === runs.length - 1;
    lines.push(`${tail}${last ? "└─ " : "├─ "}made by ${labelOf(run)}`);
    const under = `${tail}${last ? "   " : "│  "}`;
    run.inputs.forEach((input, k) => {
      const end = k === run.inputs.length - 1;
      const next = { label: `from ${input.role}`, content: input.content };
      const branch = `${under}${end ? "└─ " : "├─ "}`;
      draw(lineage, next, branch, `${under}${end ? "   " : "│  "}`, drawn, lines);
    });
  });
}

function makes(run: LineageRun, artifact: Digest): boolean {
  return run.outputs.some(({ content }) => content === artifact);
}

function labelOf(run: LineageRun): string {
  const state = run.verified ? (run.simulated ? "SIMULATED" : "verified") : "NOT VERIFIED";
  return `order ${run.orderId.slice(0, 10)}… (${state})`;
}

function short(digest: Digest): string {
  return `${digest.slice(0, 19)}…`;
}
