import type { AbiEvent } from "viem";
import { encodeAbiParameters, toEventSelector } from "viem/utils";
import type { Address, Hex32 } from "@cloister/core";
import {
  copyMarket,
  type decodeLog,
  emptyMarket,
  marketAbi,
  NATIVE_TOKEN,
  packHead,
  packPayees,
  reduceMarket,
  registryAbi,
  splitClaim,
  transparencyLogAbi,
  unpackHead,
  type MarketEvent,
  type MarketState,
  type OrderRecord,
} from "../src/index.ts";
import { DEPLOYMENT } from "./samples.ts";

type RawLog = Parameters<typeof decodeLog>[1];
type Said = Pick<MarketEvent, "eventName" | "args">;

/** The events of all three contracts by name, with the contract that says them. */
const EVENTS = new Map(
  (
    [
      [DEPLOYMENT.registry, registryAbi],
      [DEPLOYMENT.market, marketAbi],
      [DEPLOYMENT.log, transparencyLogAbi],
    ] as const
  ).flatMap(([address, abi]) =>
    (abi as readonly { readonly type: string }[])
      .filter((entry): entry is AbiEvent => entry.type === "event")
      .map((event) => [event.name, { address, event, selector: toEventSelector(event) }] as const),
  ),
);

/** Names of all events there are. */
export const EVENT_NAMES: readonly string[] = [...EVENTS.keys()];

/** Encodes an event as its contract would log it. */
export function encodeLog(said: MarketEvent, blockHash: Hex32): RawLog {
  const { eventName, args, blockNumber, logIndex, txHash } = said;
  const found = EVENTS.get(eventName);
  if (found === undefined) throw new Error(`no event is called ${eventName}`);
  const { address, event, selector } = found;
  const named = args as unknown as Readonly<Record<string, unknown>>;
  const plain = event.inputs.filter((input) => input.indexed !== true);
  const topics = event.inputs
    .filter((input) => input.indexed === true)
    .map((input) => encodeAbiParameters([input], [named[input.name as string]]));
  const data = encodeAbiParameters(
    plain,
    plain.map((input) => named[input.name as string]),
  );
  return {
    address,
    topics: [selector, ...topics] as Hex32[],
    data,
    blockNumber,
    blockHash,
    logIndex,
    txHash,
  };
}

const TOKENS = [NATIVE_TOKEN, `0x${"77".repeat(20)}` as Address] as const;
const ETHER = 10n ** 18n;

/** What happens in a market: reproducible from its seed, in the contracts' own events, as they could follow one another. */
export class MarketHistory {
  readonly state: MarketState;
  #seed: number;
  #number = 0;
  readonly #open: Hex32[];
  readonly #offers: Hex32[];
  readonly #channels: Hex32[];

  constructor(seed: number, state: MarketState = emptyMarket()) {
    this.state = copyMarket(state);
    this.#seed = (seed * 2 + 1) >>> 0;
    this.#open = [...state.openOrders];
    this.#offers = [...state.offers.keys()];
    this.#channels = [...state.channels.keys()];
  }

