import type { NodeId } from "@cloister/core";
import { BANDWIDTH_MBPS_MAX, LOAD_EVERY_MS, LOAD_PIECE_BYTES, LOAD_PIECES } from "../bounds.ts";
import type { Message } from "../messages.ts";
import { nextWord } from "../random.ts";
import { count, indexOf, isConnected, refuseFrom, send, type SwarmState } from "../state.ts";

const PAYLOAD = new Uint8Array(LOAD_PIECE_BYTES);
/** How long the answer to a bandwidth probe may take. */
const LOAD_PATIENCE_MS = 5_000;

/**
 * Measures the bandwidth to members that the leader asked about: a short train of pieces, answered
 * once it is whole, one train at a time and no more than one per second. spec/swarm.md §3.4
 */
export function probeLoad(state: SwarmState): void {
  if (state.nowMs < state.nextLoadMs) return;
  // The train under way was lost: its target is asked for again by the leader if it matters still.
  state.load = undefined;
  const target = state.loadAsked.shift();
  if (target === undefined || !isConnected(state, target)) return;
  const nonce = nextWord(state.random);
  state.load = { target, nonce, sentMs: state.nowMs };
  state.nextLoadMs = state.nowMs + LOAD_PATIENCE_MS;
  count(state, "loads.sent");
  for (let piece = 0; piece < LOAD_PIECES; piece++)
    send(state, target, { kind: "load", nonce, piece, payload: PAYLOAD });
}

/** Takes a piece in; the last one is answered. Who sends trains too often is refused. */
export function onLoad(state: SwarmState, from: NodeId, message: Extract<Message, { kind: "load" }>): void {
  const train = state.loads.get(from);
  if (train === undefined || train.nonce !== message.nonce) {
    if (train !== undefined && state.nowMs < train.atMs + LOAD_EVERY_MS / 2) {
      return refuseFrom(state, from, "SWARM_LOAD_TOO_OFTEN");
    }
    state.loads.set(from, { nonce: message.nonce, pieces: 1, atMs: state.nowMs });
    return;
  }
  train.pieces++;
  if (train.pieces === LOAD_PIECES) send(state, from, { kind: "load-ack", nonce: message.nonce });
}

/** The train arrived: what it took beyond a round trip is what its bytes took. */
export function onLoadAck(state: SwarmState, from: NodeId, nonce: number): void {
  const { load } = state;
  if (load === undefined || load.target !== from || load.nonce !== nonce) return count(state, "loads.late");
  state.load = undefined;
  state.nextLoadMs = state.nowMs + LOAD_EVERY_MS;
  const index = indexOf(state, from);
  const tookMs = state.nowMs - load.sentMs - (state.table.rttMs[index] as number);
  const megabits = (LOAD_PIECES * LOAD_PIECE_BYTES * 8) / 1e6;
  const mbps = tookMs <= 0 ? BANDWIDTH_MBPS_MAX : Math.min(BANDWIDTH_MBPS_MAX, (megabits / tookMs) * 1000);
  state.table.bandwidthMbps[index] = mbps;
  state.reportedSamples.delete(from);
  state.nextReportMs = Math.min(state.nextReportMs, state.nowMs);
}
