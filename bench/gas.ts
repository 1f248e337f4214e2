/**
 * What each call to the contracts costs, everything counted: transactions on a chain of its own, the gas of
 * their receipts. `--write` keeps the table in bench/gas-snapshot.json.
 */
import { writeFileSync } from "node:fs";
import { connectJsonRpc } from "@cloister/adapters/chain";
import { concat, digestFrom, digestToHex, sha256, utf8, type Digest } from "@cloister/core";
import {
  addressOfSecret,
  anchorRoot,
  balanceOf,
  cancelOrder,
  changeOffer,
  claimOrder,
  claimVoucher,
  closeChannel,
  declareGoal,
  deposit,
  distribute,
  enableOffer,
  extendOrder,
  forfeitOrder,
  formGroup,
  fundChannel,
  hashStatement,
  NATIVE_TOKEN,
  openOrder,
  openOrderFor,
  orderId,
  publishOffer,
  refundOrder,
  revokeOffer,
  settleBatch,
  settleOrder,
  settleSlots,
  signStatement,
  splitAddress,
  startOrder,
  transparencyLogAbi,
  withdraw,
  type Call,
  type Channel,
  type Escrow,
  type Offer,
  type OfferTerms,
  type Order,
} from "@cloister/market";
import { readFlags } from "@cloister/tools/flags";
import { atMost, printReport } from "@cloister/tools/report";
import {
  accountOf,
  assignmentOf,
  certificateOf,
  CLIENT,
  offerOf,
  openCall,
  orderOf,
  reportOf,
  secretOf,
  startNetwork,
  termCall,
  type GasNetwork,
} from "./gas-network.ts";
import { encodeFunctionData } from "viem/utils";

const BATCH = 50;
const ETHER = 10n ** 18n;
const CHANNEL: Channel = {
  consumer: addressOfSecret(CLIENT),
  token: NATIVE_TOKEN,
  payee: accountOf("service"),
  expirySeconds: 2_000_000_000,
  salt: 1n,
};

interface Row {
  readonly name: string;
  readonly gas: number;
  readonly goal?: number;
}

class Bench {
  readonly #network: GasNetwork;
  readonly rows: Row[] = [];
  #salt = 0n;

  constructor(network: GasNetwork) {
    this.#network = network;
  }

  get rpcUrl(): string {
    return this.#network.rpcUrl;
  }

  get chain(): GasNetwork["chain"] {
    return this.#network.chain;
  }

  note(name: string, gas: number, goal?: number): void {
    this.rows.push(goal === undefined ? { name, gas } : { name, gas, goal });
  }

  async gasOf(call: Call, secret: Uint8Array = CLIENT): Promise<number> {
    const result = await this.chain.send(call, secret);
    if (result.kind !== "mined") throw new Error(`${call.name} was not sent`);
    return Number(result.gasUsed);
  }

