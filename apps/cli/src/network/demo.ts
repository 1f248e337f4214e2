import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { simulationRoots } from "@cloister/attestation";
import { verifyProof, type ProofResult } from "@cloister/certification";
import { CloisterError, digestOf, fromUtf8, type Address, type Digest, type OrderId } from "@cloister/core";
import { formatIdentityFile } from "@cloister/custody";
import { buildEngine } from "@cloister/examples/build-engine";
import { penguinsArgs, penguinsByStation } from "@cloister/examples/penguins";
import { balanceOf, NATIVE_TOKEN, type OrderRecord } from "@cloister/market";
import { formatCoins } from "../cli/output.ts";
import { createAccount, fundLocally, type Account } from "./accounts.ts";
import { Client, type OrderReasons } from "./client.ts";
import { LocalNetwork, LOCAL_GOALS } from "./local-network.ts";
import { offer, order, orderEnd, result, wealth, type PublishedOffer } from "./market.ts";
import { freePortBase, untilReady, type NetworkFacts } from "./start.ts";

const ETHER = 10n ** 18n;
const PRICES = {
  engineWei: ETHER / 10n,
  stationAWei: ETHER / 2n,
  stationBWei: ETHER / 4n,
  computeWei: ETHER / 20n,
};
const ORDER_MS = 120_000;
const PURPOSE = "train";

/** What the demo reports, with `--json` as it stands. */
export interface DemoReport {
  readonly simulated: true;
  readonly leader: { readonly node: Address; readonly term: number };
  readonly group: {
    readonly goal: Readonly<Record<string, unknown>>;
    readonly epoch: number;
    readonly members: readonly Address[];
  };
  readonly accuracy: { readonly joint: number; readonly stationA: number; readonly stationB: number };
  readonly confusion: {
    readonly classes: readonly string[];
    readonly counts: readonly (readonly number[])[];
  };
  readonly order: {
    readonly id: OrderId;
    readonly node: Address;
    readonly reportDigest: Digest;
    readonly outputDigest: Digest;
    readonly txHash: string;
  };
  readonly settlement: readonly {
    readonly party: string;
    readonly address: Address;
    readonly beforeWei: bigint;
    readonly afterWei: bigint;
  }[];
  readonly proof: {
    readonly path: string;
    readonly sizeBytes: number;
    readonly verified: boolean;
    readonly links: ProofResult["links"];
  };
  readonly result: {
    readonly folder: string;
    readonly files: readonly string[];
    readonly openedByAge: boolean | "not installed";
  };
  readonly refusals: readonly { readonly case: string; readonly code: string; readonly reason: string }[];
  readonly seconds: { readonly total: number; readonly ready: number; readonly job: number };
  readonly home: string;
}

interface Parties {
  readonly author: Account;
  readonly stationA: Account;
  readonly stationB: Account;
}

interface Offers {
  readonly engine: PublishedOffer;
  readonly stationA: PublishedOffer;
  readonly stationB: PublishedOffer;
}

/** Runs the whole idea once, on a network of its own, and says how it went. `step` hears of each stage. */
export async function runDemo(home: string, step: (text: string) => void): Promise<DemoReport> {
  const startedMs = Date.now();
  rmSync(home, { recursive: true, force: true });
  const building = buildEngine("penguins-train");
  const network = await LocalNetwork.start({
    home,
    nodes: 3,
    portBase: await freePortBase(),
    progress: step,
  });
  try {
    step("the nodes attest to one another, vote for a leader, form groups, and make a key that no one holds");
    const facts = await untilReady(home);
    const readyMs = Date.now();
    const client = await Client.open(home);
    const job = await new Demo(client, step).run(await building);
    const jobMs = Date.now();
    const refusals = await new Refusals(client, network, job, step).all(await building);
    return report(job, facts, refusals, { startedMs, readyMs, jobMs });
  } finally {
    step("stopping the network");
    await network.stop();
  }
}

