import type { Command } from "commander";
import { commandOf } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";

/** What a supervisor starts: one CVM process, from its configuration file. */
export function register(program: Command, _context: Context): void {
  commandOf(program, "cvm")
    .description(
      "Run one CVM of a local network. `cloister up` starts it; there is no need to do so by hand.",
    )
    .argument("<config>", "configuration file")
    .action(async (configFile: string) => {
      const { leaveWithParent, runCvm } = await import("../network/cvm-process.ts");
      leaveWithParent();
      await runCvm(configFile);
      await new Promise(() => undefined);
    });
}
