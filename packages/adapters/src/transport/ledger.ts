import { performance } from "node:perf_hooks";
import {
  Histogram,
  type ChannelTotals,
  type ChannelView,
  type PeerCount,
  type TransportView,
} from "@cloister/node";

const LOG_EVERY_MS = 1_000;
/** Codes that a peer's refusal may be counted under; peers choose them. */
const OUTCOMES_MAX = 64;
/** Peers that are counted by name: whoever runs approved code can make itself any number of identities. */
const PEERS_MAX = 1_024;
const CODES_PER_PEER_MAX = 32;
const OTHER = "other";
const HANDSHAKE_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
const NOTHING: ChannelTotals = {
  ...{ receivedFrames: 0, receivedBytes: 0, sentFrames: 0, sentBytes: 0 },
  ...{ dropped: 0, throttled: 0 },
};

/** Counts of one transport that outlive its channels. */
export class Ledger {
  /** Connections refused because there were too many. */
  dropped = 0;
  readonly #handshakes = new Map<string, number>();
  readonly #reattestations = new Map<string, number>();
  readonly #seconds = new Histogram(HANDSHAKE_SECONDS);
  readonly #closed = new Map<string, ChannelTotals>();
  readonly #refused = new Tally();
  readonly #cut = new Tally();
  readonly #logged = new Map<string, { atMs: number; silent: number }>();

  handshake(side: "client" | "server", outcome: string, tookMs?: number): void {
    add(this.#handshakes, `${side} ${outcome}`, OUTCOMES_MAX);
    if (tookMs !== undefined && outcome === "ok") this.#seconds.observe(tookMs / 1000);
  }

  reattested(outcome: string): void {
    add(this.#reattestations, outcome, OUTCOMES_MAX);
  }

  /** A message of a peer was refused. */
  refused(peer: string, code: string): void {
    this.#refused.add(peer, code);
  }

  /** A channel was closed for what its peer did. */
  cut(peer: string, code: string): void {
    this.#cut.add(peer, code);
  }

  closed({ peer, received, sent }: ChannelView): void {
    const name = this.#closed.has(peer.id) || this.#closed.size < PEERS_MAX ? peer.id : OTHER;
    const before = this.#closed.get(name) ?? NOTHING;
    this.#closed.set(name, {
      receivedFrames: before.receivedFrames + received.frames,
      receivedBytes: before.receivedBytes + received.bytes,
      throttled: before.throttled + received.throttled,
      sentFrames: before.sentFrames + sent.frames,
      sentBytes: before.sentBytes + sent.bytes,
      dropped: before.dropped + sent.dropped,
    });
  }

  /**
   * At most one line a second about each of those who fail. Gives how many lines were left out since the last one,
   * or undefined for one more.
   */
  mayLog(whom: string): number | undefined {
    const nowMs = performance.now();
    const name = this.#logged.has(whom) || this.#logged.size < PEERS_MAX ? whom : OTHER;
    const last = this.#logged.get(name);
    if (last !== undefined && nowMs < last.atMs + LOG_EVERY_MS) {
      last.silent++;
      return undefined;
    }
    this.#logged.set(name, { atMs: nowMs, silent: 0 });
    return last?.silent ?? 0;
  }

  view(): Pick<
    TransportView,
    | "handshakes"
    | "reattestations"
    | "handshakeSeconds"
    | "closedChannels"
    | "refusedMessages"
    | "cutChannels"
  > {
    return {
      handshakes: Object.fromEntries(this.#handshakes),
      reattestations: Object.fromEntries(this.#reattestations),
      handshakeSeconds: this.#seconds.view(),
      closedChannels: Object.fromEntries(this.#closed),
      refusedMessages: this.#refused.view(),
      cutChannels: this.#cut.view(),
    };
  }
}

/** What is held against peers, by code. Both are bounded, and the sum is never lost. */
class Tally {
  readonly #peers = new Map<string, Map<string, number>>();

  add(peer: string, code: string): void {
    const name = this.#peers.has(peer) || this.#peers.size < PEERS_MAX ? peer : OTHER;
    const codes = this.#peers.get(name) ?? new Map<string, number>();
    this.#peers.set(name, codes);
    add(codes, code, CODES_PER_PEER_MAX);
  }

  view(): PeerCount[] {
    return [...this.#peers].flatMap(([peer, codes]) => {
      return [...codes].map(([code, count]) => ({ peer, code, count }));
    });
  }
}

function add(counts: Map<string, number>, name: string, most: number): void {
  const known = counts.has(name) || counts.size < most ? name : OTHER;
  counts.set(known, (counts.get(known) ?? 0) + 1);
}
