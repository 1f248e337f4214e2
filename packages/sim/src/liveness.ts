import type { NodeId } from "@cloister/core";
import { nodeIdOf } from "./scenario.ts";
import type { World } from "./world.ts";

/** What a healthy swarm would have and this one has not; undefined when nothing is missing. */
export function whatIsMissing(world: World): string | undefined {
  const { view, orders } = world.chain.head;
  if (view.leader === undefined) return "no leader on chain";
  const leader = world.nodes[world.indexOf(view.leader)];
  if (leader?.state === undefined) return "the leader is down";
  const seen = world.core.viewOf(leader.state);
  if (seen.role !== "leader") return `the chain's leader is ${seen.role}`;
  for (const member of seen.members) {
    const lost = world.indexOf(member.id) === world.lost;
    const fits = lost
      ? member.status === "dead" || member.status === "left" || member.status === "unknown"
      : member.status === "alive";
    if (!fits) return `the leader holds ${member.id} to be ${member.status}`;
  }
  for (const goal of world.goals) {
    const group = view.groups.find(({ goalId }) => goalId === goal.id);
    if (group === undefined) return `no group for ${goal.id}`;
    const { lost } = world;
    if (lost !== undefined && group.members.includes(nodeIdOf(lost))) return `${goal.id} keeps a lost member`;
    if (group.members.length < goal.size.min) return `the group for ${goal.id} is too small`;
    const room = Math.min(goal.size.max, world.nodes.length);
    if (lost === undefined && group.members.length < room) return `the group for ${goal.id} could be larger`;
  }
  const overlap = exclusiveOverlap(world);
  if (overlap !== undefined) return overlap;
  if (world.chain.head.settled.size + orders.size < world.scenario.orders) return "orders not yet open";
  if (orders.size > 0) return `${orders.size} orders open`;
  for (const { state, id } of world.nodes) {
    if (state !== undefined && state.accepted.size > 0) return `${id} holds orders that are closed`;
    if (state?.election.doubting === true) return `${id} doubts a leader that is well`;
  }
  return undefined;
}

/** Two exclusive groups that hold one member. */
function exclusiveOverlap(world: World): string | undefined {
  const held = new Map<NodeId, string>();
  const exclusive = new Set(world.goals.filter((goal) => goal.shared === false).map(({ id }) => id));
  for (const { goalId, members } of world.chain.head.view.groups) {
    for (const member of exclusive.has(goalId) ? members : []) {
      const other = held.get(member);
      if (other !== undefined) return `${member} is held by ${other} and ${goalId}`;
      held.set(member, goalId);
    }
  }
  return undefined;
}
