import type { ProofLink, ProofResult } from "@cloister/certification";
import {
  assertInvariant,
  CloisterError,
  digestOf,
  parseDigest,
  parseHex32,
  type Digest,
} from "@cloister/core";
import { Option, type Command } from "commander";
import { commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { EXIT } from "../cli/errors.ts";
import { digestOfFile, readDocument } from "../cli/files.ts";
import { toJson, type Style } from "../cli/output.ts";
import { parseCount, parseTime } from "../cli/parse.ts";
import { usageError } from "../cli/usage.ts";

/** More than any proof; what is larger is refused before it is read. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const SIMULATED = "SIMULATED: this proof rests on a simulated TEE. It proves nothing about hardware.";

const SIMULATED_HINT =
  "Leave --hardware out to check a proof of a local network; it proves nothing about hardware.";

interface VerifyOptions {
  readonly hardware?: boolean;
  readonly result?: string;
  readonly resultDigest?: string;
  readonly blockHash?: string;
  readonly at?: number;
  readonly witnesses?: number;
  readonly export?: "slsa" | "mlbom";
}

export function register(program: Command, context: Context): void {
  commandOf(program, "verify")
    .description(
      "Check a proof file, from the root key of the processor's maker to the digest of the result. It asks nobody: no network, no account. Every link is shown with its reason, and one that does not hold makes the exit code 1.",
    )
    .argument("<proof>", "the proof file, or - for standard input")
    .option("--hardware", "refuse what rests on a simulated TEE")
    .option(
      "--result <file>",
      "a result in your hands, plain or sealed: it must be the one that the proof names",
    )
    .option("--result-digest <digest>", "the same, by its digest")
    .option("--block-hash <hash>", "a block hash that you know from the chain: it must be the proof's")
    .option(
      "--witnesses <n>",
      "ask for at least so many witnesses of the log (default: as many as its authority asks for)",
      parseCount,
    )
    .option("--at <time>", "judge as of this time (default: now)", parseTime)
    .addOption(
      new Option(
        "--export <form>",
        "print what it proves for other tools instead: in-toto statement with SLSA provenance, or CycloneDX ML-BOM",
      ).choices(["slsa", "mlbom"]),
    )
    .addHelpText(
      "after",
      examples(
        ["cloister verify proof.cloister", "is every link of the argument sound?"],
        ["cloister verify proof.cloister --result model.bin", "and is this file what came out?"],
        ["cloister verify proof.cloister --hardware", "and did real hardware vouch for it?"],
        ["cloister verify proof.cloister --export slsa > provenance.json", "for tools that read provenance"],
      ),
    )
    .action((file: string, options: VerifyOptions) => verifyFile(file, options, context));
}

async function verifyFile(file: string, options: VerifyOptions, context: Context): Promise<void> {
  const outputDigest = await digestOfResult(options);
  const bytes = await readDocument(file, FILE_BYTES_MAX);
  const { simulationRoots, vendorRoots } = await import("@cloister/attestation");
  const { verifyProof } = await import("@cloister/certification");
  const result = verifyProof(bytes, {
    roots: options.hardware === true ? [vendorRoots] : [vendorRoots, simulationRoots],
    nowMs: options.at ?? context.nowMs(),
    outputDigest,
    witnessesMin: options.witnesses,
    blockHash: options.blockHash === undefined ? undefined : parseHex32(options.blockHash),
  });
  if (options.export !== undefined) return exportAs(options.export, result, bytes, context);
  if (!result.verified) process.exitCode = EXIT.refused;
  context.output.result(documentOf(result, digestOf(bytes)), () => explain(result, context.output.style));
}

/** Says it in another format. What does not hold is not said again. */
async function exportAs(
  form: "slsa" | "mlbom",
  result: ProofResult,
  bytes: Uint8Array,
  context: Context,
): Promise<void> {
  const [first, ...rest] = result.refusals;
  if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
  const { decodeProof, toMlBom, toProvenance } = await import("@cloister/certification");
  const { report } = result;
  assertInvariant(report !== undefined, "a proof that holds has a report");
  const digests = { report: digestOf(decodeProof(bytes).report), proof: digestOf(bytes) };
  const document = form === "slsa" ? toProvenance(report, digests) : toMlBom(report, digests);
  if (result.simulated) context.output.warn(SIMULATED);
  context.output.result(document, () => toJson(document));
}

async function digestOfResult(options: VerifyOptions): Promise<Digest | undefined> {
  if (options.result !== undefined && options.resultDigest !== undefined) {
    throw usageError("USAGE_CONFLICT", "The result is given twice.", "Use --result or --result-digest.");
  }
  if (options.resultDigest !== undefined) return parseDigest(options.resultDigest);
  return options.result === undefined ? undefined : digestOfFile(options.result);
}

function documentOf(result: ProofResult, proofDigest: Digest): Record<string, unknown> {
  const [first] = result.refusals;
  const integrity = result.report?.integrity;
  return {
    verified: result.verified,
    simulated: result.simulated,
    proofDigest,
    ...(first === undefined ? {} : { error: { code: first.code, message: first.reason, hint: first.hint } }),
    links: result.links,
    witnesses: result.witnesses,
    refusals: result.refusals,
    unknown: result.unknown,
    ...(integrity === undefined
      ? {}
      : { order: { id: integrity.orderId, chainId: integrity.chainId, contract: integrity.contract } }),
    ...(result.block === undefined ? {} : { block: result.block }),
  };
}

/** The argument in words, link by link, then what no file can tell. */
function explain(result: ProofResult, style: Style): string[] {
  const banner = result.simulated ? [style.warn(SIMULATED), ""] : [];
  const verdict = result.verified
    ? style.good(style.bold("VERIFIED: every link holds."))
    : style.bad(style.bold("NOT VERIFIED: at least one link does not hold."));
  return [
    ...banner,
    ...explainLinks(result.links, style),
    "",
    ...(result.unknown.length === 0 ? [] : ["What this file cannot tell you:"]),
    ...result.unknown.map((sentence) => `  - ${sentence}`),
    ...(result.refusals.length === 0 ? [] : ["Why it is refused:"]),
    ...new Set(result.refusals.map(({ code, reason }) => `  ${style.bad(`error ${code}:`)} ${reason}`)),
    ...hintsOf(result),
    "",
    verdict,
    ...(result.simulated ? [style.warn(SIMULATED)] : []),
  ];
}

/** Of a file that is not whole nothing was looked at, and one link says so for all. */
function explainLinks(links: readonly ProofLink[], style: Style): string[] {
  const [first] = links;
  if (first === undefined || first.ok) return links.flatMap((link) => explainLink(link, style));
  return [...explainLink(first, style), style.dim("        Nothing else in it was looked at.")];
}

function explainLink(link: ProofLink, style: Style): string[] {
  const mark = link.ok ? style.good("holds ") : style.bad("BROKEN");
  return [`${mark}  ${style.bold(link.title)}`, style.dim(`        ${link.detail}`)];
}

function hintsOf(result: ProofResult): string[] {
  const hints = result.refusals.flatMap(({ code, hint }) => {
    if (code === "PROOF_SIMULATED") return [SIMULATED_HINT];
    return hint === undefined ? [] : [hint];
  });
  return [...new Set(hints)].map((hint) => `  hint: ${hint}`);
}