  /** The events of some transactions in one block. Most are the life of orders; `Said` in `first` come before. */
  block(blockNumber: number, transactions: number, first: readonly Said[] = []): MarketEvent[] {
    const events: MarketEvent[] = [];
    const say = (said: readonly Said[]): void => {
      const txHash = this.#hex();
      for (const { eventName, args } of said) {
        const event = { eventName, args, blockNumber, logIndex: events.length, txHash } as MarketEvent;
        reduceMarket(this.state, event);
        events.push(event);
      }
    };
    say(first);
    for (let i = 0; i < transactions; i++) say(this.#transaction());
    return events;
  }

  /** Nodes, a term, a goal with its group, and offers: what there must be before orders make sense. */
  opening(nodes = 5, offers = 20): Said[] {
    const names = Array.from({ length: nodes }, () => this.#account());
    return [
      ...names.flatMap((node) => this.#register(node)),
      said("TermStarted", { term: 1n, leader: names[0], votes: 3n, voters: 3n }),
      ...this.#group(names),
      ...Array.from({ length: offers }, () => this.#publish()),
    ];
  }

  #transaction(): Said[] {
    const dice = this.#below(1000);
    const order = this.#openOrder();
    if (dice < 400 || order === undefined)
      return this.#offers.length === 0 ? [this.#publish()] : this.#openNew();
    if (dice < 710) return this.#settle(order, dice < 680 ? 0 : dice < 700 ? 1 : 2);
    if (dice < 740) return this.#refund(order);
    if (dice < 790) return this.#extend(order);
    if (dice < 840) return this.#claim(order);
    if (dice < 850) return this.#start(order);
    if (dice < 930) return this.#useChannel();
    if (dice < 960) return this.#moveMoney();
    if (dice < 985) return this.#offers.length > 50 && dice < 967 ? this.#changeOffer() : [this.#publish()];
    return this.#govern();
  }

  #publish(): Said {
    const offerId = this.#hex();
    this.#offers.push(offerId);
    return said("OfferPublished", {
      offerId,
      owner: this.#account(30),
      kind: this.#below(5),
      terms: {
        token: this.#token(),
        fixedWei: this.#wei(),
        perSecondWei: this.#wei() >> 12n,
        bookingWei: 0n,
        poolMinWei: 0n,
        shareBps: this.#below(5000),
        secondsMin: 0,
        secondsMax: 86_400,
        runsMax: this.#below(3) * 1000,
        validUntil: this.#below(20) === 0 ? 2n ** 64n - 1n : 2_000_000_000n,
        accountsRoot: `0x${"00".repeat(32)}`,
      },
      content: {
        contentDigest: this.#hex(),
        sealedDigest: this.#hex(),
        headerDigest: this.#hex(),
        consentDigest: this.#hex(),
        detailsDigest: `0x${"00".repeat(32)}`,
        salt: this.#hex(),
      },
    });
  }

  #changeOffer(): Said[] {
    const offerId = this.#pick(this.#offers);
    const owner = this.state.offers.get(offerId)?.offer?.owner ?? this.#account(30);
    const dice = this.#below(3);
    if (dice === 0) return [said("OfferEnabled", { offerId, owner, enabled: this.#below(2) === 0 })];
    const fromTime = BigInt(1_800_000_000 + this.#below(1e6));
    const revoked = said("OfferRevoked", { offerId, owner, fromTime });
    if (dice === 1) return [revoked];
    const next = this.#publish();
    const nextId = (next.args as unknown as { readonly offerId: Hex32 }).offerId;
    return [revoked, next, said("OfferChanged", { offerId, nextId, fromTime })];
  }

  #openNew(): Said[] {
    const orderId = this.#hex();
    const offers = Array.from({ length: 1 + this.#below(3) }, () => this.#pick(this.#offers));
    const used: Said[] = [];
    if (this.#below(10) === 0) {
      const offerId = this.#hex();
      const payee = {
        owner: this.#account(30),
        kind: 1,
        fixedWei: 5n,
        perSecondWei: 0n,
        bookingWei: 1n,
        shareBps: 100,
        secondsMax: 0,
      };
      const [first, second] = packPayees([payee]);
      used.push(
        said("OfferUsed", { offerId, words: [first, second, 0n, BigInt(this.#below(3)) << 192n, 0n, 0n] }),
      );
      this.#offers.push(offerId);
      offers.push(offerId);
    }
    const client = this.#account(200);
    const head = packHead({
      client,
      token: this.#token(),
      depositWei: 100n * ETHER + this.#wei(),
      poolWei: this.#wei(),
      computeFixedWei: this.#wei(),
      computePerSecondWei: this.#wei() >> 14n,
      secondsMax: 3600,
      secondsPaid: 0,
      deadlineSeconds: 1_900_000_000,
      openedAtSeconds: 1_800_000_000,
      salt: BigInt(this.#below(2 ** 31)),
      slots: 1 + this.#below(3),
      started: false,
      ending: false,
      paidWei: 0n,
    });
    this.#open.push(orderId);
    const [argsDigest, recipientDigest] = [this.#hex(), this.#hex()];
    const goal = this.#below(2) === 0 ? `0x${"00".repeat(32)}` : this.#hex();
    return [...used, said("OrderOpened", { orderId, head, argsDigest, recipientDigest, goal, offers })];
  }

  #settle(order: OrderRecord, outcome: number): Said[] {
    const node = this.#node();
    if (node === undefined) return [];
    this.#close(order);
    const seconds = BigInt(unpackHead(order.escrow.head).secondsPaid + this.#below(60));
    const result =
      (BigInt(node) << 96n) | (BigInt(outcome) << 64n) | (BigInt(this.#below(3)) << 32n) | seconds;
    const [reportDigest, outputDigest] = [this.#hex(), outcome === 0 ? this.#hex() : `0x${"00".repeat(32)}`];
    return [said("OrderSettled", { orderId: order.id, reportDigest, outputDigest, result })];
  }

  #refund(order: OrderRecord): Said[] {
    this.#close(order);
    const node = this.#node();
    const refunded = said("OrderRefunded", { orderId: order.id });
    const stakeWei = this.state.nodes.get(node as never)?.stakeWei ?? 0n;
    if (node === undefined || stakeWei < ETHER || this.#below(2) === 0) return [refunded];
    return [
      refunded,
      said("OrderForfeited", { orderId: order.id, node }),
      said("NodeSlashed", { node, reason: 3, amountWei: ETHER / 10n }),
      said("StakeChanged", { node, stakeWei: stakeWei - ETHER / 10n }),
      said("KittyChanged", { kittyWei: this.state.kittyWei + ETHER / 10n }),
    ];
  }

  #extend(order: OrderRecord): Said[] {
    const head = unpackHead(order.escrow.head);
    const more = { depositWei: head.depositWei + ETHER, deadlineSeconds: head.deadlineSeconds + 3600 };
    return [said("OrderChanged", { orderId: order.id, head: packHead({ ...head, ...more }) })];
  }

  #claim(order: OrderRecord): Said[] {
    const node = this.#node();
    const head = unpackHead(order.escrow.head);
    const secondsPaid = head.secondsPaid + 1 + this.#below(10);
    if (node === undefined || secondsPaid > head.secondsMax) return [];
    const claimed = splitClaim(order.escrow, secondsPaid, order.client);
    const paidWei = claimed.reduce((sum, { amountWei }) => sum + amountWei, head.paidWei);
    const forSlot = head.computePerSecondWei * BigInt(secondsPaid - head.secondsPaid);
    const slots = this.#paySlots(order, head.slots - 1, forSlot);
    const slotsWei = forSlot * BigInt(head.slots - 1);
    const after = packHead({ ...head, secondsPaid, paidWei: paidWei + slotsWei });
    return [...slots, said("OrderClaimed", { orderId: order.id, node, head: after })];
  }

  #paySlots(order: OrderRecord, count: number, amountWei: bigint): Said[] {
    if (count === 0) return [];
    const operators = Array.from({ length: count }, () => this.#account(5));
    return [
      said("OrderSlotsPaid", { orderId: order.id, operators, amounts: operators.map(() => amountWei) }),
    ];
  }

  #start(order: OrderRecord): Said[] {
    const node = this.#node();
    const head = unpackHead(order.escrow.head);
    if (node === undefined || head.started || head.secondsPaid > 0) return [];
    const begun = packHead({ ...head, started: true, openedAtSeconds: head.openedAtSeconds + 60 });
    return [said("OrderStarted", { orderId: order.id, node, head: begun })];
  }

  #useChannel(): Said[] {
    const channelId =
      this.#channels.length < 3 || this.#below(4) === 0 ? this.#hex() : this.#pick(this.#channels);
    const record = this.state.channels.get(channelId);
    if (record === undefined || !record.isOpen) return this.#fund(channelId);
    const { consumer, token, payee } = record.channel;
    const restWei = record.depositWei - record.claimedWei;
    if (this.#below(8) === 0) return [said("ChannelClosed", { channelId, consumer, token, restWei })];
    const claimed = said("VoucherClaimed", { channelId, payee, token, amountWei: restWei / 3n });
    if (this.#below(3) > 0) return [claimed];
    // A share of what the service earned goes on to a model's own split, and from there to who trained it.
    const accounts = [this.#account(30), this.#account(5)];
    const whole = (this.state.balances.get(`${token}:${payee}`) ?? 0n) + restWei / 3n;
    const amount = (whole * 2500n) / 10_000n + (whole * 7500n) / 10_000n;
    return [
      claimed,
      said("SplitDistributed", { token, split: payee, amount, accounts, sharesBps: [2500, 7500] }),
    ];
  }

  #fund(unused: Hex32): Said[] {
    const channelId = this.state.channels.has(unused) ? this.#hex() : unused;
    const consumer = this.#account(200);
    const channel = {
      consumer,
      token: this.#token(),
      payee: this.#account(5),
      expiry: 1_900_000_000,
      salt: 3n,
    };
    this.#channels.push(channelId);
    return [said("ChannelFunded", { channelId, consumer, channel, addWei: ETHER })];
  }

  #moveMoney(): Said[] {
    const [token, account] = [this.#token(), this.#account(200)];
    const held = this.state.balances.get(`${token}:${account}`) ?? 0n;
    const dice = this.#below(3);
    if (held === 0n || dice === 0) return [said("Deposited", { token, account, amount: this.#wei() })];
    if (dice === 1) return [said("BalanceUsed", { token, account, amount: held / 2n })];
    return [said("Withdrawn", { token, account, to: account, amount: held })];
  }

  #govern(): Said[] {
    const acts = [
      () => this.#register(this.#account()),
      () => [said("RootAnchored", { size: BigInt(++this.#number), root: this.#hex() })],
      () => [
        said("TermStarted", {
          term: BigInt(this.state.term.term + 1),
          leader: this.#nodeOrNew(),
          votes: 3n,
          voters: 3n,
        }),
      ],
      () => [said("TermVoided", { term: BigInt(this.state.term.term), leader: this.#nodeOrNew() })],
      () => this.#group([this.#nodeOrNew(), this.#nodeOrNew()]),
      () => this.#decide(),
      () => this.#reward(),
      () => this.#leave(),
      () => [
        said("NodeEndpointChanged", {
          node: this.#nodeOrNew(),
          endpoint: `tls://moved\0\\0 ${this.#below(9)}`,
        }),
      ],
    ];
    return this.#pick(acts)();
  }

  #register(node: Address): Said[] {
    const [operator, measurement] = [this.#account(5), this.#hex()];
    return [
      said("MeasurementApproved", { measurement, effectiveAt: 5n }),
      said("AuthorityApproved", { authority: this.#account(3), effectiveAt: 2n ** 64n - 1n }),
      said("NodeRegistered", {
        node,
        operator,
        keysDigest: this.#hex(),
        certificateDigest: this.#hex(),
        measurement,
        roles: 3,
        issuedAt: 1n,
        notAfter: 4_000_000_000n,
        endpoint: "tls://node:1",
      }),
      said("StakeChanged", { node, stakeWei: 10n * ETHER }),
    ];
  }

  #group(members: readonly Address[]): Said[] {
    const [goal, goalId] = [this.#hex(), `goal ${this.#below(1000)}`];
    return [
      said("GoalDeclared", { goal, owner: this.#account(), goalId, document: "0xa10203" }),
      said("GroupFormed", { goal, epoch: BigInt(++this.#number), term: 1n, goalId, members }),
    ];
  }

  #decide(): Said[] {
    const [decision, subject] = [this.#hex(), this.#hex()];
    const announced = said("DecisionAnnounced", { decision, kind: 1, subject, value: 0n, effectiveAt: 77n });
    const round = BigInt(this.state.round + 1);
    if (this.#below(2) === 0) return [announced];
    return [
      announced,
      said("DecisionEnacted", { kind: 2, subject, value: 0n, round }),
      said("MeasurementRevoked", { measurement: [...this.state.measurements.keys()][0] ?? subject }),
      said("AuthorityRevoked", { authority: [...this.state.authorities.keys()][0] ?? this.#account() }),
    ];
  }

  #reward(): Said[] {
    const operator = [...this.state.rewards.keys()][0];
    const withdrawn =
      operator === undefined ? [] : [said("RewardWithdrawn", { operator, to: operator, amountWei: 1n })];
    const epoch = BigInt(this.state.rewardEpoch + 1);
    return [...withdrawn, said("RewardsPaid", { epoch, nodes: [this.#nodeOrNew()], shares: [this.#wei()] })];
  }

  #leave(): Said[] {
    const node = this.#nodeOrNew();
    if (this.state.nodes.size < 4) return [said("NodeDeactivated", { node, reason: 2 })];
    return [
      said("NodeDeactivated", { node, reason: 3 }),
      said("StakeReleased", { node, operator: this.#account(5), amountWei: ETHER }),
    ];
  }

  #openOrder(): OrderRecord | undefined {
    const id = this.#open.length === 0 ? undefined : this.#pick(this.#open);
    return id && this.state.orders.get(id);
  }

  #close(order: OrderRecord): void {
    const last = this.#open.pop() as Hex32;
    if (last !== order.id) this.#open[this.#open.indexOf(order.id)] = last;
  }

  #node(): Address | undefined {
    const nodes = [...this.state.nodes.keys()];
    return nodes.length === 0 ? undefined : this.#pick(nodes);
  }

  #nodeOrNew(): Address {
    return this.#node() ?? this.#account();
  }

  #token(): Address {
    return this.#pick(TOKENS);
  }

  #wei(): bigint {
    return BigInt(this.#below(2 ** 31)) * BigInt(this.#below(2 ** 30));
  }

  /** One of some accounts, or a new one. */
  #account(of = 0): Address {
    const name =
      of === 0 ? this.#hex().slice(2, 42) : (this.#below(of) + 0xabcdef).toString(16).padStart(40, "0");
    return `0x${name}` as Address;
  }

  #hex(): Hex32 {
    let hex = "";
    while (hex.length < 64)
      hex += this.#below(2 ** 32)
        .toString(16)
        .padStart(8, "0");
    return `0x${hex}` as Hex32;
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T;
  }

  /** A whole number below `limit`: mulberry32. */
  #below(limit: number): number {
    this.#seed = (this.#seed + 0x6d2b79f5) >>> 0;
    let t = this.#seed;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }
}

function said(eventName: MarketEvent["eventName"], args: Readonly<Record<string, unknown>>): Said {
  return { eventName, args } as unknown as Said;
}
