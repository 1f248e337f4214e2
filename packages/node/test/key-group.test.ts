import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCanonical, digestBytes, digestOf, encodeCanonical, type Cbor } from "@cloister/core";
import { ceremonyId, decodePlan, groupDigest, type Header } from "@cloister/custody";
import { KeyGroupRecord, type Held } from "../src/key-group-record.ts";
import type { KeyGroup } from "../src/key-group.ts";
import { MessageFields } from "../src/message.ts";
import { KeyRoom, opens, sealedTo, type Machine } from "./key-room.ts";

const FIRST = [0, 1, 2];
const SECOND = [0, 1, 3];

async function roomOf(count: number): Promise<KeyRoom> {
  const room = new KeyRoom();
  await room.add(count);
  await room.pass(room.roster(1, FIRST), 5_000);
  return room;
}

describe("a key that lives among changing members", () => {
  test("is made once by all of the first, and two of three open", async () => {
    const room = await roomOf(3);
    const group = room.group(FIRST);
    const header = sealedTo(group);
    expect(opens(group, header, [room.share(0), room.share(2)])).toBe(true);
    expect(opens(group, header, [room.share(1)])).toBe(false);
    await room.pass(room.roster(1, FIRST), 60_000, 5_000);
    expect(room.group(FIRST)).toEqual(group);
  });

  test("is handed on to a newcomer when a member is lost; the lost one's share is worth nothing", async () => {
    const room = await roomOf(4);
    const before = room.group(FIRST);
    const header = sealedTo(before);
    const lost = room.share(2);
    room.kill(room.get(2));
    await room.pass(room.roster(2, SECOND), 10_000);
    const after = room.group(SECOND);
    expect(after).toMatchObject({ groupId: before.groupId, recipient: before.recipient });
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(opens(after, header, [room.share(0), room.share(3)])).toBe(true);
    expect(opens(after, header, [room.share(1), room.share(3)])).toBe(true);
    expect(opens(after, header, [{ ...lost, epoch: after.epoch }, room.share(3)])).toBe(false);
    await room.start(room.get(2));
    await room.pass(room.roster(2, SECOND), 10_000);
    expect(room.get(2).keyGroup?.held).toBeUndefined();
  });

  test("is handed on to members of whom none held it before", async () => {
    const room = await roomOf(6);
    const before = room.group(FIRST);
    const header = sealedTo(before);
    await room.pass(room.roster(2, [3, 4, 5]), 20_000);
    const after = room.group([3, 4, 5]);
    expect(after.groupId).toBe(before.groupId);
    expect(opens(after, header, [room.share(3), room.share(5)])).toBe(true);
    expect(room.groups(FIRST)).toEqual([undefined, undefined, undefined]);
  });

  test("survives that all restart at once", async () => {
    const room = await roomOf(3);
    const group = room.group(FIRST);
    for (const machine of room.machines) await room.start(machine);
    expect(room.group(FIRST)).toEqual(group);
  });
});

