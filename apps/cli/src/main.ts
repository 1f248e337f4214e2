/**
 * The `cloister` command line.
 *
 * How a command is added:
 * 1. `src/commands/NAME.ts` exports `register(program, context)`. It finds its own entry with
 *    `commandOf(program, NAME)`, adds arguments, options, `examples(…)` and an action.
 * 2. One line in the table of `src/commands.ts` names it, its group and its half-line for the overview.
 * 3. The action gives its result to `context.output.result(value, human)`: `value` is what `--json` prints, and
 *    is a stable interface. What is said on the way goes through `note`, `warn` and `progress`.
 * 4. Anything wrong is thrown: a `CloisterError` (or any error with a SCREAMING_SNAKE `code` and a `hint`).
 *    `src/cli/errors.ts` derives the exit code from the code: `USAGE_…` 2, `…_UNREACHABLE` and the like 3,
 *    `…_NOT_FOUND` and `ORDER_UNKNOWN` and the like 4, refusals and other codes 1, no code 5 (a bug). Nothing calls `process.exit`.
 * 5. Heavy packages are imported inside the action (`await import(…)`), so that `--help` stays quick.
 */
import { CloisterError, formatEther } from "@cloister/core";
import { Command, CommanderError, Help, type Option } from "commander";
import { createContext, type Context } from "./cli/context.ts";
import { EXIT, failureOf } from "./cli/errors.ts";
import { COMMANDS, GROUPS } from "./commands.ts";

const VERSION = "0.1.0";

const OVERVIEW = `
Examples:
  cloister demo                        see three parties train a model on data none of them can see
  cloister up                          start a local network and keep it running
  cloister verify proof.cloister       check a proof, offline and without an account
  cloister help seal                   learn one command

Exit codes:
  0 done   1 refused or failed   2 wrong usage   3 environment (port, chain, disk)   4 not found   5 a bug

Environment:
  CLOISTER_HOME   folder with the state, as --home (default ./.cloister)
  NO_COLOR        no colors, as --no-color
  CLOISTER_DEBUG  show where a bug happened
`;

/** Runs one command line and returns its exit code. Never throws. */
export async function main(argv: readonly string[]): Promise<number> {
  stopQuietlyOnClosedPipe();
  const program = createProgram();
  const context = createContext(program, process.env);
  try {
    await loadCommands(program, context, argv);
    await program.parseAsync(helpLast(program, argv), { from: "user" });
    return typeof process.exitCode === "number" ? process.exitCode : EXIT.ok;
  } catch (error) {
    return report(error, context, pathOf(program, argv));
  }
}

function createProgram(): Command {
  return new Command("cloister")
    .description("A confidential AI cloud and marketplace that nobody has to trust.")
    .version(VERSION, "-V, --version", "print the version")
    .option("--json", "print one JSON document instead of text")
    .option("--home <dir>", "folder with the state (default: ./.cloister, or CLOISTER_HOME)")
    .option("-q, --quiet", "print results and errors only")
    .option("--no-color", "print without colors")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help for a command")
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: true, optionDescription: describeOption })
    .addHelpText("after", OVERVIEW)
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
}

/** Amounts of money are bigints, which commander cannot print; people read them in whole coins. */
function describeOption(option: Option): string {
  if (typeof option.defaultValue === "bigint") {
    option.defaultValueDescription ??= formatEther(option.defaultValue);
  }
  return new Help().optionDescription(option);
}

/** Puts every command into the overview, and loads the file of the one that is asked for. */
async function loadCommands(program: Command, context: Context, argv: readonly string[]): Promise<void> {
  const byGroup = GROUPS.flatMap((group) => COMMANDS.filter((command) => command.group === group));
  for (const { name, group, summary } of byGroup) {
    program.command(name).summary(summary).helpGroup(group).exitOverride();
  }
  const { operands } = program.parseOptions([...argv]);
  const name = operands[0] === "help" ? operands[1] : operands[0];
  const entry = COMMANDS.find((command) => command.name === name);
  if (entry !== undefined) (await entry.load()).register(program, context);
}

/**
 * `help offers publish` means `offers publish --help`; commander's own help takes one command only.
 * @throws {CloisterError} `USAGE_UNKNOWN_COMMAND`
 */
function helpLast(program: Command, argv: readonly string[]): readonly string[] {
  const { operands } = program.parseOptions([...argv]);
  const [first, ...path] = operands;
  if (first !== "help" || path.length < 2) return argv;
  let command = program;
  for (const name of path) {
    const below = command.commands.find((one) => one.name() === name || one.aliases().includes(name));
    if (below === undefined) throw unknownCommand(command, name);
    command = below;
  }
  return [...path, "--help"];
}

function unknownCommand(command: Command, name: string): CloisterError {
  const known = command.commands.map((one) => one.name()).filter((one) => one !== "help");
  const where = command.name();
  const hint = known.length === 0 ? `It has none.` : `It has ${known.join(", ")}.`;
  return new CloisterError("USAGE_UNKNOWN_COMMAND", `"${where}" has no command "${name}".`, { hint });
}

/** The command that is meant, as far as its names go: `consent check`. */
function pathOf(program: Command, argv: readonly string[]): string {
  const path: string[] = [];
  let command = program;
  for (const word of argv) {
    const below = command.commands.find((one) => one.name() === word);
    if (below === undefined) continue;
    path.push(word);
    command = below;
  }
  return path.join(" ");
}

function report(error: unknown, context: Context, path: string): number {
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
  if (error instanceof CommanderError && error.code === "commander.help") return EXIT.usage;
  const failure = failureOf(error instanceof CommanderError ? usageError(error, path) : error);
  context.output.failure(failure);
  return failure.exitCode;
}

/** `commander.unknownOption` → `USAGE_UNKNOWN_OPTION`, with commander's suggestion as the hint. */
function usageError(error: CommanderError, path: string): CloisterError {
  const code = error.code
    .replace(/^commander\./, "")
    .replaceAll(/[A-Z]/g, (letter) => `_${letter}`)
    .toUpperCase();
  const [first = "", second = ""] = error.message.replace(/^error: /, "").split("\n");
  const suggestion = /^\((.*)\)$/.exec(second)?.[1];
  const help = `Run \`cloister ${path === "" ? "--help" : `help ${path}`}\` to see how it is used.`;
  const sentence = `${first.charAt(0).toUpperCase()}${first.slice(1).replace(/\.$/, "")}.`;
  return new CloisterError(`USAGE_${code}`, sentence, { hint: suggestion ?? help });
}

/** `cloister … | head` ends without a complaint. */
function stopQuietlyOnClosedPipe(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT.ok);
    throw error;
  });
}
