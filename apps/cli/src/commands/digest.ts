import { createHash } from "node:crypto";
import { digestFrom, formatBytes } from "@cloister/core";
import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readStream } from "../cli/files.ts";

export function register(program: Command, context: Context): void {
  commandOf(program, "digest")
    .description("Print the digest of a file: sha256 of its bytes. `sha256sum` prints the same hex.")
    .argument("<file>", "the file, or - for standard input")
    .addHelpText(
      "after",
      examples(
        ["cloister digest engine.wasm", "the digest that a consent policy names"],
        ["cloister digest - < data.csv", "of standard input"],
      ),
    )
    .action((file: string) => printDigest(file, context));
}

async function printDigest(file: string, context: Context): Promise<void> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const source = await readStream(file);
  const progress = context.output.progress(`Digesting ${file}`, source.sizeBytes);
  try {
    for await (const chunk of source.chunks) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      progress.advance(chunk.length);
    }
  } finally {
    progress.end();
  }
  const digest = digestFrom(new Uint8Array(hash.digest()));
  context.output.result({ file, digest, sizeBytes }, () => `${digest}  ${file}  ${formatBytes(sizeBytes)}`);
}
