import { join } from "node:path";
import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";

export function register(program: Command, context: Context): void {
  commandOf(program, "demo")
    .description(
      "Run the whole idea once on this machine, with real processes, a real chain and real data: two field stations and " +
        "the author of an engine train one model on data that none of them can see. Then try to cheat, four times.",
    )
    .addHelpText(
      "after",
      examples(
        ["cloister demo", "watch it"],
        ["cloister --json demo", "the same as one JSON document"],
        ["cloister verify .cloister/demo/proof.cloister", "afterwards: check its proof, offline"],
      ),
    )
    .action(() => demo(context));
}

async function demo(context: Context): Promise<void> {
  const { runDemo, showDemo } = await import("../network/demo.ts");
  const { output } = context;
  const startedMs = context.nowMs();
  const seconds = (): string => ((context.nowMs() - startedMs) / 1000).toFixed(1).padStart(5);
  const report = await runDemo(join(context.home, "demo"), (step) => output.note(`${seconds()} s  ${step}`));
  output.result(report, () => showDemo(report, output.style.bold));
  // Pooled connections to a network that has stopped must not hold the process.
  process.exit(0);
}
