import { describe, expect, test } from "vitest";
import {
  SILENCE_PROVEN_MS_MAX,
  SILENCE_PROVEN_MS_MIN,
  step,
  viewOf,
  type Body,
  type Effect,
} from "../src/index.ts";
import type { SwarmState } from "../src/index.ts";
import { Cluster, nodeId, ORIGIN, readyNode, receive, signaturesOf } from "./cluster.ts";

function grown(count: number): Cluster {
  const cluster = new Cluster(count);
  cluster.run(12_000);
  return cluster;
}

function leaderOf(cluster: Cluster): number {
  return cluster.indexOf(cluster.view.leader as never);
}

/** Nobody hears the leader, nor it them, for so long. */
function pause(cluster: Cluster, forMs: number): void {
  cluster.cut.add(leaderOf(cluster));
  cluster.run(forMs);
  cluster.cut.clear();
}

/** Pauses each of which is a little longer than the one before: none comes as a surprise. */
function growingPauses(cluster: Cluster): void {
  for (let forMs = 70; forMs < 250; forMs += 6) {
    pause(cluster, forMs);
    cluster.run(300);
  }
  expect(cluster.view.term).toBe(1);
}

describe("a silence of the leader", () => {
  test("is too long after a tenth of a second where answers always came at once", () => {
    const cluster = grown(5);
    pause(cluster, SILENCE_PROVEN_MS_MIN + 110);
    expect(cluster.view.term).toBe(2);
  });

  test("shorter than what proves a loss costs nothing", () => {
    const cluster = grown(5);
    for (let turn = 0; turn < 8; turn++) {
      pause(cluster, SILENCE_PROVEN_MS_MIN - 5);
      cluster.run(8_000 + 7 * turn);
    }
    expect(cluster.view.term).toBe(1);
  });

  test("is tolerated longer where there were such pauses lately", () => {
    const cluster = grown(5);
    growingPauses(cluster);
    pause(cluster, SILENCE_PROVEN_MS_MIN + 110);
    cluster.run(500);
    expect(cluster.view.term).toBe(1);
  });

  test("is never tolerated for longer than the bound, however often there were pauses", () => {
    const cluster = grown(5);
    growingPauses(cluster);
    pause(cluster, SILENCE_PROVEN_MS_MAX + 250);
    expect(cluster.view.term).toBe(2);
  });

  test("is as short again once the pauses are long past", () => {
    const cluster = grown(5);
    growingPauses(cluster);
    cluster.run(90_000);
    pause(cluster, SILENCE_PROVEN_MS_MIN + 110);
    expect(cluster.view.term).toBe(2);
  });

  test("that only some notice replaces nobody", () => {
    const cluster = grown(5);
    const leader = leaderOf(cluster);
    const [first = 0, second = 0] = [0, 1, 2, 3, 4].filter((node) => node !== leader);
    for (const deaf of [first, second]) {
      cluster.blocked.add(`${Math.min(leader, deaf)}-${Math.max(leader, deaf)}`);
    }
    cluster.run(5_000);
    expect(cluster.view.term).toBe(1);
  });

  test("that its successor does not notice gives the lead to the next in line", () => {
    const cluster = grown(5);
    const leader = leaderOf(cluster);
    const heir = cluster.indexOf((cluster.states[leader] as SwarmState).election.succession[0] as never);
    for (const deaf of [0, 1, 2, 3, 4]) {
      if (deaf !== leader && deaf !== heir)
        cluster.blocked.add(`${Math.min(leader, deaf)}-${Math.max(leader, deaf)}`);
    }
    cluster.run(5_000);
    expect(cluster.view.term).toBeGreaterThan(1);
    expect([nodeId(leader), nodeId(heir)]).not.toContain(cluster.view.leader);
  });

  test("begins when an answer was due: a long way is none", () => {
    const cluster = new Cluster(5);
    for (let node = 0; node < 5; node++) cluster.slowMs.set(node, 100);
    cluster.run(5_000);
    const { term } = cluster.view;
    cluster.run(30_000);
    expect(cluster.view.term).toBe(term);
  });
});

