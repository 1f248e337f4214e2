import { describe, expect, test } from "vitest";
import type { Address, NodeId } from "@cloister/core";
import type { Goal } from "@cloister/swarm";
import { visibleWidth, type Style } from "../src/cli/output.ts";
import {
  explainGoal,
  formatRtt,
  formatSpan,
  renderForecast,
  renderGoals,
  renderStatus,
} from "../src/cli/swarm-text.ts";
import { History, renderTop, sparkline } from "../src/cli/swarm-top.ts";
import { forecast } from "../src/network/goal-plan.ts";
import type { Member, SwarmSnapshot } from "../src/network/swarm-view.ts";

const painted =
  (code: number) =>
  (text: string): string =>
    `\u001B[${code}m${text}\u001B[39m`;
const STYLE: Style = {
  ...{ bold: painted(1), dim: painted(2), good: painted(32), bad: painted(31), warn: painted(33) },
};
const PLAIN = { bold: same, dim: same, good: same, bad: same, warn: same };
function same(text: string): string {
  return text;
}

const idOf = (index: number): NodeId => `0x${(index + 1).toString(16).padStart(40, "0")}` as NodeId;

function member(index: number, change: Partial<Member> = {}): Member {
  const id = idOf(index);
  return {
    ...{ id, name: `node-${index + 1}`, operator: id, endpoint: "127.0.0.1:1" },
    ...{ registered: "active", voter: true, certifiedUntilMs: 90_000_000, state: "alive" },
    ...{ incarnation: 1, rttMs: index === 0 ? undefined : 5 * index, connected: true, answers: true },
    ...{ role: "follower", draining: false, distrusted: false, groups: ["compute"], running: 0 },
    evidence: {
      ...{ tee: "tdx", simulated: true, tcbStatus: "UpToDate", attestedMs: 0 },
      machine: { cpus: 4, memoryBytes: 2 ** 33, gpus: 0 },
    },
    process: { pid: 100 + index, upSeconds: 60, cpuSeconds: 1, memoryBytes: 1e8 },
    traffic: { receivedBytes: 1_000, sentBytes: 1_000 },
    ...change,
  };
}

const COMPUTE: Goal = { id: "compute", kind: "compute", size: { min: 2, max: 3 }, latencyMsMax: 100 };

function snapshot(members: readonly Member[], change: Partial<SwarmSnapshot> = {}): SwarmSnapshot {
  const owner = idOf(99) as Address;
  return {
    ...{ atMs: 60_000, chainId: 31_337, block: 7, simulated: true, term: 3, leader: idOf(0) },
    ...{ observer: idOf(0), voters: members.length, quorum: Math.floor(members.length / 2) + 1, members },
    groups: [{ goalId: "compute", epoch: 2, term: 3, members: [idOf(0), idOf(1)] }],
    goals: [{ goalId: "compute", owner, goal: COMPUTE, state: "active" }],
    ...{ unmet: {}, openOrders: 0, events: [] },
    rttMs: (from, to) => (from === to ? undefined : 20),
    bandwidthMbps: () => undefined,
    ...change,
  };
}

const crowd = (count: number): Member[] => Array.from({ length: count }, (_, index) => member(index));

describe("the live picture", () => {
  const events = Array.from({ length: 40 }, (_, index) => ({
    ...{ atMs: 1_000 * index, level: "warn" as const, event: "member-dead", node: "node-1" },
    fields: { member: idOf(1), why: "silent ".repeat(30), sneaky: "\u001B[2J" },
  }));

  test.each([
    [60, 20, 3],
    [80, 24, 30],
    [120, 36, 30],
    [200, 60, 9],
  ])("fits %i columns and %i rows with %i members", (columns, rows, count) => {
    const view = snapshot(crowd(count), { events });
    const history = new History();
    history.add(view);
    for (const matrix of [false, true]) {
      const lines = renderTop(view, history, { columns, rows, style: STYLE, matrix });
      expect(lines.length).toBeLessThanOrEqual(rows);
      expect(Math.max(...lines.map(visibleWidth))).toBeLessThanOrEqual(columns);
      expect(lines.join("\n")).toContain("node-1");
      expect(lines.join("\n")).not.toContain("\u001B[2J");
    }
  });

  test("puts the leader first, then the others by name, then who is not well, and names members in events", () => {
    const members = [member(2), member(1, { state: "dead" }), member(0), member(3, { rttMs: 1 })];
    const history = new History();
    const view = snapshot(members, { events });
    history.add(view);
    const text = renderTop(view, history, { columns: 120, rows: 40, style: PLAIN, matrix: false }).join("\n");
    const order = [...text.matchAll(/^[★ ] (node-\d)/gm)].map(([, name]) => name);
    expect(order).toEqual(["node-1", "node-3", "node-4", "node-2"]);
    expect(text).toContain("member-dead member=node-2");
  });

  test("shows rates between two looks at one process, and none across a restart", () => {
    const busy = { process: { pid: 100, upSeconds: 62, cpuSeconds: 2, memoryBytes: 1e8 } };
    const traffic = { receivedBytes: 3_048, sentBytes: 1_000 };
    const history = new History();
    history.add(snapshot([member(0)]));
    history.add(snapshot([member(0, { ...busy, traffic })], { atMs: 62_000 }));
    expect(history.of(idOf(0))).toMatchObject({ cpuShare: 0.5, bytesPerSecond: 1_024 });
    const restarted = { process: { ...busy.process, pid: 200 } };
    history.add(snapshot([member(0, restarted)], { atMs: 64_000 }));
    expect(history.of(idOf(0))?.cpuShare).toBeUndefined();
  });

  test("says so when too few are alive, and when it is an old picture", () => {
    const view = snapshot([member(0), member(1, { state: "dead" }), member(2, { state: "left" })]);
    const layout = { columns: 80, rows: 24, style: PLAIN, matrix: false, trouble: "no answer" };
    const text = renderTop(view, new History(), layout).join("\n");
    expect(text).toContain("Too few voters are alive to elect a leader.");
    expect(text).toContain("This is an old picture: no answer");
  });

  test.each([
    [[], 4, ""],
    [[1, 2, 4, 8], 4, "▂▃▅█"],
    [[8, undefined, 8], 4, "█ █"],
    [[0, 0], 4, "▁▁"],
    [[1, 2, 3, 4, 5, 6], 2, "▇█"],
  ])("draws %j in %i columns as %j", (values, width, bars) => {
    expect(sparkline(values, width)).toBe(bars);
  });
});

