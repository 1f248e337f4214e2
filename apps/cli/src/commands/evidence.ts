import { readdir, stat } from "node:fs/promises";
import { join, parse } from "node:path";
import type { AttestationResult, Claims, Endorsements, TeeKind } from "@cloister/attestation";
import { CloisterError, codeOf, fromHex, fromUtf8, toHex, utf8 } from "@cloister/core";
import type { Command } from "commander";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readDocument } from "../cli/files.ts";
import { formatFields, toJson } from "../cli/output.ts";
import { parseHex, parseTime } from "../cli/parse.ts";
import {
  beginsAsJson,
  EVIDENCE_BYTES_MAX,
  readEvidenceInput,
  readNamed,
  type EvidenceInput,
  type EvidenceOptions,
} from "../cli/evidence-input.ts";
import { appraiseWith, hasPolicy, withPolicy, type PolicyOptions } from "../cli/evidence-policy.ts";

interface InputOptions extends EvidenceOptions {
  readonly endorsements?: string;
}

interface VerifyOptions extends InputOptions, PolicyOptions {
  readonly challenge?: Uint8Array;
  readonly at?: number;
  readonly simulated?: boolean;
}

export function register(program: Command, context: Context): void {
  const evidence = commandOf(program, "evidence").description(
    "Look into attestation evidence: quotes, reports and tokens as the hardware makes them, or evidence that Cloister wrote.",
  );
  withInputs(evidence.command("inspect"))
    .summary("show what evidence says, without judging it")
    .description("Show what evidence says, without judging it: nothing is verified.")
    .addHelpText("after", examples(["cloister evidence inspect quote.dat", "the fields of a raw quote"]))
    .action((file: string, options: InputOptions) => hinted(inspect(file, options, context)));
  withPolicy(withInputs(evidence.command("verify")))
    .summary("verify the signatures up to the vendor's root key")
    .description(
      "Verify evidence up to the vendor's root key: signatures, chains, revocation, TCB. Exits 1 with the reason when it does not hold. With --measurement, --allow-status, --min-tcb or --without-revocation it is also appraised, by the rules that nodes go by: without a challenge and a measurement that you approve, none passes. Without them, whether the measured software is good is for you to compare.",
    )
    .option(
      "--challenge <hex>",
      "the report data that the evidence must hold; without it nothing shows that it is fresh",
      parseHex,
    )
    .option("--at <time>", "judge as of this time (default: now)", parseTime)
    .option("--simulated", "verify against the simulation's root key instead of the vendors'")
    .addHelpText(
      "after",
      examples(
        [
          "cloister evidence verify quote.dat --endorsements collateral/ --challenge 00ab…",
          "with the vendor's collateral in a folder",
        ],
        [
          "cloister evidence verify report.bin --endorsements amd/ --challenge 00ab… --measurement measurement=7a1e… --min-tcb snp=24",
          "and only if it is this guest on this firmware or newer",
        ],
      ),
    )
    .action((file: string, options: VerifyOptions) => hinted(verifyFile(file, options, context)));
}

/** Whatever cannot be read and says no more than that: the same is to be done about all of it. */
async function hinted(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof CloisterError) || error.hint !== undefined || !error.code.endsWith("_MALFORMED"))
      throw error;
    const hint = "Check that the file is whole, and of the kind that it is read as (--tee).";
    throw new CloisterError(error.code, error.message, { hint, cause: error, details: error.details });
  }
}

function withInputs(command: Command): Command {
  return command
    .argument("<file>", "the evidence, or - for standard input")
    .option("--tee <kind>", "its kind, e.g. tdx (default: found from the bytes)")
    .option(
      "--part <name=file>",
      "a further piece of composite evidence; may be given several times",
      collectValues,
    )
    .option(
      "--endorsements <path>",
      "the vendor's endorsements: a folder with one file per part, collateral as JSON, or an exported file",
    );
}

async function inspect(file: string, options: InputOptions, context: Context): Promise<void> {
  const input = await readEvidenceInput(file, options);
  const { evidence } = input;
  const { describeEvidence } = await import("@cloister/attestation");
  const fields = describeEvidence(evidence, await endorsementsOf(input, options, context));
  context.output.result({ tee: evidence.tee, sizeBytes: evidence.bytes.length, fields }, () => [
    `${evidence.tee} evidence, ${evidence.bytes.length} bytes. Nothing here was verified.`,
    ...describe(fields),
  ]);
}

async function verifyFile(file: string, options: VerifyOptions, context: Context): Promise<void> {
  const input = await readEvidenceInput(file, options);
  const { evidence } = input;
  const endorsements = await endorsementsOf(input, options, context);
  const { simulationRoots, vendorRoots, verify } = await import("@cloister/attestation");
  const verdict = verify(evidence, endorsements, {
    nowMs: options.at ?? context.nowMs(),
    roots: options.simulated === true ? simulationRoots : vendorRoots,
    challenge: options.challenge,
  });
  if (!verdict.ok) throw CloisterError.fromRefusals(verdict.refusals);
  const claims = verdict.value;
  if (claims.simulated) context.output.warn("SIMULATED: this evidence proves nothing about hardware.");
  const result = hasPolicy(options)
    ? await appraiseWith(options, claims, options.simulated === true)
    : undefined;
  const appraisal = result && { status: result.status, trustVector: result.trustVector };
  context.output.result({ verified: true, ...(appraisal && { appraisal }), claims }, () => [
    ...formatFields(summaryOf(claims, result)),
    "",
    ...describe(claims.measurements),
  ]);
}

