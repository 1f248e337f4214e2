import type { Cbor, Digest, NodeId, Verdict } from "@cloister/core";

/** A peer that has proven itself on a channel: its keys are bound to its evidence and to the channel. */
export interface Peer {
  readonly id: NodeId;
  readonly identity: Uint8Array;
  readonly wrap: Uint8Array;
  readonly measurement: Digest;
  readonly tee: string;
  readonly simulated: boolean;
  readonly machine: Machine;
}

/** What a CVM sees of the machine it was given. Measured code reports it, so evidence vouches for it. */
export interface Machine {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly gpus: number;
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

/** An attested, encrypted, ordered connection to one peer. */
export interface Channel {
  readonly peer: Peer;
  /** Round trips answered so far are timed by the caller; the channel only carries bytes. */
  request(method: string, body: Cbor, timeoutMs: number): Promise<Cbor>;
  /** Sends without waiting; a peer that does not keep up loses notices, never requests. */
  notify(method: string, body: Cbor): void;
  close(): void;
  readonly closed: Promise<void>;
}

/** Answers one request of an attested peer; `undefined` answers a notice. A thrown code reaches the asker. */
export type Handler = (peer: Peer, method: string, body: Cbor) => Promise<Cbor | undefined>;

/** Attested channels to other CVMs. Whom to let in is the caller's judgement, made anew for each channel. */
export interface Transport {
  /** @throws {CloisterError} `PEER_UNREACHABLE`, `PEER_REFUSED`, `PEER_UNEXPECTED` */
  connect(endpoint: string, expected?: NodeId): Promise<Channel>;
  close(): Promise<void>;
}

/** Judges what a peer presents: evidence verified and appraised against policy. */
export type Admission = (introduction: Introduction) => Promise<Verdict<Peer>>;

/** Waiting, for loops that look again. */
export interface Timers {
  wait(durationMs: number): Promise<void>;
}
