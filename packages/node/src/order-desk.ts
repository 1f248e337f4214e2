import { codeOf, type Clock, type Log, type OrderId } from "@cloister/core";
import { settleOrder, signStatement, type Chain, type MarketState } from "@cloister/market";
import type { Assignment, WorkStatus } from "@cloister/swarm";
import {
  endOfOrder,
  reportOf,
  runOrder,
  type Cancellation,
  type LoaderPorts,
  type OrderEnd,
} from "@cloister/workload";
import type { Cvm } from "./cvm.ts";
import type { Timers } from "./ports.ts";

const RETRY_MS = 500;

interface Job {
  assignment: Assignment;
  signature: Uint8Array;
  state: WorkStatus["state"];
  active: boolean;
  readonly cancellation: AbandonSignal;
}

export interface OrderDeskPorts {
  readonly cvm: Cvm;
  readonly chain: Chain;
  readonly loader: () => LoaderPorts;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  /** Pays for the settlement. */
  readonly operatorSecret: Uint8Array;
  /** The work of this node changed. */
  changed(): void;
}

/**
 * Takes the orders that this node was given from assignment to settlement, each until the chain says that it
 * has ended. What a crash or a reorganisation undid is done again from durable records: an order that ended
 * here always gives the same report.
 */
export class OrderDesk {
  readonly #ports: OrderDeskPorts;
  readonly #jobs = new Map<OrderId, Job>();
  #stopped = false;

  constructor(ports: OrderDeskPorts) {
    this.#ports = ports;
  }

  /** Takes an order, or a later assignment of one that is here already. */
  run(assignment: Assignment, signature: Uint8Array): void {
    const job = this.#jobs.get(assignment.orderId) ?? {
      assignment,
      signature,
      state: "running",
      active: false,
      cancellation: new AbandonSignal(),
    };
    Object.assign(job, { assignment, signature });
    const { orderId: order, term, epoch } = assignment;
    this.#ports.log.info("order-accepted", { order, term, epoch });
    if (job.state === "failed") job.state = "running";
    this.#jobs.set(assignment.orderId, job);
    this.#activate(job);
  }

  /** Stops an order that was placed elsewhere; one that has ended here keeps its end. */
  abandon(orderId: OrderId): void {
    this.#jobs.get(orderId)?.cancellation.abort();
    this.#jobs.delete(orderId);
    this.#ports.changed();
  }

  work(): WorkStatus[] {
    return [...this.#jobs].map(([orderId, { state }]) => ({ orderId, state }));
  }

  /** Looks at the chain again: an order that was settled in a block that is gone is settled once more. */
  reconcile(state: MarketState): void {
    for (const [orderId, job] of this.#jobs) {
      if (job.state === "done" && state.openOrders.has(orderId)) {
        job.state = "running";
        this.#activate(job);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const job of this.#jobs.values()) job.cancellation.abort();
  }

  #activate(job: Job): void {
    this.#ports.changed();
    if (job.active || job.state !== "running") return;
    job.active = true;
    void this.#workOff(job).finally(() => {
      job.active = false;
      this.#ports.changed();
    });
  }

  async #workOff(job: Job): Promise<void> {
    const { log, timers } = this.#ports;
    while (!this.#stopped && !job.cancellation.aborted && job.state === "running") {
      try {
        job.state = await this.#advance(job);
      } catch (error) {
        const [code, reason] = [codeOf(error), error instanceof Error ? error.message : String(error)];
        if (UNABLE.has(code)) job.state = "failed";
        const event = job.state === "failed" ? "order-given-up" : "order-retried";
        log.warn(event, { order: job.assignment.orderId, code, reason });
      }
      if (job.state === "running") await timers.wait(RETRY_MS);
    }
  }

  async #advance(job: Job): Promise<WorkStatus["state"]> {
    const { chain, loader, log } = this.#ports;
    const { orderId } = job.assignment;
    const { state } = await chain.refresh();
    if (state.orders.has(orderId) && !state.openOrders.has(orderId)) return "done";
    const ports = loader();
    const ended = await endOfOrder(ports.records, orderId);
    if (ended === undefined || ended.receipt === undefined) {
      const signed = { ...job.assignment, signature: job.signature };
      const outcome = await runOrder(signed, ports, job.cancellation);
      if (outcome.kind === "declined") {
        log.warn("order-declined", { order: orderId, codes: outcome.refusals.map(({ code }) => code) });
        return outcome.refusals.some(({ code }) => RETRIED.has(code)) ? "running" : "failed";
      }
      return this.#settle(job, outcome.end);
    }
    return this.#settle(job, ended);
  }

  async #settle(job: Job, end: OrderEnd): Promise<WorkStatus["state"]> {
    const { chain, cvm, operatorSecret, log } = this.#ports;
    const { deployment } = chain;
    const { state } = await chain.refresh();
    const order = state.orders.get(end.orderId);
    if (order === undefined) return "running";
    if (order.status !== "open") return "done";
    // A leader of a later term signs the assignment anew; until then there is nothing to settle with.
    if (job.assignment.term !== state.term.term) return "running";
    const { orderId, node, term, epoch } = job.assignment;
    const report = reportOf(end);
    const signature = signStatement(deployment, "Report", report, cvm.keys.settlementSecret);
    const call = settleOrder(
      deployment,
      order.escrow,
      { orderId, node, term, epoch },
      job.signature,
      report,
      signature,
    );
    const sent = await chain.send(call, operatorSecret);
    log.info("order-settled", {
      order: orderId,
      succeeded: end.succeeded,
      reason: end.reason,
      sent: sent.kind,
    });
    return "done";
  }
}

/** Reasons for not running an order that pass by themselves. */
const RETRIED: ReadonlySet<string> = new Set([
  "LOADER_ORDER_UNKNOWN",
  "LOADER_TERM_STALE",
  "LOADER_ASSIGNMENT_FORGED",
  "LOADER_NODE_NOT_ACTIVE",
  "LOADER_CERTIFICATE_EXPIRED",
]);

/** What keeps this node from an order, and not another one: the leader is told, and places it there. */
const UNABLE: ReadonlySet<string> = new Set([
  "RECORD_STORE_FAILED",
  "RECORD_STORE_FULL",
  "RECORD_STORE_NOT_WRITABLE",
  "SEALED_RECORD_UNREADABLE",
]);

/** Tells the loader and the sandbox that an order is no longer this node's. */
class AbandonSignal implements Cancellation {
  aborted = false;
  readonly #listeners = new Set<() => void>();

  abort(): void {
    this.aborted = true;
    for (const listener of this.#listeners) listener();
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.delete(listener);
  }
}
