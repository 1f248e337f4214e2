import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { connect as tlsConnect, createServer, type Server, type TLSSocket } from "node:tls";
import {
  accept,
  CloisterError,
  codeOf,
  concat,
  equalBytes,
  fromHex,
  parseAddress,
  valueOf,
  type Cbor,
  type Entropy,
  type Log,
  type NodeId,
  type Verdict,
} from "@cloister/core";
import type { Admission, Channel, Handler, Machine, Peer, Transport, TransportView } from "@cloister/node";
import { SocketChannel, type Proving } from "./channel.ts";
import { encodeFrame, FrameSource } from "./frames.ts";
import { addressOf, Gate } from "./gate.ts";
import { Ledger } from "./ledger.ts";
import { LIMITS_DEFAULT, type TransportLimits } from "./limits.ts";

const ALPN = "cloister/1";
/** Whoever has not proven who it is shares one line of the log a second with all the others. */
const STRANGERS = "";
const REGION = /^[A-Za-z0-9._-]{1,64}$/;
const EXPORTER_LABEL = "EXPORTER-cloister-channel-v1";

/** What a CVM says of itself on a channel, and binds into its evidence. */
export interface Introduced {
  readonly identity: Uint8Array;
  readonly settlement: NodeId;
  readonly wrap: Uint8Array;
  readonly machine: Machine;
}

/** This CVM, as it shows itself to others. */
export interface Self extends Introduced {
  readonly identitySeed: Uint8Array;
  /** A self-signed or certified X.509 certificate over `identity`, DER. */
  readonly certificate: Uint8Array;
  readonly tee: string;
  evidence(reportData: Uint8Array): Promise<Uint8Array>;
}

export interface RaTlsOptions {
  readonly self: Self;
  /** Computes the report data that binds a challenge, one direction of a channel, and a CVM's introduction. */
  bind(challenge: Uint8Array, exported: Uint8Array, introduced: Introduced): Uint8Array;
  readonly admission: Admission;
  readonly handler: Handler;
  readonly entropy: Entropy;
  readonly log: Log;
  readonly limits?: Partial<TransportLimits>;
}

/**
 * Attested TLS 1.3 between CVMs. TLS proves the channel's keys; evidence over the peer's fresh
 * challenge, the channel's exported keying material (RFC 8446 §7.5) and the peer's keys proves that
 * the other end of this very channel is inside a measured TEE. spec/channel.md
 */
export class RaTlsTransport implements Transport {
  readonly #options: RaTlsOptions;
  readonly #limits: TransportLimits;
  readonly #gate: Gate;
  readonly #sockets = new Set<Socket>();
  readonly #channels = new Set<SocketChannel>();
  readonly #ledger = new Ledger();
  #server: Server | undefined;

