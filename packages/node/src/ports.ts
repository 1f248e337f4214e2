import type { Cbor, Digest, NodeId, Refusal, Verdict } from "@cloister/core";
import type { HistogramView } from "./metrics.ts";

/** A peer that has proven itself on a channel: its keys are bound to its evidence and to the channel. */
export interface Peer {
  readonly id: NodeId;
  readonly identity: Uint8Array;
  readonly wrap: Uint8Array;
  readonly measurement: Digest;
  readonly tee: string;
  readonly simulated: boolean;
  readonly machine: Machine;
  readonly tcbStatus: string;
  /** When its evidence was last judged, on this node's clock. */
  readonly attestedMs: number;
}

/** What a CVM sees of the machine it was given. Measured code reports it, so evidence vouches for it. */
export interface Machine {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly gpus: number;
  /** Where the operator says that it stands: measured code passes that on, nothing vouches for it. */
  readonly region?: string;
}

/** What a peer presents while a channel is set up, before anybody has judged it. */
export interface Introduction {
  readonly identity: Uint8Array;
  readonly settlement: NodeId;
  readonly wrap: Uint8Array;
  readonly machine: Machine;
  readonly tee: string;
  readonly evidence: Uint8Array;
  /** What the evidence must bind: our challenge, the channel's exported key, the peer's keys and machine. */
  readonly reportData: Uint8Array;
}

/** How a notice waits for a peer that does not keep up: urgent ones are kept, of gossip the oldest is dropped. */
export type Lane = "urgent" | "gossip";

/** An attested, encrypted, ordered connection to one peer. */
export interface Channel {
  /** As its evidence last showed it. */
  readonly peer: Peer;
  /** Round trips answered so far are timed by the caller; the channel only carries bytes. */
  request(method: string, body: Cbor, timeoutMs: number): Promise<Cbor>;
  /** Sends without waiting; a peer that does not keep up loses gossip, never what is urgent. */
  notify(method: string, body: Cbor, lane?: Lane): void;
  close(): void;
  readonly closed: Promise<void>;
  /** Why this end cut the peer off, where its evidence was judged anew and did not pass. */
  readonly refusal: Refusal | undefined;
}

/** Answers one request of an attested peer; `undefined` answers a notice. A thrown code reaches the asker. */
export type Handler = (peer: Peer, method: string, body: Cbor) => Promise<Cbor | undefined>;

/** Attested channels to other CVMs. Whom to let in is the caller's judgement, made anew for each channel. */
export interface Transport {
  /** @throws {CloisterError} `PEER_UNREACHABLE`, `PEER_REFUSED`, `PEER_UNEXPECTED` */
  connect(endpoint: string, expected?: NodeId): Promise<Channel>;
  /** Judges every connected peer anew on fresh evidence, and cuts off who does not pass. */
  reattest(why: string): Promise<void>;
  view(): TransportView;
  close(): Promise<void>;
}

/** One open channel, for metrics and status pages. */
export interface ChannelView {
  readonly peer: Peer;
  readonly openedMs: number;
  /** This node opened it. */
  readonly dialed: boolean;
  readonly received: { readonly frames: number; readonly bytes: number; readonly throttled: number };
  readonly sent: { readonly frames: number; readonly bytes: number; readonly dropped: number };
  readonly queuedFrames: number;
  readonly queuedBytes: number;
}

/** Everything that a transport does and did. */
export interface TransportView {
  readonly channels: readonly ChannelView[];
  readonly handshakesInFlight: number;
  /** Handshakes that ended, by side and outcome: `server ok`, `client PEER_REFUSED`. */
  readonly handshakes: Readonly<Record<string, number>>;
  readonly handshakeSeconds: HistogramView;
  readonly reattestations: Readonly<Record<string, number>>;
  readonly connectionsDropped: number;
  readonly crowdedOut: number;
  readonly late: number;
  readonly surplus: number;
  /** What went over the channels that ended, by peer. */
  readonly closedChannels: Readonly<Record<string, ChannelTotals>>;
  /** Messages that this node refused, and channels that it closed for what the peer did on them. */
  readonly refusedMessages: readonly PeerCount[];
  readonly cutChannels: readonly PeerCount[];
}

/** What went over channels to one peer. */
export interface ChannelTotals {
  readonly receivedFrames: number;
  readonly receivedBytes: number;
  readonly sentFrames: number;
  readonly sentBytes: number;
  readonly dropped: number;
  readonly throttled: number;
}

/** So much was held against a peer, under a code. */
export interface PeerCount {
  readonly peer: string;
  readonly code: string;
  readonly count: number;
}

/** Judges what a peer presents: evidence verified and appraised against policy. */
export type Admission = (introduction: Introduction) => Promise<Verdict<Peer>>;

/** Waiting, for loops that look again. */
export interface Timers {
  wait(durationMs: number): Promise<void>;
}