describe("what is said of the swarm", () => {
  test("status fits 80 columns without addresses, and has them where there is room", () => {
    const view = snapshot([...crowd(3), member(3, { registered: "expired", evidence: undefined })]);
    const narrow = renderStatus(view, PLAIN, { columns: 80 });
    expect(Math.max(...narrow.map(visibleWidth))).toBeLessThanOrEqual(80);
    expect(narrow.join("\n")).toMatch(/^node-4 +expired/m);
    expect(renderStatus(view, PLAIN, { columns: 120 }).join("\n")).toContain("0x00000000…");
  });

  test("a quorum that is lost is said aloud", () => {
    const view = snapshot([member(0, { state: "dead" }), member(1, { state: "dead" }), member(2)]);
    expect(renderStatus(view, PLAIN).join("\n")).toContain("1 alive, too few to elect anybody");
  });

  test("goals stand as met, degraded, not met, retired or unreadable", () => {
    const owner = idOf(9) as Address;
    const goal = (goalId: string) => ({
      goalId,
      owner,
      goal: { ...COMPUTE, id: goalId },
      state: "active" as const,
    });
    const goals = [
      ...["compute", "away", "none"].map(goal),
      { goalId: "old", owner, state: "retired" as const },
      { goalId: "torn", owner, state: "unreadable" as const },
    ];
    const groups = [
      { goalId: "compute", epoch: 1, term: 1, members: [idOf(0), idOf(1)] },
      { goalId: "away", epoch: 1, term: 1, members: [idOf(0), idOf(2)] },
    ];
    const view = snapshot([member(0), member(1), member(2, { state: "dead" })], { goals, groups });
    expect(renderGoals(view, PLAIN).map((line) => line.split(/ {2,}/).slice(0, 2))).toEqual([
      ["goal", "standing"],
      ["compute", "met"],
      ["away", "degraded"],
      ["none", "not met"],
      ["old", "retired"],
      ["torn", "unreadable"],
    ]);
    expect(explainGoal(view, "away").lines.join(" ")).toContain(
      "node-3 is dead: after its grace it is replaced",
    );
    expect(explainGoal(view, "old").lines.join(" ")).toContain("has retired it");
    expect(() => explainGoal(view, "nothing")).toThrow(expect.objectContaining({ code: "GOAL_UNKNOWN" }));
  });

  test.each([
    [undefined, ""],
    [0, "0.0 ms"],
    [9.96, "10.0 ms"],
    [10.4, "10 ms"],
    [1_234.5, "1235 ms"],
  ])("a round trip of %j is %j", (rttMs, text) => expect(formatRtt(rttMs)).toBe(text));

  test.each([
    [-5, "0 s"],
    [59_499, "59 s"],
    [3_599_000, "59 min"],
    [86_400_000, "24 h"],
    [864_000_000, "10 d"],
  ])("a span of %i ms is %j", (spanMs, text) => expect(formatSpan(spanMs)).toBe(text));
});

