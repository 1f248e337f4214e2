import { CloisterError, type Address, type Refusal } from "@cloister/core";
import { nextFraction, seedRandom, type HardwareFacts, type MemberRecord } from "@cloister/swarm";
import { nodeIdOf } from "../scenario.ts";

/** The machines of a story and the network between them. */
export interface Topology {
  readonly nodes: number;
  readonly members: readonly MemberRecord[];
  readonly regions: readonly string[];
  readonly loss: number;
  regionOf(index: number): string;
  factsOf(index: number): HardwareFacts;
  rttMsOf(from: number, to: number): number;
}

const NODES_MAX = 10_000;
const REGIONS_MAX = 64;
const MATRIX_NODES_MAX = 2_000;
const RTT_MS_MAX = 10_000;
/** Each machine's own way to its region's exchange. */
const ACCESS_MS_MAX = 3;
const GIB = 2 ** 30;

interface Region {
  readonly name: string;
  readonly nodes: number;
  readonly rttMs: number;
  readonly operators: number;
  readonly facts: Partial<HardwareFacts>;
}

/** Six places of the world with round trips between them as they commonly are. */
const WORLD = {
  regions: [
    { name: "frankfurt", nodes: 24 },
    { name: "london", nodes: 18 },
    { name: "virginia", nodes: 22 },
    { name: "oregon", nodes: 14 },
    { name: "singapore", nodes: 14 },
    { name: "sao-paulo", nodes: 8 },
  ],
  links: [
    ["frankfurt", "london", 15],
    ["frankfurt", "virginia", 90],
    ["frankfurt", "oregon", 145],
    ["frankfurt", "singapore", 160],
    ["frankfurt", "sao-paulo", 200],
    ["london", "virginia", 76],
    ["london", "oregon", 135],
    ["london", "singapore", 170],
    ["london", "sao-paulo", 190],
    ["virginia", "oregon", 65],
    ["virginia", "singapore", 220],
    ["virginia", "sao-paulo", 115],
    ["oregon", "singapore", 165],
    ["oregon", "sao-paulo", 180],
    ["singapore", "sao-paulo", 320],
  ].map(([a, b, rttMs]) => ({ between: [a, b], rttMs })),
};

/** Six regions of the world, the nodes spread over them. */
export function worldTopology(nodes: number, seed: number): Topology {
  return readTopology(WORLD, seed, nodes);
}

/** One place without a map: round trips between a fifth of `rttMsMax` and all of it. */
export function randomTopology(nodes: number, rttMsMax: number, seed: number): Topology {
  return {
    ...{ nodes, regions: ["anywhere"], loss: 0.005 },
    members: Array.from({ length: nodes }, (_, index) => {
      return record(index, operatorOf(0, index % 3), `region-${index % 4}`, factsFor(index, {}));
    }),
    regionOf: () => "anywhere",
    factsOf: (index) => factsFor(index, {}),
    rttMsOf: (from, to) => {
      const [low, high] = [Math.min(from, to), Math.max(from, to)];
      const place = Math.imul(low * 131 + high + seed, 0x9e3779b1) >>> 0;
      return rttMsMax * (0.2 + 0.8 * (place / 2 ** 32));
    },
  };
}

/**
 * Reads a topology strictly: regions with links between them, or a matrix of round trips. `nodes` scales the
 * regions to so many nodes in all. docs/guides/simulator.md
 * @throws {CloisterError} `SIM_TOPOLOGY_MALFORMED`, every problem in `details.refusals`
 */
export function readTopology(document: unknown, seed: number, nodes?: number): Topology {
  const problems: string[] = [];
  const fields = recordOf(document);
  if (fields === undefined) throw malformed(["the topology is not an object"]);
  only(fields, ["regions", "links", "rttMs", "loss", "matrix"], "the topology", problems);
  const loss = numberOf(fields, "loss", 0, 0.5, 0.005, "the topology", problems);
  const topology =
    fields["matrix"] === undefined
      ? regional(fields, { seed, nodes, loss }, problems)
      : matrix(fields, { nodes, loss }, problems);
  if (topology === undefined || problems.length > 0) throw malformed(problems);
  return topology;
}

interface Given {
  readonly seed: number;
  readonly nodes: number | undefined;
  readonly loss: number;
}

