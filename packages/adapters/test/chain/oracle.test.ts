import fc from "fast-check";
import { createPublicClient, http } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf, toHex, utf8, type Address, type NodeId, type OrderId } from "@cloister/core";
import {
  addressOfSecret,
  balanceOf,
  cancelOrder,
  claimSlots,
  deposit,
  distribute,
  endSeconds,
  extendOrder,
  GRACE_SECONDS,
  highestPriceWei,
  marketAbi,
  NATIVE_TOKEN,
  openOrder,
  orderId,
  OUTCOMES,
  packOffer,
  packOrder,
  payableSeconds,
  refundOrder,
  secondsAllowed,
  serviceSplit,
  settleSlots,
  sharesDown,
  signStatement,
  slotPayWei,
  splitAddress,
  splitClaim,
  splitEscrow,
  startOrder,
  unpackHead,
  type Assignment,
  type Call,
  type Chain,
  type Escrow,
  type Offer,
  type Order,
  type OrderRecord,
  type Outcome,
  type Payout,
  type SlotsAssignment,
  type Split,
} from "@cloister/market";
import { connectJsonRpc, deploy, openChain, type JsonRpc } from "../../src/chain/index.ts";
import { findAnvil, startAnvil, type Anvil } from "./anvil.ts";
import { accountOf, formSwarm, offerOf, orderOf, RICH, secretOf, testConfig } from "./world.ts";

const amount = fc.bigInt({ min: 0n, max: 2n ** 50n });
/** Orders open for 60 seconds. */
const secondsMax = fc.oneof(fc.constant(0), fc.integer({ min: 60, max: 1500 }));
const terms = fc
  .record({ fixedWei: amount, perSecondWei: amount, shareBps: fc.integer({ min: 0, max: 3333 }), secondsMax })
  .chain((drawn) =>
    fc.bigInt({ min: 0n, max: drawn.fixedWei }).map((bookingWei) => ({ ...drawn, bookingWei })),
  );
const seconds = fc.nat(900);
const slotSeconds = fc.tuple(seconds, seconds);

