import type { Timing } from "./types.ts";

/** Every limit of the swarm's protocol, in one place. spec/swarm.md §9 gives the reasons. */

/** Messages larger than this are refused before they are decoded. */
export const MESSAGE_BYTES_MAX = 64 * 1024;
/** Members a registry view may hold. */
export const MEMBERS_MAX = 20_000;
/** Membership updates that ride on one message. */
export const UPDATES_PER_MESSAGE_MAX = 8;
/** An update is repeated this often, times the logarithm of the number of members. */
export const UPDATE_REPEATS = 3;
/** Members that each member watches: one per ring. */
export const RINGS = 10;
/** Members asked to probe a silent one in this node's stead. */
export const INDIRECT_PROBES = 3;
/** Probes that wait for an answer at one time. */
export const PROBES_PENDING_MAX = 256;
/** Probes given up whose late answer would still be recognised. */
export const PROBES_OVERDUE_MAX = 256;
/** Probes for others that wait at one time. */
export const RELAYS_PENDING_MAX = 128;
/** Of more voters than this, a sampled committee of so many watches the leader for all. */
export const COMMITTEE_MAX = 9;
/** Probes that a leader must leave unanswered before it is doubted. */
export const LEADER_MISSES = 2;
/** Between two probes of a leader that has left one unanswered, and how many follow one another so closely. */
export const LEADER_RETRY_MS = 20;
export const LEADER_RETRIES = 12;
/** A leader that was heard this recently is not doubted: programs pause. */
export const LEADER_SILENCE_MS = 150;
/** Assignments that are kept until this node's view of the chain shows what they rest on. */
export const EARLY_ASSIGNMENTS_MAX = 64;
/** Steps of self-doubt (Lifeguard's local health multiplier). */
export const SELF_DOUBT_MAX = 8;
/** A tick this late says that this node, not its peers, is slow. */
export const TICK_LATE_MS = 60;
/** Links reported to the leader at one time. */
export const SAMPLES_PER_REPORT_MAX = 64;
/** Orders a node says it holds, in one report. */
export const WORK_PER_REPORT_MAX = 256;
/** Goals a swarm pursues. */
export const GOALS_MAX = 2_000;
/** Members of one group. */
export const GROUP_SIZE_MAX = 64;
/** Orders a leader keeps track of. */
export const ORDERS_MAX = 10_000;
/** Orders that one node works on at one time; more wait. */
export const ORDERS_PER_NODE_MAX = 4;
/** Times an order is placed before it is left to its deadline. */
export const PLACEMENTS_PER_ORDER_MAX = 5;
/** Messages one member may send per second, averaged over a few; more are dropped and counted. */
export const MESSAGES_PER_SECOND_MAX = 400;
/** Burst above that rate. */
export const MESSAGE_BURST_MAX = 800;
/** Distinct members whose refusals are counted by name. */
export const REFUSERS_MAX = 1_024;
/** An incarnation grows by one per start and per refutation; nothing honest reaches this. */
export const INCARNATION_MAX = 2 ** 40;
/** How far a claim about somebody else may be ahead of what that member was seen to say. */
export const INCARNATION_AHEAD_MAX = 4_096;
/** Voters that a leader ranks for its succession. */
export const SUCCESSION_MAX = 9;
/** Members that a leader may ask one member to measure at one time. */
export const TARGETS_PER_MEASURE_MAX = 16;
/** Entries of the member table that ride on each message when there is nothing newer to tell. */
export const FILL_UPDATES = 2;
/** Near links that a leader asks each member of a large swarm to measure, per round of exploring. */
export const EXPLORE_LINKS = 2;
/** Rounds that follow one another closely; later ones only follow what changed. */
export const EXPLORE_ROUNDS = 10;
export const EXPLORE_EVERY_MS = 5_000;
export const EXPLORE_LATER_EVERY_MS = 60_000;
/** How often groups with room are looked at, and how many at one time. */
export const GROW_EVERY_MS = 2_000;
export const GROW_GOALS = 8;
/** How often the reasons of an unmet goal are worked out anew, and for how many goals at one time. */
export const EXPLAIN_EVERY_MS = 5_000;
export const EXPLAIN_GOALS = 4;
/** A bandwidth probe is so many pieces of so many bytes, sent at once. */
export const LOAD_PIECES = 4;
export const LOAD_PIECE_BYTES = 16 * 1024;
/** Least time between two bandwidth probes of one node, and of one sender at its receiver. */
export const LOAD_EVERY_MS = 1_000;
/** A train faster than its own round trip says only that the link is at least this fast. */
export const BANDWIDTH_MBPS_MAX = 100_000;
/** Up to this many members everyone keeps a channel to everyone. */
export const MESH_MEMBERS_MAX = 24;
/** Terms above the chain's for which votes are kept. */
export const VOTE_TERMS_MAX = 8;
/** Terms a vote may be ahead of the chain. */
export const TERM_AHEAD_MAX = 100_000;
/** A round trip longer than this is not a measurement. */
export const RTT_MS_MAX = 30_000;

export const TIMING_DEFAULT: Timing = {
  probeIntervalMs: 50,
  probeSlackMs: 30,
  suspicionMs: 600,
  leaseMs: 1_000,
  confirmMs: 8_000,
  startupMs: 300,
  takeoverMs: 250,
  reportMs: 1_000,
  failedGraceMs: 5_000,
  degradedGraceMs: 20_000,
  resendMs: 500,
};

/** The least and the most that each delay may be set to. */
export const TIMING_RANGE: { readonly [Name in keyof Timing]: readonly [number, number] } = {
  probeIntervalMs: [10, 10_000],
  probeSlackMs: [5, 5_000],
  suspicionMs: [50, 120_000],
  leaseMs: [100, 60_000],
  confirmMs: [500, 600_000],
  startupMs: [0, 60_000],
  takeoverMs: [0, 60_000],
  reportMs: [50, 60_000],
  failedGraceMs: [0, 86_400_000],
  degradedGraceMs: [0, 86_400_000],
  resendMs: [50, 60_000],
};