function regional(fields: Fields, given: Given, problems: string[]): Topology | undefined {
  const list = fields["regions"];
  if (!Array.isArray(list) || list.length === 0 || list.length > REGIONS_MAX) {
    problems.push(`"regions" is a list of 1 to ${REGIONS_MAX}`);
    return undefined;
  }
  const regions = list.map((one, place) => regionOf(one, `regions[${place}]`, problems));
  const names = regions.map(({ name }) => name);
  if (new Set(names).size < names.length) problems.push("two regions have one name");
  const far = numberOf(fields, "rttMs", 0, RTT_MS_MAX, 150, "the topology", problems);
  const between = linksOf(fields["links"] ?? [], names, far, problems);
  if (problems.length > 0) return undefined;
  const counts = scaled(
    regions.map((region) => region.nodes),
    given.nodes,
  );
  const homes = counts.flatMap((count, place) => Array.from({ length: count }, () => place));
  if (homes.length < 1 || homes.length > NODES_MAX) {
    problems.push(`a topology has 1 to ${NODES_MAX} nodes, this one has ${homes.length}`);
    return undefined;
  }
  const random = seedRandom(given.seed ^ 0x7090);
  const accessMs = homes.map((home) => {
    return nextFraction(random) * Math.min(ACCESS_MS_MAX, (regions[home] as Region).rttMs);
  });
  const home = (index: number): Region => regions[homes[index] as number] as Region;
  const first = homes.map((one) => homes.indexOf(one));
  return {
    nodes: homes.length,
    regions: names,
    loss: given.loss,
    members: homes.map((one, index) => {
      const operator = operatorOf(one, (index - (first[index] as number)) % home(index).operators);
      return record(index, operator, home(index).name, factsFor(index, home(index).facts));
    }),
    regionOf: (index) => home(index).name,
    factsOf: (index) => factsFor(index, home(index).facts),
    rttMsOf: (from, to) => {
      const [a, b] = [homes[from] as number, homes[to] as number];
      const baseMs = a === b ? home(from).rttMs / 2 : (between[a]?.[b] ?? far);
      return baseMs + (accessMs[from] as number) + (accessMs[to] as number);
    },
  };
}

function regionOf(value: unknown, place: string, problems: string[]): Region {
  const fields = recordOf(value) ?? {};
  only(fields, ["name", "nodes", "rttMs", "operators", "tee", "cpus", "memoryGiB", "gpus"], place, problems);
  const { name, tee } = fields;
  if (typeof name !== "string" || !/^[a-z0-9-]{1,32}$/.test(name)) {
    problems.push(`${place}.name is not 1 to 32 lower-case letters, digits or dashes`);
  }
  if (tee !== undefined && (typeof tee !== "string" || !/^[a-z0-9-]{1,32}$/.test(tee))) {
    problems.push(`${place}.tee is not the name of a kind of TEE`);
  }
  const whole = (member: string, most: number): number | undefined => {
    if (fields[member] === undefined) return undefined;
    const count = numberOf(fields, member, 0, most, 0, place, problems);
    if (!Number.isInteger(count)) problems.push(`${place}.${member} is not a whole number`);
    return count;
  };
  const nodes = whole("nodes", NODES_MAX);
  if (nodes === undefined || nodes < 1) problems.push(`${place}.nodes is not a whole number above 0`);
  const memoryGiB = whole("memoryGiB", 1_048_576);
  const facts = { tee, cpus: whole("cpus", 65_536), gpus: whole("gpus", 1_024) };
  const memory = memoryGiB === undefined ? {} : { memoryBytes: memoryGiB * GIB };
  const operators = whole("operators", NODES_MAX) ?? Math.max(1, Math.ceil((nodes ?? 1) / 8));
  return {
    name: String(name),
    nodes: nodes ?? 1,
    rttMs: numberOf(fields, "rttMs", 0, RTT_MS_MAX, 4, place, problems),
    operators: Math.max(1, operators),
    facts: { ...dropUndefined(facts), ...memory },
  };
}

function linksOf(value: unknown, names: readonly string[], far: number, problems: string[]): number[][] {
  const between = names.map(() => names.map(() => far));
  if (!Array.isArray(value)) {
    problems.push('"links" is not a list');
    return between;
  }
  for (const [index, one] of value.entries()) {
    const place = `links[${index}]`;
    const fields = recordOf(one) ?? {};
    only(fields, ["between", "rttMs"], place, problems);
    const ends = Array.isArray(fields["between"]) ? fields["between"] : [];
    const [a = -1, b = -1] = ends.map((name) => names.indexOf(name as string));
    const rttMs = numberOf(fields, "rttMs", 0, RTT_MS_MAX, Number.NaN, place, problems);
    if (ends.length !== 2 || a < 0 || b < 0 || a === b) {
      problems.push(`${place}.between does not name two different regions of this topology`);
      continue;
    }
    (between[a] as number[])[b] = rttMs;
    (between[b] as number[])[a] = rttMs;
  }
  return between;
}

