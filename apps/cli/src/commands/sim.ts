import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { parseCount } from "../cli/parse.ts";

const NODES_MAX = 10_000;
const SECONDS_MAX = 3_600;

interface SimOptions {
  readonly nodes?: number;
  readonly seed: number;
  readonly seconds?: number;
  readonly goals?: string;
  readonly script?: string;
  readonly topology?: string;
  readonly loss?: number;
  readonly output?: string;
  readonly force?: boolean;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "sim")
    .description(
      "Try your own goals on machines of your own design, before there are any: the nodes' own swarm core runs on a " +
        "simulated clock, network and chain, a script does them harm, and you see who leads, which groups form, and " +
        "how fast they get over it. The same files and the same seed give the same run.",
    )
    .option(
      "--nodes <count>",
      "how many nodes (default: as the topology says, else 60)",
      within(1, NODES_MAX),
    )
    .option("--seed <number>", "another seed, another run", parseCount, 1)
    .option(
      "--seconds <count>",
      "how long, in simulated seconds (default: 30, or 15 beyond the script's last line)",
      within(1, SECONDS_MAX),
    )
    .option(
      "--goals <file>",
      "goals, as JSON, - for standard input (default: one group of three within 100 ms)",
    )
    .option(
      "--script <file>",
      "what happens when: kills, partitions, slow links, floods, revocations …; - for standard input",
    )
    .option("--topology <file>", "regions and the links between them, or a matrix of round trips, as JSON")
    .option(
      "--loss <percent>",
      "share of messages that are lost (default: as the topology says)",
      parsePercent,
    )
    .option("-o, --output <file>", "draw the run as a page of HTML that needs nothing else")
    .option("--force", "replace the output file")
    .addHelpText(
      "after",
      examples(
        ["cloister sim -o timeline.html", "60 nodes over six regions, and a picture of them"],
        [
          "cloister sim --nodes 1000 --seed 7 --script storm.txt --goals goals.json -o timeline.html",
          "your own goals, your own storm",
        ],
      ),
    )
    .action((options: SimOptions) => sim(context, options));
}

function within(least: number, most: number): (text: string) => number {
  return (text) => {
    const count = parseCount(text);
    if (count >= least && count <= most) return count;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

function parsePercent(text: string): number {
  const match = /^(\d{1,2}(?:\.\d{1,3})?) ?%?$/.exec(text);
  if (match !== null) return Number(match[1]) / 100;
  throw new InvalidArgumentError("It must be a share such as 1%.");
}

async function sim(context: Context, options: SimOptions): Promise<void> {
  const { requireFree, writeWhole } = await import("../cli/files.ts");
  const { chronicleOf, storyText, timelineHtml } = await import("@cloister/sim");
  const story = await prepare(options);
  const { output } = options;
  const { notRun } = story;
  if (notRun.length > 0) context.output.warn(lateLines(story));
  if (output !== undefined) await requireFree(output, options);
  const startedMs = performance.now();
  await run(context, story);
  const tookSeconds = (performance.now() - startedMs) / 1000;
  const chronicle = chronicleOf(story);
  if (output !== undefined) {
    await writeWhole(output, [new TextEncoder().encode(timelineHtml(story, chronicle))], options);
  }
  const { topology, world, endMs } = story;
  const { happenings, recoveries, outcomes } = chronicle;
  const { orders } = story;
  const facts = {
    ...{ nodes: topology.nodes, seed: options.seed, simulatedSeconds: endMs / 1000 },
    ...{ tookSeconds: Number(tookSeconds.toFixed(1)), traceHash: world.traceHash },
  };
  const document = { ...facts, figures: world.figures, goals: outcomes, recoveries, happenings, output };
  context.output.result(document, () => [
    ...storyText(chronicle),
    "",
    ...(orders === 0 ? [] : [`${world.figures.settled} of ${orders} orders settled.`]),
    `${topology.nodes} nodes, ${endMs / 1000} s simulated in ${facts.tookSeconds} s, ${world.figures.messages} messages, ` +
      `${world.checker.checks} checks of invariants, none broken.`,
    ...(output === undefined ? [] : [`The picture is in ${output}.`]),
  ]);
}

function lateLines({ notRun, endMs }: Awaited<ReturnType<typeof prepare>>): string {
  const [first] = notRun;
  const lines =
    notRun.length === 1
      ? `Line ${first?.line} of the script comes`
      : `${notRun.length} lines of the script, from line ${first?.line} on, come`;
  return `${lines} after the end at ${endMs / 1000} s and will not be run. Without --seconds the run is long enough for all.`;
}

/** Reads everything before anything runs. */
async function prepare(options: SimOptions) {
  const { fromUtf8 } = await import("@cloister/core");
  const { readTopology, Story, worldTopology } = await import("@cloister/sim");
  const { parseJsonDocument, readGoals } = await import("../cli/goal-file.ts");
  const { readDocument } = await import("../cli/files.ts");
  const text = async (file: string): Promise<string> =>
    fromUtf8(await readDocument(file, DOCUMENT_BYTES_MAX));
  const goals = options.goals === undefined ? [FIRST_GOAL] : await readGoals(options.goals);
  const { nodes, seed, loss } = options;
  const topology =
    options.topology === undefined
      ? worldTopology(nodes ?? NODES_DEFAULT, seed)
      : readTopology(
          parseJsonDocument(await text(options.topology), options.topology, "SIM_TOPOLOGY_MALFORMED"),
          seed,
          nodes,
        );
  const script = options.script === undefined ? "" : await text(options.script);
  return new Story({
    ...{ nodes: topology.nodes, seed, goals, script, topology },
    ...(options.seconds === undefined ? {} : { seconds: options.seconds }),
    ...(loss === undefined ? {} : { loss }),
  });
}

const NODES_DEFAULT = 60;
const DOCUMENT_BYTES_MAX = 32 * 1024 * 1024;
const FIRST_GOAL = {
  ...{ id: "compute", kind: "compute" as const, size: { min: 3, max: 3 }, latencyMsMax: 100 },
};

const SLICE_MS = 100;

/** Runs in slices, so that the progress line and Ctrl-C get their turn. */
async function run(context: Context, story: Awaited<ReturnType<typeof prepare>>): Promise<void> {
  const progress = context.output.progress("simulating");
  try {
    while (!story.done) {
      story.advance(SLICE_MS);
      const { nowMs } = story.world;
      progress.label(
        `simulating ${story.topology.nodes} nodes: ${(nowMs / 1000).toFixed(1)} of ${story.endMs / 1000} s`,
      );
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    progress.end();
  }
}
