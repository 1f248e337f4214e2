import { join } from "node:path";
import { CloisterError, type Address } from "@cloister/core";
import { Option, type Command } from "commander";
import type { LogOptions } from "../network/log-access.ts";
import type { Finding, LogWatch, WatchStep } from "../network/log-watch.ts";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { EXIT } from "../cli/errors.ts";
import { parseInterval } from "../cli/parse.ts";
import { usageError } from "../cli/usage.ts";
import { layoutOf } from "../network/layout.ts";

interface MonitorOptions extends LogOptions {
  readonly about?: string[];
  readonly account?: string;
  readonly state?: string;
  readonly every: number;
  readonly once?: boolean;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "monitor")
    .description(
      "Follow the transparency log, entry by entry, and hear of every certificate, report, refusal and key release about you. It rebuilds the log's tree itself and remembers the last checkpoint: a log that forks, goes back, or does not continue the root on the chain ends it with exit code 1, and both checkpoints are kept as evidence.",
    )
    .option(
      "--about <id>",
      "an address, node, order, offer, digest, measurement or key to hear about, or its beginning; may be given several times",
      collectValues,
    )
    .option(
      "--account <name>",
      "an account (its name, or 0x…): it, what it offers, and every order of it or on that",
    )
    .option("--state <folder>", "where to remember how far it came (default: monitor in the state folder)")
    .option("--url <address>", "the log's server (default: that of the network in --home)")
    .option("--key <name+id+key>", "the log's key (default: the one that the network's authority certifies)")
    .addOption(
      new Option("--every <time>", "how often to look").argParser(parseInterval).default(10_000, "10s"),
    )
    .option("--once", "look once, and end")
    .addHelpText(
      "after",
      examples(
        ["cloister monitor --account clinic", "every use of what the clinic offers, as it comes"],
        [
          "cloister monitor --about 0x4f… --once",
          "from cron: is there news of this node, and is the log honest?",
        ],
      ),
    )
    .action((options: MonitorOptions) => monitor(options, context));
}

async function monitor(options: MonitorOptions, context: Context): Promise<void> {
  const { openLog } = await import("../network/log-access.ts");
  const { LogWatch } = await import("../network/log-watch.ts");
  const layout = layoutOf(context.home);
  const access = await openLog(context.home, options, context.nowMs());
  const account = await addressOf(options.account, context);
  const folder = options.state ?? join(layout.home, "monitor");
  const subjects = options.about ?? [];
  requireLength(subjects);
  const watch = await LogWatch.open(access, folder, { subjects, account }, context.nowMs());
  if (options.once === true) return lookOnce(watch, context);
  if (subjects.length === 0 && account === undefined) {
    context.output.note("Nobody is named with --about or --account: only the log's honesty is watched.");
  }
  await lookForever(watch, options.every, context);
}

/** A short beginning would be found in everything. */
function requireLength(subjects: readonly string[]): void {
  const short = subjects.find((subject) => subject.replace(/^(0x|sha256:)/, "").length < 4);
  if (short === undefined) return;
  throw usageError("USAGE_ABOUT_SHORT", `"${short}" is too short to name something.`, "Give more of it.");
}

async function addressOf(account: string | undefined, context: Context): Promise<Address | undefined> {
  if (account === undefined) return undefined;
  const { addressNamed } = await import("../network/accounts.ts");
  return addressNamed(layoutOf(context.home), account);
}

async function lookOnce(watch: LogWatch, context: Context): Promise<void> {
  const step = await watch.step(context.nowMs());
  if (step.refusal !== undefined) throw caught(step);
  const { size, read, findings } = step;
  if (findings.some(({ alarm }) => alarm !== undefined)) process.exitCode = EXIT.refused;
  context.output.result({ size, read, findings: findings.map(documentOf) }, () => [
    ...findings.flatMap((finding) => linesOf(finding, context)),
    `${read} new of ${size} entries; ${findings.length} about what is watched. The log tells one story.`,
  ]);
}

/** Ends only when the log is caught; a server or a chain that does not answer is asked again. */
async function lookForever(watch: LogWatch, everyMs: number, context: Context): Promise<void> {
  const { setTimeout: wait } = await import("node:timers/promises");
  const { failureOf } = await import("../cli/errors.ts");
  for (;;) {
    try {
      const step = await watch.step(context.nowMs());
      if (step.refusal !== undefined) throw caught(step);
      for (const finding of step.findings) {
        context.output.event(documentOf(finding), () => linesOf(finding, context));
      }
    } catch (error) {
      const { code, message, exitCode } = failureOf(error);
      if (exitCode !== EXIT.environment) throw error;
      context.output.note(`${code}: ${message} Looking again in ${everyMs / 1000} s.`);
    }
    await wait(everyMs);
  }
}

function caught({ refusal, evidence = [] }: WatchStep): CloisterError {
  return new CloisterError(refusal?.code ?? "LOG_FORKED", refusal?.reason ?? "", {
    hint: `${refusal?.hint ?? ""} The evidence: ${evidence.join(", ")}.`.trim(),
    details: { evidence },
  });
}

function documentOf({ index, view, alarm }: Finding): Record<string, unknown> {
  const { mentions: _, certifies: __, ...entry } = view;
  return { index, ...entry, ...(alarm === undefined ? {} : { alarm }) };
}

function linesOf({ index, view, alarm }: Finding, context: Context): string[] {
  const at = view.atMs === undefined ? "" : ` ${new Date(view.atMs).toISOString().slice(0, 19)}`;
  const line = `entry ${index}${at}  ${view.what}`;
  return alarm === undefined ? [line] : [line, context.output.style.bad(`  ALARM: ${alarm}`)];
}
