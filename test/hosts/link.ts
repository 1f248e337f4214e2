import { connect, createServer, type Server, type Socket } from "node:net";
import { performance } from "node:perf_hooks";

/** Bytes held for a receiver that does not read, or that a cut link keeps from reading. */
const HELD_BYTES_MAX = 8 << 20;

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface LinkPlan {
  readonly name: string;
  readonly listen: Endpoint;
  readonly target: Endpoint;
}

/** What a link does to what passes it. Both directions are treated alike. */
export interface LinkTreatment {
  /** One way; a round trip takes twice this. */
  readonly delayMs: number;
  /** Holds everything back, as a network does whose packets are lost until the link is mended. */
  readonly cut: boolean;
}

/**
 * One link between two processes: TCP connections are passed on byte for byte, later. Nothing is lost or
 * reordered inside a connection, as TCP itself would see to; opening one costs a round trip, as on a network.
 */
export class Link {
  readonly name: string;
  readonly #plan: LinkPlan;
  readonly #pairs = new Set<Pair>();
  readonly #server: Server;
  #treatment: LinkTreatment = { delayMs: 0, cut: false };

  constructor(plan: LinkPlan) {
    this.name = plan.name;
    this.#plan = plan;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => this.#accept(near));
  }

  async open(): Promise<void> {
    const { host, port } = this.#plan.listen;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, resolve);
    });
  }

  treat(treatment: LinkTreatment): void {
    this.#treatment = treatment;
    for (const pair of this.#pairs) pair.look();
  }

  close(): void {
    this.#server.close();
    for (const pair of this.#pairs) pair.destroy();
  }

  #accept(near: Socket): void {
    const pair = new Pair(near, this.#plan.target, () => this.#treatment);
    this.#pairs.add(pair);
    void pair.closed.then(() => this.#pairs.delete(pair));
  }
}

/** Two sockets that are one connection to those at its ends. */
class Pair {
  readonly closed: Promise<void>;
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #lanes: readonly [Lane, Lane];

  constructor(near: Socket, target: Endpoint, treatment: () => LinkTreatment) {
    this.#near = near;
    this.#far = connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.#lanes = [new Lane(near, this.#far, treatment), new Lane(this.#far, near, treatment)];
    this.#lanes[0].holdMs(2 * treatment().delayMs);
    this.closed = new Promise((resolve) => {
      let open = 2;
      for (const socket of [this.#near, this.#far]) {
        socket.on("close", () => --open === 0 && resolve());
      }
    });
  }

  look(): void {
    for (const lane of this.#lanes) lane.look();
  }

  destroy(): void {
    this.#near.destroy();
    this.#far.destroy();
  }
}

interface Held {
  readonly dueMs: number;
  readonly pass: () => void;
  readonly bytes: number;
}

/** One direction of a connection: what arrives leaves in order, each piece when its time has come. */
class Lane {
  readonly #from: Socket;
  readonly #treatment: () => LinkTreatment;
  readonly #held: Held[] = [];
  #heldBytes = 0;
  #notBeforeMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, treatment: () => LinkTreatment) {
    this.#from = from;
    this.#treatment = treatment;
    from.on("data", (chunk: Buffer) => this.#hold(chunk.length, () => to.write(chunk)));
    from.on("end", () => this.#hold(0, () => to.end()));
    // A reset travels like anything else.
    from.on("error", () => this.#hold(0, () => to.destroy()));
    from.on("close", () => this.#hold(0, () => to.destroySoon()));
  }

  holdMs(durationMs: number): void {
    this.#notBeforeMs = performance.now() + durationMs;
  }

  #hold(bytes: number, pass: () => void): void {
    const { delayMs } = this.#treatment();
    const dueMs = Math.max(performance.now(), this.#notBeforeMs) + delayMs;
    this.#held.push({ dueMs, pass, bytes });
    this.#heldBytes += bytes;
    if (this.#heldBytes > HELD_BYTES_MAX) this.#from.pause();
    this.look();
  }

  look(): void {
    clearTimeout(this.#timer);
    const { cut } = this.#treatment();
    if (cut) return;
    for (let first = this.#held[0]; first !== undefined; first = this.#held[0]) {
      const waitMs = first.dueMs - performance.now();
      if (waitMs > 0.2) {
        this.#timer = setTimeout(() => this.look(), waitMs);
        return;
      }
      this.#held.shift();
      this.#heldBytes -= first.bytes;
      first.pass();
    }
    if (this.#from.isPaused() && this.#heldBytes <= HELD_BYTES_MAX) this.#from.resume();
  }
}
