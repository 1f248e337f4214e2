/** What one process gives to connections, whoever is at their other end. spec/channel.md §5 */
export interface TransportLimits {
  /** Connections that others opened, counted from their first byte. */
  readonly connectionsMax: number;
  /** Of those, how many may be in their handshake at once; one more costs the oldest of the busiest address its place. */
  readonly handshakesMax: number;
  /** Open channels that one peer may have opened; one more closes its oldest. */
  readonly channelsPerPeerMax: number;
  /** From the first byte to both verdicts. */
  readonly handshakeMs: number;
  /** Every peer proves itself anew after so long on one channel. */
  readonly reattestMs: number;
  /** A peer that takes nothing for so long, while something waits for it, is cut off. */
  readonly stalledMs: number;
  /** Frames and bytes that are read from one peer per second; more wait in its own buffers. */
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
  /** What may wait for a peer that does not keep up: gossip loses its oldest, anything else closes the channel. */
  readonly gossipFramesMax: number;
  readonly gossipBytesMax: number;
  readonly urgentBytesMax: number;
}

export const LIMITS_DEFAULT: TransportLimits = {
  connectionsMax: 512,
  handshakesMax: 64,
  channelsPerPeerMax: 4,
  handshakeMs: 10_000,
  reattestMs: 5 * 60_000,
  stalledMs: 20_000,
  framesPerSecond: 2_000,
  bytesPerSecond: 16 << 20,
  gossipFramesMax: 256,
  gossipBytesMax: 1 << 20,
  urgentBytesMax: 4 << 20,
};