/** What happens to an order between its opening and its end. */
const step = fc.oneof(
  fc.record({ what: fc.constant("wait" as const), seconds: fc.nat(400) }),
  fc.record({ what: fc.constant("start" as const) }),
  fc.record({ what: fc.constant("claim" as const), seconds, slotSeconds }),
  fc.record({ what: fc.constant("extend" as const), extraWei: amount, addSeconds: seconds, later: seconds }),
  fc.record({ what: fc.constant("cancel" as const) }),
);
const end = fc.oneof(
  { weight: 5, arbitrary: fc.record({ what: fc.constantFrom(...OUTCOMES), seconds, slotSeconds }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("refunded" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type End = typeof end extends fc.Arbitrary<infer T> ? T : never;

const OWNERS = ["engineer", "station", "lab"] as const;
const KINDS = ["engine", "data", "model"] as const;
const LIFE_SECONDS = 1_000;

function same(got: unknown, expected: unknown): void {
  expect(got).toEqual(expected);
}

describe.skipIf(findAnvil() === undefined)("the settlement mathematics (needs anvil)", () => {
  let anvil: Anvil;
  let rpc: JsonRpc;
  let chain: Chain;
  let salt = 0n;
  const operatorOf = (name: string): Uint8Array => secretOf(`${name} operator`);
  /** The first reports for all, the others ascend. */
  const [first, ...others] = ["node-b", "node-a", "node-c"];
  const nodes = [first, ...others.toSorted((a, b) => (accountOf(a) < accountOf(b) ? -1 : 1))] as string[];

  beforeAll(async () => {
    anvil = await startAnvil();
    rpc = connectJsonRpc(anvil.rpcUrl);
    const deployment = await deploy({ rpcUrl: anvil.rpcUrl, config: testConfig(), secret: RICH });
    chain = await openChain({ rpcUrl: anvil.rpcUrl, deployment });
    for (const name of nodes) {
      const operator = accountOf(`${name} operator`);
      await rpc.request("anvil_setBalance", [operator, `0x${(10n ** 20n).toString(16)}`]);
    }
    await formSwarm(chain, operatorOf);
  }, 60_000);

  afterAll(() => anvil.kill());

  async function onChain(account: Address): Promise<bigint> {
    const client = createPublicClient({ transport: http(anvil.rpcUrl) });
    const { market } = chain.deployment;
    return client.readContract({
      address: market,
      abi: marketAbi,
      functionName: "balanceOf",
      args: [NATIVE_TOKEN, account],
    });
  }

  /** Sends, and says at what time it was mined. */
  async function mined(call: Call): Promise<number> {
    await chain.send(call, RICH);
    return (await chain.refresh()).block.timestampMs / 1000;
  }

  /** Asks the contract itself: where the read model knows that something is done, it would not be sent at all. */
  async function expectRefused({ to, data, valueWei }: Call): Promise<void> {
    const from = addressOfSecret(RICH);
    const call = { from, to, data, value: `0x${valueWei.toString(16)}` };
    await expect(rpc.request("eth_call", [call, "pending"])).rejects.toMatchObject({
      code: "CHAIN_RPC_ERROR",
    });
  }

  function recordOf(id: OrderId): OrderRecord {
    return chain.view()?.state.orders.get(id) as OrderRecord;
  }

  /** Holds every account's balance, in the contract and in the read model, against what the mathematics foretold. */
  async function expectBalances(expected: ReadonlyMap<Address, bigint>): Promise<void> {
    const state = chain.view()?.state;
    for (const [account, amountWei] of expected) {
      expect({ account, wei: await onChain(account) }).toEqual({ account, wei: amountWei });
      expect({ account, wei: state && balanceOf(state, NATIVE_TOKEN, account) }).toEqual({
        account,
        wei: amountWei,
      });
    }
  }

  /** One order with its foretold balances. */
  class Life {
    readonly id: OrderId;
    readonly #slots: number;
    readonly #expected = new Map<Address, bigint>();

    private constructor(id: OrderId, slots: number) {
      this.id = id;
      this.#slots = slots;
    }

    static async open(offers: readonly Offer[], slots: number, poolWei: bigint): Promise<Life> {
      const { deployment } = chain;
      const now = (await chain.refresh()).block.timestampMs / 1000;
      const plain = { ...orderOf(deployment, offers, ++salt, now + LIFE_SECONDS), poolWei, slots };
      const depositWei = highestPriceWei(
        plain,
        offers.map((offer) => offer.terms),
      );
      const order: Order = { ...plain, depositWei: depositWei + 17n };
      const uses = offers.map((offer, i) => ({
        offer,
        signature: signStatement(deployment, "Offer", offer, secretOf(OWNERS[i] as string)),
      }));
      await mined(openOrder(deployment, order, uses));
      const life = new Life(orderId(deployment, order), slots);
      const accounts = [
        ...OWNERS.map(accountOf),
        ...nodes.map((name) => accountOf(`${name} operator`)),
        order.client,
      ];
      const { state } = await chain.refresh();
      for (const account of accounts) life.#expected.set(account, balanceOf(state, NATIVE_TOKEN, account));
      return life;
    }

    get #escrow(): Escrow {
      return recordOf(this.id).escrow;
    }

    get #others(): readonly string[] {
      return nodes.slice(1, this.#slots);
    }

    #assignment(): readonly [SlotsAssignment, Uint8Array] {
      const ids = nodes.slice(0, this.#slots).map(accountOf) as unknown as [NodeId, ...NodeId[]];
      const slots: SlotsAssignment = { orderId: this.id, nodes: ids, term: 1, epoch: 1 };
      const { deployment } = chain;
      const plain: Assignment = { orderId: this.id, node: ids[0], term: 1, epoch: 1 };
      const leader = secretOf("node-a");
      const signature =
        this.#slots === 1
          ? signStatement(deployment, "Assignment", plain, leader)
          : signStatement(deployment, "SlotsAssignment", slots, leader);
      return [slots, signature];
    }

    #credit({ account, amountWei }: Pick<Payout, "account" | "amountWei">): void {
      this.#expected.set(account, (this.#expected.get(account) ?? 0n) + amountWei);
    }

    /** Credits further slots, and gives what they got in all. */
    #creditSlots(escrow: Escrow, how: Outcome | "claimed", paid: number, used: readonly number[]): bigint {
      return this.#others.reduce((sum, name, i) => {
        const amountWei = slotPayWei(unpackHead(escrow.head), how, paid, used[i] ?? 0);
        this.#credit({ account: accountOf(`${name} operator`), amountWei });
        return sum + amountWei;
      }, 0n);
    }

    async take(next: Step): Promise<void> {
      if (next.what === "wait") return void (await rpc.request("evm_increaseTime", [next.seconds]));
      const call = this.#callOf(next);
      const { escrow } = recordOf(this.id);
      const refusal = await this.#expectable(next, escrow);
      if (refusal) return expectRefused(call);
      const at = await mined(call);
      if (next.what === "claim")
        this.#foretellClaim(
          escrow,
          payableSeconds(unpackHead(escrow.head), next.seconds, at),
          next.slotSeconds,
        );
      await this.#expectHead(next, escrow, at);
      await expectBalances(this.#expected);
    }

    #foretellClaim(escrow: Escrow, paid: number, used: readonly number[]): void {
      for (const payout of splitClaim(escrow, paid, accountOf(`${first} operator`))) this.#credit(payout);
      this.#creditSlots(escrow, "claimed", paid, used);
    }

    #callOf(next: Exclude<Step, { what: "wait" }>): Call {
      const { deployment } = chain;
      const escrow = this.#escrow;
      const [assignment, leader] = this.#assignment();
      const node = secretOf(first);
      if (next.what === "cancel") return cancelOrder(deployment, this.id, escrow);
      if (next.what === "start") {
        const plain = { ...assignment, node: assignment.nodes[0] };
        const begun = signStatement(deployment, "Start", { orderId: this.id }, node);
        return startOrder(deployment, escrow, this.#slots === 1 ? plain : assignment, leader, begun);
      }
      if (next.what === "extend") {
        const { extraWei, addSeconds, later } = next;
        const head = unpackHead(escrow.head);
        const deadlineSeconds = head.deadlineSeconds + later;
        const wanted = highestPriceWei(
          { ...head, secondsMax: head.secondsMax + addSeconds },
          recordOf(this.id).payees,
        );
        const addWei = extraWei + (wanted > head.depositWei ? wanted - head.depositWei : 0n);
        return extendOrder(deployment, this.id, escrow, { addWei, addSeconds, deadlineSeconds });
      }
      const beat = {
        orderId: this.id,
        secondsUsed: next.seconds,
        slotSeconds: next.slotSeconds.slice(0, this.#slots - 1),
      };
      const attested =
        this.#slots === 1
          ? signStatement(deployment, "Heartbeat", beat, node)
          : signStatement(deployment, "SlotsHeartbeat", beat, node);
      return claimSlots(deployment, escrow, assignment, leader, beat, attested);
    }

    /** Whether the contract must refuse the step when it is mined in the next second or so. */
    async #expectable(next: Step, escrow: Escrow): Promise<boolean> {
      const head = unpackHead(escrow.head);
      const block = await rpc.request<{ timestamp: string }>("eth_getBlockByNumber", ["pending", false]);
      const now = Number(block.timestamp);
      if (next.what === "start") return now > head.deadlineSeconds || head.started || head.secondsPaid > 0;
      if (next.what === "cancel") return now + 600 >= head.deadlineSeconds;
      if (next.what === "claim")
        return now > endSeconds(head) || payableSeconds(head, next.seconds, now) <= head.secondsPaid;
      if (next.what === "extend") {
        const tooLong = head.secondsMax + next.addSeconds > secondsAllowed(recordOf(this.id).payees);
        return tooLong || now > endSeconds(head) || head.deadlineSeconds + next.later < now;
      }
      return false;
    }

    /** What the step did to the words of the escrow. */
    async #expectHead(next: Step, escrow: Escrow, at: number): Promise<void> {
      const [before, after] = [unpackHead(escrow.head), unpackHead(this.#escrow.head)];
      if (next.what === "start") same(after, { ...before, started: true, openedAtSeconds: at });
      if (next.what === "cancel") same(after, { ...before, ending: true, deadlineSeconds: at + 600 });
      if (next.what === "extend") {
        const secondsMax = before.secondsMax + next.addSeconds;
        const deadlineSeconds = before.deadlineSeconds + next.later;
        same(after, { ...before, secondsMax, deadlineSeconds, depositWei: after.depositWei });
      }
      if (next.what !== "claim") return;
      const secondsPaid = payableSeconds(before, next.seconds, at);
      const timedWei = splitClaim(escrow, secondsPaid, before.client).reduce(
        (sum, one) => sum + one.amountWei,
        0n,
      );
      const slotsWei = this.#others.reduce(
        (sum, _, i) => sum + slotPayWei(before, "claimed", secondsPaid, next.slotSeconds[i] ?? 0),
        0n,
      );
      same(after, { ...before, secondsPaid, paidWei: before.paidWei + timedWei + slotsWei });
    }

    /** Ends the order, as `how` says, or by a refund where its time is over, and compares to the unit. */
    async end(how: End): Promise<void> {
      const head = unpackHead(this.#escrow.head);
      const block = await rpc.request<{ timestamp: string }>("eth_getBlockByNumber", ["pending", false]);
      if (how.what === "refunded" || Number(block.timestamp) > head.deadlineSeconds) await this.#refund();
      else await this.#settle(how.what, how.seconds, how.slotSeconds);
      await expectBalances(this.#expected);
    }

    async #refund(): Promise<void> {
      const escrow = this.#escrow;
      const head = unpackHead(escrow.head);
      const call = refundOrder(chain.deployment, this.id, escrow);
      const now = (): Promise<number> =>
        rpc
          .request<{ timestamp: string }>("eth_getBlockByNumber", ["pending", false])
          .then((one) => Number(one.timestamp));
      if ((await now()) < endSeconds(head)) {
        await expectRefused(call);
      }
      await rpc.request("evm_increaseTime", [Math.max(1, endSeconds(head) + 2 - (await now()))]);
      await mined(call);
      for (const payout of splitEscrow(escrow, "failed", 0, head.client)) this.#credit(payout);
      same(recordOf(this.id).status, "refunded");
    }

    async #settle(outcome: Outcome, secondsUsed: number, used: readonly number[]): Promise<void> {
      const { deployment } = chain;
      const escrow = this.#escrow;
      const [assignment, leader] = this.#assignment();
      const report = {
        orderId: this.id,
        reportDigest: digestOf(utf8("report")),
        outcome,
        exitCode: 0,
        secondsUsed,
      };
      const slots = { report, slotSeconds: used.slice(0, this.#slots - 1) };
      const node = secretOf(first);
      const signature =
        this.#slots === 1
          ? signStatement(deployment, "Report", report, node)
          : signStatement(deployment, "SlotsReport", slots, node);
      const at = await mined(settleSlots(deployment, escrow, assignment, leader, slots, signature));
      const paid = payableSeconds(unpackHead(escrow.head), secondsUsed, at);
      same(recordOf(this.id).settlement?.secondsPaid, paid);
      const slotsWei = this.#creditSlots(escrow, outcome, paid, used);
      const [a, b, c, d] = escrow.head;
      const rest = { ...escrow, head: [a, b, c, d + slotsWei] as const };
      for (const payout of splitEscrow(rest, outcome, paid, accountOf(`${first} operator`)))
        this.#credit(payout);
    }
  }

  test("foretells every balance through claims, extensions and any end", { timeout: 180_000 }, async () => {
    const drawn = fc.record({
      offers: fc.array(terms, { minLength: 1, maxLength: 3 }),
      slots: fc.integer({ min: 1, max: 3 }),
      poolWei: amount,
      steps: fc.array(step, { maxLength: 5 }),
      end,
    });
    await fc.assert(
      fc.asyncProperty(drawn, async (one) => {
        const offers = one.offers.map((drawnTerms, i) =>
          offerOf(OWNERS[i] as string, KINDS[i] as Offer["kind"], drawnTerms),
        );
        const life = await Life.open(offers, one.slots, one.poolWei);
        for (const next of one.steps) await life.take(next);
        await life.end(one.end);
      }),
      { numRuns: Number(process.env["CLOISTER_RUNS"] ?? 40) },
    );
  });

  test(
    "gives a service that was paid by the second a day, and a cancelled one none",
    { timeout: 60_000 },
    async () => {
      const offers = [offerOf("engineer", "engine", { perSecondWei: 3n })];
      for (const cancel of [false, true]) {
        const life = await Life.open(offers, 1, 0n);
        await life.take({ what: "wait", seconds: 100 });
        await life.take({ what: "claim", seconds: 40, slotSeconds: [0, 0] });
        if (cancel) await life.take({ what: "cancel" });
        const head = unpackHead(recordOf(life.id).escrow.head);
        expect(endSeconds(head)).toBe(head.deadlineSeconds + (cancel ? 0 : GRACE_SECONDS));
        await life.end({ what: "refunded" });
      }
    },
  );

  test(
    "splits what is paid to a service, and what one split pays to another",
    { timeout: 60_000 },
    async () => {
      const { deployment } = chain;
      const share = fc.integer({ min: 0, max: 10_000 });
      await fc.assert(
        fc.asyncProperty(share, share, amount, amount, async (dataBps, modelBps, firstWei, moreWei) => {
          const data: Split = { accounts: ["u", "v"].map(accountOf), sharesBps: [dataBps, 10_000 - dataBps] };
          const inner = splitAddress(deployment, data);
          const service: Split = {
            accounts: [inner, accountOf("w")],
            sharesBps: [modelBps, 10_000 - modelBps],
          };
          const outer = splitAddress(deployment, service);
          const expected = new Map<Address, bigint>();
          const accounts = [inner, outer, ...["u", "v", "w"].map(accountOf)];
          for (const account of accounts) expected.set(account, await onChain(account));
          const move = ({ accounts: to, sharesBps }: Split, from: Address): void => {
            const shares = sharesDown(expected.get(from) ?? 0n, sharesBps);
            to.forEach((account, i) =>
              expected.set(account, (expected.get(account) ?? 0n) + (shares[i] ?? 0n)),
            );
            const paidWei = shares.reduce((sum, one) => sum + one, 0n);
            expected.set(from, (expected.get(from) ?? 0n) - paidWei);
          };
          for (const amountWei of [firstWei, moreWei]) {
            await mined(deposit(deployment, NATIVE_TOKEN, outer, amountWei));
            expected.set(outer, (expected.get(outer) ?? 0n) + amountWei);
            await mined(distribute(deployment, NATIVE_TOKEN, service.accounts, service.sharesBps));
            move(service, outer);
            await mined(distribute(deployment, NATIVE_TOKEN, data.accounts, data.sharesBps));
            move(data, inner);
            await expectBalances(expected);
          }
        }),
        { numRuns: 4 },
      );
    },
  );

  test("names the split that the contract pays out", async () => {
    const client = createPublicClient({ transport: http(anvil.rpcUrl) });
    const { deployment } = chain;
    const accounts = fc.uniqueArray(
      fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => `0x${toHex(bytes)}`),
      {
        minLength: 1,
        maxLength: 5,
      },
    );
    await fc.assert(
      fc.asyncProperty(accounts, fc.nat(10_000), async (names, first) => {
        const split = {
          accounts: names.map((name) => name as Address),
          sharesBps: names.map((_, i) =>
            names.length === 1 ? 10_000 : i === 0 ? first : i === 1 ? 10_000 - first : 0,
          ),
        };
        const { accounts: listed, sharesBps } = split;
        const args = [listed, sharesBps] as const;
        const address = await client.readContract({
          address: deployment.market,
          abi: marketAbi,
          functionName: "splitAddress",
          args,
        });
        expect(splitAddress(deployment, split)).toBe(address.toLowerCase());
      }),
      { numRuns: 10 },
    );
    const [engine, data] = [
      offerOf("engineer", "engine", { shareBps: 1500 }),
      offerOf("station", "data", { shareBps: 2500 }),
    ];
    const order = orderOf(deployment, [engine, data], ++salt, 2_000_000_000);
    const escrow = {
      head: packOrder(order),
      payees: [packOffer(engine), packOffer(data)].flatMap(([a, b]) => [a, b]),
    };
    const service = await client.readContract({
      address: deployment.market,
      abi: marketAbi,
      functionName: "serviceSplit",
      args: [escrow.head, escrow.payees],
    });
    expect(splitAddress(deployment, serviceSplit(escrow))).toBe(service[0].toLowerCase());
    expect(serviceSplit(escrow).sharesBps).toEqual([1500, 2500, 6000]);
  });
});
