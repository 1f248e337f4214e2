import { digestOf, parseAddress } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  buildHeader,
  combinePartials,
  createRing,
  decodeGroupKey,
  decodeGroupShare,
  encodeGroupKey,
  encodeGroupShare,
  groupOf,
  groupRecipient,
  headerDigest,
  makePartial,
  parseRecipient,
  withGroup,
  withoutGroup,
  type CeremonyPlan,
  type GroupKey,
  type GroupRing,
  type GroupShare,
  type Header,
} from "../../src/index.ts";
import { CeremonyRoom, createNode, createNodes, entropy, generateGroup, type TestNode } from "./group.ts";

const OWNER = parseAddress(`0x${"ab".repeat(20)}`);
const FILE_KEY = entropy(16);

function opens(group: GroupKey, header: Header, shares: readonly GroupShare[]): boolean {
  const context = { orderId: "0x01", headerDigest: headerDigest(header) };
  const partials = shares.map((share) => makePartial(group, share, header, context, entropy));
  const verdict = combinePartials(group, header, context, partials);
  return verdict.ok && digestOf(verdict.value.fileKey) === digestOf(FILE_KEY);
}

interface Held {
  readonly group: GroupKey;
  readonly shares: Map<string, GroupShare>;
  readonly nodes: Map<string, TestNode>;
}

function begin(count: number, threshold: number): Held {
  const nodes = createNodes(count);
  const room = generateGroup(nodes, threshold);
  return held(room, nodes);
}

function held(room: CeremonyRoom, members: readonly TestNode[]): Held {
  const group = room.group();
  const shares = room.shares();
  const byIndex = new Map(shares.map((share) => [share.index, share]));
  return {
    group,
    shares: new Map(group.members.map((member) => [member.id, byIndex.get(member.index) as GroupShare])),
    nodes: new Map(members.map((node) => [node.member.id, node])),
  };
}

/** Hands the key from some of the old members to new ones. */
function reshare(
  old: Held,
  dealers: readonly string[],
  members: readonly TestNode[],
  threshold: number,
): Held {
  const plan: CeremonyPlan = {
    name: "reshare",
    epoch: old.group.epoch + 1,
    threshold,
    members: members.map((node) => node.member),
    previous: {
      group: old.group,
      dealers: old.group.members
        .filter((member) => dealers.includes(member.id))
        .map((member) => member.index),
    },
  };
  const dealing = dealers.map((id) => {
    const node = old.nodes.get(id) as TestNode;
    return { ...node, keys: { ...node.keys, previousShare: old.shares.get(id) as GroupShare } };
  });
  const others = members.filter((node) => !dealers.includes(node.member.id));
  const room = new CeremonyRoom(plan, [...dealing, ...others]);
  room.all({ kind: "start" });
  return held(room, members);
}

test("other members and another threshold, and the key stays the same", () => {
  const old = begin(3, 2);
  const header = buildHeader(groupRecipient(old.group.recipient, OWNER).wrap(FILE_KEY, entropy), FILE_KEY);
  const newcomers = [4, 5, 6, 7].map(createNode);
  const next = reshare(old, ["node-1", "node-3"], newcomers, 3);
  expect(next.group.recipient).toBe(old.group.recipient);
  expect(next.group.groupId).toBe(old.group.groupId);
  const shares = [...next.shares.values()];
  expect(opens(next.group, header, shares.slice(0, 3))).toBe(true);
  expect(opens(next.group, header, shares.slice(0, 2))).toBe(false);
});

test("shares of two epochs do not combine", () => {
  const old = begin(3, 2);
  const header = buildHeader(groupRecipient(old.group.recipient, OWNER).wrap(FILE_KEY, entropy), FILE_KEY);
  const next = reshare(old, ["node-1", "node-2"], [...old.nodes.values()], 2);
  const [first] = old.shares.values() as unknown as [GroupShare];
  const [, second] = [...next.shares.values()] as [GroupShare, GroupShare];
  const stale = { ...first, epoch: next.group.epoch };
  expect(opens(next.group, header, [stale, second])).toBe(false);
});

test("a dealer without its share of the previous epoch cannot deal", () => {
  const old = begin(3, 2);
  const stale = [...old.shares].map(([id, share]) => [id, { ...share, epoch: 0 }] as const);
  const members = [...old.nodes.values()];
  expect(() => reshare({ ...old, shares: new Map(stale) }, ["node-1", "node-2"], members, 2)).toThrow(
    expect.objectContaining({ code: "CEREMONY_SHARE_LACKING" }),
  );
});

test("a dealer that shares something else than its share gets nobody a key", () => {
  const old = begin(3, 2);
  const [thief] = old.shares.values() as unknown as [GroupShare];
  const shares = new Map(old.shares).set("node-1", {
    ...thief,
    secret: Uint8Array.of(5, ...new Uint8Array(31)),
  });
  const members = [...old.nodes.values()];
  expect(() => reshare({ ...old, shares }, ["node-1", "node-2"], members, 2)).toThrow(
    "no participant is done",
  );
});

