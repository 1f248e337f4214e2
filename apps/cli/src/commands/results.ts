import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CloisterError, codeOf, formatBytes } from "@cloister/core";
import type { Command } from "commander";
import { accountFor } from "../cli/account.ts";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { EXIT } from "../cli/errors.ts";
import { requireFree, writeWhole } from "../cli/files.ts";
import type { PassphraseOptions } from "../cli/passphrase.ts";

interface GetOptions extends PassphraseOptions {
  readonly as: string;
  readonly output: string;
  readonly force?: boolean;
}

export function register(program: Command, context: Context): void {
  const results = commandOf(program, "results").description(
    "Fetch what came out of an order, and what proves it.",
  );
  results
    .command("get")
    .summary("fetch and decrypt a result, check and keep its proof")
    .description(
      "Fetch a result, decrypt it with the account's key, and write its files and its proof into a folder.",
    )
    .argument("<order>", "the order's id, or its beginning")
    .requiredOption("--as <account>", "whom the result is sealed to")
    .option("-o, --output <folder>", "where to write the files", "result")
    .option("-f, --force", "replace files that are there")
    .option("--passphrase-file <file>", "the account's passphrase")
    .addHelpText(
      "after",
      examples(["cloister results get 0x12ab --as author -o model", "write model/*, with proof.cloister"]),
    )
    .action((id: string, options: GetOptions) => get(context, id, options));
  results
    .command("proof")
    .summary("fetch the proof file alone")
    .description("Fetch the proof of an order. Anybody can, and anybody can verify it.")
    .argument("<order>", "the order's id, or its beginning")
    .option("-o, --output <file>", "where to write it, or - for standard output", "proof.cloister")
    .option("-f, --force", "replace a file that is there")
    .action((id: string, options: { output: string; force?: boolean }) => proof(context, id, options));
}

async function get(context: Context, text: string, options: GetOptions): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { findOrder, result } = await import("../network/market.ts");
  const { simulationRoots, vendorRoots } = await import("@cloister/attestation");
  const { verifyProof } = await import("@cloister/certification");
  const client = await Client.open(context.home);
  const account = await accountFor(context, client.layout, options);
  const order = findOrder(client, text);
  const { files } = await result(client, order, account).catch((cause: unknown) => {
    if (codeOf(cause) !== "SEALED_NO_IDENTITY_MATCHES") throw cause;
    throw new CloisterError(
      "RESULT_NOT_YOURS",
      `The result of ${order.id} is sealed to another account than ${account.name}.`,
      {
        hint: `The client of the order can open it: ${order.client}.`,
        cause,
      },
    );
  });
  const proofBytes = await client.proof(order.id);
  const outputDigest = order.settlement?.outputDigest;
  const verdict = verifyProof(proofBytes, {
    roots: [vendorRoots, simulationRoots],
    outputDigest,
    nowMs: context.nowMs(),
  });
  const [refusal] = verdict.refusals;
  if (refusal !== undefined) {
    throw new CloisterError("RESULT_UNPROVEN", `The proof of the result does not hold: ${refusal.reason}`, {
      hint: "Nothing was written. Fetch the proof with `cloister results proof` and look at it with `cloister verify`.",
    });
  }
  await mkdir(options.output, { recursive: true });
  const write = { force: options.force === true };
  for (const { name } of files) await requireFree(join(options.output, name), write);
  const secret = { ...write, secret: true };
  for (const { name, bytes } of files) await writeWhole(join(options.output, name), [bytes], secret);
  await writeWhole(join(options.output, "proof.cloister"), [proofBytes], write);
  const written = files.map(({ name, bytes }) => ({ name, sizeBytes: bytes.length }));
  if (!verdict.verified) process.exitCode = EXIT.refused;
  context.output.result(
    {
      orderId: order.id,
      folder: options.output,
      files: written,
      proof: "proof.cloister",
      simulated: verdict.simulated,
    },
    () => [
      ...written.map(({ name, sizeBytes }) => `${join(options.output, name)}  ${formatBytes(sizeBytes)}`),
      `${join(options.output, "proof.cloister")}  verified${verdict.simulated ? " (SIMULATED)" : ""}`,
    ],
  );
}

async function proof(
  context: Context,
  text: string,
  options: { output: string; force?: boolean },
): Promise<void> {
  const { Client } = await import("../network/client.ts");
  const { findOrder } = await import("../network/market.ts");
  const client = await Client.open(context.home);
  const order = findOrder(client, text);
  const bytes = await client.proof(order.id);
  await writeWhole(options.output, [bytes], { force: options.force === true });
  if (options.output === "-") return;
  context.output.result({ orderId: order.id, file: options.output, sizeBytes: bytes.length }, () => [
    `${options.output}  ${formatBytes(bytes.length)}`,
    `Check it with \`cloister verify ${options.output}\`.`,
  ]);
}
