import type { NodeId } from "@cloister/core";
import type { Message } from "@cloister/swarm";
import { Histogram, type HistogramView } from "./metrics.ts";

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5] as const;
/** Probes whose answers are waited for; those that never come fall out. */
const WAITING_MAX = 512;

/** Times probes from the socket's side, for the distribution that the core's smoothed values do not show. */
export class ProbeTimes {
  readonly #sent = new Map<string, number>();
  readonly #seconds = new Histogram(SECONDS);

  sent(to: NodeId, message: Message, nowMs: number): void {
    if (message.kind !== "ping") return;
    this.#sent.set(`${to} ${message.nonce}`, nowMs);
    if (this.#sent.size <= WAITING_MAX) return;
    const [oldest] = this.#sent.keys();
    if (oldest !== undefined) this.#sent.delete(oldest);
  }

  /** What a peer sent, before anybody judged its form. */
  received(from: NodeId, message: unknown, nowMs: number): void {
    const { kind, nonce } = (message ?? {}) as { readonly kind?: unknown; readonly nonce?: unknown };
    if (kind !== "ack" || typeof nonce !== "number") return;
    const key = `${from} ${nonce}`;
    const sentMs = this.#sent.get(key);
    if (sentMs === undefined) return;
    this.#sent.delete(key);
    this.#seconds.observe(Math.max(0, nowMs - sentMs) / 1000);
  }

  view(): HistogramView {
    return this.#seconds.view();
  }
}
