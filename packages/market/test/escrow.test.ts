import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  endSeconds,
  GRACE_SECONDS,
  highestPriceWei,
  OUTCOMES,
  packHead,
  packOffer,
  packOrder,
  packPayees,
  payableSeconds,
  payeeWordsOf,
  secondsAllowed,
  slotPayWei,
  splitClaim,
  splitEscrow,
  unpackHead,
  unpackPayees,
  type EscrowHead,
  type Payee,
} from "../src/index.ts";
import { accountOf, OFFER, ORDER } from "./samples.ts";

const amount = fc.bigInt({ min: 0n, max: 2n ** 60n });
const payee: fc.Arbitrary<Payee> = fc.record({
  owner: fc.constantFrom("a", "b", "c").map(accountOf),
  kind: fc.integer({ min: 0, max: 4 }),
  fixedWei: amount,
  perSecondWei: amount,
  bookingWei: fc.constant(0n),
  shareBps: fc.integer({ min: 0, max: 2000 }),
  secondsMax: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});
const head: fc.Arbitrary<EscrowHead> = fc.record({
  client: fc.constant(accountOf("client")),
  depositWei: fc.constant(2n ** 96n - 1n),
  token: fc.constantFrom("token-1", "token-2").map(accountOf),
  poolWei: amount,
  computeFixedWei: amount,
  computePerSecondWei: amount,
  secondsMax: fc.integer({ min: 0, max: 2 ** 16 }),
  secondsPaid: fc.constant(0),
  deadlineSeconds: fc.integer({ min: 0, max: 2 ** 32 }),
  openedAtSeconds: fc.integer({ min: 0, max: 2 ** 32 }),
  salt: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  slots: fc.integer({ min: 1, max: 255 }),
  started: fc.boolean(),
  ending: fc.boolean(),
  paidWei: fc.constant(0n),
});
const payees = fc.array(payee, { minLength: 1, maxLength: 5 });

describe("words", () => {
  test("unpack to what was packed", () => {
    fc.assert(
      fc.property(head, payees, (members, list) => {
        expect(unpackHead(packHead(members))).toEqual(members);
        expect(unpackPayees(packPayees(list))).toEqual(list);
      }),
    );
  });

  test("of an offer begin with its payee words, and of an order leave the contract's bits alone", () => {
    const [first, second] = packOffer(OFFER);
    expect(unpackPayees([first, second])).toEqual([
      {
        owner: OFFER.owner,
        kind: 1,
        fixedWei: 100n,
        perSecondWei: 3n,
        bookingWei: 10n,
        shareBps: 2500,
        secondsMax: 0,
      },
    ]);
    expect(unpackPayees(payeeWordsOf(packOffer(OFFER)))[0]?.secondsMax).toBe(OFFER.terms.secondsMax);
    expect(unpackPayees(payeeWordsOf(packOffer(OFFER)))[0]).toMatchObject({ kind: 1, shareBps: 2500 });
    const order = unpackHead(packOrder(ORDER));
    expect(order).toMatchObject({ openedAtSeconds: 0, secondsPaid: 0, paidWei: 0n, salt: 7n });
  });
});

test("the strictest offer says how long an order may be, and 0 is no limit", () => {
  expect(secondsAllowed([{ secondsMax: 0 }, { secondsMax: 90 }, { secondsMax: 60 }])).toBe(60);
  expect(secondsAllowed([{ secondsMax: 0 }])).toBe(Infinity);
  const longest = { ...OFFER, terms: { ...OFFER.terms, secondsMax: 2 ** 32 - 1 } };
  const [before, ...rest] = unpackPayees(payeeWordsOf(packOffer(longest)));
  expect([before?.secondsMax, before?.kind, rest.length]).toEqual([2 ** 32 - 1, 1, 0]);
});

describe("the split of an escrow", () => {
  test("adds up to the deposit, whatever was claimed before", () => {
    const outcomes = fc.constantFrom(...OUTCOMES);
    const seconds = fc.integer({ min: 0, max: 2 ** 16 });
    fc.assert(
      fc.property(head, payees, outcomes, seconds, seconds, (members, list, outcome, first, second) => {
        const escrow = { head: packHead(members), payees: packPayees(list) };
        const claimed = splitClaim(escrow, first, accountOf("operator"));
        const paidWei = claimed.reduce((sum, payout) => sum + payout.amountWei, 0n);
        const after = { ...escrow, head: packHead({ ...members, secondsPaid: first, paidWei }) };
        const ended = splitEscrow(after, outcome, first + second, accountOf("operator"));
        const endedWei = ended.reduce((sum, payout) => sum + payout.amountWei, 0n);
        expect(paidWei + endedWei).toBe(members.depositWei);
        expect(ended.every((payout) => payout.amountWei > 0n)).toBe(true);
      }),
    );
  });

  test("pays by the table of the specification", () => {
    const escrow = {
      head: packHead({ ...unpackHead(packOrder(ORDER)), openedAtSeconds: 1 }),
      payees: packOffer(OFFER).slice(0, 2),
    };
    const paid = (outcome: (typeof OUTCOMES)[number]) =>
      splitEscrow(escrow, outcome, 20, accountOf("operator")).map((payout) => payout.amountWei);
    expect(paid("succeeded")).toEqual([100n + 60n + 250n, 40n + 40n, 10_000n - 410n - 80n]);
    expect(paid("cancelled")).toEqual([10n + 60n, 40n, 10_000n - 110n]);
    expect(paid("failed")).toEqual([10n, 9990n]);
  });

  test("pays no second that the order or the time does not allow", () => {
    const members = { ...unpackHead(packOrder(ORDER)), openedAtSeconds: 100 };
    expect(payableSeconds(members, 50, 1000)).toBe(50);
    expect(payableSeconds(members, 90, 1000)).toBe(60);
    expect(payableSeconds(members, 50, 105)).toBe(5);
    expect(payableSeconds(members, 50, 99)).toBe(0);
    expect(payableSeconds({ ...members, deadlineSeconds: 120 }, 50, 1000)).toBe(20);
  });

  test("pays a further slot for its own seconds, up to those of the order, and once for each", () => {
    const members = { ...unpackHead(packOrder(ORDER)), secondsPaid: 5 };
    expect(slotPayWei(members, "succeeded", 20, 8)).toBe(40n + 2n * 3n);
    expect(slotPayWei(members, "succeeded", 20, 99)).toBe(40n + 2n * 15n);
    expect(slotPayWei(members, "claimed", 20, 8)).toBe(2n * 3n);
    expect(slotPayWei(members, "cancelled", 20, 4)).toBe(0n);
    expect(slotPayWei(members, "failed", 20, 20)).toBe(0n);
  });

  test("a service that was paid by the second has a grace period, unless its client is ending it", () => {
    const members = unpackHead(packOrder(ORDER));
    expect(endSeconds(members)).toBe(members.deadlineSeconds);
    expect(endSeconds({ ...members, secondsPaid: 1 })).toBe(members.deadlineSeconds + GRACE_SECONDS);
    expect(endSeconds({ ...members, secondsPaid: 1, ending: true })).toBe(members.deadlineSeconds);
  });

  test("never takes more than the highest price", () => {
    expect(highestPriceWei(ORDER, [OFFER.terms])).toBe(1000n + 40n + 120n + 100n + 180n);
    const slots = { ...ORDER, slots: 3 };
    expect(highestPriceWei(slots, [OFFER.terms])).toBe(1000n + 3n * (40n + 120n) + 100n + 180n);
    expect(unpackHead(packOrder(slots)).slots).toBe(3);
  });
});
