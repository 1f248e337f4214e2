import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatFields, formatTable } from "../cli/output.ts";

export function register(program: Command, context: Context): void {
  commandOf(program, "status")
    .description("Show the network of --home: the chain, who leads, the groups, the nodes, the orders.")
    .addHelpText("after", examples(["cloister status", "the network of ./.cloister"]))
    .action(() => status(context));
}

async function status(context: Context): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const client = await Client.open(context.home);
  const { state, block } = await client.chain.refresh();
  const pages = await client.nodes();
  const groups = [...state.groups.values()];
  const orders = [...state.orders.values()];
  const counts = new Map<string, number>();
  for (const { status: ended } of orders) counts.set(ended, (counts.get(ended) ?? 0) + 1);
  const nodes = pages.map((page) => ({
    name: page.name,
    id: page.id,
    answers: page.id !== undefined,
    role: page.swarm?.role,
    connected: page.swarm?.members.filter(({ id, connected }) => connected && id !== page.id).length ?? 0,
    working: page.work?.filter(({ state: one }) => one === "running").length ?? 0,
    refusal: page.refusal,
  }));
  const document = {
    simulated: client.network.simulated,
    chain: { chainId: client.network.chainId, block: block.number, market: client.network.market },
    leader: state.term.leader,
    term: state.term.term,
    ...{ groups, nodes },
    orders: Object.fromEntries(counts),
    logSize: state.logRoot?.size ?? 0,
  };
  context.output.result(document, () => [
    ...formatFields([
      [
        "chain",
        `${client.network.chainId}, block ${block.number}${client.network.simulated ? ", SIMULATED TEEs" : ""}`,
      ],
      ["market", client.network.market],
      ["leader", `${state.term.leader ?? "none"} (term ${state.term.term})`],
      ...groups.map(
        ({ goalId, epoch, members }) =>
          ["group", `${goalId}: ${members.length} nodes, epoch ${epoch}`] as const,
      ),
      ["orders", [...counts].map(([ended, count]) => `${count} ${ended}`).join(", ") || "none"],
      ["log", `${state.logRoot?.size ?? 0} entries anchored`],
    ]),
    "",
    ...formatTable(
      context.output.style,
      ["node", "id", "role", "peers", "runs", "trouble"],
      nodes.map((one) => [
        ...[
          one.name,
          one.id ?? "does not answer",
          one.role ?? "",
          String(one.connected),
          String(one.working),
        ],
        one.refusal?.code ?? "",
      ]),
    ),
  ]);
}
