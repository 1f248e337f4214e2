import type { NodeId } from "@cloister/core";
import { COMMITTEE_MAX, RINGS } from "./bounds.ts";
import { hashText } from "./random.ts";
import type { MemberRecord } from "./types.ts";

/** The admitted members, indexed once per membership of the registry. */
export interface Directory {
  readonly members: readonly MemberRecord[];
  readonly indexOf: ReadonlyMap<NodeId, number>;
  /** Ids of all registered, eligible voters, ascending. */
  readonly voters: readonly NodeId[];
  readonly isVoter: (id: NodeId) => boolean;
  /** Each ring is a pseudo-random order of all members; `places` is its inverse. */
  readonly rings: readonly Int32Array[];
  readonly places: readonly Int32Array[];
}

const directories = new WeakMap<readonly MemberRecord[], Directory>();

/** Indexes a member list. The same array gives the same directory, so that many nodes can share one. */
export function directoryOf(members: readonly MemberRecord[]): Directory {
  let directory = directories.get(members);
  if (directory === undefined) {
    directory = buildDirectory(members);
    directories.set(members, directory);
  }
  return directory;
}

function buildDirectory(members: readonly MemberRecord[]): Directory {
  const indexOf = new Map<NodeId, number>();
  for (const [index, member] of members.entries()) indexOf.set(member.id, index);
  const voters = members.filter((member) => member.voter && member.eligible !== false).map(({ id }) => id);
  const rings = Array.from({ length: RINGS }, (_, ring) => buildRing(members, ring));
  const registered = new Set(voters);
  const isVoter = (id: NodeId): boolean => registered.has(id);
  return { members, indexOf, voters: voters.sort(), isVoter, rings, places: rings.map(invert) };
}

function buildRing(members: readonly MemberRecord[], ring: number): Int32Array {
  const keys = members.map((member) => hashText(member.id, ring + 1));
  const order = Int32Array.from(keys.keys());
  return order.sort((a, b) => (keys[a] as number) - (keys[b] as number) || a - b);
}

function invert(order: Int32Array): Int32Array {
  const places = new Int32Array(order.length);
  for (let place = 0; place < order.length; place++) places[order[place] as number] = place;
  return places;
}

/**
 * The neighbor of `index` on each ring in one direction (1: those it watches, -1: those that watch it),
 * skipping members that `skip` names, without repeats. In a swarm of at most RINGS + 1 it is everyone.
 */
export function ringNeighbors(
  directory: Directory,
  index: number,
  direction: 1 | -1,
  skip: (member: number) => boolean,
): number[] {
  const size = directory.members.length;
  const found = new Set<number>();
  for (let ring = 0; ring < RINGS; ring++) {
    const order = directory.rings[ring] as Int32Array;
    const place = (directory.places[ring] as Int32Array)[index] as number;
    for (let hop = 1; hop < size; hop++) {
      const member = order[(place + direction * hop + size * 2) % size] as number;
      if (member === index || skip(member)) continue;
      if (size > RINGS + 1 || !found.has(member)) {
        found.add(member);
        break;
      }
    }
  }
  return [...found];
}

/** The registered voters in the order that a term draws them in. */
export function drawVoters(directory: Directory, term: number): readonly NodeId[] {
  return directory.voters
    .map((id) => ({ id, key: hashText(id, Math.imul(term + 1, 0x9e3779b1)) }))
    .sort((a, b) => a.key - b.key || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id);
}

/**
 * The voters that watch the leader of a term: all of them, or the first COMMITTEE_MAX that the term
 * draws, without those that are gone. Ascending by id. spec/swarm.md §4.1
 */
export function committeeOf(
  voters: readonly NodeId[],
  drawn: readonly NodeId[],
  isGone: (id: NodeId) => boolean,
): readonly NodeId[] {
  if (voters.length <= COMMITTEE_MAX) return voters;
  const committee: NodeId[] = [];
  for (const id of drawn) {
    if (committee.length === COMMITTEE_MAX) break;
    if (!isGone(id)) committee.push(id);
  }
  return committee.sort();
}

/** More than half. */
export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}