describe("the first successor", () => {
  function probesOfLeader(cluster: Cluster, by: number): number {
    const leader = nodeId(leaderOf(cluster));
    return cluster.log.filter(({ node, effect, atMs }) => {
      const isProbe = effect.kind === "send" && effect.message.kind === "ping" && effect.to === leader;
      return isProbe && node === by && atMs > cluster.nowMs - 2_000;
    }).length;
  }

  test("asks the leader as often again as the others do, and so does nobody else", () => {
    const cluster = grown(5);
    const leader = leaderOf(cluster);
    const [heir, ...rest] = (cluster.states[leader] as SwarmState).election.succession;
    expect(probesOfLeader(cluster, cluster.indexOf(heir as never))).toBeGreaterThan(60);
    for (const id of rest) expect(probesOfLeader(cluster, cluster.indexOf(id))).toBeLessThan(40);
  });
});

describe("the vote of the first successor", () => {
  /** Node 0, first in line after a leader that answered each probe at once; what it does after it is not answered. */
  function afterSilence(silentMs: number): { state: SwarmState; effects: readonly Effect[] } {
    const leader = nodeId(4);
    const state = readyNode(0, 5, { term: 1, leader });
    const done: Effect[] = [];
    let askedMs = Infinity;
    for (let nowMs = 1; nowMs <= askedMs + silentMs; nowMs++) {
      const { effects } = step(state, { kind: "tick", nowMs });
      done.push(...effects);
      for (const effect of effects) {
        if (effect.kind !== "send" || effect.message.kind !== "ping" || effect.to !== leader) continue;
        const { nonce } = effect.message;
        const told = { succession: [nodeId(0)], term: 1 };
        const ack: Body = {
          ...{ kind: "ack", nonce, incarnation: 1, coordinate: ORIGIN, updates: [], ...told },
        };
        if (nowMs > 20_000) askedMs = Math.min(askedMs, nowMs);
        else receive(state, leader, ack, nowMs);
      }
    }
    return { state, effects: done };
  }

  const votesIn = (effects: readonly Effect[]): readonly Effect[] =>
    effects.filter((effect) => effect.kind === "send" && effect.message.kind === "vote");

  test("is durable once a silence is noted, and told to nobody", () => {
    const { state, effects } = afterSilence(60);
    expect(effects.findLast((effect) => effect.kind === "persist")?.record.votedTerm).toBe(2);
    expect(votesIn(effects)).toEqual([]);
    expect(viewOf(state).doubting).toBe(false);
  });

  test("is told to all once the silence is proven, and not made again", () => {
    const { state, effects } = afterSilence(90);
    const promised = effects.filter((effect) => effect.kind === "persist" && effect.record.votedTerm === 2);
    expect(promised).toHaveLength(1);
    expect(votesIn(effects)).toHaveLength(4);
    expect(viewOf(state).doubting).toBe(true);
  });

  test("kept to itself elects nobody, however many others vote", () => {
    const { state } = afterSilence(60);
    const signed = (voter: number): Body => {
      const vote = { kind: "vote", term: 2, candidate: nodeId(0) } as const;
      return { ...vote, signature: signaturesOf(nodeId(voter)).sign(vote) };
    };
    const effects = [1, 2, 3].flatMap((voter) => receive(state, nodeId(voter), signed(voter)));
    expect(effects.filter(({ kind }) => kind === "publish-term")).toEqual([]);
  });

  test("is on its way to the others before the certificate that holds it", () => {
    const { state } = afterSilence(60);
    for (const voter of [1, 2]) {
      const vote = { kind: "vote", term: 2, candidate: nodeId(0) } as const;
      receive(state, nodeId(voter), { ...vote, signature: signaturesOf(nodeId(voter)).sign(vote) });
    }
    const effects: Effect[] = [];
    const untilMs = state.nowMs + 30;
    // One that is called late counts the time as its own.
    while (state.nowMs < untilMs) {
      effects.push(...step(state, { kind: "tick", nowMs: state.nowMs + 1 }).effects);
    }
    const won = effects.findIndex(({ kind }) => kind === "publish-term");
    expect(won).toBeGreaterThan(0);
    expect(votesIn(effects.slice(0, won))).toHaveLength(4);
  });
});

