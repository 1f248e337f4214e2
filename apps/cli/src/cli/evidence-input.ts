/** Evidence as a person has it in files. */
import type { Evidence, TeeKind } from "@cloister/attestation";
import { CloisterError, codeOf } from "@cloister/core";
import { readDocument } from "./files.ts";
import { usageError } from "./usage.ts";

export const EVIDENCE_BYTES_MAX = 4 * 1024 * 1024;

/** Whether bytes begin as a JSON object does. */
export function beginsAsJson(bytes: Uint8Array): boolean {
  return /^\s*\{/.test(Buffer.from(bytes.subarray(0, 64)).toString("latin1"));
}

export interface EvidenceOptions {
  readonly tee?: string;
  readonly part?: readonly string[];
}

/** Evidence, and the endorsements that came in the same file. */
export interface EvidenceInput {
  readonly evidence: Evidence;
  readonly endorsed: Readonly<Record<string, Uint8Array>>;
}

/** Evidence in Cloister's own form, in the JSON of Azure's agents, or as the hardware gave it. */
export async function readEvidence(file: string, options: EvidenceOptions): Promise<Evidence> {
  return (await readEvidenceInput(file, options)).evidence;
}

/** Reads evidence and what came with it. @throws as `readDocument`; `EVIDENCE_EMPTY`, `EVIDENCE_KIND_UNRECOGNIZED`, `TEE_UNKNOWN` */
export async function readEvidenceInput(file: string, options: EvidenceOptions): Promise<EvidenceInput> {
  const { detectTee } = await import("@cloister/attestation");
  const named = await kindOf(options.tee);
  const bytes = await readDocument(file, EVIDENCE_BYTES_MAX);
  if (bytes.length === 0) {
    const hint = "Look into what should have written it.";
    throw new CloisterError("EVIDENCE_EMPTY", `${file} is empty.`, { hint });
  }
  const whole = named === undefined ? await ownForm(bytes) : undefined;
  if (whole !== undefined) return { evidence: whole, endorsed: {} };
  const azure = beginsAsJson(bytes) ? await azureForm(bytes, named) : undefined;
  if (azure !== undefined) return azure;
  const tee = named ?? detectTee(bytes);
  if (tee === undefined) throw await unrecognized(file, bytes);
  const parts = await readNamed(options.part ?? []);
  const evidence = Object.keys(parts).length === 0 ? { tee, bytes } : { tee, bytes, parts };
  return { evidence, endorsed: {} };
}

async function kindOf(name: string | undefined): Promise<TeeKind | undefined> {
  if (name === undefined) return undefined;
  const { teeKinds } = await import("@cloister/attestation");
  const kind = teeKinds.find((known) => known === name.toLowerCase());
  if (kind !== undefined) return kind;
  throw new CloisterError("TEE_UNKNOWN", `Evidence of "${name.slice(0, 40)}" is not known here.`, {
    hint: `Known are ${teeKinds.join(", ")}.`,
  });
}

async function unrecognized(file: string, bytes: Uint8Array): Promise<CloisterError> {
  const { teeKinds } = await import("@cloister/attestation");
  const start = Buffer.from(bytes.subarray(0, 64)).toString("latin1").trimStart();
  const isEndorsement = bytes[0] === 0x30 || start.startsWith("-----BEGIN") || start.startsWith("<");
  return new CloisterError(
    "EVIDENCE_KIND_UNRECOGNIZED",
    `What kind of evidence ${file} is cannot be told from its bytes.`,
    {
      hint: isEndorsement
        ? "It looks like a certificate or a manifest: give it with --endorsements, beside the evidence it is about."
        : `Name it with --tee: ${teeKinds.join(", ")}.`,
    },
  );
}

async function ownForm(bytes: Uint8Array): Promise<Evidence | undefined> {
  const { decodeEvidence } = await import("@cloister/certification");
  try {
    return decodeEvidence(bytes);
  } catch (error) {
    if (codeOf(error) === "CMW_MALFORMED") return undefined;
    throw error;
  }
}

/** Undefined for JSON that is not Azure's, unless the person said that it is. */
async function azureForm(bytes: Uint8Array, named: TeeKind | undefined): Promise<EvidenceInput | undefined> {
  if (named?.startsWith("azure-") === false) return undefined;
  const { parseAzureJson } = await import("@cloister/attestation");
  try {
    const { evidence, vcek } = parseAzureJson(bytes);
    return { evidence, endorsed: vcek === undefined ? {} : { vcek } };
  } catch (error) {
    if (named === undefined) return undefined;
    throw error;
  }
}

/** Files by name, from `name=path` pairs. */
export async function readNamed(pairs: readonly string[]): Promise<Record<string, Uint8Array>> {
  const parts: Record<string, Uint8Array> = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1)
      throw usageError("USAGE_PART_MALFORMED", `"${pair}" is not NAME=FILE.`, "Write it as name=path.");
    parts[pair.slice(0, at)] = await readDocument(pair.slice(at + 1), EVIDENCE_BYTES_MAX);
  }
  return parts;
}
