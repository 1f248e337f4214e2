import { createPrivateKey, X509Certificate } from "node:crypto";
import { connect as tlsConnect, createServer, type Server, type TLSSocket } from "node:tls";
import {
  accept,
  CloisterError,
  concat,
  equalBytes,
  fromHex,
  parseAddress,
  type Cbor,
  type Entropy,
  type Log,
  type NodeId,
  type Verdict,
} from "@cloister/core";
import type { Admission, Channel, Handler, Introduction, Machine, Peer, Transport } from "@cloister/node";
import { SocketChannel } from "./channel.ts";
import { FrameSource, writeFrame } from "./frames.ts";

const ALPN = "cloister/1";
const EXPORTER_LABEL = "EXPORTER-cloister-channel-v1";
const HANDSHAKE_MS_MAX = 10_000;
const CONNECTIONS_MAX = 512;
/** A channel this old is closed and opened anew, so that its evidence is fresh again. */
const CHANNEL_AGE_MS_MAX = 15 * 60_000;

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
}

/**
 * Attested TLS 1.3 between CVMs. TLS proves the channel's keys; evidence over the peer's fresh
 * challenge, the channel's exported keying material (RFC 8446 §7.5) and the peer's keys proves that
 * the other end of this very channel is inside a measured TEE. spec/channel.md
 */
export class RaTlsTransport implements Transport {
  readonly #options: RaTlsOptions;
  readonly #sockets = new Set<TLSSocket>();
  #server: Server | undefined;

  constructor(options: RaTlsOptions) {
    this.#options = options;
  }

  /** @throws {CloisterError} `PORT_IN_USE` */
  async listen(port: number, host = "127.0.0.1"): Promise<number> {
    const server = createServer({ ...this.#tls(), requestCert: true, handshakeTimeout: HANDSHAKE_MS_MAX });
    server.maxConnections = CONNECTIONS_MAX;
    server.on("secureConnection", (socket) => void this.#accepted(socket));
    server.on("tlsClientError", (error) =>
      this.#options.log.warn("tls-client-error", { code: error.message }),
    );
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause: NodeJS.ErrnoException) => reject(portError(cause, port)));
      server.listen(port, host, resolve);
    });
    this.#server = server;
    return (server.address() as { port: number }).port;
  }

  async connect(endpoint: string, expected?: NodeId): Promise<Channel> {
    const socket = await this.#dial(endpoint);
    try {
      const frames = new FrameSource(socket);
      const peer = await this.#handshake(socket, frames, "client");
      if (expected !== undefined && peer.id !== expected) {
        throw new CloisterError("PEER_UNEXPECTED", `${endpoint} is ${peer.id}, not ${expected}.`);
      }
      return this.#established(socket, frames, peer);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #accepted(socket: TLSSocket): Promise<void> {
    this.#track(socket);
    socket.on("error", () => socket.destroy());
    try {
      const frames = new FrameSource(socket);
      this.#established(socket, frames, await this.#handshake(socket, frames, "server"));
    } catch (error) {
      this.#options.log.warn("peer-refused", {
        from: socket.remoteAddress,
        code: (error as { code?: string }).code,
        reason: (error as Error).message,
      });
      socket.end();
      socket.destroySoon();
    }
  }

  #established(socket: TLSSocket, frames: FrameSource, peer: Peer): SocketChannel {
    const channel = new SocketChannel(socket, frames, peer, this.#options.handler);
    const timer = setTimeout(() => channel.close(), CHANNEL_AGE_MS_MAX);
    timer.unref();
    void channel.closed.then(() => clearTimeout(timer));
    return channel;
  }

  #dial(endpoint: string): Promise<TLSSocket> {
    const [host, port] = splitEndpoint(endpoint);
    return new Promise((resolve, reject) => {
      const socket = tlsConnect({ ...this.#tls(), host, port, checkServerIdentity: () => undefined });
      this.#track(socket);
      socket.setTimeout(HANDSHAKE_MS_MAX, () => socket.destroy(new Error("timed out")));
      socket.once("error", (cause) =>
        reject(new CloisterError("PEER_UNREACHABLE", `No CVM answers at ${endpoint}.`, { cause })),
      );
      socket.once("secureConnect", () => {
        socket.setTimeout(0);
        resolve(socket);
      });
    });
  }

  #track(socket: TLSSocket): void {
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
  async #handshake(socket: TLSSocket, frames: FrameSource, side: "client" | "server"): Promise<Peer> {
    const { self, entropy } = this.#options;
    const challenge = entropy(32);
    writeFrame(socket, hello(challenge, self));
    const theirHello = parseHello(await frames.next(HANDSHAKE_MS_MAX));
    requireTlsKey(socket, theirHello.identity);
    const exported = new Uint8Array(socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.from(ALPN)));
    const mine = concat(exported, new Uint8Array([side === "client" ? 0 : 1]));
    const theirs = concat(exported, new Uint8Array([side === "client" ? 1 : 0]));
    const evidence = await self.evidence(this.#options.bind(theirHello.challenge, mine, self));
    writeFrame(socket, { kind: "evidence", evidence });
    const introduction: Introduction = {
      ...theirHello,
      evidence: parseEvidence(await frames.next(HANDSHAKE_MS_MAX)),
      reportData: this.#options.bind(challenge, theirs, theirHello),
    };
    return await this.#judge(socket, frames, introduction);
  }

  async #judge(socket: TLSSocket, frames: FrameSource, introduction: Introduction): Promise<Peer> {
    const verdict = await this.#options.admission(introduction);
    writeFrame(socket, {
      kind: "verdict",
      refusals: verdict.ok ? [] : (verdict.refusals as unknown as Cbor[]),
    });
    if (!verdict.ok) throw CloisterError.fromRefusals(verdict.refusals);
    const answer = parseVerdict(await frames.next(HANDSHAKE_MS_MAX));
    if (!answer.ok) {
      const [first] = answer.refusals;
      throw new CloisterError("PEER_REFUSED", `The peer refused this CVM: ${first.reason}`, {
        details: { refusals: answer.refusals },
      });
    }
    return verdict.value;
  }
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
  const { cpus, memoryBytes, gpus } = (value ?? {}) as Record<string, unknown>;
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
