import type { Address } from "@cloister/core";
import { contentHash } from "./statements.ts";
import { OFFER_KINDS, type Offer, type OfferTerms, type Order, type Outcome } from "./types.ts";

/** The six words of an offer, as `open` takes it. IMarket */
export type OfferWords = readonly [bigint, bigint, bigint, bigint, bigint, bigint];

/** The words that an open order's slot commits to. IMarket.Escrow */
export interface Escrow {
  readonly head: readonly [bigint, bigint, bigint, bigint];
  /** Two words for each offer, in the order's sequence. */
  readonly payees: readonly bigint[];
}

/** The first words of an escrow, taken apart. */
export interface EscrowHead {
  readonly client: Address;
  readonly depositWei: bigint;
  readonly token: Address;
  readonly poolWei: bigint;
  readonly computeFixedWei: bigint;
  readonly computePerSecondWei: bigint;
  readonly secondsMax: number;
  readonly secondsPaid: number;
  readonly deadlineSeconds: number;
  readonly openedAtSeconds: number;
  readonly salt: bigint;
  /** Compute slots. */
  readonly slots: number;
  /** A node said that it began: `openedAtSeconds` is then. */
  readonly started: boolean;
  /** The client asked for an early end. */
  readonly ending: boolean;
  readonly paidWei: bigint;
}

/** One offer's claim on an order. */
export interface Payee {
  readonly owner: Address;
  readonly kind: number;
  readonly fixedWei: bigint;
  readonly perSecondWei: bigint;
  readonly bookingWei: bigint;
  readonly shareBps: number;
  /** The most seconds that the offer allows; 0 is no limit. */
  readonly secondsMax: number;
}

/** An amount that an account is credited when an order ends. */
export interface Payout {
  readonly account: Address;
  readonly amountWei: bigint;
  /** What for: an offer by its place in the order, the node's operator, or the client's rest. */
  readonly reason: { readonly offer: number } | "compute" | "rest";
}

const BPS_WHOLE = 10_000n;

/** Takes the first words apart. */
export function unpackHead(head: Escrow["head"]): EscrowHead {
  const [first, second, third, fourth] = head;
  return {
    client: addressAt(first, 96n),
    depositWei: bits(first, 0n, 96n),
    token: addressAt(second, 96n),
    poolWei: bits(second, 0n, 96n),
    computeFixedWei: bits(third, 160n, 96n),
    computePerSecondWei: bits(third, 64n, 96n),
    secondsMax: Number(bits(third, 32n, 32n)),
    secondsPaid: Number(bits(third, 0n, 32n)),
    deadlineSeconds: Number(bits(fourth, 216n, 40n)),
    openedAtSeconds: Number(bits(fourth, 176n, 40n)),
    salt: bits(fourth, 112n, 64n),
    slots: Number(bits(fourth, 104n, 8n)),
    started: bits(fourth, 96n, 1n) === 1n,
    ending: bits(fourth, 97n, 1n) === 1n,
    paidWei: bits(fourth, 0n, 96n),
  };
}

/** Puts the first words together. */
export function packHead(head: EscrowHead): Escrow["head"] {
  return [
    (BigInt(head.client) << 96n) | head.depositWei,
    (BigInt(head.token) << 96n) | head.poolWei,
    (head.computeFixedWei << 160n) |
      (head.computePerSecondWei << 64n) |
      (BigInt(head.secondsMax) << 32n) |
      BigInt(head.secondsPaid),
    (BigInt(head.deadlineSeconds) << 216n) |
      (BigInt(head.openedAtSeconds) << 176n) |
      (head.salt << 112n) |
      (BigInt(head.slots) << 104n) |
      (head.ending ? 1n << 97n : 0n) |
      (head.started ? 1n << 96n : 0n) |
      head.paidWei,
  ];
}

/** Takes the words of the offers apart. */
export function unpackPayees(words: readonly bigint[]): Payee[] {
  const payees: Payee[] = [];
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [first, second] = [words[i] as bigint, words[i + 1] as bigint];
    payees.push({
      owner: addressAt(first, 96n),
      fixedWei: bits(first, 0n, 96n),
      perSecondWei: bits(second, 160n, 96n),
      bookingWei: bits(second, 64n, 96n),
      shareBps: Number(bits(second, 48n, 16n)),
      kind: Number(bits(second, 40n, 8n)),
      secondsMax: Number(bits(second, 0n, 32n)),
    });
  }
  return payees;
}

/** Puts the words of the offers together. */
export function packPayees(payees: readonly Payee[]): bigint[] {
  return payees.flatMap((payee) => [
    (BigInt(payee.owner) << 96n) | payee.fixedWei,
    (payee.perSecondWei << 160n) |
      (payee.bookingWei << 64n) |
      (BigInt(payee.shareBps) << 48n) |
      (BigInt(payee.kind) << 40n) |
      BigInt(payee.secondsMax),
  ]);
}

/** The words of an offer that become a payee's, to which the contract adds how long the offer allows. */
export function payeeWordsOf([first, second, , limits]: OfferWords): readonly [bigint, bigint] {
  return [first, second | bits(limits, 192n, 32n)];
}

/** Packs an offer into its six words. */
export function packOffer(offer: Offer): OfferWords {
  const { terms } = offer;
  const [first, second] = packPayees([
    { owner: offer.owner, kind: OFFER_KINDS.indexOf(offer.kind), ...terms, secondsMax: 0 },
  ]) as [bigint, bigint];
  return [
    first,
    second,
    (BigInt(terms.token) << 96n) | terms.poolMinWei,
    (BigInt(terms.secondsMin) << 224n) |
      (BigInt(terms.secondsMax) << 192n) |
      (BigInt(terms.runsMax) << 160n) |
      (BigInt(terms.validUntilSeconds) << 96n),
    BigInt(terms.accountsRoot),
    BigInt(contentHash(offer.content)),
  ];
}

