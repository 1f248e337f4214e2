import type { NodeId, OrderId } from "@cloister/core";
import { COMMITTEE_MAX, GROW_EVERY_MS, REFUSERS_MAX } from "./bounds.ts";
import type { Directory } from "./directory.ts";
import type { Place } from "./measurement/embedding.ts";
import type { Body, Coordinate, MemberUpdate, Message } from "./messages.ts";
import type { Random } from "./random.ts";
import type {
  Assignment,
  DurableRecord,
  Effect,
  Goal,
  GroupRecord,
  HardwareFacts,
  LinkSample,
  OpenOrder,
  RegistryView,
  SwarmConfig,
  TermCertificate,
  Timing,
  WorkStatus,
} from "./types.ts";

export const STATUS = { unknown: 0, alive: 1, suspect: 2, dead: 3, left: 4 } as const;
export type StatusCode = (typeof STATUS)[keyof typeof STATUS];

/** What this node knows of each member, by index into the directory. */
export interface MemberTable {
  readonly status: Uint8Array;
  readonly connected: Uint8Array;
  readonly incarnation: Float64Array;
  /** When the status last changed, on this node's clock. */
  readonly sinceMs: Float64Array;
  /** Smoothed round trip and deviation (RFC 6298); `probes` is 0 while unmeasured. */
  readonly rttMs: Float64Array;
  readonly deviationMs: Float64Array;
  readonly probes: Uint32Array;
  /** Bandwidth to the member as last measured; 0 while unmeasured. */
  readonly bandwidthMbps: Float64Array;
}

/** A probe that waits for its answer. */
export interface Pending {
  readonly target: NodeId;
  readonly sentMs: number;
  readonly dueMs: number;
  /** Direct probes are followed by indirect ones, indirect ones by suspicion. */
  readonly stage: "direct" | "indirect";
  /** Helpers of an indirect probe that have not said "not heard" yet. */
  readonly helpers?: number;
  /** Set on probes made for somebody else: whom to tell, and under which nonce. */
  readonly relay?: { readonly asker: NodeId; readonly nonce: number };
}

export interface Suspicion {
  readonly sinceMs: number;
  readonly confirmers: Set<NodeId>;
}

/** Whom this node follows. `confirmed` is what the chain says; an elected leader waits for it. */
export interface Regime {
  readonly term: number;
  readonly leader: NodeId | undefined;
  readonly confirmed: boolean;
  readonly sinceMs: number;
}

export interface Vote {
  readonly candidate: NodeId;
  readonly signature: Uint8Array;
  /** When this node last heard it; -Infinity once its voter found the leader again. */
  atMs: number;
}

export interface Election {
  votedTerm: number;
  votedFor: NodeId | undefined;
  /** Until when this node abstains, because it may have forgotten votes. */
  abstainUntilMs: number;
  regime: Regime;
  heardLeaderMs: number;
  /** It said itself that it leads, or the chain did: reports to it are not lost. */
  leaderReady: boolean;
  leaderProbeDueMs: number;
  /** There has been a channel to this leader: that there is none tells that it was lost. */
  leaderMet: boolean;
  /** When the last probe of the leader left. */
  leaderProbedMs: number;
  /** When the oldest probe of the leader left that neither it nor a later one was answered; Infinity without one. */
  leaderAskedMs: number;
  /** How late the leader's answers were at worst, as of when; it fades. */
  leaderLateMs: number;
  leaderLateAtMs: number;
  /** Probes of the leader that went unanswered since it was last heard. */
  leaderMissed: number;
  leaderRetries: number;
  /** The leader before this regime, which may be gone for good: whatever it holds is not heard of soon. */
  deposed: NodeId | undefined;
  /** A new leader is told at once what is at work, even before it can know that it was elected. */
  reportsEarly: boolean;
  /** What voters said is at work before the election that they expect; and when this node last said so. */
  readonly reportsAhead: Map<
    NodeId,
    { readonly report: Extract<Message, { kind: "report" }>; readonly atMs: number }
  >;
  toldAheadMs: number;
  doubting: boolean;
  nextDoubtMs: number;
  readonly doubts: Map<NodeId, { readonly term: number; readonly atMs: number }>;
  succession: readonly NodeId[];
  readonly successionTold: Map<NodeId, { readonly atMs: number; readonly succession: readonly NodeId[] }>;
  /** Votes seen for terms above the chain's, by term and voter. */
  readonly votes: Map<number, Map<NodeId, Vote>>;
  attemptUntilMs: number;
  certificate: TermCertificate | undefined;
  nextPublishMs: number;
  /** When each voter last renewed this node's lease. */
  readonly renewals: Map<NodeId, number>;
  takeoverUntilMs: number;
  /** The block in which this node first saw its own term: what was opened since then nobody placed before. */
  ledSinceBlock: number;
}

