import { connect as tcpConnect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { connect as tlsConnect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { CloisterError, encodeCanonical, type Cbor, type Log } from "@cloister/core";
import type { Admission, Channel, ChannelView, Peer } from "@cloister/node";
import { systemEntropy } from "../../src/platform/index.ts";
import type { Self } from "../../src/transport/index.ts";
import { APPROVED, closeParties, party, rawMember, tlsOf, verifierOf, type Party } from "./parties.ts";

const closers: (() => void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await closeParties();
});

/** Plain sockets that have opened a connection; `closed` counts those that were hung up on. */
async function strangers(endpoint: string, count: number): Promise<{ sockets: Socket[]; closed(): number }> {
  let closed = 0;
  const port = Number(endpoint.split(":")[1]);
  const sockets = await Promise.all(
    Array.from({ length: count }, () => {
      const socket = tcpConnect({ port, host: "127.0.0.1" });
      socket.on("error", () => undefined);
      socket.once("close", () => void closed++);
      socket.resume();
      closers.push(() => socket.destroy());
      return new Promise<Socket>((resolve) => {
        socket.once("connect", () => resolve(socket));
        socket.once("close", () => resolve(socket));
      });
    }),
  );
  return { sockets, closed: () => closed };
}

/** A TLS client of this protocol's version with no evidence to show. */
function tlsStranger(endpoint: string): Promise<TLSSocket> {
  const socket = tlsConnect({
    ...{ port: Number(endpoint.split(":")[1]), host: "127.0.0.1", rejectUnauthorized: false },
    ALPNProtocols: ["cloister/1"],
  });
  socket.on("error", () => undefined);
  socket.resume();
  closers.push(() => socket.destroy());
  return new Promise((resolve) => socket.once("secureConnect", () => resolve(socket)));
}

function frame(body: Uint8Array, length = body.length): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(length);
  return Buffer.concat([head, body]);
}

function hungUp(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) resolve();
    else socket.once("close", () => resolve());
  });
}