/** One thing that happens to a group: a member is lost for good, all restart, shares move, or a new key is made. */
type Event =
  | { readonly lose: number }
  | { readonly restart: true }
  | { readonly rotate: true }
  | { readonly keep: number; readonly join: number; readonly threshold: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ lose: fc.nat(9) }),
  fc.constant({ restart: true as const }),
  fc.constant({ rotate: true as const }),
  fc.record({
    keep: fc.integer({ min: 0, max: 3 }),
    join: fc.integer({ min: 0, max: 2 }),
    threshold: fc.integer({ min: 1, max: 3 }),
  }),
);

/** A group over time: one `Held` for each key, all of the same members. */
class Life {
  keys: { held: Held; header: Header }[] = [];
  ring: GroupRing;
  readonly lost = new Set<string>();
  #joined = 10;

  constructor(first: Held) {
    this.ring = createRing(first.group);
    this.#add(first);
  }

  alive(): TestNode[] {
    return [...(this.keys.at(-1)?.held.nodes.values() ?? [])].filter(
      (node) => !this.lost.has(node.member.id),
    );
  }

  happens(each: Event): void {
    const alive = this.alive();
    const threshold = Math.max(...this.keys.map(({ held: key }) => key.group.threshold));
    if ("lose" in each) {
      if (alive.length > threshold) this.lost.add(alive[each.lose % alive.length]?.member.id as string);
    } else if ("restart" in each) {
      this.keys = this.keys.map(({ held: key, header }) => ({ held: stored(key), header }));
    } else if ("rotate" in each) {
      // A new key is made by members that are all there.
      if (this.lost.size > 0) return;
      const made = held(generateGroup(alive, Math.min(2, alive.length)), alive);
      this.ring = withGroup(this.ring, made.group);
      this.#add(made);
    } else {
      this.#move(alive, each);
    }
  }

  #move(
    alive: readonly TestNode[],
    { keep, join, threshold }: { keep: number; join: number; threshold: number },
  ): void {
    const members = [
      ...alive.slice(0, keep),
      ...Array.from({ length: join }, () => createNode(this.#joined++)),
    ];
    if (members.length < threshold) return;
    this.keys = this.keys.map(({ held: key, header }) => {
      const dealers = alive.slice(0, key.group.threshold).map((node) => node.member.id);
      const moved = reshare(key, dealers, members, threshold);
      this.ring = withGroup(this.ring, moved.group);
      return { held: moved, header };
    });
    this.lost.clear();
  }

  #add(key: Held): void {
    const header = buildHeader(groupRecipient(key.group.recipient, OWNER).wrap(FILE_KEY, entropy), FILE_KEY);
    this.keys.push({ held: key, header });
  }
}

/** What is left of a member's secrets after a restart: what was sealed to disk. */
function stored(key: Held): Held {
  const shares = [...key.shares].map(
    ([id, share]) => [id, decodeGroupShare(encodeGroupShare(share))] as const,
  );
  return { ...key, group: decodeGroupKey(encodeGroupKey(key.group)), shares: new Map(shares) };
}

test("whatever order of loss, restart, resharing and rotation: t members open, t-1 never", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 5 }), (events) => {
      const life = new Life(begin(4, 2));
      for (const each of events) life.happens(each);
      for (const { held: key, header } of life.keys) {
        const found = groupOf(life.ring, header);
        expect(found).toMatchObject({
          ok: true,
          value: { groupId: key.group.groupId, epoch: key.group.epoch },
        });
        const shares = life.alive().map((node) => key.shares.get(node.member.id) as GroupShare);
        const { threshold } = key.group;
        expect(opens(key.group, header, shares.slice(0, threshold))).toBe(true);
        expect(opens(key.group, header, shares.slice(-threshold))).toBe(true);
        expect(opens(key.group, header, shares.slice(0, threshold - 1))).toBe(false);
      }
    }),
    { numRuns: 8 },
  );
}, 120_000);

test("a ring refuses what would take it back, and what is of no key of its", () => {
  const [first, second] = [begin(3, 2), begin(3, 2)];
  const ring = withGroup(createRing(first.group), second.group);
  expect([ring.current.groupId, ring.retired[0]?.groupId]).toEqual([
    second.group.groupId,
    first.group.groupId,
  ]);
  expect(() => withGroup(ring, first.group)).toThrow(expect.objectContaining({ code: "RELEASE_EPOCH_OLD" }));
  const header = buildHeader(groupRecipient(first.group.recipient, OWNER).wrap(FILE_KEY, entropy), FILE_KEY);
  expect(groupOf(ring, header)).toMatchObject({ ok: true, value: { groupId: first.group.groupId } });
  const dropped = withoutGroup(ring, first.group.groupId);
  expect(groupOf(dropped, header)).toMatchObject({ ok: false, refusals: [{ code: "RELEASE_KEY_UNKNOWN" }] });
  const bare = buildHeader(parseRecipient(first.group.recipient).wrap(FILE_KEY, entropy), FILE_KEY);
  expect(groupOf(ring, bare)).toMatchObject({ ok: false, refusals: [{ code: "RELEASE_OWNER_NOT_BOUND" }] });
});