/** One end's last report about its links. */
export interface LinkReport {
  readonly sequence: number;
  readonly coordinate: Coordinate;
  readonly atMs: number;
  readonly samples: ReadonlyMap<NodeId, LinkSample>;
}

/** What the leader knows about one placed order. */
export interface Placement {
  assignment: Assignment;
  signature: Uint8Array;
  readonly placements: number;
  /** It was under way before this term, maybe on a member that is in no group any more. */
  readonly adopted: boolean;
  sentMs: number;
  state: "sent" | "accepted" | "running" | "done" | "failed";
}

export interface Leadership {
  readonly term: number;
  /** Reports of work that the leader has not compared with its placements yet. */
  readonly work: Map<NodeId, Extract<Message, { kind: "report" }>["work"]>;
  readonly reports: Map<NodeId, LinkReport>;
  readonly reported: Set<NodeId>;
  readonly draining: Set<NodeId>;
  readonly placements: Map<OrderId, Placement>;
  /** How often an order was placed in this term, and on whom it failed. */
  readonly failedOn: Map<OrderId, Set<NodeId>>;
  readonly proposed: Map<string, { readonly group: GroupRecord; sentMs: number }>;
  /** Since when a member of a group is over a limit, by goal and member. */
  readonly degradedSinceMs: Map<string, number>;
  readonly measureAskedMs: Map<NodeId, number>;
  readonly unmet: Map<string, string>;
  /** Since when goals are unmet, and when that was last explained. */
  readonly unmetSinceMs: Map<string, number>;
  readonly explainedMs: Map<string, number>;
  /** The weightiest exclusive goal whose group holds each member. */
  holders: ReadonlyMap<NodeId, string>;
  /** Members whose measurements contradict those of most others, and when they are next judged. */
  distrusted: ReadonlySet<NodeId>;
  judgeDueMs: number;
  /** When groups with room are next looked at, and the goal to begin with. */
  growDueMs: number;
  growCursor: number;
  dutyDueMs: number;
  planDueMs: number;
  /** When near links are next explored, and how often they were. */
  exploreDueMs: number;
  explored: number;
  /** Where members are held to be, by all links that were measured. */
  places: ReadonlyMap<NodeId, Place>;
}

/** An order this node took on. */
export interface Accepted {
  readonly assignment: Assignment;
  readonly signature: Uint8Array;
  readonly sinceMs: number;
  /** The chain was seen to hold it open; from then on its absence means that it is closed. */
  readonly seenOpen: boolean;
}

