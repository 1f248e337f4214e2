import { decodeCanonical, digestOf, encodeCanonical, parseAddress } from "@cloister/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { digestBytes } from "@cloister/core";
import {
  buildHeader,
  ceremonyId,
  checkPlan,
  combinePartials,
  createCeremony,
  decodeGroupKey,
  decodeGroupShare,
  decodePlan,
  encodeCeremony,
  encodeGroupKey,
  encodeGroupShare,
  encodePlan,
  groupRecipient,
  headerDigest,
  makePartial,
  planWithout,
  restoreCeremony,
  shareOf,
  stepCeremony,
  type Ceremony,
  type CeremonyPlan,
  type Fault,
  type GroupKey,
  type GroupShare,
  type Header,
} from "../../src/index.ts";
import {
  CeremonyRoom,
  createNode,
  createNodes,
  entropy,
  generateGroup,
  planFor,
  type Interference,
  type TestNode,
} from "./group.ts";

const OWNER = parseAddress(`0x${"ab".repeat(20)}`);
const FILE_KEY = entropy(16);

function headerFor(group: GroupKey): Header {
  return buildHeader(groupRecipient(group.recipient, OWNER).wrap(FILE_KEY, entropy), FILE_KEY);
}

/** Whether these shares together open what is sealed to the group. */
function opens(group: GroupKey, header: Header, shares: readonly GroupShare[]): boolean {
  const context = { orderId: "0x01", headerDigest: headerDigest(header) };
  const verdict = combinePartials(
    group,
    header,
    context,
    shares.map((share) => makePartial(group, share, header, context, entropy)),
  );
  return verdict.ok && digestOf(verdict.value.fileKey) === digestOf(FILE_KEY);
}

function faultsOf(room: CeremonyRoom, id: string): Pick<Fault, "participant" | "code" | "proven">[] {
  const { outcome } = room.states.get(id) as Ceremony;
  if (outcome.kind !== "failed") throw new Error(`${id} is ${outcome.kind}`);
  return outcome.faults.map(({ participant, code, proven }) => ({ participant, code, proven }));
}

/** Whether a message on the wire is this node's own, and no relay. */
function isOwn(kind: string, from: string, bytes: Uint8Array): boolean {
  const [of, sender] = decodeCanonical(bytes) as unknown[];
  return of === kind && sender === from;
}

function isDeal(bytes: Uint8Array): boolean {
  return (decodeCanonical(bytes) as unknown[])[0] === "deal";
}

/** Signs another body in the name of a node. */
function forge(node: TestNode, plan: CeremonyPlan, kind: string, body: unknown): Uint8Array {
  const bytes = encodeCanonical(body);
  const digests = [ceremonyId(plan), digestOf(bytes)].map((digest) => digestBytes(digest));
  const signature = node.keys.sign(encodeCanonical(["cloister/ceremony/v1", kind, ...digests]));
  return encodeCanonical([kind, node.member.id, bytes, signature]);
}

/** Changes the body of the deal that a node makes, and signs it anew; the node relays nothing. */
function changeDeal(
  node: TestNode,
  plan: CeremonyPlan,
  change: (body: Record<string, unknown>) => void,
): Interference {
  let changed: Uint8Array | undefined;
  return (from, _to, bytes) => {
    if (from !== node.member.id) return bytes;
    if (!isOwn("deal", from, bytes)) return isDeal(bytes) ? undefined : bytes;
    const [, , encoded] = decodeCanonical(bytes) as [string, string, Uint8Array];
    const body = { ...(decodeCanonical(encoded) as Record<string, unknown>) };
    change(body);
    changed ??= forge(node, plan, "deal", body);
    return changed;
  };
}

