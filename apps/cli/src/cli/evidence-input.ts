/** Evidence as a person has it in files. */
import type { Evidence, TeeKind } from "@cloister/attestation";
import { CloisterError, codeOf } from "@cloister/core";
import { readDocument } from "./files.ts";
import { usageError } from "./usage.ts";

export const EVIDENCE_BYTES_MAX = 4 * 1024 * 1024;

/** Evidence in Cloister's own form, or as the hardware gave it. */
export async function readEvidence(
  file: string,
  options: { readonly tee?: string; readonly part?: readonly string[] },
): Promise<Evidence> {
  const bytes = await readDocument(file, EVIDENCE_BYTES_MAX);
  const own = options.tee === undefined ? await ownForm(bytes) : undefined;
  if (own !== undefined) return own;
  const { detectTee } = await import("@cloister/attestation");
  const tee = (options.tee as TeeKind | undefined) ?? detectTee(bytes);
  if (tee === undefined) {
    throw new CloisterError(
      "EVIDENCE_KIND_UNRECOGNIZED",
      `What kind of evidence ${file} is cannot be told from its bytes.`,
      {
        hint: "Name it with --tee, e.g. --tee tdx.",
      },
    );
  }
  const parts = await readNamed(options.part ?? []);
  return Object.keys(parts).length === 0 ? { tee, bytes } : { tee, bytes, parts };
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
