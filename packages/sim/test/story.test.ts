import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Refusal } from "@cloister/core";
import {
  chronicleOf,
  readTopology,
  runStory,
  storyText,
  tellStory,
  timelineHtml,
  worldTopology,
  type StoryOptions,
} from "../src/index.ts";
import { readScript } from "../src/story/script.ts";

const OPTIONS: StoryOptions = {
  nodes: 6,
  seed: 3,
  seconds: 12,
  goals: [{ id: "compute", kind: "compute", size: { min: 3, max: 3 }, failedGraceMs: 1_000 }],
  rttMsMax: 20,
  loss: 0,
  script: "",
};

function told(options: Partial<StoryOptions>) {
  const story = tellStory({ ...OPTIONS, ...options });
  return { story, chronicle: chronicleOf(story) };
}

describe("a story", () => {
  it("elects and forms the group its goals ask for", () => {
    const { view } = runStory(OPTIONS).chain.head;
    expect(view.term).toBe(1);
    expect(view.groups.map(({ goalId, members }) => [goalId, members.length])).toEqual([["compute", 3]]);
  });

  it("is the same for the same seed, to the last byte of its page, and another for another seed", () => {
    const page = (seed: number): string => {
      const { story, chronicle } = told({ seed, seconds: 4, script: "2s kill leader" });
      return timelineHtml(story, chronicle);
    };
    expect(page(5)).toBe(page(5));
    expect(page(5)).not.toBe(page(6));
  });

  it("follows its script: a leader that is killed is replaced, and so is a member; it says how fast", () => {
    const { chronicle } = told({ nodes: 9, script: "5s kill leader; 5s kill group:compute" });
    expect(chronicle.leaders.length).toBeGreaterThanOrEqual(2);
    const [leader, group] = chronicle.recoveries;
    expect(leader).toMatchObject({ text: "kill leader", leaderHit: true });
    expect(leader?.leaderMs).toBeGreaterThan(0);
    expect(group?.groups.map(({ goalId }) => goalId)).toEqual(["compute"]);
    expect(storyText(chronicle).join("\n")).toMatch(/▶ kill leader \(node \d\)/);
  });

  it("evicts whose TCB was revoked at once, and takes it back when it is reinstated", () => {
    const { story, chronicle } = told({ script: "4s revoke group:compute; 8s reinstate 0-5" });
    const hit = new Set(story.marks[0]?.nodes);
    const after = chronicle.groups.find(({ fromMs }) => fromMs > 4_000);
    expect(after?.members.some((node) => hit.has(node))).toBe(false);
    expect(chronicle.recoveries[0]?.groups[0]?.repairedMs).toBeLessThan(3_000);
  });

  it("keeps the lead through a partition of the minority, and heals", () => {
    const { story, chronicle } = told({
      nodes: 7,
      seconds: 20,
      script: "4s order 3; 5s partition 0,1; 12s heal",
    });
    const last = chronicle.leaders.at(-1);
    expect(last?.node).toBeGreaterThanOrEqual(0);
    expect(chronicle.outcomes).toEqual([expect.objectContaining({ goalId: "compute", met: true })]);
    expect(story.world.figures.settled).toBe(3);
  });

  it("survives everything a script can do, with no invariant broken", () => {
    const script = `3s order 4 goal:compute; 4s freeze 1; 5s thaw 1; 5s slow 2 by 300ms; 6s restore
      6s cut 0 to 3; 7s heal; 7s forge 4; 8s mend 4; 8s drain 5; 9s kill 5; 9s start 5; 9s loss 20%; 10s loss 0%
      10s chain down; 11s chain up; 11s chain reorganise 1; 12s flood 2 to leader; 13s expel 3; 14s admit 3`;
    const { story } = told({ seconds: 24, script });
    expect(story.marks).toHaveLength(20);
    expect(story.world.chain.head.view.leader).toBeDefined();
  });

  it("says why a goal is not met", () => {
    const goals = [{ id: "huge", kind: "compute" as const, size: { min: 9, max: 9 } }];
    const { chronicle } = told({ goals, seconds: 4 });
    expect(chronicle.outcomes[0]).toMatchObject({ met: false, members: [] });
    expect(storyText(chronicle).join("\n")).toContain(
      "not met  huge: no group. 6 of 6 nodes fit, 9 are needed.",
    );
  });

  it("draws a page that asks for nothing else, and that no name can break out of", () => {
    const goals = [{ id: "<script>", kind: "compute" as const, size: { min: 2, max: 2 } }];
    const { story, chronicle } = told({ goals, seconds: 3, script: "1s kill 1" });
    const html = timelineHtml(story, chronicle);
    expect(html.match(/>\d anywhere</g)).toHaveLength(6);
    expect(html).not.toMatch(/<script|(src|href)=|@import|url\(/);
    expect(html.match(/https?:\/\/[^"]*/g)).toEqual(["http://www.w3.org/2000/svg"]);
  });
});

const WORLD = { nodes: 6, regions: ["eu", "us"], goalIds: ["compute"] };

describe("a script", () => {
  it("is read line by line, in time's order, remarks left out", () => {
    const steps = readScript("# nothing\n\n5 kill 1,3-4 # hard\n1500ms heal;2m loss 2.5%\n", WORLD);
    expect(steps.map(({ line, atMs, text }) => [line, atMs, text])).toEqual([
      [4, 1_500, "heal"],
      [3, 5_000, "kill 1,3-4"],
      [4, 120_000, "loss 2.5%"],
    ]);
    expect(steps[1]?.action).toEqual({ verb: "kill", nodes: { kind: "indexes", indexes: [1, 3, 4] } });
  });

  it.each([
    ["x kill 1", '"x" is not a time'],
    ["-1 heal", '"-1" is not a time'],
    ["5 explode 1", '"explode" is no action; there are kill, start'],
    ["5 kill 99", "there is no node 99; nodes are 0 to 5"],
    ["5 kill 3-1", "the range 3-1 goes backwards"],
    ["5 kill", '"kill" takes nodes: 3, 0-4'],
    ["5 kill 1 2", '"kill" takes nodes'],
    ["5 kill first", '"first" names no nodes'],
    ["5 kill region:mars", 'there is no region "mars"; there are eu, us'],
    ["5 kill group:x", 'there is no goal "x"; there are compute'],
    ["5 heal 3", '"heal" takes nothing behind it'],
    ["5 slow 3 200ms", '"slow" takes nodes, by, and milliseconds'],
    ["5 slow 3 at 200ms", '"slow" takes nodes, by, and milliseconds'],
    ["5 slow 3 by 99999", "is not milliseconds up to 20000"],
    ["5 cut 3 from 1", '"cut" takes nodes, to, and nodes'],
    ["5 loss 95%", "is not a share from 0% to 90%"],
    ["5 loss much", "is not a share"],
    ["5 order 0", '"order" takes how many'],
    ["5 order 3 compute", '"order" takes how many'],
    ["5 order 3 goal:x", 'there is no goal "x"'],
    ["5 chain sideways", '"chain" takes down, up, or reorganise'],
    ["5 chain reorganise 99", '"chain" takes down, up, or reorganise'],
  ])("SIM_SCRIPT_MALFORMED: %s", (line, words) => {
    expect(() => readScript(`1s heal\n${line}`, WORLD)).toThrow(
      expect.objectContaining({
        code: "SIM_SCRIPT_MALFORMED",
        message: expect.stringMatching(/^Line 2: .*\.$/),
      }),
    );
    expect(() => readScript(line, WORLD)).toThrow(words);
  });

  it("names every bad line at once", () => {
    const refusals = refusalsOf(() => readScript("x\n1 heal\ny", WORLD));
    expect(refusals.map(({ reason }) => reason.slice(0, 7))).toEqual(["Line 1:", "Line 3:"]);
  });

  it("is read or refused with its code, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        try {
          readScript(text, WORLD);
        } catch (error) {
          expect(error).toMatchObject({ code: "SIM_SCRIPT_MALFORMED" });
        }
      }),
    );
  });
});

