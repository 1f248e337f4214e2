import {
  ed25519Signer,
  ed25519Verify,
  encodeCanonical,
  sha256,
  signSign1,
  toHex,
  utf8,
  openSign1,
  decodeCanonical,
} from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeKeyShare,
  encodeKeyShare,
  KeyCeremony,
  publicKeyOf,
  type CeremonyOutcome,
  type CeremonyPlan,
  type KeyShare,
} from "../../src/index.ts";
import {
  entropyFrom,
  generate,
  hold,
  identityOf,
  identitySeed,
  membersOf,
  names,
  planFor,
  sharesOf,
  signWith,
  type Wire,
} from "./hall.ts";

const message = utf8("to be signed");
const valid = (shares: readonly KeyShare[]): boolean => {
  const outcome = signWith(shares, message);
  return outcome.ok && ed25519Verify(publicKeyOf((shares[0] as KeyShare).group), message, outcome.signature);
};

test.each([
  [2, 2],
  [2, 3],
  [3, 5],
  [7, 10],
])("%i of %i generate a key, and any threshold of them sign", { timeout: 60_000 }, (threshold, size) => {
  const shares = Object.values(generate(names(size), threshold));
  expect(new Set(shares.map(({ group }) => toHex(publicKeyOf(group)))).size).toBe(1);
  expect(valid(shares.slice(0, threshold))).toBe(true);
  expect(valid(shares.slice(-threshold))).toBe(true);
  expect(valid(shares)).toBe(true);
  expect(valid(shares.slice(1, threshold))).toBe(false);
});

test("messages in any order, and twice, come to the same end", { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.nat()), (stream) => {
      const shuffle = (size: number): number => (stream.next().value ?? 0) % size;
      const twice: Wire = ({ bytes }) => [bytes, bytes];
      const people = names(4);
      expect(valid(Object.values(sharesOf(hold(planFor(people, 3), people, { shuffle, wire: twice }))))).toBe(
        true,
      );
    }),
    { numRuns: 6 },
  );
});

test("a share survives sealing, and a share of another index or group does not", () => {
  const [one, two] = Object.values(generate(names(3), 2)) as [KeyShare, KeyShare];
  expect(decodeKeyShare(encodeKeyShare(one))).toEqual(one);
  const malformed = expect.objectContaining({ code: "KEY_SHARE_MALFORMED" });
  expect(() => decodeKeyShare(encodeKeyShare({ ...one, index: 2 }))).toThrow(malformed);
  expect(() => decodeKeyShare(encodeKeyShare({ ...one, secret: two.secret }))).toThrow(malformed);
  expect(() => decodeKeyShare(encodeKeyShare({ ...one, secret: new Uint8Array(32).fill(255) }))).toThrow(
    malformed,
  );
  expect(() => decodeKeyShare(encodeKeyShare({ ...one, group: { ...one.group, threshold: 3 } }))).toThrow(
    malformed,
  );
});

/** Changes the payload of a message of one sender and signs it again with the sender's own key. */
function rewrite(
  bytes: Uint8Array,
  from: string,
  change: (body: Record<string, unknown>) => Record<string, unknown>,
): Uint8Array {
  const statement = openSign1(bytes);
  const payload = decodeCanonical(statement.payload) as Record<string, unknown>;
  const body = change(payload["body"] as Record<string, unknown>);
  return signSign1({
    contentType: statement.contentType,
    kid: statement.kid,
    payload: encodeCanonical({ ...payload, body }),
    sign: ed25519Signer(identitySeed(from)),
  });
}

const kindOf = (bytes: Uint8Array): string =>
  (decodeCanonical(openSign1(bytes).payload) as { kind: string }).kind;
const bad =
  (
    kind: string,
    change: (body: Record<string, unknown>, to: string) => Record<string, unknown>,
    victims?: string[],
  ): Wire =>
  (sent, from, to) => {
    const hit =
      from === "m2" && kindOf(sent.bytes) === kind && (victims === undefined || victims.includes(to));
    return [hit ? rewrite(sent.bytes, from, (body) => change(body, to)) : sent.bytes];
  };

const deal = (seed: string): Record<string, unknown> => {
  const plan = planFor(names(4), 3);
  const self = { identity: identityOf("m2"), sign: ed25519Signer(identitySeed("m2")) };
  const [first] = new KeyCeremony(plan, self, entropyFrom(seed)).takeOutbox();
  return (decodeCanonical(openSign1(first?.bytes as Uint8Array).payload) as { body: Record<string, unknown> })
    .body;
};
const flipped = (value: unknown): Uint8Array =>
  (value as Uint8Array).with(5, ((value as Uint8Array)[5] as number) ^ 1);

