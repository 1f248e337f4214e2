import {
  CloisterError,
  decodeCanonical,
  encodeCanonical,
  fromHex,
  type Address,
  type Refusal,
} from "@cloister/core";
import type { MarketState } from "@cloister/market";
import { GOALS_MAX, GROUP_SIZE_MAX, type Goal, type GroupKind } from "@cloister/swarm";

/** Every kind of group that a goal may ask for. */
export const GROUP_KINDS: readonly GroupKind[] = [
  "overlay",
  "storage",
  "kubernetes",
  "key-release",
  "certification",
  "inference",
  "training",
  "compute",
];

const ID = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
const WORD = /^[A-Za-z0-9._-]{1,64}$/;
const NODE = /^0x[0-9a-f]{40}$/;
const LIST_MAX = 64;
const DAY_MS = 86_400_000;

type Check = (value: unknown) => string | undefined;
type Members = Readonly<Record<string, Check>>;

const matches =
  (pattern: RegExp, what: string): Check =>
  (value) =>
    typeof value === "string" && pattern.test(value) ? undefined : what;

const listOf =
  (item: Check): Check =>
  (value) => {
    if (!Array.isArray(value) || value.length === 0 || value.length > LIST_MAX) {
      return `must be a list of 1 to ${LIST_MAX}`;
    }
    const wrong = value.map(item).find((problem) => problem !== undefined);
    if (wrong !== undefined) return `must be a list whose every entry ${wrong}`;
    return new Set(value).size === value.length ? undefined : "must not name anything twice";
  };

const wholeFrom =
  (least: number, most: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `must be a whole number from ${least} to ${most}`;

const numberUpTo =
  (most: number): Check =>
  (value) =>
    typeof value === "number" && value > 0 && value <= most
      ? undefined
      : `must be a number above 0, at most ${most}`;

const anySize: Check = wholeFrom(1, GROUP_SIZE_MAX);

/** Each member of a goal's document and what it must be. The order is the one that people read goals in. */
const MEMBERS: Members = {
  id: matches(ID, "must be 1 to 64 lower-case letters, digits, dots, dashes or underscores"),
  kind: (value) =>
    GROUP_KINDS.includes(value as GroupKind) ? undefined : `must be one of ${GROUP_KINDS.join(", ")}`,
  size: (value) => sizeProblem(value),
  latencyMsMax: numberUpTo(30_000),
  bandwidthMbpsMin: numberUpTo(100_000),
  tees: listOf(matches(WORD, "must be the name of a kind of TEE, such as tdx")),
  cpusMin: wholeFrom(1, 65_536),
  memoryBytesMin: wholeFrom(1, 2 ** 50),
  gpusMin: wholeFrom(1, 1_024),
  groupGpusMin: wholeFrom(1, 65_536),
  operatorsMin: anySize,
  regionsMin: anySize,
  regions: listOf(matches(WORD, "must be the name of a region")),
  affinity: listOf(matches(NODE, "must be a node's address, 0x and 40 lower-case hex digits")),
  weight: numberUpTo(1e6),
  failedGraceMs: wholeFrom(0, DAY_MS),
  degradedGraceMs: wholeFrom(0, DAY_MS),
  shared: (value) => (typeof value === "boolean" ? undefined : "must be true or false"),
};

function sizeProblem(value: unknown): string | undefined {
  const { min, max, ...others } = asRecord(value) ?? {};
  const wrong = anySize(min) ?? anySize(max);
  if (wrong !== undefined || Object.keys(others).length > 0) {
    return `must be { "min", "max" }, each a whole number from 1 to ${GROUP_SIZE_MAX}`;
  }
  return (min as number) <= (max as number) ? undefined : "must have a min that is not above its max";
}

/**
 * Reads a goal strictly: every member known, of the right form, and possible together with the others.
 * `place` is how the error names it, such as `goals[2]`.
 * @throws {CloisterError} `GOAL_MALFORMED`, every problem in `details.refusals`
 */
export function parseGoal(document: unknown, place = "the goal"): Goal {
  const [first, ...rest] = goalProblems(document, place);
  if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
  return document as Goal;
}

/**
 * Reads a list of goals, or a single one, and refuses two of the same name.
 * @throws {CloisterError} `GOAL_MALFORMED`, every problem in `details.refusals`
 */
export function parseGoals(document: unknown): Goal[] {
  if (!Array.isArray(document)) return [parseGoal(document)];
  const refusals = document.slice(0, GOALS_MAX).flatMap((one, index) => goalProblems(one, `goals[${index}]`));
  if (document.length === 0) refusals.push(malformed("the list holds no goal"));
  if (document.length > GOALS_MAX) refusals.push(malformed(`the list holds more than ${GOALS_MAX} goals`));
  const names = document.map((one) => asRecord(one)?.["id"]).filter((name) => typeof name === "string");
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) refusals.push(malformed(`two goals are called "${twice.slice(0, 64)}"`));
  const [first, ...rest] = refusals;
  if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
  return document as Goal[];
}

