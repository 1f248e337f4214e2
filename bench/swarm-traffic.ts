import { drawScenario, World, type Scenario } from "@cloister/sim";
import { encodeMessage, type Message } from "@cloister/swarm";
import { atMost } from "@cloister/tools/report";
import type { PartResult } from "./swarm-parts.ts";

const WARM_MS = 15_000;
/** At the start everybody tells everybody of everybody, thirty times at a thousand members: this long for each. */
const START_PER_NODE_MS = 60;
const MEASURED_MS = 5_000;
/** One message in so many is encoded to learn its size. */
const SAMPLED = 20;

/** Part (e): messages and bytes per node and second, at rest, in swarms of three sizes. */
export function benchTraffic(): PartResult {
  const figures: Record<string, number | string> = {};
  const rates: number[] = [];
  const sizes: number[] = [];
  for (const nodes of [10, 100, 1_000]) {
    const { starting, messages, bytes, timesRealTime } = trafficOf(nodes);
    figures[`bytesPerNodeSecondStarting_${nodes}`] = Math.round(starting);
    figures[`messagesPerNodeSecond_${nodes}`] = Number(messages.toFixed(1));
    figures[`bytesPerNodeSecond_${nodes}`] = Math.round(bytes);
    figures[`productionCoreTimesRealTime_${nodes}`] = Number(timesRealTime.toFixed(2));
    rates.push(messages);
    sizes.push(bytes);
  }
  const goals = [
    atMost("messages per node and second: largest deviation from the mean", deviation(rates), 0.2),
    atMost("bytes per node and second: largest deviation from the mean", deviation(sizes), 0.2),
  ];
  return { figures, goals };
}

function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.max(...values.map((value) => Math.abs(value - mean))) / mean;
}

interface Traffic {
  /** Bytes per node and second while news of the start still goes around. */
  readonly starting: number;
  readonly messages: number;
  readonly bytes: number;
  readonly timesRealTime: number;
}

function trafficOf(nodes: number): Traffic {
  const scenario: Scenario = {
    ...drawScenario(1),
    nodes,
    voters: nodes,
    faults: [],
    calm: true,
    rttMsMax: 40,
    loss: 0,
    duplicate: 0,
    reorder: 0,
    blockMs: 500,
    viewLagMsMax: 50,
    orders: 0,
    probeIntervalMs: 50,
    goals: [{ id: "compute", kind: "compute", size: { min: 3, max: 5 } }],
  };
  const world = new World(scenario);
  let messages = 0;
  let sampled = 0;
  let sampledBytes = 0;
  world.onSend = (message: Message) => {
    messages++;
    if (messages % SAMPLED !== 0) return;
    sampled++;
    sampledBytes += encodeMessage(message).length;
  };
  world.begin();
  const measure = (fromMs: number): { messages: number; bytes: number } => {
    world.run(fromMs);
    messages = 0;
    sampled = 0;
    sampledBytes = 0;
    world.run(fromMs + MEASURED_MS);
    const perNodeSecond = messages / nodes / (MEASURED_MS / 1000);
    return { messages: perNodeSecond, bytes: perNodeSecond * (sampledBytes / Math.max(1, sampled)) };
  };
  const starting = measure(WARM_MS - MEASURED_MS).bytes;
  world.run(WARM_MS + START_PER_NODE_MS * nodes);
  const cpuBefore = process.cpuUsage();
  const rest = measure(WARM_MS + START_PER_NODE_MS * nodes);
  const { user, system } = process.cpuUsage(cpuBefore);
  return { starting, ...rest, timesRealTime: (MEASURED_MS * 1000) / (user + system) };
}