describe("a leader whose channel breaks right after its election", () => {
  test("is missed at once by those who had one", () => {
    const cluster = new Cluster(5);
    while (cluster.view.term === 0) cluster.run(10);
    cluster.run(100);
    cluster.stop(leaderOf(cluster));
    cluster.run(250);
    expect(cluster.view.term).toBe(2);
  });
});

describe("what a voter says along with its vote", () => {
  function ahead(term: number, more: Partial<Extract<Body, { kind: "report" }>> = {}): Body {
    return {
      ...{ kind: "report", sequence: 1, term, draining: false, coordinate: ORIGIN, samples: [], work: [] },
      ...{ signature: new Uint8Array(0), ...more },
    };
  }

  function vote(voter: number, term: number): Body {
    const statement = { kind: "vote", term, candidate: nodeId(0) } as const;
    return { ...statement, signature: signaturesOf(nodeId(voter)).sign(statement) };
  }

  function elected(...messages: readonly (readonly [number, Body])[]): SwarmState {
    const state = readyNode(0, 5);
    for (const [from, body] of messages) receive(state, nodeId(from), body);
    step(state, { kind: "tick", nowMs: 400 });
    for (const voter of [1, 2]) receive(state, nodeId(voter), vote(voter, 1));
    expect(state.leadership?.term).toBe(1);
    return state;
  }

  test("is known to whoever is elected, from the first moment on", () => {
    const { leadership } = elected([1, ahead(1)], [2, ahead(1)]);
    expect([...(leadership?.reported ?? [])]).toEqual([nodeId(1), nodeId(2), nodeId(0)]);
  });

  test("is void for another term, with links, or once the voter found its leader again", () => {
    const sample = { peer: nodeId(3), rttMs: 1, deviationMs: 1, probes: 3 };
    const withdrawn: Body = { kind: "doubt", term: 0, standing: false };
    const state = elected(
      ...([
        [1, ahead(2)],
        [2, ahead(1, { samples: [sample] })],
        [3, ahead(1)],
        [3, withdrawn],
      ] as const),
    );
    expect([...(state.leadership?.reported ?? [])]).toEqual([nodeId(0)]);
    expect(viewOf(state).refusals[nodeId(2)]).toEqual({ SWARM_NOT_ADDRESSEE: 1 });
  });

  test("is void when it is old", () => {
    const state = readyNode(0, 5);
    receive(state, nodeId(1), ahead(1));
    for (let nowMs = 1; nowMs <= 1_000; nowMs += 10) step(state, { kind: "tick", nowMs });
    for (const voter of [1, 2]) receive(state, nodeId(voter), vote(voter, 1));
    expect([...(state.leadership?.reported ?? [])]).toEqual([nodeId(0)]);
  });

  test("is said by those too who only hear others vote, once for a while", () => {
    const state = readyNode(3, 5, { term: 1, leader: nodeId(4) });
    const told = [1, 2].flatMap((voter) => receive(state, nodeId(voter), vote(voter, 2)));
    const reports = told.filter((effect) => effect.kind === "send" && effect.message.kind === "report");
    expect(reports).toMatchObject([{ to: nodeId(0), message: { term: 2, samples: [] } }]);
  });

  test("is not said to a candidate of a further term, nor by the leader", () => {
    const voter = readyNode(3, 5, { term: 1, leader: nodeId(4) });
    const leader = readyNode(4, 5, { term: 1, leader: nodeId(4) });
    const told = [...receive(voter, nodeId(1), vote(1, 3)), ...receive(leader, nodeId(1), vote(1, 2))];
    expect(told.filter((effect) => effect.kind === "send" && effect.message.kind === "report")).toEqual([]);
  });

  test("is refused from whoever has no vote", () => {
    const state = readyNode(0, 4);
    const members = state.view.members.map((member, index) => ({ ...member, voter: index !== 3 }));
    step(state, { kind: "registry", nowMs: 1, view: { ...state.view, blockNumber: 2, members } });
    receive(state, nodeId(3), ahead(1));
    expect(viewOf(state).refusals[nodeId(3)]).toEqual({ SWARM_NOT_ADDRESSEE: 1 });
  });
});
