import type { NodeId } from "@cloister/core";
import { predictRttMs } from "./coordinate.ts";
import { leaseUntilMs } from "./election.ts";
import { STATUS, isLeader, type StatusCode, type SwarmState } from "./state.ts";
import type { MemberStatus, MemberView, SwarmView } from "./types.ts";

const NAMES = Object.entries(STATUS).map(([name]) => name) as MemberStatus[];

/** Shows one node's view: for terminals, metrics and tests. It shares nothing with the state. */
export function viewOf(state: SwarmState): SwarmView {
  const { election, view } = state;
  return {
    self: state.config.self,
    term: view.term,
    leader: view.leader,
    role: roleOf(state),
    leaseUntilMs: leaseUntilMs(state),
    members: state.directory.members.map(({ id }, index) => memberView(state, id, index)),
    groups: view.groups,
    assignments: [...(state.leadership?.placements.values() ?? [])].map(({ assignment }) => assignment),
    held: [...state.accepted.values()].map(({ assignment }) => assignment),
    unmet: Object.fromEntries(state.leadership?.unmet ?? []),
    distrusted: [...(state.leadership?.distrusted ?? [])],
    draining: state.draining,
    drained: isDrained(state),
    doubting: election.doubting,
    counters: Object.fromEntries(state.counters),
    refusals: Object.fromEntries([...state.refusals].map(([id, codes]) => [id, Object.fromEntries(codes)])),
  };
}

/** Nothing rests on this node any more. */
function isDrained(state: SwarmState): boolean {
  const { self } = state.config;
  const leads = state.view.leader === self;
  return (
    state.draining &&
    state.accepted.size === 0 &&
    !leads &&
    !state.view.groups.some(({ members }) => members.includes(self))
  );
}

function roleOf(state: SwarmState): SwarmView["role"] {
  if (isLeader(state)) return "leader";
  if (state.election.certificate !== undefined) return "elected";
  return state.election.doubting ? "candidate" : "follower";
}

function memberView(state: SwarmState, id: NodeId, index: number): MemberView {
  const { table } = state;
  const self = index === state.self;
  const measured = table.probes[index] !== 0;
  const bandwidthMbps = table.bandwidthMbps[index] as number;
  const coordinate = state.coordinates.get(id);
  const predicted = coordinate === undefined ? undefined : predictRttMs(state.coordinate, coordinate);
  return {
    id,
    status: self
      ? state.draining
        ? "left"
        : "alive"
      : (NAMES[table.status[index] as StatusCode] as MemberStatus),
    connected: self || table.connected[index] === 1,
    incarnation: self ? state.incarnation : (table.incarnation[index] as number),
    rttMs: self ? 0 : measured ? table.rttMs[index] : predicted,
    measured: self || measured,
    ...(bandwidthMbps > 0 ? { bandwidthMbps } : {}),
  };
}
