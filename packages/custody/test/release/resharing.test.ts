import { digestOf, parseAddress } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  buildHeader,
  combinePartials,
  groupRecipient,
  headerDigest,
  makePartial,
  type CeremonyPlan,
  type GroupKey,
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

/** One thing that happens to a group: a member is lost for good, or the shares move to others. */
type Event = { lose: number } | { keep: number; join: number; threshold: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ lose: fc.nat(9) }),
  fc.record({
    keep: fc.integer({ min: 0, max: 3 }),
    join: fc.integer({ min: 0, max: 2 }),
    threshold: fc.integer({ min: 1, max: 3 }),
  }),
);

test("whatever order members are lost and shares move in: t members open, t-1 never", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 4 }), (events) => {
      let now = begin(4, 2);
      const header = buildHeader(
        groupRecipient(now.group.recipient, OWNER).wrap(FILE_KEY, entropy),
        FILE_KEY,
      );
      let joined = 10;
      const lost = new Set<string>();
      for (const each of events) {
        const alive = [...now.nodes.keys()].filter((id) => !lost.has(id));
        if ("lose" in each) {
          if (alive.length > now.group.threshold) lost.add(alive[each.lose % alive.length] as string);
          continue;
        }
        const kept = alive.slice(0, each.keep).map((id) => now.nodes.get(id) as TestNode);
        const members = [...kept, ...Array.from({ length: each.join }, () => createNode(joined++))];
        if (members.length < each.threshold) continue;
        now = reshare(now, alive.slice(0, now.group.threshold), members, each.threshold);
        lost.clear();
      }
      const shares = [...now.nodes.keys()]
        .filter((id) => !lost.has(id))
        .map((id) => now.shares.get(id) as GroupShare);
      const { threshold } = now.group;
      expect(opens(now.group, header, shares.slice(0, threshold))).toBe(true);
      expect(opens(now.group, header, shares.slice(-threshold))).toBe(true);
      expect(opens(now.group, header, shares.slice(0, threshold - 1))).toBe(false);
    }),
    { numRuns: 15 },
  );
}, 60_000);
