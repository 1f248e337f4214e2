import { connect as tlsConnect } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import type { Cbor, NodeId } from "@cloister/core";
import type { Handler } from "@cloister/node";
import { systemEntropy } from "../../src/platform/index.ts";
import type { Self } from "../../src/transport/index.ts";
import { APPROVED, closeParties, party, type Party } from "./parties.ts";

afterEach(closeParties);

describe("two CVMs that prove themselves", () => {
  test("know each other's keys, machine and measurement, and answer each other", async () => {
    const [a, b] = [await party(), await party()];
    const channel = await a.transport.connect(b.endpoint, b.cvm.keys.settlement);
    expect(channel.peer).toMatchObject({ id: b.cvm.keys.settlement, measurement: APPROVED, simulated: true });
    expect(await channel.request("echo", { x: 1 }, 2_000)).toEqual({ method: "echo", body: { x: 1 } });
  });

  test("know the region that the other's operator names", async () => {
    const change = (self: Self): Self => ({ ...self, machine: { ...self.machine, region: "eu-west.1" } });
    const [a, b] = [await party({ change }), await party()];
    expect((await b.transport.connect(a.endpoint)).peer.machine.region).toBe("eu-west.1");
  });

  test("carry a body of a million bytes and refuse a larger one before it is sent", async () => {
    const [a, b] = [
      await party(),
      await party({ handler: async (_, __, body) => (body as Uint8Array).length }),
    ];
    const channel = await a.transport.connect(b.endpoint);
    expect(await channel.request("size", new Uint8Array(1_000_000), 5_000)).toBe(1_000_000);
    await expect(channel.request("size", new Uint8Array(1 << 20), 5_000)).rejects.toMatchObject({
      code: "FRAME_TOO_LARGE",
    });
  });

  test("pass on the code of what went wrong inside the peer, and nothing of its inside", async () => {
    const handler: Handler = async () => {
      throw new TypeError("secret detail");
    };
    const [a, b] = [await party(), await party({ handler })];
    const channel = await a.transport.connect(b.endpoint);
    const error = await channel.request("x", null, 2_000).catch((thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({ code: "INTERNAL" });
    expect((error as Error).message).not.toContain("secret");
  });

  test("give up waiting, and fail what waits when the peer is gone", async () => {
    const handler: Handler = () => new Promise<Cbor>(() => undefined);
    const [a, b] = [await party(), await party({ handler })];
    const channel = await a.transport.connect(b.endpoint);
    await expect(channel.request("x", null, 50)).rejects.toMatchObject({ code: "PEER_TIMEOUT" });
    const waiting = channel.request("x", null, 10_000);
    await b.transport.close();
    await expect(waiting).rejects.toMatchObject({ code: "CHANNEL_CLOSED" });
  });
});

describe("a CVM is not let in", () => {
  async function refusalOf(
    intruder: Party,
  ): Promise<{ code?: string; details?: { refusals?: { code: string }[] } }> {
    const honest = await party();
    return intruder.transport.connect(honest.endpoint).then(
      () => ({}),
      (error: unknown) => error as { code: string },
    );
  }

  test("with a measurement that nobody approved", async () => {
    const error = await refusalOf(await party({ program: 2 }));
    expect(error).toMatchObject({
      code: "PEER_REFUSED",
      details: { refusals: [{ code: "MEASUREMENT_NOT_APPROVED" }] },
    });
  });

  test("in debug mode", async () => {
    const error = await refusalOf(await party({ debug: true }));
    expect(error).toMatchObject({ code: "PEER_REFUSED", details: { refusals: [{ code: "TEE_DEBUG" }] } });
  });

  test("with evidence for another channel: a recording is worth nothing", async () => {
    let recorded: Uint8Array | undefined;
    const change = (self: Self): Self => ({
      ...self,
      evidence: async (reportData) => (recorded ??= await self.evidence(reportData)),
    });
    const replayer = await party({ change });
    const [first, second] = [await party(), await party()];
    await replayer.transport.connect(first.endpoint);
    await expect(replayer.transport.connect(second.endpoint)).rejects.toMatchObject({
      code: "PEER_REFUSED",
      details: { refusals: [{ code: "CHALLENGE_MISMATCH" }] },
    });
  });

  test("with evidence that another machine makes for it: the keys are bound", async () => {
    const helper = await party();
    const change = (self: Self): Self => ({ ...self, wrap: helper.cvm.keys.wrap });
    const thief = await party({
      change: (self) => ({
        ...change(self),
        evidence: (data) => helper.cvm.tee.evidence(data.map((byte) => byte ^ 1)),
      }),
    });
    expect(await refusalOf(thief)).toMatchObject({ details: { refusals: [{ code: "CHALLENGE_MISMATCH" }] } });
  });

  test("under an identity whose TLS key it does not hold", async () => {
    const other = await party();
    const error = await refusalOf(
      await party({ change: (self) => ({ ...self, identity: other.cvm.keys.identity }) }),
    );
    expect(error.code).toBe("PEER_UNREACHABLE");
  });

  test.each([
    ["a region that is no name", { region: "eu\u001b[2J" }],
    ["a region that is no text", { region: 7 }],
    ["a fact that machines do not have", { color: "red" }],
    ["half a processor", { cpus: 0.5 }],
  ])("with %s", async (_, fact) => {
    const change = (self: Self): Self => ({ ...self, machine: { ...self.machine, ...(fact as object) } });
    const [a, b] = [await party({ change }), await party()];
    await expect(a.transport.connect(b.endpoint)).rejects.toBeDefined();
    expect(b.transport.view().handshakes).toEqual({ "server HANDSHAKE_MALFORMED": 1 });
  });

  test("as somebody else than was dialed", async () => {
    const [a, b] = [await party(), await party()];
    const other = `0x${"12".repeat(20)}` as NodeId;
    await expect(a.transport.connect(b.endpoint, other)).rejects.toMatchObject({ code: "PEER_UNEXPECTED" });
  });
});

describe("what is no CVM at all", () => {
  test("an endpoint where nobody listens, and one that is none", async () => {
    const { transport } = await party();
    await expect(transport.connect("127.0.0.1:1")).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
    await expect(transport.connect("nowhere")).rejects.toMatchObject({ code: "ENDPOINT_MALFORMED" });
  });

  test("noise on the socket ends that connection and no other", async () => {
    const [a, b] = [await party(), await party()];
    const [, port] = b.endpoint.split(":");
    const noise = tlsConnect({ port: Number(port), host: "127.0.0.1", rejectUnauthorized: false });
    noise.on("error", () => undefined);
    await new Promise<void>((resolve) => {
      noise.once("secureConnect", () => noise.write(systemEntropy(100_000)));
      noise.once("close", () => resolve());
    });
    const channel = await a.transport.connect(b.endpoint);
    expect(await channel.request("echo", 1, 2_000)).toEqual({ method: "echo", body: 1 });
  });

  test("a port that is taken", async () => {
    const { transport, endpoint } = await party();
    await expect(transport.listen(Number(endpoint.split(":")[1]))).rejects.toMatchObject({
      code: "PORT_IN_USE",
    });
  });
});
