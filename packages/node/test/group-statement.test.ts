import { describe, expect, test } from "vitest";
import { nodeKeysDigest, type Realm } from "@cloister/certification";
import { createCeremony, stepCeremony, type CeremonyPlan, type GroupKey } from "@cloister/custody";
import { ed25519Signer, toHex, type Address, type Digest, type Hex32 } from "@cloister/core";
import { emptyMarket, type MarketState } from "@cloister/market";
import { judgeGroupStatements, signGroupStatement } from "../src/group-statement.ts";
import { encodeGoal } from "../src/goals.ts";
import { loadOrCreateKeys } from "../src/keys.ts";
import type { Cvm } from "../src/cvm.ts";

const entropy = (length: number) => crypto.getRandomValues(new Uint8Array(length));
const NOW_MS = 1_800_000_000_000;
const realm: Realm = {
  chainId: 31_337,
  contract: `0x${"aa".repeat(20)}` as Address,
  registry: `0x${"bb".repeat(20)}` as Address,
};
const MEASUREMENT = `sha256:${"cd".repeat(32)}` as Digest;

async function member(): Promise<Cvm> {
  const records = {
    read: async () => undefined,
    write: async () => undefined,
    delete: async () => undefined,
    list: async () => [],
  };
  const keys = await loadOrCreateKeys(records, entropy);
  return { keys, sign: ed25519Signer(keys.identitySeed), sealed: records, tee: {} as Cvm["tee"] };
}

function groupOf(cvms: readonly Cvm[]): GroupKey {
  const sorted = cvms.toSorted((a, b) => (a.keys.settlement < b.keys.settlement ? -1 : 1));
  const plan: CeremonyPlan = {
    name: "test",
    epoch: 1,
    threshold: 2,
    members: sorted.map(({ keys }, i) => ({
      id: keys.settlement,
      index: i + 1,
      identityKey: keys.identity,
      wrapKey: keys.wrap,
    })),
  };
  const states = new Map(cvms.map((cvm) => [cvm, createCeremony(plan, cvm.keys.settlement)]));
  const queue: Uint8Array[] = [];
  const step = (cvm: Cvm, input: Parameters<typeof stepCeremony>[1]): void => {
    const keys = { sign: cvm.sign, wrapSecret: cvm.keys.wrapSecret };
    const { state, effects } = stepCeremony(
      states.get(cvm) as ReturnType<typeof createCeremony>,
      input,
      keys,
      entropy,
    );
    states.set(cvm, state);
    for (const effect of effects) if (effect.kind === "broadcast") queue.push(effect.bytes);
  };
  for (const cvm of cvms) step(cvm, { kind: "start" });
  for (let bytes = queue.shift(); bytes !== undefined; bytes = queue.shift()) {
    for (const cvm of cvms) step(cvm, { kind: "message", bytes });
  }
  const outcome = [...states.values()][0]?.outcome;
  if (outcome?.kind !== "done") throw new Error("the ceremony is not done");
  return outcome.group;
}

function declare(state: MarketState, goal: string, goalId: string, document?: Uint8Array): void {
  const owner = `0x${"33".repeat(20)}` as Address;
  const asked = document ?? encodeGoal({ id: goalId, kind: "key-release", size: { min: 3, max: 3 } });
  state.goals.set(goal as Hex32, { goalId, owner, document: toHex(asked) });
}

function marketWith(cvms: readonly Cvm[]): MarketState {
  const state = emptyMarket();
  for (const [i, goalId] of ["key-release", "key-release.2"].entries()) declare(state, `0x0${i}`, goalId);
  state.measurements.set(`0x${"cd".repeat(32)}` as Hex32, { effectiveAtSeconds: 0, revoked: false });
  for (const { keys } of cvms) {
    state.nodes.set(keys.settlement, {
      certificate: {
        node: keys.settlement,
        operator: `0x${"22".repeat(20)}` as Address,
        keysDigest: nodeKeysDigest({ identity: keys.identity, settlement: keys.settlement, wrap: keys.wrap }),
        certificateDigest: MEASUREMENT,
        measurement: MEASUREMENT,
        roles: 7,
        issuedAtSeconds: 1,
        notAfterSeconds: NOW_MS / 1000 + 3_600,
      },
      endpoint: "127.0.0.1:1",
      status: "active",
      stakeWei: 0n,
    });
  }
  return state;
}

