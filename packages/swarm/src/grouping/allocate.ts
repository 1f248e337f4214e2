import { GROUP_CHOICE } from "../bounds.ts";
import { nextBelow, nextFraction, seedRandom, type Random } from "../random.ts";
import type { Goal } from "../types.ts";
import { nearLists, type NearLists } from "./near.ts";
import { isPreferred, suits, type GroupingNode, type GroupingProblem } from "./problem.ts";

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
/** How much worse a state may be and still be gone on from, and the rounds per goal that allow all of it. */
const HEAT = 1;
const HEAT_ROUNDS = 40;
/** So often the search goes back to the best state it has seen. */
const STRETCHES = 8;
/** So many of these stretches without a better state end it. */
const PATIENCE = 5;
const FREE = -1;
const TAKEN = -2;
/** A candidate that has joined, or cannot. */
const GONE = -1;

/** What a group lacks that its next member must bring. */
type Lack = "operator" | "region" | "gpu" | "";
const NOTHING: Lack = "";

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
  return Math.max(
    goals,
    Math.min(4_000, Math.max(400, 10 * goals * goals), Math.floor(6_000_000 / (nodes + 100))),
  );
}

class Search {
  readonly #problem: GroupingProblem;
  readonly #goals: readonly Goal[];
  readonly #near: NearLists;
  readonly #owner: Int32Array;
  readonly #free: FreeNodes;
  /** Operators and regions as numbers: distinct ones are counted in every step. */
  readonly #operator: Int32Array;
  readonly #region: Int32Array;
  /** Who may join the group being grown, how near, and how many of its members each was found to fit. */
  readonly #candidates: Int32Array;
  readonly #ranks: Int32Array;
  readonly #fitted: Int32Array;
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
    this.#free = new FreeNodes(this.#owner);
    this.#operator = numbered(problem.nodes, ({ operator }) => operator);
    this.#region = numbered(problem.nodes, ({ region }) => region);
    this.#candidates = new Int32Array(this.#near.perNode);
    this.#ranks = new Int32Array(this.#near.perNode);
    this.#fitted = new Int32Array(this.#near.perNode);
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

