/** Small help for registering commands. */
import { assertInvariant } from "@cloister/core";
import type { Command } from "commander";

/** The command's entry in the overview, to be filled with arguments, options and an action. */
export function commandOf(program: Command, name: string): Command {
  const command = program.commands.find((one) => one.name() === name);
  assertInvariant(command !== undefined, `the command ${name} is in the table`);
  return command;
}

/** Examples under a command's help: each line a command, what it does behind it. */
export function examples(...lines: readonly (readonly [command: string, effect: string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length));
  return ["", "Examples:", ...lines.map(([command, effect]) => `  ${command.padEnd(width)}  ${effect}`)].join(
    "\n",
  );
}

/** For options that may be given several times. */
export function collectValues(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}
