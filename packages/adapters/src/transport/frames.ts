import type { TLSSocket } from "node:tls";
import { CloisterError, decodeCanonical, encodeCanonical, type Cbor } from "@cloister/core";

/** One message: a 4-byte big-endian length, then canonical CBOR. spec/channel.md §2 */
export const FRAME_BYTES_MAX = 1 << 20;

/** Bytes that may wait in a socket before a peer counts as too slow to be sent more. */
export const WAITING_BYTES_MAX = 4 << 20;

/**
 * The frames that arrive on one socket: pulled one by one while a handshake lasts, then pushed to a
 * sink. A socket whose bytes are not frames is destroyed.
 */
export class FrameSource {
  readonly #socket: TLSSocket;
  readonly #frames: Cbor[] = [];
  #pending: Buffer = Buffer.alloc(0);
  #sink: ((frame: Cbor) => void) | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("close", () => this.#wake?.());
  }

  /** @throws {CloisterError} `PEER_UNREACHABLE` when no frame comes within the time, or ever again. */
  async next(timeoutMs: number): Promise<Cbor> {
    const deadline = setTimeout(() => this.#socket.destroy(), timeoutMs);
    try {
      while (this.#frames.length === 0) {
        if (this.#socket.destroyed) {
          throw new CloisterError("PEER_UNREACHABLE", "The peer hung up during the attestation handshake.");
        }
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      return this.#frames.shift() as Cbor;
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Hands every frame to `sink` from here on, first those that are already here. */
  pushTo(sink: (frame: Cbor) => void): void {
    this.#sink = sink;
    for (const frame of this.#frames.splice(0)) sink(frame);
  }

  #receive(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    try {
      this.#split();
    } catch (error) {
      this.#socket.destroy(error as Error);
    }
    this.#wake?.();
  }

  /** @throws {CloisterError} `FRAME_TOO_LARGE`; `CborError` when a frame is not canonical CBOR. */
  #split(): void {
    while (this.#pending.length >= 4) {
      const length = this.#pending.readUInt32BE(0);
      if (length > FRAME_BYTES_MAX) {
        throw new CloisterError("FRAME_TOO_LARGE", `A peer announced a message of ${length} bytes.`);
      }
      if (this.#pending.length < 4 + length) return;
      const frame = decodeCanonical(new Uint8Array(this.#pending.subarray(4, 4 + length)));
      this.#pending = this.#pending.subarray(4 + length);
      if (this.#sink === undefined) this.#frames.push(frame);
      else this.#sink(frame);
    }
  }
}

/**
 * Sends one frame.
 * @throws {CloisterError} `FRAME_TOO_LARGE`, or `CHANNEL_CONGESTED` when the peer does not keep up.
 */
export function writeFrame(socket: TLSSocket, message: Cbor): void {
  const body = encodeCanonical(message);
  if (body.length > FRAME_BYTES_MAX) {
    throw new CloisterError("FRAME_TOO_LARGE", `A message of ${body.length} bytes does not fit a frame.`);
  }
  if (socket.writableLength > WAITING_BYTES_MAX) {
    throw new CloisterError("CHANNEL_CONGESTED", "The peer does not read as fast as it is sent to.");
  }
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.set(body, 4);
  socket.write(frame);
}
