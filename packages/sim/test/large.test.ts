import { describe, expect, it } from "vitest";
import type { SwarmState } from "@cloister/swarm";
import { runStory } from "../src/index.ts";

describe("a swarm too large for everyone to know everyone", () => {
  const world = runStory({
    nodes: 60,
    seed: 5,
    seconds: 40,
    goals: [{ id: "near", kind: "compute", size: { min: 4, max: 4 }, latencyMsMax: 60 }],
    rttMsMax: 100,
    loss: 0,
    script: "",
  });
  const leader = world.nodes.find(({ id }) => id === world.chain.head.view.leader)?.state as SwarmState;

  it("elects a committee's choice once, and meets a goal with a latency limit", () => {
    expect(world.chain.head.view.term).toBe(1);
    expect(world.chain.head.view.groups.map(({ members }) => members.length)).toEqual([4]);
  });

  it("explores near links and hears of every member", () => {
    expect(leader.counters.get("links.explored")).toBeGreaterThan(0);
    expect(leader.leadership?.reported.size).toBe(60);
  });
});
