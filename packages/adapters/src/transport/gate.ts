import { randomInt } from "node:crypto";
import type { Socket } from "node:net";
import { CloisterError, type NodeId } from "@cloister/core";
import type { SocketChannel } from "./channel.ts";
import type { TransportLimits } from "./limits.ts";

/** What the gate turned away. */
export interface Turned {
  /** Handshakes given up to make room for others. */
  crowdedOut: number;
  /** Handshakes that took too long. */
  late: number;
  /** Channels closed because their peer opened more of them than it may. */
  surplus: number;
}

interface Waiting {
  readonly address: string;
  readonly deadline: NodeJS.Timeout;
  /** Past TLS: it has shown a key, and cost itself as much as us. */
  secure: boolean;
}

/**
 * Decides which connections that others open may stay. Connections that have not proven anything are few
 * and short-lived, and whoever opens many of them crowds out his own: a peer that does prove itself gets in
 * while strangers hold as many sockets as they like.
 */
export class Gate {
  readonly turned: Turned = { crowdedOut: 0, late: 0, surplus: 0 };
  readonly #limits: TransportLimits;
  readonly #turnedAway: (why: "late" | "crowded-out", address: string) => void;
  /** In the order in which they came. */
  readonly #waiting = new Map<Socket, Waiting>();
  readonly #channels = new Map<NodeId, SocketChannel[]>();

  /** @param turnedAway Hears of each connection that lost its place, and from where it came. */
  constructor(limits: TransportLimits, turnedAway: (why: "late" | "crowded-out", address: string) => void) {
    this.#limits = limits;
    this.#turnedAway = turnedAway;
  }

  get handshakes(): number {
    return this.#waiting.size;
  }

  /** A stranger has connected: from here on its time runs. */
  opened(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    const deadline = setTimeout(() => {
      this.turned.late++;
      this.#turnedAway("late", address);
      socket.destroy();
    }, this.#limits.handshakeMs);
    this.#waiting.set(socket, { address, deadline, secure: false });
    socket.once("close", () => this.#settled(socket));
    socket.on("error", () => socket.destroy());
    if (this.#waiting.size > this.#limits.handshakesMax) this.#crowdOut();
  }

  /** TLS is done; evidence is due. */
  secured(key: string): void {
    for (const [socket, waiting] of this.#waiting) if (addressOf(socket) === key) waiting.secure = true;
  }

  /** The connection is a channel to a peer that proved itself. */
  established(key: string, channel: SocketChannel): void {
    for (const socket of this.#waiting.keys()) if (addressOf(socket) === key) this.#settled(socket);
    const { id } = channel.peer;
    const open = [...(this.#channels.get(id) ?? []), channel];
    this.#channels.set(id, open);
    void channel.closed.then(() => this.#gone(id, channel));
    if (open.length > this.#limits.channelsPerPeerMax) {
      this.turned.surplus++;
      open[0]?.cut(new CloisterError("CHANNEL_SURPLUS", "The peer opened more channels than it may."));
    }
  }

  #settled(socket: Socket): void {
    clearTimeout(this.#waiting.get(socket)?.deadline);
    this.#waiting.delete(socket);
  }

  #gone(id: NodeId, channel: SocketChannel): void {
    const open = this.#channels.get(id)?.filter((one) => one !== channel) ?? [];
    if (open.length === 0) this.#channels.delete(id);
    else this.#channels.set(id, open);
  }

  /** One of the busiest address goes, at random so that nobody can time it, and rather one that showed no key. */
  #crowdOut(): void {
    const counts = new Map<string, number>();
    for (const { address } of this.#waiting.values()) counts.set(address, (counts.get(address) ?? 0) + 1);
    const most = Math.max(...counts.values());
    const crowd = [...this.#waiting].filter(([, { address }]) => counts.get(address) === most);
    const keyless = crowd.filter(([, { secure }]) => !secure);
    const from = keyless.length > 0 ? keyless : crowd;
    const [socket, { address }] = from[randomInt(from.length)] as (typeof from)[number];
    this.turned.crowdedOut++;
    this.#turnedAway("crowded-out", address);
    this.#settled(socket);
    socket.destroy();
  }
}

/** Names a connection, so that its TLS end and its TCP end can be told to be one. */
export function addressOf(socket: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${socket.remoteAddress ?? ""} ${socket.remotePort ?? ""}`;
}
