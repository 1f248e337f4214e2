import type { MemberStatus, SwarmView, WorkStatus } from "@cloister/swarm";
import type { HistogramView, Metric, Sample } from "./metrics.ts";
import type { ChannelTotals, PeerCount, TransportView } from "./ports.ts";

/** What one node knows when its metrics are asked for. */
export interface NodeFacts {
  readonly nowMs: number;
  readonly swarm: SwarmView | undefined;
  readonly transport: TransportView;
  readonly work: readonly WorkStatus[];
  /** Inputs that wait for the swarm's core, and messages that were dropped on the way to it, by peer. */
  readonly queued: number;
  readonly droppedInputs: Readonly<Record<string, number>>;
  readonly probeSeconds: HistogramView | undefined;
  readonly certifiedUntilMs: number | undefined;
  readonly draining: boolean;
}

const STATUSES: readonly MemberStatus[] = ["unknown", "alive", "suspect", "dead", "left"];

/** Everything that a node counts, as Prometheus metrics. docs/metrics.md lists them. */
export function nodeMetrics(facts: NodeFacts): Metric[] {
  const { swarm } = facts;
  return [
    ...(swarm === undefined ? [] : swarmMetrics(swarm, facts)),
    ...transportMetrics(facts.transport, facts.nowMs),
    gauge("cloister_node_draining", "1 while the node leaves in good order.", Number(facts.draining)),
    gauge(
      "cloister_node_certificate_expiry_seconds",
      "When the node's certificate ends, in seconds since 1970; 0 without one.",
      (facts.certifiedUntilMs ?? 0) / 1000,
    ),
    family("gauge", "cloister_node_orders", "Orders on this node, by state.", countBy(facts.work)),
  ];
}

function swarmMetrics(view: SwarmView, facts: NodeFacts): Metric[] {
  const { members, counters, refusals } = view;
  const ofStatus = (status: MemberStatus): number => members.filter((one) => one.status === status).length;
  const others = members.filter(({ id }) => id !== view.self);
  const named = (id: string): Record<string, string> => ({ peer: id });
  return [
    gauge("cloister_swarm_term", "The term that the chain shows this node.", view.term),
    gauge("cloister_swarm_leader", "1 while this node leads.", Number(view.role === "leader")),
    gauge("cloister_swarm_doubting", "1 while this node has lost the leader.", Number(view.doubting)),
    family(
      "gauge",
      "cloister_swarm_members",
      "Members that the registry admits, by what this node holds them to be.",
      STATUSES.map((status) => ({ labels: { status }, value: ofStatus(status) })),
    ),
    family(
      "gauge",
      "cloister_swarm_member_connected",
      "1 for a member with an open channel.",
      others.map(({ id, connected }) => ({ labels: named(id), value: Number(connected) })),
    ),
    family(
      "gauge",
      "cloister_swarm_member_rtt_seconds",
      "Smoothed round trip to a member, where this node measured it.",
      others.flatMap(({ id, rttMs, measured }) => {
        return measured && rttMs !== undefined ? [{ labels: named(id), value: rttMs / 1000 }] : [];
      }),
    ),
    family(
      "gauge",
      "cloister_swarm_member_distrusted",
      "1 for a member whose measurements contradict those of most others; known to the leader.",
      view.distrusted.map((id) => ({ labels: named(id), value: 1 })),
    ),
    ...workMetrics(view),
    ...countersOf(counters),
    family(
      "counter",
      "cloister_swarm_refused_messages_total",
      "Messages refused, by the member that sent them and why.",
      Object.entries(refusals).flatMap(([peer, codes]) => {
        return Object.entries(codes).map(([code, value]) => ({ labels: { peer, code }, value }));
      }),
    ),
    gauge("cloister_swarm_queue_inputs", "Inputs that wait for the swarm's core.", facts.queued),
    family(
      "counter",
      "cloister_swarm_dropped_inputs_total",
      "Messages of a member that were dropped because too many of its own waited.",
      Object.entries(facts.droppedInputs).map(([peer, value]) => ({ labels: { peer }, value })),
    ),
    distribution(
      "cloister_swarm_probe_duration_seconds",
      "Round trips of answered probes.",
      facts.probeSeconds,
    ),
  ];
}

function workMetrics(view: SwarmView): Metric[] {
  return [
    family(
      "gauge",
      "cloister_swarm_group_members",
      "Members of the group of a goal.",
      view.groups.map(({ goalId, members: list }) => ({ labels: { goal: goalId }, value: list.length })),
    ),
    family(
      "gauge",
      "cloister_swarm_group_epoch",
      "Epoch of the group of a goal.",
      view.groups.map(({ goalId, epoch }) => ({ labels: { goal: goalId }, value: epoch })),
    ),
    gauge(
      "cloister_swarm_goals_unmet",
      "Goals without a group; known to the leader.",
      Object.keys(view.unmet).length,
    ),
    gauge(
      "cloister_swarm_assignments",
      "Orders placed on members; known to the leader.",
      view.assignments.length,
    ),
  ];
}

/** The core counts by short names; the two prefixes with an open end become labels. */
function countersOf(counters: SwarmView["counters"]): Metric[] {
  const received: Sample[] = [];
  const events: Sample[] = [];
  for (const [name, value] of Object.entries(counters)) {
    if (name.startsWith("refused.")) continue;
    if (name.startsWith("received.")) received.push({ labels: { kind: name.slice(9) }, value });
    else events.push({ labels: { event: name.replaceAll(".", "-") }, value });
  }
  return [
    family("counter", "cloister_swarm_received_messages_total", "Messages taken in, by kind.", received),
    family(
      "counter",
      "cloister_swarm_events_total",
      "What happened in the core: votes, terms, suspicions, deaths, orders placed and moved.",
      events,
    ),
  ];
}