describe("a forecast", () => {
  const one = (view: SwarmSnapshot, goal: Goal) => {
    const [first] = forecast(view, [goal]);
    if (first === undefined) throw new Error("there is a forecast for every goal");
    return first;
  };

  test("names the group, its slowest pair, and how many pairs nobody has measured", () => {
    const found = one(snapshot(crowd(3)), COMPUTE);
    expect(found.members?.length).toBeGreaterThanOrEqual(2);
    expect(found).toMatchObject({ unmeasured: 0, refusals: [], slowest: { rttMs: 20 } });
    const unmeasured = snapshot(crowd(2), { rttMs: () => undefined });
    expect(one(unmeasured, COMPUTE)).toMatchObject({ unmeasured: 1, slowest: undefined });
  });

  test("counts the slower of a pair's two measurements: a node cannot flatter itself", () => {
    const view = snapshot(crowd(2), { rttMs: (from) => (from === idOf(0) ? 1 : 500) });
    expect(one(view, COMPUTE)).toMatchObject({ members: undefined, refusals: [{ code: "GOAL_NO_GROUP" }] });
  });

  test("leaves out whoever is gone, leaving, not approved, or without evidence of what is asked", () => {
    const members = [
      member(0),
      member(1, { state: "dead" }),
      member(2, { draining: true }),
      member(3, { registered: "not approved" }),
      member(4, { evidence: undefined }),
      member(5, { distrusted: true }),
    ];
    const found = one(snapshot(members), { ...COMPUTE, tees: ["tdx"], cpusMin: 8, memoryBytesMin: 2 ** 34 });
    expect(found.members).toBeUndefined();
    expect(found.misfits.map(({ member: { name }, reasons }) => [name, reasons[0]])).toEqual([
      ["node-1", "it has 4 CPUs of at least 8"],
      ["node-2", "it is dead"],
      ["node-3", "it is leaving"],
      ["node-4", "the registry says: not approved"],
      ["node-5", "its TEE is unknown, tdx is wanted"],
      ["node-6", "what it measured contradicts what most others did"],
    ]);
    expect(found.misfits[0]?.reasons).toContain("it has 8.0 GiB of memory of at least 16.0 GiB");
  });

  test("says that a bandwidth nobody measured is not known, and counts the lesser end of one that was", () => {
    const goal = { ...COMPUTE, bandwidthMbpsMin: 500 };
    const text = (view: SwarmSnapshot): string => renderForecast(one(view, goal), PLAIN).join("\n");
    expect(text(snapshot(crowd(2)))).toContain(
      "Whether one pair reaches 500 Mbit/s is not known: nobody has measured it yet.\n  The leader measures that",
    );
    const half = snapshot(crowd(2), { bandwidthMbps: (from) => (from === idOf(0) ? 900 : undefined) });
    expect(one(half, goal)).toMatchObject({ unmeasuredBandwidths: 1 });
    const fast = snapshot(crowd(2), { bandwidthMbps: () => 900 });
    expect(one(fast, goal)).toMatchObject({ unmeasuredBandwidths: 0, unmeasured: 0 });
    expect(text(fast)).toContain("would be met by node-1, node-2");
    const slow = snapshot(crowd(2), { bandwidthMbps: (from) => (from === idOf(0) ? 900 : 100) });
    expect(one(slow, goal).members).toBeUndefined();
    expect(text(slow)).toContain("A least bandwidth in Mbit/s of 100 would meet it.");
  });

  test("takes a region from what a node says, and none for one that says none", () => {
    const machine = { cpus: 4, memoryBytes: 2 ** 33, gpus: 0 };
    const inRegion = (index: number, region?: string): Member => {
      const evidence = { tee: "tdx", simulated: true, tcbStatus: "UpToDate", attestedMs: 0 };
      return member(index, {
        evidence: { ...evidence, machine: region === undefined ? machine : { ...machine, region } },
      });
    };
    const view = snapshot([inRegion(0, "eu"), inRegion(1), inRegion(2, "us")]);
    const apart = one(view, { ...COMPUTE, size: { min: 2, max: 2 }, regionsMin: 2 });
    expect(apart.members?.map(({ name }) => name)).toEqual(["node-1", "node-3"]);
    const here = one(view, { ...COMPUTE, regions: ["eu"] });
    expect(here.misfits.map(({ member: { name }, reasons }) => [name, reasons[0]])).toEqual([
      ["node-2", "its region is unknown, eu is wanted"],
      ["node-3", "its region is us, eu is wanted"],
    ]);
  });

  test("says what would do in words: memory in a unit, and nothing of a least number of none", () => {
    const gpus = one(snapshot(crowd(2)), { ...COMPUTE, gpusMin: 1 });
    expect(renderForecast(gpus, PLAIN).join("\n")).toContain(
      "Without a least number of GPUs per node it would be met.",
    );
    const memory = one(snapshot(crowd(2)), { ...COMPUTE, memoryBytesMin: 2 ** 40 });
    expect(renderForecast(memory, PLAIN).join("\n")).toContain(
      "A least memory per node of 8589934592 bytes (8.0 GiB) would meet it.",
    );
  });

  test("names the goal once where the leader's words are shown", () => {
    const view = snapshot(crowd(2), { unmet: { compute: "Goal compute: 1 of 2 nodes fit, 2 are needed." } });
    expect(renderStatus(view, PLAIN).join("\n")).toContain("compute: 1 of 2 nodes fit, 2 are needed.");
    const layout = { columns: 120, rows: 40, style: PLAIN, matrix: false };
    expect(renderTop(view, new History(), layout).join("\n")).toContain(
      "compute not met: 1 of 2 nodes fit, 2 are needed.",
    );
  });
});
