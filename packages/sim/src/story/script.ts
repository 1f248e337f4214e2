import { CloisterError, type Refusal } from "@cloister/core";

/** Which nodes a line speaks of; some are known only once it is their time. */
export type NodeSet =
  | { readonly kind: "indexes"; readonly indexes: readonly number[] }
  | { readonly kind: "leader" }
  | { readonly kind: "region" | "group"; readonly name: string };

/** What one line does. */
export type Action =
  | { readonly verb: NodeVerb; readonly nodes: NodeSet }
  | { readonly verb: "slow"; readonly nodes: NodeSet; readonly byMs: number }
  | { readonly verb: "cut" | "flood"; readonly nodes: NodeSet; readonly others: NodeSet }
  | { readonly verb: "loss"; readonly share: number }
  | { readonly verb: "order"; readonly count: number; readonly goalId: string | undefined }
  | { readonly verb: "reorganise"; readonly blocks: number }
  | { readonly verb: "heal" | "restore" | "chain-down" | "chain-up" };

/** One line of a script. */
export interface ScriptStep {
  readonly line: number;
  readonly atMs: number;
  /** As it was written, without its time. */
  readonly text: string;
  readonly action: Action;
}

const NODE_VERBS = [
  "kill",
  "start",
  "freeze",
  "thaw",
  "partition",
  "revoke",
  "reinstate",
  "expel",
  "admit",
  "forge",
  "mend",
  "drain",
] as const;
export type NodeVerb = (typeof NODE_VERBS)[number];

const STEPS_MAX = 1_000;
const SLOW_MS_MAX = 20_000;
const ORDERS_MAX = 1_000;
const BLOCKS_MAX = 10;
const HINT = 'Write for example "5s kill leader", "9s start 3", "12s partition 0-4" or "20s heal".';

/** What the lines of a script may speak of. */
export interface ScriptWorld {
  readonly nodes: number;
  readonly regions: readonly string[];
  readonly goalIds: readonly string[];
}

/**
 * Reads a script: one action per line (or between semicolons), `TIME VERB …`, `#` for remarks.
 * @throws {CloisterError} `SIM_SCRIPT_MALFORMED`, every bad line in `details.refusals`
 */
export function readScript(text: string, world: ScriptWorld): ScriptStep[] {
  const steps: ScriptStep[] = [];
  const refusals: Refusal[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    for (const part of line.replace(/#.*/, "").split(";")) {
      if (part.trim() === "") continue;
      try {
        steps.push(readLine(part.trim(), index + 1, world));
      } catch (error) {
        if (!(error instanceof Wrong)) throw error;
        refusals.push(refusalOf(index + 1, error.message));
      }
    }
  }
  if (steps.length > STEPS_MAX) refusals.push(refusalOf(1, `A script has at most ${STEPS_MAX} actions`));
  const [first, ...rest] = refusals;
  if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
  return steps.toSorted((a, b) => a.atMs - b.atMs);
}

function refusalOf(line: number, what: string): Refusal {
  return { code: "SIM_SCRIPT_MALFORMED", reason: `Line ${line}: ${what}.`, hint: HINT };
}

class Wrong extends Error {}

function readLine(part: string, line: number, world: ScriptWorld): ScriptStep {
  const [time = "", ...words] = part.split(/\s+/);
  const atMs = timeOf(time);
  if (atMs === undefined) throw new Wrong(`"${time.slice(0, 40)}" is not a time such as 5s, 1500ms or 2m`);
  return { line, atMs, text: words.join(" "), action: actionOf(words, world) };
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, "": 1_000 };

/** A number alone is seconds. */
function timeOf(text: string): number | undefined {
  const match = /^(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * (UNITS[match[2] ?? ""] ?? Number.NaN);
}

function actionOf(words: readonly string[], world: ScriptWorld): Action {
  const [verb = "", ...rest] = words;
  const [what = "", link = "", value = ""] = rest;
  const takes = (count: number): void => {
    if (rest.length !== count) throw new Wrong(`"${verb}" takes ${FORMS[verb] ?? "nothing behind it"}`);
  };
  if (NODE_VERBS.includes(verb as NodeVerb)) {
    takes(1);
    return { verb: verb as NodeVerb, nodes: nodesOf(what, world) };
  }
  switch (verb) {
    case "heal":
    case "restore":
      takes(0);
      return { verb };
    case "slow": {
      takes(3);
      if (link !== "by") throw new Wrong(`"slow" takes ${FORMS["slow"]}`);
      return { verb, nodes: nodesOf(what, world), byMs: millisecondsOf(value) };
    }
    case "cut":
    case "flood": {
      takes(3);
      if (link !== "to") throw new Wrong(`"${verb}" takes ${FORMS[verb]}`);
      return { verb, nodes: nodesOf(what, world), others: nodesOf(value, world) };
    }
    case "loss":
      takes(1);
      return { verb, share: percentOf(what) };
    case "order":
      return orderOf(rest, world);
    case "chain":
      return chainOf(rest);
    default:
      throw new Wrong(
        `"${verb.slice(0, 40)}" is no action; there are ${[...NODE_VERBS, ...OTHERS].join(", ")}`,
      );
  }
}

const OTHERS = ["cut", "flood", "slow", "restore", "heal", "loss", "order", "chain"] as const;

const FORMS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    NODE_VERBS.map((verb) => [verb, "nodes: 3, 0-4, 1,5-7, leader, region:NAME, group:GOAL"]),
  ),
  slow: "nodes, by, and milliseconds: slow region:london by 200ms",
  cut: "nodes, to, and nodes: cut 3 to 0-2 (one way)",
  flood: "nodes, to, and nodes: flood 3 to leader",
  loss: "a share from 0% to 90%",
  order: "how many, and maybe goal:ID",
  chain: "down, up, or reorganise and 1 to 10 blocks",
};

