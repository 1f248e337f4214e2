import { accept } from "@cloister/core";
import { describe, expect, it } from "vitest";
import { awaitsChain, COMMITTEE_MAX, viewOf, type Body, type SwarmState } from "../src/index.ts";
import { Cluster, memberList, nodeId, ORIGIN, readyNode, receive, signaturesOf } from "./cluster.ts";
import { step, init } from "../src/index.ts";
import { configOf } from "./cluster.ts";

function voteBy(voter: number, term: number, candidate: number): Body {
  const vote = { term, candidate: nodeId(candidate) };
  const signature = signaturesOf(nodeId(voter)).sign({ kind: "vote", ...vote });
  return { kind: "vote", ...vote, signature };
}

function stateAt(cluster: Cluster, node: number): SwarmState {
  return cluster.states[node] as SwarmState;
}

describe("a cluster of three", () => {
  it("elects one leader, and only the chain makes it one", () => {
    const cluster = new Cluster(3);
    cluster.chainUp = false;
    cluster.run(1_000);
    const published = cluster.effects("publish-term").map(({ certificate }) => certificate);
    expect(new Set(published.map(({ term, leader }) => `${term} ${leader}`)).size).toBe(1);
    expect(
      cluster.states.map((state) => viewOf(state as SwarmState).role).filter((r) => r === "leader"),
    ).toEqual([]);
    cluster.chainUp = true;
    cluster.run(1_500);
    expect(cluster.view.term).toBe(1);
    const roles = cluster.states.map((state) => viewOf(state as SwarmState).role);
    expect(roles.filter((role) => role === "leader")).toHaveLength(1);
  });

  it("persists each vote before it sends it", () => {
    const cluster = new Cluster(3);
    cluster.run(1_000);
    for (const [place, { node, effect }] of cluster.log.entries()) {
      if (effect.kind !== "send" || effect.message.kind !== "vote") continue;
      const { term } = effect.message;
      const durable = cluster.log.slice(0, place).some(({ node: by, effect: before }) => {
        return by === node && before.kind === "persist" && before.record.votedTerm === term;
      });
      expect(durable).toBe(true);
    }
    expect(cluster.view.term).toBe(1);
  });

  it("keeps its leader when nothing happens", () => {
    const cluster = new Cluster(3);
    cluster.run(60_000);
    expect(cluster.view.term).toBe(1);
  });

  it("replaces a leader that died, within a second", () => {
    const cluster = new Cluster(3);
    cluster.run(1_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    cluster.stop(leader);
    cluster.run(1_000);
    expect(cluster.view.term).toBe(2);
    expect(cluster.view.leader).not.toBe(nodeId(leader));
  });

  it("does nothing without a quorum", () => {
    const cluster = new Cluster(3);
    cluster.run(1_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    const other = (leader + 1) % 3;
    cluster.stop(leader);
    cluster.stop(other);
    cluster.run(20_000);
    expect(cluster.view.term).toBe(1);
  });

  it("takes the lead from a leader cut off from the others, and the old one stops acting", () => {
    const cluster = new Cluster(5, [{ id: "g", kind: "compute", size: { min: 1, max: 2 } }]);
    cluster.run(1_500);
    const leader = cluster.indexOf(cluster.view.leader as never);
    cluster.cut.add(leader);
    cluster.run(3_000);
    expect(cluster.view.term).toBe(2);
    expect(viewOf(stateAt(cluster, leader)).role).not.toBe("leader");
  });

  it("replaces a leader whom too few hear to follow, and too few miss to replace", () => {
    const cluster = new Cluster(4);
    cluster.run(1_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    const [dead = 0, deaf = 0] = [0, 1, 2, 3].filter((node) => node !== leader);
    cluster.stop(dead);
    cluster.blocked.add(`${Math.min(leader, deaf)}-${Math.max(leader, deaf)}`);
    cluster.run(12_000);
    expect(cluster.view.term).toBeGreaterThan(1);
    expect(cluster.view.leader).not.toBe(nodeId(leader));
  });

  it("hands over when the leader drains", () => {
    const cluster = new Cluster(3);
    cluster.run(1_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    cluster.feed(leader, { kind: "drain", nowMs: cluster.nowMs });
    cluster.run(1_000);
    expect(cluster.view.leader).not.toBe(nodeId(leader));
  });

  it("replaces a leader whose hardware was revoked", () => {
    const cluster = new Cluster(3);
    cluster.run(1_000);
    const { leader } = cluster.view;
    const members = memberList(3).map((member) => ({ ...member, eligible: member.id !== leader }));
    cluster.setView({ members });
    cluster.run(2_000);
    expect(cluster.view.term).toBeGreaterThan(1);
    expect(cluster.view.leader).not.toBe(leader);
  });

  it("elects anew when a leader restarts without its certificate", () => {
    const cluster = new Cluster(3);
    cluster.run(1_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    cluster.stop(leader);
    cluster.start(leader);
    cluster.run(1_500);
    expect(cluster.view.term).toBe(2);
  });
});

describe("a vote", () => {
  it("is given once per term, also after a crash", () => {
    const before = readyNode(0, 3);
    const doubt: Body = { kind: "doubt", term: 0, standing: true };
    step(before, { kind: "tick", nowMs: 400 });
    const effects = receive(before, nodeId(1), doubt, 401);
    const record = effects.find((effect) => effect.kind === "persist")?.record;
    expect(record).toMatchObject({ votedTerm: 1 });

    const after = init(configOf(0, 1_000, record));
    const view = { blockNumber: 1, members: memberList(3), term: 0, leader: undefined, groups: [] };
    step(after, { kind: "registry", nowMs: 1_000, view });
    for (const peer of [1, 2]) {
      step(after, { kind: "peer-up", nowMs: 1_000, id: nodeId(peer), verdict: accept({}) });
    }
    step(after, { kind: "tick", nowMs: 1_400 });
    const again = [
      ...receive(after, nodeId(1), doubt, 1_401),
      ...receive(after, nodeId(1), voteBy(1, 1, 1), 1_402),
    ];
    const votes = again.flatMap((effect) =>
      effect.kind === "send" && effect.message.kind === "vote" ? [effect.message] : [],
    );
    expect(votes.filter(({ term }) => term <= 1)).toEqual([]);
  });

  it("needs a quorum that doubts the leader", () => {
    const state = readyNode(0, 5);
    step(state, { kind: "tick", nowMs: 400 });
    const effects = receive(state, nodeId(1), { kind: "doubt", term: 0, standing: true }, 401);
    expect(effects.filter((effect) => effect.kind === "persist")).toEqual([]);
    const third = receive(state, nodeId(2), { kind: "doubt", term: 0, standing: true }, 402);
    expect(third.filter((effect) => effect.kind === "persist")).toHaveLength(1);
  });

  it("is refused from whoever is no voter, with a wrong signature, or twice", () => {
    const members = memberList(4).map((member, index) => ({ ...member, voter: index !== 3 }));
    const state = readyNode(0, 4, { members });
    receive(state, nodeId(3), voteBy(3, 1, 0));
    receive(state, nodeId(1), voteBy(2, 1, 0));
    receive(state, nodeId(1), voteBy(1, 1, 0));
    receive(state, nodeId(1), voteBy(1, 1, 2));
    receive(state, nodeId(2), voteBy(2, 10 ** 9, 2));
    const { refusals } = viewOf(state);
    expect(refusals[nodeId(3)]).toEqual({ SWARM_NOT_A_VOTER: 1 });
    expect(refusals[nodeId(1)]).toEqual({ SWARM_SIGNATURE_INVALID: 1, SWARM_VOTED_TWICE: 1 });
    expect(refusals[nodeId(2)]).toEqual({ SWARM_TERM_AHEAD: 1 });
  });

  it("is not counted twice", () => {
    const state = readyNode(0, 5);
    step(state, { kind: "tick", nowMs: 400 });
    const effects = [
      ...receive(state, nodeId(1), voteBy(1, 1, 0)),
      ...receive(state, nodeId(1), voteBy(1, 1, 0)),
      ...receive(state, nodeId(1), voteBy(1, 1, 0)),
    ];
    expect(effects.filter((effect) => effect.kind === "publish-term")).toEqual([]);
    const quorum = receive(state, nodeId(2), voteBy(2, 1, 0));
    expect(quorum.filter((effect) => effect.kind === "publish-term")).toHaveLength(1);
  });

  it("of a quorum elects nobody who has not voted: it may still hear the leader", () => {
    const state = readyNode(0, 5);
    const votes = [1, 2, 3, 4].flatMap((voter) => receive(state, nodeId(voter), voteBy(voter, 1, 0)));
    expect(votes.filter((effect) => effect.kind === "publish-term")).toEqual([]);
    expect(viewOf(state).term).toBe(0);
    const { effects } = step(state, { kind: "tick", nowMs: 400 });
    expect(effects.filter((effect) => effect.kind === "publish-term")).toHaveLength(1);
  });

  it("of a quorum is not followed before the candidate's own is known", () => {
    const state = readyNode(0, 5);
    for (const voter of [2, 3, 4]) receive(state, nodeId(voter), voteBy(voter, 1, 1));
    expect(awaitsChain(state)).toBe(0);
    receive(state, nodeId(1), voteBy(1, 1, 1));
    expect(awaitsChain(state)).toBe(1);
  });
});

describe("whoever was elected", () => {
  /** Node 2 saw a quorum for node 0, which answers probes, and says that it leads or does not. */
  function follows(says: boolean): boolean {
    const state = readyNode(2, 5, { term: 1, leader: nodeId(4) });
    for (const voter of [1, 3, 0]) receive(state, nodeId(voter), voteBy(voter, 2, 0));
    expect(awaitsChain(state)).toBe(1);
    for (let nowMs = 1; nowMs < 3_500; nowMs++) {
      const { effects } = step(state, { kind: "tick", nowMs });
      for (const effect of effects) {
        if (effect.kind !== "send" || effect.message.kind !== "ping") continue;
        const { nonce } = effect.message;
        const answer = {
          kind: "ack",
          nonce,
          incarnation: 1,
          term: 1,
          coordinate: ORIGIN,
          updates: [],
        } as const;
        const leads = says && effect.to === nodeId(0) ? { succession: [] } : {};
        receive(state, effect.to, { ...answer, ...leads }, nowMs);
      }
    }
    return awaitsChain(state) === 1;
  }

  it("is followed until its block comes when it says that it holds the certificate", () => {
    expect(follows(true)).toBe(true);
  });

  it("is not followed for long when it does not: it may lack a vote that others hold", () => {
    expect(follows(false)).toBe(false);
  });
});

describe("the chain goes back", () => {
  it("takes the lead away and publishes the certificate again", () => {
    const cluster = new Cluster(3);
    cluster.run(1_000);
    const leader = cluster.indexOf(cluster.view.leader as never);
    cluster.chainUp = false;
    cluster.setView({ term: 0, leader: undefined });
    cluster.run(2);
    expect(viewOf(stateAt(cluster, leader)).role).toBe("elected");
    cluster.chainUp = true;
    cluster.run(1_200);
    expect(cluster.view.term).toBe(1);
    expect(viewOf(stateAt(cluster, leader)).role).toBe("leader");
  });
});

describe("more voters than can watch one leader", () => {
  it("elect with a certificate that most of all voters signed", () => {
    const cluster = new Cluster(15);
    cluster.run(1_500);
    expect(cluster.view.term).toBe(1);
    for (const { certificate } of cluster.effects("publish-term")) {
      expect(new Set(certificate.votes.map(({ voter }) => voter)).size).toBeGreaterThanOrEqual(8);
    }
    const watchers = cluster.states.filter((state) => state?.committee.includes(state.config.self));
    expect(watchers).toHaveLength(COMMITTEE_MAX);
  });

  it("elect nobody when the watchers agree but most of the voters are cut off", () => {
    const cluster = new Cluster(15);
    const { committee } = stateAt(cluster, 0);
    for (let node = 0; node < 15; node++)
      if (!committee.slice(0, 7).includes(nodeId(node))) cluster.cut.add(node);
    cluster.run(3_000);
    expect(cluster.effects("publish-term")).toEqual([]);
  });

  it("elect again when most of the watchers died: the next ones drawn take their places", () => {
    const cluster = new Cluster(15);
    cluster.run(1_500);
    const { leader } = cluster.view;
    const watchers = stateAt(cluster, 0).committee.filter((id) => id !== leader);
    for (const id of [...watchers.slice(0, 6), leader as never]) cluster.stop(cluster.indexOf(id));
    cluster.run(6_000);
    expect(cluster.view.term).toBeGreaterThan(1);
    expect(cluster.view.leader).not.toBe(leader);
  });

  it("are asked again when their votes were lost", () => {
    const cluster = new Cluster(15);
    const { committee } = stateAt(cluster, 0);
    const others = cluster.members.filter(({ id }) => !committee.includes(id)).map(({ id }) => id);
    for (const other of others) {
      for (const watcher of committee) {
        const [a, b] = [cluster.indexOf(other), cluster.indexOf(watcher)];
        cluster.blocked.add(`${Math.min(a, b)}-${Math.max(a, b)}`);
      }
    }
    // Nine watchers of fifteen voters are a quorum of all: four of them fall silent, and it takes the others.
    for (const watcher of committee.slice(0, 2)) cluster.stop(cluster.indexOf(watcher));
    cluster.run(800);
    expect(cluster.view.term).toBe(0);
    cluster.blocked.clear();
    cluster.run(4_000);
    expect(cluster.view.term).toBeGreaterThan(0);
  });
});
