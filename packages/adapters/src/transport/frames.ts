import { performance } from "node:perf_hooks";
import type { TLSSocket } from "node:tls";
import { CloisterError, decodeCanonical, encodeCanonical, type Cbor } from "@cloister/core";
import type { TransportLimits } from "./limits.ts";

/** One message: a 4-byte big-endian length, then canonical CBOR. spec/channel.md §2 */
export const FRAME_BYTES_MAX = 1 << 20;
/** Hello, evidence, verdict: before the last of them nobody is let in, and nobody needs more room. */
const HANDSHAKE_FRAMES = 3;
const HANDSHAKE_FRAME_BYTES_MAX = 256 * 1024;
const HEAD_BYTES = 4;

/** What came in on one socket. */
export interface Received {
  frames: number;
  bytes: number;
  /** How often reading was put off because the peer sends faster than it may. */
  throttled: number;
}

/**
 * The frames that arrive on one socket: pulled one by one while a handshake lasts, then pushed to a
 * sink, no faster than the limits say. A socket whose bytes are not frames is destroyed.
 */
export class FrameSource {
  readonly received: Received = { frames: 0, bytes: 0, throttled: 0 };
  readonly #socket: TLSSocket;
  readonly #limits: TransportLimits;
  readonly #frames: Cbor[] = [];
  readonly #chunks: Buffer[] = [];
  #held = 0;
  #error: Error | undefined;
  #handshakeFrames = 0;
  #sink: ((frame: Cbor) => void) | undefined;
  #wake: (() => void) | undefined;
  #resume: NodeJS.Timeout | undefined;
  #framesLeft: number;
  #bytesLeft: number;
  #filledMs = performance.now();

  constructor(socket: TLSSocket, limits: TransportLimits) {
    this.#socket = socket;
    this.#limits = limits;
    this.#framesLeft = 2 * limits.framesPerSecond;
    this.#bytesLeft = 2 * limits.bytesPerSecond;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("close", () => {
      clearTimeout(this.#resume);
      this.#wake?.();
    });
  }

  /** What was wrong with a frame, where something was. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** @throws {CloisterError} `PEER_UNREACHABLE` when the socket closes before a frame is there; what was wrong with a frame. */
  async next(): Promise<Cbor> {
    while (this.#frames.length === 0) {
      if (this.#socket.destroyed) {
        throw (
          this.#error ??
          new CloisterError("PEER_UNREACHABLE", "The peer hung up during the attestation handshake.")
        );
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#frames.shift() as Cbor;
  }

  /** Hands every frame to `sink` from here on, first those that are already here. */
  pushTo(sink: (frame: Cbor) => void): void {
    this.#sink = sink;
    for (const frame of this.#frames.splice(0)) sink(frame);
    this.#take();
    if (this.#resume === undefined) this.#socket.resume();
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    this.received.bytes += chunk.length;
    this.#bytesLeft -= chunk.length;
    this.#take();
    this.#wake?.();
  }

  #take(): void {
    try {
      while (!this.#socket.destroyed) {
        // What a peer sends on top of its handshake waits, unread, until it is let in.
        if (this.#sink === undefined && this.#handshakeFrames >= HANDSHAKE_FRAMES) {
          return void this.#socket.pause();
        }
        if (!this.#mayRead()) return;
        const body = this.#nextBody();
        if (body === undefined) return;
        this.received.frames++;
        this.#framesLeft--;
        this.#give(decodeCanonical(body));
      }
    } catch (error) {
      this.#error = error as Error;
      this.#socket.destroy(this.#error);
    }
  }

  #give(frame: Cbor): void {
    if (this.#sink !== undefined) return this.#sink(frame);
    this.#handshakeFrames++;
    this.#frames.push(frame);
  }

  /** Stops reading for as long as the peer is over its rate: what it sends then waits on its own side. */
  #mayRead(): boolean {
    const { framesPerSecond, bytesPerSecond } = this.#limits;
    const nowMs = performance.now();
    const seconds = (nowMs - this.#filledMs) / 1000;
    this.#filledMs = nowMs;
    this.#framesLeft = Math.min(2 * framesPerSecond, this.#framesLeft + seconds * framesPerSecond);
    this.#bytesLeft = Math.min(2 * bytesPerSecond, this.#bytesLeft + seconds * bytesPerSecond);
    if (this.#framesLeft >= 1 && this.#bytesLeft >= 0) return true;
    if (this.#resume !== undefined) return false;
    this.received.throttled++;
    this.#socket.pause();
    const waitMs = 1000 * Math.max(1 / framesPerSecond, -this.#bytesLeft / bytesPerSecond, 0.01);
    this.#resume = setTimeout(() => {
      this.#resume = undefined;
      this.#take();
      if (this.#resume === undefined) this.#socket.resume();
    }, waitMs);
    return false;
  }

  /** The bytes of the next whole frame. @throws {CloisterError} `FRAME_TOO_LARGE` */
  #nextBody(): Uint8Array | undefined {
    if (this.#held < HEAD_BYTES) return undefined;
    const length = this.#join(HEAD_BYTES).readUInt32BE(0);
    const most = this.#sink === undefined ? HANDSHAKE_FRAME_BYTES_MAX : FRAME_BYTES_MAX;
    if (length > most) {
      throw new CloisterError("FRAME_TOO_LARGE", `A peer announced a message of ${length} bytes.`);
    }
    if (this.#held < HEAD_BYTES + length) return undefined;
    const whole = this.#join(HEAD_BYTES + length);
    const body = new Uint8Array(whole.subarray(HEAD_BYTES, HEAD_BYTES + length));
    this.#drop(whole, HEAD_BYTES + length);
    return body;
  }

  /** Joins chunks until the first is at least so long; each byte is copied a bounded number of times. */
  #join(length: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= length) return first;
    const joined = Buffer.concat(this.#chunks.splice(0));
    this.#chunks.push(joined);
    return joined;
  }

  #drop(whole: Buffer, length: number): void {
    this.#held -= length;
    if (whole.length === length) this.#chunks.shift();
    else this.#chunks[0] = whole.subarray(length);
  }
}

/** Encodes one frame. @throws {CloisterError} `FRAME_TOO_LARGE` */
export function encodeFrame(message: Cbor): Buffer {
  const body = encodeCanonical(message);
  if (body.length > FRAME_BYTES_MAX) {
    throw new CloisterError("FRAME_TOO_LARGE", `A message of ${body.length} bytes does not fit a frame.`);
  }
  const frame = Buffer.allocUnsafe(HEAD_BYTES + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.set(body, HEAD_BYTES);
  return frame;
}