const cvms = [await member(), await member(), await member()] as const;
const group = groupOf(cvms);
const state = marketWith(cvms);
const judge = (statements: readonly Uint8Array[], market = state, where = realm) =>
  judgeGroupStatements(statements, where, market, NOW_MS);
const word = (cvm: Cvm, key = group, where = realm, goalId = "key-release"): Uint8Array =>
  signGroupStatement(cvm, where, goalId, key);
const unvouched = { ok: false, refusals: [{ code: "RELEASE_GROUP_UNVOUCHED" }] };

describe("owners seal to a group key that enough of its members vouch for", () => {
  test("two of three are enough", () => {
    expect(judge([word(cvms[0]), word(cvms[1])])).toMatchObject({
      ok: true,
      value: { recipient: group.recipient },
    });
  });

  test("one is not, however often it says so", () => {
    expect(judge([word(cvms[0]), word(cvms[0]), word(cvms[0])])).toMatchObject(unvouched);
  });

  test("nobody is not", () => {
    expect(judge([])).toMatchObject(unvouched);
  });

  test("words of a host that made up keys, and a group of its own, do not count", async () => {
    const invented = [await member(), await member(), await member()] as const;
    const own = groupOf(invented);
    expect(judge(invented.map((cvm) => word(cvm, own)))).toMatchObject(unvouched);
  });

  test("words about another network, or changed ones, or noise, do not count", () => {
    const elsewhere = { ...realm, chainId: 1 };
    expect(judge([word(cvms[0]), word(cvms[1], group, elsewhere)])).toMatchObject(unvouched);
    const changed = word(cvms[1]);
    changed[changed.length - 1] = (changed.at(-1) as number) ^ 1;
    expect(judge([word(cvms[0]), changed, entropy(40)])).toMatchObject(unvouched);
  });

  test("after a rotation the new key counts as soon as it is vouched for, and no longer once it is retired", () => {
    const next = groupOf(cvms);
    const words = [0, 1].map((i) => word(cvms[i] as Cvm));
    const rotated = [0, 1].map((i) => word(cvms[i] as Cvm, next, realm, "key-release.2"));
    expect(judge([...words, rotated[0] as Uint8Array])).toMatchObject({ value: { groupId: group.groupId } });
    expect(judge([...rotated, ...words])).toMatchObject({ value: { groupId: next.groupId } });
    const market = marketWith(cvms);
    declare(market, "0x01", "key-release.2", new Uint8Array());
    expect(judge([...words, ...rotated], market)).toMatchObject({ value: { groupId: group.groupId } });
  });

  test("a key of a goal that nobody declared, or that a stranger did, does not count", () => {
    const next = groupOf(cvms);
    const words = (goalId: string) => [0, 1].map((i) => word(cvms[i] as Cvm, next, realm, goalId));
    expect(judge(words("key-release.3"))).toMatchObject(unvouched);
    const market = marketWith(cvms);
    declare(market, "0x02", "key-release.3");
    const stranger = { ...market.goals.get("0x02" as Hex32), owner: `0x${"44".repeat(20)}` as Address };
    market.goals.set("0x02" as Hex32, stranger as NonNullable<ReturnType<typeof market.goals.get>>);
    expect(judge(words("key-release.3"), market)).toMatchObject(unvouched);
  });

  test("a member that the chain no longer lists as active does not count", () => {
    const market = marketWith(cvms);
    const record = market.nodes.get(cvms[1].keys.settlement);
    if (record !== undefined) record.status = "barred";
    expect(judge([word(cvms[0]), word(cvms[1])], market)).toMatchObject(unvouched);
    expect(judge([word(cvms[0]), word(cvms[2])], market)).toMatchObject({ ok: true });
  });
});
