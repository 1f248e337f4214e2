import { CloisterError, parseAddress, parseDigest, type Refusal } from "@cloister/core";
import {
  CONSENT_VERSION,
  consentDigest,
  decodeConsent,
  diffConsent,
  encodeConsent,
  explainConsent,
  formatConsent,
  judgeConsent,
  parseRecipient,
  recipientDigest,
  type ConsentPolicy,
  type PlannedUse,
} from "@cloister/custody";
import type { Command } from "commander";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { digestOfFile, writeWhole } from "../cli/files.ts";
import { formatTable, toJson } from "../cli/output.ts";
import { parseBytes, parseCount, parseTime } from "../cli/parse.ts";
import { usageError } from "../cli/usage.ts";
import { readConsent } from "../network/consents.ts";
import { registerSigning } from "./consent-signing.ts";

const ZERO_ADDRESS = `0x${"0".repeat(40)}`;

export function register(program: Command, context: Context): void {
  const consent = commandOf(program, "consent").description(
    "Write, check, sign and revoke consent policies: which engines may read an object, for what, how often, until when, and what may leave. An offer carries a policy's digest; everything a policy does not list is refused.",
  );
  registerDraft(consent, context);
  registerShow(consent, context);
  registerCheck(consent, context);
  registerDiff(consent, context);
  registerEncode(consent, context);
  registerSigning(consent, context);
}

interface DraftOptions {
  readonly engine?: string[];
  readonly purpose?: string[];
  readonly runs: number;
  readonly until?: number;
  readonly outputMax: number;
  readonly recipient?: string[];
  readonly tee?: string[];
  readonly measurement?: string[];
  readonly node?: string[];
  readonly output: string;
  readonly force?: boolean;
}

function registerDraft(consent: Command, context: Context): void {
  consent
    .command("draft")
    .summary("write a policy")
    .description("Write a policy in its readable form (JSON), to be read over and changed before it is used.")
    .option(
      "-e, --engine <digest|file>",
      "an engine that may read the object; may be given several times",
      collectValues,
    )
    .option(
      "--purpose <word>",
      "a purpose, e.g. train; may be given several times (default: train)",
      collectValues,
    )
    .option("--runs <count>", "how many orders may use the object", parseCount, 1)
    .option("--until <time>", "the end, e.g. 2027-01-31 (default: none)", parseTime)
    .option("--output-max <size>", "the largest result, e.g. 64KiB", parseBytes, 1024 * 1024)
    .option(
      "--recipient <age1…>",
      "who may receive a result; may be given several times (default: any)",
      collectValues,
    )
    .option(
      "--tee <kind>",
      "a TEE that may hold the plaintext, e.g. tdx; may be given several times",
      collectValues,
    )
    .option(
      "--measurement <digest>",
      "software that may hold the plaintext; may be given several times",
      collectValues,
    )
    .option(
      "--node <address>",
      "a direct grant: only this certified CVM may hold the plaintext; may be given several times (default: any that qualifies)",
      collectValues,
    )
    .option("-o, --output <file>", "where to write the policy, or - for standard output", "-")
    .option("-f, --force", "replace a file that is there")
    .addHelpText(
      "after",
      examples(
        [
          "cloister consent draft -e trainer.wasm --runs 3 --until 2027-01-31 -o consent.json",
          "three runs of one engine",
        ],
        [
          "cloister consent draft -e trainer.wasm --node 0x… -o grant.json",
          "one run, on one CVM that you know",
        ],
      ),
    )
    .action((options: DraftOptions) => draft(options, context));
}

async function draft(options: DraftOptions, context: Context): Promise<void> {
  if (options.engine === undefined) {
    throw usageError(
      "USAGE_ENGINE_MISSING",
      "A policy names at least one engine.",
      "Name it with --engine, by its digest or its file.",
    );
  }
  const policy: ConsentPolicy = {
    version: CONSENT_VERSION,
    engines: await Promise.all(options.engine.map(digestOfEngine)),
    purposes: options.purpose ?? ["train"],
    runsMax: options.runs,
    outputBytesMax: options.outputMax,
    egress: "none",
    ...(options.until === undefined ? {} : { expiresAtMs: options.until }),
    ...(options.recipient === undefined ? {} : { recipients: options.recipient }),
    ...(options.tee === undefined ? {} : { tees: options.tee }),
    ...(options.measurement === undefined ? {} : { measurements: options.measurement.map(parseDigest) }),
    ...(options.node === undefined ? {} : { nodes: options.node.map(parseAddress) }),
  };
  const digest = consentDigest(policy);
  const text = formatConsent(policy);
  if (options.until !== undefined && options.until <= context.nowMs()) {
    context.output.warn("This policy has ended already: no order can use what it is for.");
  }
  await warnOfUnknownTees(options.tee ?? [], context);
  if (options.output === "-") {
    context.output.result({ digest, policy: decodeConsent(encodeConsent(policy)) }, () => text.trimEnd());
    return context.output.note(`digest ${digest}`);
  }
  await writeWhole(options.output, [Buffer.from(text)], { force: options.force === true });
  context.output.result({ file: options.output, digest }, () => digest);
}

/** A policy may name TEEs to come; a mistyped one allows nothing. */
async function warnOfUnknownTees(tees: readonly string[], context: Context): Promise<void> {
  if (tees.length === 0) return;
  const { teeKinds } = await import("@cloister/attestation");
  const known: readonly string[] = teeKinds;
  const unknown = tees.filter((tee) => !known.includes(tee));
  if (unknown.length > 0)
    context.output.warn(`No TEE is known here as ${unknown.join(", ")}; there are ${known.join(", ")}.`);
}