function nodesOf(text: string, { nodes, regions, goalIds }: ScriptWorld): NodeSet {
  if (text === "leader") return { kind: "leader" };
  const [, kind, name = ""] = /^(region|group):(.+)$/.exec(text) ?? [];
  if (kind === "region") {
    if (!regions.includes(name))
      throw new Wrong(`there is no region "${name}"; there are ${regions.join(", ")}`);
    return { kind, name };
  }
  if (kind === "group") {
    if (!goalIds.includes(name))
      throw new Wrong(`there is no goal "${name}"; there are ${goalIds.join(", ")}`);
    return { kind, name };
  }
  return { kind: "indexes", indexes: indexesOf(text, nodes) };
}

function indexesOf(text: string, nodes: number): number[] {
  const indexes = new Set<number>();
  for (const range of text.split(",")) {
    const [, from, to] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range) ?? [];
    if (from === undefined) throw new Wrong(`"${text.slice(0, 40)}" names no nodes`);
    const [first, last] = [Number(from), Number(to ?? from)];
    if (last < first) throw new Wrong(`the range ${range} goes backwards`);
    if (last >= nodes) throw new Wrong(`there is no node ${last}; nodes are 0 to ${nodes - 1}`);
    for (let index = first; index <= last; index++) indexes.add(index);
  }
  return [...indexes];
}

function millisecondsOf(text: string): number {
  const byMs = /^\d{1,5}(ms)?$/.test(text) ? Number.parseInt(text, 10) : Number.NaN;
  if (byMs <= SLOW_MS_MAX) return byMs;
  throw new Wrong(`"${text.slice(0, 40)}" is not milliseconds up to ${SLOW_MS_MAX}`);
}

function percentOf(text: string): number {
  const share = /^\d{1,2}(\.\d{1,2})?%$/.test(text) ? Number.parseFloat(text) / 100 : Number.NaN;
  if (share <= 0.9) return share;
  throw new Wrong(`"${text.slice(0, 40)}" is not a share from 0% to 90%`);
}

function orderOf(rest: readonly string[], { goalIds }: ScriptWorld): Action {
  const [countText = "", goalText] = rest;
  const count = /^\d{1,4}$/.test(countText) ? Number(countText) : 0;
  const goalId = goalText?.startsWith("goal:") === true ? goalText.slice(5) : undefined;
  if (
    count < 1 ||
    count > ORDERS_MAX ||
    rest.length > 2 ||
    (goalText !== undefined && goalId === undefined)
  ) {
    throw new Wrong(`"order" takes ${FORMS["order"]}`);
  }
  if (goalId !== undefined && !goalIds.includes(goalId)) {
    throw new Wrong(`there is no goal "${goalId}"; there are ${goalIds.join(", ")}`);
  }
  return { verb: "order", count, goalId };
}

function chainOf(rest: readonly string[]): Action {
  const [what, blocksText = ""] = rest;
  if (what === "down" && rest.length === 1) return { verb: "chain-down" };
  if (what === "up" && rest.length === 1) return { verb: "chain-up" };
  const blocks = /^\d{1,2}$/.test(blocksText) ? Number(blocksText) : 0;
  if (what === "reorganise" && rest.length === 2 && blocks >= 1 && blocks <= BLOCKS_MAX) {
    return { verb: "reorganise", blocks };
  }
  throw new Wrong(`"chain" takes ${FORMS["chain"]}`);
}