function summaryOf(claims: Claims, result: AttestationResult | undefined): [string, string][] {
  const { status, advisoryIds, snp } = claims.tcb;
  const versions = (tcb: object): string =>
    Object.entries(tcb)
      .map(([name, version]) => `${name}=${version}`)
      .join(" ");
  return [
    ["verified", `up to root key ${claims.rootFingerprint}${claims.simulated ? " (SIMULATED)" : ""}`],
    ["appraised", result === undefined ? "no: no policy was given" : `${result.status}, by your policy`],
    ["tee", claims.tee],
    ["measurement", claims.measurement],
    ["TCB status", advisoryIds.length === 0 ? status : `${status} (${advisoryIds.join(", ")})`],
    ...(snp === undefined
      ? []
      : ([
          ["firmware", `${snp.product}, reported ${versions(snp.reported)}`],
          ["committed", versions(snp.committed)],
        ] satisfies [string, string][])),
    ["debug", claims.debug ? "ON: its memory can be read from outside" : "off"],
    ["challenge", claims.challengeVerified ? "the one you gave" : "not compared: it may be a replay"],
    ["revocation", claims.revocationChecked ? "checked" : "not checked: no revocation lists were given"],
    ["report data", toHex(claims.reportData)],
    ["hardware id", claims.hardwareId === "" ? "none" : claims.hardwareId],
  ];
}

function describe(fields: Readonly<Record<string, unknown>>): string[] {
  const pairs = Object.entries(fields).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const plain = value instanceof Uint8Array ? toHex(value) : value;
    return [[name, typeof plain === "string" ? plain : toJson(plain).replaceAll(/\s+/g, " ")] as const];
  });
  return pairs.length === 0 ? [] : formatFields(pairs);
}

/** What came with the evidence, and what was given apart, which goes first. */
async function endorsementsOf(
  { evidence, endorsed }: EvidenceInput,
  { endorsements: path }: InputOptions,
  context: Context,
): Promise<Endorsements> {
  const { tee } = evidence;
  if (path === undefined) return { tee, parts: endorsed };
  const given = await readEndorsements(tee, path);
  const { isEndorsementPart } = await import("@cloister/attestation");
  const unknown = Object.keys(given.parts).filter((name) => !isEndorsementPart(tee, name));
  if (unknown.length > 0)
    context.output.warn(`Endorsements of ${tee} have no part "${unknown.join('", "')}": nothing reads it.`);
  return { ...given, parts: { ...endorsed, ...given.parts } };
}

async function readEndorsements(tee: TeeKind, path: string): Promise<Endorsements> {
  if ((await stat(path)).isDirectory()) {
    const names = (await readdir(path)).toSorted();
    return { tee, parts: await readNamed(names.map((name) => `${parse(name).name}=${join(path, name)}`)) };
  }
  const bytes = await readDocument(path, EVIDENCE_BYTES_MAX);
  if (beginsAsJson(bytes)) return { tee, parts: partsOfCollateral(bytes) };
  const { decodeEndorsements } = await import("@cloister/certification");
  try {
    return decodeEndorsements(bytes);
  } catch (cause) {
    if (codeOf(cause) !== "CMW_MALFORMED") throw cause;
    const message = `What kind of endorsements ${path} is cannot be told from its bytes.`;
    throw new CloisterError("ENDORSEMENTS_MALFORMED", message, { hint: FORMS_HINT, cause });
  }
}

const FORMS_HINT =
  "Give collateral as JSON, a folder with one file per part (vcek.der, authorities.pem …), or what `cloister endorsements fetch` wrote.";

/** Collateral as public DCAP tools write it: one JSON object, signatures and CRLs in hex (CRLs in PEM too), the rest as text. */
function partsOfCollateral(bytes: Uint8Array): Record<string, Uint8Array> {
  const parts: Record<string, Uint8Array> = {};
  for (const [theirs, value] of Object.entries(parseCollateral(bytes))) {
    if (typeof value !== "string") continue;
    const name = theirs.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const isText = !/(signature|crl)$/.test(theirs) || value.startsWith("-----BEGIN");
    parts[name] = isText ? utf8(value) : hexOf(theirs, value);
  }
  return parts;
}

function hexOf(member: string, text: string): Uint8Array {
  try {
    return fromHex(text);
  } catch (cause) {
    const message = `The member "${member.slice(0, 40)}" of the collateral is not hexadecimal.`;
    throw new CloisterError("ENDORSEMENTS_MALFORMED", message, { hint: FORMS_HINT, cause });
  }
}

function parseCollateral(bytes: Uint8Array): object {
  try {
    return JSON.parse(fromUtf8(bytes)) as object;
  } catch (cause) {
    throw new CloisterError("ENDORSEMENTS_MALFORMED", "The endorsements begin like JSON, and are not.", {
      hint: FORMS_HINT,
      cause,
    });
  }
}
