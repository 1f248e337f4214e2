import { bindReportData } from "@cloister/attestation";
import {
  integrityDigest,
  signOrderReport,
  type IntegrityReport,
  type OrderReport,
  type ReportInput,
} from "@cloister/certification";
import {
  assertInvariant,
  digestBytes,
  digestOf,
  fromHex,
  type Digest,
  type OrderId,
  type Refusal,
} from "@cloister/core";
import type { Cancellation } from "../cancellation.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { execute, type Execution } from "./execute.ts";
import { gatherFacts, gatherStanding } from "./facts.ts";
import { judgeOrder, judgeStanding, type Plan, type PlannedInput } from "./judge.ts";
import type { FreshEvidence, LoaderPorts, OrderOnChain, SignedAssignment } from "./ports.ts";
import { readStage, writeStage, type OrderEnd } from "./stage.ts";
import { signOrderRefusal } from "./statement.ts";
import { Wiper } from "./wiper.ts";

const ORDER_DOMAIN = "cloister/order/v1";

/** Either the order has ended here, or it is not this node's to end and nothing was signed. */
export type OrderRun =
  | { readonly kind: "ended"; readonly end: OrderEnd }
  | { readonly kind: "declined"; readonly refusals: readonly [Refusal, ...Refusal[]] };

/**
 * Takes one assigned order from its checks to its signed statement in the log. Everything is checked
 * before anything is opened; a failed check ends the order with a signed refusal that names it, a
 * failed run with a signed report. Can be called again after a crash at any moment: an order that
 * ended gives the same statement again, and no other is ever signed.
 * @throws {CloisterError} when something around the order failed and it can be tried again, e.g.
 * `SANDBOX_UNAVAILABLE`, or what chain, store, key release and log throw when they are out of reach.
 */
export async function runOrder(
  assignment: SignedAssignment,
  ports: LoaderPorts,
  cancellation?: Cancellation,
): Promise<OrderRun> {
  const { orderId } = assignment;
  const stage = await readStage(ports.records, orderId);
  if (stage?.stage === "ended") return { kind: "ended", end: await publish(stage.end, ports) };
  if (stage?.stage === "uploading") await ports.store.delete(stage.upload);
  const standing = await gatherStanding(ports, assignment);
  const [first, ...rest] = judgeStanding(standing, ports.self);
  if (first !== undefined) return { kind: "declined", refusals: [first, ...rest] };
  const { order } = standing;
  assertInvariant(order !== undefined, "an order that may be run is on chain");
  const facts = await gatherFacts(ports, orderId, order);
  const circumstances = { self: ports.self, limits: ports.limits, market: ports.chain.market };
  const { refusals, plan } = judgeOrder(facts, circumstances);
  const end =
    plan === undefined
      ? refusal(assignment, ports, refusals)
      : await run(assignment, order, plan, ports, cancellation);
  await writeStage(ports.records, orderId, { stage: "ended", end });
  ports.log.info("order-ended", { order: orderId, kind: end.kind, reason: end.reason });
  return { kind: "ended", end: await publish(end, ports) };
}

/**
 * Ends an order without having run it, for reasons that lie outside of it: the node is about to miss
 * the deadline, say. An order that ended keeps the end it has.
 */
export async function refuseOrder(
  assignment: SignedAssignment,
  refusals: readonly [Refusal, ...Refusal[]],
  ports: LoaderPorts,
): Promise<OrderEnd> {
  const stage = await readStage(ports.records, assignment.orderId);
  if (stage?.stage === "ended") return publish(stage.end, ports);
  if (stage?.stage === "uploading") await ports.store.delete(stage.upload);
  const end = refusal(assignment, ports, refusals);
  await writeStage(ports.records, assignment.orderId, { stage: "ended", end });
  return publish(end, ports);
}

/** How an order ended here, if it did; for those who settle and show it. */
export async function endOfOrder(
  records: LoaderPorts["records"],
  orderId: OrderId,
): Promise<OrderEnd | undefined> {
  const stage = await readStage(records, orderId);
  return stage?.stage === "ended" ? stage.end : undefined;
}

/** The 64 bytes that evidence for an order must carry: the order, and what is about to run. */
export function orderReportData(orderId: OrderId, integrity: Digest): Uint8Array {
  return bindReportData(ORDER_DOMAIN, fromHex(orderId), digestBytes(integrity));
}

async function publish(end: OrderEnd, ports: LoaderPorts): Promise<OrderEnd> {
  if (end.receipt !== undefined) return end;
  const published = { ...end, receipt: await ports.statements.append(end.statement) };
  await writeStage(ports.records, end.orderId, { stage: "ended", end: published });
  return published;
}

