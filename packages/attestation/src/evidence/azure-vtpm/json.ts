/** The JSON in which guest agents send Azure vTPM evidence: texts in hex or base64url, or arrays of bytes. */
import { CloisterError, concat, fromBase64, fromHex, fromUtf8, utf8 } from "@cloister/core";
import type { Evidence } from "../../types.ts";

const JSON_BYTES_MAX = 256 * 1024;
const HEX = /^(?:[0-9a-fA-F]{2})*$/;

/** Evidence from JSON, and the certificates that came along. */
export interface AzureBundle {
  readonly evidence: Evidence;
  /** The VCEK, DER or PEM; only for SNP. */
  readonly vcek: Uint8Array | undefined;
}

/**
 * Reads an agent's JSON: `{ hcl_report, tpm_quote: { message, signature, pcrs }, vcek | td_quote }`, or the
 * older `{ report, quote, vcek | td_quote }`; or either as the member `evidence` of an envelope.
 * @throws {CloisterError} `AZURE_EVIDENCE_MALFORMED`
 */
export function parseAzureJson(bytes: Uint8Array): AzureBundle {
  if (bytes.length > JSON_BYTES_MAX) throw malformed("it is larger than any evidence");
  let json: Record<string, unknown>;
  try {
    json = Object(JSON.parse(fromUtf8(bytes))) as Record<string, unknown>;
  } catch {
    throw malformed("it is not JSON");
  }
  const inner = json["evidence"];
  if (typeof inner === "object" && inner !== null && !Array.isArray(inner))
    json = inner as Record<string, unknown>;
  const quote = Object(json["tpm_quote"] ?? json["quote"]) as Record<string, unknown>;
  const tdQuote = json["td_quote"];
  const pcrs = quote["pcrs"];
  if (!Array.isArray(pcrs) || pcrs.length > 32) throw malformed("it holds no registers");
  return {
    evidence: {
      tee: tdQuote === undefined ? "azure-vtpm-snp" : "azure-vtpm-tdx",
      bytes: readBytes(json["hcl_report"] ?? json["report"], "the report", "base64"),
      parts: {
        quote: readBytes(quote["message"], "the quote", "hex"),
        signature: readBytes(quote["signature"], "the quote's signature", "hex"),
        pcrs: concat(...pcrs.map((pcr) => readBytes(pcr, "a register", "hex"))),
        ...(tdQuote === undefined ? {} : { tdQuote: readBytes(tdQuote, "the TD quote", "base64") }),
      },
    },
    vcek: json["vcek"] === undefined ? undefined : readCertificate(json["vcek"]),
  };
}

function readCertificate(value: unknown): Uint8Array {
  return typeof value === "string" && value.includes("-----BEGIN")
    ? utf8(value)
    : readBytes(value, "the VCEK", "base64");
}

/** What a TPM made stands in hex, the rest in base64url; both kinds may be arrays. */
function readBytes(value: unknown, what: string, form: "hex" | "base64"): Uint8Array {
  if (Array.isArray(value) && value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)) {
    return Uint8Array.from(value as number[]);
  }
  if (typeof value !== "string") throw malformed(`${what} is missing`);
  try {
    return form === "hex" && HEX.test(value) ? fromHex(value) : fromBase64(value);
  } catch {
    throw malformed(`${what} is not ${form}`);
  }
}

function malformed(why: string): CloisterError {
  return new CloisterError("AZURE_EVIDENCE_MALFORMED", `The Azure evidence cannot be read: ${why}.`);
}
