import { Option, type Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { parseInterval } from "../cli/parse.ts";
import type { PassphraseOptions } from "../cli/passphrase.ts";
import type { History } from "../cli/swarm-top.ts";
import type { SwarmSnapshot } from "../network/swarm-view.ts";

export function register(program: Command, context: Context): void {
  const swarm = commandOf(program, "swarm").description(
    "See how the nodes organise themselves: who leads, who is in, which groups meet which goals, and why not.",
  );
  swarm
    .command("status")
    .summary("show the leader, the members, the groups and the quorum")
    .description(
      "Show the swarm of the network of --home as its leader sees it: term and quorum, each member's state, round " +
        "trip, incarnation, TCB and certificate, and the groups with their epochs.",
    )
    .option("--matrix", "also show the round trips between all members")
    .addHelpText("after", examples(["cloister swarm status", "the swarm of ./.cloister"]))
    .action((options: { matrix?: boolean }) => status(context, options.matrix === true));
  registerGoals(swarm, context);
  swarm
    .command("explain")
    .summary("say why a goal is met or not, and what would meet it")
    .description(
      "Say in sentences which group meets a goal and with how much room; or why none does, which members cannot be " +
        "in one and why, and what would meet it.",
    )
    .argument("<goal>", "the goal's id")
    .addHelpText("after", examples(["cloister swarm explain compute", "a goal that the chain declares"]))
    .action((goalId: string) => explain(context, goalId));
  swarm
    .command("top")
    .summary("watch the swarm live; q ends it")
    .description(
      "Watch the swarm in the terminal: leader, term, members with round trips, CPU and traffic, and what happens. " +
        "Keys: q ends, p pauses, m switches between sparklines and the matrix of round trips. Off a terminal it " +
        "prints one picture and ends.",
    )
    .addOption(
      new Option("--interval <time>", "how often to look").argParser(parseInterval).default(1_000, "1s"),
    )
    .option("--once", "print one picture and end")
    .addHelpText("after", examples(["cloister swarm top --interval 2s", "look every two seconds"]))
    .action((options: TopOptions) => top(context, options));
}

function registerGoals(swarm: Command, context: Context): void {
  const goals = swarm
    .command("goals")
    .summary("list goals; try, declare and retire your own")
    .description(
      "A goal is a document that says what a group of nodes must be like; the swarm forms a group for each that can " +
        "be met. Without a further word: list the goals of this network.",
    )
    .action(() => listGoals(context));
  goals
    .command("check")
    .summary("try goals: which nodes would form the group")
    .description(
      "Read goals from a JSON file (one, or a list), strictly, and say which nodes would form their groups if they " +
        "were declared now. Nothing is declared. Exit code 1 when one of them could not be met.",
    )
    .argument("<file>", "JSON file, - for standard input")
    .addHelpText("after", examples(["cloister swarm goals check near.json", "a forecast, nothing else"]))
    .action((file: string) => checkGoals(context, file));
  goals
    .command("declare")
    .alias("add")
    .summary("put goals on the chain")
    .description(
      "Put goals on the chain for the swarm to meet, or change those that the account declared before. Each goal " +
        "belongs to the account that declared it first.",
    )
    .argument("<file>", "JSON file, - for standard input")
    .requiredOption("--as <account>", "whose goals they are")
    .option("--dry-run", "only try them, as `goals check` does")
    .option("--passphrase-file <file>", "the account's passphrase")
    .action((file: string, options: DeclareOptions) => declareGoals(context, file, options));
  goals
    .command("retire")
    .summary("end a goal")
    .description("End a goal: nobody keeps its group together any more. Its owner can declare it again.")
    .argument("<goal>", "the goal's id")
    .requiredOption("--as <account>", "its owner")
    .option("--passphrase-file <file>", "the account's passphrase")
    .action((goalId: string, options: DeclareOptions) => retireGoal(context, goalId, options));
}

interface DeclareOptions extends PassphraseOptions {
  readonly as: string;
  readonly dryRun?: boolean;
}

interface TopOptions {
  readonly interval: number;
  readonly once?: boolean;
}

async function snapshot(context: Context) {
  const { Client } = await import("../network/client.ts");
  const { snapshotOf } = await import("../network/swarm-view.ts");
  const client = await Client.open(context.home);
  return { client, view: await snapshotOf(client, context.nowMs()) };
}

async function status(context: Context, matrix: boolean): Promise<void> {
  const { renderStatus, statusDocument } = await import("../cli/swarm-text.ts");
  const { view } = await snapshot(context);
  const columns = process.stdout.isTTY === true ? process.stdout.columns : Infinity;
  context.output.result(statusDocument(view), () =>
    renderStatus(view, context.output.style, { matrix, columns }),
  );
}

async function listGoals(context: Context): Promise<void> {
  const { renderGoals, goalsDocument } = await import("../cli/swarm-text.ts");
  const { view } = await snapshot(context);
  context.output.result(goalsDocument(view), () => renderGoals(view, context.output.style));
}

async function checkGoals(context: Context, file: string): Promise<void> {
  const { readGoals } = await import("../cli/goal-file.ts");
  const goals = await readGoals(file);
  const { forecast } = await import("../network/goal-plan.ts");
  const { forecastDocument, renderForecast } = await import("../cli/swarm-text.ts");
  const { view } = await snapshot(context);
  const forecasts = forecast(view, goals);
  context.output.result({ goals: forecasts.map(forecastDocument) }, () =>
    forecasts.flatMap((one) => renderForecast(one, context.output.style)),
  );
  if (forecasts.some(({ members }) => members === undefined)) process.exitCode = 1;
}

async function declareGoals(context: Context, file: string, options: DeclareOptions): Promise<void> {
  if (options.dryRun === true) return checkGoals(context, file);
  const { readGoals } = await import("../cli/goal-file.ts");
  const goals = await readGoals(file);
  const { Client } = await import("../network/client.ts");
  const { accountFor } = await import("../cli/account.ts");
  const { declare } = await import("../network/goals.ts");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  await declare(client, account, goals);
  const ids = goals.map(({ id }) => id);
  context.output.result({ declared: ids, owner: account.address }, () => [
    `Declared: ${ids.join(", ")}. The swarm forms a group for each that it can meet.`,
    `\`cloister swarm explain ${ids[0] ?? ""}\` says how it stands.`,
  ]);
}

async function retireGoal(context: Context, goalId: string, options: DeclareOptions): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { accountFor } = await import("../cli/account.ts");
  const { retire } = await import("../network/goals.ts");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  await retire(client, account, goalId);
  context.output.result({ retired: goalId }, () => `The goal ${goalId} is retired.`);
}

