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
/** Between two probes of a leader that has left one unanswered, and how many follow one another so closely. */
export const LEADER_RETRY_MS = 20;
export const LEADER_RETRIES = 12;
/** Silence of a leader that a voter speaks of: so much of the worst of late, and at most so long. */
export const SILENCE_NOTED_SHARE = 0.5;
export const SILENCE_NOTED_MS_MAX = 150;
/** Silence for which its successor takes over: at least this, since programs pause. */
export const SILENCE_PROVEN_MS_MIN = 75;
export const SILENCE_PROVEN_SHARE = 2;
export const SILENCE_PROVEN_MS_MAX = 300;
/** After this long the worst lateness of a leader counts half; a node that just started expects so much. */
export const LATENESS_HALVES_MS = 20_000;
export const LATENESS_START_MS = 60;
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
/** Where a leader holds nodes to be: dimensions, passes over all links, the step of the first and the last pass. */
export const EMBEDDING_DIMENSIONS = 8;
export const EMBEDDING_PASSES = 20;
export const EMBEDDING_STEP = 0.1;
export const EMBEDDING_STEP_LAST = 0.02;
/** Links looked at in one fit, all passes together: it must not fill the leader's time. */
export const EMBEDDING_STEPS_MAX = 1_000_000;
/** Links asked for in one round of exploring for the sake of one goal that is not met. */
export const EXPLORE_GOAL_LINKS = 512;
/** Rounds, of one leader, that follow one another closely because such a goal is there. */
export const EXPLORE_GOAL_ROUNDS = 60;
/** How often groups with room are looked at, and how many at one time. */
export const GROW_EVERY_MS = 2_000;
export const GROW_GOALS = 8;
/** How often a leader holds what members measured against what the others did, beside when it plans. */
export const JUDGE_EVERY_MS = 5_000;
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

/** Doubts are repeated while they stand, and forgotten when they are not. */
export const DOUBT_REPEAT_MS = 200;
export const DOUBT_FRESH_MS = 700;
/** Votes are told as often as doubts; one that is not told any more does not add up with later ones. */
export const VOTE_FRESH_MS = DOUBT_FRESH_MS;
/** A round of votes takes one way trip, a durable write and some scheduling. */
export const ATTEMPT_MS = 200;
/** Whoever is elected says so within this and four round trips, or is not followed longer. */
export const READY_WITHIN_MS = 700;
/** Between two tries to bring one certificate or one group to the chain. */
export const PUBLISH_REPEAT_MS = 1_000;
/** How often a voter is told the same line of succession. */
export const SUCCESSION_EVERY_MS = 1_000;
/** This node's view of the chain may be behind the leader's; after this long it is not. */
export const VIEW_LAG_MS_MAX = 15_000;
/** How often a leader looks at its duties when nothing happens. */
export const DUTY_EVERY_MS = 100;
/** Confirmations after which suspicion is as short as it gets. */
export const SUSPICION_CONFIRMERS = 3;
export const SUSPICION_SHARE_MIN = 1 / 3;
/** Places of the table looked at for one message's fill. */
export const FILL_SEARCH = 32;
/** Probe slots between two tries at somebody who was given up: how a healed partition is noticed. */
export const GONE_PROBE_EVERY = 20;
/** How often missing channels are asked for: usually, just after the start, and when one was lost. */
export const CONNECT_AGAIN_MS = 100;
export const CONNECT_EVERY_MS = 1_000;
export const CONNECT_EAGER_EVERY_MS = 150;
export const CONNECT_EAGER_MS = 2_000;
/** A link is reported again once it moved by this much. */
export const REPORT_CHANGE_SHARE = 0.2;
export const REPORT_CHANGE_MS = 2;
/** Every so many reports all links are told again, in case one was lost. */
export const REPORT_WHOLE_EVERY = 16;
/** Up to this many members all report once per period; beyond, the leader's load stays the same. */
export const REPORTERS_PER_PERIOD = 200;
/** Periods of silence after which a member's numbers start anew: a wrong one does not shut it out for good. */
export const REPORT_FORGET_PERIODS = 3;
/** Two ends of one link may differ by this much before one of them is wrong. */
export const LINK_TOLERANCE_MS = 10;
export const LINK_TOLERANCE_SHARE = 0.5;
export const LINK_TOLERANCE_DEVIATIONS = 2;
/** Two-sided links that a member must have before its reports can be held against it. */
export const LINKS_JUDGED_MIN = 3;
/** A round trip this much longer than the way around by third members is not one. */
export const DETOUR_SHARE = 4;
export const DETOUR_MS = 50;
/** How often groups are planned; each node beyond a hundred makes it rarer, for planning must not fill the leader's time. */
export const PLAN_EVERY_MS = 300;
export const PLAN_PER_NODE_MS = 3;
/** How often members are asked again to measure what a plan rests on. */
export const MEASURE_REPEAT_MS = 1_000;
/** A degraded member must be over the limit by this share, so that jitter at the limit is no failure. */
export const DEGRADED_SHARE = 1.1;
/** Starting points tried for one group; beyond, they are spread over the candidates. */
export const GROUP_STARTS_MAX = 256;
/** Near candidates that one step of growing a group chooses among. */
export const GROUP_CHOICE = 12;
/** Up to this many nodes every starting point of a group is tried; beyond, near lists are searched. */
export const GROUP_SEARCHED_WHOLE_MAX = 128;
/** Up to this many nodes near lists are complete; beyond, they hold this many near ones. */
export const NEAR_COMPLETE_MAX = 512;
export const NEAR_MAX = 192;
/** Buckets of near nodes that each node's list is drawn from. */
export const NEAR_BUCKETS_SEARCHED = 3;
/** Starting points of the first, greedy bound on the closest group, and steps after which its search is not complete. */
export const CLOSEST_STARTS = 64;
export const CLOSEST_STEPS_MAX = 50_000_000;
/** Problems larger than this are not searched for what would meet them; counts are told all the same. */
export const SUGGEST_NODES_MAX = 256;
/** Values of one limit that are tried. */
export const SUGGEST_VALUES_MAX = 16;

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