/** Everything one node holds. Only `step` changes it. */
export interface SwarmState {
  readonly config: SwarmConfig;
  readonly timing: Timing;
  readonly random: Random;
  readonly startedMs: number;
  nowMs: number;
  effects: Effect[];
  view: RegistryView;
  viewSeen: boolean;
  directory: Directory;
  /** Voters that watch the leader, and the order in which this term draws them. */
  committee: readonly NodeId[];
  drawn: readonly NodeId[];
  committeeDirty: boolean;
  self: number;
  table: MemberTable;
  incarnation: number;
  started: boolean;
  coordinate: Coordinate;
  readonly coordinates: Map<NodeId, Coordinate>;
  readonly facts: Map<NodeId, HardwareFacts>;
  /** When the evidence that each channel rests on runs out, where it does. */
  readonly attestedUntilMs: Map<NodeId, number>;
  evidenceDueMs: number;
  /** Members whose evidence does not hold at present, since when and why. */
  readonly unattested: Map<NodeId, { readonly sinceMs: number; readonly code: string }>;
  readonly suspicions: Map<NodeId, Suspicion>;
  readonly updates: Map<NodeId, { readonly update: MemberUpdate; left: number }>;
  fillCursor: number;
  readonly pending: Map<number, Pending>;
  /** Direct probes that were given up, by nonce: an answer that comes after all says how long the way has become. */
  readonly overdue: Map<number, Pick<Pending, "target" | "sentMs">>;
  subjects: number[];
  subjectsDirty: boolean;
  subjectCursor: number;
  subjectTurn: number;
  nextProbeMs: number;
  nextConnectMs: number;
  selfDoubt: number;
  readonly asked: NodeId[];
  /** Members whose bandwidth the leader asked for, the probe under way, and when the next may start. */
  readonly loadAsked: NodeId[];
  load: { readonly target: NodeId; readonly nonce: number; readonly sentMs: number } | undefined;
  nextLoadMs: number;
  /** Per sender, the bandwidth probe it sends: how many pieces came, and when the first did. */
  readonly loads: Map<NodeId, { nonce: number; pieces: number; readonly atMs: number }>;
  /** Members to probe in this very step. */
  readonly urgent: Set<NodeId>;
  readonly buckets: Map<NodeId, { tokens: number; atMs: number }>;
  readonly election: Election;
  goals: readonly Goal[];
  orders: ReadonlyMap<OrderId, OpenOrder>;
  ordersSeen: boolean;
  work: ReadonlyMap<OrderId, WorkStatus>;
  readonly accepted: Map<OrderId, Accepted>;
  /** Assignments of whoever was elected, for a term or an epoch that this node's view does not show yet. */
  readonly early: Map<
    OrderId,
    { readonly from: NodeId; readonly message: Extract<Message, { kind: "assignment" }> }
  >;
  /** Orders let go of as closed, and when: a late assignment does not bring them back. */
  readonly closed: Map<OrderId, number>;
  leadership: Leadership | undefined;
  nextReportMs: number;
  reportSequence: number;
  readonly reportedSamples: Map<NodeId, number>;
  reportedTo: NodeId | undefined;
  draining: boolean;
  readonly counters: Map<string, number>;
  readonly refusals: Map<NodeId, Map<string, number>>;
}

export function createTable(size: number): MemberTable {
  return {
    status: new Uint8Array(size),
    connected: new Uint8Array(size),
    incarnation: new Float64Array(size),
    sinceMs: new Float64Array(size),
    rttMs: new Float64Array(size),
    deviationMs: new Float64Array(size),
    probes: new Uint32Array(size),
    bandwidthMbps: new Float64Array(size),
  };
}

export function count(state: SwarmState, name: string, by = 1): void {
  state.counters.set(name, (state.counters.get(name) ?? 0) + by);
}

/** Counts a refused message against the member that sent it. Names are bounded; the sum is not lost. */
export function refuseFrom(state: SwarmState, from: NodeId, code: string): void {
  count(state, `refused.${code}`);
  let codes = state.refusals.get(from);
  if (codes === undefined) {
    if (state.refusals.size >= REFUSERS_MAX) return;
    codes = new Map();
    state.refusals.set(from, codes);
  }
  const times = (codes.get(code) ?? 0) + 1;
  codes.set(code, times);
  if (isWorthALine(code, times)) log(state, "warn", "messages-refused", { member: from, code, times });
}

/** What an honest member never sends. The other refusals happen to everybody whose messages are late. */
const HOSTILE: ReadonlySet<string> = new Set([
  "SWARM_FLOOD",
  "SWARM_IDENTITY_TWICE",
  "SWARM_INCARNATION_AHEAD",
  "SWARM_LOAD_TOO_OFTEN",
  "SWARM_MESSAGE_MALFORMED",
  "SWARM_MESSAGE_TOO_LARGE",
  "SWARM_NOT_A_VOTER",
  "SWARM_SIGNATURE_INVALID",
  "SWARM_VOTED_TWICE",
  "SWARM_WRONG_CHAIN",
]);

