import { setTimeout as wait } from "node:timers/promises";
import type { Command } from "commander";
import { CloisterError } from "@cloister/core";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { runningProcess } from "../network/process-file.ts";

const STOPS_WITHIN_MS = 15_000;

export function register(program: Command, context: Context): void {
  commandOf(program, "down")
    .description("Stop the local network of --home. Its state stays; `cloister up` goes on with it.")
    .addHelpText("after", examples(["cloister down", "stop the network of ./.cloister"]))
    .action(() => down(context));
}

async function down(context: Context): Promise<void> {
  const { layoutOf } = await import("../network/layout.ts");
  const { supervisorPidFile, home } = layoutOf(context.home);
  const supervisor = runningProcess(supervisorPidFile);
  if (supervisor === undefined) {
    throw new CloisterError("NETWORK_NOT_RUNNING", `No network runs in ${home}.`, {
      hint: "Start one with `cloister up`.",
    });
  }
  process.kill(supervisor.pid, "SIGTERM");
  for (let waitedMs = 0; waitedMs < STOPS_WITHIN_MS && supervisor.runs(); waitedMs += 50) await wait(50);
  if (supervisor.runs()) process.kill(supervisor.pid, "SIGKILL");
  context.output.result({ stopped: true, home }, () => `The network of ${home} is stopped.`);
}
