import { performance } from "node:perf_hooks";
import { Histogram, type ChannelView, type TransportView } from "@cloister/node";

const LOG_EVERY_MS = 1_000;
/** Codes that a peer's refusal may be counted under; peers choose them. */
const OUTCOMES_MAX = 64;
const HANDSHAKE_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** Counts of one transport that outlive its channels. */
export class Ledger {
  /** Connections refused because there were too many. */
  dropped = 0;
  readonly #handshakes = new Map<string, number>();
  readonly #reattestations = new Map<string, number>();
  readonly #seconds = new Histogram(HANDSHAKE_SECONDS);
  readonly #closed = {
    receivedFrames: 0,
    receivedBytes: 0,
    sentFrames: 0,
    sentBytes: 0,
    dropped: 0,
    throttled: 0,
  };
  #loggedMs = -Infinity;

  handshake(side: "client" | "server", outcome: string, tookMs?: number): void {
    add(this.#handshakes, `${side} ${outcome}`);
    if (tookMs !== undefined && outcome === "ok") this.#seconds.observe(tookMs / 1000);
  }

  reattested(outcome: string): void {
    add(this.#reattestations, outcome);
  }

  closed({ received, sent }: ChannelView): void {
    this.#closed.receivedFrames += received.frames;
    this.#closed.receivedBytes += received.bytes;
    this.#closed.throttled += received.throttled;
    this.#closed.sentFrames += sent.frames;
    this.#closed.sentBytes += sent.bytes;
    this.#closed.dropped += sent.dropped;
  }

  /** At most one line a second about strangers who fail. */
  mayLog(): boolean {
    const nowMs = performance.now();
    if (nowMs < this.#loggedMs + LOG_EVERY_MS) return false;
    this.#loggedMs = nowMs;
    return true;
  }

  view(): Pick<TransportView, "handshakes" | "reattestations" | "handshakeSeconds" | "closedChannels"> {
    return {
      handshakes: Object.fromEntries(this.#handshakes),
      reattestations: Object.fromEntries(this.#reattestations),
      handshakeSeconds: this.#seconds.view(),
      closedChannels: { ...this.#closed },
    };
  }
}

function add(counts: Map<string, number>, name: string): void {
  const known = counts.has(name) || counts.size < OUTCOMES_MAX ? name : "other";
  counts.set(known, (counts.get(known) ?? 0) + 1);
}
