import { GROUP_CHOICE } from "../bounds.ts";
import { nextBelow, nextFraction, seedRandom, type Random } from "../random.ts";
import type { Goal } from "../types.ts";
import { nearLists, type NearLists } from "./near.ts";
import {
  isElsewhere,
  isPreferred,
  regionsOf,
  suits,
  type GroupingNode,
  type GroupingProblem,
} from "./problem.ts";

/** Groups for goals that share no node, and what they are worth together. */
export interface Allocation {
  /** Members of each goal by its place in the list; undefined where it is not met. */
  readonly groups: readonly (readonly number[] | undefined)[];
  readonly score: number;
}

export interface AllocateOptions {
  /** Nodes that are not to be had. */
  readonly taken?: ReadonlySet<number>;
  /** Rounds of improvement; each tears a little down and builds it again. */
  readonly rounds?: number;
  readonly seed?: number;
  readonly near?: NearLists;
}

/** A full group is worth this share more than one of the least size. */
const FILL_SHARE = 0.1;
/** A node that a goal prefers costs it so much less: enough between equals, and less than one that is scarcer. */
const PREFERRED_DISCOUNT = 1e-3;
const FREE = -1;
const TAKEN = -2;

/**
 * What meeting a goal with `size` members is worth: its weight, and up to a tenth more the nearer
 * the group is to the goal's greatest size.
 */
export function goalValue(goal: Goal, size: number): number {
  if (size < goal.size.min) return 0;
  const room = goal.size.max - goal.size.min;
  const fill = room === 0 ? 1 : (Math.min(size, goal.size.max) - goal.size.min) / room;
  return (goal.weight ?? 1) * (1 + FILL_SHARE * fill);
}

/**
 * Divides nodes among goals so that the sum of `goalValue` is as great as can be found: greedy with
 * prices for what is scarce, then rounds that evict, insert and repair, kept when they are no worse.
 */
export function allocate(
  problem: GroupingProblem,
  goals: readonly Goal[],
  options: AllocateOptions = {},
): Allocation {
  const search = new Search(problem, goals, options);
  search.greedy();
  search.improve(options.rounds ?? defaultRounds(problem.nodes.length, goals.length));
  search.fill();
  return { groups: search.groups.map((group) => group?.toSorted((a, b) => a - b)), score: search.score };
}

function defaultRounds(nodes: number, goals: number): number {
  return Math.max(goals, Math.min(2_500, 40 * goals, Math.floor(6_000_000 / (nodes + 100))));
}

class Search {
  readonly #problem: GroupingProblem;
  readonly #goals: readonly Goal[];
  readonly #near: NearLists;
  readonly #owner: Int32Array;
  readonly #price: Float64Array;
  readonly #suitable: Uint8Array[];
  /** Suitable nodes of each goal, to draw starting points from. */
  readonly #pools: Int32Array[];
  readonly #random: Random;
  readonly groups: (number[] | undefined)[];
  score = 0;
  /** What to put back when a round turns out worse: goal and its members before. */
  #journal: { readonly goal: number; readonly members: number[] | undefined }[] = [];