describe("trouble", () => {
  test("with too few of the old members nothing is handed on, and no other key is made", async () => {
    const room = await roomOf(5);
    room.kill(room.get(1));
    room.kill(room.get(2));
    await room.pass(room.roster(2, [0, 3, 4]), 200_000, 4_000);
    expect(room.groups([3, 4])).toEqual([undefined, undefined]);
    expect(room.group([0]).epoch).toBe(1);
  });

  test("an old member that can be reached and stays silent is left out of the next attempt", async () => {
    const room = await roomOf(4);
    const before = room.group(FIRST);
    const silent = room.get(2);
    room.interfere = (from, _to, body) => (from === silent ? undefined : body);
    await room.pass(room.roster(2, SECOND), 60_000);
    expect(room.group(SECOND).groupId).toBe(before.groupId);
  });

  test("a member that gives others a wrong share is proven to, and the key is made without it", async () => {
    const room = new KeyRoom();
    await room.add(4);
    const liar = room.get(3);
    room.interfere = (from, to, body) => (from === liar ? dealWrongly(liar, to, body) : body);
    await room.pass(room.roster(1, [0, 1, 2, 3]), 20_000);
    const group = room.group(FIRST);
    expect(group.members.map(({ id }) => id)).not.toContain(liar.cvm.keys.settlement);
    expect(
      opens(
        group,
        sealedTo(group),
        FIRST.map((i) => room.share(i)),
      ),
    ).toBe(true);
    expect(
      opens(
        group,
        sealedTo(group),
        FIRST.slice(1).map((i) => room.share(i)),
      ),
    ).toBe(false);
  });

  test("a plan with other members than the chain's, or another key than the one held, is not followed", async () => {
    const room = await roomOf(4);
    const before = room.group(FIRST);
    const stranger = new KeyRoom();
    await stranger.add(3);
    await stranger.pass(stranger.roster(1, FIRST), 5_000);
    room.interfere = (from, _to, body) =>
      from === room.get(3) && body["kind"] === "held" ? undefined : body;
    await room.pass(room.roster(2, SECOND), 2_000);
    expect(room.group([0, 1]).groupId).toBe(before.groupId);
    expect(room.group([0, 1]).groupId).not.toBe(stranger.group(FIRST).groupId);
  });

  test("malformed messages change nothing, and each is refused at once", async () => {
    const room = await roomOf(4);
    const before = room.group(FIRST);
    room.interfere = (_from, _to, body) => ({ ...body, plan: new Uint8Array(7), group: new Uint8Array(3) });
    await room.pass(room.roster(2, [0, 1, 3]), 5_000);
    expect(room.group(FIRST)).toEqual(before);
    expect(room.get(3).keyGroup?.held).toBeUndefined();
    expect(new Set(room.refused.map(({ from }) => from)).size).toBeGreaterThan(1);
  });

  test.each([
    [{}, "REQUEST_MALFORMED"],
    [{ kind: "gift" }, "REQUEST_MALFORMED"],
    [{ kind: "empty", epoch: -1 }, "REQUEST_MALFORMED"],
    [{ kind: "held", group: new Uint8Array(3), committed: true }, undefined],
    [
      { kind: "ceremony", rosterEpoch: 1, attempt: 0, plan: new Uint8Array(7), bytes: new Uint8Array(1) },
      undefined,
    ],
    [
      { kind: "ceremony", rosterEpoch: 1, plan: new Uint8Array(7), bytes: new Uint8Array(1) },
      "REQUEST_MALFORMED",
    ],
  ])(
    "a message that is none is refused at once, for whoever carries it to hold against its sender: %j",
    async (body, code) => {
      const room = await roomOf(3);
      const key = room.get(0).keyGroup as KeyGroup;
      const send = (): void => {
        key.received(room.get(1).cvm.keys.settlement, new MessageFields(body), room.nowMs);
      };
      expect(send).toThrow(code === undefined ? undefined : expect.objectContaining({ code }));
    },
  );

  test("a flood of one sender is refused beyond what may wait, and nobody else's messages are", async () => {
    const room = await roomOf(3);
    const key = room.get(0).keyGroup as KeyGroup;
    const empty = new MessageFields({ kind: "empty", epoch: 1 });
    const [flooder, honest] = [room.get(1).cvm.keys.settlement, room.get(2).cvm.keys.settlement];
    const flood = (): void => {
      for (let sent = 0; sent < 1_000; sent++) key.received(flooder, empty, room.nowMs);
    };
    expect(flood).toThrow(expect.objectContaining({ code: "PEER_BUSY" }));
    expect(() => key.received(honest, empty, room.nowMs)).not.toThrow();
    await room.pass(room.roster(1, FIRST), 1_000);
    expect(() => key.received(flooder, empty, room.nowMs)).not.toThrow();
  });
});