  constructor(options: RaTlsOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS_DEFAULT, ...options.limits };
    this.#gate = new Gate(this.#limits, (reason, from) => {
      this.#warn(STRANGERS, "connection-refused", { from, reason });
    });
  }

  /** @throws {CloisterError} `PORT_IN_USE`, `PORT_UNUSABLE` */
  async listen(port: number, host = "127.0.0.1"): Promise<number> {
    const { handshakeMs, connectionsMax } = this.#limits;
    const server = createServer({ ...this.#tls(), requestCert: true, handshakeTimeout: handshakeMs });
    server.maxConnections = connectionsMax;
    server.on("connection", (socket) => {
      this.#track(socket);
      this.#gate.opened(socket);
    });
    server.on("drop", (dropped) => {
      this.#ledger.dropped++;
      this.#warn(STRANGERS, "connection-refused", { from: dropped?.remoteAddress, reason: "too-many" });
    });
    server.on("secureConnection", (socket) => void this.#accepted(socket));
    server.on("tlsClientError", (error, socket) => {
      this.#refused("server", "TLS_FAILED", tlsReason(error), socket.remoteAddress);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause: NodeJS.ErrnoException) => reject(portError(cause, port)));
      server.listen(port, host, resolve);
    });
    this.#server = server;
    return (server.address() as { port: number }).port;
  }

  async connect(endpoint: string, expected?: NodeId): Promise<Channel> {
    const [host, port] = splitEndpoint(endpoint);
    const socket = tlsConnect({ ...this.#tls(), host, port, checkServerIdentity: () => undefined });
    this.#track(socket);
    const deadline = setTimeout(() => socket.destroy(new Error("timed out")), this.#limits.handshakeMs);
    const startedMs = performance.now();
    try {
      await secured(socket, endpoint);
      const { frames, proving, peer } = await this.#handshake(socket, "client");
      if (expected !== undefined && peer.id !== expected) {
        throw new CloisterError("PEER_UNEXPECTED", `${endpoint} is ${peer.id}, not ${expected}.`);
      }
      this.#ledger.handshake("client", "ok", performance.now() - startedMs);
      return this.#established(socket, frames, proving, peer, "client");
    } catch (error) {
      this.#ledger.handshake("client", codeOf(error), performance.now() - startedMs);
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Judges every peer anew on fresh evidence: call it when the policy has changed. */
  async reattest(why: string): Promise<void> {
    await Promise.all([...this.#channels].map((channel) => this.#reattest(channel, why)));
  }

  /** What this transport does and did: for metrics and status pages. */
  view(): TransportView {
    return {
      channels: [...this.#channels].map((channel) => channel.view()),
      handshakesInFlight: this.#gate.handshakes,
      connectionsDropped: this.#ledger.dropped,
      ...this.#gate.turned,
      ...this.#ledger.view(),
    };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #accepted(socket: TLSSocket): Promise<void> {
    this.#track(socket);
    socket.on("error", () => socket.destroy());
    const key = addressOf(socket);
    const from = socket.remoteAddress;
    const startedMs = performance.now();
    this.#gate.secured(key);
    try {
      const { frames, proving, peer } = await this.#handshake(socket, "server");
      this.#ledger.handshake("server", "ok", performance.now() - startedMs);
      this.#gate.established(key, this.#established(socket, frames, proving, peer, "server"));
    } catch (error) {
      this.#refused("server", codeOf(error), (error as Error).message, from);
      socket.end();
      socket.destroySoon();
    }
  }

  #refused(side: "client" | "server", code: string, reason: string, from?: string): void {
    this.#ledger.handshake(side, code);
    this.#warn(STRANGERS, "peer-refused", { from, code, reason });
  }

  /** Anybody can fail as often as he likes: the counts are complete, the log says how much it left out. */
  #warn(whom: string, event: string, fields: Readonly<Record<string, unknown>>): void {
    const unlogged = this.#ledger.mayLog(whom);
    if (unlogged === undefined) return;
    this.#options.log.warn(event, { ...fields, ...(unlogged > 0 ? { unlogged } : {}) });
  }

  #established(
    socket: TLSSocket,
    frames: FrameSource,
    proving: Proving,
    peer: Peer,
    side: "client" | "server",
  ): SocketChannel {
    const { handler } = this.#options;
    const limits = this.#limits;
    const refused = (code: string): void => {
      this.#ledger.refused(peer.id, code);
      this.#warn(peer.id, "message-refused", { peer: peer.id, code });
    };
    const channel = new SocketChannel({ socket, frames, peer, side, handler, proving, limits, refused });
    this.#channels.add(channel);
    const timer = setInterval(() => void this.#reattest(channel, "period"), limits.reattestMs);
    timer.unref();
    void channel.closed.then(() => {
      clearInterval(timer);
      this.#channels.delete(channel);
      this.#ledger.closed(channel.view());
      if (channel.fault !== undefined) this.#cut(peer.id, channel.fault);
    });
    return channel;
  }

  #cut(peer: NodeId, { code, message }: CloisterError): void {
    this.#ledger.cut(peer, code);
    this.#warn(peer, "channel-cut", { peer, code, reason: message });
  }

  async #reattest(channel: SocketChannel, why: string): Promise<void> {
    const verdict = await channel.reattest();
    this.#ledger.reattested(verdict.ok ? "ok" : verdict.refusals[0].code);
    if (verdict.ok) return;
    const { code, reason } = verdict.refusals[0];
    this.#options.log.warn("peer-expelled", { peer: channel.peer.id, why, code, reason });
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  #tls() {
    const { identitySeed, certificate } = this.#options.self;
    return {
      key: pkcs8Pem(identitySeed),
      cert: new X509Certificate(certificate).toString(),
      minVersion: "TLSv1.3" as const,
      ALPNProtocols: [ALPN],
      ecdhCurve: "X25519MLKEM768:X25519",
      // No certification authority of the web has a say here: evidence decides, right after the handshake.
      rejectUnauthorized: false,
    };
  }

  /** Both ends speak at once: introduction, evidence, verdict. Nothing else is read before the verdict. */
  async #handshake(
    socket: TLSSocket,
    side: "client" | "server",
  ): Promise<{ frames: FrameSource; proving: Proving; peer: Peer }> {
    const { self, entropy } = this.#options;
    const frames = new FrameSource(socket, this.#limits);
    const challenge = entropy(32);
    socket.write(encodeFrame(hello(challenge, self)));
    const theirs = parseHello(await frames.next());
    requireTlsKey(socket, theirs.identity);
    const proving = this.#proving(socket, side, theirs);
    const evidence = await proving.evidence(theirs.challenge);
    socket.write(encodeFrame({ kind: "evidence", evidence }));
    const verdict = await proving.judge(challenge, parseEvidence(await frames.next()));
    socket.write(encodeFrame(verdictFrame(verdict)));
    const peer = valueOf(verdict);
    requireAdmitted(parseVerdict(await frames.next()));
    return { frames, proving, peer };
  }

  /** Binds every proof on this channel to its keys and to the side that speaks, now and later. */
  #proving(socket: TLSSocket, side: "client" | "server", theirs: Hello): Proving {
    const { self, entropy, bind, admission } = this.#options;
    const exported = new Uint8Array(socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.from(ALPN)));
    const ofSide = (one: number): Uint8Array => concat(exported, new Uint8Array([one]));
    const [mine, other] = side === "client" ? [0, 1] : [1, 0];
    return {
      challenge: () => entropy(32),
      evidence: (challenge) => self.evidence(bind(challenge, ofSide(mine), self)),
      judge: (challenge, evidence) => {
        return admission({ ...theirs, evidence, reportData: bind(challenge, ofSide(other), theirs) });
      },
    };
  }
}

function secured(socket: TLSSocket, endpoint: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", (cause) => {
      reject(new CloisterError("PEER_UNREACHABLE", `No CVM answers at ${endpoint}.`, { cause }));
    });
    socket.once("close", () => {
      reject(new CloisterError("PEER_UNREACHABLE", `${endpoint} hung up before TLS was done.`));
    });
    socket.once("secureConnect", resolve);
  });
}