function matrix(fields: Fields, given: Omit<Given, "seed">, problems: string[]): Topology | undefined {
  const rows = fields["matrix"];
  const size = Array.isArray(rows) ? rows.length : 0;
  if (!Array.isArray(rows) || size < 1 || size > MATRIX_NODES_MAX) {
    problems.push(`"matrix" is not a list of 1 to ${MATRIX_NODES_MAX} rows`);
    return undefined;
  }
  if (fields["regions"] !== undefined) problems.push('a topology has "regions" or a "matrix", not both');
  if (given.nodes !== undefined && given.nodes > size) {
    problems.push(`the matrix has ${size} nodes, ${given.nodes} are wanted`);
  }
  for (const [index, row] of rows.entries()) {
    if (!Array.isArray(row) || row.length !== size || !row.every(isRtt)) {
      problems.push(`matrix[${index}] is not ${size} round trips in milliseconds, 0 to ${RTT_MS_MAX}`);
      return undefined;
    }
  }
  const table = rows as readonly (readonly number[])[];
  const nodes = given.nodes ?? size;
  return {
    ...{ nodes, regions: ["matrix"], loss: given.loss },
    members: Array.from({ length: nodes }, (_, index) =>
      record(index, operatorOf(0, index % Math.max(1, Math.ceil(nodes / 8))), "matrix", factsFor(index, {})),
    ),
    regionOf: () => "matrix",
    factsOf: (index) => factsFor(index, {}),
    // A matrix that was measured has two values for a pair; the greater is the one to live with.
    rttMsOf: (from, to) => Math.max(table[from]?.[to] ?? 0, table[to]?.[from] ?? 0),
  };
}

function isRtt(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= RTT_MS_MAX;
}

/** So many nodes in all, in the proportions given, none left without any while there are enough. */
function scaled(counts: readonly number[], nodes: number | undefined): number[] {
  if (nodes === undefined) return [...counts];
  const sum = counts.reduce((total, count) => total + count, 0);
  let placed = 0;
  let seen = 0;
  return counts.map((count) => {
    seen += count;
    const until = Math.round((seen * nodes) / sum);
    const here = until - placed;
    placed = until;
    return here;
  });
}

function record(index: number, operator: Address, region: string, facts: HardwareFacts): MemberRecord {
  return { id: nodeIdOf(index), operator, voter: true, region, facts };
}

function operatorOf(region: number, place: number): Address {
  return `0x${(region * 100_000 + place).toString(16).padStart(40, "e")}` as Address;
}

/** A mixed park where nothing else is said: two kinds of TEE, every fourth machine with GPUs. */
function factsFor(index: number, given: Partial<HardwareFacts>): HardwareFacts {
  return {
    tee: index % 3 === 2 ? "sev-snp" : "tdx",
    simulated: true,
    cpus: 8 << (index % 3),
    memoryBytes: 2 ** (34 + (index % 3)),
    gpus: index % 4 === 0 ? 2 : 0,
    ...given,
  };
}

type Fields = Readonly<Record<string, unknown>>;

function recordOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

function only(fields: Fields, names: readonly string[], place: string, problems: string[]): void {
  for (const name of Object.keys(fields)) {
    if (!names.includes(name))
      problems.push(`${place} has a member "${name.slice(0, 40)}" that means nothing`);
  }
}

function numberOf(
  fields: Fields,
  name: string,
  least: number,
  most: number,
  usual: number,
  place: string,
  problems: string[],
): number {
  const value = fields[name] ?? usual;
  if (typeof value === "number" && value >= least && value <= most) return value;
  problems.push(`${place}.${name} is not a number from ${least} to ${most}`);
  return least;
}

function dropUndefined(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function malformed(problems: readonly string[]): CloisterError {
  const [first, ...rest] = problems.map((problem): Refusal => {
    const reason = `${problem.charAt(0).toUpperCase()}${problem.slice(1)}.`;
    return {
      code: "SIM_TOPOLOGY_MALFORMED",
      reason,
      hint: "docs/guides/simulator.md shows every member of a topology.",
    };
  });
  return CloisterError.fromRefusals([first as Refusal, ...rest]);
}
