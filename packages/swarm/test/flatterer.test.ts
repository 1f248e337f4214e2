import { describe, expect, it } from "vitest";
import { viewOf, type Goal, type LinkSample, type SwarmState } from "../src/index.ts";
import { Cluster, nodeId } from "./cluster.ts";

const NODES = 6;
const GOAL: Goal = { id: "near", kind: "compute", size: { min: 3, max: 3 }, latencyMsMax: 50 };
const FAR_MS = 60;

/** Six nodes a few milliseconds apart, one of them more than a hundred from all others. */
function clusterWithFar(far: number, goal = GOAL): Cluster {
  const slowMs = new Map(
    Array.from({ length: NODES }, (_, node) => [node, node === far ? FAR_MS : 1] as const),
  );
  return new Cluster(NODES, [goal], slowMs);
}

/** From here on the node signs and tells the leader that everybody is a millisecond away. */
function flatter(state: SwarmState): void {
  const { signatures } = state.config;
  const sign = signatures.sign.bind(signatures);
  signatures.sign = (statement) => {
    if (statement.kind === "measurement") {
      for (const sample of statement.samples as {
        -readonly [Name in keyof LinkSample]: LinkSample[Name];
      }[]) {
        sample.rttMs = 1;
        sample.deviationMs = 0;
      }
    }
    return sign(statement);
  };
}

function membersOf(cluster: Cluster): number[] | undefined {
  return cluster.view.groups
    .find(({ goalId }) => goalId === "near")
    ?.members.map((id) => cluster.indexOf(id));
}

function leaderOf(cluster: Cluster): SwarmState {
  return cluster.states[cluster.indexOf(cluster.view.leader as never)] as SwarmState;
}

describe("a far node that tells its leader that it is near", () => {
  const leads = (far: number): boolean => {
    const honest = clusterWithFar(far);
    honest.run(12_000);
    return honest.view.leader === nodeId(far);
  };

  it.each(Array.from({ length: NODES }, (_, far) => far))("gains no place in a group: node %i", (far) => {
    const cluster = clusterWithFar(far);
    flatter(cluster.states[far] as SwarmState);
    cluster.run(12_000);
    expect(membersOf(cluster)).toHaveLength(3);
    expect(membersOf(cluster)).not.toContain(far);
    if (!leads(far)) expect(viewOf(leaderOf(cluster)).distrusted).toEqual([nodeId(far)]);
  });

  it("does not make a goal met that needs it, and is told apart from those who measured it", () => {
    const all = { ...GOAL, size: { min: NODES, max: NODES } };
    const cluster = clusterWithFar(2, all);
    flatter(cluster.states[2] as SwarmState);
    cluster.run(12_000);
    expect(membersOf(cluster)).toBeUndefined();
    expect(cluster.effects("log").filter(({ event }) => event === "member-distrusted")).not.toEqual([]);
    expect(
      new Set(
        cluster
          .effects("log")
          .filter(({ event }) => event === "member-distrusted")
          .map(({ fields }) => fields["member"]),
      ),
    ).toEqual(new Set([nodeId(2)]));
  });

  it("would be in the group if it were as near as it says: the limit is what keeps it out", () => {
    const all = { ...GOAL, size: { min: NODES, max: NODES } };
    const cluster = new Cluster(NODES, [all], new Map(Array.from({ length: NODES }, (_, node) => [node, 1])));
    cluster.run(12_000);
    expect(membersOf(cluster)).toHaveLength(NODES);
  });
});