test.each<[string, Wire, string]>([
  ["tells two stories", bad("deal", () => deal("another story"), ["m4"]), "CEREMONY_EQUIVOCATED"],
  [
    "proves knowledge of nothing",
    bad("deal", (body) => ({ ...body, proof: flipped(body["proof"]) })),
    "CEREMONY_DEAL_INVALID",
  ],
  [
    "deals a polynomial of another degree",
    bad("deal", (body) => ({ ...body, commitment: (body["commitment"] as unknown[]).slice(1) })),
    "CEREMONY_DEAL_INVALID",
  ],
  [
    "deals what is no point",
    bad("deal", (body) => ({
      ...body,
      commitment: [new Uint8Array(32).fill(255), ...(body["commitment"] as unknown[]).slice(1)],
    })),
    "CEREMONY_DEAL_INVALID",
  ],
  [
    "deals badly to one alone",
    bad("deal", (body) => ({ ...body, proof: flipped(body["proof"]) }), ["m3"]),
    "CEREMONY_(DEAL_INVALID|EQUIVOCATED)",
  ],
  [
    "sends one a wrong share",
    bad("share", (body) => ({ ...body, share: flipped(body["share"]) }), ["m1"]),
    "CEREMONY_SHARE_INVALID",
  ],
  [
    "sends shares that are no numbers",
    bad("share", (body) => ({ ...body, share: new Uint8Array(32).fill(255) })),
    "CEREMONY_SHARE_INVALID",
  ],
  ["echoes nothing", bad("echo", () => ({ deals: [] })), "CEREMONY_ECHO_INVALID"],
  [
    "echoes deals that nobody signed",
    bad("echo", (body) => ({ deals: (body["deals"] as Uint8Array[]).map(flipped) })),
    "CEREMONY_ECHO_INVALID",
  ],
  [
    "confirms another result",
    bad("done", () => ({ digest: sha256(utf8("other")) })),
    "CEREMONY_RESULT_DIFFERS",
  ],
  [
    "falls silent from the start",
    (sent, from) => (from === "m2" ? undefined : [sent.bytes]),
    "CEREMONY_ABSENT",
  ],
  [
    "falls silent after its deal",
    (sent, from) => (from === "m2" && kindOf(sent.bytes) !== "deal" ? undefined : [sent.bytes]),
    "CEREMONY_ABSENT",
  ],
  [
    "withholds a share",
    (sent, from, to) =>
      from === "m2" && to === "m3" && kindOf(sent.bytes) === "share" ? undefined : [sent.bytes],
    "CEREMONY_ABSENT",
  ],
])("a participant who %s is named, and the others go on without", (_, wire, code) => {
  const people = names(4);
  const outcomes = hold(planFor(people, 3), people, { wire });
  const honest = ["m1", "m3", "m4"];
  const failed = honest
    .map((name) => outcomes[name] as CeremonyOutcome)
    .filter(({ kind }) => kind === "failed");
  const blamed = failed.flatMap((outcome) => (outcome.kind === "failed" ? outcome.culprits : []));
  expect(blamed.some((culprit) => new RegExp(code).test(culprit.code))).toBe(true);
  const provable = blamed.filter((culprit) => culprit.code !== "CEREMONY_ABSENT");
  expect(provable.every(({ identity }) => identity === toHex(identityOf("m2")))).toBe(true);
  expect(blamed.some(({ identity }) => identity === toHex(identityOf("m2")))).toBe(true);
  expect(valid(Object.values(generate(honest, 2)))).toBe(true);
});

test("everybody names the one whose fault can be shown", () => {
  const people = names(4);
  const wire = bad("share", (body) => ({ ...body, share: flipped(body["share"]) }), ["m1"]);
  const outcomes = hold(planFor(people, 3), people, { wire });
  for (const name of ["m1", "m3", "m4"]) {
    expect(outcomes[name]).toEqual({
      kind: "failed",
      culprits: [{ identity: toHex(identityOf("m2")), code: "CEREMONY_SHARE_INVALID" }],
    });
  }
});

test.each([["a right share"], ["nothing"]])(
  "a complaint that shows %s falls back on the complainer",
  (what) => {
    const people = names(3);
    const plan = planFor(people, 2);
    let shown: Uint8Array | undefined;
    const wire: Wire = (sent, from, to) => {
      if (from === "m1" && to === "m2" && kindOf(sent.bytes) === "share") shown = sent.bytes;
      if (from !== "m2" || kindOf(sent.bytes) !== "done") return [sent.bytes];
      const statement = openSign1(sent.bytes);
      const payload = decodeCanonical(statement.payload) as Record<string, unknown>;
      const body = { exhibits: what === "nothing" ? [] : [shown] };
      const complaint = encodeCanonical({ ...payload, kind: "complaint", body });
      return [signSign1({ ...statement, payload: complaint, sign: ed25519Signer(identitySeed("m2")) })];
    };
    const outcomes = hold(plan, people, { wire });
    const culprit = { identity: toHex(identityOf("m2")), code: "CEREMONY_COMPLAINT_FALSE" };
    expect(outcomes["m1"]).toEqual({ kind: "failed", culprits: [culprit] });
    expect(outcomes["m3"]).toEqual({ kind: "failed", culprits: [culprit] });
  },
);

