import { readFile } from "node:fs/promises";
import { afterEach, expect, test } from "vitest";
import { connect } from "node:net";
import type { NodeId } from "@cloister/core";
import { Histogram, nodeMetrics, type Metric, type NodeFacts, type Peer } from "@cloister/node";
import { serveStatus } from "../../src/status/index.ts";
import { processMetrics } from "../../src/status/process.ts";
import { renderMetrics } from "../../src/status/prometheus.ts";

const closers: (() => void)[] = [];
afterEach(() => closers.splice(0).forEach((close) => close()));

const A = `0x${"a1".repeat(20)}` as NodeId;
const B = `0x${"b2".repeat(20)}` as NodeId;

function facts(): NodeFacts {
  const seconds = new Histogram([0.01, 0.1, 1]);
  for (const value of [0.005, 0.01, 0.05, 2]) seconds.observe(value);
  const peer = { id: B, attestedMs: 40_000 } as Peer;
  const channel = {
    ...{ peer, openedMs: 0, dialed: true, queuedFrames: 2, queuedBytes: 300 },
    received: { frames: 5, bytes: 500, throttled: 1 },
    sent: { frames: 6, bytes: 600, dropped: 7 },
  };
  return {
    ...{ nowMs: 100_000, queued: 3, droppedInputs: { [B]: 4 }, probeSeconds: seconds.view() },
    ...{ certifiedUntilMs: 1_000_000, draining: false },
    work: [{ orderId: `0x${"00".repeat(32)}` as never, state: "running" }],
    swarm: {
      ...{
        self: A,
        term: 7,
        leader: A,
        role: "leader",
        leaseUntilMs: 0,
        draining: false,
        drained: false,
        doubting: false,
      },
      members: [
        { id: A, status: "alive", connected: true, incarnation: 1, rttMs: undefined, measured: false },
        { id: B, status: "suspect", connected: true, incarnation: 2, rttMs: 12.5, measured: true },
      ],
      groups: [{ goalId: 'odd "goal"\\', epoch: 2, term: 7, members: [A, B] }],
      ...{ assignments: [], held: [], unmet: { near: "Too far." }, distrusted: [B] },
      counters: { "received.ping": 9, "votes.cast": 2, "refused.SWARM_FLOOD": 3 },
      refusals: { [B]: { SWARM_FLOOD: 3 } },
    },
    transport: {
      channels: [channel, { ...channel, dialed: false, peer: { ...peer, attestedMs: 90_000 } }],
      ...{ handshakesInFlight: 1, handshakes: { "server ok": 2, "server PEER_KEY_MISMATCH": 1 } },
      handshakeSeconds: seconds.view(),
      ...{ reattestations: { ok: 3 }, connectionsDropped: 1, crowdedOut: 2, late: 3, surplus: 4 },
      closedChannels: {
        [B]: {
          ...{ receivedFrames: 10, receivedBytes: 1_000, sentFrames: 10, sentBytes: 1_000 },
          ...{ dropped: 10, throttled: 10 },
        },
        other: {
          ...{ receivedFrames: 0, receivedBytes: 0, sentFrames: 0, sentBytes: 0 },
          ...{ dropped: 3, throttled: 0 },
        },
      },
      refusedMessages: [{ peer: B, code: "REQUEST_MALFORMED", count: 5 }],
      cutChannels: [{ peer: B, code: "FRAME_MALFORMED", count: 2 }],
    },
  };
}

test("a node's counts are rendered with peers, codes and sums over closed and open channels", () => {
  const lines = renderMetrics(nodeMetrics(facts())).split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      "cloister_swarm_term 7",
      "cloister_swarm_leader 1",
      'cloister_swarm_members{status="alive"} 1',
      'cloister_swarm_members{status="suspect"} 1',
      `cloister_swarm_member_rtt_seconds{peer="${B}"} 0.0125`,
      'cloister_swarm_group_epoch{goal="odd \\"goal\\"\\\\"} 2',
      "cloister_swarm_goals_unmet 1",
      `cloister_swarm_member_distrusted{peer="${B}"} 1`,
      'cloister_swarm_received_messages_total{kind="ping"} 9',
      'cloister_swarm_events_total{event="votes-cast"} 2',
      `cloister_swarm_refused_messages_total{peer="${B}",code="SWARM_FLOOD"} 3`,
      `cloister_swarm_dropped_inputs_total{peer="${B}"} 4`,
      "cloister_swarm_queue_inputs 3",
      'cloister_channels{opened="here"} 1',
      `cloister_channel_evidence_age_seconds{peer="${B}"} 60`,
      `cloister_channel_queued_frames{peer="${B}"} 4`,
      `cloister_channel_received_bytes_total{peer="${B}"} 2000`,
      `cloister_channel_dropped_frames_total{peer="${B}"} 24`,
      'cloister_channel_dropped_frames_total{peer="other"} 3',
      `cloister_channel_refused_messages_total{peer="${B}",code="REQUEST_MALFORMED"} 5`,
      `cloister_channels_cut_total{peer="${B}",code="FRAME_MALFORMED"} 2`,
      'cloister_handshakes_total{side="server",outcome="PEER_KEY_MISMATCH"} 1',
      'cloister_connections_refused_total{reason="crowded-out"} 2',
      'cloister_node_orders{state="running"} 1',
      'cloister_handshake_duration_seconds_bucket{le="0.01"} 2',
      'cloister_handshake_duration_seconds_bucket{le="0.1"} 3',
      'cloister_handshake_duration_seconds_bucket{le="1"} 3',
      'cloister_handshake_duration_seconds_bucket{le="+Inf"} 4',
      "cloister_handshake_duration_seconds_count 4",
    ]),
  );
  expect(lines.filter((line) => line.includes("SWARM_FLOOD") && line.includes("events"))).toEqual([]);
});