async function run(
  assignment: SignedAssignment,
  order: OrderOnChain,
  plan: Plan,
  ports: LoaderPorts,
  cancellation: Cancellation | undefined,
): Promise<OrderEnd> {
  const integrity = integrityReport(assignment, order, plan, ports);
  const reportData = orderReportData(assignment.orderId, integrityDigest(integrity));
  const fresh = await ports.attester.attest(reportData);
  ports.log.info("order-checked", { order: assignment.orderId, integrity: integrityDigest(integrity) });
  const wiper = new Wiper();
  const startedAtMs = ports.clock.nowMs();
  let execution: Execution;
  let endedAtMs: number;
  let wiped: string[];
  try {
    execution = await execute(ports, order, assignment, plan, wiper, cancellation);
    endedAtMs = ports.clock.nowMs();
  } finally {
    wiped = wiper.wipe();
  }
  const wipe = { wiped, wipedAtMs: ports.clock.nowMs() };
  if (execution.sealed !== undefined) await upload(assignment.orderId, execution.sealed, ports);
  const { exit, outputs } = execution;
  const evidence: OrderReport["evidence"] = [fresh.summary];
  return reportEnd(
    { version: 1, integrity, evidence, outputs, exit, startedAtMs, endedAtMs, wipe },
    execution.sealed,
    fresh,
    ports,
  );
}

async function upload(orderId: OrderId, sealed: Uint8Array, ports: LoaderPorts): Promise<void> {
  const digest = digestOf(sealed);
  await writeStage(ports.records, orderId, { stage: "uploading", upload: digest });
  const stored = await ports.store.put(once(sealed));
  assertInvariant(stored.digest === digest, "the store digests what it was given");
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function reportEnd(
  report: OrderReport,
  sealed: Uint8Array | undefined,
  { evidence, endorsements }: FreshEvidence,
  ports: LoaderPorts,
): OrderEnd {
  const signed = signOrderReport(report, ports.self);
  return {
    orderId: report.integrity.orderId,
    kind: "report",
    statement: signed.bytes,
    statementDigest: signed.digest,
    outputDigest: sealed && digestOf(sealed),
    succeeded: report.exit.code === 0,
    exitCode: report.exit.code,
    reason: report.exit.reason,
    secondsUsed: Math.ceil((report.endedAtMs - report.startedAtMs) / 1000),
    evidence,
    endorsements,
    receipt: undefined,
  };
}

function refusal(assignment: SignedAssignment, ports: LoaderPorts, refusals: readonly Refusal[]): OrderEnd {
  const [first, ...rest] = refusals;
  assertInvariant(first !== undefined, "a refusal has a reason");
  const { orderId, node, term, epoch } = assignment;
  const signed = signOrderRefusal(
    {
      version: 1,
      ...ports.chain.market,
      ...{ orderId, node, term, epoch },
      refusedAtMs: ports.clock.nowMs(),
      refusals: [first, ...rest],
    },
    ports.self,
  );
  ports.log.warn("order-refused", { order: orderId, codes: refusals.map(({ code }) => code) });
  return {
    orderId,
    kind: "refusal",
    statement: signed.bytes,
    statementDigest: signed.digest,
    outputDigest: undefined,
    succeeded: false,
    exitCode: exitCodeOf(first.code),
    reason: first.code,
    secondsUsed: 0,
    evidence: undefined,
    endorsements: undefined,
    receipt: undefined,
  };
}

function integrityReport(
  assignment: SignedAssignment,
  order: OrderOnChain,
  plan: Plan,
  ports: LoaderPorts,
): IntegrityReport {
  const { orderId, node, term, epoch } = assignment;
  return {
    version: 1,
    ...ports.chain.market,
    ...{ orderId, node, term, epoch },
    client: order.client,
    salt: order.salt,
    inputs: [plan.engine, ...plan.inputs].map(reportInput),
    engine: plan.engine.offer.contentDigest,
    args: order.argsDigest,
    egress: "none",
    limits: plan.limits,
    recipient: plan.args.recipient,
    preparedAtMs: ports.clock.nowMs(),
  };
}

function reportInput({ id, offer }: PlannedInput): ReportInput {
  assertInvariant(offer.kind !== "compute" && offer.kind !== "storage", "an input has an object");
  return {
    role: offer.kind,
    offerId: id,
    content: offer.contentDigest,
    sealed: offer.sealedDigest,
    consent: offer.consentDigest,
  };
}
