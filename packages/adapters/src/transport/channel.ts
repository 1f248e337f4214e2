import type { TLSSocket } from "node:tls";
import { CloisterError, codeOf, type Cbor, type Refusal, type Verdict } from "@cloister/core";
import type { Channel, ChannelView, Handler, Lane, Peer } from "@cloister/node";
import { encodeFrame, type FrameSource } from "./frames.ts";
import type { TransportLimits } from "./limits.ts";
import { Outbox } from "./outbox.ts";

const REQUESTS_SERVED_AT_ONCE_MAX = 64;
/** What the channel itself answers: evidence over a new challenge. spec/channel.md §6 */
const ATTEST = "channel.attest";
const ATTEST_MS = 10_000;
/** Evidence costs its machine; nobody needs it more often than this. */
const ATTEST_EVERY_MS = 200;
const ATTEST_TRIES = 3;
const CHALLENGE_BYTES = 32;
const STALE = "EVIDENCE_STALE";

interface Waiting {
  readonly settle: (body: Cbor) => void;
  readonly fail: (error: CloisterError) => void;
  readonly timer: NodeJS.Timeout;
}

/** Both ends of proof on one channel: this CVM's evidence for the peer, and the judgement of the peer's. */
export interface Proving {
  challenge(): Uint8Array;
  /** This CVM's evidence over the peer's challenge, bound to this channel and this side of it. */
  evidence(challenge: Uint8Array): Promise<Uint8Array>;
  /** Judges the peer's evidence over this CVM's challenge. */
  judge(challenge: Uint8Array, evidence: Uint8Array): Promise<Verdict<Peer>>;
}

export interface ChannelOptions {
  readonly socket: TLSSocket;
  readonly frames: FrameSource;
  readonly peer: Peer;
  readonly side: "client" | "server";
  readonly handler: Handler;
  readonly proving: Proving;
  readonly limits: TransportLimits;
  /** Hears of each message of the peer that was refused. */
  refused(code: string): void;
}

/**
 * Requests, answers and notices over one attested socket, in both directions. Begins where the
 * handshake ended: `peer` is already judged. spec/channel.md §4
 */
export class SocketChannel implements Channel {
  readonly closed: Promise<void>;
  readonly #options: ChannelOptions;
  readonly #socket: TLSSocket;
  readonly #outbox: Outbox;
  readonly #waiting = new Map<number, Waiting>();
  readonly #openedMs = Date.now();
  #peer: Peer;
  #nextId = 1;
  #serving = 0;
  #attestedMs = -Infinity;
  #proving: Promise<Verdict<Peer>> | undefined;
  #refusal: Refusal | undefined;
  #fault: CloisterError | undefined;