function goalProblems(document: unknown, place: string): Refusal[] {
  const goal = asRecord(document);
  if (goal === undefined) return [malformed(`${place} is not an object`)];
  const refusals = Object.keys(goal)
    .filter((name) => !Object.hasOwn(MEMBERS, name))
    .map((name) => malformed(`${place} has a member "${name.slice(0, 40)}", which goals do not have`));
  for (const [name, check] of Object.entries(MEMBERS)) {
    const required = name === "id" || name === "kind" || name === "size";
    if (goal[name] === undefined && !required) continue;
    const problem = check(goal[name]);
    if (problem !== undefined) refusals.push(malformed(`${place}.${name} ${problem}`));
  }
  return refusals.length > 0 ? refusals : contradictions(goal as unknown as Goal, place);
}

/** What no group could ever satisfy, whoever joins. */
function contradictions({ size, operatorsMin, regionsMin, regions }: Goal, place: string): Refusal[] {
  const refusals: Refusal[] = [];
  if ((operatorsMin ?? 0) > size.max) refusals.push(malformed(`${place} wants more operators than members`));
  if ((regionsMin ?? 0) > size.max) refusals.push(malformed(`${place} wants more regions than members`));
  if (regions !== undefined && (regionsMin ?? 0) > regions.length) {
    refusals.push(malformed(`${place} wants more distinct regions than it allows`));
  }
  return refusals;
}

function malformed(problem: string): Refusal {
  const reason = `${problem.charAt(0).toUpperCase()}${problem.slice(1)}.`;
  return { code: "GOAL_MALFORMED", reason, hint: "docs/guides/provider.md shows every member of a goal." };
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Encodes a goal as the document that is declared on chain. */
export function encodeGoal(goal: Goal): Uint8Array {
  return encodeCanonical(goal);
}

/** What a goal's owner declares to end it: nobody forms a group for it any more. */
export const RETIRED_GOAL: Uint8Array = new Uint8Array(0);

/** Reads a goal's document. @throws {CloisterError} `GOAL_MALFORMED` */
export function decodeGoal(bytes: Uint8Array): Goal {
  let document: unknown;
  try {
    document = decodeCanonical(bytes);
  } catch (cause) {
    throw new CloisterError("GOAL_MALFORMED", "The goal is not canonical CBOR.", { cause });
  }
  return parseGoal(document);
}

/** A goal as somebody declared it on the chain. */
export interface DeclaredGoal {
  readonly goalId: string;
  readonly owner: Address;
  /** Undefined once it is retired, or where its document cannot be read. */
  readonly goal?: Goal;
  readonly state: "active" | "retired" | "unreadable";
}

/** All goals that the chain declares. A document that speaks of another goal's name is unreadable: it binds nobody. */
export function declaredGoals(state: MarketState): DeclaredGoal[] {
  return [...state.goals.values()].map(({ goalId, owner, document }): DeclaredGoal => {
    if (document === "") return { goalId, owner, state: "retired" };
    try {
      const goal = decodeGoal(fromHex(document));
      if (goal.id === goalId) return { goalId, owner, goal, state: "active" };
    } catch {
      // Anybody can declare anything; what does not parse is shown and otherwise left alone.
    }
    return { goalId, owner, state: "unreadable" };
  });
}

/** The goals that the swarm pursues. */
export function goalsOf(state: MarketState): Goal[] {
  return declaredGoals(state).flatMap(({ goal }) => (goal === undefined ? [] : [goal]));
}
