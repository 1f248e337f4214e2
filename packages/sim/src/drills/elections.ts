import { quorumOf, SILENCE_PROVEN_MS_MIN } from "@cloister/swarm";
import { broken } from "../checker.ts";
import type { SimNode, World } from "../world.ts";
import { chainTripMs, cutOff, demandLife, leaderOf, openLong, othersThan, pause, until } from "./steady.ts";

/** Drills of the leader: when it must stay, and when it must go soon. */

/** One voter after another loses the leader for a moment, never a quorum at one time: it stays. */
export function flicker(world: World): void {
  const leader = leaderOf(world);
  const { term } = world.chain.head.view;
  for (const voter of othersThan(world, leader).filter((node) => isVoter(world, node))) {
    cutOff(world, leader, [voter], true);
    until(world, 3_000, () => doubts(voter));
    cutOff(world, leader, [voter], false);
    until(world, 3_000, () => !doubts(voter));
    pause(world, world.scenario.rttMsMax);
  }
  pause(world, 1_000 + chainTripMs(world));
  if (world.chain.head.view.term !== term) broken("FLICKER_KEEPS_LEADER", world.nowMs, "a needless election");
}

/** The leader pauses as programs do, for less than proves a silence: it stays. */
export function pauseLeader(world: World): void {
  const leader = leaderOf(world);
  const { term } = world.chain.head.view;
  for (let turn = 0; turn < 12; turn++) {
    leader.frozen = true;
    pause(world, SILENCE_PROVEN_MS_MIN - 15);
    world.thaw(leader);
    pause(world, 600 + 37 * turn + 2 * world.scenario.rttMsMax);
    if (world.chain.head.view.term !== term) broken("PAUSE_KEEPS_LEADER", world.nowMs, "a needless election");
  }
}

/** All voters but the one whose turn is next lose the leader for a moment: they elect nobody who still hears it. */
export function missAllButNext(world: World): void {
  const leader = leaderOf(world);
  const { term } = world.chain.head.view;
  const voters = othersThan(world, leader).filter((node) => isVoter(world, node));
  const next = new Set(voters.map(({ state }) => state?.election.succession[0]));
  const promised = voters.some(({ state }) => (state?.election.votedTerm ?? 0) > term);
  const heir = voters.find(({ id }) => next.has(id));
  if (next.size !== 1 || heir === undefined || promised) return;
  const others = voters.filter((node) => node !== heir);
  cutOff(world, leader, others, true);
  until(world, 3_000, () => others.every(doubts));
  cutOff(world, leader, others, false);
  pause(world, 2_000 + chainTripMs(world));
  if (world.chain.head.view.term !== term) broken("FLICKER_KEEPS_LEADER", world.nowMs, "a needless election");
}

/** The leader goes, and each voter's first word to whom it votes for is lost: the others follow, and tell it again. */
export function loseFirstVotes(world: World): void {
  const { term } = world.chain.head.view;
  const lost = new Set<string>();
  world.drops = (from, to, message) => {
    const vote = message as Readonly<Record<string, unknown>>;
    if (vote["kind"] !== "vote" || vote["candidate"] !== world.nodes[to]?.id) return false;
    const first = !lost.has(`${from} ${String(vote["term"])}`);
    lost.add(`${from} ${String(vote["term"])}`);
    return first;
  };
  world.crash(leaderOf(world));
  const givenUpMs = world.confirmMs;
  demandTerm(world, term, 3_000 + givenUpMs + 12 * world.scenario.rttMsMax + chainTripMs(world));
  world.drops = undefined;
}

/** One voter hears of a resignation that was taken back: it forgets it, and the leader stays. */
export function overtakenResignation(world: World): void {
  const leader = leaderOf(world);
  const { term } = world.chain.head.view;
  const voter = othersThan(world, leader).find((node) => isVoter(world, node)) as SimNode;
  world.post(leader.index, voter.index, { ...world.envelope, kind: "doubt", term, standing: true });
  if (!until(world, 2_000, () => doubts(voter))) broken("RESIGNATION_HEARD", world.nowMs, voter.id);
  pause(world, 4_000);
  if (doubts(voter)) broken("RESIGNATION_PASSES", world.nowMs, `${voter.id} doubts a leader that is well`);
  if (world.chain.head.view.term !== term) broken("FLICKER_KEEPS_LEADER", world.nowMs, "a needless election");
}

