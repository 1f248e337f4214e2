import type { TLSSocket } from "node:tls";
import { CloisterError, codeOf, type Cbor } from "@cloister/core";
import type { Channel, Handler, Peer } from "@cloister/node";
import { writeFrame, type FrameSource } from "./frames.ts";

const REQUESTS_SERVED_AT_ONCE_MAX = 64;

interface Waiting {
  readonly settle: (body: Cbor) => void;
  readonly fail: (error: CloisterError) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Requests, answers and notices over one attested socket, in both directions. Begins where the
 * handshake ended: `peer` is already judged. spec/channel.md §4
 */
export class SocketChannel implements Channel {
  readonly peer: Peer;
  readonly closed: Promise<void>;
  readonly #socket: TLSSocket;
  readonly #handler: Handler;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #serving = 0;

  constructor(socket: TLSSocket, frames: FrameSource, peer: Peer, handler: Handler) {
    this.peer = peer;
    this.#socket = socket;
    this.#handler = handler;
    socket.on("error", () => socket.destroy());
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    void this.closed.then(() => this.#failAll());
    frames.pushTo((frame) => this.#receive(frame));
  }

  request(method: string, body: Cbor, timeoutMs: number): Promise<Cbor> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(
          new CloisterError("PEER_TIMEOUT", `${this.peer.id} did not answer "${method}" in ${timeoutMs} ms.`),
        );
      }, timeoutMs);
      this.#waiting.set(id, { settle: resolve, fail: reject, timer });
      try {
        if (this.#socket.destroyed) throw new CloisterError("CHANNEL_CLOSED", "The channel is closed.");
        writeFrame(this.#socket, { kind: "request", id, method, body });
      } catch (error) {
        clearTimeout(timer);
        this.#waiting.delete(id);
        reject(error instanceof Error ? error : new CloisterError("CHANNEL_CLOSED", String(error)));
      }
    });
  }

  notify(method: string, body: Cbor): void {
    if (this.#socket.destroyed) return;
    try {
      writeFrame(this.#socket, { kind: "notice", method, body });
    } catch (error) {
      if (codeOf(error) !== "CHANNEL_CONGESTED") throw error;
    }
  }

  close(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #receive(frame: Cbor): void {
    const message = frame as { kind?: unknown; id?: unknown; method?: unknown; body?: Cbor; code?: unknown };
    if (typeof message !== "object" || message === null) return this.#violate();
    if (message.kind === "answer" || message.kind === "error") return this.#answered(message);
    if (typeof message.method !== "string") return this.#violate();
    if (message.kind === "notice") {
      void this.#handler(this.peer, message.method, message.body ?? null).catch(() => undefined);
    } else if (message.kind === "request" && typeof message.id === "number") {
      void this.#serve(message.id, message.method, message.body ?? null);
    } else {
      this.#violate();
    }
  }

  #answered(message: { kind?: unknown; id?: unknown; body?: Cbor; code?: unknown; message?: unknown }): void {
    const waiting = this.#waiting.get(message.id as number);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id as number);
    clearTimeout(waiting.timer);
    if (message.kind === "answer") return waiting.settle(message.body ?? null);
    const code = typeof message.code === "string" ? message.code.slice(0, 80) : "PEER_ERROR";
    const sentence =
      typeof message.message === "string" ? message.message.slice(0, 500) : "The peer gave no reason.";
    waiting.fail(new CloisterError(code, sentence, { details: { peer: this.peer.id } }));
  }

  async #serve(id: number, method: string, body: Cbor): Promise<void> {
    if (this.#serving >= REQUESTS_SERVED_AT_ONCE_MAX) {
      return this.#reply({ kind: "error", id, code: "PEER_BUSY", message: "Too many requests at once." });
    }
    this.#serving++;
    try {
      this.#reply({ kind: "answer", id, body: (await this.#handler(this.peer, method, body)) ?? null });
    } catch (error) {
      const sentence = error instanceof CloisterError ? error.message : "The request failed inside the peer.";
      this.#reply({ kind: "error", id, code: codeOf(error), message: sentence });
    } finally {
      this.#serving--;
    }
  }

  #reply(message: Cbor): void {
    if (this.#socket.destroyed) return;
    try {
      writeFrame(this.#socket, message);
    } catch {
      // A peer that does not read its answers is not worth keeping.
      this.#socket.destroy();
    }
  }

  #violate(): void {
    this.#socket.destroy(new CloisterError("FRAME_MALFORMED", "The peer sent a message of no known kind."));
  }

  #failAll(): void {
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.fail(
        new CloisterError("CHANNEL_CLOSED", `The channel to ${this.peer.id} closed before the answer.`),
      );
    }
    this.#waiting.clear();
  }
}