describe("a topology", () => {
  const TWO = {
    regions: [
      { name: "eu", nodes: 3, rttMs: 2, operators: 2, tee: "tdx", gpus: 1 },
      { name: "us", nodes: 1, rttMs: 2, memoryGiB: 64 },
    ],
    links: [{ between: ["eu", "us"], rttMs: 90 }],
    loss: 0.1,
  };

  it("has regions, operators, hardware and round trips as it says", () => {
    const read = readTopology(TWO, 1);
    expect(read).toMatchObject({ nodes: 4, regions: ["eu", "us"], loss: 0.1 });
    expect([0, 1, 2, 3].map((index) => read.regionOf(index))).toEqual(["eu", "eu", "eu", "us"]);
    expect(new Set(read.members.map(({ operator }) => operator)).size).toBe(3);
    expect(read.factsOf(0)).toMatchObject({ tee: "tdx", gpus: 1 });
    expect(read.factsOf(3)).toMatchObject({ memoryBytes: 64 * 2 ** 30 });
    expect(read.rttMsOf(0, 1)).toBeLessThan(6);
    expect(read.rttMsOf(0, 3)).toBeGreaterThanOrEqual(90);
    expect(read.rttMsOf(0, 3)).toBe(read.rttMsOf(3, 0));
  });

  it("is scaled to as many nodes as are wanted, in its proportions", () => {
    const read = readTopology(TWO, 1, 400);
    const count = (region: string): number =>
      read.members.filter((member) => member.region === region).length;
    expect([count("eu"), count("us")]).toEqual([300, 100]);
    expect(worldTopology(1_000, 7).members).toHaveLength(1_000);
  });

  it("may be a measured matrix, of which the greater of a pair counts", () => {
    const read = readTopology(
      {
        matrix: [
          [0, 5],
          [7, 0],
        ],
      },
      1,
    );
    expect([read.nodes, read.rttMsOf(0, 1), read.rttMsOf(1, 0)]).toEqual([2, 7, 7]);
  });

  it.each([
    [null, "The topology is not an object."],
    [{}, '"regions" is a list of 1 to 64.'],
    [{ regions: [] }, '"regions" is a list'],
    [{ regions: [{ name: "EU", nodes: 1 }] }, "Regions[0].name is not 1 to 32 lower-case"],
    [{ regions: [{ name: "eu" }] }, "Regions[0].nodes is not a whole number above 0."],
    [{ regions: [{ name: "eu", nodes: 1.5 }] }, "Regions[0].nodes is not a whole number."],
    [{ regions: [{ name: "eu", nodes: 99_999 }] }, "Regions[0].nodes is not a number from 0 to 10000."],
    [{ regions: [{ name: "eu", nodes: 1, rtt: 3 }] }, 'Regions[0] has a member "rtt" that means nothing.'],
    [
      {
        regions: [
          { name: "eu", nodes: 1 },
          { name: "eu", nodes: 1 },
        ],
      },
      "Two regions have one name.",
    ],
    [{ ...TWO, links: [{ between: ["eu", "mars"], rttMs: 1 }] }, "Links[0].between does not name two"],
    [{ ...TWO, links: [{ between: ["eu", "us"] }] }, "Links[0].rttMs is not a number"],
    [{ ...TWO, loss: 0.9 }, "The topology.loss is not a number from 0 to 0.5."],
    [{ ...TWO, matrix: [[0]] }, 'has "regions" or a "matrix", not both.'],
    [{ matrix: [[0, 1]] }, "Matrix[0] is not 1 round trips in milliseconds"],
    [
      {
        matrix: [
          [0, -1],
          [1, 0],
        ],
      },
      "Matrix[0] is not 2 round trips",
    ],
    [{ matrix: "x" }, '"matrix" is not a list'],
  ])("SIM_TOPOLOGY_MALFORMED: %j", (document, words) => {
    const [first] = refusalsOf(() => readTopology(document, 1));
    expect(first).toMatchObject({ code: "SIM_TOPOLOGY_MALFORMED" });
    expect(first?.reason.charAt(0)).toMatch(/[A-Z"]/);
    expect(first?.reason).toContain(words);
  });
});

function refusalsOf(work: () => unknown): Refusal[] {
  try {
    work();
  } catch (error) {
    return (error as { details: { refusals: Refusal[] } }).details.refusals;
  }
  throw new Error("nothing was thrown");
}