  order(offers: readonly Offer[]): Order {
    return orderOf(this.chain, offers, ++this.#salt);
  }

  async escrowOf(order: Order): Promise<Escrow> {
    const { state } = await this.chain.refresh();
    const record = state.orders.get(orderId(this.chain.deployment, order));
    if (record === undefined) throw new Error("the order is not open");
    return record.escrow;
  }

  async settleCall(order: Order): Promise<Call> {
    const { deployment } = this.chain;
    const [assignment, report] = [assignmentOf(this.chain, order), reportOf(this.chain, order)];
    return settleOrder(
      deployment,
      await this.escrowOf(order),
      assignment,
      signStatement(deployment, "Assignment", assignment, secretOf("node-a")),
      report,
      signStatement(deployment, "Report", report, secretOf("node-b")),
    );
  }

  async life(offers: readonly Offer[]): Promise<{ open: number; settle: number }> {
    const order = this.order(offers);
    const open = await this.gasOf(openCall(this.chain, order, offers));
    return { open, settle: await this.gasOf(await this.settleCall(order)) };
  }
}

async function publish(bench: Bench, name: string, terms: Partial<OfferTerms> = {}): Promise<Offer> {
  const offer = offerOf(name, name.startsWith("engine") ? "engine" : "data", terms);
  await bench.chain.transfer(accountOf(name), ETHER, CLIENT);
  const gas = await bench.gasOf(publishOffer(bench.chain.deployment, offer), secretOf(name));
  if (name === "engine") bench.note("publish an offer", gas);
  return offer;
}

/** Balances that are not zero, as parties that are paid now and then have them. */
async function orders(bench: Bench): Promise<void> {
  const engine = await publish(bench, "engine");
  const data = await publish(bench, "data");
  const counted = await publish(bench, "counted", { runsMax: 1000 });
  const more = await publish(bench, "more");
  await bench.life([engine, data, counted, more]);
  const two = await bench.life([engine, data]);
  bench.note("open: engine, data set, compute", two.open);
  bench.note("settle: engine, data set, compute", two.settle);
  bench.note("open + settle", two.open + two.settle, 130_000);
  const three = await bench.life([engine, data, more]);
  bench.note("a further input", three.open + three.settle - two.open - two.settle, 12_000);
  const limited = await bench.life([engine, counted]);
  bench.note("open + settle, runs counted", limited.open + limited.settle);
  await batch(bench, [engine, data]);
  await signedOffer(bench);
}

async function batch(bench: Bench, offers: readonly Offer[]): Promise<void> {
  const { deployment } = bench.chain;
  const list = Array.from({ length: BATCH }, () => bench.order(offers));
  let open = 0;
  for (const order of list) open += await bench.gasOf(openCall(bench.chain, order, offers));
  const first = list[0] as Order;
  const { node, term, epoch } = assignmentOf(bench.chain, first);
  const items = [];
  for (const order of list)
    items.push({ escrow: await bench.escrowOf(order), report: reportOf(bench.chain, order) });
  const assigned = { orderIds: list.map((order) => orderId(deployment, order)), node, term, epoch };
  const reported = { reports: items.map((item) => item.report) };
  const settle = await bench.gasOf(
    settleBatch(
      deployment,
      items,
      { node, term, epoch },
      signStatement(deployment, "AssignmentBatch", assigned, secretOf("node-a")),
      signStatement(deployment, "ReportBatch", reported, secretOf("node-b")),
    ),
  );
  bench.note(`settle, each of a batch of ${BATCH}`, Math.round(settle / BATCH));
  bench.note(`open + settle in a batch of ${BATCH}`, Math.round((open + settle) / BATCH), 85_000);
}

async function signedOffer(bench: Bench): Promise<void> {
  const offer = offerOf("unpublished", "engine");
  const signature = signStatement(bench.chain.deployment, "Offer", offer, secretOf("unpublished"));
  const order = bench.order([offer]);
  const call = openOrder(bench.chain.deployment, order, [{ offer, signature }]);
  bench.note("open on a signed offer that nobody published", await bench.gasOf(call));
}

async function services(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const engine = await publish(bench, "engine-service", { perSecondWei: 5n });
  const order = bench.order([engine]);
  const id = orderId(deployment, order);
  await bench.gasOf(openCall(bench.chain, order, [engine]));
  const assignment = assignmentOf(bench.chain, order);
  for (const secondsUsed of [1, 2]) {
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const heartbeat = { orderId: id, secondsUsed };
    const claim = claimOrder(
      deployment,
      await bench.escrowOf(order),
      assignment,
      signStatement(deployment, "Assignment", assignment, secretOf("node-a")),
      heartbeat,
      signStatement(deployment, "Heartbeat", heartbeat, secretOf("node-b")),
    );
    const gas = await bench.gasOf(claim);
    if (secondsUsed === 2) bench.note("claim of attested seconds, the n-th", gas);
  }
  const more = { addWei: 5_000n, addSeconds: 10, deadlineSeconds: order.deadlineSeconds + 10 };
  bench.note("extend", await bench.gasOf(extendOrder(deployment, id, await bench.escrowOf(order), more)));
  bench.note("cancel", await bench.gasOf(cancelOrder(deployment, id, await bench.escrowOf(order))));
  await vouchers(bench);
}

/** What owners and clients do beside the plain life of an order. */
async function consent(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const owner = secretOf("engine-changed");
  const offer = await publish(bench, "engine-changed");
  const next = { ...offer, terms: { ...offer.terms, fixedWei: offer.terms.fixedWei * 2n } };
  bench.note("disable an offer", await bench.gasOf(enableOffer(deployment, offer, false), owner));
  bench.note("enable an offer", await bench.gasOf(enableOffer(deployment, offer, true), owner));
  bench.note("change an offer", await bench.gasOf(changeOffer(deployment, offer, next), owner));
  const order = bench.order([next]);
  const signature = signStatement(deployment, "Order", order, CLIENT);
  await bench.gasOf(deposit(deployment, NATIVE_TOKEN, order.client, order.depositWei));
  const relayed = openOrderFor(deployment, order, [{ offer: next }], signature);
  bench.note("open an order that its client signed", await bench.gasOf(relayed, owner));
  bench.note("revoke an offer", await bench.gasOf(revokeOffer(deployment, next), owner));
  const assignment = assignmentOf(bench.chain, order);
  const start = startOrder(
    deployment,
    await bench.escrowOf(order),
    assignment,
    signStatement(deployment, "Assignment", assignment, secretOf("node-a")),
    signStatement(deployment, "Start", { orderId: assignment.orderId }, secretOf("node-b")),
  );
  bench.note("start an order", await bench.gasOf(start));
}

async function slots(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const engine = await publish(bench, "engine-slots");
  const plain = bench.order([engine]);
  const order = { ...plain, slots: 2, depositWei: 2n * plain.depositWei };
  bench.note("open an order with two slots", await bench.gasOf(openCall(bench.chain, order, [engine])));
  const { orderId: id, term, epoch, node } = assignmentOf(bench.chain, order);
  const assignment = { orderId: id, nodes: [node, certificateOf("node-c").node] as const, term, epoch };
  const report = { report: reportOf(bench.chain, order), slotSeconds: [12] };
  const settle = settleSlots(
    deployment,
    await bench.escrowOf(order),
    assignment,
    signStatement(deployment, "SlotsAssignment", assignment, secretOf("node-a")),
    report,
    signStatement(deployment, "SlotsReport", report, secretOf("node-b")),
  );
  bench.note("settle an order with two slots", await bench.gasOf(settle));
}

/** What happens when time is over: the chain's clock is set ahead, so nothing comes after it. */
async function ends(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const engine = await publish(bench, "engine-late");
  const order = bench.order([engine]);
  const id = orderId(deployment, order);
  await bench.gasOf(openCall(bench.chain, order, [engine]));
  const { node } = certificateOf("node-c");
  // Only the current term's assignments count, and the one that `swarm` started is not the first.
  const assignment = { ...assignmentOf(bench.chain, order), node, term: 2 };
  const split = { accounts: [accountOf("engine"), accountOf("data")], sharesBps: [2500, 7500] };
  bench.note("declare a goal", await bench.gasOf(declareGoal(deployment, "more", utf8("{}"))));
  await connectJsonRpc(bench.rpcUrl).request("evm_setNextBlockTimestamp", [order.deadlineSeconds + 1]);
  bench.note("refund", await bench.gasOf(refundOrder(deployment, id, await bench.escrowOf(order))));
  const signature = signStatement(deployment, "Assignment", assignment, secretOf("node-a"));
  bench.note("forfeit stake", await bench.gasOf(forfeitOrder(deployment, assignment, signature)));
  const payee = splitAddress(deployment, split);
  await bench.gasOf(deposit(deployment, NATIVE_TOKEN, payee, 1000n));
  const shared = distribute(deployment, NATIVE_TOKEN, split.accounts, split.sharesBps);
  bench.note("distribute a split of two", await bench.gasOf(shared));
  bench.note("close a payment channel", await bench.gasOf(closeChannel(deployment, CHANNEL)));
}

async function vouchers(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const channel = CHANNEL;
  bench.note("open a payment channel", await bench.gasOf(fundChannel(deployment, channel, ETHER, ETHER)));
  const channelId = hashStatement(deployment, "Channel", channel);
  for (const cumulativeWei of [ETHER / 10n, ETHER / 5n]) {
    const voucher = { channelId, cumulativeWei };
    const signature = signStatement(deployment, "Voucher", voucher, CLIENT);
    const gas = await bench.gasOf(claimVoucher(deployment, channel, voucher, signature));
    if (cumulativeWei === ETHER / 5n) bench.note("a service's n-th claim (voucher)", gas, 45_000);
  }
}

async function swarm(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const group = {
    goalId: "compute",
    epoch: 1,
    term: 1,
    members: [certificateOf("node-b").node, certificateOf("node-c").node],
  };
  const signature = signStatement(deployment, "Group", group, secretOf("node-a"));
  bench.note("form a group of two", await bench.gasOf(formGroup(deployment, group, signature)));
  bench.note("start a term (2 of 3 votes)", await bench.gasOf(termCall(bench.chain, 2)));
}

async function money(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const client = addressOfSecret(CLIENT);
  await bench.gasOf(deposit(deployment, NATIVE_TOKEN, client, 10n));
  bench.note("deposit", await bench.gasOf(deposit(deployment, NATIVE_TOKEN, client, 10n)));
  bench.note("withdraw", await bench.gasOf(withdraw(deployment, NATIVE_TOKEN, client, 5n)));
  const { state } = await bench.chain.refresh();
  if (balanceOf(state, NATIVE_TOKEN, client) < 15n) throw new Error("the read model lost a deposit");
}

/** A log of 1,000 entries that grows by 1,000: what publishing one certificate or report costs. */
async function log(bench: Bench): Promise<void> {
  const { deployment } = bench.chain;
  const leaves = Array.from({ length: 2000 }, (_, i) => sha256(concat(new Uint8Array([0]), utf8(String(i)))));
  const anchor = async (size: number, proof: readonly Digest[]): Promise<number> => {
    const checkpoint = { size, root: digestFrom(rootOf(leaves, 0, size)) };
    const signature = signStatement(deployment, "Checkpoint", checkpoint, secretOf("authority"));
    return bench.gasOf(anchorRoot(deployment, checkpoint, proof, signature));
  };
  await anchor(1000, []);
  const gas = await anchor(2000, consistency(leaves, 1000, 0, 2000, true).map(digestFrom));
  bench.note("anchor a root", gas);
  bench.note("publish one entry in a batch of 1,000", Math.ceil(gas / 1000), 60);
  const path = pathOf(leaves, 777, 0, 2000).map((hash) => digestToHex(digestFrom(hash)));
  const data = encodeFunctionData({
    abi: transparencyLogAbi,
    functionName: "includes",
    args: [digestToHex(digestFrom(leaves[777] as Uint8Array)), 777n, path],
  });
  const estimate = await connectJsonRpc(bench.rpcUrl).request<string>("eth_estimateGas", [
    { to: deployment.log, data },
  ]);
  bench.note("check one inclusion among 2,000 (with 21,000 intrinsic)", Number(estimate), 40_000);
}

/** RFC 9162 §2.1.3.1 */
function pathOf(leaves: readonly Uint8Array[], index: number, from: number, to: number): Uint8Array[] {
  if (to - from === 1) return [];
  const middle = from + splitOf(to - from);
  return index < middle
    ? [...pathOf(leaves, index, from, middle), rootOf(leaves, middle, to)]
    : [...pathOf(leaves, index, middle, to), rootOf(leaves, from, middle)];
}

function rootOf(leaves: readonly Uint8Array[], from: number, to: number): Uint8Array {
  if (to - from === 1) return leaves[from] as Uint8Array;
  const middle = from + splitOf(to - from);
  return sha256(concat(new Uint8Array([1]), rootOf(leaves, from, middle), rootOf(leaves, middle, to)));
}

/** RFC 9162 §2.1.4.1 */
function consistency(
  leaves: readonly Uint8Array[],
  size: number,
  from: number,
  to: number,
  whole: boolean,
): Uint8Array[] {
  if (size === to - from) return whole ? [] : [rootOf(leaves, from, to)];
  const half = splitOf(to - from);
  return size <= half
    ? [...consistency(leaves, size, from, from + half, whole), rootOf(leaves, from + half, to)]
    : [...consistency(leaves, size - half, from + half, to, false), rootOf(leaves, from, from + half)];
}

function splitOf(size: number): number {
  let half = 1;
  while (half * 2 < size) half *= 2;
  return half;
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ name, gas }) => `${name.padEnd(56)}${gas.toLocaleString("en").padStart(10)}`);
  return [`${"call".padEnd(56)}${"gas".padStart(10)}`, ...lines].join("\n");
}

async function main(): Promise<void> {
  const { json = false, write = false } = readFlags("npm run bench:gas -- [--write] [--json]", {
    json: { type: "boolean" },
    write: { type: "boolean" },
  });
  const network = await startNetwork();
  const bench = new Bench(network);
  try {
    for (const part of [orders, consent, slots, services, swarm, money, log, ends]) await part(bench);
  } finally {
    network.stop();
  }
  const { rows } = bench;
  (json ? process.stderr : process.stdout).write(`${table(rows)}\n`);
  const compiler = "solc 0.8.37, via-ir";
  if (write) {
    const text = JSON.stringify({ compiler, rows }, undefined, 2);
    writeFileSync(new URL("gas-snapshot.json", import.meta.url), `${text}\n`);
  }
  const figures = { compiler, gas: Object.fromEntries(rows.map(({ name, gas }) => [name, gas])) };
  const goals = rows.flatMap(({ name, gas, goal }) => (goal === undefined ? [] : [atMost(name, gas, goal)]));
  printReport({ name: "gas", figures, goals }, json);
}

await main();