/** One line of a party's log. */
interface Line {
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

function linesTo(lines: Line[]): Log {
  const keep: Log["warn"] = (event, fields) => void lines.push({ event, fields });
  return { info: keep, warn: keep };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function works(a: Party, b: Party): Promise<void> {
  const channel = await a.transport.connect(b.endpoint);
  expect(await channel.request("echo", 1, 5_000)).toMatchObject({ body: 1 });
}

function onlyChannel(one: Party): ChannelView {
  const [channel, ...others] = one.transport.view().channels;
  expect(others).toEqual([]);
  return channel as ChannelView;
}

describe("strangers", () => {
  test("a thousand that say nothing keep nobody out, and few of them are kept", async () => {
    const [a, b] = [await party(), await party({ limits: { connectionsMax: 600 } })];
    const { closed } = await strangers(b.endpoint, 1_000);
    await until(() => {
      const { handshakesInFlight, crowdedOut, connectionsDropped, late } = b.transport.view();
      return crowdedOut + connectionsDropped + late + handshakesInFlight >= 1_000;
    });
    expect(b.transport.view().handshakesInFlight).toBeLessThanOrEqual(64);
    await works(a, b);
    await until(() => closed() >= 900);
  });

  test("one that sends its introduction byte by byte has a time for all of it", async () => {
    const b = await party({ limits: { handshakeMs: 300 } });
    const socket = await tlsStranger(b.endpoint);
    const hello = frame(new Uint8Array(1_000));
    let at = 0;
    const drip = setInterval(() => socket.write(hello.subarray(at, ++at)), 20);
    closers.push(() => clearInterval(drip));
    await hungUp(socket);
    await until(() => b.transport.view().handshakesInFlight === 0);
    expect(b.transport.view()).toMatchObject({ late: 1, channels: [] });
  });

  test("one that never starts TLS has the same time", async () => {
    const b = await party({ limits: { handshakeMs: 100 } });
    const [socket] = (await strangers(b.endpoint, 1)).sockets;
    await hungUp(socket as Socket);
    expect(b.transport.view().late).toBe(1);
  });

  test.each([
    ["a frame that announces a gigabyte", frame(new Uint8Array(8), 2 ** 30), "FRAME_TOO_LARGE"],
    ["an introduction of a megabyte", frame(new Uint8Array(8), 2 ** 20), "FRAME_TOO_LARGE"],
    ["noise", Buffer.from(systemEntropy(65_536).map((byte) => byte | 128)), "FRAME_TOO_LARGE"],
    ["a frame that is no CBOR", frame(new Uint8Array([0xff])), "CBOR_MALFORMED"],
    ["an introduction that is none", frame(encodeCanonical({ kind: "hello" })), "HANDSHAKE_MALFORMED"],
  ])("one that sends %s is hung up on and counted", async (_, bytes, code) => {
    const b = await party();
    const socket = await tlsStranger(b.endpoint);
    socket.write(bytes);
    await hungUp(socket);
    await until(() => Object.keys(b.transport.view().handshakes).length > 0);
    expect(b.transport.view().handshakes).toEqual({ [`server ${code}`]: 1 });
    await works(await party(), b);
  });

  test("one that speaks no TLS is counted, and the log says from where it came", async () => {
    const lines: Line[] = [];
    const b = await party({ log: linesTo(lines) });
    const [socket] = (await strangers(b.endpoint, 1)).sockets;
    (socket as Socket).write("GET / HTTP/1.1\r\n\r\n");
    await hungUp(socket as Socket);
    expect(b.transport.view().handshakes).toEqual({ "server TLS_FAILED": 1 });
    const reason = "TLS failed: http request.";
    expect(lines).toEqual([
      { event: "peer-refused", fields: { from: "127.0.0.1", code: "TLS_FAILED", reason } },
    ]);
  });

  test("who crowd one another out are told of once a second, with how many more there were", async () => {
    const lines: Line[] = [];
    const b = await party({ limits: { handshakesMax: 2 }, log: linesTo(lines) });
    await strangers(b.endpoint, 20);
    await until(() => b.transport.view().crowdedOut === 18);
    expect(lines).toEqual([
      { event: "connection-refused", fields: { from: "127.0.0.1", reason: "crowded-out" } },
    ]);
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    await strangers(b.endpoint, 1);
    await until(() => lines.length > 1);
    expect(lines[1]?.fields?.["unlogged"]).toBeGreaterThanOrEqual(17);
  });

  test("a replayed handshake is worth nothing, with the TLS key or without", async () => {
    const [a, b] = [await party(), await party()];
    const relay = await middle(b, { near: b.cvm.keys.identitySeed, far: a.cvm.keys.identitySeed });
    await expect(a.transport.connect(relay.endpoint)).rejects.toMatchObject({ code: "CHALLENGE_MISMATCH" });
    for (const [seed, code] of [
      [a.cvm.keys.identitySeed, "CHALLENGE_MISMATCH"],
      [systemEntropy(32), "PEER_KEY_MISMATCH"],
    ] as const) {
      const other = await party();
      const socket = tlsConnect({ ...tlsOf(seed), port: portOf(other), host: "127.0.0.1" });
      socket.on("error", () => undefined);
      socket.once("secureConnect", () => socket.write(Buffer.concat(relay.recorded)));
      socket.resume();
      await hungUp(socket);
      expect(other.transport.view()).toMatchObject({ channels: [], handshakes: { [`server ${code}`]: 1 } });
    }
  });
});

describe("a relay in the middle", () => {
  test("that ends TLS itself is found out by both ends, though it passes on every byte", async () => {
    const [a, b] = [await party(), await party()];
    const own = systemEntropy(32);
    const relay = await middle(b, { near: own, far: own });
    await expect(a.transport.connect(relay.endpoint)).rejects.toMatchObject({ code: "PEER_KEY_MISMATCH" });
    await until(() => Object.keys(b.transport.view().handshakes).length > 0);
    expect(b.transport.view().channels).toEqual([]);
  });

  test("that even holds both ends' TLS keys fails: the channel's own exported key is bound", async () => {
    const codes: string[] = [];
    const seen: Admission = async (introduction) => {
      const verdict = await verifierOf([APPROVED]).admission()(introduction);
      if (!verdict.ok) codes.push(verdict.refusals[0].code);
      return verdict;
    };
    const [a, b] = [await party({ admission: seen }), await party({ admission: seen })];
    const relay = await middle(b, { near: b.cvm.keys.identitySeed, far: a.cvm.keys.identitySeed });
    await expect(a.transport.connect(relay.endpoint)).rejects.toMatchObject({ code: "CHALLENGE_MISMATCH" });
    expect(codes).toContain("CHALLENGE_MISMATCH");
    expect([...a.transport.view().channels, ...b.transport.view().channels]).toEqual([]);
  });

  test("that passes on TCP and no more changes nothing", async () => {
    const [a, b] = [await party(), await party()];
    const channel = await a.transport.connect((await wire(b)).endpoint);
    expect(channel.peer.id).toBe(b.cvm.keys.settlement);
  });
});

describe("a peer that proved itself", () => {
  test("and never reads loses the oldest gossip; what is urgent waits, and a stall ends the channel", async () => {
    const limits = { gossipFramesMax: 16, stalledMs: 400 };
    const [a, b] = [await party({ limits }), await party()];
    const relay = await wire(b);
    const channel = await a.transport.connect(relay.endpoint);
    relay.freeze();
    await clog(channel, a);
    const before = onlyChannel(a).queuedFrames;
    for (let n = 0; n < 40; n++) channel.notify("gossip", n, "gossip");
    for (let n = 0; n < 10; n++) channel.notify("vote", n, "urgent");
    expect(onlyChannel(a)).toMatchObject({ sent: { dropped: 24 }, queuedFrames: before + 16 + 10 });
    await channel.closed;
    expect(a.transport.view()).toMatchObject({
      channels: [],
      closedChannels: { [b.cvm.keys.settlement]: { dropped: 24 } },
      cutChannels: [{ peer: b.cvm.keys.settlement, code: "CHANNEL_STALLED", count: 1 }],
    });
  });

  test("and reads again gets what is urgent before the gossip, and the newest gossip", async () => {
    const got: Cbor[] = [];
    const handler = async (_: Peer, method: string, body: Cbor): Promise<undefined> => {
      got.push(method === "fill" ? method : body);
    };
    const [a, b] = [await party({ limits: { gossipFramesMax: 4 } }), await party({ handler })];
    const relay = await wire(b);
    const channel = await a.transport.connect(relay.endpoint);
    relay.freeze();
    await clog(channel, a);
    for (let n = 1; n <= 9; n++) channel.notify("gossip", n, "gossip");
    channel.notify("vote", "now", "urgent");
    relay.thaw();
    await until(() => got.includes(9));
    expect(got.filter((one) => one !== "fill")).toEqual(["now", 6, 7, 8, 9]);
  });

  test("and owes us more urgent frames than we keep is cut off", async () => {
    const [a, b] = [await party({ limits: { urgentBytesMax: 200_000 } }), await party()];
    const channel = await a.transport.connect(b.endpoint);
    const vote = new Uint8Array(64 * 1024);
    for (let sent = 0; sent < 400; sent++) channel.notify("vote", vote, "urgent");
    await channel.closed;
    await until(() => a.transport.view().cutChannels.length > 0);
    expect(a.transport.view().cutChannels).toEqual([
      { peer: b.cvm.keys.settlement, code: "CHANNEL_CONGESTED", count: 1 },
    ]);
  });

  test("and floods is read no faster than it may, loses nothing, and keeps nobody else waiting", async () => {
    let seen = 0;
    const handler = async (_: Peer, method: string): Promise<Cbor | undefined> => {
      if (method === "flood") seen++;
      return method === "echo" ? { body: 1 } : undefined;
    };
    const b = await party({ handler, limits: { framesPerSecond: 250 } });
    const [flooder, honest] = [await party(), await party()];
    const flood = await flooder.transport.connect(b.endpoint);
    for (let sent = 0; sent < 1_000; sent++) flood.notify("flood", sent, "urgent");
    await works(honest, b);
    await until(() => seen === 1_000);
    const throttled = b.transport.view().channels.filter(({ received }) => received.throttled > 0);
    expect(throttled.map(({ peer }) => peer.id)).toEqual([flooder.cvm.keys.settlement]);
  });

  test.each([
    ["bytes that are no CBOR", frame(new Uint8Array([0xff])), "CBOR_MALFORMED"],
    ["CBOR that is not deterministic", frame(new Uint8Array([0x18, 0x01])), "CBOR_MALFORMED"],
    ["a frame that announces a gigabyte", frame(new Uint8Array(8), 2 ** 30), "FRAME_TOO_LARGE"],
    ["a message of no known kind", frame(encodeCanonical({ kind: "gift" })), "FRAME_MALFORMED"],
    ["a message that is none", frame(encodeCanonical(7)), "FRAME_MALFORMED"],
    [
      "a request without a number",
      frame(encodeCanonical({ kind: "request", method: "x" })),
      "FRAME_MALFORMED",
    ],
  ])("and sends %s is cut off, counted and named in the log", async (_, bytes, code) => {
    const lines: Line[] = [];
    const b = await party({ log: linesTo(lines) });
    const intruder = await rawMember(b.endpoint);
    closers.push(() => intruder.socket.destroy());
    intruder.socket.write(bytes);
    await hungUp(intruder.socket);
    await until(() => b.transport.view().cutChannels.length > 0);
    expect(b.transport.view().cutChannels).toEqual([{ peer: intruder.id, code, count: 1 }]);
    expect(lines).toContainEqual({
      event: "channel-cut",
      fields: expect.objectContaining({ peer: intruder.id, code }),
    });
    await works(await party(), b);
  });

  test("and sends what nobody asked for is refused each time, by name, in the log once a second", async () => {
    const lines: Line[] = [];
    const handler = async (_: Peer, method: string): Promise<Cbor> => {
      throw new CloisterError(method === "odd" ? "METHOD_UNKNOWN" : "REQUEST_MALFORMED", "No.");
    };
    const [a, b] = [await party(), await party({ handler, log: linesTo(lines) })];
    const channel = await a.transport.connect(b.endpoint);
    for (let sent = 0; sent < 9; sent++) channel.notify("key", sent);
    await expect(channel.request("odd", null, 5_000)).rejects.toMatchObject({ code: "METHOD_UNKNOWN" });
    const peer = a.cvm.keys.settlement;
    expect(b.transport.view().refusedMessages).toEqual([
      { peer, code: "REQUEST_MALFORMED", count: 9 },
      { peer, code: "METHOD_UNKNOWN", count: 1 },
    ]);
    expect(lines).toEqual([{ event: "message-refused", fields: { peer, code: "REQUEST_MALFORMED" } }]);
  });

  test("and opens channel after channel keeps the last few", async () => {
    const [a, b] = [await party(), await party({ limits: { channelsPerPeerMax: 2 } })];
    const channels: Channel[] = [];
    for (let opened = 0; opened < 5; opened++) channels.push(await a.transport.connect(b.endpoint));
    await Promise.all(channels.slice(0, 3).map(({ closed }) => closed));
    expect(await (channels[4] as Channel).request("echo", 1, 5_000)).toMatchObject({ body: 1 });
    await until(() => b.transport.view().channels.length === 2);
    expect(b.transport.view().surplus).toBe(3);
    expect(b.transport.view().cutChannels).toEqual([
      { peer: a.cvm.keys.settlement, code: "CHANNEL_SURPLUS", count: 3 },
    ]);
  });
});

describe("evidence on an open channel", () => {
  test("is asked for again after a while, over a new challenge, and the channel goes on", async () => {
    const asked: string[] = [];
    const admission: Admission = (introduction) => {
      asked.push(Buffer.from(introduction.reportData).toString("hex"));
      return verifierOf([APPROVED]).admission()(introduction);
    };
    const [a, b] = [await party({ admission, limits: { reattestMs: 250 } }), await party()];
    const channel = await a.transport.connect(b.endpoint);
    const { attestedMs } = channel.peer;
    await until(() => (a.transport.view().reattestations["ok"] ?? 0) >= 2);
    expect(new Set(asked).size).toBe(asked.length);
    expect(channel.peer.attestedMs).toBeGreaterThan(attestedMs);
    expect(await channel.request("echo", 1, 5_000)).toMatchObject({ body: 1 });
  });

  test("is judged by the policy of now: a measurement that is revoked ends its channels, both ways", async () => {
    const approved = [APPROVED];
    const admission: Admission = (introduction) => verifierOf(approved).admission()(introduction);
    const [a, b] = [await party({ admission }), await party()];
    const channels = [await a.transport.connect(b.endpoint), await b.transport.connect(a.endpoint)];
    approved.pop();
    await a.transport.reattest("policy");
    await Promise.all(channels.map(({ closed }) => closed));
    expect(a.transport.view().reattestations).toEqual({ MEASUREMENT_NOT_APPROVED: 2 });
    expect(channels.map(({ refusal }) => refusal?.code)).toEqual(["MEASUREMENT_NOT_APPROVED", undefined]);
  });

  test("that was recorded before is refused", async () => {
    let recorded: Uint8Array | undefined;
    const change = (self: Self): Self => ({
      ...self,
      evidence: async (data) => (recorded ??= await self.evidence(data)),
    });
    const [a, b] = [await party(), await party({ change })];
    const channel = await a.transport.connect(b.endpoint);
    await a.transport.reattest("test");
    await channel.closed;
    expect(a.transport.view().reattestations).toEqual({ CHALLENGE_MISMATCH: 1 });
  });

  test("that does not come makes the channel stale, and stale channels are closed", async () => {
    let first = true;
    const change = (self: Self): Self => ({
      ...self,
      evidence: (data) => {
        if (!first) throw new Error("the device is gone");
        first = false;
        return self.evidence(data);
      },
    });
    const [a, b] = [await party(), await party({ change })];
    const channel = await a.transport.connect(b.endpoint);
    await a.transport.reattest("test");
    await channel.closed;
    expect(a.transport.view().reattestations).toEqual({ EVIDENCE_STALE: 1 });
    expect(channel.refusal, "that nothing came says nothing about what the peer runs").toBeUndefined();
  });

  test("cannot be asked for all the time", async () => {
    const [a, b] = [await party(), await party()];
    const channel = await a.transport.connect(b.endpoint);
    const ask = () => channel.request("channel.attest", { challenge: systemEntropy(32) }, 5_000);
    expect(await ask()).toBeInstanceOf(Uint8Array);
    await expect(ask()).rejects.toMatchObject({ code: "PEER_BUSY" });
    await expect(
      channel.request("channel.attest", { challenge: systemEntropy(31) }, 5_000),
    ).rejects.toMatchObject({ code: "HANDSHAKE_MALFORMED" });
  });
});

/** A TCP relay to a party, which can stop reading as a frozen process does. */
async function wire(target: Party): Promise<{ endpoint: string; freeze(): void; thaw(): void }> {
  const ends: Socket[] = [];
  const server = createServer((near) => {
    const far = tcpConnect({ port: portOf(target), host: "127.0.0.1" });
    for (const one of [near, far]) one.on("error", () => undefined);
    near.on("data", (chunk) => far.write(chunk));
    far.pipe(near);
    ends.push(near);
    closers.push(
      () => near.destroy(),
      () => far.destroy(),
    );
  });
  return {
    endpoint: await listening(server),
    freeze: () => ends.forEach((socket) => socket.pause()),
    thaw: () => ends.forEach((socket) => socket.resume()),
  };
}

/** Sends until the other end takes nothing any more. */
async function clog(channel: Channel, one: Party): Promise<void> {
  const fill = new Uint8Array(512 * 1024);
  for (let full = 0; full < 3; full = onlyChannel(one).queuedFrames > 0 ? full + 1 : 0) {
    if (onlyChannel(one).queuedFrames === 0) channel.notify("fill", fill, "urgent");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Ends TLS towards both sides with the keys it is given, records what the first one says, passes everything on. */
async function middle(
  target: Party,
  shown: { readonly near: Uint8Array; readonly far: Uint8Array },
): Promise<{ endpoint: string; recorded: Buffer[] }> {
  const recorded: Buffer[] = [];
  const server = createTlsServer({ ...tlsOf(shown.near), requestCert: true }, (near) => {
    const far = tlsConnect({ ...tlsOf(shown.far), port: portOf(target), host: "127.0.0.1" });
    for (const one of [near, far]) one.on("error", () => undefined);
    near.on("data", (chunk: Buffer) => recorded.push(chunk));
    near.pipe(far).pipe(near);
    closers.push(
      () => near.destroy(),
      () => far.destroy(),
    );
  });
  return { endpoint: await listening(server), recorded };
}

async function listening(server: Server): Promise<string> {
  closers.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function portOf({ endpoint }: Party): number {
  return Number(endpoint.split(":")[1]);
}