/** What a transport does and did, for every kind of process that has one. */
export function transportMetrics(view: TransportView, nowMs: number): Metric[] {
  const { channels } = view;
  const byPeer = (pick: (channel: TransportView["channels"][number]) => number): Sample[] => {
    const values = new Map<string, number>();
    for (const one of channels) values.set(one.peer.id, (values.get(one.peer.id) ?? 0) + pick(one));
    return [...values].map(([peer, value]) => ({ labels: { peer }, value }));
  };
  const oldest = new Map<string, number>();
  for (const { peer } of channels) {
    oldest.set(peer.id, Math.max(oldest.get(peer.id) ?? 0, (nowMs - peer.attestedMs) / 1000));
  }
  return [
    family("gauge", "cloister_channels", "Open attested channels, by who opened them.", [
      { labels: { opened: "here" }, value: channels.filter(({ dialed }) => dialed).length },
      { labels: { opened: "there" }, value: channels.filter(({ dialed }) => !dialed).length },
    ]),
    family(
      "gauge",
      "cloister_channel_evidence_age_seconds",
      "Age of the oldest evidence that a peer's open channels rest on.",
      [...oldest].map(([peer, value]) => ({ labels: { peer }, value })),
    ),
    family(
      "gauge",
      "cloister_channel_queued_frames",
      "Frames that wait for a peer.",
      byPeer((one) => one.queuedFrames),
    ),
    family(
      "gauge",
      "cloister_channel_queued_bytes",
      "Bytes that wait for a peer.",
      byPeer((one) => one.queuedBytes),
    ),
    ...trafficMetrics(view),
    family(
      "counter",
      "cloister_channel_refused_messages_total",
      "Requests and notices refused, by the peer that sent them and why.",
      view.refusedMessages.map(ofPeer),
    ),
    family(
      "counter",
      "cloister_channels_cut_total",
      "Channels closed for what their peer did, by peer and code.",
      view.cutChannels.map(ofPeer),
    ),
    ...handshakeMetrics(view),
  ];
}

function ofPeer({ peer, code, count }: PeerCount): Sample {
  return { labels: { peer, code }, value: count };
}

/** Counters over all channels to a peer, open and closed. */
function trafficMetrics({ channels, closedChannels }: TransportView): Metric[] {
  const totals = new Map<string, ChannelTotals>(Object.entries(closedChannels));
  for (const { peer, received, sent } of channels) {
    const before = totals.get(peer.id);
    totals.set(peer.id, {
      receivedFrames: (before?.receivedFrames ?? 0) + received.frames,
      receivedBytes: (before?.receivedBytes ?? 0) + received.bytes,
      throttled: (before?.throttled ?? 0) + received.throttled,
      sentFrames: (before?.sentFrames ?? 0) + sent.frames,
      sentBytes: (before?.sentBytes ?? 0) + sent.bytes,
      dropped: (before?.dropped ?? 0) + sent.dropped,
    });
  }
  const total = (what: string, help: string, pick: (one: ChannelTotals) => number): Metric => {
    const samples = [...totals].map(([peer, one]) => ({ labels: { peer }, value: pick(one) }));
    return family("counter", `cloister_channel_${what}_total`, help, samples);
  };
  return [
    total("received_bytes", "Bytes received, by peer.", (one) => one.receivedBytes),
    total("received_frames", "Frames received, by peer.", (one) => one.receivedFrames),
    total("sent_bytes", "Bytes sent, by peer.", (one) => one.sentBytes),
    total("sent_frames", "Frames sent, by peer.", (one) => one.sentFrames),
    total("dropped_frames", "Gossip dropped because its peer did not keep up.", (one) => one.dropped),
    total(
      "throttled",
      "Times that reading was put off because a peer sent faster than it may.",
      (one) => one.throttled,
    ),
  ];
}

function handshakeMetrics(view: TransportView): Metric[] {
  return [
    gauge("cloister_handshakes_in_flight", "Handshakes that others began.", view.handshakesInFlight),
    family(
      "counter",
      "cloister_handshakes_total",
      "Handshakes that ended, by this node's side and outcome.",
      Object.entries(view.handshakes).map(([name, value]) => {
        const [side = "", outcome = ""] = name.split(" ");
        return { labels: { side, outcome }, value };
      }),
    ),
    distribution(
      "cloister_handshake_duration_seconds",
      "How long handshakes took that succeeded.",
      view.handshakeSeconds,
    ),
    family(
      "counter",
      "cloister_attestations_total",
      "Evidence asked for again on open channels, by outcome.",
      Object.entries(view.reattestations).map(([outcome, value]) => ({ labels: { outcome }, value })),
    ),
    family("counter", "cloister_connections_refused_total", "Connections given up, by reason.", [
      { labels: { reason: "too-many" }, value: view.connectionsDropped },
      { labels: { reason: "crowded-out" }, value: view.crowdedOut },
      { labels: { reason: "late" }, value: view.late },
      { labels: { reason: "surplus" }, value: view.surplus },
    ]),
  ];
}

function countBy(work: readonly WorkStatus[]): Sample[] {
  return (["running", "done", "failed"] as const).map((state) => {
    return { labels: { state }, value: work.filter((one) => one.state === state).length };
  });
}

function gauge(name: string, help: string, value: number): Metric {
  return family("gauge", name, help, [{ value }]);
}

function family(type: "counter" | "gauge", name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, help, type, samples };
}

function distribution(name: string, help: string, histogram: HistogramView | undefined): Metric {
  return { name, help, type: "histogram", distributions: histogram === undefined ? [] : [{ histogram }] };
}
