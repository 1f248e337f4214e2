import { broken } from "../checker.ts";
import { admitAll, expelMember } from "../faults.ts";
import type { SimNode, World } from "../world.ts";
import { chainTripMs, demandLife, giveGoals, leaderOf, othersThan, pause, until } from "./steady.ts";

/** Drills of members: who is silent for a moment, who is not to be believed, and who does not belong any more. */

/** Shorter than any suspicion lasts, and long enough to be suspected. */
const BRIEF_MS = 160;

/** Members stand still for less than a suspicion lasts: they may be suspected, and nobody buries them. */
export function fallSilentBriefly(world: World): void {
  const { deaths } = world.figures;
  const members = othersThan(world, leaderOf(world));
  for (let turn = 0; turn < Math.max(6, members.length); turn++) {
    const node = members[turn % members.length] as SimNode;
    node.frozen = true;
    pause(world, BRIEF_MS);
    world.thaw(node);
    pause(world, 700 + 2 * world.scenario.rttMsMax);
    if (world.figures.deaths !== deaths) broken("SUSPICION_GIVES_TIME", world.nowMs, node.id);
  }
}

/** A member of a group is refused for its evidence: it is out at once, and not after the grace of one that failed. */
export function refuseEvidence(world: World): void {
  giveGoals(world, [
    {
      id: "compute",
      kind: "compute",
      size: { min: 1, max: 2 },
      failedGraceMs: 120_000,
      degradedGraceMs: 120_000,
    },
  ]);
  pause(world, 1_000 + chainTripMs(world));
  const leader = leaderOf(world);
  const held = (): readonly string[] =>
    world.chain.head.view.groups.find(({ goalId }) => goalId === "compute")?.members ?? [];
  const node = othersThan(world, leader).find(({ id }) => held().includes(id));
  if (node === undefined) return;
  world.figures.forgeries++;
  node.genuine = false;
  world.appraiseAnew(node);
  const withinMs = 4_000 + 2 * chainTripMs(world);
  if (!until(world, withinMs, () => !held().includes(node.id))) {
    broken(
      "REFUSED_EVIDENCE_EVICTS",
      world.nowMs,
      `${node.id} is in its group after ${withinMs.toFixed(0)} ms`,
    );
  }
  node.genuine = true;
}

/** A report under a member's name with a number far ahead: its own are heard again before long. */
export function sendWrongNumber(world: World): void {
  const leader = leaderOf(world);
  const [node] = othersThan(world, leader) as [SimNode];
  const coordinate = node.state?.coordinate;
  const { term } = world.chain.head.view;
  world.post(node.index, leader.index, {
    ...world.envelope,
    ...{ kind: "report", sequence: 2 ** 50, term, draining: false, coordinate },
    ...{ samples: [], work: [], signature: new Uint8Array(0) },
  });
  const refused = (): number => leader.state?.refusals.get(node.id)?.get("SWARM_REPLAYED") ?? 0;
  const before = refused();
  if (!until(world, 4_000, () => refused() > before)) broken("WRONG_NUMBER_COUNTED", world.nowMs, node.id);
  pause(world, 4_000);
  const after = refused();
  pause(world, 4_000);
  if (refused() !== after) broken("REPORTS_HEARD_AGAIN", world.nowMs, `${node.id} is refused for ever`);
}

/** A member that was expelled goes on talking, and all of it is well formed: it is refused and counted everywhere. */
export function talkAfterExpulsion(world: World): void {
  const leader = leaderOf(world);
  const node = othersThan(world, leader).at(-1) as SimNode;
  expelMember(world, node);
  const known = (): boolean => {
    return world.nodes.every(
      ({ view, id }) => id === node.id || view.members.every((member) => member.id !== node.id),
    );
  };
  if (!until(world, 2_000 + 4 * chainTripMs(world), known)) broken("EXPULSION_SEEN", world.nowMs, node.id);
  const term = world.chain.head.view.term + 1;
  const vote = { kind: "vote", term, candidate: node.id } as const;
  const signature = world.signaturesOf(node).sign(vote);
  const said = [
    ...world.replayable.filter(({ from }) => from === node.index).map(({ message }) => message),
    { ...world.envelope, ...vote, signature },
    { ...world.envelope, kind: "doubt", term: term - 1, standing: true },
  ];
  for (const peer of othersThan(world, node)) {
    for (const message of said) world.postHostile(node.index, peer.index, message);
  }
  world.figures.garbage += said.length * (world.nodes.length - 1);
  pause(world, 1_000 + world.scenario.rttMsMax);
  if (world.chain.head.view.term >= term) broken("EXPELLED_HAS_NO_VOICE", world.nowMs, node.id);
  admitAll(world);
  pause(world, chainTripMs(world));
  demandLife(world, "LIVES_AFTER_DRILL");
}