describe("generation", () => {
  test.each([
    [1, 1],
    [2, 3],
    [3, 5],
    [5, 5],
  ])("%i of %i: all hold the same key; t open, t-1 never", (threshold, count) => {
    const room = generateGroup(createNodes(count), threshold);
    const group = room.group();
    for (const { outcome } of room.states.values()) expect(outcome).toEqual({ kind: "done", group });
    const header = headerFor(group);
    const shares = room.shares();
    expect(opens(group, header, shares.slice(0, threshold))).toBe(true);
    expect(opens(group, header, shares.slice(-threshold))).toBe(true);
    if (threshold > 1) expect(opens(group, header, shares.slice(1, threshold))).toBe(false);
  });

  test("two ceremonies of the same members give different keys", () => {
    const nodes = createNodes(3);
    expect(generateGroup(nodes, 2).group().recipient).not.toBe(generateGroup(nodes, 2).group().recipient);
  });

  test("messages may come in any order, twice, and late", () => {
    const nodes = createNodes(3);
    const plan = planFor(nodes, 2);
    const queue: { to: string; bytes: Uint8Array }[] = [];
    const room = new CeremonyRoom(plan, nodes, (_from, to, bytes) => {
      queue.push({ to, bytes }, { to, bytes });
      return undefined;
    });
    room.all({ kind: "start" });
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat()), (picks) => {
        for (const pick of picks) {
          const [next] = queue.splice(pick % Math.max(1, queue.length), 1);
          if (next === undefined) break;
          room.step(next.to, { kind: "message", bytes: next.bytes });
        }
      }),
      { numRuns: 1 },
    );
    const group = room.group();
    expect(opens(group, headerFor(group), room.shares().slice(1))).toBe(true);
  });

  test("a participant that was away learns all from any other", () => {
    const nodes = createNodes(3);
    const away = "node-3";
    let isAway = false;
    const room = new CeremonyRoom(planFor(nodes, 2), nodes, (from, to, bytes) =>
      isAway && (from === away || to === away) ? undefined : bytes,
    );
    room.step(away, { kind: "start" });
    room.step("node-2", { kind: "start" });
    isAway = true;
    room.step("node-1", { kind: "start" });
    expect(room.states.get(away)?.outcome.kind).toBe("open");
    isAway = false;
    room.step("node-1", { kind: "resend" });
    for (const { outcome } of room.states.values()) expect(outcome.kind).toBe("done");
  });

  test("goes on after a crash at any message, from what was persisted", () => {
    const nodes = createNodes(3);
    const plan = planFor(nodes, 2);
    const room = new CeremonyRoom(plan, nodes, (_from, to, bytes) => {
      const record = encodeCeremony(room.states.get(to) as Ceremony);
      room.states.set(to, restoreCeremony(plan, record));
      return bytes;
    });
    room.all({ kind: "start" });
    const group = room.group();
    const restored = restoreCeremony(plan, encodeCeremony(room.states.get("node-1") as Ceremony));
    expect(restored.outcome).toEqual({ kind: "done", group });
    expect(opens(group, headerFor(group), room.shares().slice(0, 2))).toBe(true);
  });

  test("a restart does not deal twice", () => {
    const [node] = createNodes(1) as [TestNode];
    const others = createNodes(3).slice(1);
    const plan = planFor([node, ...others], 2);
    const first = stepCeremony(createCeremony(plan, "node-1"), { kind: "start" }, node.keys, entropy);
    expect(first.effects.map((effect) => effect.kind)).toEqual(["persist", "broadcast"]);
    const again = stepCeremony(
      restoreCeremony(plan, encodeCeremony(first.state)),
      { kind: "start" },
      node.keys,
      entropy,
    );
    expect(again.effects).toEqual([]);
    expect(again.state.messages).toEqual(first.state.messages);
  });
});

