import { digestOf, utf8, type Address, type Digest, type Hex32 } from "@cloister/core";
import {
  addressOfSecret,
  emptyMarket,
  signStatement,
  type Chain,
  type Deployment,
  type MarketState,
  type OrderRecord,
} from "@cloister/market";
import { expect, test } from "vitest";
import { loaderChain, readOrder, reportOf, type OrderEnd } from "../../src/index.ts";

const deployment: Deployment = {
  chainId: 31_337,
  registry: address("1"),
  market: address("2"),
  log: address("3"),
  fromBlock: 0,
};
const leaderSecret = new Uint8Array(32).fill(3);
const leader = addressOfSecret(leaderSecret);
const node = address("4");
const [orderId, engineId, lostId] = [hex32("5"), hex32("6"), hex32("7")];
const digests = ["content", "sealed", "header", "consent", "args", "recipient", "measurement"].map((name) =>
  digestOf(utf8(name)),
) as [Digest, Digest, Digest, Digest, Digest, Digest, Digest];
const [contentDigest, sealedDigest, headerDigest, consentDigest, argsDigest, recipientDigest, measurement] =
  digests;

function address(digit: string): Address {
  return `0x${digit.repeat(40)}` as Address;
}

function hex32(digit: string): Hex32 {
  return `0x${digit.repeat(64)}` as Hex32;
}

function market(): MarketState {
  const state = emptyMarket();
  const content = { contentDigest, sealedDigest, headerDigest, consentDigest, salt: hex32("8") };
  const offer = { owner: address("9"), kind: "engine", content } as never;
  state.offers.set(engineId, { offer, runs: 7, revokedFromSeconds: 1_800_000_000 });
  state.offers.set(lostId, { runs: 1 });
  const order: Partial<OrderRecord> = {
    ...{ id: orderId, client: address("a"), argsDigest, recipientDigest, salt: 255n, status: "open" },
    ...{ offers: [engineId, lostId], runsBefore: [4, 0], openedAtMs: 1000, deadlineMs: 2000 },
  };
  state.orders.set(orderId, order as OrderRecord);
  const certificate = { measurement, notAfterSeconds: 2_000_000_000 };
  state.nodes.set(node, { certificate, status: "active" } as never);
  state.measurements.set(`0x${measurement.slice(7)}` as Hex32, { effectiveAtSeconds: 0, revoked: false });
  state.term = { term: 3, leader };
  return state;
}

function chainOver(state: MarketState): Chain {
  return { deployment, refresh: async () => ({ state }) } as unknown as Chain;
}

test("an order is read with its offers, as they stood when it was opened", () => {
  expect(readOrder(market(), orderId)).toEqual({
    isOpen: true,
    client: address("a"),
    salt: `0x${"0".repeat(62)}ff`,
    openedAtMs: 1000,
    deadlineMs: 2000,
    argsDigest,
    recipientDigest,
    offers: [
      {
        id: engineId,
        offer: {
          owner: address("9"),
          kind: "engine",
          ...{ contentDigest, sealedDigest, headerDigest, consentDigest },
          runsBefore: 4,
          revokedAtMs: 1_800_000_000_000,
        },
      },
      { id: lostId, offer: undefined },
    ],
  });
  expect(readOrder(market(), hex32("f"))).toBeUndefined();
});

test("an order that ended in whatever way is not open", () => {
  for (const status of ["succeeded", "failed", "cancelled", "refunded", "forfeited"] as const) {
    const state = market();
    const order = state.orders.get(orderId);
    if (order !== undefined) order.status = status;
    expect(readOrder(state, orderId)?.isOpen).toBe(false);
  }
});

test("node, term and the assignment's signer are read as the contracts judge them", async () => {
  const state = market();
  const chain = loaderChain(chainOver(state), { nowMs: () => 1_900_000_000_000 });
  expect(await chain.node(node)).toEqual({ measurement, isActive: true, isMeasurementApproved: true });
  expect(await chain.node(address("f"))).toBeUndefined();
  expect(await chain.term()).toEqual({ term: 3, leader });
  const assignment = { orderId, node, term: 3, epoch: 1 };
  const signature = signStatement(deployment, "Assignment", assignment, leaderSecret);
  expect(chain.assignmentSigner({ ...assignment, signature })).toBe(leader);
  expect(chain.assignmentSigner({ ...assignment, term: 4, signature })).not.toBe(leader);
  expect(chain.assignmentSigner({ ...assignment, signature: new Uint8Array(65) })).toBeUndefined();
  state.measurements.clear();
  expect(await chain.node(node)).toMatchObject({ isActive: false, isMeasurementApproved: false });
});

test("an expired node is not active, and a void term has no leader", async () => {
  const state = market();
  state.term = { term: 3 };
  const chain = loaderChain(chainOver(state), { nowMs: () => 2_100_000_000_000 });
  expect(await chain.node(node)).toMatchObject({ isActive: false });
  expect(await chain.term()).toEqual({ term: 3, leader: undefined });
});

test("what is settled with is what the order ended with", () => {
  const end = {
    ...{ orderId, statementDigest: contentDigest, outputDigest: undefined, succeeded: false },
    ...{ exitCode: 201, secondsUsed: 30 },
  } as OrderEnd;
  expect(reportOf(end)).toEqual({
    orderId,
    reportDigest: contentDigest,
    outputDigest: undefined,
    outcome: "failed",
    exitCode: 201,
    secondsUsed: 30,
  });
  expect(reportOf({ ...end, succeeded: true, exitCode: 0 }).outcome).toBe("succeeded");
});
