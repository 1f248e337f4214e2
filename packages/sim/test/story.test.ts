import { describe, expect, it } from "vitest";
import { runStory, timelineHtml, type StoryOptions } from "../src/index.ts";

const OPTIONS: StoryOptions = {
  nodes: 6,
  seed: 3,
  seconds: 12,
  goals: [{ id: "compute", kind: "compute", size: { min: 3, max: 3 }, failedGraceMs: 1_000 }],
  rttMsMax: 20,
  loss: 0,
  script: "",
};

describe("a story", () => {
  it("elects and forms the group its goals ask for", () => {
    const { view } = runStory(OPTIONS).chain.head;
    expect(view.term).toBe(1);
    expect(view.groups.map(({ goalId, members }) => [goalId, members.length])).toEqual([["compute", 3]]);
  });

  it("follows its script: who is stopped is replaced", () => {
    const before = runStory(OPTIONS).chain.head.view;
    const member =
      Number.parseInt(before.groups[0]?.members.find((id) => id !== before.leader) ?? "", 16) - 1;
    const { view } = runStory({ ...OPTIONS, script: `5 stop ${member}` }).chain.head;
    expect(view.groups[0]?.epoch).toBe(2);
  });

  it("draws a page with a row per node, and nothing that a name could break out of", () => {
    const goals = [{ id: "<script>", kind: "compute" as const, size: { min: 2, max: 2 } }];
    const html = timelineHtml(runStory({ ...OPTIONS, goals }));
    expect(html.match(/>node \d</g)).toHaveLength(6);
    expect(html).not.toContain("<script>");
  });

  it.each(["x stop 1", "5 explode 1", "5 stop 99", "5 stop", "-1 heal", "5 cut 3-1"])(
    "SIM_SCRIPT_MALFORMED: %s",
    (script) => {
      expect(() => runStory({ ...OPTIONS, script })).toThrow(
        expect.objectContaining({ code: "SIM_SCRIPT_MALFORMED" }),
      );
    },
  );

  it("ignores blank lines and remarks", () => {
    expect(() => runStory({ ...OPTIONS, seconds: 1, script: "\n# nothing\n;\n1 heal" })).not.toThrow();
  });
});
