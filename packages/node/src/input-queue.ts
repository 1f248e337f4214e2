import type { NodeId } from "@cloister/core";
import type { Input } from "@cloister/swarm";

/** Messages of one peer that may wait: of gossip the oldest goes, for the newest says more. */
const GOSSIP_WAITING_MAX = 64;
/** Votes, doubts and assignments are kept; so many of one peer are a flood, of which the core would take none. */
const URGENT_WAITING_MAX = 1_024;

const GOSSIP: ReadonlySet<unknown> = new Set([
  "ping",
  "ack",
  "ping-for",
  "ack-for",
  "report",
  "measure",
  "load",
  "load-ack",
]);

/** Tells whether newer messages of this kind make older ones worthless. */
export function isGossip(message: unknown): boolean {
  return GOSSIP.has((message as { readonly kind?: unknown } | null | undefined)?.kind);
}

/** Told in full each time: only the newest says anything. */
const WHOLE: ReadonlySet<Input["kind"]> = new Set(["registry", "goals", "orders", "work"]);

interface Waiting {
  gossip: number;
  urgent: number;
}

/**
 * What waits for the core, in the order in which it came. The node's own inputs always wait, of those
 * that say everything anew only the newest; what a peer sends is bounded for each peer, so that one that floods loses its own messages and nobody else's.
 */
export class InputQueue {
  #inputs: Input[] = [];
  readonly #waiting = new Map<NodeId, Waiting>();
  readonly #dropped = new Map<NodeId, number>();
  #ticks = 0;

  get length(): number {
    return this.#inputs.length;
  }

  /** Messages dropped so far, by peer. */
  dropped(): Record<string, number> {
    return Object.fromEntries(this.#dropped);
  }

  push(input: Input): void {
    if (input.kind === "tick" && this.#ticks > 0) return;
    if (input.kind === "tick") this.#ticks++;
    if (input.kind === "received" && !this.#admit(input.from, isGossip(input.message))) return;
    if (WHOLE.has(input.kind)) this.#inputs = this.#inputs.filter(({ kind }) => kind !== input.kind);
    this.#inputs.push(input);
  }

  shift(): Input | undefined {
    const input = this.#inputs.shift();
    if (input?.kind === "tick") this.#ticks--;
    if (input?.kind === "received") this.#release(input.from, isGossip(input.message));
    return input;
  }

  #admit(from: NodeId, gossip: boolean): boolean {
    const waiting = this.#waiting.get(from) ?? { gossip: 0, urgent: 0 };
    this.#waiting.set(from, waiting);
    if (!gossip && waiting.urgent >= URGENT_WAITING_MAX) {
      this.#countDropped(from);
      return false;
    }
    if (gossip && waiting.gossip >= GOSSIP_WAITING_MAX) this.#dropOldest(from);
    if (gossip) waiting.gossip++;
    else waiting.urgent++;
    return true;
  }

  #dropOldest(from: NodeId): void {
    const place = this.#inputs.findIndex((input) => {
      return input.kind === "received" && input.from === from && isGossip(input.message);
    });
    this.#inputs.splice(place, 1);
    this.#release(from, true);
    this.#countDropped(from);
  }

  #release(from: NodeId, gossip: boolean): void {
    const waiting = this.#waiting.get(from) as Waiting;
    if (gossip) waiting.gossip--;
    else waiting.urgent--;
    if (waiting.gossip + waiting.urgent === 0) this.#waiting.delete(from);
  }

  #countDropped(from: NodeId): void {
    this.#dropped.set(from, (this.#dropped.get(from) ?? 0) + 1);
  }
}
