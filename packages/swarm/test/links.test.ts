import type { NodeId } from "@cloister/core";
import { describe, expect, it } from "vitest";
import { pursueGoals } from "../src/groups.ts";
import { originCoordinate, viewOf, type LinkSample } from "../src/index.ts";
import { distrusted, linkOf } from "../src/links.ts";
import { startLeadership, type Leadership, type SwarmState } from "../src/state.ts";
import { nodeId, readyNode } from "./cluster.ts";

/** A leader that heard from every node; `says` gives what one end reports of a link. */
function reported(
  nodes: number,
  says: (reporter: number, peer: number) => number,
  deviates: (reporter: number) => number = () => 1,
): Leadership {
  const leadership = startLeadership(readyNode(0, 3), 1);
  for (let reporter = 0; reporter < nodes; reporter++) {
    const samples = new Map<NodeId, LinkSample>();
    for (let peer = 0; peer < nodes; peer++) {
      if (peer === reporter) continue;
      const rttMs = says(reporter, peer);
      samples.set(nodeId(peer), { peer: nodeId(peer), rttMs, deviationMs: deviates(reporter), probes: 5 });
    }
    const coordinate = originCoordinate();
    leadership.reports.set(nodeId(reporter), { sequence: 1, coordinate, atMs: 0, samples });
  }
  return leadership;
}

describe("two ends of a link", () => {
  it("are joined by the greater round trip", () => {
    const leadership = reported(2, (reporter) => (reporter === 0 ? 30 : 34));
    expect(linkOf(leadership, nodeId(0), nodeId(1))).toMatchObject({
      confirmed: true,
      disputed: false,
      rttMs: 34,
    });
  });

  it("confirm nothing while only one end speaks", () => {
    const leadership = reported(2, () => 30);
    leadership.reports.delete(nodeId(1));
    expect(linkOf(leadership, nodeId(0), nodeId(1))?.confirmed).toBe(false);
  });

  it("are unknown while nobody speaks", () => {
    const leadership = reported(0, () => 0);
    expect(linkOf(leadership, nodeId(0), nodeId(1))).toBeUndefined();
  });
});

const flatterer = (reporter: number): number => (reporter === 0 ? 1 : 80);

describe("a node that flatters itself", () => {
  it("gains nothing: what the other ends measured counts", () => {
    const leadership = reported(6, flatterer);
    for (let peer = 1; peer < 6; peer++) {
      expect(linkOf(leadership, nodeId(0), nodeId(peer))).toMatchObject({ confirmed: false, rttMs: 80 });
    }
  });

  it("is distrusted, and the honest ones are not", () => {
    expect([...distrusted(reported(6, flatterer))]).toEqual([nodeId(0)]);
  });

  it("is found out also when there are two", () => {
    const two = reported(7, (reporter) => (reporter < 2 ? 1 : 80));
    expect([...distrusted(two)].sort()).toEqual([nodeId(0), nodeId(1)]);
  });
});

describe("a leader", () => {
  /** What a leader with these reports says of its members' measurements when it looks. */
  function judged(state: SwarmState, leadership: Leadership): unknown[] {
    state.effects = [];
    state.leadership = leadership;
    pursueGoals(state, leadership);
    return state.effects.flatMap((effect) => {
      return effect.kind === "log" && /^member-(dis)?trusted$/.test(effect.event)
        ? [[effect.event, effect.fields["member"]]]
        : [];
    });
  }

  it("marks who flatters itself once, shows the mark, and takes it away when the numbers agree", () => {
    const state = readyNode(0, 6);
    const leadership = reported(6, (reporter) => (reporter === 3 ? 1 : 80));
    expect(judged(state, leadership)).toEqual([["member-distrusted", nodeId(3)]]);
    expect(viewOf(state).distrusted).toEqual([nodeId(3)]);
    expect(viewOf(state).counters["members.distrusted"]).toBe(1);
    state.nowMs += 60_000;
    expect(judged(state, leadership)).toEqual([]);
    for (const [id, report] of reported(6, () => 80).reports) leadership.reports.set(id, report);
    state.nowMs += 60_000;
    expect(judged(state, leadership)).toEqual([["member-trusted", nodeId(3)]]);
    expect(viewOf(state).distrusted).toEqual([]);
  });
});

describe("trust", () => {
  it("is not lost by jitter within the tolerance", () => {
    expect(distrusted(reported(6, (reporter, peer) => 20 + ((reporter * 7 + peer * 3) % 10))).size).toBe(0);
  });

  it("is not lost on a machine so busy that round trips jitter at both ends", () => {
    const busy = (reporter: number): number => (reporter === 0 ? 4 : 22);
    expect(distrusted(reported(6, busy)).size).toBe(1);
    expect(distrusted(reported(6, busy, () => 5)).size).toBe(0);
  });

  it("is not kept by whoever claims that its links jitter", () => {
    const liar = (reporter: number): number => (reporter === 0 ? 1e6 : 1);
    expect([...distrusted(reported(6, flatterer, liar))]).toEqual([nodeId(0)]);
  });

  it("is not judged on fewer than three links", () => {
    expect(distrusted(reported(3, (reporter) => (reporter === 0 ? 1 : 80))).size).toBe(0);
  });

  it("is lost by a node whose links are all far longer than the way around", () => {
    const slow = reported(8, (reporter, peer) => (reporter === 0 || peer === 0 ? 60 : 1));
    expect(distrusted(slow).size).toBe(0);
    const detours = reported(8, (reporter, peer) => {
      const ends = `${Math.min(reporter, peer)},${Math.max(reporter, peer)}`;
      return ends.startsWith("0,") && ends !== "0,7" && ends !== "0,6" && ends !== "0,5" ? 900 : 10;
    });
    expect([...distrusted(detours)]).toEqual([nodeId(0)]);
  });
});
