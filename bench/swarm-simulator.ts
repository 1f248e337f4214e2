import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EventQueue } from "@cloister/sim";
import { atLeast, exactly, type GoalOutcome } from "@cloister/tools/report";
import type { PartResult } from "./swarm-parts.ts";

const NODES = 10_000;
const EVENTS = 4_000_000;
const RUNS = 3;
const CPP = fileURLToPath(new URL("swarm-simulator.cpp", import.meta.url));

const TIMER = 0;
const PING = 1;
const ACK = 2;

interface ModelRun {
  readonly cpuSeconds: number;
  readonly virtualSeconds: number;
  readonly hash: string;
}

/**
 * The model that both loops run: each node probes a random peer about once a second; the probe and its
 * answer take 5 to 105 ms. Every event is folded into a hash, so that two runs can be told apart.
 */
export function runModel(nodes: number, events: number, seed: number): ModelRun {
  const queue = new EventQueue(1 << 16);
  let word = seed >>> 0;
  let hash = 0;
  const draw = (): number => {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    return word >>> 0;
  };
  const answered = new Int32Array(nodes);
  const cpuBefore = process.cpuUsage();
  for (let node = 0; node < nodes; node++) queue.push((draw() % 1_000_000) / 1000, TIMER, node, 0, 0);
  for (let done = 0; done < events; done++) {
    queue.pop();
    const { timeMs, kind, a, b } = queue;
    hash = (Math.imul(hash ^ (kind * 0x10000 + a), 0x01000193) + b) >>> 0;
    if (kind === TIMER) {
      const peer = draw() % nodes;
      queue.push(timeMs + 5 + (draw() % 100_000) / 1000, PING, peer, a, 0);
      queue.push(timeMs + 950 + (draw() % 100_000) / 1000, TIMER, a, 0, 0);
    } else if (kind === PING) {
      queue.push(timeMs + 5 + (draw() % 100_000) / 1000, ACK, b, a, 0);
    } else {
      answered[a] = (answered[a] as number) + 1;
    }
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    cpuSeconds: (user + system) / 1e6,
    virtualSeconds: queue.timeMs / 1000,
    hash: hash.toString(16).padStart(8, "0"),
  };
}

/** Part (f): the simulator's event loop against a C++ priority queue on the same model, interleaved. */
export function benchSimulator(): PartResult {
  runModel(1_000, 200_000, 5);
  const peer = compilePeer();
  const ours: ModelRun[] = [];
  const theirs: ModelRun[] = [];
  for (let run = 0; run < RUNS; run++) {
    ours.push(runModel(NODES, EVENTS, 99));
    if (peer !== undefined) theirs.push(peer.run(NODES, EVENTS, 99));
  }
  peer?.clean();
  const oursRate = EVENTS / Math.min(...ours.map(({ cpuSeconds }) => cpuSeconds));
  const realTime = Math.min(...ours.map(({ virtualSeconds, cpuSeconds }) => virtualSeconds / cpuSeconds));
  const figures: Record<string, number | string> = {
    nodes: NODES,
    eventsPerCpuSecond: Math.round(oursRate),
    timesRealTime: Math.round(realTime),
    traceHash: ours[0]?.hash ?? "",
  };
  const goals: GoalOutcome[] = [
    atLeast("10,000 nodes: times real time", realTime, 100),
    exactly("different traces of one seed", new Set(ours.map(({ hash }) => hash)).size, 1),
  ];
  if (theirs.length === 0) {
    figures["cpp"] = "no g++ here; skipped";
  } else {
    const theirsRate = EVENTS / Math.min(...theirs.map(({ cpuSeconds }) => cpuSeconds));
    figures["cppEventsPerCpuSecond"] = Math.round(theirsRate);
    figures["overCpp"] = Number((oursRate / theirsRate).toFixed(2));
    figures["cppTraceHash"] = theirs[0]?.hash ?? "";
    goals.push(atLeast("events per CPU-second, ours : C++", oursRate / theirsRate, 0.5));
    goals.push(exactly("trace of the C++ program", theirs[0]?.hash ?? "", ours[0]?.hash ?? ""));
  }
  return { figures, goals };
}

function compilePeer():
  | { run: (nodes: number, events: number, seed: number) => ModelRun; clean: () => void }
  | undefined {
  const folder = mkdtempSync(join(tmpdir(), "swarm-simulator-"));
  const program = join(folder, "model");
  try {
    execFileSync("g++", ["-O2", "-std=c++17", "-o", program, CPP], { stdio: "pipe" });
  } catch {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  return {
    run: (nodes, events, seed) => {
      const line = execFileSync(program, [String(nodes), String(events), String(seed)], { encoding: "utf8" });
      const [cpuSeconds = "", virtualSeconds = "", hash = ""] = line.trim().split(" ");
      return { cpuSeconds: Number(cpuSeconds), virtualSeconds: Number(virtualSeconds), hash };
    },
    clean: () => rmSync(folder, { recursive: true }),
  };
}