/** The leader restarts so fast that nobody misses it; it lost its certificate and must say so. */
export function restartLeader(world: World): void {
  const leader = leaderOf(world);
  const { term } = world.chain.head.view;
  world.crash(leader);
  pause(world, 5);
  world.start(leader);
  demandTerm(world, term, 1_500 + 4 * world.scenario.rttMsMax + chainTripMs(world));
  demandLife(world, "LIVES_AFTER_DRILL");
}

/**
 * The leader loses half of the voters for good: they are too few to replace it, so that it must make way. Some may see
 * a quorum that the elected cannot, and give it up only after they waited for the chain.
 */
export function cutHalf(world: World): void {
  const leader = leaderOf(world);
  const { term } = world.chain.head.view;
  const voters = othersThan(world, leader).filter((node) => isVoter(world, node));
  cutOff(world, leader, voters.slice(0, (voters.length + 1) / 2), true);
  const givenUpMs = 2 * world.confirmMs;
  demandTerm(world, term, 6_000 + givenUpMs + 12 * world.scenario.rttMsMax + chainTripMs(world));
  cutOff(world, leader, voters, false);
  demandLife(world, "LIVES_AFTER_DRILL");
}

/**
 * The leader keeps a quorum of those who watch it, but no quorum of all voters, and stalls now and then:
 * whom the watchers choose anew reaches no certificate, and may not act on what they renew it for.
 */
export function keepWatchersOnly(world: World): void {
  const leader = leaderOf(world);
  const watchers = world.nodes.filter(({ id }) => leader.state?.committee.includes(id));
  const later = watchers.filter(({ index }) => index > leader.index);
  const sooner = watchers.filter(({ index }) => index < leader.index);
  const inside = [leader, ...later, ...sooner].slice(0, quorumOf(world.nodes.length) - 1);
  for (const node of inside) cutOff(world, node, othersThan(world, ...inside), true);
  for (let stall = 0; stall < 4; stall++) {
    openLong(world, 2 + 2 * stall, 500);
    leader.frozen = true;
    pause(world, 900);
    world.thaw(leader);
    pause(world, 2_500);
  }
  for (const node of inside) cutOff(world, node, othersThan(world, ...inside), false);
  demandLife(world, "LIVES_AFTER_DRILL");
}

/** Two terms are taken back for good, and with them what most voters remember; one node still holds work of the last. */
export function takeTermsBack(world: World): void {
  const from = world.chain.head.view.blockNumber;
  openLong(world, 3, 60_000);
  pause(world, 1_000 + chainTripMs(world));
  for (let turn = 0; turn < 2; turn++) {
    const leader = leaderOf(world);
    const { term } = world.chain.head.view;
    world.crash(leader);
    demandTerm(world, term, 3_000 + 12 * world.scenario.rttMsMax + chainTripMs(world));
    world.start(leader);
    settleOrders(world);
  }
  const { blockNumber, leader } = world.chain.head.view;
  const kept = world.nodes.find(({ id, record }) => id !== leader && (record?.assignments.length ?? 0) > 0);
  world.reorganised = true;
  world.chain.reorganise(blockNumber - from, false);
  for (const node of world.nodes) {
    world.crash(node);
    if (node === kept) continue;
    node.disk = undefined;
    node.record = undefined;
    node.forgot = true;
  }
  world.workMs = 500;
  // Some of what is said in the new beginning is lost.
  world.loss = 0.4;
  for (const node of world.nodes) world.start(node);
  pause(world, 6_000);
  world.loss = 0;
  demandLife(world, "LIVES_AFTER_DRILL");
}

/** Waits until everybody works under the chain's term again; open orders may stay at work. */
function settleOrders(world: World): void {
  const follow = (): boolean => {
    const { term } = world.chain.head.view;
    return world.nodes.every(({ state }) => state?.election.regime.term === term && !state.election.doubting);
  };
  until(world, world.scenario.healMs, follow);
  pause(world, 1_500 + chainTripMs(world));
}

function demandTerm(world: World, after: number, withinMs: number): void {
  if (until(world, withinMs, () => world.chain.head.view.term > after)) return;
  broken("LEADER_REPLACED_SOON", world.nowMs, `not after ${withinMs.toFixed(0)} ms`);
}

function isVoter({ scenario }: World, { index }: SimNode): boolean {
  return index < scenario.voters;
}

function doubts({ state }: SimNode): boolean {
  return state?.election.doubting === true;
}
