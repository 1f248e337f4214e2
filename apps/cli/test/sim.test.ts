import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

const example = (name: string): string =>
  fileURLToPath(new URL(`../../../examples/${name}`, import.meta.url));
const STORM = ["--script", example("swarm/storm.txt"), "--goals", example("goals/marketplace.json")];

test("the example's storm runs on the example's goals and regions, and draws a page that needs nothing else", async () => {
  using folder = temporaryFolder();
  const output = folder.file("timeline.html");
  const args = [
    "sim",
    "--seconds",
    "75",
    "--topology",
    example("swarm/regions.json"),
    ...STORM,
    "-o",
    output,
  ];
  const { exitCode, json } = await runJson(args);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({ nodes: 40, seed: 1, simulatedSeconds: 75, output });
  const goals = json["goals"] as { goalId: string; met: boolean }[];
  expect(goals.map(({ goalId, met }) => [goalId, met])).toEqual(
    ["compute", "key-release", "storage", "inference"].map((id) => [id, true]),
  );
  const [kill] = json["recoveries"] as { text: string; leaderHit: boolean; leaderMs?: number }[];
  expect(kill).toMatchObject({ text: "kill leader", leaderHit: true });
  expect(kill?.leaderMs).toBeGreaterThan(0);
  const html = readFileSync(output, "utf8");
  expect(html).toContain("<h1>A swarm of 40 nodes</h1>");
  expect(html).not.toMatch(/<script|(src|href)=/);
});

test("a run is told in words, and the same again for the same seed", async () => {
  const run = () => runCli(["sim", "--nodes", "8", "--seconds", "4", "--seed", "9"]);
  const [first, second] = [await run(), await run()];
  expect(first).toMatchObject({ exitCode: 0, stderr: "" });
  expect(first.stdout).toMatch(/★ node \d in [a-z-]+ leads, term 1\n/);
  expect(first.stdout).toMatch(/How the goals stand\n {2}met {6}compute: epoch 1, nodes \d/);
  expect(first.stdout).toMatch(/8 nodes, 4 s simulated in [\d.]+ s, \d+ messages/);
  const timeless = (text: string): string => text.replace(/simulated in [\d.]+ s/, "");
  expect(timeless(second.stdout)).toBe(timeless(first.stdout));
});

test.each([
  [["--nodes", "0"], "USAGE_INVALID_ARGUMENT", 2],
  [["--nodes", "99999"], "USAGE_INVALID_ARGUMENT", 2],
  [["--loss", "lots"], "USAGE_INVALID_ARGUMENT", 2],
  [["--script", "SCRIPT"], "SIM_SCRIPT_MALFORMED", 1],
  [["--goals", "GOALS"], "GOAL_MALFORMED", 1],
  [["--topology", "TOPOLOGY"], "SIM_TOPOLOGY_MALFORMED", 1],
  [["--topology", "GOALS"], "SIM_TOPOLOGY_MALFORMED", 1],
  [["--script", "missing.txt"], "FILE_NOT_FOUND", 4],
  [["--output", "SCRIPT"], "FILE_EXISTS", 1],
])("%j is refused before anything runs", async (args, code, exitCode) => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("SCRIPT"), "5s kill leader\n6s explode 3\n");
  writeFileSync(folder.file("GOALS"), '[{"id": "a",\n"kind": }]');
  writeFileSync(folder.file("TOPOLOGY"), '{"regions": [{"name": "eu", "nodes": -1}]}');
  const { json, exitCode: ended } = await runJson(["sim", ...args], { cwd: folder.path });
  expect({ code: (json["error"] as { code: string }).code, exitCode: ended }).toEqual({ code, exitCode });
});

test("a bad line of a script is named by its number, with what would be right", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("script"), "# fine\n5s kill leader\n6s explode 3\n");
  const { stderr } = await runCli(["sim", "--script", "script"], { cwd: folder.path });
  expect(stderr).toMatch(
    /^error SIM_SCRIPT_MALFORMED: Line 3: "explode" is no action; there are kill, start,/,
  );
  expect(stderr).toContain('hint: Write for example "5s kill leader"');
});