/** Signs, in the liar's name, a deal whose shares are of another polynomial than its commitments. */
function dealWrongly(liar: Machine, _to: Machine, body: Readonly<Record<string, Cbor>>): Cbor {
  if (body["kind"] !== "ceremony") return body;
  const [kind, sender, deal] = decodeCanonical(body["bytes"] as Uint8Array) as [string, string, Uint8Array];
  if (kind !== "deal" || sender !== liar.cvm.keys.settlement) return body;
  const document = decodeCanonical(deal) as Record<string, Cbor>;
  return { ...body, bytes: resign(liar, body["plan"] as Uint8Array, kind, wrongShares(document)) };
}

function wrongShares(document: Record<string, Cbor>): Uint8Array {
  const shares = (document["shares"] as Uint8Array[]).map((share) =>
    share.map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
  );
  return encodeCanonical({ ...document, shares });
}

function resign(liar: Machine, plan: Uint8Array, kind: string, body: Uint8Array): Uint8Array {
  const digests = [ceremonyId(decodePlan(plan)), digestOf(body)].map((digest) => digestBytes(digest));
  const signature = liar.cvm.sign(encodeCanonical(["cloister/ceremony/v1", kind, ...digests]));
  return encodeCanonical([kind, liar.cvm.keys.settlement, body, signature]);
}

describe("a crash at any write of any member", () => {
  const crash = fc.record({
    machine: fc.constantFrom(0, 1, 3),
    write: fc.nat(12),
    durable: fc.boolean(),
  });

  test("of two, just before their new shares are on disk, wipes no old share of the third", async () => {
    const room = await roomOf(4);
    const before = room.group(FIRST);
    const header = sealedTo(before);
    room.kill(room.get(2));
    const hasCandidate = (record: Uint8Array): boolean =>
      "candidate" in (decodeCanonical(record) as Record<string, Cbor>);
    for (const i of [1, 3]) room.get(i).disk.crashBefore = hasCandidate;
    await room.pass(room.roster(2, SECOND), 4_000);
    expect([1, 3].map((i) => room.get(i).keyGroup)).toEqual([undefined, undefined]);
    expect(room.get(0).keyGroup?.held?.group.epoch).toBe(before.epoch);
    expect(await someEpochOpens(room, header)).toBe(true);
    for (const i of [1, 3]) await room.start(room.get(i));
    await room.pass(room.roster(2, SECOND), 40_000, 1_000);
    const after = room.group(SECOND);
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(opens(after, header, [room.share(1), room.share(3)])).toBe(true);
  }, 30_000);

  test("leaves a group that opens, then and after the restart", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(crash, { minLength: 1, maxLength: 3 }), async (crashes) => {
        const room = await roomOf(4);
        const before = room.group(FIRST);
        const header = sealedTo(before);
        room.kill(room.get(2));
        for (const { machine, write, durable } of crashes) {
          const { disk } = room.get(machine);
          disk.crashAt = { write: disk.writes + write, durable };
        }
        await room.pass(room.roster(2, SECOND), 4_000);
        expect(await someEpochOpens(room, header)).toBe(true);
        for (const i of SECOND) await room.start(room.get(i));
        await room.pass(room.roster(2, SECOND), 40_000, 1_000);
        const after = room.group(SECOND);
        expect(after.groupId).toBe(before.groupId);
        expect(opens(after, header, [room.share(0), room.share(3)])).toBe(true);
        expect(opens(after, header, [room.share(3)])).toBe(false);
      }),
      { numRuns: 5 },
    );
  }, 60_000);
});

/** Whether the disks of the members that are left hold enough shares of one epoch. */
async function someEpochOpens(room: KeyRoom, header: Header): Promise<boolean> {
  const byEpoch = new Map<string, Held[]>();
  for (const i of SECOND) {
    const { committed, candidate } = await new KeyGroupRecord(room.get(i).disk, "test").read();
    for (const held of [committed, candidate]) {
      if (held === undefined) continue;
      const digest = groupDigest(held.group);
      byEpoch.set(digest, [...(byEpoch.get(digest) ?? []), held]);
    }
  }
  return [...byEpoch.values()].some(([first, ...rest]) => {
    const shares = [first, ...rest].map((held) => (held as Held).share);
    return first !== undefined && opens(first.group, header, shares);
  });
}