/** The first, the tenth, the hundredth: a flood is told of in a few lines. */
function isWorthALine(code: string, times: number): boolean {
  return (times >= 100 || HOSTILE.has(code)) && /^10*$/.test(String(times));
}

export function indexOf(state: SwarmState, id: NodeId): number {
  return state.directory.indexOf.get(id) ?? -1;
}

export function idAt(state: SwarmState, index: number): NodeId {
  return (state.directory.members[index] as { id: NodeId }).id;
}

export function statusOf(state: SwarmState, id: NodeId): StatusCode {
  const index = indexOf(state, id);
  return index < 0 ? STATUS.unknown : (state.table.status[index] as StatusCode);
}

export function isConnected(state: SwarmState, id: NodeId): boolean {
  const index = indexOf(state, id);
  return index >= 0 && state.table.connected[index] === 1;
}

/** Tells whether a member may hold any role: admitted, and its hardware not revoked. */
export function isEligible(state: SwarmState, id: NodeId): boolean {
  const index = indexOf(state, id);
  return index >= 0 && state.directory.members[index]?.eligible !== false;
}

/** Sends to a connected peer; to anyone else it is lost, as on a network. */
export function send(state: SwarmState, to: NodeId, body: Body): boolean {
  if (!isConnected(state, to)) return false;
  const { chainId, contract } = state.config;
  const message: Message = { chainId, swarm: swarmTag(contract), ...body };
  state.effects.push({ kind: "send", to, message });
  return true;
}

/** The first 8 hex digits of the contract's address. */
export function swarmTag(contract: string): string {
  return contract.slice(2, 10);
}

export function log(
  state: SwarmState,
  level: "info" | "warn",
  event: string,
  fields: Readonly<Record<string, unknown>>,
): void {
  state.effects.push({ kind: "log", level, event, fields });
}

export function persist(state: SwarmState): void {
  state.effects.push({ kind: "persist", record: recordOf(state) });
}

/** What must be durable of this state. */
export function recordOf(state: SwarmState): DurableRecord {
  return {
    votedTerm: state.election.votedTerm,
    votedFor: state.election.votedFor,
    incarnation: state.incarnation,
    assignments: [...state.accepted.values()].map(({ assignment, signature }) => ({ assignment, signature })),
  };
}

/** Tells whether this node watches the leader for the voters. */
export function isWatcher(state: SwarmState): boolean {
  return state.committee.includes(state.config.self);
}

/** Tells whether the voters are too many for all of them to watch the leader. */
export function isSampled(state: SwarmState): boolean {
  return state.directory.voters.length > COMMITTEE_MAX;
}

/** The chain's leader of the chain's term is this node, elected in this life. */
export function isLeader(state: SwarmState): boolean {
  const { certificate } = state.election;
  return (
    certificate !== undefined &&
    state.view.leader === state.config.self &&
    certificate.term === state.view.term
  );
}

/** What a leader gathers lives for one term: the next leader gathers it anew from the members. */
export function startLeadership(state: SwarmState, term: number): Leadership {
  return {
    term,
    work: new Map(),
    reports: new Map(),
    reported: new Set(),
    draining: new Set(),
    placements: new Map(),
    failedOn: new Map(),
    proposed: new Map(),
    degradedSinceMs: new Map(),
    measureAskedMs: new Map(),
    unmet: new Map(),
    unmetSinceMs: new Map(),
    explainedMs: new Map(),
    holders: new Map(),
    distrusted: new Set(),
    judgeDueMs: state.nowMs,
    growDueMs: state.nowMs + GROW_EVERY_MS,
    growCursor: 0,
    dutyDueMs: state.nowMs,
    planDueMs: state.nowMs,
    exploreDueMs: state.nowMs,
    explored: 0,
    places: new Map(),
  };
}
