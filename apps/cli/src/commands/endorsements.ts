import { join } from "node:path";
import type { EndorsementCache } from "@cloister/adapters/endorsements";
import type { Endorsements, Evidence, SnpProduct } from "@cloister/attestation";
import { CloisterError, formatBytes } from "@cloister/core";
import { Option, type Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readEvidence } from "../cli/evidence-input.ts";
import { readDocument, writeWhole } from "../cli/files.ts";
import { parseServiceUrl } from "../cli/parse.ts";

const BUNDLE_BYTES_MAX = 256 * 1024 * 1024;

interface FetchOptions {
  readonly tee?: string;
  readonly pccs?: string;
  readonly product?: SnpProduct;
  readonly offline?: boolean;
  readonly output: string;
  readonly force?: boolean;
}

export function register(program: Command, context: Context): void {
  const endorsements = commandOf(program, "endorsements").description(
    "What the processors' makers say about their hardware: certificates, revocation lists, TCB levels. Nothing of it is trusted for where it came from; `evidence verify` judges its signatures and times.",
  );
  endorsements
    .command("fetch")
    .summary("ask the maker for what a piece of evidence needs")
    .description(
      "Ask the maker (Intel or AMD) for what a piece of evidence needs. Answers are kept in --home.",
    )
    .argument("<evidence>", "the evidence, or - for standard input")
    .requiredOption("-o, --output <file>", "where to write the endorsements, or - for standard output")
    .option("--tee <kind>", "its kind, e.g. tdx (default: found from the bytes)")
    .option("--pccs <url>", "ask this caching service instead of Intel's own", parseServiceUrl)
    .addOption(
      new Option(
        "--product <name>",
        "the AMD processors that made the report; before version 3 it does not say",
      ).choices(["milan", "genoa", "turin"]),
    )
    .option("--offline", "ask nobody: use the answers kept or imported before")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        ["cloister endorsements fetch quote.dat -o quote.endorsements", "then:"],
        ["cloister evidence verify quote.dat --endorsements quote.endorsements", ""],
      ),
    )
    .action((file: string, options: FetchOptions) => fetchFor(file, options, context));
  endorsements
    .command("export")
    .summary("write all answers kept here into one file")
    .description("Write all answers kept here into one file, for a place without a network.")
    .requiredOption("-o, --output <file>", "where to write the bundle, or - for standard output")
    .option("-f, --force", "replace a file that is there")
    .action((options: { output: string; force?: boolean }) => exportAll(options, context));
  endorsements
    .command("import")
    .summary("take in the answers of an exported file")
    .description("Take in the answers of an exported file.")
    .argument("<file>", "the bundle, or - for standard input")
    .action((file: string) => importAll(file, context));
}

async function openCache(context: Context, offline = false): Promise<EndorsementCache> {
  const { EndorsementCache } = await import("@cloister/adapters/endorsements");
  const { openDirectoryRecords } = await import("@cloister/adapters/records");
  const records = await openDirectoryRecords(join(context.home, "endorsements"), context.nowMs());
  return new EndorsementCache({ records, clock: context, offline });
}

async function fetchFor(file: string, options: FetchOptions, context: Context): Promise<void> {
  const { encodeEndorsements } = await import("@cloister/certification");
  const evidence = await readEvidence(file, options);
  const cache = await openCache(context, options.offline === true);
  const progress = context.output.progress(`Asking for endorsements of ${evidence.tee} evidence`);
  let found: Endorsements;
  try {
    found = await fetchEndorsements(evidence, cache, options);
  } finally {
    progress.end();
  }
  const bytes = encodeEndorsements(found);
  await writeWhole(options.output, [bytes], { force: options.force === true });
  if (options.output === "-") return;
  const parts = Object.keys(found.parts);
  context.output.result({ file: options.output, tee: found.tee, parts, sizeBytes: bytes.length }, () => [
    `${options.output}  ${formatBytes(bytes.length)}`,
    `parts: ${parts.join(", ")}`,
  ]);
}

async function fetchEndorsements(
  evidence: Evidence,
  cache: EndorsementCache,
  { pccs: pccsUrl, product }: FetchOptions,
): Promise<Endorsements> {
  const { fetchAmdEndorsements, fetchIntelEndorsements, pccs } =
    await import("@cloister/adapters/endorsements");
  if (evidence.tee === "sev-snp") {
    return fetchAmdEndorsements(evidence, cache, product === undefined ? {} : { product });
  }
  if (evidence.tee === "tdx" || evidence.tee === "sgx") {
    return fetchIntelEndorsements(evidence, cache, pccsUrl === undefined ? undefined : pccs(pccsUrl));
  }
  throw new CloisterError(
    "ENDORSEMENTS_KIND_UNSUPPORTED",
    `Endorsements of ${evidence.tee} evidence cannot be fetched here.`,
    {
      hint: "Give them to `cloister evidence verify` as a folder with one file per part.",
    },
  );
}

async function exportAll(options: { output: string; force?: boolean }, context: Context): Promise<void> {
  const cache = await openCache(context, true);
  const bundle = await cache.export();
  if ((await cache.count()) === 0)
    context.output.warn("No answers are kept here yet: `cloister endorsements fetch` asks for some.");
  await writeWhole(options.output, [bundle], { force: options.force === true });
  if (options.output === "-") return;
  context.output.result(
    { file: options.output, sizeBytes: bundle.length },
    () => `${options.output}  ${formatBytes(bundle.length)}`,
  );
}

async function importAll(file: string, context: Context): Promise<void> {
  const bundle = await readDocument(file, BUNDLE_BYTES_MAX);
  const imported = await (await openCache(context, true)).import(bundle);
  context.output.result({ imported }, () => `${imported} ${imported === 1 ? "answer" : "answers"} taken in.`);
}
