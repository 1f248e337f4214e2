import { formatDuration } from "@cloister/core";
import type { Command } from "commander";
import { failureOf } from "../cli/errors.ts";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatTable } from "../cli/output.ts";
import { parseCount, parseDuration, parseRegion } from "../cli/parse.ts";
import type { RunningCvm } from "../network/cvm-process.ts";

export function register(program: Command, context: Context): void {
  const node = commandOf(program, "node").description(
    "Provide a machine to the network, and see which there are.",
  );
  node
    .command("join")
    .summary("run one more CVM node on this machine")
    .description(
      "Run one more CVM node on this machine until Ctrl-C: it proves itself to the certification authority, registers, " +
        "and takes part in the swarm. What it earns is credited to the account that runs it.",
    )
    .requiredOption("--as <account>", "the account that pays gas and is paid (see `cloister account new`)")
    .option("--port <port>", "where other nodes reach it; its status page is one above", parseCount, 7_700)
    .option("--listen <address>", "the address on which it listens for other nodes (default: 127.0.0.1)")
    .option("--advertise <host:port>", "where other nodes reach it, when that is not the port on 127.0.0.1")
    .option("--region <name>", "where the machine stands, for goals that ask", parseRegion)
    .option("--passphrase-file <file>", "the account's passphrase")
    .addHelpText("after", examples(["cloister node join --as my-host", "join the network of ./.cloister"]))
    .action((options: JoinOptions) => join(context, options));
  node
    .command("drain")
    .summary("let a node leave in good order")
    .description(
      "Let a node of this machine leave in good order: it takes no more orders, hands over the lead, lets its order " +
        "end or be taken over, and ends. It is not started again before `cloister node resume`.",
    )
    .argument("<node>", "its name or address")
    .option("--within <time>", "how long to wait for it, such as 2m", parseDuration, 130_000)
    .addHelpText("after", examples(["cloister node drain node-2", "before maintenance of its machine"]))
    .action((name: string, options: { within: number }) => drain(context, name, options.within));
  node
    .command("resume")
    .summary("let a drained node come back")
    .description("Let a node that was drained be started again, where `cloister up` keeps it running.")
    .argument("<node>", "its name")
    .action((name: string) => resume(context, name));
  node
    .command("revoke")
    .summary("bar a node for good")
    .description(
      "Bar a node for good: the network's builder revokes it on the chain, its peers close their channels to it, and " +
        "its certificate is on the authority's next revocation list. It cannot be undone.",
    )
    .argument("<node>", "its name or address")
    .addHelpText("after", examples(["cloister node revoke node-3", "its machine was broken into"]))
    .action((name: string) => revoke(context, name));
  node
    .command("list")
    .summary("list the registered nodes")
    .description("List the nodes that the chain has registered, and what each says of itself.")
    .action(() => list(context));
  node
    .command("run", { hidden: true })
    .description("Run one CVM from its configuration. `cloister up` does this; there is no need to by hand.")
    .argument("<config>", "configuration file")
    .action(run);
}

interface JoinOptions {
  readonly as: string;
  readonly port: number;
  readonly listen?: string;
  readonly advertise?: string;
  readonly region?: string;
  readonly passphraseFile?: string;
}

async function run(configFile: string): Promise<void> {
  const { leaveWithParent, runCvm } = await import("../network/cvm-process.ts");
  leaveWithParent();
  try {
    await untilDrained(await runCvm(configFile));
  } catch (error) {
    // Its log says why; whoever keeps this process reads that, and nothing else.
    process.exitCode = failureOf(error).exitCode;
  }
}

/** SIGTERM and Ctrl-C make a node leave in good order; the second one ends it at once. */
async function untilDrained(cvm: RunningCvm, draining: () => void = () => undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(1));
  draining();
  await cvm.drain();
}

async function join(context: Context, options: JoinOptions): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { accountFor } = await import("../cli/account.ts");
  const { joinConfig } = await import("../network/join.ts");
  const { runCvm } = await import("../network/cvm-process.ts");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const configFile = await joinConfig(client, account, options);
  context.output.note(
    `Joining as ${account.name}; its status page is http://127.0.0.1:${options.port + 1}/status`,
  );
  const cvm = await runCvm(configFile);
  await untilDrained(cvm, () => {
    context.output.note("Leaving: the order under way is finished or handed over. Ctrl-C again ends it now.");
  });
}

async function drain(context: Context, name: string, withinMs: number): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { drainNode } = await import("../network/drain.ts");
  const client = await Client.open(context.home);
  const progress = context.output.progress(`${name} is leaving`);
  const drained = await drainNode(client, name, withinMs).finally(() => progress.end());
  const led = drained.led ? " It led; the others elect a new leader." : "";
  context.output.result(drained, () => [
    `${drained.name} has left after ${formatDuration(drained.tookMs)}.${led}`,
    `\`cloister node resume ${drained.name}\` brings it back.`,
  ]);
}

async function resume(context: Context, name: string): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { resumeNode } = await import("../network/drain.ts");
  await resumeNode(await Client.open(context.home), name);
  context.output.result({ name, resumed: true }, () => `${name} is let come back.`);
}

async function revoke(context: Context, name: string): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { revokeByName } = await import("../network/revoke.ts");
  const client = await Client.open(context.home);
  const node = await revokeByName(client, name);
  await client.durable();
  context.output.result({ revoked: node }, () => `The node ${node} is revoked.`);
}

async function list(context: Context): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const client = await Client.open(context.home);
  const { state } = await client.chain.refresh();
  const pages = await client.nodes();
  const nodes = [...state.nodes.values()].map(({ certificate, endpoint, status }) => {
    const page = pages.find(({ id }) => id === certificate.node);
    const { node, operator, measurement, notAfterSeconds } = certificate;
    return {
      node,
      operator,
      endpoint,
      status,
      measurement,
      certifiedUntil: isoOf(notAfterSeconds),
      answers: page !== undefined,
    };
  });
  const { style } = context.output;
  context.output.result({ nodes, leader: state.term.leader, term: state.term.term }, () =>
    formatTable(
      style,
      ["node", "endpoint", "status", "leader", "answers", "certified until"],
      nodes.map((one) => [
        ...[one.node, one.endpoint, one.status, one.node === state.term.leader ? "yes" : ""],
        ...[one.answers ? "yes" : "no", one.certifiedUntil],
      ]),
    ),
  );
}

function isoOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
