import { readdir, stat } from "node:fs/promises";
import { join, parse } from "node:path";
import type { Claims, Endorsements, TeeKind } from "@cloister/attestation";
import { CloisterError, fromHex, fromUtf8, toHex, utf8 } from "@cloister/core";
import type { Command } from "commander";
import { collectValues, commandOf, examples } from "../cli/command.ts";
import type { Context } from "../cli/context.ts";
import { readDocument } from "../cli/files.ts";
import { formatFields, toJson } from "../cli/output.ts";
import { parseTime } from "../cli/parse.ts";
import { EVIDENCE_BYTES_MAX, readEvidence, readNamed } from "../cli/evidence-input.ts";

const OPENING_BRACE = 0x7b;

interface InputOptions {
  readonly tee?: string;
  readonly part?: string[];
  readonly endorsements?: string;
}

interface VerifyOptions extends InputOptions {
  readonly challenge?: string;
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
    .action((file: string, options: InputOptions) => inspect(file, options, context));
  withInputs(evidence.command("verify"))
    .summary("verify the signatures up to the vendor's root key")
    .description(
      "Verify evidence up to the vendor's root key: signatures, chains, revocation, TCB. Exits 1 with the reason when it does not hold. It is not held against a policy: whether the measured software is good is for you to compare.",
    )
    .option(
      "--challenge <hex>",
      "the report data that the evidence must hold; without it nothing shows that it is fresh",
    )
    .option("--at <time>", "judge as of this time (default: now)", parseTime)
    .option("--simulated", "verify against the simulation's root key instead of the vendors'")
    .addHelpText(
      "after",
      examples([
        "cloister evidence verify quote.dat --endorsements collateral/ --challenge 00ab…",
        "with the vendor's collateral in a folder",
      ]),
    )
    .action((file: string, options: VerifyOptions) => verifyFile(file, options, context));
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
  const evidence = await readEvidence(file, options);
  const { describeEvidence } = await import("@cloister/attestation");
  const fields = describeEvidence(evidence, await readEndorsements(evidence.tee, options));
  context.output.result({ tee: evidence.tee, sizeBytes: evidence.bytes.length, fields }, () => [
    `${evidence.tee} evidence, ${evidence.bytes.length} bytes. Nothing here was verified.`,
    ...describe(fields),
  ]);
}

async function verifyFile(file: string, options: VerifyOptions, context: Context): Promise<void> {
  const evidence = await readEvidence(file, options);
  const endorsements = (await readEndorsements(evidence.tee, options)) ?? { tee: evidence.tee, parts: {} };
  const { simulationRoots, vendorRoots, verify } = await import("@cloister/attestation");
  const verdict = verify(evidence, endorsements, {
    nowMs: options.at ?? context.nowMs(),
    roots: options.simulated === true ? simulationRoots : vendorRoots,
    ...(options.challenge === undefined ? {} : { challenge: fromHex(options.challenge) }),
  });
  if (!verdict.ok) throw CloisterError.fromRefusals(verdict.refusals);
  const claims = verdict.value;
  if (claims.simulated) context.output.warn("SIMULATED: this evidence proves nothing about hardware.");
  context.output.result({ verified: true, claims }, () => [
    ...formatFields(summaryOf(claims)),
    "",
    ...describe(claims.measurements),
  ]);
}

function summaryOf(claims: Claims): [string, string][] {
  const { status, advisoryIds } = claims.tcb;
  return [
    ["verified", `up to root key ${claims.rootFingerprint}${claims.simulated ? " (SIMULATED)" : ""}`],
    ["tee", claims.tee],
    ["measurement", claims.measurement],
    ["TCB status", advisoryIds.length === 0 ? status : `${status} (${advisoryIds.join(", ")})`],
    ["debug", claims.debug ? "ON: its memory can be read from outside" : "off"],
    ["challenge", claims.challengeVerified ? "the one you gave" : "not compared: it may be a replay"],
    ["revocation", claims.revocationChecked ? "checked" : "not checked: no revocation lists were given"],
    ["report data", toHex(claims.reportData)],
    ["hardware id", claims.hardwareId === "" ? "none" : claims.hardwareId],
  ];
}

function describe(fields: Readonly<Record<string, unknown>>): string[] {
  const pairs = Object.entries(fields).map(([name, value]) => {
    const plain = value instanceof Uint8Array ? toHex(value) : value;
    return [name, typeof plain === "string" ? plain : toJson(plain).replaceAll(/\s+/g, " ")] as const;
  });
  return pairs.length === 0 ? [] : formatFields(pairs);
}

async function readEndorsements(tee: TeeKind, options: InputOptions): Promise<Endorsements | undefined> {
  const path = options.endorsements;
  if (path === undefined) return undefined;
  if (!(await stat(path)).isDirectory()) {
    const { decodeEndorsements } = await import("@cloister/certification");
    const bytes = await readDocument(path, EVIDENCE_BYTES_MAX);
    return bytes[0] === OPENING_BRACE ? { tee, parts: partsOfCollateral(bytes) } : decodeEndorsements(bytes);
  }
  const names = (await readdir(path)).toSorted();
  return { tee, parts: await readNamed(names.map((name) => `${parse(name).name}=${join(path, name)}`)) };
}

/** Collateral as public DCAP tools write it: one JSON object, signatures and CRLs in hex, the rest as text. */
function partsOfCollateral(bytes: Uint8Array): Record<string, Uint8Array> {
  const parts: Record<string, Uint8Array> = {};
  for (const [theirs, value] of Object.entries(parseCollateral(bytes))) {
    if (typeof value !== "string") continue;
    const name = theirs.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    parts[name] = /(signature|crl)$/.test(theirs) ? fromHex(value) : utf8(value);
  }
  return parts;
}

function parseCollateral(bytes: Uint8Array): object {
  try {
    return JSON.parse(fromUtf8(bytes)) as object;
  } catch (cause) {
    throw new CloisterError("ENDORSEMENTS_MALFORMED", "The endorsements begin like JSON, and are not.", {
      hint: "Give collateral as JSON, a folder of parts, or endorsements that Cloister exported.",
      cause,
    });
  }
}
