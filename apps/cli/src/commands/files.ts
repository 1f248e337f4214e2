import { existsSync } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import {
  CloisterError,
  codeOf,
  formatBytes,
  parseDigest,
  type Digest,
  type ObjectStore,
} from "@cloister/core";
import type { Command } from "commander";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { isFolder, readStream, requireFree, writeWhole } from "../cli/files.ts";
import { formatTable } from "../cli/output.ts";
import { counted } from "../cli/streams.ts";
import { layoutOf } from "../network/layout.ts";

interface StoreOptions {
  readonly store?: string[];
}

interface GetOptions extends StoreOptions {
  readonly output: string;
  readonly force?: boolean;
}

const STORE = [
  "--store <place>",
  "a folder, or https://HOST/BUCKET of an S3 server (keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY); given several times, all hold copies (default: the home's folder)",
] as const;

export function register(program: Command, context: Context): void {
  const files = commandOf(program, "files").description(
    "Keep sealed objects in the object store, by the digest of their bytes. The store is not trusted: put only what is sealed, or meant to be public.",
  );
  files
    .command("put")
    .summary("store a file and print its digest")
    .description(
      "Store a file and print its digest. Storing the same bytes twice keeps one object, and mends it where it was wrong. An upload that broke off goes on where it was when it is started again.",
    )
    .argument("<file>", "the file, usually FILE.age, or - for standard input")
    .option(...STORE, collectValues)
    .addHelpText(
      "after",
      examples(
        ["cloister files put birds.csv.age", "upload what `cloister seal` wrote"],
        ["cloister files put birds.csv.age --store /mnt/a --store https://s3.example.org/b", "two copies"],
      ),
    )
    .action((file: string, options: StoreOptions) => putFile(file, options, context));
  files
    .command("get")
    .summary("write an object to a file")
    .description(
      "Write an object to a file. What the store gives is checked against the digest before it counts. A download that broke off leaves FILE.partial and goes on with it when it is started again.",
    )
    .argument("<digest>", "the object's digest, sha256:…")
    .requiredOption("-o, --output <file>", "where to write it, or - for standard output")
    .option(...STORE, collectValues)
    .option("-f, --force", "replace a file that is there")
    .action((digest: string, options: GetOptions) => getObject(digest, options, context));
  files
    .command("list")
    .summary("list the objects")
    .description("List the objects of the store with their sizes.")
    .option(...STORE, collectValues)
    .action((options: StoreOptions) => listObjects(options, context));
  files
    .command("repair")
    .summary("read every copy and put again what is missing or wrong")
    .description(
      "Read every copy of every object in several stores, and put again what is missing or wrong. Stores that lie are named. Exits 1 when an object is lost or a store cannot be mended.",
    )
    .option(...STORE, collectValues)
    .addHelpText(
      "after",
      examples(["cloister files repair --store /mnt/a --store /mnt/b", "both alike again"]),
    )
    .action((options: StoreOptions) => repairStores(options, context));
}

async function openStoreToRead(options: StoreOptions, context: Context): Promise<ObjectStore> {
  const { openStoresToRead } = await import("../network/stores.ts");
  return openStoresToRead(options.store ?? [], context);
}

async function putFile(file: string, options: StoreOptions, context: Context): Promise<void> {
  const { uploadObject } = await import("@cloister/adapters/store");
  const about = file === "-" ? undefined : await stat(file);
  if (about?.isDirectory() === true) throw isFolder(file);
  const { openStores } = await import("../network/stores.ts");
  const store = await openStores(options.store ?? [], context);
  const source = about?.isFile() === true ? undefined : await readStream(file);
  const progress = context.output.progress(`Storing ${basename(file)}`, about?.size);
  let before = 0;
  const onProgress = (doneBytes: number): void => {
    progress.advance(doneBytes - before);
    before = doneBytes;
  };
  try {
    const stored =
      source === undefined
        ? await uploadObject(store, file, onProgress)
        : await store.put(counted(source.chunks, progress));
    progress.end();
    context.output.result({ file, ...stored }, () => `${stored.digest}  ${formatBytes(stored.sizeBytes)}`);
  } finally {
    progress.end();
  }
}

async function getObject(text: string, options: GetOptions, context: Context): Promise<void> {
  const digest = parseDigest(text);
  const { output, force = false } = options;
  await requireFree(output, { force });
  const store = await openStoreToRead(options, context);
  const about = await store.stat(digest);
  if (about === undefined) throw notFound(digest, store);
  const progress = context.output.progress(`Fetching ${digest.slice(0, 19)}…`, about.sizeBytes);
  try {
    if (output === "-" || existsSync(output))
      await writeWhole(output, counted(store.get(digest), progress), { force });
    else await download(store, digest, options, progress);
  } finally {
    progress.end();
  }
  if (output === "-") return;
  context.output.result({ file: output, digest, sizeBytes: about.sizeBytes }, () => output);
}

/** A store that lied is named and known from then on: the next attempt begins with another. */
async function download(
  store: ObjectStore,
  digest: Digest,
  { output, store: places = [] }: GetOptions,
  progress: { advance(amount: number): void },
): Promise<void> {
  const { downloadObject } = await import("@cloister/adapters/store");
  await mkdir(dirname(output), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    let before = 0;
    try {
      await downloadObject(store, digest, output, (done) => {
        progress.advance(done - before);
        before = done;
      });
      return;
    } catch (failure) {
      if (codeOf(failure) !== "OBJECT_CORRUPT" || attempt >= places.length) throw failure;
    }
  }
}

async function repairStores(options: StoreOptions, context: Context): Promise<void> {
  const { openReplicated } = await import("../network/stores.ts");
  const store = await openReplicated(options.store ?? [], context);
  const report = await store.repair();
  const { objects, repaired, failed, lost } = report;
  context.output.result({ ...report }, () =>
    [
      `${objects} objects, ${repaired.length} copies put again, ${failed.length} could not be, ${lost.length} objects lost`,
      ...repaired.map(({ store: name, digest, code }) => `put again  ${digest}  ${name}  ${code}`),
      ...failed.map(({ store: name, digest, code }) => `failed     ${digest}  ${name}  ${code}`),
      ...lost.map((digest) => `lost       ${digest}`),
    ].join("\n"),
  );
  if (failed.length + lost.length > 0) process.exitCode = 1;
}

async function listObjects(options: StoreOptions, context: Context): Promise<void> {
  const isThere = options.store !== undefined || existsSync(layoutOf(context.home).objects);
  const objects = isThere ? await objectsOf(await openStoreToRead(options, context)) : [];
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
