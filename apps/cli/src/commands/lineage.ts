import type { Lineage, ProofResult } from "@cloister/certification";
import { CloisterError, parseDigest, type Digest } from "@cloister/core";
import type { Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { EXIT } from "../cli/errors.ts";
import { digestOfFile, readDocument, writeWhole } from "../cli/files.ts";
import { parseTime } from "../cli/parse.ts";
import { usageError } from "../cli/usage.ts";

const PROOF_BYTES_MAX = 16 * 1024 * 1024;

interface LineageOptions {
  readonly of?: string;
  readonly hardware?: boolean;
  readonly at?: number;
  readonly dot?: boolean;
  readonly html?: string;
  readonly force?: boolean;
}

interface Judged {
  readonly file: string;
  readonly result: ProofResult;
}

export function register(program: Command, context: Context): void {
  commandOf(program, "lineage")
    .description(
      "Draw what a result was made of: data and engine into a model, model and questions into answers, each step by the proof of its order. Every proof is verified first; one that does not hold makes the exit code 1, and is drawn as such.",
    )
    .argument("<proofs...>", "proof files, in any order")
    .option("--of <digest|file>", "only what this result came from")
    .option("--hardware", "refuse what rests on a simulated TEE")
    .option("--at <time>", "judge as of this time (default: now)", parseTime)
    .option("--dot", "print the graph in the language of Graphviz")
    .option("--html <file>", "write the graph as one page that needs nothing else")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        ["cloister lineage train.proof infer.proof", "from the answers back to the data"],
        ["cloister lineage *.proof --of model.json", "where this file comes from"],
        ["cloister lineage *.proof --html lineage.html", "a picture to show around"],
      ),
    )
    .action((files: string[], options: LineageOptions) => draw(files, options, context));
}

async function draw(files: readonly string[], options: LineageOptions, context: Context): Promise<void> {
  if (options.dot === true && (context.json || options.html !== undefined)) {
    throw usageError(
      "USAGE_CONFLICT",
      "Only one form can be drawn at a time.",
      "Use one of --dot, --html, --json.",
    );
  }
  const { ancestorsOf, buildLineage, lineageToDot, resultsOf, unexplainedModels } =
    await import("@cloister/certification");
  const judged = await judgeAll(files, options, context.nowMs());
  const whole = buildLineage(judged.map(({ result }) => result));
  const wanted = options.of === undefined ? undefined : await artifactOf(options.of, whole);
  const lineage = wanted === undefined ? whole : { ...whole, runs: ancestorsOf(whole, wanted).toReversed() };
  const shown = buildShown(lineage, wanted);
  const missing = unexplainedModels(shown);
  if (judged.some(({ result }) => !result.verified)) process.exitCode = EXIT.refused;
  if (options.html !== undefined) await writePage(options.html, shown, judged, options.force === true);
  const document = {
    runs: shown.runs,
    artifacts: shown.artifacts,
    results: wanted === undefined ? resultsOf(shown) : [wanted],
    missing,
    proofs: judged.map(({ file, result }) => ({
      file,
      verified: result.verified,
      simulated: result.simulated,
      refusals: result.refusals,
    })),
    ...(options.html === undefined ? {} : { html: options.html }),
  };
  if (options.dot === true) return context.output.result(document, () => lineageToDot(shown).trimEnd());
  const { drawLineage } = await import("@cloister/certification");
  context.output.result(document, () => [
    ...document.results.flatMap((digest) => [drawLineage(shown, digest), ""]),
    ...missing.map((digest) => `Missing: a proof of the order that made the model ${digest}.`),
    ...judged.flatMap((one) => whyNot(one, context)),
    ...(judged.some(({ result }) => result.simulated)
      ? [
          context.output.style.warn(
            "SIMULATED: these proofs rest on a simulated TEE. They prove nothing about hardware.",
          ),
        ]
      : []),
    ...(options.html === undefined ? [] : [`The page: ${options.html}`]),
  ]);
}

async function judgeAll(files: readonly string[], options: LineageOptions, nowMs: number): Promise<Judged[]> {
  const { simulationRoots, vendorRoots } = await import("@cloister/attestation");
  const { verifyProof } = await import("@cloister/certification");
  const roots = options.hardware === true ? [vendorRoots] : [vendorRoots, simulationRoots];
  const judged: Judged[] = [];
  for (const file of files) {
    const bytes = await readDocument(file, PROOF_BYTES_MAX);
    judged.push({ file, result: verifyProof(bytes, { roots, nowMs: options.at ?? nowMs }) });
  }
  return judged;
}

/** The runs that are shown, and only the artifacts that occur in them. */
function buildShown({ runs }: Lineage, wanted: Digest | undefined): Lineage {
  const digests = runs.flatMap(({ inputs, outputs }) =>
    [...inputs, ...outputs].map(({ content }) => content),
  );
  return { runs, artifacts: [...new Set(wanted === undefined ? digests : [...digests, wanted])] };
}

async function artifactOf(text: string, { artifacts }: Lineage): Promise<Digest> {
  const digest = text.startsWith("sha256:") ? parseDigest(text) : await digestOfFile(text);
  if (artifacts.includes(digest)) return digest;
  throw new CloisterError("ARTIFACT_NOT_FOUND", `None of the proofs names ${digest}.`, {
    hint: "Give the proof of the order that made it, and the file as it came out of that order.",
  });
}

function whyNot({ file, result }: Judged, context: Context): string[] {
  if (result.verified) return [];
  const reasons = new Set(result.refusals.map(({ code, reason }) => `  ${code}: ${reason}`));
  const lost = result.report === undefined ? " Nothing of it is drawn." : "";
  return [context.output.style.bad(`NOT VERIFIED: ${file}.${lost}`), ...reasons];
}

async function writePage(
  file: string,
  lineage: Lineage,
  judged: readonly Judged[],
  force: boolean,
): Promise<void> {
  const { lineageToSvg } = await import("@cloister/certification");
  const simulated = judged.some(({ result }) => result.simulated);
  const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Lineage</title>
<style>body { font-family: sans-serif; margin: 2em } svg { max-width: 100%; height: auto }</style>
<h1>Lineage</h1>
${simulated ? "<p><strong>SIMULATED: these proofs rest on a simulated TEE. They prove nothing about hardware.</strong></p>\n" : ""}<p>Drawn from ${judged.length} proof files, of which ${judged.filter(({ result }) => result.verified).length} hold. This picture proves nothing: check the proofs with <code>cloister verify</code>.</p>
${lineageToSvg(lineage)}</html>
`;
  await writeWhole(file, [Buffer.from(page)], { force });
}