test("messages of strangers, of other ceremonies and of no ceremony are dropped", () => {
  const people = names(3);
  const side = new KeyCeremony(
    planFor(people, 2),
    { identity: identityOf("m1"), sign: ed25519Signer(identitySeed("m1")) },
    entropyFrom("x"),
  );
  const other = new KeyCeremony(
    planFor(people, 2, "other"),
    { identity: identityOf("m2"), sign: ed25519Signer(identitySeed("m2")) },
    entropyFrom("x"),
  );
  const [foreign] = other.takeOutbox();
  const malformed = expect.objectContaining({ code: "CEREMONY_MESSAGE_MALFORMED" });
  const bytes = foreign?.bytes as Uint8Array;
  for (const junk of [bytes, rewrite(bytes, "stranger", (body) => body), utf8("x"), new Uint8Array(70_000)]) {
    expect(() => side.receive(junk)).toThrow(malformed);
  }
  expect(side.outcome).toBeUndefined();
});

const old = generate(names(5), 3, "old");
function reshare(
  people: string[],
  dealers: string[],
  threshold: number,
  change: { wire?: Wire; shares?: Record<string, KeyShare> } = {},
) {
  const group = (old["m1"] as KeyShare).group;
  const plan: CeremonyPlan = {
    ...planFor(people, threshold, "reshare"),
    previous: { group, dealers: membersOf(names(5)).filter(({ index }) => dealers.includes(`m${index}`)) },
  };
  const shares = Object.fromEntries(dealers.map((name) => [name, old[name] as KeyShare]));
  return hold(plan, [...new Set([...people, ...dealers])], {
    seed: "again",
    ...change,
    shares: change.shares ?? shares,
  });
}

test.each<[string, string[], string[], number]>([
  ["the same members", names(5), ["m1", "m2", "m3"], 3],
  ["one who leaves and one who comes", ["m1", "m2", "m4", "m5", "n1"], ["m1", "m2", "m4"], 3],
  ["more members and a higher threshold", [...names(5), "n1", "n2"], ["m2", "m3", "m5"], 5],
  ["none of the old members", ["n1", "n2", "n3"], names(5), 2],
])("resharing to %s keeps the key, and old and new shares do not mix", (_, people, dealers, threshold) => {
  const outcomes = reshare(people, dealers, threshold);
  const fresh = Object.values(sharesOf(outcomes));
  expect(fresh.length).toBe(people.length);
  const key = publicKeyOf((old["m1"] as KeyShare).group);
  expect(fresh.every(({ group }) => toHex(publicKeyOf(group)) === toHex(key))).toBe(true);
  expect(valid(fresh.slice(-threshold))).toBe(true);
  expect(valid(fresh.slice(1, threshold))).toBe(false);
  const mixed = [
    ...fresh.slice(0, threshold - 1),
    { ...(old["m5"] as KeyShare), group: (fresh[0] as KeyShare).group },
  ];
  expect(valid(mixed)).toBe(false);
});

test("a dealer that hands on something else than its share is named", () => {
  const forged = {
    ...old,
    m2: { ...(old["m2"] as KeyShare), secret: (old["m4"] as KeyShare).secret },
  } as Record<string, KeyShare>;
  const outcomes = reshare(names(5), ["m1", "m2", "m3"], 3, { shares: forged });
  expect(outcomes["m1"]).toEqual({
    kind: "failed",
    culprits: [{ identity: toHex(identityOf("m2")), code: "CEREMONY_DEAL_INVALID" }],
  });
});

test.each<[string, () => unknown]>([
  ["a threshold of one", () => planFor(names(3), 1)],
  ["a threshold above its size", () => planFor(names(3), 4)],
  ["a nonce of another size", () => ({ ...planFor(names(3), 2), nonce: utf8("x") })],
  [
    "members that are numbered wrongly",
    () => ({ ...planFor(names(3), 2), members: membersOf(names(3)).toReversed() }),
  ],
  ["somebody twice", () => planFor(["m1", "m1", "m2"], 2)],
  [
    "too few dealers",
    () => ({
      ...planFor(names(3), 2),
      previous: { group: (old["m1"] as KeyShare).group, dealers: membersOf(names(2)) },
    }),
  ],
  [
    "a dealer without a share",
    () => ({
      ...planFor(names(3), 2),
      previous: { group: (old["m1"] as KeyShare).group, dealers: membersOf(names(3)) },
    }),
  ],
])("a ceremony with %s is not held", (_, plan) => {
  const self = { identity: identityOf("m1"), sign: ed25519Signer(identitySeed("m1")) };
  expect(() => new KeyCeremony(plan() as CeremonyPlan, self, entropyFrom("x"))).toThrow(
    expect.objectContaining({ code: "CEREMONY_PLAN_INVALID" }),
  );
});