async function explain(context: Context, goalId: string): Promise<void> {
  const { explainGoal } = await import("../cli/swarm-text.ts");
  const { view } = await snapshot(context);
  const { document, lines } = explainGoal(view, goalId);
  context.output.result(document, () => lines);
}

async function top(context: Context, { interval, once }: TopOptions): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { snapshotOf } = await import("../network/swarm-view.ts");
  const { statusDocument } = await import("../cli/swarm-text.ts");
  const { History, renderTop } = await import("../cli/swarm-top.ts");
  const { COLUMNS_DEFAULT, LiveScreen } = await import("../cli/live-screen.ts");
  const client = await Client.open(context.home);
  const look = () => snapshotOf(client, context.nowMs());
  const history = new History();
  if (context.json || once === true || !LiveScreen.available()) {
    const view = await look();
    history.add(view);
    const size = { columns: process.stdout.columns || COLUMNS_DEFAULT, rows: Infinity };
    return context.output.result(statusDocument(view), () =>
      renderTop(view, history, { ...size, style: context.output.style, matrix: true }),
    );
  }
  let matrix = false;
  let trouble: string | undefined;
  await new LiveScreen({
    intervalMs: interval,
    keys: { m: () => void (matrix = !matrix) },
    draw: async (size, fresh) => {
      if (fresh || history.last === undefined) trouble = await seeOnce(history, look);
      const view = history.last as SwarmSnapshot;
      return renderTop(view, history, { ...size, style: context.output.style, matrix, trouble });
    },
  }).run();
}

/** Looks once more; when that fails and there is an older picture, says why it is shown. */
async function seeOnce(history: History, look: () => Promise<SwarmSnapshot>): Promise<string | undefined> {
  try {
    history.add(await look());
    return undefined;
  } catch (error) {
    if (history.last === undefined) throw error;
    return error instanceof Error ? error.message : String(error);
  }
}