/** An engine by digest, or by the file whose bytes are digested. */
async function digestOfEngine(text: string): Promise<PlannedUse["engine"]> {
  if (text.startsWith("sha256:")) return parseDigest(text);
  return digestOfFile(text);
}

function registerShow(consent: Command, context: Context): void {
  consent
    .command("show")
    .summary("say in plain sentences what a policy allows")
    .description("Say in plain sentences what a policy allows, and print its digest.")
    .argument("<file>", "the policy, in its readable or its canonical form")
    .action(async (file: string) => {
      const { policy } = await readConsent(file);
      const explanation = explainConsent(policy);
      const digest = consentDigest(policy);
      context.output.result({ digest, policy, explanation }, () => [`digest ${digest}`, ...explanation]);
    });
}

interface CheckOptions {
  readonly engine: string;
  readonly purpose: string;
  readonly runsUsed: number;
  readonly at?: number;
  readonly outputMax?: number;
  readonly recipient?: string;
  readonly tee: string;
  readonly measurement?: string;
  readonly node?: string;
}

function registerCheck(consent: Command, context: Context): void {
  consent
    .command("check")
    .summary("try a planned use against a policy")
    .description(
      "Try a planned use against a policy, with the function that the loader and the key-release nodes use. Exits 1 with every failed check when it would be refused.",
    )
    .argument("<file>", "the policy")
    .requiredOption("-e, --engine <digest|file>", "the engine that would run")
    .option("--purpose <word>", "the order's purpose", "train")
    .option("--runs-used <count>", "orders that used the object before", parseCount, 0)
    .option("--at <time>", "when it would run (default: now)", parseTime)
    .option("--output-max <size>", "the largest result (default: what the policy allows)", parseBytes)
    .option("--recipient <age1…>", "who would receive the result")
    .option("--tee <kind>", "the node's TEE", "tdx")
    .option("--measurement <digest>", "the node's measurement")
    .option("--node <address>", "the node")
    .addHelpText(
      "after",
      examples(["cloister consent check consent.json -e trainer.wasm", "would this engine be let in today?"]),
    )
    .action((file: string, options: CheckOptions) => check(file, options, context));
}

async function check(file: string, options: CheckOptions, context: Context): Promise<void> {
  const { policy } = await readConsent(file);
  const planned = await plannedUse(policy, options, context.nowMs());
  const refusals = judgeConsent(policy, planned);
  if (refusals.length > 0) throw CloisterError.fromRefusals(refusals as [Refusal, ...Refusal[]]);
  const digest = consentDigest(policy);
  context.output.result({ allowed: true, digest }, () => `The policy ${digest} allows it.`);
}

/** What the caller leaves open is taken as the policy would have it, so that only what was asked is judged. */
async function plannedUse(policy: ConsentPolicy, options: CheckOptions, nowMs: number): Promise<PlannedUse> {
  const engine = await digestOfEngine(options.engine);
  const recipient =
    options.recipient === undefined
      ? (policy.recipients?.[0] ?? "anyone")
      : parseRecipient(options.recipient).text;
  return {
    engine,
    purpose: options.purpose,
    runsUsed: options.runsUsed,
    nowMs: options.at ?? nowMs,
    outputBytesMax: options.outputMax ?? policy.outputBytesMax,
    recipientDigest: recipientDigest(recipient),
    egress: "none",
    tee: options.tee,
    measurement:
      options.measurement === undefined
        ? (policy.measurements?.[0] ?? engine)
        : parseDigest(options.measurement),
    node:
      options.node === undefined
        ? (policy.nodes?.[0] ?? parseAddress(ZERO_ADDRESS))
        : parseAddress(options.node),
    market: policy.market ?? { chainId: 0, contract: parseAddress(ZERO_ADDRESS) },
  };
}

function registerDiff(consent: Command, context: Context): void {
  consent
    .command("diff")
    .summary("list what a new policy changes")
    .description("List what a new policy changes, and whether it allows more or less than the old one.")
    .argument("<before>", "the old policy")
    .argument("<after>", "the new policy")
    .action(async (before: string, after: string) => {
      const changes = diffConsent((await readConsent(before)).policy, (await readConsent(after)).policy);
      const text = (value: unknown): string =>
        value === undefined ? "–" : toJson(value).replaceAll(/\s+/g, " ");
      context.output.result({ changes }, () =>
        changes.length === 0
          ? "The two policies allow the same."
          : formatTable(
              context.output.style,
              ["member", "effect", "before", "after"],
              changes.map((change) => [
                change.member,
                change.effect,
                text(change.before),
                text(change.after),
              ]),
            ),
      );
    });
}

function registerEncode(consent: Command, context: Context): void {
  consent
    .command("encode")
    .summary("write a policy in its canonical form")
    .description(
      "Write a policy in its canonical form (CBOR): the bytes that the digest covers and the store keeps.",
    )
    .argument("<file>", "the policy")
    .requiredOption("-o, --output <file>", "where to write it, or - for standard output")
    .option("-f, --force", "replace a file that is there")
    .action(async (file: string, options: { output: string; force?: boolean }) => {
      const { policy } = await readConsent(file);
      await writeWhole(options.output, [encodeConsent(policy)], { force: options.force === true });
      if (options.output === "-") return;
      const digest = consentDigest(policy);
      context.output.result({ file: options.output, digest }, () => digest);
    });
}