  constructor(options: ChannelOptions) {
    const { socket, frames, peer, limits } = options;
    this.#options = options;
    this.#peer = peer;
    this.#socket = socket;
    this.#outbox = new Outbox(socket, limits);
    socket.on("error", (error) => {
      // A connection that breaks is nobody's doing: only what this end objected to counts.
      if (error === frames.error || error instanceof CloisterError) this.#fault ??= faultOf(error);
      socket.destroy();
    });
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    void this.closed.then(() => this.#failAll());
    frames.pushTo((frame) => this.#receive(frame));
  }

  /** The peer as it was last judged. */
  get peer(): Peer {
    return this.#peer;
  }

  get refusal(): Refusal | undefined {
    return this.#refusal;
  }

  /** Why this end closed the channel, where it was for what the peer did. */
  get fault(): CloisterError | undefined {
    return this.#fault;
  }

  /** Ends the channel for what the peer did. */
  cut(fault: CloisterError): void {
    this.#fault ??= fault;
    this.#socket.destroy();
  }

  view(): ChannelView {
    const { frames, side } = this.#options;
    return {
      ...{ peer: this.#peer, openedMs: this.#openedMs, dialed: side === "client" },
      ...{ received: { ...frames.received }, sent: { ...this.#outbox.sent } },
      ...{ queuedFrames: this.#outbox.queuedFrames, queuedBytes: this.#outbox.queuedBytes },
    };
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
        this.#outbox.push("urgent", encodeFrame({ kind: "request", id, method, body }));
      } catch (error) {
        clearTimeout(timer);
        this.#waiting.delete(id);
        reject(error instanceof Error ? error : new CloisterError("CHANNEL_CLOSED", String(error)));
      }
    });
  }

  notify(method: string, body: Cbor, lane: Lane = "urgent"): void {
    if (this.#socket.destroyed) return;
    this.#send(lane, encodeFrame({ kind: "notice", method, body }));
  }

  /**
   * Asks the peer for evidence over a new challenge and judges it under the policy of now. Whoever does not
   * pass, or does not answer, is cut off.
   */
  reattest(): Promise<Verdict<Peer>> {
    this.#proving ??= this.#judgeAnew().finally(() => (this.#proving = undefined));
    return this.#proving;
  }

  close(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  async #judgeAnew(): Promise<Verdict<Peer>> {
    const verdict = await this.#freshVerdict();
    if (verdict.ok) {
      this.#peer = verdict.value;
      return verdict;
    }
    const [refusal] = verdict.refusals;
    // Who did not answer in time may be slow or gone; that says nothing about what it runs.
    if (refusal.code !== STALE) this.#refusal = refusal;
    this.cut(new CloisterError(refusal.code, refusal.reason));
    return verdict;
  }

  async #freshVerdict(): Promise<Verdict<Peer>> {
    const { proving } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        const challenge = proving.challenge();
        const evidence = await this.request(ATTEST, { challenge }, ATTEST_MS);
        if (evidence instanceof Uint8Array) return await proving.judge(challenge, evidence);
        throw new CloisterError("HANDSHAKE_MALFORMED", "The peer sent no evidence where evidence was due.");
      } catch (error) {
        if (codeOf(error) === "PEER_BUSY" && tries < ATTEST_TRIES) {
          await new Promise((resolve) => setTimeout(resolve, 2 * ATTEST_EVERY_MS));
          continue;
        }
        const reason = error instanceof Error ? error.message : String(error);
        const refusal: Refusal = { code: STALE, reason: `No fresh evidence came: ${reason}` };
        return { ok: false, refusals: [refusal] };
      }
    }
  }

  #receive(frame: Cbor): void {
    const message = frame as { kind?: unknown; id?: unknown; method?: unknown; body?: Cbor; code?: unknown };
    if (typeof message !== "object" || message === null) return this.#violate();
    if (message.kind === "answer" || message.kind === "error") return this.#answered(message);
    if (typeof message.method !== "string") return this.#violate();
    if (message.kind === "notice") {
      void this.#options
        .handler(this.peer, message.method, message.body ?? null)
        .catch((error: unknown) => this.#options.refused(codeOf(error)));
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
      this.#options.refused("PEER_BUSY");
      return this.#fail(id, "PEER_BUSY", "Too many requests at once.");
    }
    this.#serving++;
    try {
      const answer = method === ATTEST ? await this.#prove(body) : await this.#handle(method, body);
      this.#send("urgent", encodeFrame({ kind: "answer", id, body: answer }));
    } catch (error) {
      const sentence = error instanceof CloisterError ? error.message : "The request failed inside the peer.";
      this.#options.refused(codeOf(error));
      this.#fail(id, codeOf(error), sentence);
    } finally {
      this.#serving--;
    }
  }

  #fail(id: number, code: string, message: string): void {
    this.#send("urgent", encodeFrame({ kind: "error", id, code, message }));
  }

  async #handle(method: string, body: Cbor): Promise<Cbor> {
    return (await this.#options.handler(this.peer, method, body)) ?? null;
  }

  async #prove(body: Cbor): Promise<Cbor> {
    const { challenge } = (body ?? {}) as { challenge?: unknown };
    if (!(challenge instanceof Uint8Array) || challenge.length !== CHALLENGE_BYTES) {
      throw new CloisterError("HANDSHAKE_MALFORMED", "A challenge is 32 bytes.");
    }
    if (Date.now() < this.#attestedMs + ATTEST_EVERY_MS) {
      throw new CloisterError("PEER_BUSY", "Evidence was asked for a moment ago.");
    }
    this.#attestedMs = Date.now();
    return this.#options.proving.evidence(challenge);
  }

  /** What cannot even be queued is owed to a peer that does not read: such a channel is not worth keeping. */
  #send(lane: Lane, frame: Buffer): void {
    if (this.#socket.destroyed) return;
    try {
      this.#outbox.push(lane, frame);
    } catch (error) {
      this.cut(faultOf(error));
    }
  }

  #violate(): void {
    this.cut(new CloisterError("FRAME_MALFORMED", "The peer sent a message of no known kind."));
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

function faultOf(error: unknown): CloisterError {
  if (error instanceof CloisterError) return error;
  return new CloisterError(codeOf(error), error instanceof Error ? error.message : String(error));
}