/** OpenSSL's own words, without where in its source they stand. */
function tlsReason(error: Error & { readonly reason?: string }): string {
  return `TLS failed: ${(error.reason ?? error.message).split("\n")[0]}.`;
}

function verdictFrame(verdict: Verdict<Peer>): Cbor {
  return { kind: "verdict", refusals: verdict.ok ? [] : (verdict.refusals as unknown as Cbor[]) };
}

function requireAdmitted(answer: Verdict<null>): void {
  if (answer.ok) return;
  const [first] = answer.refusals;
  throw new CloisterError("PEER_REFUSED", `The peer refused this CVM: ${first.reason}`, {
    details: { refusals: answer.refusals },
  });
}

interface Hello extends Introduced {
  readonly challenge: Uint8Array;
  readonly tee: string;
}

function hello(challenge: Uint8Array, self: Self): Cbor {
  const { identity, settlement, wrap, tee } = self;
  return {
    kind: "hello",
    version: 1,
    challenge,
    identity,
    settlement,
    wrap,
    tee,
    machine: { ...self.machine },
  };
}

function parseHello(frame: Cbor): Hello {
  const fields = (frame ?? {}) as Record<string, unknown>;
  const { kind, version, challenge, identity, settlement, wrap, tee, machine } = fields;
  if (kind !== "hello" || version !== 1 || typeof settlement !== "string" || typeof tee !== "string") {
    throw new CloisterError("HANDSHAKE_MALFORMED", "The peer's introduction is not one of this protocol.");
  }
  if (!isBytes32(challenge) || !isBytes32(identity) || !isBytes32(wrap) || !isMachine(machine)) {
    throw new CloisterError("HANDSHAKE_MALFORMED", "The peer's introduction has a field of a wrong form.");
  }
  return { challenge, identity, wrap, machine, tee, settlement: parseAddress(settlement) };
}