/** Packs an order into the head that `open` takes; the contract adds the time. */
export function packOrder(order: Order): Escrow["head"] {
  const { slots = 1 } = order;
  const fresh = { secondsPaid: 0, openedAtSeconds: 0, started: false, ending: false, paidWei: 0n };
  return packHead({ ...order, ...fresh, slots });
}

/** The highest price of an order on these terms: the least deposit that the contract accepts. */
export function highestPriceWei(
  order: Pick<Order, "poolWei" | "computeFixedWei" | "computePerSecondWei" | "secondsMax" | "slots">,
  terms: readonly Pick<OfferTerms, "fixedWei" | "perSecondWei">[],
): bigint {
  const seconds = BigInt(order.secondsMax);
  const perSlot = order.computeFixedWei + order.computePerSecondWei * seconds;
  let price = order.poolWei + BigInt(order.slots ?? 1) * perSlot;
  for (const { fixedWei, perSecondWei } of terms) price += fixedWei + perSecondWei * seconds;
  return price;
}

/** The most seconds that offers allow an order, at opening or extended: that of the strictest; Infinity when none has a limit. */
export function secondsAllowed(offers: readonly Pick<OfferTerms, "secondsMax">[]): number {
  return Math.min(...offers.map(({ secondsMax }) => (secondsMax === 0 ? Infinity : secondsMax)));
}

/**
 * Seconds that are paid for: attested ones, but no more than the order allows or than passed, up to its
 * deadline, since it was opened or started.
 */
export function payableSeconds(head: EscrowHead, secondsUsed: number, nowSeconds: number): number {
  const passed = Math.min(nowSeconds, head.deadlineSeconds) - head.openedAtSeconds;
  return Math.min(secondsUsed, head.secondsMax, Math.max(0, passed));
}

/** How long a cancelled order's node has left to report. IMarket.cancel */
export const CANCEL_SECONDS = 600;

/** For how long after its deadline a service that was paid by the second can be extended. IMarket.extend */
export const GRACE_SECONDS = 86_400;

/** The last second in which an order may be settled by claims or extended: from the next on it may be refunded. */
export function endSeconds(head: EscrowHead): number {
  return head.deadlineSeconds + (head.secondsPaid !== 0 && !head.ending ? GRACE_SECONDS : 0);
}

/**
 * What the operator of a further slot is paid when an order ends, or by a claim of a running one: for its own
 * seconds, up to those that the order is paid for.
 */
export function slotPayWei(
  head: EscrowHead,
  end: Outcome | "claimed",
  secondsPaid: number,
  slotSeconds: number,
): bigint {
  const seconds = end === "failed" ? 0 : Math.min(slotSeconds, secondsPaid) - head.secondsPaid;
  const timedWei = head.computePerSecondWei * BigInt(Math.max(0, seconds));
  return timedWei + (end === "succeeded" ? head.computeFixedWei : 0n);
}

/**
 * Splits what is left of an order's deposit among those it is owed to, as the contract does when the order
 * ends. Amounts are rounded down and the rest is the client's, so that with what was claimed before they add
 * up to the deposit. A refund is a failure of 0 seconds.
 */
export function splitEscrow(
  escrow: Escrow,
  outcome: Outcome,
  secondsUsed: number,
  operator: Address,
): Payout[] {
  const head = unpackHead(escrow.head);
  const payouts = payShares(escrow, outcome, secondsUsed, operator, true);
  const paidWei = payouts.reduce((sum, payout) => sum + payout.amountWei, head.paidWei);
  payouts.push({ account: head.client, amountWei: head.depositWei - paidWei, reason: "rest" });
  return payouts.filter((payout) => payout.amountWei !== 0n);
}

/** What a claim pays for the attested seconds of a running order that were not paid for yet. */
export function splitClaim(escrow: Escrow, secondsUsed: number, operator: Address): Payout[] {
  const payouts = payShares(escrow, "cancelled", secondsUsed, operator, false);
  return payouts.filter((payout) => payout.amountWei !== 0n);
}

function payShares(
  escrow: Escrow,
  outcome: Outcome,
  secondsUsed: number,
  operator: Address,
  once: boolean,
): Payout[] {
  const head = unpackHead(escrow.head);
  const seconds = outcome === "failed" ? 0n : BigInt(Math.max(0, secondsUsed - head.secondsPaid));
  const payouts: Payout[] = unpackPayees(escrow.payees).map((payee, offer) => {
    const timedWei = payee.perSecondWei * seconds;
    const onceWei = once ? owedOnce(payee, head.poolWei, outcome) : 0n;
    return { account: payee.owner, amountWei: timedWei + onceWei, reason: { offer } };
  });
  const computeOnceWei = once && outcome === "succeeded" ? head.computeFixedWei : 0n;
  const computeWei = head.computePerSecondWei * seconds + computeOnceWei;
  return [...payouts, { account: operator, amountWei: computeWei, reason: "compute" }];
}

function owedOnce(payee: Payee, poolWei: bigint, outcome: Outcome): bigint {
  if (outcome !== "succeeded") return payee.bookingWei;
  return payee.fixedWei + (poolWei * BigInt(payee.shareBps)) / BPS_WHOLE;
}

function bits(word: bigint, shift: bigint, width: bigint): bigint {
  return (word >> shift) & ((1n << width) - 1n);
}

function addressAt(word: bigint, shift: bigint): Address {
  return `0x${bits(word, shift, 160n).toString(16).padStart(40, "0")}` as Address;
}