/** What the job left: for the report, and for the cases that are refused. */
interface Job {
  readonly client: Client;
  readonly parties: Parties;
  readonly offers: Offers;
  readonly settled: OrderRecord;
  readonly metrics: Metrics;
  readonly balances: DemoReport["settlement"];
  readonly proof: { readonly path: string; readonly bytes: Uint8Array; readonly result: ProofResult };
  readonly result: DemoReport["result"];
}

/** The part of the engine's `metrics.json` that the demo shows. */
interface Metrics {
  readonly accuracy: number;
  readonly classes: readonly string[];
  readonly confusion: readonly (readonly number[])[];
  readonly alone: readonly { readonly accuracy: number }[];
}

class Demo {
  readonly #client: Client;
  readonly #step: (text: string) => void;

  constructor(client: Client, step: (text: string) => void) {
    this.#client = client;
    this.#step = step;
  }

  async run(engine: Uint8Array): Promise<Job> {
    const client = this.#client;
    const parties = await makeParties(client);
    this.#step(
      "two field stations seal their tables; the engine's author seals the engine; all three make offers",
    );
    const offers = await makeOffers(client, parties, engine);
    const before = await balancesOf(client, parties);
    this.#step("the author orders one training run and pays it into escrow");
    const settled = await this.#order(parties, offers);
    if (settled.status !== "succeeded") {
      const reasons = await client.orderReasons(settled.id);
      throw new CloisterError(
        "DEMO_ORDER_FAILED",
        `The order ended as ${settled.status}: ${reasons?.reason ?? "no reason"}.`,
      );
    }
    this.#step("the result is decrypted with the author's key, the proof verified offline");
    const balances = await this.#paid(parties, before, settled);
    const { files, sealed } = await result(client, settled, parties.author);
    const folder = join(client.layout.home, "result");
    mkdirSync(folder, { recursive: true });
    for (const { name, bytes } of files) writeFileSync(join(folder, name), bytes);
    writeFileSync(join(client.layout.home, "result.tar.age"), sealed);
    const metrics = files.find(({ name }) => name === "metrics.json");
    if (metrics === undefined)
      throw new CloisterError("DEMO_RESULT_INCOMPLETE", "The result holds no metrics.");
    return {
      ...{ client, parties, offers, settled, balances },
      metrics: JSON.parse(fromUtf8(metrics.bytes)) as Metrics,
      proof: await this.#prove(settled.id),
      result: {
        folder,
        files: files.map(({ name }) => name),
        openedByAge: openWithAge(client.layout.home, parties.author),
      },
    };
  }

  async #order(parties: Parties, offers: Offers): Promise<OrderRecord> {
    const id = await order(this.#client, parties.author, {
      engine: offers.engine.offerId,
      inputs: [
        { offer: offers.stationA.offerId, name: penguinsArgs.inputs[0] },
        { offer: offers.stationB.offerId, name: penguinsArgs.inputs[1] },
      ],
      purpose: PURPOSE,
      engineArgs: JSON.stringify(penguinsArgs),
      computeWei: PRICES.computeWei,
      deadlineMs: Date.now() + ORDER_MS,
    });
    this.#step(
      "a node checks everything, is given the keys by its peers, trains in a sandbox, reports, and is paid",
    );
    return orderEnd(this.#client, id, { untilMs: Date.now() + ORDER_MS });
  }

  async #paid(
    parties: Parties,
    before: ReadonlyMap<Address, bigint>,
    settled: OrderRecord,
  ): Promise<DemoReport["settlement"]> {
    const operator = settled.settlement?.operator as Address;
    const after = await balancesOf(this.#client, parties);
    const operatorAfter = await marketBalance(this.#client, operator);
    return [
      ...partyRows(parties).map(({ party, address }) => ({
        ...{ party, address },
        beforeWei: before.get(address) ?? 0n,
        afterWei: after.get(address) ?? 0n,
      })),
      {
        party: "node operator (earned)",
        address: operator,
        beforeWei: operatorAfter - PRICES.computeWei,
        afterWei: operatorAfter,
      },
    ];
  }

  async #prove(id: OrderId): Promise<Job["proof"]> {
    const bytes = await this.#proofPatiently(id);
    const path = join(this.#client.layout.home, "proof.cloister");
    writeFileSync(path, bytes);
    return { path, bytes, result: verifyProof(bytes, { roots: [simulationRoots] }) };
  }

  async #proofPatiently(id: OrderId): Promise<Uint8Array> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.#client.proof(id);
      } catch (error) {
        if (tries > 100) throw error;
        await wait(100);
      }
    }
  }
}

