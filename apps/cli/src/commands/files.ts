import { existsSync } from "node:fs";
import { basename } from "node:path";
import { CloisterError, formatBytes, parseDigest, type Digest, type ObjectStore } from "@cloister/core";
import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readStream, writeWhole } from "../cli/files.ts";
import { formatTable } from "../cli/output.ts";
import { counted } from "../cli/streams.ts";
import { layoutOf } from "../network/layout.ts";

export function register(program: Command, context: Context): void {
  const files = commandOf(program, "files").description(
    "Keep sealed objects in the object store, by the digest of their bytes. The store is not trusted: put only what is sealed, or meant to be public.",
  );
  files
    .command("put")
    .summary("store a file and print its digest")
    .description("Store a file and print its digest. Storing the same bytes twice keeps one object.")
    .argument("<file>", "the file, usually FILE.age, or - for standard input")
    .addHelpText("after", examples(["cloister files put birds.csv.age", "upload what `cloister seal` wrote"]))
    .action((file: string) => putFile(file, context));
  files
    .command("get")
    .summary("write an object to a file")
    .description(
      "Write an object to a file. What the store gives is checked against the digest before it counts.",
    )
    .argument("<digest>", "the object's digest, sha256:…")
    .requiredOption("-o, --output <file>", "where to write it, or - for standard output")
    .option("-f, --force", "replace a file that is there")
    .action((digest: string, options: { output: string; force?: boolean }) =>
      getObject(digest, options, context),
    );
  files
    .command("list")
    .summary("list the objects")
    .description("List the objects of the store with their sizes.")
    .action(() => listObjects(context));
}

async function openStore(context: Context): Promise<ObjectStore> {
  const { openDirectoryStore } = await import("@cloister/adapters/store");
  return openDirectoryStore(layoutOf(context.home).objects, context.nowMs());
}

async function putFile(file: string, context: Context): Promise<void> {
  const source = await readStream(file);
  const store = await openStore(context);
  const progress = context.output.progress(`Storing ${basename(file)}`, source.sizeBytes);
  try {
    const stored = await store.put(counted(source.chunks, progress));
    progress.end();
    context.output.result({ file, ...stored }, () => `${stored.digest}  ${formatBytes(stored.sizeBytes)}`);
  } finally {
    progress.end();
  }
}

async function getObject(
  text: string,
  options: { readonly output: string; readonly force?: boolean },
  context: Context,
): Promise<void> {
  const digest = parseDigest(text);
  const store = await openStore(context);
  const about = await store.stat(digest);
  if (about === undefined) throw notFound(digest, store);
  const progress = context.output.progress(`Fetching ${digest.slice(0, 19)}…`, about.sizeBytes);
  try {
    await writeWhole(options.output, counted(store.get(digest), progress), { force: options.force === true });
  } finally {
    progress.end();
  }
  if (options.output === "-") return;
  context.output.result({ file: options.output, digest, sizeBytes: about.sizeBytes }, () => options.output);
}

async function listObjects(context: Context): Promise<void> {
  const objects = existsSync(layoutOf(context.home).objects) ? await objectsOf(await openStore(context)) : [];
  context.output.result({ objects }, () =>
    objects.length === 0
      ? "The store is empty."
      : formatTable(
          context.output.style,
          ["digest", "size"],
          objects.map(({ digest, sizeBytes }) => [digest, formatBytes(sizeBytes)]),
        ),
  );
}

async function objectsOf(store: ObjectStore): Promise<{ digest: Digest; sizeBytes: number }[]> {
  const objects: { digest: Digest; sizeBytes: number }[] = [];
  for await (const digest of store.list()) {
    const about = await store.stat(digest);
    if (about !== undefined) objects.push({ digest, sizeBytes: about.sizeBytes });
  }
  return objects.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
}

function notFound(digest: Digest, store: ObjectStore): CloisterError {
  return new CloisterError("OBJECT_NOT_FOUND", `The ${store.name} holds no object ${digest}.`, {
    hint: "See what it holds with `cloister files list`, or name another state folder with --home.",
  });
}