describe("a participant that misbehaves is named and excluded", () => {
  const nodes = createNodes(4);
  const plan = planFor(nodes, 2);
  const [, , , bad] = nodes as [TestNode, TestNode, TestNode, TestNode];
  const honest = ["node-1", "node-2", "node-3"];

  function expectExcluded(
    room: CeremonyRoom,
    expected: Pick<Fault, "participant" | "code" | "proven">,
  ): void {
    const ids = honest.filter((id) => room.states.get(id)?.outcome.kind === "failed");
    expect(ids.length).toBeGreaterThan(0);
    for (const id of ids) expect(faultsOf(room, id)).toContainEqual(expected);
    const { outcome } = room.states.get(ids[0] as string) as Ceremony;
    const next = planWithout(plan, outcome.kind === "failed" ? outcome.faults : [], "second");
    if (!next.ok) throw new Error(next.refusals[0].reason);
    expect(next.value.members.map((member) => member.id)).toEqual(honest);
    const second = new CeremonyRoom(next.value, nodes.slice(0, 3));
    second.all({ kind: "start" });
    expect(second.group().members).toHaveLength(3);
  }

  test("a wrong share for one member", () => {
    const room = new CeremonyRoom(
      plan,
      nodes,
      changeDeal(bad, plan, (body) => {
        const shares = [...(body["shares"] as Uint8Array[])];
        shares[1] = entropy(48);
        body["shares"] = shares;
      }),
    );
    room.all({ kind: "start" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_SHARE_WRONG", proven: true });
  });

  test("shares of two members swapped", () => {
    const room = new CeremonyRoom(
      plan,
      nodes,
      changeDeal(bad, plan, (body) => {
        const [a, b, ...rest] = body["shares"] as Uint8Array[];
        body["shares"] = [b, a, ...rest];
      }),
    );
    room.all({ kind: "start" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_SHARE_WRONG", proven: true });
  });

  test.each<[string, (body: Record<string, unknown>) => void]>([
    ["too few commitments", (body) => (body["commitments"] = (body["commitments"] as unknown[]).slice(1))],
    [
      "a commitment that is no point",
      (body) => (body["commitments"] = [new Uint8Array(32).fill(255), new Uint8Array(32)]),
    ],
    [
      "a commitment of small order",
      (body) => (body["commitments"] = [encodeIdentity(), ...(body["commitments"] as unknown[]).slice(1)]),
    ],
    [
      "another's commitment (a rogue key)",
      (body) => (body["commitments"] = (body["commitments"] as unknown[]).toReversed()),
    ],
    ["no proof", (body) => delete body["proof"]],
    ["another's ephemeral point", (body) => (body["ephemeral"] = (body["commitments"] as unknown[])[0])],
    ["too few shares", (body) => (body["shares"] = [])],
  ])("a malformed deal: %s", (_, change) => {
    const room = new CeremonyRoom(plan, nodes, changeDeal(bad, plan, change));
    room.all({ kind: "start" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_DEAL_INVALID", proven: true });
  });

  test("a deal that is not even a document", () => {
    const room = new CeremonyRoom(plan, nodes, (from, _to, bytes) =>
      isOwn("deal", from, bytes) && from === bad.member.id ? forge(bad, plan, "deal", "nonsense") : bytes,
    );
    room.all({ kind: "start" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_DEAL_INVALID", proven: true });
  });

  test("different deals to different members", () => {
    const second = stepCeremony(createCeremony(plan, bad.member.id), { kind: "start" }, bad.keys, entropy);
    const otherDeal = second.effects.find((effect) => effect.kind === "broadcast")?.bytes as Uint8Array;
    const room = new CeremonyRoom(plan, nodes, (from, to, bytes) =>
      from === bad.member.id && to === "node-2" && isOwn("deal", from, bytes) ? otherDeal : bytes,
    );
    room.all({ kind: "start" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_EQUIVOCATED", proven: true });
  });

  test("two deals to the same member", () => {
    const room = new CeremonyRoom(plan, nodes);
    const two = [1, 2].map(() =>
      stepCeremony(createCeremony(plan, bad.member.id), { kind: "start" }, bad.keys, entropy),
    );
    for (const { effects } of two) {
      const deal = effects.find((effect) => effect.kind === "broadcast")?.bytes as Uint8Array;
      for (const id of honest) room.step(id, { kind: "message", bytes: deal });
    }
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_EQUIVOCATED", proven: true });
  });

  test("a complaint about a right share", () => {
    const room = new CeremonyRoom(plan, nodes, (from, _to, bytes) => {
      if (from !== bad.member.id || !isOwn("ballot", from, bytes)) return bytes;
      const [, , encoded] = decodeCanonical(bytes) as [string, string, Uint8Array];
      const ballot = decodeCanonical(encoded) as Record<string, unknown>;
      const complaints = [{ dealer: "node-1", point: bad.member.wrapKey, proof: entropy(64) }];
      return forge(bad, plan, "ballot", { ...ballot, complaints });
    });
    room.all({ kind: "start" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_COMPLAINT_FALSE", proven: true });
  });

  test("a ballot that forges another's deal", () => {
    const room = new CeremonyRoom(plan, nodes, (from, _to, bytes) => {
      if (from !== bad.member.id || !isOwn("ballot", from, bytes)) return bytes;
      const [, , encoded] = decodeCanonical(bytes) as [string, string, Uint8Array];
      const ballot = decodeCanonical(encoded) as { deals: { dealer: string }[] };
      const deals = ballot.deals.map((seen) =>
        seen.dealer === "node-1" ? { ...seen, digest: digestOf(entropy(8)) } : seen,
      );
      return forge(bad, plan, "ballot", { ...ballot, deals });
    });
    room.all({ kind: "start" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_BALLOT_INVALID", proven: true });
  });

  test("silence from the start", () => {
    const room = new CeremonyRoom(plan, nodes, (from, _to, bytes) =>
      from === bad.member.id ? undefined : bytes,
    );
    room.all({ kind: "start" });
    for (const id of honest) expect(room.states.get(id)?.outcome.kind).toBe("open");
    room.all({ kind: "timeout" });
    room.all({ kind: "timeout" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_DEAL_MISSING", proven: false });
  });

  test("silence after the deal", () => {
    const room = new CeremonyRoom(plan, nodes, (from, _to, bytes) =>
      from === bad.member.id && !isDeal(bytes) ? undefined : bytes,
    );
    room.all({ kind: "start" });
    room.all({ kind: "timeout" });
    expectExcluded(room, { participant: bad.member.id, code: "CEREMONY_BALLOT_MISSING", proven: false });
  });

  test("an honest minority is not blamed for a wrong share it complained of", () => {
    const room = new CeremonyRoom(
      plan,
      nodes,
      changeDeal(bad, plan, (body) => {
        body["shares"] = (body["shares"] as Uint8Array[]).map(() => entropy(48));
      }),
    );
    room.all({ kind: "start" });
    for (const id of honest)
      expect(new Set(faultsOf(room, id).map((fault) => fault.participant))).toEqual(new Set([bad.member.id]));
  });
});

describe("what does not belong to the ceremony is rejected without effect", () => {
  const nodes = createNodes(3);
  const plan = planFor(nodes, 2);
  const outsider = createNode(9);
  const elsewhere = new CeremonyRoom({ ...plan, name: "another" }, nodes);
  elsewhere.all({ kind: "start" });

  test.each<[string, Uint8Array]>([
    ["noise", entropy(100)],
    ["nothing", new Uint8Array(0)],
    ["a flood", new Uint8Array(200_000)],
    [
      "a message of another ceremony",
      [...(elsewhere.states.get("node-1") as Ceremony).messages.values()][0] as Uint8Array,
    ],
    ["an outsider's deal", forge(outsider, plan, "deal", {})],
    [
      "a deal in another's name",
      forge({ ...outsider, member: { ...outsider.member, id: "node-2" } }, plan, "deal", {}),
    ],
    ["an unknown kind", forge(nodes[1] as TestNode, plan, "gossip", {})],
  ])("%s", (_, bytes) => {
    const state = createCeremony(plan, "node-1");
    const step = stepCeremony(state, { kind: "message", bytes }, (nodes[0] as TestNode).keys, entropy);
    expect(step.state).toBe(state);
    expect(step.effects.map((effect) => effect.kind)).toEqual(["reject"]);
  });

  test("no bytes make it throw", () => {
    const state = createCeremony(plan, "node-1");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const { effects } = stepCeremony(
          state,
          { kind: "message", bytes },
          (nodes[0] as TestNode).keys,
          entropy,
        );
        expect(effects.map((effect) => effect.kind)).toEqual(["reject"]);
      }),
    );
  });
});

describe("plans", () => {
  const nodes = createNodes(3);
  const plan = planFor(nodes, 2);
  const group = generateGroup(nodes, 2).group();

  test.each<[string, string, CeremonyPlan]>([
    ["CEREMONY_THRESHOLD_INVALID", "threshold above the members", { ...plan, threshold: 4 }],
    ["CEREMONY_THRESHOLD_INVALID", "threshold of none", { ...plan, threshold: 0 }],
    [
      "CEREMONY_MEMBERS_INVALID",
      "a member twice",
      { ...plan, members: [...plan.members, plan.members[0] as never] },
    ],
    [
      "CEREMONY_KEY_INVALID",
      "a key of small order",
      { ...plan, members: plan.members.map((member) => ({ ...member, wrapKey: new Uint8Array(32) })) },
    ],
    ["CEREMONY_DEALERS_TOO_FEW", "too few dealers", { ...plan, epoch: 2, previous: { group, dealers: [1] } }],
    [
      "CEREMONY_DEALERS_INVALID",
      "an unknown dealer",
      { ...plan, epoch: 2, previous: { group, dealers: [1, 7] } },
    ],
    ["CEREMONY_EPOCH_OLD", "the same epoch", { ...plan, epoch: 1, previous: { group, dealers: [1, 2] } }],
  ])("%s: %s", (code, _, bad) => {
    const verdict = checkPlan(bad);
    expect(verdict.ok ? [] : verdict.refusals.map((refusal) => refusal.code)).toContain(code);
    expect(() => createCeremony(bad, "node-1")).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^CEREMONY_/) }),
    );
  });

  test("too few participants are left to go on", () => {
    const faults = ["node-1", "node-2"].map((participant) => ({
      participant,
      code: "CEREMONY_BALLOT_MISSING" as const,
      reason: "",
      proven: false,
    }));
    expect(planWithout(plan, faults, "next")).toMatchObject({
      ok: false,
      refusals: [{ code: "CEREMONY_TOO_FEW_LEFT" }],
    });
  });

  test("a plan reads back, and what is none is refused", () => {
    const nodes = createNodes(4);
    const group = generateGroup(nodes, 2).group();
    const plan: CeremonyPlan = {
      ...{ name: "next", epoch: 2, threshold: 2, members: nodes.slice(1).map(({ member }) => member) },
      previous: { group, dealers: [1, 2] },
    };
    expect(decodePlan(encodePlan(plan))).toEqual(plan);
    expect(decodePlan(encodePlan(planFor(nodes, 3)))).toEqual(planFor(nodes, 3));
    const whole = decodeCanonical(encodePlan(plan)) as Record<string, unknown>;
    const wrongs = [
      { ...whole, name: "n".repeat(257) },
      { ...whole, epoch: "2" },
      { ...whole, members: 4 },
      { ...whole, members: [{ id: "a" }] },
      { ...whole, previous: { group: new Uint8Array(9), dealers: [1] } },
      { ...whole, previous: { group: encodeGroupKey(group), dealers: ["1"] } },
    ].map(encodeCanonical);
    const malformed = expect.objectContaining({ code: "CEREMONY_PLAN_MALFORMED" });
    for (const wrong of [...wrongs, new Uint8Array(5)]) expect(() => decodePlan(wrong)).toThrow(malformed);
  });

  test("a record of another ceremony is refused", () => {
    const record = encodeCeremony(createCeremony(plan, "node-1"));
    const other = { ...plan, name: "other" };
    expect(() => restoreCeremony(other, record)).toThrow(
      expect.objectContaining({ code: "CEREMONY_RECORD_MALFORMED" }),
    );
    expect(() => restoreCeremony(plan, entropy(50))).toThrow(
      expect.objectContaining({ code: "CEREMONY_RECORD_MALFORMED" }),
    );
  });

  test("an unfinished ceremony gives no share", () => {
    expect(() => shareOf(createCeremony(plan, "node-1"), entropy(32))).toThrow(
      expect.objectContaining({ code: "CEREMONY_NOT_DONE" }),
    );
  });
});

describe("documents", () => {
  const room = generateGroup(createNodes(3), 2);
  const group = room.group();

  test("a group's key and a share read back", () => {
    expect(decodeGroupKey(encodeGroupKey(group))).toEqual(group);
    const [share] = room.shares() as [GroupShare];
    expect(decodeGroupShare(encodeGroupShare(share))).toEqual(share);
  });

  test("a group whose commitments or members are not what they should be is refused", () => {
    const document = decodeCanonical(encodeGroupKey(group)) as Record<string, unknown>;
    for (const change of [
      { commitments: [encodeIdentity()] },
      { commitments: [] },
      { members: [] },
      { members: [group.members[0], group.members[0]] },
      { epoch: -1 },
      { recipient: group.recipient },
    ]) {
      expect(() => decodeGroupKey(encodeCanonical({ ...document, ...change }))).toThrow(
        expect.objectContaining({ code: "RELEASE_GROUP_MALFORMED" }),
      );
    }
    expect(() => decodeGroupShare(encodeCanonical({}))).toThrow(
      expect.objectContaining({ code: "RELEASE_SHARE_MALFORMED" }),
    );
  });
});

function encodeIdentity(): Uint8Array {
  return Uint8Array.of(1, ...new Uint8Array(31));
}