/** Four ways to cheat, each tried for real; what stops it is a code that anyone can look up. */
class Refusals {
  readonly #client: Client;
  readonly #network: LocalNetwork;
  readonly #job: Job;
  readonly #step: (text: string) => void;

  constructor(client: Client, network: LocalNetwork, job: Job, step: (text: string) => void) {
    this.#client = client;
    this.#network = network;
    this.#job = job;
    this.#step = step;
  }

  async all(engine: Uint8Array): Promise<DemoReport["refusals"]> {
    this.#step("four attempts to cheat");
    const intruder = this.#network.startIntruder();
    const [changed, other] = await Promise.all([this.#changedEngine(engine), this.#otherConsent()]);
    return [
      { case: "an engine with one changed byte", ...changed },
      { case: "data whose consent policy names another engine", ...other },
      { case: "a node whose measurement is not approved", ...(await this.#untilRefused(intruder)) },
      { case: "a proof file with one changed byte", ...this.#changedProof() },
    ];
  }

  /** The author offers the digest that everybody consented to, and seals something else under it. */
  async #changedEngine(engine: Uint8Array): Promise<{ code: string; reason: string }> {
    const { parties, offers } = this.#job;
    const changed = engine.slice();
    const at = changed.length >> 1;
    changed[at] = (changed[at] as number) ^ 1;
    const lie = await offer(this.#client, parties.author, enginePlan(changed), offers.engine.contentDigest);
    return this.#tryOrder(lie, offers.stationA);
  }

  async #otherConsent(): Promise<{ code: string; reason: string }> {
    const { parties, offers } = this.#job;
    const { stationA } = penguinsByStation();
    const plan = dataPlan(stationA.csv, PRICES.stationAWei, [digestOf(new Uint8Array(1))]);
    const withheld = await offer(this.#client, parties.stationA, plan);
    return this.#tryOrder(offers.engine, withheld);
  }

  async #tryOrder(engine: PublishedOffer, data: PublishedOffer): Promise<{ code: string; reason: string }> {
    const { author } = this.#job.parties;
    const id = await order(this.#client, author, {
      engine: engine.offerId,
      inputs: [{ offer: data.offerId, name: penguinsArgs.inputs[0] }],
      purpose: PURPOSE,
      engineArgs: JSON.stringify({ ...penguinsArgs, inputs: [penguinsArgs.inputs[0]] }),
      computeWei: PRICES.computeWei,
      deadlineMs: Date.now() + ORDER_MS,
    });
    const ended = await orderEnd(this.#client, id, { untilMs: Date.now() + ORDER_MS });
    const reasons = await this.#client.orderReasons(id);
    if (ended.status !== "failed" || reasons === undefined) {
      throw new CloisterError("DEMO_NOT_REFUSED", `An order that had to be refused is ${ended.status}.`);
    }
    return { code: reasons.reason, reason: `${sentenceOf(reasons)} The client was refunded.` };
  }

  async #untilRefused(statusUrl: string): Promise<{ code: string; reason: string }> {
    for (let tries = 0; tries < 300; tries++) {
      try {
        const page = await fetch(`${statusUrl}/status`, { signal: AbortSignal.timeout(1_000) });
        const { refusal } = (await page.json()) as { refusal?: { code: string; reason: string } };
        if (refusal !== undefined) return { code: refusal.code, reason: refusal.reason };
      } catch {
        // It has not started yet.
      }
      await wait(100);
    }
    throw new CloisterError("DEMO_NOT_REFUSED", "A node that had to be refused was not.");
  }

  #changedProof(): { code: string; reason: string } {
    const changed = this.#job.proof.bytes.slice();
    const at = changed.length >> 1;
    changed[at] = (changed[at] as number) ^ 1;
    const { verified, refusals } = verifyProof(changed, { roots: [simulationRoots] });
    const [first] = refusals;
    if (verified || first === undefined) {
      throw new CloisterError("DEMO_NOT_REFUSED", "A proof that had to be refused was not.");
    }
    return { code: first.code, reason: first.reason };
  }
}

function sentenceOf(reasons: OrderReasons): string {
  const [first] = reasons.refusals;
  if (first !== undefined) return first.reason;
  if (reasons.reason === "LOADER_CONTENT_DIGEST_MISMATCH") {
    return "What was sealed is not what the offer says: its digest differs, so it was not run.";
  }
  return "The order's report says so.";
}

function report(
  job: Job,
  facts: NetworkFacts,
  refusals: DemoReport["refusals"],
  times: { readonly startedMs: number; readonly readyMs: number; readonly jobMs: number },
): DemoReport {
  const { settlement } = job.settled;
  const group = facts.groups.find(({ goalId }) => goalId === "compute");
  const [stationA, stationB] = job.metrics.alone;
  if (settlement?.outputDigest === undefined || group === undefined || !stationA || !stationB) {
    throw new CloisterError("DEMO_RESULT_INCOMPLETE", "The demo's result lacks a part.");
  }
  return {
    simulated: true,
    leader: { node: facts.leader, term: facts.term },
    group: { goal: { ...LOCAL_GOALS[0] }, epoch: group.epoch, members: group.members },
    accuracy: { joint: job.metrics.accuracy, stationA: stationA.accuracy, stationB: stationB.accuracy },
    confusion: { classes: job.metrics.classes, counts: job.metrics.confusion },
    order: {
      id: job.settled.id,
      node: settlement.node,
      reportDigest: settlement.reportDigest,
      outputDigest: settlement.outputDigest,
      txHash: settlement.txHash,
    },
    settlement: job.balances,
    proof: {
      path: job.proof.path,
      sizeBytes: job.proof.bytes.length,
      verified: job.proof.result.verified,
      links: job.proof.result.links,
    },
    result: job.result,
    refusals,
    seconds: {
      total: (Date.now() - times.startedMs) / 1000,
      ready: (times.readyMs - times.startedMs) / 1000,
      job: (times.jobMs - times.readyMs) / 1000,
    },
    home: job.client.layout.home,
  };
}

async function makeParties(client: Client): Promise<Parties> {
  const make = async (name: string): Promise<Account> => {
    const account = await createAccount(client.layout, name);
    await fundLocally(client.network, account.address);
    return account;
  };
  return {
    author: await make("engine-author"),
    stationA: await make("station-a"),
    stationB: await make("station-b"),
  };
}

async function makeOffers(client: Client, parties: Parties, engine: Uint8Array): Promise<Offers> {
  const tables = penguinsByStation();
  const engineOffer = await offer(client, parties.author, enginePlan(engine));
  const consent = [engineOffer.contentDigest];
  const [stationA, stationB] = await Promise.all([
    offer(client, parties.stationA, dataPlan(tables.stationA.csv, PRICES.stationAWei, consent)),
    offer(client, parties.stationB, dataPlan(tables.stationB.csv, PRICES.stationBWei, consent)),
  ]);
  return { engine: engineOffer, stationA, stationB };
}

function enginePlan(module: Uint8Array): Parameters<typeof offer>[2] {
  return {
    kind: "engine",
    content: [module],
    fixedWei: PRICES.engineWei,
    engines: [],
    purposes: [PURPOSE],
    runsMax: 10,
  };
}

function dataPlan(csv: string, fixedWei: bigint, engines: readonly Digest[]): Parameters<typeof offer>[2] {
  const content = [new TextEncoder().encode(csv)];
  return { kind: "data", content, fixedWei, engines, purposes: [PURPOSE], runsMax: 3 };
}

function partyRows(parties: Parties): { party: string; address: Address }[] {
  return [
    { party: "engine author (client)", address: parties.author.address },
    { party: "station A", address: parties.stationA.address },
    { party: "station B", address: parties.stationB.address },
  ];
}

async function balancesOf(client: Client, parties: Parties): Promise<Map<Address, bigint>> {
  const rows = partyRows(parties).map(
    async ({ address }) => [address, await wealth(client, address)] as const,
  );
  return new Map(await Promise.all(rows));
}

async function marketBalance(client: Client, address: Address): Promise<bigint> {
  return balanceOf((await client.chain.refresh()).state, NATIVE_TOKEN, address);
}

/** Decrypts the result once more with the stock `age` tool, where it is installed. */
function openWithAge(home: string, author: Account): boolean | "not installed" {
  const identity = join(home, "author.key");
  writeFileSync(identity, formatIdentityFile(author.identity, new Date().toISOString()), { mode: 0o600 });
  const run = spawnSync("age", [
    "--decrypt",
    "--identity",
    identity,
    "--output",
    join(home, "result.tar"),
    join(home, "result.tar.age"),
  ]);
  if (run.error !== undefined) return "not installed";
  return run.status === 0;
}

/** The report as a person reads it. */
export function showDemo(report: DemoReport, bold: (text: string) => string): string[] {
  const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
  const width = Math.max(...report.confusion.classes.map((name) => name.length));
  return [
    "",
    bold("SIMULATED TEEs: everything below is real but the hardware."),
    "",
    bold("The network"),
    `  leader      ${report.leader.node}, term ${report.leader.term}`,
    `  group       ${report.group.members.length} nodes for the goal ${JSON.stringify(report.group.goal)}`,
    "",
    bold("The model: accuracy on birds that training never saw"),
    `  both tables, jointly   ${percent(report.accuracy.joint)}`,
    `  station A alone        ${percent(report.accuracy.stationA)}`,
    `  station B alone        ${percent(report.accuracy.stationB)}`,
    `  ${"".padEnd(width)}  ${report.confusion.classes.map((name) => name.slice(0, 9).padStart(10)).join("")}   (predicted)`,
    ...report.confusion.counts.map(
      (row, i) =>
        `  ${(report.confusion.classes[i] ?? "").padEnd(width)}  ${row.map((count) => String(count).padStart(10)).join("")}`,
    ),
    "",
    bold("The order"),
    `  id          ${report.order.id}`,
    `  report      ${report.order.reportDigest}`,
    `  settled in  ${report.order.txHash}`,
    "",
    bold("The money"),
    ...report.settlement.map(
      ({ party, beforeWei, afterWei }) =>
        `  ${party.padEnd(24)} ${formatCoins(beforeWei)} → ${formatCoins(afterWei)}  (${afterWei >= beforeWei ? "+" : ""}${formatCoins(afterWei - beforeWei)})`,
    ),
    "",
    bold(
      `The proof: ${report.proof.verified ? "verified offline" : "NOT VERIFIED"}, ${report.proof.sizeBytes} bytes`,
    ),
    ...report.proof.links.map(({ ok, title }) => `  ${ok ? "✓" : "✗"} ${title}`),
    `  decrypted with the author's key; by stock age: ${report.result.openedByAge === true ? "yes" : report.result.openedByAge === false ? "NO" : "age is not installed"}`,
    "",
    bold("Refused"),
    ...report.refusals.flatMap(({ case: name, code, reason }) => [`  ${name}`, `    ${code}: ${reason}`]),
    "",
    `Ready in ${report.seconds.ready.toFixed(1)} s, job ${report.seconds.job.toFixed(1)} s, total ${report.seconds.total.toFixed(1)} s. Everything lies in ${report.home}`,
    `Check the proof yourself:  npx cloister verify ${report.proof.path}`,
  ];
}
