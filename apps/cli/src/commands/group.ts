import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { formatTable } from "../cli/output.ts";

const ROTATE_WITHIN_MS = 60_000;

export function register(program: Command, context: Context): void {
  const group = commandOf(program, "group").description(
    "See, rotate and retire the keys that owners seal to and that t of n nodes open together.",
  );
  group
    .command("list")
    .summary("list the keys and who holds their shares")
    .description(
      "List the keys of key-release: which one owners seal to, which ones still open, who holds them.",
    )
    .action(() => list(context));
  group
    .command("rotate")
    .summary("have the nodes make a new key")
    .description(
      "Have the nodes make a new key together. Owners seal to it from then on; what was sealed to a key before it " +
        "still opens until that key is retired.",
    )
    .addHelpText(
      "after",
      examples(["cloister group rotate", "start a new key in the network of ./.cloister"]),
    )
    .action(() => rotate(context));
  group
    .command("retire")
    .summary("have the nodes forget an old key")
    .description(
      "Have the nodes wipe their shares of a key that is not the current one. What is sealed to it alone stays " +
        "closed for good.",
    )
    .argument("<key>", "the key's name, as `cloister group list` shows it")
    .addHelpText("after", examples(["cloister group retire key-release", "forget the first key"]))
    .action((key: string) => retire(context, key));
}

async function list(context: Context): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { groupKeys } = await import("../network/group-keys.ts");
  const keys = await groupKeys(await Client.open(context.home));
  context.output.result({ keys }, () =>
    formatTable(
      context.output.style,
      ["key", "state", "epoch", "threshold", "held by", "group"],
      keys.map(({ goalId, state, epoch, threshold, holders, groupId }) => [
        ...[goalId, state, epoch?.toString() ?? "", threshold?.toString() ?? ""],
        ...[holders.length.toString(), groupId ?? ""],
      ]),
    ),
  );
}

async function rotate(context: Context): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { rotateGroup } = await import("../network/group-keys.ts");
  const client = await Client.open(context.home);
  const { recipient } = await client.releaseGroup();
  const key = await rotateGroup(client, ROTATE_WITHIN_MS);
  const next = await client.releaseGroup();
  await client.durable();
  const result = { key, before: recipient, recipient: next.recipient };
  context.output.result(result, () => [
    `The nodes made the key ${key.goalId}; owners now seal to ${next.recipient}`,
    `What is sealed to ${recipient} still opens.`,
  ]);
}

async function retire(context: Context, key: string): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { retireGroup } = await import("../network/group-keys.ts");
  const client = await Client.open(context.home);
  await retireGroup(client, key);
  await client.durable();
  context.output.result({ retired: key }, () => `The nodes forget the key ${key}.`);
}
