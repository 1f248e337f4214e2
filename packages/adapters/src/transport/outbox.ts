import type { TLSSocket } from "node:tls";
import { CloisterError } from "@cloister/core";
import type { Lane } from "@cloister/node";
import type { TransportLimits } from "./limits.ts";

/** What went out on one socket, and what did not. */
export interface Sent {
  frames: number;
  bytes: number;
  /** Gossip that was dropped because newer gossip had to wait behind it. */
  dropped: number;
}

/**
 * What waits for one peer. While the socket takes bytes they go straight to it; once it does not, they
 * wait in two lanes: urgent ones go first and are never dropped, of gossip the oldest goes when there is
 * too much, for the newest says more. Both are bounded, and a peer that takes nothing is given up.
 */
export class Outbox {
  readonly sent: Sent = { frames: 0, bytes: 0, dropped: 0 };
  readonly #socket: TLSSocket;
  readonly #limits: TransportLimits;
  readonly #urgent: Buffer[] = [];
  readonly #gossip: Buffer[] = [];
  #urgentBytes = 0;
  #gossipBytes = 0;
  #stalled: NodeJS.Timeout | undefined;

  constructor(socket: TLSSocket, limits: TransportLimits) {
    this.#socket = socket;
    this.#limits = limits;
    socket.on("drain", () => this.#flush());
    socket.once("close", () => clearTimeout(this.#stalled));
  }

  get queuedFrames(): number {
    return this.#urgent.length + this.#gossip.length;
  }

  get queuedBytes(): number {
    return this.#urgentBytes + this.#gossipBytes + this.#socket.writableLength;
  }

  /** @throws {CloisterError} `CHANNEL_CONGESTED` when more urgent frames wait than may. */
  push(lane: Lane, frame: Buffer): void {
    if (this.queuedFrames === 0 && !this.#socket.writableNeedDrain) return this.#write(frame);
    if (lane === "gossip") {
      this.#gossip.push(frame);
      this.#gossipBytes += frame.length;
      this.#dropOldest();
    } else {
      const { urgentBytesMax } = this.#limits;
      if (this.#urgentBytes + frame.length > urgentBytesMax) {
        throw new CloisterError("CHANNEL_CONGESTED", "The peer does not read as fast as it is sent to.");
      }
      this.#urgent.push(frame);
      this.#urgentBytes += frame.length;
    }
    this.#watch();
  }

  #dropOldest(): void {
    const { gossipFramesMax, gossipBytesMax } = this.#limits;
    while (this.#gossip.length > gossipFramesMax || this.#gossipBytes > gossipBytesMax) {
      this.#gossipBytes -= this.#gossip.shift()?.length ?? 0;
      this.sent.dropped++;
    }
  }

  #flush(): void {
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    while (!this.#socket.destroyed && !this.#socket.writableNeedDrain) {
      const urgent = this.#urgent.shift();
      const frame = urgent ?? this.#gossip.shift();
      if (frame === undefined) return;
      if (urgent === undefined) this.#gossipBytes -= frame.length;
      else this.#urgentBytes -= frame.length;
      this.#write(frame);
    }
    if (this.queuedFrames > 0) this.#watch();
  }

  #write(frame: Buffer): void {
    this.sent.frames++;
    this.sent.bytes += frame.length;
    this.#socket.write(frame);
  }

  /** Something waits: unless the socket drains in time, nobody reads at the other end. */
  #watch(): void {
    this.#stalled ??= setTimeout(() => {
      this.#socket.destroy(new CloisterError("CHANNEL_STALLED", "The peer has stopped reading."));
    }, this.#limits.stalledMs).unref();
  }
}
