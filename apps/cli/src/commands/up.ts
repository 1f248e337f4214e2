import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import type { NetworkFacts } from "../network/start.ts";

interface UpOptions {
  readonly nodes: string;
  readonly portBase?: string;
  readonly detach?: boolean;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "up")
    .description(
      "Start a local network: a chain, a certification authority and CVM nodes with simulated TEEs, each a process " +
        "of its own. State is kept in --home; starting again goes on where the network was, however it ended.",
    )
    .option("--nodes <count>", "how many CVM nodes", "3")
    .option("--port-base <port>", "first of the ports to use (default: the ones used before, else 7640)")
    .option("--detach", "return once the network is ready, and leave it running")
    .addHelpText(
      "after",
      examples(
        ["cloister up", "run until Ctrl-C"],
        ["cloister up --detach", "run in the background; `cloister down` stops it"],
        ["cloister --home /tmp/a up --port-base 9000", "a second network beside the first"],
      ),
    )
    .action((options: UpOptions) => up(context, options));
}

async function up(context: Context, options: UpOptions): Promise<void> {
  const start = await import("../network/start.ts");
  const nodes = start.readNodeCount(options.nodes);
  const portBase = start.readPortBase(context.home, options.portBase);
  if (options.detach === true) {
    await start.detachNetwork(context.home, nodes, portBase);
    return show(context, await start.untilReady(context.home));
  }
  const progress = (step: string): void => context.output.note(step);
  const network = await start.LocalNetwork.start({ home: context.home, nodes, portBase, progress });
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  await Promise.race([stopped, start.untilReady(context.home).then((facts) => show(context, facts))]);
  await stopped;
  context.output.note("stopping");
  await network.stop();
  // What still waits for an answer of a network that is gone must not hold the process.
  process.exit(0);
}

function show(context: Context, facts: NetworkFacts): void {
  const { home, output } = context;
  output.result({ ...facts, home }, () => [
    output.style.bold("The network is ready."),
    output.style.warn("SIMULATED: its TEEs prove nothing about hardware."),
    `  leader     ${facts.leader} (term ${facts.term})`,
    ...facts.groups.map(({ goalId, members }) => `  group      ${goalId}: ${members.length} nodes`),
    `  seal to    ${facts.releaseGroup}`,
    `  state      ${home}`,
  ]);
}