  constructor(problem: GroupingProblem, goals: readonly Goal[], options: AllocateOptions) {
    const count = problem.nodes.length;
    this.#problem = problem;
    this.#goals = goals;
    this.#near = options.near ?? nearLists(count, problem.rttMs);
    this.#random = seedRandom(options.seed ?? 1);
    this.#owner = new Int32Array(count).fill(FREE);
    for (const node of options.taken ?? []) this.#owner[node] = TAKEN;
    const classes = new Map<string, { suitable: Uint8Array; pool: Int32Array }>();
    const perGoal = goals.map((goal) => this.#classOf(goal, classes));
    this.#suitable = perGoal.map(({ suitable }) => suitable);
    this.#pools = perGoal.map(({ pool }) => pool);
    this.#price = this.#prices();
    this.groups = goals.map(() => undefined);
  }

  /** Goals that ask the same of each member share one table. */
  #classOf(
    goal: Goal,
    classes: Map<string, { suitable: Uint8Array; pool: Int32Array }>,
  ): { suitable: Uint8Array; pool: Int32Array } {
    const { tees, regions, cpusMin, memoryBytesMin, gpusMin } = goal;
    const key = JSON.stringify([tees, regions, cpusMin, memoryBytesMin, gpusMin]);
    let found = classes.get(key);
    if (found === undefined) {
      const suitable = new Uint8Array(this.#problem.nodes.length);
      for (const [index, node] of this.#problem.nodes.entries()) suitable[index] = suits(node, goal) ? 1 : 0;
      const pool = Int32Array.from(suitable.keys()).filter((node) => suitable[node] === 1);
      found = { suitable, pool };
      classes.set(key, found);
    }
    return found;
  }

  /** A node costs what the goals that could use it would give for it, on average. */
  #prices(): Float64Array {
    const price = new Float64Array(this.#problem.nodes.length);
    const done = new Map<Uint8Array, number>();
    for (const [index, goal] of this.#goals.entries()) {
      const suitable = this.#suitable[index] as Uint8Array;
      const pool = this.#pools[index] as Int32Array;
      const share = ((goal.weight ?? 1) * goal.size.min) / Math.max(1, pool.length);
      done.set(suitable, (done.get(suitable) ?? 0) + share);
    }
    for (const [suitable, share] of done) {
      for (let node = 0; node < price.length; node++) {
        if (suitable[node] === 1) price[node] = (price[node] as number) + share;
      }
    }
    return price;
  }

  /** Serves goals in order of worth per member; the pickiest first among equals. */
  greedy(): void {
    const order = [...this.#goals.keys()].sort((a, b) => this.#urgency(b) - this.#urgency(a));
    for (const goal of order) this.#insert(goal);
  }

  #urgency(goal: number): number {
    const { weight, size } = this.#goals[goal] as Goal;
    const pool = (this.#pools[goal] as Int32Array).length;
    return (weight ?? 1) / size.min - pool / (this.#problem.nodes.length + 1) / 100;
  }

  /** Forms a group out of free nodes, at the least price found; `hasty` looks at fewer. */
  #insert(goal: number, hasty = false): boolean {
    const pool = this.#pools[goal] as Int32Array;
    const size = this.#goals[goal]?.size.min ?? 0;
    const every = !hasty && pool.length <= 160;
    const enough = every ? pool.length : hasty ? 8 : 24;
    const trials = every ? pool.length : 8 * enough;
    let best: number[] | undefined;
    let bestCost = Infinity;
    let found = 0;
    for (let trial = 0; trial < trials && found < enough; trial++) {
      const anchor = pool[every ? trial : nextBelow(this.#random, Math.max(1, pool.length))] ?? -1;
      if (anchor < 0 || this.#owner[anchor] !== FREE) continue;
      const members = this.#grow(goal, anchor, size, false);
      if (members === undefined) continue;
      found++;
      const cost = this.#costOf(goal, members);
      if (cost < bestCost) {
        best = members;
        bestCost = cost;
      }
    }
    if (best === undefined) return false;
    this.#set(goal, best);
    return true;
  }

  #costOf(goal: number, members: readonly number[]): number {
    const wanted = this.#goals[goal] as Goal;
    let cost = 0;
    for (const member of members) cost += this.#priceOf(member, wanted);
    let farthestMs = 0;
    for (const member of members) {
      farthestMs = Math.max(farthestMs, this.#problem.rttMs(members[0] as number, member));
    }
    return cost + farthestMs * 1e-6;
  }

  #priceOf(node: number, goal: Goal): number {
    const price = this.#price[node] as number;
    if (goal.affinity === undefined) return price;
    return isPreferred(this.#problem.nodes[node] as GroupingNode, goal) ? price - PREFERRED_DISCOUNT : price;
  }

  #set(goal: number, members: number[] | undefined): void {
    const before = this.groups[goal];
    this.#journal.push({ goal, members: before });
    if (before !== undefined) for (const node of before) this.#owner[node] = FREE;
    if (members !== undefined) for (const node of members) this.#owner[node] = goal;
    this.groups[goal] = members;
    const { [goal]: wanted } = this.#goals;
    this.score +=
      goalValue(wanted as Goal, members?.length ?? 0) - goalValue(wanted as Goal, before?.length ?? 0);
  }

  /** What it costs to take a node: nothing when free, its group's loss when not. */
  #lossOf(node: number): number {
    const owner = this.#owner[node] as number;
    if (owner === FREE) return 0;
    if (owner === TAKEN) return Infinity;
    const group = this.groups[owner] as number[];
    const goal = this.#goals[owner] as Goal;
    const rest = group.filter((member) => member !== node);
    const spare = rest.length >= goal.size.min && this.#meets(goal, rest);
    return goalValue(goal, group.length) - (spare ? goalValue(goal, rest.length) : 0);
  }

  /** Grows a group of `size` around a node; with `evict`, out of owned nodes too where it pays. */
  #grow(goal: number, anchor: number, size: number, evict: boolean): number[] | undefined {
    const wanted = this.#goals[goal] as Goal;
    const suitable = this.#suitable[goal] as Uint8Array;
    const members = [anchor];
    const evicted = new Set<number>();
    if (evict) evicted.add(this.#owner[anchor] as number);
    const base = anchor * this.#near.perNode;
    const rejected = new Set<number>();
    while (members.length < size) {
      const next = this.#cheapest(wanted, suitable, members, base, evict, evicted, rejected);
      if (next < 0) return undefined;
      members.push(next);
      if (evict) evicted.add(this.#owner[next] as number);
    }
    return this.#meets(wanted, members) ? members : undefined;
  }

  #cheapest(
    goal: Goal,
    suitable: Uint8Array,
    members: readonly number[],
    base: number,
    evict: boolean,
    evicted: ReadonlySet<number>,
    rejected: Set<number>,
  ): number {
    const limitMs = goal.latencyMsMax ?? Infinity;
    const lacks = this.#lacks(goal, members);
    let best = -1;
    let bestCost = Infinity;
    let seen = 0;
    for (let rank = 0; rank < this.#near.perNode && seen < GROUP_CHOICE; rank++) {
      const node = this.#near.ids[base + rank] as number;
      if (node < 0 || (this.#near.rttMs[base + rank] as number) > limitMs) break;
      if (suitable[node] === 0 || rejected.has(node) || members.includes(node)) continue;
      const owner = this.#owner[node] as number;
      if (owner === TAKEN || (owner !== FREE && !evict)) continue;
      if (lacks !== undefined && !lacks(this.#problem.nodes[node] as GroupingNode)) continue;
      if (!this.#fits(goal, members, node)) {
        rejected.add(node);
        continue;
      }
      seen++;
      const loss = owner === FREE || evicted.has(owner) ? 0 : this.#lossOf(node);
      const cost = loss * 10 + this.#priceOf(node, goal) + rank * 1e-5;
      if (cost < bestCost) {
        best = node;
        bestCost = cost;
      }
    }
    return best;
  }

  #fits(goal: Goal, members: readonly number[], node: number): boolean {
    const limitMs = goal.latencyMsMax ?? Infinity;
    const { rttMs, bandwidthMbps } = this.#problem;
    for (const member of members) {
      if (rttMs(member, node) > limitMs) return false;
      if (goal.bandwidthMbpsMin !== undefined && bandwidthMbps !== undefined) {
        if (bandwidthMbps(member, node) < goal.bandwidthMbpsMin) return false;
      }
    }
    return true;
  }

  /** What the next member must bring, when the slots left are just enough for it. */
  #lacks(goal: Goal, members: readonly number[]): ((node: GroupingNode) => boolean) | undefined {
    if ((goal.operatorsMin ?? 0) < 2 && (goal.regionsMin ?? 0) < 2 && goal.groupGpusMin === undefined) {
      return undefined;
    }
    const nodes = members.map((member) => this.#problem.nodes[member] as GroupingNode);
    const slots = goal.size.min - members.length;
    const operators = new Set(nodes.map((node) => node.operator));
    const regions = regionsOf(nodes);
    if ((goal.operatorsMin ?? 0) - operators.size >= slots) return (node) => !operators.has(node.operator);
    if ((goal.regionsMin ?? 0) - regions.size >= slots) return (node) => isElsewhere(node, regions);
    const gpus = nodes.reduce((sum, node) => sum + node.gpus, 0);
    if (gpus < (goal.groupGpusMin ?? 0) && slots <= 1) return (node) => node.gpus > 0;
    return undefined;
  }

  #meets(goal: Goal, members: readonly number[]): boolean {
    if (members.length < goal.size.min) return false;
    const nodes = members.map((member) => this.#problem.nodes[member] as GroupingNode);
    return (
      new Set(nodes.map((node) => node.operator)).size >= (goal.operatorsMin ?? 0) &&
      regionsOf(nodes).size >= (goal.regionsMin ?? 0) &&
      nodes.reduce((sum, node) => sum + node.gpus, 0) >= (goal.groupGpusMin ?? 0)
    );
  }

  /**
   * Rounds of change around one goal that is unmet or has room: put in by force, or pulled down with its
   * neighbors and built again. The best state seen is kept.
   */
  improve(rounds: number): void {
    this.fill();
    let best = [...this.groups];
    let bestScore = this.score;
    for (let round = 0; round < rounds; round++) {
      const goal = this.#nextOpen();
      if (goal < 0) return;
      const before = this.score;
      this.#journal = [];
      // A somewhat worse state may be walked through, less and less so towards the end.
      const heat = 0.5 * (1 - round / rounds) * nextFraction(this.#random);
      const changed = this.groups[goal] === undefined ? this.#force(goal) : this.#rebuild(goal);
      if (!changed || this.score < before - heat) this.#undo();
      if (this.score > bestScore + 1e-9) {
        best = [...this.groups];
        bestScore = this.score;
      }
    }
    if (bestScore > this.score + 1e-9) this.#restore(best);
  }

  /** A goal that is not worth all it could be, drawn at random; unmet ones come up more often. */
  #nextOpen(): number {
    const count = this.#goals.length;
    const start = nextBelow(this.#random, Math.max(1, count));
    const unmetOnly = nextBelow(this.#random, 3) !== 0;
    let full = -1;
    for (let hop = 0; hop < count; hop++) {
      const goal = (start + hop) % count;
      const group = this.groups[goal];
      if (group === undefined) return goal;
      if (group.length >= (this.#goals[goal] as Goal).size.max) continue;
      if (!unmetOnly) return goal;
      if (full < 0) full = goal;
    }
    return full;
  }

  /** Dissolves a goal's group and some groups near it, and forms them again in another order. */
  #rebuild(goal: number): boolean {
    const group = this.groups[goal] as number[];
    const dissolved = new Set([goal]);
    const base = (group[nextBelow(this.#random, group.length)] as number) * this.#near.perNode;
    const wanted = 1 + nextBelow(this.#random, 3);
    for (let rank = 0; rank < this.#near.perNode && dissolved.size <= wanted; rank++) {
      const node = this.#near.ids[base + rank] as number;
      if (node < 0) break;
      const owner = this.#owner[node] as number;
      if (owner >= 0 && nextBelow(this.#random, 2) === 0) dissolved.add(owner);
    }
    const order = [...dissolved].sort(() => nextFraction(this.#random) - 0.5);
    for (const other of order) this.#set(other, undefined);
    for (const other of order) this.#insert(other, nextBelow(this.#random, 2) === 0);
    for (const other of order) this.#fillGoal(other);
    this.#fillRandomly();
    return true;
  }

  #fillRandomly(): void {
    const count = this.#goals.length;
    const start = nextBelow(this.#random, count);
    for (let hop = 0; hop < Math.min(count, 16); hop++) this.#fillGoal((start + hop) % count);
  }

  #undo(): void {
    const journal = this.#journal.toReversed();
    this.#journal = [];
    for (const { goal, members } of journal) this.#set(goal, members);
  }

  #restore(groups: readonly (number[] | undefined)[]): void {
    for (const goal of groups.keys()) this.#set(goal, undefined);
    for (const [goal, members] of groups.entries()) if (members !== undefined) this.#set(goal, members);
  }

  #force(goal: number): boolean {
    const pool = this.#pools[goal] as Int32Array;
    if (pool.length === 0) return false;
    let best: number[] | undefined;
    let bestLoss = Infinity;
    for (let trial = 0; trial < 6; trial++) {
      const anchor = pool[nextBelow(this.#random, pool.length)] as number;
      if (this.#owner[anchor] === TAKEN) continue;
      const members = this.#grow(goal, anchor, this.#goals[goal]?.size.min ?? 0, true);
      if (members === undefined) continue;
      const loss = this.#evictionLoss(members) * (0.8 + 0.4 * nextFraction(this.#random));
      if (loss < bestLoss) {
        best = members;
        bestLoss = loss;
      }
    }
    if (best === undefined) return false;
    const homeless = this.#evict(best);
    this.#set(goal, best);
    for (const other of homeless) this.#insert(other);
    this.#fillRandomly();
    return true;
  }

  #evictionLoss(members: readonly number[]): number {
    let loss = 0;
    const counted = new Set<number>();
    for (const node of members) {
      const owner = this.#owner[node] as number;
      if (owner === FREE || counted.has(owner)) continue;
      counted.add(owner);
      loss += this.#lossOf(node);
    }
    return loss;
  }

  /** Takes nodes from their groups; groups that fall below their least size are dissolved. */
  #evict(nodes: readonly number[]): number[] {
    const homeless: number[] = [];
    const owners = new Set(nodes.map((node) => this.#owner[node] as number));
    for (const owner of owners) {
      if (owner < 0) continue;
      const rest = (this.groups[owner] as number[]).filter((member) => !nodes.includes(member));
      const goal = this.#goals[owner] as Goal;
      if (this.#meets(goal, rest)) {
        this.#set(owner, rest);
      } else {
        this.#set(owner, undefined);
        homeless.push(owner);
      }
    }
    return homeless.sort((a, b) => (this.#goals[b]?.weight ?? 1) - (this.#goals[a]?.weight ?? 1));
  }

  /** Gives free nodes to groups that have room, where they are worth most. */
  fill(): void {
    const order = [...this.#goals.keys()].sort((a, b) => this.#fillWorth(b) - this.#fillWorth(a));
    for (const goal of order) this.#fillGoal(goal);
  }

  #fillGoal(goal: number): void {
    const group = this.groups[goal];
    const wanted = this.#goals[goal] as Goal;
    if (group === undefined || group.length >= wanted.size.max) return;
    const members = [...group];
    for (const base of group) {
      if (members.length >= wanted.size.max) break;
      this.#fillFrom(goal, members, base);
    }
    if (members.length > group.length) this.#set(goal, members);
  }

  #fillWorth(goal: number): number {
    const { weight, size } = this.#goals[goal] as Goal;
    return (weight ?? 1) / Math.max(1, size.max - size.min);
  }

  #fillFrom(goal: number, members: number[], base: number): void {
    const wanted = this.#goals[goal] as Goal;
    const suitable = this.#suitable[goal] as Uint8Array;
    for (let rank = 0; rank < this.#near.perNode && members.length < wanted.size.max; rank++) {
      const node = this.#near.ids[base * this.#near.perNode + rank] as number;
      if (node < 0) break;
      if (suitable[node] === 0 || this.#owner[node] !== FREE || members.includes(node)) continue;
      if (this.#fits(wanted, members, node)) members.push(node);
    }
  }
}