/** The rules of `promtool check metrics`. */
function lint(metrics: readonly Metric[]): string[] {
  return metrics.flatMap(({ name, help, type, samples, distributions }) => {
    const problems: string[] = [];
    if (!/^[a-z][a-z0-9_]*$/.test(name)) problems.push("name is not snake case, or has a reserved colon");
    if (help.trim() === "" || !help.endsWith(".")) problems.push("no help");
    if ((type === "counter") !== name.endsWith("_total")) problems.push("only counters end in _total");
    if (/_(bucket|sum|count|info)$/.test(name)) problems.push("a reserved end");
    if (/(^|_)(counter|gauge|histogram|summary)(_|$)/.test(name)) problems.push("its type in its name");
    if (/_(ms|milliseconds|minutes|hours|kb|mib|kilobytes|percent|celsius_degrees)(_|$)/.test(name)) {
      problems.push("not a base unit");
    }
    const labels = [...(samples ?? []), ...(distributions ?? [])].flatMap((one) =>
      Object.keys(one.labels ?? {}),
    );
    if (labels.some((label) => !/^[a-z][a-z_]*$/.test(label) || label === "le" || label === "quantile")) {
      problems.push("a reserved or odd label");
    }
    const sets = (samples ?? []).map((one) => JSON.stringify(one.labels));
    if (new Set(sets).size < sets.length) problems.push("the same labels twice");
    return problems.map((problem) => `${name}: ${problem}`);
  });
}

test("every metric keeps Prometheus' rules, and each family is there once", () => {
  const metrics = [...nodeMetrics(facts()), ...processMetrics()()];
  expect(lint(metrics)).toEqual([]);
  expect(new Set(metrics.map(({ name }) => name)).size).toBe(metrics.length);
});

test("a rule that is broken is noticed", () => {
  const bad: Metric = { name: "cloister_wait_ms", help: "", type: "counter", samples: [] };
  expect(lint([bad])).toHaveLength(3);
});

async function page(): Promise<string> {
  const { port, close } = await serveStatus(0, {
    status: () => ({ amount: 5n }),
    metrics: () => [{ name: "up", help: "Up.", type: "gauge", samples: [{ value: 1 }] }],
  });
  closers.push(close);
  return `http://127.0.0.1:${port}`;
}

test("the status page answers with JSON, metrics with their own content type, and 404 with what there is", async () => {
  const url = await page();
  expect(await (await fetch(`${url}/status`)).json()).toEqual({ amount: "5" });
  const metrics = await fetch(`${url}/metrics`);
  expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(await metrics.text()).toMatch(
    /^# HELP up Up\.\n# TYPE up gauge\nup 1\n[^]*process_cpu_seconds_total \d/,
  );
  expect((await fetch(`${url}/nothing`)).status).toBe(404);
  expect((await fetch(`${url}/status`, { method: "POST" })).status).toBe(405);
});

test.each(["//", "http://[", "/%", "*"])("the request path %j does not end the process", async (path) => {
  const url = new URL(await page());
  const socket = connect({ port: Number(url.port), host: url.hostname });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  const answer = await new Promise<string>((resolve) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.on("close", () => resolve(text));
  });
  expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
  expect((await fetch(`${url.href}healthz`)).status).toBe(200);
});

test("docs/metrics.md names every metric with its type and help", async () => {
  const rows = [...nodeMetrics(facts()), ...processMetrics()()].map(
    ({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`,
  );
  const document = await readFile(new URL("../../../../docs/metrics.md", import.meta.url), "utf8");
  expect(rows.filter((row) => !document.includes(row))).toEqual([]);
});