  /**
   * A node costs what the goals that could use it would give for it, on average. A goal with a latency limit
   * uses only nodes with enough others within it: goals that are less particular then leave dense places to it.
   */
  #prices(): Float64Array {
    const price = new Float64Array(this.#problem.nodes.length);
    const demands = new Map<string, { readonly goal: number; worth: number }>();
    const classes = new Map<Int32Array, number>();
    for (const [index, { weight, size, latencyMsMax }] of this.#goals.entries()) {
      const pool = this.#pools[index] as Int32Array;
      const kind = classes.get(pool) ?? classes.size;
      classes.set(pool, kind);
      const key = `${kind} ${latencyMsMax} ${size.min}`;
      const demand = demands.get(key) ?? { goal: index, worth: 0 };
      demand.worth += (weight ?? 1) * size.min;
      demands.set(key, demand);
    }
    for (const { goal, worth } of demands.values()) {
      const pool = this.#pools[goal] as Int32Array;
      const usable = pool.filter((node) => this.#hasCompany(this.#goals[goal] as Goal, node));
      for (const node of usable) price[node] = (price[node] as number) + worth / usable.length;
    }
    return price;
  }

  /** Tells whether as many nodes as a goal wants are within its limit of a node. */
  #hasCompany({ size, latencyMsMax }: Goal, node: number): boolean {
    const others = Math.min(size.min - 1, this.#near.perNode);
    if (others < 1 || latencyMsMax === undefined) return true;
    return (this.#near.rttMs[node * this.#near.perNode + others - 1] as number) <= latencyMsMax;
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
    if (this.#free.count < size) return false;
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
    for (const node of before ?? []) {
      this.#owner[node] = FREE;
      this.#free.add(node);
    }
    for (const node of members ?? []) {
      this.#owner[node] = goal;
      this.#free.remove(node);
    }
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
    const spare = group.length > goal.size.min && this.#meets(goal, group, node);
    return goalValue(goal, group.length) - (spare ? goalValue(goal, group.length - 1) : 0);
  }

  /** Grows a group of `size` around a node; with `evict`, out of owned nodes too where it pays. */
  #grow(goal: number, anchor: number, size: number, evict: boolean): number[] | undefined {
    const wanted = this.#goals[goal] as Goal;
    const suitable = this.#suitable[goal] as Uint8Array;
    const found = this.#gather(anchor, suitable, wanted.latencyMsMax ?? Infinity, evict);
    if (found < size - 1) return undefined;
    const members = [anchor];
    const evicted = evict ? new Set([this.#owner[anchor] as number]) : undefined;
    while (members.length < size) {
      const place = this.#cheapest(wanted, members, found, evicted);
      if (place < 0) return undefined;
      const next = this.#candidates[place] as number;
      members.push(next);
      this.#fitted[place] = GONE;
      evicted?.add(this.#owner[next] as number);
    }
    return this.#meets(wanted, members) ? members : undefined;
  }

  /** Lists who may join an anchor, the nearest first, and returns how many these are. */
  #gather(anchor: number, suitable: Uint8Array, limitMs: number, evict: boolean): number {
    const base = anchor * this.#near.perNode;
    let found = 0;
    for (let rank = 0; rank < this.#near.perNode; rank++) {
      const node = this.#near.ids[base + rank] as number;
      if (node < 0 || (this.#near.rttMs[base + rank] as number) > limitMs) break;
      const owner = this.#owner[node] as number;
      if (suitable[node] === 0 || (owner !== FREE && (owner === TAKEN || !evict))) continue;
      this.#candidates[found] = node;
      this.#ranks[found] = rank;
      this.#fitted[found++] = 0;
    }
    return found;
  }

  /** The place of the best next member among the candidates gathered; `evicted` are groups that give way already. */
  #cheapest(
    goal: Goal,
    members: readonly number[],
    count: number,
    evicted: ReadonlySet<number> | undefined,
  ): number {
    const lacks = this.#lacks(goal, members);
    let best = -1;
    let bestCost = Infinity;
    let seen = 0;
    for (let place = 0; place < count && seen < GROUP_CHOICE; place++) {
      const fitted = this.#fitted[place] as number;
      if (fitted === GONE) continue;
      const node = this.#candidates[place] as number;
      if (lacks !== NOTHING && !this.#brings(lacks, members, node)) continue;
      if (!this.#fits(goal, members, node, fitted)) {
        this.#fitted[place] = GONE;
        continue;
      }
      this.#fitted[place] = members.length;
      seen++;
      const owner = this.#owner[node] as number;
      const loss = owner === FREE || evicted?.has(owner) === true ? 0 : this.#lossOf(node);
      const cost = loss * 10 + this.#priceOf(node, goal) + (this.#ranks[place] as number) * 1e-5;
      if (cost < bestCost) {
        best = place;
        bestCost = cost;
      }
    }
    return best;
  }

  /** Tells whether a node may join members; it was asked about the first `from` before. */
  #fits(goal: Goal, members: readonly number[], node: number, from = 0): boolean {
    const limitMs = goal.latencyMsMax ?? Infinity;
    const { rttMs, bandwidthMbps } = this.#problem;
    for (let place = from; place < members.length; place++) {
      const member = members[place] as number;
      if (rttMs(member, node) > limitMs) return false;
      if (goal.bandwidthMbpsMin !== undefined && bandwidthMbps !== undefined) {
        if (bandwidthMbps(member, node) < goal.bandwidthMbpsMin) return false;
      }
    }
    return true;
  }

  /** What the next member must bring, when the slots left are just enough for it. */
  #lacks(goal: Goal, members: readonly number[]): Lack {
    const slots = goal.size.min - members.length;
    const operators = goal.operatorsMin ?? 0;
    if (operators > 1 && operators - distinct(this.#operator, members) >= slots) return "operator";
    const regions = goal.regionsMin ?? 0;
    if (regions > 0 && regions - distinct(this.#region, members) >= slots) return "region";
    if (slots <= 1 && this.#gpusOf(members) < (goal.groupGpusMin ?? 0)) return "gpu";
    return NOTHING;
  }

  #brings(lack: Lack, members: readonly number[], node: number): boolean {
    if (lack === "gpu") return (this.#problem.nodes[node] as GroupingNode).gpus > 0;
    const kinds = lack === "operator" ? this.#operator : this.#region;
    const kind = kinds[node] as number;
    return kind !== NAMELESS && !hasKind(kinds, members, members.length, kind, -1);
  }

  #gpusOf(members: readonly number[], except = -1): number {
    let gpus = 0;
    for (const member of members) {
      if (member !== except) gpus += (this.#problem.nodes[member] as GroupingNode).gpus;
    }
    return gpus;
  }

  /** Tells whether members, without one of them where `except` names it, are what a goal asks of the group. */
  #meets(goal: Goal, members: readonly number[], except = -1): boolean {
    const size = except < 0 ? members.length : members.length - 1;
    return (
      size >= goal.size.min &&
      ((goal.operatorsMin ?? 0) <= 1 ||
        distinct(this.#operator, members, except) >= (goal.operatorsMin ?? 0)) &&
      ((goal.regionsMin ?? 0) === 0 || distinct(this.#region, members, except) >= (goal.regionsMin ?? 0)) &&
      (goal.groupGpusMin === undefined || this.#gpusOf(members, except) >= goal.groupGpusMin)
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
    let improvedAt = 0;
    // Rounds that are few for so many goals must climb: there is no time to come back.
    const start = HEAT * Math.min(1, rounds / (HEAT_ROUNDS * this.#goals.length));
    const stretch = Math.ceil(rounds / STRETCHES);
    for (let round = 0; round < rounds; round++) {
      const goal = this.#nextOpen();
      if (goal < 0 || round > improvedAt + PATIENCE * stretch) break;
      if (round % stretch === 0 && bestScore > this.score + 1e-9) this.#restore(best);
      const before = this.score;
      this.#journal = [];
      // A somewhat worse state may be walked through, less and less so towards the end.
      const heat = start * (1 - round / rounds) ** 2 * nextFraction(this.#random);
      const changed = this.groups[goal] === undefined ? this.#force(goal) : this.#rebuild(goal);
      if (!changed || this.score < before - heat) this.#undo();
      if (this.score > bestScore + 1e-9) {
        best = [...this.groups];
        bestScore = this.score;
        improvedAt = round;
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
    if (group === undefined || group.length >= wanted.size.max || this.#free.count === 0) return;
    const members = [...group];
    if (this.#free.count <= this.#near.perNode / 4) {
      this.#fillFromFree(goal, members);
    } else {
      // One complete list holds all that fits; of short lists each holds others.
      const bases = this.#near.perNode >= this.#owner.length - 1 ? 1 : group.length;
      for (let place = 0; place < bases && members.length < wanted.size.max; place++) {
        this.#fillFrom(goal, members, group[place] as number);
      }
    }
    if (members.length > group.length) this.#set(goal, members);
  }

  /** Where few nodes are free, these are looked through and not the long list of near ones. */
  #fillFromFree(goal: number, members: number[]): void {
    const wanted = this.#goals[goal] as Goal;
    const suitable = this.#suitable[goal] as Uint8Array;
    for (let place = 0; place < this.#free.count && members.length < wanted.size.max; place++) {
      const node = this.#free.nodes[place] as number;
      if (suitable[node] === 1 && this.#fits(wanted, members, node)) members.push(node);
    }
  }

  #fillWorth(goal: number): number {
    const { weight, size } = this.#goals[goal] as Goal;
    return (weight ?? 1) / Math.max(1, size.max - size.min);
  }

  #fillFrom(goal: number, members: number[], base: number): void {
    const wanted = this.#goals[goal] as Goal;
    const suitable = this.#suitable[goal] as Uint8Array;
    const limitMs = wanted.latencyMsMax ?? Infinity;
    for (let rank = 0; rank < this.#near.perNode && members.length < wanted.size.max; rank++) {
      const node = this.#near.ids[base * this.#near.perNode + rank] as number;
      if (node < 0 || (this.#near.rttMs[base * this.#near.perNode + rank] as number) > limitMs) break;
      if (this.#owner[node] !== FREE || suitable[node] === 0 || members.includes(node)) continue;
      if (this.#fits(wanted, members, node)) members.push(node);
    }
  }
}

/** The nodes that no goal has, in no order. */
class FreeNodes {
  readonly nodes: Int32Array;
  readonly #places: Int32Array;
  count = 0;

  constructor(owner: Int32Array) {
    this.nodes = new Int32Array(owner.length);
    this.#places = new Int32Array(owner.length);
    for (let node = 0; node < owner.length; node++) if (owner[node] === FREE) this.add(node);
  }

  add(node: number): void {
    this.nodes[this.count] = node;
    this.#places[node] = this.count++;
  }

  remove(node: number): void {
    const place = this.#places[node] as number;
    const last = this.nodes[--this.count] as number;
    this.nodes[place] = last;
    this.#places[last] = place;
  }
}

/** No kind at all: it counts for none, and is no other one than anybody else's. */
const NAMELESS = -1;

/** Equal names become equal numbers. */
function numbered(
  nodes: readonly GroupingNode[],
  nameOf: (node: GroupingNode) => string | undefined,
): Int32Array {
  const numbers = new Map<string, number>();
  return Int32Array.from(nodes, (node) => {
    const name = nameOf(node);
    if (name === undefined) return NAMELESS;
    const number = numbers.get(name) ?? numbers.size;
    numbers.set(name, number);
    return number;
  });
}

/** How many kinds members are of; `except` is not looked at. */
function distinct(kinds: Int32Array, members: readonly number[], except = -1): number {
  let found = 0;
  for (const [place, member] of members.entries()) {
    const kind = kinds[member] as number;
    if (member === except || kind === NAMELESS) continue;
    if (!hasKind(kinds, members, place, kind, except)) found++;
  }
  return found;
}

/** Tells whether one of the first `count` members is of a kind. */
function hasKind(
  kinds: Int32Array,
  members: readonly number[],
  count: number,
  kind: number,
  except: number,
): boolean {
  for (let place = 0; place < count; place++) {
    const member = members[place] as number;
    if (member !== except && kinds[member] === kind) return true;
  }
  return false;
}