function isBytes32(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32;
}

function isMachine(value: unknown): value is Machine {
  const { cpus, memoryBytes, gpus, region, ...others } = (value ?? {}) as Record<string, unknown>;
  if (Object.keys(others).length > 0) return false;
  if (region !== undefined && (typeof region !== "string" || !REGION.test(region))) return false;
  return [cpus, memoryBytes, gpus].every((count) => Number.isSafeInteger(count) && (count as number) >= 0);
}

function parseEvidence(frame: Cbor): Uint8Array {
  const { kind, evidence } = (frame ?? {}) as Record<string, unknown>;
  if (kind !== "evidence" || !(evidence instanceof Uint8Array)) {
    throw new CloisterError("HANDSHAKE_MALFORMED", "The peer sent no evidence where evidence was due.");
  }
  return evidence;
}

function parseVerdict(frame: Cbor): Verdict<null> {
  const { kind, refusals } = (frame ?? {}) as Record<string, unknown>;
  if (kind !== "verdict" || !Array.isArray(refusals)) {
    throw new CloisterError("HANDSHAKE_MALFORMED", "The peer sent no verdict where a verdict was due.");
  }
  const [first] = refusals as { code?: unknown; reason?: unknown }[];
  if (first === undefined) return accept(null);
  return {
    ok: false,
    refusals: [{ code: String(first.code).slice(0, 80), reason: String(first.reason).slice(0, 500) }],
  };
}

function requireTlsKey(socket: TLSSocket, identity: Uint8Array): void {
  const certificate = socket.getPeerX509Certificate();
  const jwk = certificate?.publicKey.export({ format: "jwk" });
  if (jwk?.crv !== "Ed25519" || !equalBytes(Buffer.from(jwk.x as string, "base64url"), identity)) {
    throw new CloisterError("PEER_KEY_MISMATCH", "The peer's TLS key is not the identity that it claims.");
  }
}

function pkcs8Pem(seed: Uint8Array): string {
  const der = Buffer.concat([fromHex("302e020100300506032b657004220420"), seed]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" }).export({
    format: "pem",
    type: "pkcs8",
  }) as string;
}

function splitEndpoint(endpoint: string): [string, number] {
  const at = endpoint.lastIndexOf(":");
  const port = Number(endpoint.slice(at + 1));
  if (at < 1 || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new CloisterError("ENDPOINT_MALFORMED", `"${endpoint.slice(0, 80)}" is not host:port.`);
  }
  return [endpoint.slice(0, at).replace(/^\[|\]$/g, ""), port];
}

function portError(cause: NodeJS.ErrnoException, port: number): CloisterError {
  if (cause.code === "EADDRINUSE") {
    return new CloisterError("PORT_IN_USE", `Port ${port} is taken by another program.`, {
      hint: "Stop that program, or choose other ports with --port-base.",
      cause,
    });
  }
  return new CloisterError("PORT_UNUSABLE", `Port ${port} cannot be listened on: ${cause.message}.`, {
    cause,
  });
}
